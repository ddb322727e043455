"""The infotext's keys, and the way back to the controls."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from tests.house import house

arguments = house("a1111_extension.arguments")
infotext = house("a1111_extension.infotext")
negatives = house("a1111_extension.negatives")

WRITTEN = negatives.Negative("ugly, blurry", "ugly")


def controls(**values: Any) -> Any:
    return arguments.read_controls([True], values)


def keys(given: Any, pictures: list[Any] | None = None, hires: list[Any] | None = None, seed: int = 5) -> Any:
    return infotext.describe(given, pictures or [WRITTEN], hires or [], seed)


def pasted(given: Any, **host: str) -> dict[str, Any]:
    """The parameters that the host reads back from a picture with these controls."""
    read = {key: str(value) for key, value in keys(given).items() if value is not None}
    return {**read, "Seed": "5", "Negative prompt": WRITTEN.text, "Hires negative prompt": "", **host}


def restored(params: dict[str, Any]) -> Any:
    """The controls after pasting over their defaults."""
    values = {name: reader(params) for name, reader in infotext.READERS.items()}
    return arguments.read_controls([], {name: value for name, value in values.items() if value is not None})


def test_defaults_that_matter_are_stated_and_others_are_not() -> None:
    assert keys(controls()) == {
        "NegOpt": "extend mine",
        "NegOpt model": "negopt-mini",
        "NegOpt creativity": "0",
        "NegOpt max terms": 30,
        "NegOpt original": "ugly",
    }


def test_every_control_comes_back() -> None:
    given = controls(
        mode="replace mine",
        model="other",
        creativity=0.35,
        max_terms=7,
        avoid="frame, text",
        weights=True,
        embeddings=True,
        each_picture=True,
        max_tokens=150,
        prefer="aesthetics=1, alignment=0.5",
    )
    back = restored(pasted(given))
    assert back.enabled
    assert {**vars(back), "originals": {}} == {**vars(given), "originals": {}}
    assert back.originals == {"ugly, blurry": "ugly"}


def test_the_seed_is_stated_where_it_matters_and_free_again_where_it_was_the_pictures() -> None:
    assert keys(controls(creativity=0.5))["NegOpt seed"] == 5
    assert "NegOpt seed" not in keys(controls())
    assert "NegOpt seed" not in keys(controls(creativity=0.5, each_picture=True))
    assert restored(pasted(controls(creativity=0.5))).seed == -1
    assert restored(pasted(controls(creativity=0.5), Seed="6")).seed == 5, "the second picture of a batch"


def test_a_picture_without_negopt_clears_the_checkbox_and_nothing_else() -> None:
    values = {name: reader({"Seed": "1"}) for name, reader in infotext.READERS.items()}
    assert values.pop("enabled") is False
    assert values.pop("originals") == ""
    assert set(values.values()) == {None}


def test_what_anyone_wrote_into_an_infotext_does_no_harm() -> None:
    garbage = {"NegOpt": "eat mine", "NegOpt creativity": "lots", "NegOpt max terms": "1e9", "NegOpt seed": "x"}
    back = restored({**garbage, "Seed": "5"})
    assert back.enabled
    assert {**vars(back), "enabled": False} == vars(arguments.read_controls([]))


def test_an_empty_original_is_remembered() -> None:
    params = pasted(controls())
    del params["NegOpt original"]
    assert restored(params).originals == {"ugly, blurry": ""}


def test_a_style_that_pasting_took_out_of_the_negative_stays_out() -> None:
    """Where nothing was written, the text is the original; the host turns the style's part of it into the style."""
    for left in ("ugly", ""):
        params = pasted(
            controls(mode="only when mine is empty"), **{"NegOpt original": f"{left}, sunshine".strip(", ")}
        )
        assert restored({**params, "Negative prompt": left, "Styles array": "foggy"}).originals == {}


def test_a_hires_negative_of_its_own_is_remembered() -> None:
    hires = [negatives.Negative("grain, noise", "grain")]
    described = keys(controls(), [WRITTEN], hires)
    assert described["NegOpt hires original"] == "grain"
    params = pasted(controls()) | {"Hires negative prompt": "grain, noise", "NegOpt hires original": "grain"}
    assert restored(params).originals == {"ugly, blurry": "ugly", "grain, noise": "grain"}
    assert "NegOpt hires original" not in keys(controls(), [WRITTEN], [WRITTEN])


def test_values_that_differ_are_found_for_each_picture() -> None:
    """The host counts within a batch while it makes pictures, and through the whole job afterwards."""
    value = infotext.per_picture(["a", "b", "c", "d"])
    p = SimpleNamespace(all_negative_prompts=list("wxyz"), batch_size=2, iteration=1)
    in_batch = [value(p=p, index=i, all_negative_prompts=["y", "z"], use_main_prompt=False, k=1) for i in range(2)]
    assert in_batch == ["c", "d"]
    assert value(p=p, index=3, all_negative_prompts=list("wxyz")) == "d"
    assert value(p=p, index=0, all_negative_prompts=["y", "z"], use_main_prompt=True) == "a", "the grid"
    assert infotext.per_picture(["a", "a"]) == "a"


def test_only_our_keys_are_ours() -> None:
    assert infotext.is_ours("NegOpt")
    assert infotext.is_ours("NegOpt max terms")
    assert not infotext.is_ours("NegOptimist")
    assert not infotext.is_ours("Negative prompt")
