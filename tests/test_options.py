"""One definition for every option, and values outside it refused."""

from __future__ import annotations

from typing import Any

import pytest

from negopt import OPTIONS, OptionError, Options


def test_every_option_of_the_issue_is_defined_with_help_and_range() -> None:
    assert list(OPTIONS) == [
        "keep", "avoid", "max_terms", "max_tokens", "creativity", "seed", "n", "weights", "embeddings",
        "prefer",
    ]  # fmt: skip
    for option in OPTIONS.values():
        assert option.help.endswith(".")
        assert option.check(option.default) == option.default
        if option.type in (int, float):
            assert option.minimum is not None
            assert option.maximum is not None
            assert option.minimum <= option.default <= option.maximum  # type: ignore[operator]


def test_values_are_given_back_in_the_options_own_type() -> None:
    options = Options.of({"max_terms": 5.0, "creativity": 1, "keep": ["a", "b"]})
    assert (options.max_terms, type(options.max_terms)) == (5, int)
    assert (options.creativity, type(options.creativity)) == (1.0, float)
    assert options.keep == "a, b"


def test_a_preference_is_text_or_a_table() -> None:
    for same in ("a=1.0, b=0.25", "  a=1.0, b=0.25 ", {"a": 1.0, "b": 0.25}, ["a=1.0", "b=0.25"]):
        assert Options.of({"prefer": same}).prefer == "a=1.0, b=0.25"
    assert Options.of({"prefer": {}}).prefer == Options.of({"prefer": " "}).prefer == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_terms", -1),
        ("max_terms", 101),
        ("max_terms", 2.5),
        ("max_terms", "5"),
        ("max_terms", True),
        ("creativity", float("nan")),
        ("creativity", float("inf")),
        ("creativity", 2.01),
        ("seed", -1),
        ("seed", 2**60),
        ("seed", 10**400),
        ("n", 0),
        ("weights", 1),
        ("weights", "yes"),
        ("keep", None),
        ("keep", [1]),
        ("keep", {"a": 1}),
        ("prefer", "aesthetics"),
        ("prefer", "aesthetics=much"),
        ("prefer", "a=1,,b=2"),
        ("prefer", {"aesthetics": "much"}),
        ("prefer", {"aesthetics": True}),
        ("prefer", 1),
    ],
)
def test_a_bad_value_is_refused_by_name_in_one_line(name: str, value: Any) -> None:
    with pytest.raises(OptionError) as caught:
        Options.of({name: value})
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_option_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(OptionError, match=r"max_term'.*max_terms"):
        Options.of({"max_term": 3})
