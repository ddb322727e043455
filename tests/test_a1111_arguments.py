"""The script's controls: one table for the panel, the API's list, the infotext and the axes."""

from __future__ import annotations

import json

import pytest

from tests.house import house

arguments = house("a1111_extension.arguments")
errors = house("negopt.errors")
options = house("negopt.options")


def test_the_api_list_keeps_its_order() -> None:
    """Callers send values by position: this list may only grow at its end."""
    assert [argument.name for argument in arguments.ARGUMENTS] == [
        "enabled",
        "mode",
        "model",
        "creativity",
        "max_terms",
        "avoid",
        "weights",
        "embeddings",
        "each_picture",
        "max_tokens",
        "seed",
        "originals",
        "prefer",
    ]


def test_what_the_generator_knows_is_its_own_definition() -> None:
    for name in arguments.GENERATOR_OPTIONS:
        assert arguments.BY_NAME[name].option is options.OPTIONS[name]


def test_missing_values_take_their_defaults() -> None:
    controls = arguments.read_controls([])
    assert not controls.enabled
    assert controls.mode == "extend mine"
    assert controls.seed == -1
    assert controls.options["max_terms"] == options.OPTIONS["max_terms"].default
    assert arguments.read_controls([True, None, None, None]).enabled


def test_values_by_position() -> None:
    controls = arguments.read_controls([True, "Replace mine", "other", 0.5, 12.0, ["a", "b"], True, True, True, 0, 9])
    assert (controls.mode, controls.model, controls.each_picture, controls.seed) == ("replace mine", "other", True, 9)
    assert controls.options == {
        "creativity": 0.5,
        "max_terms": 12,
        "avoid": "a, b",
        "weights": True,
        "embeddings": True,
        "max_tokens": 0,
        "prefer": "",
    }
    assert arguments.read_controls([None] * 12 + [{"aesthetics": 1}]).options["prefer"] == "aesthetics=1"


def test_a_cell_of_a_grid_overrides_the_panel() -> None:
    controls = arguments.read_controls([True, "replace mine"], {"enabled": False, "max_terms": 3})
    assert not controls.enabled
    assert controls.mode == "replace mine"
    assert controls.options["max_terms"] == 3


@pytest.mark.parametrize(
    ("position", "value", "message"),
    [
        (0, "yes", "enabled must be true or false"),
        (1, "append", "mode must be one of 'extend mine', 'replace mine', 'only when mine is empty'"),
        (2, 7, "model must be text"),
        (3, "x", "creativity must be a number from 0 to 2"),
        (3, 2.5, "creativity must be a number from 0 to 2"),
        (4, 1.5, "max_terms must be a whole number from 0 to 100"),
        (5, {"a": 1}, "avoid must be text"),
        (8, 1, "each_picture must be true or false"),
        (9, -1, "max_tokens must be a whole number"),
        (10, -2, "seed must be a whole number from -1"),
        (11, "[1]", "originals must be a JSON object of texts"),
        (11, '{"a": 1}', "originals must be a JSON object of texts"),
        (11, "[" * 100_000, "originals must be a JSON object of texts"),
        (12, "aesthetics", "prefer: 'aesthetics' is not METRIC=NUMBER"),
    ],
)
def test_a_wrong_value_is_named(position: int, value: object, message: str) -> None:
    values: list[object] = [None] * len(arguments.ARGUMENTS)
    values[position] = value
    with pytest.raises(errors.OptionError, match=message):
        arguments.read_controls(values)


def test_originals_travel_as_json() -> None:
    table = {"ugly, blurry": "ugly", 'läßt "x"': ""}
    assert json.loads(arguments.write_originals(table)) == table
    values = [None] * 11 + [arguments.write_originals(table)]
    assert arguments.read_controls(values).originals == table
