"""Terms: splitting real negative prompts, telling terms apart, writing them back."""

from __future__ import annotations

import time

import pytest

from negopt.syntax import MAX_WEIGHT, plain_unicode, read_fragments
from negopt.terms import Term, format_terms, is_embedding, split_terms, split_words, term_key, unique_terms


def texts(negative: str) -> list[str]:
    return [term.text for term in split_terms(negative)]


@pytest.mark.parametrize(
    ("negative", "expected"),
    [
        ("(worst quality:1.4), lowres", [("worst quality", 1.4), ("lowres", 1)]),
        ("(worst quality, low quality:1.4)", [("worst quality", 1.4), ("low quality", 1.4)]),
        ("((disfigured)), [out of frame]", [("disfigured", 1.21), ("out of frame", 0.909)]),
        ("((a cat:1.2))", [("a cat", 1.32)]),
        ("(deformed, distorted, disfigured 1.3), tattoo", [("deformed", 1.3), ("distorted", 1.3), ("disfigured", 1.3)]),
        ("(deformed, distorted)1.3, poorly drawn", [("deformed", 1.3), ("distorted", 1.3), ("poorly drawn", 1)]),
        ("(mutated hands and fingers: 1.5)", [("mutated hands and fingers", 1.5)]),
        ("(mutated hands AND fingers:1.2)", [("mutated hands and fingers", 1.2)]),
        ("(too many legs;1.3), (text):1.2", [("too many legs", 1.3), ("text", 1.2)]),
        ("multiple breasts:1.5, blurry", [("multiple breasts", 1.5), ("blurry", 1)]),
        ("(text:1.2) watermark", [("text", 1.2), ("watermark", 1)]),
        ("(text)(logo)", [("text", 1.1), ("logo", 1.1)]),
        ("photo (medium), comics \\(style\\)", [("photo medium", 1.1), ("comics (style)", 1)]),
        ("(text:-1), (blurry:0), ugly", [("ugly", 1)]),
        ("{blur: 1.1}, {{ugly}}", [("blur", 1.1), ("ugly", 1.102)]),
        ("((((((((((((((((((((((((((((((ugly))))))))))))))))))))))))))))))", [("ugly", MAX_WEIGHT)]),
        ("[a cat:a dog:0.5], [wrong|anatomy]", [("a cat", 1), ("a dog", 1), ("wrong", 0.909), ("anatomy", 0.909)]),
    ],
)
def test_emphasis(negative: str, expected: list[tuple[str, float]]) -> None:
    found = [(term.text, term.weight) for term in split_terms(negative)]
    assert found[: len(expected)] == [(text, pytest.approx(weight, abs=2e-3)) for text, weight in expected]


@pytest.mark.parametrize(
    ("negative", "expected"),
    [
        ("low quality\nblurry; text|logo", ["low quality", "blurry", "text", "logo"]),
        ("blurry, photo. messy, dirty. unfinished.", ["blurry", "photo", "messy", "dirty", "unfinished"]),
        ("blurry BREAK cat ears AND hat", ["blurry", "cat ears", "hat"]),
        ("Bad_Anatomy,  JPEG   artifacts ,,", ["bad anatomy", "jpeg artifacts"]),
        ("(worst quality:1.4)， (badhandv4) ，empty eyes", ["worst quality", "badhandv4", "empty eyes"]),
        ("<lora:add_detail:-1>, <hypernet:bad-hands-5:1> text, <lyco:x:1>", ["text"]),
        ("<set restore_faces>1</set>, (closeup:1.4)", ["closeup"]),
        ("ＬＯＷ　ＱＵＡＬＩＴＹ, ﬁnger", ["low quality", "finger"]),
        ("text # not this\nlogo", ["text", "logo"]),
        ("__hair__, {prompt} blurry, ${x=1}", ["blurry"]),
        ("{2$$text|logo}, {0.5::ugly|fat}", ["text", "logo", "ugly", "fat"]),
        ("(((text", ["text"]),
        ("text)))", ["text"]),
        ("1.2, 5, ., a, ()", []),
        ("细节模糊不清, плохие руки, สวย", ["细节模糊不清", "плохие руки", "สวย"]),
        ("no text, artist's name, b&w, 3d, 2.5d", ["no text", "artist's name", "b&w", "3d", "2.5d"]),
        ("ugly Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512", ["ugly"]),
        ("Negative prompt: ugly, text\nSteps: 20, Sampler: Euler a", ["ugly", "text"]),
        ("text\x00, lo\u200bgo, \u202eblurry\ud800", ["text", "logo", "blurry"]),
    ],
)
def test_separators_and_syntax(negative: str, expected: list[str]) -> None:
    assert texts(negative) == expected


@pytest.mark.parametrize(
    ("negative", "expected"),
    [
        ("(EasyNegative:1.2), badhandv4", ["EasyNegative", "badhandv4"]),
        (
            "embedding:bad-hands-5.pt, (embedding:FastNegativeV2:0.8)",
            ["embedding:bad-hands-5.pt", "embedding:FastNegativeV2"],
        ),
        ("<bad-artist>, <bad_prompt:0.8>", ["embedding:bad-artist", "embedding:bad_prompt"]),
        ("sketch by bad-artist, text", ["bad-artist", "text"]),
        ("FastNegativeEmbedding CyberRealistic_Negative-neg", ["FastNegativeEmbedding", "CyberRealistic_Negative-neg"]),
        ("By bad artist -neg, text", ["By bad artist -neg", "text"]),
        ("lowres EasyNegative", ["lowres", "EasyNegative"]),
    ],
)
def test_embeddings_stay_terms(negative: str, expected: list[str]) -> None:
    assert texts(negative) == expected
    assert any(is_embedding(text) for text in texts(negative))


