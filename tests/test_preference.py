"""Preferences: what a model with vectors for its metrics reads, writes, refuses, and learns."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import T5ForConditionalGeneration

import negopt
from negopt.cli import main
from negopt.locate import PREFERENCE
from negopt.preference import Preferences, read_preference
from tests.preferring import give_preferences, set_metrics
from tests.test_rl_stage import GROUP, Painting, weights
from tests.tiny_policy import PROMPTS, read, tiny_policy
from training.evaluation.outcome import pictures_of
from training.evaluation.preference import (
    FIRST_NOISE,
    Curves,
    preference_curves,
    weighting,
    weights_of,
    write_curves,
)
from training.rewards import Aesthetics, Judge, WeightedReward
from training.rl.gallery import Gallery
from training.rl.learner import Learning, as_generator
from training.rl.policy import Draws, Policy, collate
from training.rl.preferences import LIKELIER, draw_preference, new_preferences, retold, reward_weights
from training.rl.recipe import Recipe
from training.rl.stage import Stage
from training.samplers import Picture

METRICS = ("aesthetics", "fidelity")

# Weights


@pytest.mark.parametrize(
    ("prefer", "shares"),
    [
        (None, (1 / 3, 1 / 3, 1 / 3)),
        ({}, (1 / 3, 1 / 3, 1 / 3)),
        ({"b": 2}, (0, 1, 0)),
        ({"c": 1, "a": 3.0}, (0.75, 0, 0.25)),
        ({"a": 1e308, "b": 1e308, "c": 1e308}, (1 / 3, 1 / 3, 1 / 3)),
        ({"a": 5e-324}, (1, 0, 0)),
    ],
)
def test_weights_are_relative(prefer: Mapping[str, float] | None, shares: tuple[float, ...]) -> None:
    found = Preferences(("a", "b", "c"), torch.zeros(3, 4)).shares(prefer)
    assert found == pytest.approx(shares)
    assert sum(found) == pytest.approx(1)


@pytest.mark.parametrize(
    ("prefer", "says"),
    [
        ({"beauty": 1}, "there are: a, b"),
        ({"a": -1, "b": 2}, "weight of a must be a number from 0"),
        ({"a": math.nan}, "must be a number"),
        ({"a": math.inf}, "must be a number"),
        ({"a": 10**400}, "must be a number"),
        ({"a": True}, "must be a number"),
        ({"a": "much"}, "must be a number"),
        ({"a": 0, "b": 0.0}, "at least one weight"),
        ("a=1", "must be a table"),
    ],
)
def test_what_says_nothing_is_refused(prefer: Any, says: str) -> None:
    with pytest.raises(negopt.OptionError, match=says):
        Preferences(("a", "b"), torch.zeros(2, 4)).shares(prefer)


def test_weights_are_read_from_text() -> None:
    assert read_preference("aesthetics=1, alignment = .5") == {"aesthetics": 1.0, "alignment": 0.5}
    for text in ("", "aesthetics", "aesthetics=much", "a=1,,b=2"):
        with pytest.raises(negopt.OptionError, match="is not METRIC=NUMBER"):
            read_preference(text)


# The generator


@pytest.fixture(scope="module", params=[1.0, 0.0], ids=["settled", "step by step"])
def plain(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that knows no preferences."""
    return tiny_policy(tmp_path_factory.mktemp("plain"), anchor=request.param)


