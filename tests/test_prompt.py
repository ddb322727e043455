"""Prompts: what is asked for and what is denied, in the hosts' syntax, tags and sentences."""

from __future__ import annotations

import time

import pytest

from negopt.prompt import read_prompt

from .test_terms import HOSTILE


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("(masterpiece:1.2), ((best quality)), [sketch]", "masterpiece, best quality, sketch"),
        ("a (red:1.2) dress", "a red dress"),
        ("[cat|dog], {red|blue} hair", "cat, dog, red, blue hair"),
        ("[a cat:a dog:0.5] on a mat", "a cat, a dog, on a mat"),
        ("photo <lora:add_detail:0.8>, <hypernet:x:1> girl", "photo, girl"),
        ("a cat BREAK a dog AND a bird :1.2", "a cat, a dog, a bird"),
        ("embedding:fancy_style, a cat, (embedding:x:1.2)", "a cat"),
        ("__colors/warm__ hat, {2$$red|blue}", "hat, red, blue"),
        ("# a comment\na cat # another\n#one more\nsits", "a cat, sits"),
        ("issue #1 of batman, sketch, #cat", "issue of batman, sketch"),
        ("#1 dad mug, a #ff0000 dress", "dad mug, a dress"),
        ("1girl, long_hair, saber \\(fate\\), :d", "1girl, long hair, saber fate, d"),
        ("A house.\nTwo trees; one bird", "a house, two trees, one bird"),
        ("{prompt} . Expressionist, oil", "expressionist, oil"),
        ("Ｐhoto　of “me” ﬁshing 🎣, café", "photo of me fishing, café"),
        ("f/1.8, 16:9, mr. bean, 4k.", "f/1.8, 16 9, mr. bean, 4k"),
        ("portrait --ar 2:3 --v 5", "portrait"),
        ("a cat\nNegative prompt: ugly, text\nSteps: 20, Sampler: Euler a, Seed: 3", "a cat"),
        ("<lora:x:1>, <lyco:y:0.4>", ""),
        ("(((", ""),
        ("🎨🎨", ""),
    ],
)
def test_text_is_plain(prompt: str, text: str) -> None:
    assert read_prompt(prompt).text == text


@pytest.mark.parametrize(
    ("prompt", "wanted"),
    [
        ("a photo of a crowd of people reading signs at night", ["photo", "crowd of people reading signs at night"]),
        ("an ugly duckling", ["ugly duckling"]),
        ("man with extra arms, four arms, shiva", ["man with extra arms", "four arms", "shiva"]),
        ("looking at viewer, from behind, out of focus", ["looking at viewer", "from behind", "out of focus"]),
        ("an old man with a red hat and a cane", ["old man", "red hat", "cane"]),
        ("kimi no na wa, elaina (majo no tabitabi)", ["kimi no na wa", "elaina majo no tabitabi"]),
        ("not only bright but also warm", ["not only bright", "also warm"]),
        ("a sign saying no smoking", ["sign saying no smoking"]),
        ("duty-free shop, no. 5", ["duty-free shop", "no. 5"]),
        ("forget me not flowers in a vase", ["forget me not flowers", "vase"]),
        ("a girl breaking free from chains", ["girl breaking free from chains"]),
        ("No Face from Spirited Away", ["no face from spirited away"]),
        ("sans (undertale), poster in comic sans font", ["sans undertale", "poster in comic sans font"]),
        ("don't starve style, No Man's Sky", ["don't starve style", "no man's sky"]),
        ("No smoking sign on a wall", ["no smoking sign", "wall"]),
        ("a ninja avoiding arrows", ["ninja avoiding arrows"]),
        ("a girl who can't stop laughing", ["girl", "can't stop laughing"]),
        ("une femme avec un chapeau rouge", ["une femme avec un chapeau rouge"]),
    ],
)
def test_what_is_wanted(prompt: str, wanted: list[str]) -> None:
    found = read_prompt(prompt)
    assert list(found.wanted) == wanted
    assert found.unwanted == ()


@pytest.mark.parametrize(
    ("prompt", "wanted", "unwanted"),
    [
        ("poster, no text", ["poster"], ["text"]),
        ("1girl, no_humans", ["1girl"], ["humans"]),
        ("a street without people at night", ["street", "night"], ["people"]),
        ("portrait, not blurry", ["portrait"], ["blurry"]),
        ("free of clutter, a desk", ["desk"], ["clutter"]),
        ("text-free poster, no-humans, logo free", ["poster"], ["text", "humans", "logo"]),
        ("nobody, an empty beach", ["empty beach"], ["people"]),
        ("there is no one in the room", ["in the room"], ["people"]),
        ("a cat (text:-1) on a mat, (blurry:0)", ["cat", "mat"], ["text", "blurry"]),
        ("a man not wearing a hat with glasses", ["man", "glasses"], ["hat"]),
        ("do not include any text", [], ["text"]),
        ("no text and vibrant colors", ["vibrant colors"], ["text"]),
        ("no text and logos", [], ["text", "logos"]),
        ("without hat or gloves", [], ["hat", "gloves"]),
        ("no text, signs, or people, blue sky", ["blue sky"], ["text", "signs", "people"]),
        ("no text, watermark, signature, a cat", ["cat"], ["text", "watermark", "signature"]),
        ("photo rather than painting", ["photo"], ["painting"]),
        ("sharp, masterpiece no watermark", ["sharp", "masterpiece"], ["watermark"]),
        ("isn't blurry, don't show hands", [], ["blurry", "hands"]),
        ("portrait --no hat, glasses --ar 1:1", ["portrait"], ["hat", "glasses"]),
        ("neither dark nor blurry", [], ["dark", "blurry"]),
        ("(no text:1.3), (((no humans)))", [], ["text", "humans"]),
        ("a non-photorealistic tree, borderless", ["tree"], ["photorealistic", "border"]),
        ("photo sans texte", ["photo"], ["texte"]),
        ("no humans, mountain, river, signature", ["mountain", "river"], ["humans", "signature"]),
        ("no text, watermark, logo", [], ["text", "watermark", "logo"]),
        ("a fox, no background, logo", ["fox", "logo"], ["background"]),
        ("skin free from blemishes, avoid text", ["skin"], ["blemishes", "text"]),
        ("a castle --no text, (logos:1.2) <lora:a:1> --ar 1:1", ["castle"], ["text", "logos"]),
        (f"a castle --no text, {'e' * 300}, logos", ["castle"], ["text", "e" * 300, "logos"]),
    ],
)
def test_negation(prompt: str, wanted: list[str], unwanted: list[str]) -> None:
    found = read_prompt(prompt)
    assert sorted(found.unwanted) == sorted(unwanted)
    assert list(found.wanted) == wanted


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_input_is_read_in_linear_time(text: str) -> None:
    started = time.process_time()
    found = read_prompt(text)
    assert time.process_time() - started < 1
    "".join((found.text, *found.wanted, *found.unwanted)).encode("utf-8")


@pytest.mark.parametrize(
    "unit", ["no text, ", "without people at night ", "((a:1.2), [b|c], ", "not a cat and no dog or "]
)
def test_time_grows_linearly(unit: str) -> None:
    def seconds(times: int) -> float:
        return min(_timed(unit * times) for _ in range(3))

    assert seconds(4000) < 12 * seconds(1000) + 0.01  # four times the text; quadratic would be sixteen


def _timed(text: str) -> float:
    started = time.process_time()
    read_prompt(text)
    return time.process_time() - started