@pytest.mark.parametrize(
    "name",
    [
        *("EasyNegative", "easynegative", "badhandv4", "ng_deepnegative_v1_75t", "bad_prompt_version2", "bad-hands-5"),
        *("verybadimagenegative_v1.3", "FastNegativeV2", "negative_hand-neg", "aid291", "embedding:x", "bad_prompt"),
        *(
            "bad-artist-anime",
            "badhands",
            "unaestheticXLv31",
            "Asian-Less-Neg",
            "kkw-ph1-neg",
            "deformityv6",
            "bad_pictures",
        ),
    ],
)
def test_names_of_embeddings(name: str) -> None:
    assert is_embedding(name)


@pytest.mark.parametrize(
    "words",
    [
        *("bad hands", "bad_hands", "bad prompt", "bad anatomy", "badly drawn", "negative space", "3d", "2girls"),
        *(
            "bad-hands",
            "low-res",
            "1990s",
            "jpeg artifacts",
            "badge",
            "version 2",
            "out-of-focus",
            "b&w",
            "",
            "512x512",
        ),
    ],
)
def test_plain_words_are_no_embeddings(words: str) -> None:
    assert not is_embedding(words)


@pytest.mark.parametrize(
    "same",
    [
        ("low-res", "lowres", "Low res", "LOW_RES"),
        ("extra_fingers", "Extra finger", "extra-fingers"),
        ("grayscale", "greyscale", "grey scale"),
        ("black and white", "b&w", "bw", "Black-and-White", "B & W"),
        ("jpg artifacts", "jpeg artefact"),
        ("close-up", "closeup", "close up"),
        ("bodies", "body"),
        ("missing teeth", "missing tooth"),
        ("bad-hands-5", "Bad_Hands_5", "embedding:bad-hands-5.pt"),
        ("women", "woman"),
    ],
)
def test_one_key_for_one_term(same: tuple[str, ...]) -> None:
    assert len({term_key(text) for text in same}) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("blurry", "blurred"),
        ("extra fingers", "missing fingers"),
        ("glass", "glasses"),
        ("short", "shorts"),
        ("2girls", "1girl"),
        ("细节", "质量"),
        ("bad hands", "bad-hands-5"),
    ],
)
def test_different_keys_for_different_terms(one: str, other: str) -> None:
    assert term_key(one) != term_key(other)


def test_numbers_stay_whole() -> None:
    assert split_words("f/1.8, 16:9, Girl's hat") == ["f", "18", "169", "girl", "hat"]


def test_unique_terms_keep_the_first() -> None:
    terms = split_terms("(Extra fingers:1.3), text, extra_finger, TEXT, logo")
    assert [(term.text, term.weight) for term in unique_terms(terms)] == [
        ("extra fingers", 1.3),
        ("text", 1),
        ("logo", 1),
    ]


def test_format_terms() -> None:
    terms = [Term("worst quality", 1.4), Term("low quality", 1.4), Term("lowres"), Term("comics (style)", 0.9)]
    assert format_terms(terms) == r"(worst quality, low quality:1.4), lowres, (comics \(style\):0.9)"
    assert format_terms(terms, weights=False) == r"worst quality, low quality, lowres, comics \(style\)"
    assert format_terms([]) == ""


@pytest.mark.parametrize("weights", [True, False])
def test_what_is_written_reads_back(weights: bool) -> None:
    terms = split_terms(r"(worst quality, low quality:1.4), [text], b&w, card \(medium\), EasyNegative, 3d, ((ugly))")
    again = split_terms(format_terms(terms, weights))
    assert [term.text for term in again] == [term.text for term in terms]
    if weights:
        assert [term.weight for term in again] == [pytest.approx(term.weight, abs=0.006) for term in terms]


HOSTILE = [
    "",
    " \n\t ",
    "(" * 5000,
    ")" * 5000,
    "([{" * 3000 + "text" + ")" * 4000,
    "(" * 5000 + "text" + ")" * 5000,
    "(a" * 5000 + ":1.2)" * 5000,
    "[a:b:" * 4000,
    "\\(" * 5000,
    "<" * 5000 + "lora:x:1>",
    "<lora:" * 3000,
    "__" * 5000,
    "{prompt}" * 3000,
    "${" * 5000,
    "text, " * 10000,
    " ".join(f"word{i}" for i in range(10000)),
    "a" * 100000,
    ":" * 20000,
    ":1" * 10000,
    "1.2 " * 10000,
    "-" * 20000,
    "# " * 5000,
    "#a" * 5000,
    ". " * 10000,
    "\x00\x01\x1b[31m\x7f\x85" * 2000,
    "\u202e\u200f\u2066 مرحبا שלום " * 2000,
    "👩‍👩‍👧‍👦🏳️‍🌈🎨 " * 2000,
    "\ud800\udfff" * 2000,
    "a\u0301" * 5000,
    "ﷺ" * 2000,
    "embedding:" * 5000,
    "BREAK AND " * 5000,
    "NEGATIVE PROMPT: Steps: 1, Seed: " * 2000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_input_is_read_in_linear_time(text: str) -> None:
    started = time.process_time()
    terms = split_terms(text)
    fragments = list(read_fragments(text))
    assert time.process_time() - started < 1.5
    written = format_terms(unique_terms(terms)) + "".join(fragment.text for fragment in fragments)
    written.encode("utf-8")  # no lone surrogates
    assert not any(ord(char) < 32 for char in written)
    assert all(abs(fragment.weight) <= MAX_WEIGHT for fragment in fragments)


def test_plain_unicode_keeps_line_ends_only() -> None:
    assert plain_unicode("a\r\nb\rc\td\x00e\ufefff“g”") == 'a\nb\nc d ef"g"'
