"""How prompts, modes and batches turn into negatives, without a host and with a writer one can read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tests.house import house

arguments = house("a1111_extension.arguments")
negatives = house("a1111_extension.negatives")


class Writer:
    """Writes what it was asked; keeps the questions."""

    def __init__(self) -> None:
        self.questions: list[tuple[list[str], dict[str, Any]]] = []

    def __call__(self, prompts: Sequence[str], options: Mapping[str, Any]) -> list[str]:
        self.questions.append((list(prompts), dict(options)))
        keep = f"{options['keep']}, " if options["keep"] else ""
        return [f"{keep}not {prompt} {options['seed']}" for prompt in prompts]


def controls(**values: Any) -> Any:
    return arguments.read_controls([True], values)


def pictures(*rows: tuple[str, str, int]) -> list[Any]:
    return [negatives.Picture(*row) for row in rows]


def texts(answers: Sequence[Any]) -> list[str]:
    return [answer.text for answer in answers]


@pytest.mark.parametrize(
    ("mode", "own", "expected"),
    [
        ("extend mine", "ugly", "ugly, not cat 0"),
        ("extend mine", "", "not cat 0"),
        ("replace mine", "ugly", "not cat 0"),
        ("only when mine is empty", "ugly", "ugly"),
        ("only when mine is empty", " \n", "not cat 0"),
    ],
)
def test_modes(mode: str, own: str, expected: str) -> None:
    answers = negatives.write_negatives(pictures(("cat", own, 5)), controls(mode=mode), Writer())
    assert texts(answers) == [expected]
    assert answers[0].original == own.strip()


def test_one_text_for_all_pictures_is_one_question() -> None:
    writer = Writer()
    batch = pictures(*[("cat", "ugly", seed) for seed in range(5, 13)])
    assert len(set(texts(negatives.write_negatives(batch, controls(creativity=0.7), writer)))) == 1
    (question,) = writer.questions
    assert question[0] == ["cat"]
    assert question[1]["seed"] == 5, "drawn from the first picture's seed"


def test_without_creativity_no_seed_matters() -> None:
    writer = Writer()
    negatives.write_negatives(pictures(("cat", "", 5)), controls(), writer)
    assert writer.questions[0][1]["seed"] == 0


def test_a_given_seed_goes_before_the_pictures() -> None:
    writer = Writer()
    negatives.write_negatives(pictures(("cat", "", 5)), controls(creativity=1.0, seed=77), writer)
    assert writer.questions[0][1]["seed"] == 77


def test_prompts_of_one_job_are_written_side_by_side() -> None:
    writer = Writer()
    matrix = pictures(("cat", "ugly", 5), ("cat, red", "ugly", 5), ("cat", "ugly", 5), ("cat, blue", "ugly", 5))
    answers = negatives.write_negatives(matrix, controls(), writer)
    assert texts(answers) == [f"ugly, not {prompt} 0" for prompt in ("cat", "cat, red", "cat", "cat, blue")]
    assert [question[0] for question in writer.questions] == [["cat", "cat, red", "cat, blue"]]


def test_negatives_of_their_own_are_kept_apart() -> None:
    writer = Writer()
    answers = negatives.write_negatives(pictures(("cat", "ugly", 5), ("cat", "lowres", 5)), controls(), writer)
    assert texts(answers) == ["ugly, not cat 0", "lowres, not cat 0"]


def test_another_negative_for_each_picture_comes_from_its_seed() -> None:
    writer = Writer()
    batch = pictures(("cat", "", 5), ("cat", "", 6))
    answers = negatives.write_negatives(batch, controls(each_picture=True), writer)
    assert texts(answers) == ["not cat 5", "not cat 6"]
    assert {question[1]["creativity"] for question in writer.questions} == {negatives.VARIED}
    alone = negatives.write_negatives(batch[1:], controls(each_picture=True), Writer())
    assert texts(alone) == ["not cat 6"], "the picture alone gets what it got in the batch"


def test_what_was_written_is_not_extended_again() -> None:
    """A pasted picture has the written text in the box, and in `originals` what it was written from."""
    first = negatives.write_negatives(pictures(("cat", "ugly", 5)), controls(), Writer())[0]
    pasted = controls(originals=arguments.write_originals({first.text: first.original}))
    again = negatives.write_negatives(pictures(("cat", first.text, 5)), pasted, Writer())[0]
    assert again == first
    for_another_prompt = negatives.write_negatives(pictures(("dog", first.text, 5)), pasted, Writer())[0]
    assert for_another_prompt.text == "ugly, not dog 0"
    edited = negatives.write_negatives(pictures(("cat", first.text + ", mine", 5)), pasted, Writer())[0]
    assert edited.text == f"{first.text}, mine, not cat 0"


def test_what_was_written_from_nothing_counts_as_empty() -> None:
    pasted = controls(mode="only when mine is empty", originals=arguments.write_originals({"not cat 0": ""}))
    answer = negatives.write_negatives(pictures(("dog", "not cat 0", 5)), pasted, Writer())[0]
    assert (answer.text, answer.original) == ("not dog 0", "")


def test_seeds_of_pictures() -> None:
    assert negatives.picture_seed(5, 9, 0) == 5
    assert negatives.picture_seed(5, 9, 0.3) != negatives.picture_seed(5, 10, 0.3)
    for seed in (-3, 2**64, 2**53):
        assert 0 <= negatives.picture_seed(seed, 1, 0.5) < 2**53


def test_comments() -> None:
    assert negatives.strip_comments("a cat # secret\nred # more") == "a cat \nred "
    assert "#" not in negatives.strip_comments("# all of it")
