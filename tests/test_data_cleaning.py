"""Cleaning: what a pair becomes, and why a pair goes."""

from __future__ import annotations

import json
from importlib import resources

import pytest

from training.data.cleaning import Cleaner, CleanPair, repair
from training.data.content import ContentFilter, default_filter
from training.data.pairs import RawPair


def clean(prompt: str, negative: str, **fields: object) -> CleanPair:
    row = Cleaner().clean(RawPair(prompt, negative, source="s", **fields))  # type: ignore[arg-type]
    assert row is not None
    return row


def reason(prompt: str, negative: str, keep_model_written: bool = False, **fields: object) -> str:
    cleaner = Cleaner(keep_model_written)
    assert cleaner.clean(RawPair(prompt, negative, source="s", **fields)) is None  # type: ignore[arg-type]
    assert (cleaner.read, sum(cleaner.dropped.values())) == (1, 1)
    return next(iter(cleaner.dropped))


def test_columns_of_an_ordinary_pair() -> None:
    row = clean(
        "(masterpiece:1.2), 1girl, long_hair <lora:x:0.8>",
        "EasyNegative, (worst quality:1.4), Bad_Hands, bad hands, (badhandv4:1.1), text",
        page="p",
        kind="gallery",
        licence="MIT",
    )
    assert row.prompt == "(masterpiece:1.2), 1girl, long_hair <lora:x:0.8>"
    assert row.text == "masterpiece, 1girl, long hair"
    assert row.terms == ["worst quality", "bad hands", "text"]
    assert row.weights == [1.4, 1.0, 1.0]
    assert row.embeddings == ["EasyNegative", "badhandv4"]
    assert (row.page, row.kind, row.source, row.licence) == ("p", "gallery", "s", "MIT")


def test_keys_tell_the_same_from_the_different() -> None:
    one = clean("A Boat, at sea", "bad hands, text")
    same = clean("a boat at sea", "(Text:1.3), bad_hand, EasyNegative")
    other = clean("a boat at sea", "bad hands, text, fog")
    assert one.pair_key == same.pair_key
    assert one.negative_key == same.negative_key != other.negative_key
    assert one.term_set == same.term_set != other.term_set
    assert one.page == same.page != other.page  # no author named: the negative stands for the page


def test_a_styles_placeholder_goes_and_its_words_stay() -> None:
    row = clean("oil painting of {prompt}, thick brush strokes", "photo, {prompt}")
    assert row.prompt == "oil painting of, thick brush strokes"
    assert row.text == "oil painting of, thick brush strokes"
    assert row.terms == ["photo"]
    assert reason("{prompt}", "photo") == "no words in the prompt"


def test_what_copying_left_behind_goes() -> None:
    assert repair("a cat\nNegative prompt: fog\nSteps: 20, Sampler: x", "") == ("a cat", "fog")
    assert repair("a &lt;b&gt; &amp; c", "x\nSteps: 20, Sampler: Euler") == ("a <b> & c", "x")
    assert repair("a", "Negative prompt: x, y") == ("a", "x, y")
    assert repair("a, Seed: 12345, Model hash: ff", 'x", Hires upscale: 2, Hires steps: 20') == ("a", "x")
    assert repair("seed: a small one", "size: 3d model") == ("seed: a small one", "size: 3d model")
    assert repair("a", "negative space") == ("a", "negative space")
    assert repair("{p} at sea###fog", "x")[0] == "at sea"
    told = "You are an assistant designed to generate {} images based on textual prompts. <Prompt Start> {}"
    assert repair(told.format("superior", "a cat"), told.format("low-quality", "fog, rain")) == ("a cat", "fog, rain")
    assert repair("a sign: <Prompt Start>", "x") == ("a sign: <Prompt Start>", "x")


