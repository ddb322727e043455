"""The guard: what a prompt forbids, what it leaves alone, and that the table can be extended."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from negopt.errors import OptionError
from negopt.guard import FAMILIES, Conflicts, Guard, TermIndex
from negopt.prompt import read_prompt

from .test_terms import HOSTILE


def conflicts(prompt: str, *avoid: str) -> Conflicts:
    return Guard.default().conflicts(read_prompt(prompt), avoid)


def listed(terms: str) -> list[str]:
    return [term.strip() for term in terms.split(",")]


# prompt; what it must forbid; what it must leave alone
CASES = [
    (
        "black and white sketch",
        "monochrome, grayscale, sketch, drawing, line art, greyscale, b&w, lineart, sketches",
        "blurry, bad anatomy, text, cartoon face paint, watermark",
    ),
    (
        "two girls",
        "2girls, multiple girls, duplicate, multiple people, extra person",
        "1boy, extra arms, cloned face, extra fingers, solo",
    ),
    ("1girl, solo", "1girl, solo, woman, girl", "1boy, multiple girls, 2girls, multiple people, extra person, man"),
    (
        "portrait of an old fisherman",
        "old, elderly, wrinkles, wrinkled skin, age spots",
        "young, child, bad hands, blurry, cartoon, cropped",
    ),
    ("detailed hands, best quality", "hands", "bad hands, extra hands, worst quality, mutated hands, low quality"),
    ("beautiful face, perfect eyes", "face", "poorly drawn face, cloned face, ugly face, bad eyes, deformed iris"),
    ("cartoon of a dog", "cartoon, anime, toon, cartoon style", "photo, realistic, bad anatomy, blurry"),
    ("anime screenshot of a school", "anime, cartoon, manga", "3d, realistic, photo, comic"),
    ("3d render of a robot", "3d, cgi, render, 3d render, cg, octane render", "cartoon, sketch, blurry, photo frame"),
    (
        "portrait, bokeh background",
        "bokeh, blurry background, depth of field, out of focus, blurry, dof",
        "blurry eyes, blurry face, motion blur, text",
    ),
    ("photo, shallow depth of field, f/1.4", "bokeh, blurry, out of focus, photo, realistic", "cartoon, low quality"),
    (
        "movie poster with a big title",
        "text, title, letters, typography, words, logo, poster",
        "watermark, signature, blurry",
    ),
    ("a neon sign saying open", "text, sign, letters, lettering", "watermark, username, bad hands"),
    (
        "a crowd at a concert",
        "crowd, people, multiple people, group of people, many people",
        "extra limbs, bad anatomy",
    ),
    ("nude statue of a goddess", "nude, naked, nsfw, nudity, statue", "extra arms, blurry, watermark"),
    ("woman with large breasts in a dress", "large breasts, dress", "nsfw, nude, bad anatomy"),
    ("pencil sketch of a cat", "sketch, drawing, pencil, line art, monochrome", "photo, 3d, text"),
    ("pixel art castle", "pixel art, pixelated, lowres, low resolution", "text, watermark, 3d"),
    ("ornate golden frame around a painting", "frame, border, framed, picture frame, painting", "out of frame, text"),
    (
        "a photo of a crowd of people reading signs at night",
        "crowd, people, text, sign, night, dark, photo",
        "cartoon, watermark",
    ),
    ("an ugly duckling", "ugly, ugly face, hideous, animal", "deformed, blurry, bad anatomy, extra legs"),
    (
        "man with extra arms, four arms, shiva",
        "extra arms, multiple arms, too many arms, extra limbs, four arms, three arms",
        "extra fingers, missing arms, blurry, bad hands, extra legs",
    ),
    (
        "deformed monster",
        "deformed, deformed hands, monster, disfigured, mutated, malformed limbs",
        "blurry, text, lowres",
    ),
    ("glitch art portrait", "glitch, glitchy, noise, artifacts, chromatic aberration", "watermark, bad hands"),
    ("watercolor of a lighthouse", "watercolor, painting, illustration, brush strokes", "photo, 3d, ugly, monochrome"),
    ("oil painting of a ship", "oil painting, painting, paintings", "photo, 3d, cartoon, sketch, bad painting"),
    ("foggy forest", "fog, foggy, mist, haze", "text, people, blurry"),
    ("dark alley at night", "dark, night, underexposed", "blurry, bright, overexposed"),
    ("silhouette of a man", "silhouette, backlight, dark, featureless", "blurry, extra arms, text"),
    ("close-up of an eye", "close up, close-up, closeup, cropped, out of frame", "blurry, extra eyes, text"),
    ("zombie covered in blood, gore", "zombie, blood, gore, horror, undead", "blurry, extra fingers, text"),
    ("demon with horns", "demon, horns, horn", "extra arms, bad hands, wings"),
    ("a child with a balloon", "child, kid, childish", "old, blurry, extra fingers, nsfw"),
    ("fat man with a tattoo", "fat, obese, tattoo, tattoos", "thin, long neck, bad hands, skinny"),
    ("girl with glasses and a hat", "glasses, hat, headwear, sunglasses", "earrings, tattoo, beard, umbrella"),
    ("woman wearing earrings", "earrings, jewelry", "tattoo, glasses, hat, text"),
    ("fox with a fluffy tail", "tail, animal", "multiple tails, extra legs, human, text"),
    ("twin sisters", "twins, duplicate, clone, multiple girls, cloned face, same face", "extra arms, blurry"),
    ("giraffe", "long neck, animal", "extra legs, blurry, bad anatomy"),
    ("mermaid", "missing legs, fused legs, tail", "missing arms, extra fingers"),
    ("hydra with seven heads", "multiple heads, two heads, extra heads", "extra arms, blurry, text"),
    ("character sheet, turnaround", "multiple views, reference sheet", "blurry, bad hands"),
    ("a 70 year old woman", "old, elderly, wrinkles", "child, young"),
    ("selfie of friends", "selfie, multiple people, group", "extra arms, 1boy"),
    ("muscular shirtless man", "muscular, muscles, abs, topless", "fat, nude, nsfw"),
    ("amputee veteran", "amputee, missing limb, missing arms", "extra arms, blurry"),
    ("long exposure of traffic", "motion blur, blurry, cars", "text, watermark"),
    ("manga page, speech bubbles", "manga, comic, speech bubble, monochrome, text", "watermark, photo, 3d"),
]


@pytest.mark.parametrize(("prompt", "forbidden", "allowed"), CASES, ids=[case[0] for case in CASES])
def test_forbids_what_was_asked_for_and_nothing_else(prompt: str, forbidden: str, allowed: str) -> None:
    found = conflicts(prompt)
    assert [term for term in listed(forbidden) if not found.forbids(term)] == []
    assert [term for term in listed(allowed) if found.forbids(term)] == []


@pytest.mark.parametrize(
    ("prompt", "allowed"),
    [
        ("25 year old woman", "old, elderly, wrinkles, child"),
        ("sharp focus", "out of focus, blurry"),
        ("full frame camera", "frame, border"),
        ("peace sign, v sign", "text, letters"),
        ("crop top, cropped jacket", "cropped, out of frame"),
        ("girl with dark hair and dark eyes", "dark, underexposed, night"),
        ("wine glasses on a table", "sunglasses, eyewear"),
        ("spider lily, spider-man", "extra legs, extra limbs, extra eyes"),
        ("cowboy shot, 1girl", "hat, man, 1boy"),
        ("white dress, forest background", "white background"),
        ("long sleeves, neck tattoo", "long neck"),
        ("simple pose", "simple background"),
        ("textured wall, textbook", "text"),
        ("best shadow, soft light", "blurry, dark"),
        ("baby blue car", "child, baby"),
        ("detailed skin, hair ribbon", "skinny, hairy"),
        ("twintails, twin braids", "twins, duplicate"),
        ("face paint, painted nails", "painting, brush strokes"),
        ("a four-armed goddess", "multiple girls, multiple people, 2girls"),
        ("two-headed dragon", "multiple people, multiple girls"),
        ("photo of a van gogh exhibition", "cars"),
        ("kimono, japanese architecture", "text, blurry, bad anatomy"),
        ("extremely detailed cg unity 8k wallpaper", "3d, cgi, render"),
    ],
)
def test_no_false_alarm(prompt: str, allowed: str) -> None:
    found = conflicts(prompt)
    assert [term for term in listed(allowed) if found.forbids(term)] == []


@pytest.mark.parametrize(
    ("prompt", "asked", "forbidden", "allowed"),
    [
        ("no text", ["text"], "no text", "text, letters"),
        ("a sign, no text", ["text"], "sign", "text, letters, words"),
        ("poster without watermark", ["watermark"], "text, poster", "watermark, signature"),
        ("street without people", ["people"], "street, no people", "people, crowd"),
        ("not blurry", ["blurry"], "", "blurry, bokeh"),
        ("1boy, no hat", ["hat"], "1boy", "hat, headwear"),
        ("a man without arms", ["arms"], "missing arms, no arms, man", "arms, extra arms"),
        ("photo without color", ["color"], "monochrome, grayscale", "color"),
        ("anime, no bad hands", ["bad hands"], "anime", "bad hands"),
    ],
)
def test_negation_asks_for_the_term(prompt: str, asked: list[str], forbidden: str, allowed: str) -> None:
    found = conflicts(prompt)
    assert list(found.asked) == asked
    assert [term for term in listed(forbidden) if term and not found.forbids(term)] == []
    assert [term for term in listed(allowed) if found.forbids(term)] == []


def test_avoid_forbids_variants_and_family() -> None:
    found = conflicts("a cat", "blurry", "extra_finger", "EasyNegative", "monochrome", "hands")
    for term in ("blurry", "blurred", "blur", "out of focus", "extra fingers", "easynegative", "grayscale", "hand"):
        assert found.forbids(term), term
    for term in ("bad hands", "text", "extra arms", "missing fingers", "bad-hands-5"):
        assert not found.forbids(term), term


def test_avoid_wins_over_the_prompts_own_negation() -> None:
    found = conflicts("no text", "text")
    assert found.forbids("text")
    assert found.asked == ()


def test_embeddings_are_nobodys_family() -> None:
    found = conflicts("bad hands, deep negative space, artist")
    assert not any(map(found.forbids, ["bad-hands-5", "ng_deepnegative_v1_75t", "bad-artist"]))


def test_index_answers_as_the_loop_does() -> None:
    terms = sorted({term for _, forbidden, allowed in CASES for term in listed(f"{forbidden}, {allowed}")})
    terms += ["bad-hands-5", "blurred", "no text", "missing arms", "a woman", "画", "extra arm", "cartoons", "text"]
    index = TermIndex(terms)
    for prompt in [case[0] for case in CASES] + ["", "no text", "without arms, not blurry", "画"]:
        for avoid in ((), ("blurry", "extra finger", "EasyNegative", "bad hands 5")):
            found = conflicts(prompt, *avoid)
            assert index.forbidden(found) == [i for i, term in enumerate(terms) if found.forbids(term)], prompt


def test_index_of_another_guard_still_answers() -> None:
    guard = Guard({"families": [{"name": "pets", "members": "cat, dog"}]})
    found = guard.conflicts(read_prompt("a dog"))
    assert TermIndex(["cat", "text", "dog"]).forbidden(found) == [0, 2]
    assert TermIndex(["cat", "text", "dog"], guard).forbidden(found) == [0, 2]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_prompts_are_judged_in_time(text: str) -> None:
    prompt = read_prompt(text)
    index = TermIndex(["text", "blurry", "bad hands", "word1 word2", "a a"])
    started = time.process_time()
    found = Guard.default().conflicts(prompt, [text[:200]])
    index.forbidden(found)
    assert time.process_time() - started < 1


def test_a_reader_can_extend_the_table(tmp_path: Path) -> None:
    table = json.loads(FAMILIES.read_text(encoding="utf-8"))
    table["lists"]["gem"] = "ruby, emerald"
    table["families"].append(
        {
            "name": "gems",
            "members": ["<gem>, jewel of the crown"],
            "triggers": "three <gem>",
            "also": "sparkle",
            "leading": "glittering",
            "unless": "ruby slippers",
            "keep": "glittering dust",
            "together": ["queen, treasury"],
        }
    )
    (tmp_path / "mine.json").write_text(json.dumps(table), encoding="utf-8")
    guard = Guard.from_file(tmp_path / "mine.json")

    def forbids(prompt: str, term: str) -> bool:
        return guard.conflicts(read_prompt(prompt)).forbids(term)

    assert forbids("a ruby ring", "emerald")
    assert forbids("three big rubies", "sparkle")
    assert forbids("an emerald", "glittering stones")
    assert not forbids("an emerald", "glittering dust")
    assert not forbids("ruby slippers", "emerald")
    assert forbids("the queen, in her treasury", "sparkle")
    assert not forbids("the queen", "sparkle")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "not JSON"),
        ("[]", "must be an object"),
        ('{"families": {}}', '"families" must be a list'),
        ('{"families": [{"members": "a"}]}', 'with a "name"'),
        ('{"families": [{"name": "x", "member": "a"}]}', 'unknown "member"'),
        ('{"families": [{"name": "x", "members": 3}]}', '"members" must be text'),
        ('{"families": [{"name": "x", "members": "<nope>"}]}', "no <nope>"),
        ('{"families": [{"name": "x", "members": "!?"}]}', "no word"),
        ('{"lists": {"l": "two words"}, "families": []}', "must be one word"),
        ('{"lists": {"l": "<later>"}, "families": []}', "no list <later>"),
    ],
)
def test_a_bad_table_is_named(tmp_path: Path, content: str, complaint: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(OptionError, match=r"bad\.json") as error:
        Guard.from_file(path)
    assert complaint in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"nowhere\.json"):
        Guard.from_file(tmp_path / "nowhere.json")


def test_every_family_does_something() -> None:
    table = json.loads(FAMILIES.read_text(encoding="utf-8"))
    names = [family["name"] for family in table["families"]]
    assert len(names) == len(set(names))
    for family in table["families"]:
        assert {"members", "triggers", "leading"} & family.keys(), family["name"]
        assert {"members", "also", "leading"} & family.keys(), family["name"]