@pytest.fixture(scope="module")
def model(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with vectors, far apart."""
    folder = tmp_path_factory.mktemp("preferring") / "model"
    shutil.copytree(plain, folder)
    give_preferences(folder, METRICS)
    return folder


def test_a_preference_changes_what_is_written(model: Path) -> None:
    generator = negopt.load(model)
    assert generator.metrics == METRICS
    alone = {name: generator.generate_batch(PROMPTS, prefer={name: 1}, max_terms=5) for name in METRICS}
    assert alone["aesthetics"] != alone["fidelity"]
    assert alone["aesthetics"] == generator.generate_batch(
        PROMPTS, prefer={"aesthetics": 7, "fidelity": 0}, max_terms=5
    )
    assert alone["aesthetics"][1].text == generator.generate(PROMPTS[1], prefer={"aesthetics": 1}, max_terms=5).text
    even = generator.generate_batch(PROMPTS, max_terms=5)
    assert even == list(generator.stream(PROMPTS, prefer={"fidelity": 2, "aesthetics": 2}, max_terms=5))


def test_the_network_adds_the_vector_to_every_token_as_transformers_does(model: Path) -> None:
    generator = negopt.load(model)
    assert generator.preferences is not None
    shift = generator.preferences.shifts([(0.25, 0.75), (1.0, 0.0)])
    vectors = load_file(model / PREFERENCE)
    torch.testing.assert_close(shift[0], 0.25 * vectors["aesthetics"] + 0.75 * vectors["fidelity"])
    input_ids = torch.tensor([[5, 9, 1], [7, 1, 0]])
    mask, decoder_input_ids = input_ids != 0, torch.tensor([[0, 4], [0, 6]])
    network = T5ForConditionalGeneration.from_pretrained(model, dtype=torch.float32).eval()
    with torch.no_grad():
        theirs = network(
            inputs_embeds=network.shared(input_ids) + shift.unsqueeze(1),
            attention_mask=mask.long(),
            decoder_input_ids=decoder_input_ids,
        ).logits
    ours = generator.network.logits(input_ids, mask, decoder_input_ids, shift)
    assert (ours - theirs).abs().max() < 1e-4
    assert (ours - generator.network.logits(input_ids, mask, decoder_input_ids)).abs().max() > 1e-2


def test_a_model_without_preferences_refuses_one(plain: Path, model: Path) -> None:
    generator = negopt.load(plain)
    assert generator.metrics == ()
    assert generator.generate("a face", prefer={}) == generator.generate("a face")
    with pytest.raises(negopt.OptionError, match="not trained for preferences"):
        generator.generate("a face", prefer={"aesthetics": 1})
    with pytest.raises(negopt.OptionError, match="there are: aesthetics, fidelity"):
        negopt.load(model).stream(iter(["a face"]), prefer={"beauty": 1})
    assert negopt.load(model).generate("a face", prefer="fidelity=1") == negopt.load(model).generate(
        "a face", prefer={"aesthetics": 0, "fidelity": 3}
    )


def test_the_command_line_takes_a_preference(model: Path, plain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["a face", "--max-terms", "5", "--prefer", "fidelity=1"]
    assert main([*given, "--model", str(model)]) == 0
    expected = negopt.load(model).generate("a face", max_terms=5, prefer={"fidelity": 1})
    assert capsys.readouterr().out == expected.text + "\n"
    for wrong in (["--model", str(plain)], ["--model", str(model), "--prefer", "beauty=1"], ["--prefer", "much"]):
        assert main([*given, *wrong]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    ("metrics", "vectors", "says"),
    [
        (METRICS, None, PREFERENCE),
        (METRICS, {"aesthetics": torch.ones(32)}, "do not name the same metrics \\(fidelity\\)"),
        (METRICS, dict.fromkeys(("aesthetics", "fidelity", "more")), "\\(more\\)"),
        (METRICS, {"aesthetics": torch.ones(32), "fidelity": torch.ones(31)}, "'fidelity' is \\[31\\]"),
        (METRICS, {"aesthetics": torch.ones(32), "fidelity": torch.ones(32, dtype=torch.int8)}, "torch.int8"),
        (METRICS, {"aesthetics": torch.ones(32), "fidelity": torch.full((32,), math.nan)}, "not finite"),
        ("aesthetics", {}, "no list of names"),
        (["a", "a"], {}, "names one twice"),
        ([1], {}, "no list of names"),
    ],
)
def test_damaged_files_are_named(model: Path, tmp_path: Path, metrics: object, vectors: Any, says: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model, folder)
    set_metrics(folder, metrics)
    (folder / PREFERENCE).unlink()
    if vectors is not None:
        save_file({n: torch.ones(32) if v is None else v.clone() for n, v in vectors.items()}, folder / PREFERENCE)
    with pytest.raises(negopt.ModelError, match=says) as error:
        negopt.load(folder)
    assert "\n" not in str(error.value)


# Training


def new_policy(folder: Path, generator: negopt.Generator) -> Policy:
    network = T5ForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    assert generator.network.writable is not None
    return Policy(
        network, generator.network.writable, generator.settings.anchor, preferences=generator.preferences
    ).eval()


def drawn(generator: negopt.Generator) -> list[negopt.rollout.Rollout]:
    prefer: list[Mapping[str, float] | None] = [
        {"aesthetics": 1},
        None,
        {"fidelity": 1},
        {"aesthetics": 0.2, "fidelity": 0.8},
    ]
    seeds = [[10 * row + copy for copy in range(4)] for row in range(len(PROMPTS))]
    return [rollout for group in generator.draw(PROMPTS, seeds, prefer=prefer, max_terms=5) for rollout in group]


def test_training_gives_draws_the_probability_they_were_drawn_with(model: Path) -> None:
    generator = negopt.load(model)
    policy = new_policy(model, generator)
    draws = collate(drawn(generator), policy.writable)
    assert draws.shares[::4].tolist() == [pytest.approx(s) for s in ([1, 0], [0.5, 0.5], [0, 1], [0.2, 0.8])]
    with torch.no_grad():
        scored = policy(draws)
        other = policy(replace(draws, shares=draws.shares.flip(1)))
    torch.testing.assert_close(scored.log_probs, draws.log_probs, atol=1e-4, rtol=1e-4)
    moved = ((scored.log_probs - other.log_probs).abs() * draws.mask).sum(1)
    assert moved[:4].min() > 0.1  # the corner that became the other one
    assert moved[4:8].max() == 0  # all alike, either way round


def test_it_begins_as_the_model_without_preferences(plain: Path) -> None:
    generator = negopt.load(plain)
    policy = new_policy(plain, generator)
    told = Policy(
        policy.network, policy.writable, policy.anchor, preferences=new_preferences(policy.network, METRICS)
    ).eval()
    draws = collate(drawn(as_generator(told, generator)), policy.writable)
    with torch.no_grad():
        assert torch.equal(told(draws).distributions, policy(draws).distributions)


def test_preferences_are_drawn_over_corners_middle_and_all_between() -> None:
    metrics = ("a", "b", "c")
    found = [draw_preference(place, place, metrics) for place in range(800)]
    assert all(sum(weights.values()) == pytest.approx(1) for weights in found)
    assert found[:4] == [
        {"a": 1, "b": 0, "c": 0}, {"a": 0, "b": 1, "c": 0}, {"a": 0, "b": 0, "c": 1}, dict.fromkeys(metrics, 1 / 3)
    ]  # fmt: skip
    between = torch.tensor([list(weights.values()) for place, weights in enumerate(found) if place % 8 > 3])
    assert between.mean(0).tolist() == pytest.approx([1 / 3] * 3, abs=0.05)
    assert between.var(0).tolist() == pytest.approx([1 / 18] * 3, abs=0.015)  # Dirichlet(1, 1, 1)
    assert draw_preference(5, 5, metrics) == found[5] != draw_preference(6, 5, metrics)


def test_a_draw_is_paid_as_it_was_told() -> None:
    found = reward_weights(torch.tensor([[1.0, 0.0], [0.5, 0.5], [0.3, 0.4]]), METRICS)
    torch.testing.assert_close(found["aesthetics"], torch.tensor([1.0, 0.5**0.5, 0.6]))
    torch.testing.assert_close(found["fidelity"], torch.tensor([0.0, 0.5**0.5, 0.8]))


def test_a_draw_counts_under_each_preference_as_much_as_it_is_likely(model: Path) -> None:
    generator = negopt.load(model)
    policy = new_policy(model, generator)
    draws = collate(drawn(generator), policy.writable)
    (own, whole), *others = retold(draws, policy)
    assert own is draws
    assert whole.tolist() == [1.0] * len(draws)
    for row, (told, counts) in enumerate(others):
        assert told.shares.tolist() == [[float(column == row) for column in range(2)]] * len(draws)
        assert torch.equal(told.tokens, draws.tokens)
        likelier = (told.log_probs - draws.log_probs).sum(1).exp()
        torch.testing.assert_close(counts, likelier.clamp(max=LIKELIER))
        assert 0 < counts.min() < 1 < counts.max()
    assert len(others) == len(METRICS)
    joined = Draws.joined([own, others[0][0]])
    assert torch.equal(joined.shares, torch.cat([draws.shares, others[0][0].shares]))
    assert len(joined) == 2 * len(draws)


# A run


class Colours(Painting):
    """Red that brightens with "blurry" and "wilted", blue with "text" and "logo"; each darkens with all else."""

    def _paint(self, picture: Picture) -> torch.Tensor:
        noise = torch.rand((3, 2, 2), generator=torch.Generator().manual_seed(picture.seed))
        terms = [term for term in picture.negative_prompt.split(", ") if term]
        light = [sum(1 if term in liked else -1 for term in terms) for liked in (RED, "nothing", BLUE)]
        return (0.5 + 0.1 * (noise - 0.5) + 0.08 * torch.tensor(light).view(3, 1, 1)).clamp(0, 1)


RED, BLUE = ("blurry", "wilted"), ("text", "logo")
EITHER = replace(
    GROUP,
    steps=30,
    max_terms=2,  # so that one list cannot hold the liked terms of both
    prompts=6,
    weights={"red": 1.0, "blue": 1.0},
    preferences=True,
    learning=Learning(learning_rate=3e-3, kl_weight=0.01),
)


BY_CRITIC = replace(EITHER, algorithm="critic", copies=4, learning=Learning(learning_rate=3e-3))


def stage(model: Path, out: Path, recipe: Recipe = EITHER) -> Stage:
    def shade(channel: int) -> Aesthetics:
        return Aesthetics(lambda images: images.mean((2, 3)), lambda means: 10 * means[:, channel])

    judges: dict[str, Judge] = {"red": shade(0), "blue": shade(2), "green": shade(1)}
    gallery = Gallery(Colours(), WeightedReward(judges, recipe.weights))
    return Stage(model, PROMPTS * 2, gallery, recipe, out, read)


def share_of(liked: Sequence[str], answers: Sequence[negopt.NegativePrompt]) -> float:
    texts = [term.text for answer in answers for term in answer.terms]
    return sum(text in liked for text in texts) / len(texts)


@pytest.mark.parametrize("recipe", [EITHER, BY_CRITIC], ids=["group", "critic"])
def test_one_model_learns_for_every_weighting(plain: Path, tmp_path: Path, recipe: Recipe) -> None:
    history = stage(plain, tmp_path, recipe).run()
    rewards = torch.tensor([measured["reward"] for measured in history])
    assert rewards[-6:].mean() > rewards[:6].mean() + 0.5
    taught = negopt.load(tmp_path / "model")
    assert taught.metrics == ("red", "blue")
    red, blue = (taught.generate_batch(PROMPTS, prefer={name: 1}, max_terms=2) for name in taught.metrics)
    assert share_of(RED, red) > share_of(RED, blue) + 0.3
    assert share_of(BLUE, blue) > share_of(BLUE, red) + 0.3


def test_a_killed_run_goes_on_to_the_same_numbers_and_vectors(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(EITHER, steps=4, prompts=2, copies=4)
    unbroken = stage(plain, tmp_path / "unbroken", recipe).run()
    monkeypatch.setattr("training.rl.stage.SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    real = Stage._step

    def dying(self: Stage, step: int) -> dict[str, float]:
        if step == 2:
            raise KeyboardInterrupt
        return real(self, step)

    monkeypatch.setattr(Stage, "_step", dying)
    with pytest.raises(KeyboardInterrupt):
        stage(plain, tmp_path / "killed", recipe).run()
    monkeypatch.setattr(Stage, "_step", real)
    resumed = stage(plain, tmp_path / "killed", recipe).run()
    assert [step["reward"] for step in resumed] == [step["reward"] for step in unbroken]
    killed, expected = weights(tmp_path / "killed"), weights(tmp_path / "unbroken")
    assert "vectors" in expected
    assert all(torch.equal(tensor, killed[name]) for name, tensor in expected.items())


def test_a_model_with_preferences_goes_on_learning_them(model: Path, tmp_path: Path) -> None:
    recipe = replace(EITHER, steps=1, prompts=2, copies=2, learning=Learning(learning_rate=1e-4))
    with pytest.raises(negopt.OptionError, match="knows preferences between aesthetics, fidelity, not red, blue"):
        stage(model, tmp_path / "other", recipe)
    stage(model, tmp_path / "plain", replace(recipe, preferences=False)).run()
    before, after = (load_file(folder / PREFERENCE) for folder in (model, tmp_path / "plain" / "model"))
    assert 0 < (before["aesthetics"] - after["aesthetics"]).abs().max() < 1
    with pytest.raises(negopt.OptionError, match="at least 2 metrics"):
        replace(EITHER, weights={"red": 1.0, "blue": 0.0})


# The evaluation


def scores(value: float) -> dict[str, torch.Tensor]:
    return {name: torch.tensor([[value, value + 1], [value + 2, value + 3]]) for name in ("red", "blue")}


def test_gains_and_what_is_kept_of_them() -> None:
    curves = Curves(
        asked={name: {1.0: scores(4.0)} for name in ("red", "blue")},
        none=scores(0.0),
        before=scores(1.0),
        specialists={"red": scores(5.0)},
    )
    assert curves.gain(curves.asked["red"][1.0], "red") == pytest.approx((4, 4, 4))
    assert curves.kept("red") == pytest.approx((0.75, 0.75, 0.75))


def test_weightings_share_the_rest() -> None:
    assert weights_of(["a", "b", "c"]) == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert weighting(["a", "b", "c"], "b", 0.5) == {"a": 0.25, "b": 0.5, "c": 0.25}


def test_curves_show_what_a_model_does_with_its_weights(model: Path, plain: Path, tmp_path: Path) -> None:
    """The negatives that were judged are those that the model writes under each weighting."""
    judges = {
        name: Aesthetics(lambda images: images.mean((2, 3)), itemgetter((slice(None), c)))
        for c, name in enumerate(METRICS)
    }
    gallery = Gallery(Colours(), WeightedReward(judges, dict.fromkeys(METRICS, 1.0)))
    generator = negopt.load(model)
    before = [answer.text for answer in negopt.load(plain).generate_batch(PROMPTS, max_terms=3)]
    curves = preference_curves(
        gallery, generator, PROMPTS, 2, before=before, specialists={"fidelity": ["blurry"] * 4}, max_terms=3
    )
    answers = generator.generate_batch(PROMPTS, prefer={"fidelity": 2, "aesthetics": 1}, max_terms=3, max_tokens=0)
    expected = Colours().sample(pictures_of(PROMPTS, [answer.text for answer in answers], 2, FIRST_NOISE))
    torch.testing.assert_close(curves.asked["fidelity"][2 / 3]["aesthetics"], expected[:, 0].mean((1, 2)).view(4, 2))
    write_curves(tmp_path / "out", curves)
    assert (tmp_path / "out" / "curves.png").read_bytes().startswith(b"\x89PNG")
    rows = (tmp_path / "out" / "curves.csv").read_text().splitlines()
    assert len(rows) == 1 + 2 * len(weights_of(METRICS)) * 2
    assert (tmp_path / "out" / "kept.csv").read_text().splitlines()[1].startswith("fidelity,")
    with pytest.raises(negopt.OptionError, match="not trained for preferences"):
        preference_curves(gallery, negopt.load(plain), PROMPTS, 1)
    with pytest.raises(negopt.OptionError, match="no judge is called 'beauty'"):
        preference_curves(gallery, generator, PROMPTS, 1, specialists={"beauty": PROMPTS})