@pytest.mark.parametrize(
    ("prompt", "negative", "why"),
    [
        ("a boat", "", "no negative prompt"),
        ("a boat", "EasyNegative, badhandv4", "only embeddings in the negative"),
        ("a boat", "nipples", "no usable term in the negative"),
        ("<lora:x:1>", "fog", "no words in the prompt"),
        ("boat " * 700, "fog", "too long"),
        ("a boat", ", ".join(f"term number{i}x" for i in range(200)), "too long"),
        ("a boat at sea, oil, fog, night", "fog, night, oil, text", "negative repeats the prompt"),
        ("Sure, here is a prompt: a boat", "fog", "written by a language model"),
        ("a nude woman", "fog", "explicit prompt"),
        ("heil hitler poster", "fog", "hateful prompt"),
        ("a child in a bikini", "fog", "sexual content about minors"),
        ("a 14 year old girl, lingerie", "fog", "sexual content about minors"),
        ("loli", "fog", "sexual content about minors"),
        ("a boat", "nude child", "sexual content about minors"),
    ],
)
def test_reasons_to_drop(prompt: str, negative: str, why: str) -> None:
    assert reason(prompt, negative) == why


@pytest.mark.parametrize(
    ("prompt", "negative"),
    [
        ("a child with a kite", "nsfw, nude"),  # it keeps the picture decent
        ("a family at the beach, no nudity", "fog"),
        ("a woman in a bikini", "fog"),
        ("sussex cocktail bar, peacock, shuttlecock, classic", "fog"),
        ("a portrait of a 17 years older man", "fog"),
    ],
)
def test_decent_prompts_stay(prompt: str, negative: str) -> None:
    assert Cleaner().clean(RawPair(prompt, negative, source="s")) is not None


def test_model_written_rows_are_kept_when_asked() -> None:
    pair = RawPair("a boat", "fog", source="s", model_written=True)
    assert Cleaner().clean(pair) is None
    assert Cleaner(keep_model_written=True).clean(pair) is not None


def test_explicit_terms_go_from_a_negative_and_mild_ones_are_evened_out() -> None:
    cleaner = Cleaner()
    row = cleaner.clean(RawPair("a woman", "naked, NSFW, nipples, bad anatomy, nudity, extra_nipples", source="s"))
    assert row is not None
    assert row.terms == ["nude", "nsfw", "bad anatomy"]
    assert cleaner.changed["indecent terms dropped"] == 2


def test_terms_against_people_go() -> None:
    row = clean("a portrait", "asian, Dark-skinned Woman, japanese text, african american people, dark skin tones, fog")
    assert row.terms == ["japanese text", "dark skin tones", "fog"]


def test_remnants_are_no_terms() -> None:
    row = clean("a boat", "by, fog 1.2, (negative prompt:1.2), 丑陋的, bad image v4, bad image, black lines0.9, 2girls")
    assert row.terms == ["fog", "bad image", "black lines", "2girls"]


def test_sentences_are_no_terms() -> None:
    row = clean("a boat", "fog, a photograph in which only a thin slice is sharp and nothing else, rain")
    assert row.terms == ["fog", "rain"]


@pytest.mark.parametrize(
    "negative", ["((((", ")" * 3000, "(" * 3000 + "a", "\0\x01", "👍", "שלום, عالم", "a:1.5), (b:", "[[a|b]:0.5"]
)
def test_odd_negatives_never_raise(negative: str) -> None:
    Cleaner().clean(RawPair("a boat", negative, source="s"))
    Cleaner().clean(RawPair(negative, "fog", source="s"))


def test_the_word_list_ships_and_holds_no_slur_in_clear() -> None:
    lists = json.loads((resources.files("training.data") / "content_words.json").read_text("utf-8"))
    assert all(len(digest) == 16 and int(digest, 16) >= 0 for digest in lists["hateful_sha256"])
    assert len(lists["hateful_sha256"]) > 20
    assert set(lists["allowed"]) == {"nsfw", "nude"}
    for allowed in lists["allowed"]:
        assert default_filter().clean_term(allowed) == allowed


def test_hashed_words_are_found() -> None:
    lists = json.loads((resources.files("training.data") / "content_words.json").read_text("utf-8"))
    lists["hateful_sha256"] = ["6a514cd09d77f4fd"]  # sha256 of "grimble", cut to 16 digits
    words = ContentFilter(lists)
    assert words.reason_against("a Grimble, walking", []) == "hateful prompt"
    assert words.reason_against("a grimbler, walking", []) is None
    assert words.clean_term("ugly grimble") is None
