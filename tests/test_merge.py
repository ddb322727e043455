"""Several negative prompts as one: nothing twice, nothing that the prompt asks for, nothing lost."""

from __future__ import annotations

from negopt.merge import merge


def test_the_first_of_repeated_terms_stays_with_its_weight() -> None:
    merged = merge("a knight", "(blurry:1.3), lowres", "Low-Res, extra fingers, blurry")
    assert merged.text == "(blurry:1.3), lowres, extra fingers"
    assert merged.repeated == ("low-res", "blurry")
    assert merged.conflicting == ()


def test_what_the_prompt_asks_for_is_left_out() -> None:
    merged = merge("black and white pencil sketch of a cat", "monochrome, sketch, bad anatomy", "greyscale, text")
    assert merged.text == "bad anatomy, text"
    assert merged.conflicting == ("monochrome", "sketch", "greyscale")


def test_what_is_to_be_avoided_is_left_out_with_its_variants() -> None:
    assert merge("a knight", "bad hands, blurry", avoid="bad hand").text == "blurry"


def test_embeddings_keep_their_names_and_weights() -> None:
    assert merge("a knight", "embedding:EasyNegative, (embedding:bad_hand-5:1.2)").text == (
        "embedding:EasyNegative, (embedding:bad_hand-5:1.2)"
    )


def test_nothing_gives_nothing_and_merging_again_changes_nothing() -> None:
    assert merge("a knight").text == merge("", "", " ,").text == ""
    once = merge("a knight", "((bad hands)), [text], ugly, (a, b:1.2), Ugly").text
    assert merge("a knight", once).text == once


def test_tags_that_are_known_letter_by_letter_stay_as_they_are() -> None:
    assert merge("a cat", "score_4, Score_5_up, source_pony, rating_explicit").text == (
        "score_4, score_5_up, source_pony, rating_explicit"
    )


def test_weights_stay_numbers_that_hosts_read() -> None:
    assert merge("a cat", "<my neg:inf>, (text:0.001), (blurry:0.004)").text == "(my, neg:10), (text, blurry:0.01)"
