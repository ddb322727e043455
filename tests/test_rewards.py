"""Rewards: formulas against numbers worked by hand, ranges, and state that survives a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from negopt.errors import OptionError
from training.rewards import (
    Aesthetics,
    Alignment,
    Fidelity,
    Judge,
    WeightedReward,
    inception_score,
    judge_named,
    register,
)

IMAGES = torch.rand(6, 3, 4, 4, generator=torch.Generator().manual_seed(0))


def brightness(images: torch.Tensor) -> torch.Tensor:
    """A stand-in for a network: [B, 2], never of length 0."""
    return torch.stack([images.mean((1, 2, 3)), torch.ones(len(images))], 1)


def classes(images: torch.Tensor) -> torch.Tensor:
    return (8 * images[:, :, 0, 0]).softmax(-1)


def test_aesthetics_is_what_the_head_says_of_the_embedding() -> None:
    judge = Aesthetics(brightness, lambda embedding: 10 * embedding[:, 0])
    torch.testing.assert_close(judge.score(judge.observe(IMAGES, [""] * 6)), 10 * IMAGES.mean((1, 2, 3)))


def test_alignment_is_clipscore() -> None:
    pictures = torch.tensor([[2.0, 0.0], [1.0, 1.0], [-1.0, 0.0]])
    judge = Alignment(lambda images: pictures, lambda texts: torch.tensor([[0.5, 0.0]] * 3))
    scores = judge.score(judge.observe(IMAGES[:3], ["a"] * 3))
    torch.testing.assert_close(scores, torch.tensor([2.5, 2.5 / math.sqrt(2), 0.0]))


def test_fidelity_is_the_divergence_from_what_was_made_lately() -> None:
    judge = Fidelity(lambda images: images, window=4)
    sure, unsure = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.5, 0.5]])
    judge.learn(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    torch.testing.assert_close(judge.score(sure), torch.tensor([math.log(2)]))
    torch.testing.assert_close(judge.score(unsure), torch.tensor([0.0]))
    judge.learn(sure.repeat(4, 1))  # fills the window: p(y) is (1, 0) now
    torch.testing.assert_close(judge.score(sure), torch.tensor([0.0]))


def reference_inception_score(probabilities: np.ndarray, splits: int) -> tuple[float, float]:
    """torch-fidelity's own way: sum of p log p - p log mean(p), exp of the mean, by parts."""
    scores = []
    for part in np.array_split(probabilities.astype(np.float64), splits):
        q = part.mean(0, keepdims=True)
        scores.append(np.exp((part * (np.log(part) - np.log(q))).sum(1).mean()))
    return float(np.mean(scores)), float(np.std(scores))


@pytest.mark.parametrize("splits", [1, 10])
def test_inception_score_against_the_reference(splits: int) -> None:
    logits = torch.randn(503, 40, generator=torch.Generator().manual_seed(1)) * 3
    found = inception_score(logits.softmax(-1), splits)
    assert found == pytest.approx(reference_inception_score(logits.softmax(-1).numpy(), splits), rel=1e-5)


def test_inception_score_of_known_sets() -> None:
    assert inception_score(torch.eye(5).repeat(4, 1))[0] == pytest.approx(5.0)
    assert inception_score(torch.full((8, 5), 0.2))[0] == pytest.approx(1.0)


def test_the_mean_of_fidelity_is_the_log_of_the_inception_score() -> None:
    judge = Fidelity(classes, window=6)
    seen = judge.observe(IMAGES, [""] * 6)
    judge.learn(seen)
    assert judge.score(seen).mean().exp().item() == pytest.approx(inception_score(seen)[0], rel=1e-5)


@pytest.fixture
def reward() -> WeightedReward:
    judges: dict[str, Judge] = {
        "aesthetics": Aesthetics(brightness, lambda embedding: 10 * embedding[:, 0]),
        "fidelity": Fidelity(classes, window=16),
    }
    return WeightedReward(judges, {"aesthetics": 2.0, "fidelity": 1.0})


def test_judges_read_prompts_in_plain_words() -> None:
    read: list[str] = []

    def reading(texts: Sequence[str]) -> torch.Tensor:
        read.extend(texts)
        return torch.ones(len(texts), 2)

    reward = WeightedReward({"alignment": Alignment(brightness, reading)}, {"alignment": 1.0})
    reward.observe(IMAGES[:3], ["((a cat)), <lora:ink:0.8> [hat:0.7]", "a dog", "<lora:ink:0.8>"])
    assert read == ["a cat, hat", "a dog", "<lora:ink:0.8>"]
    read.clear()
    reward = WeightedReward({"alignment": Alignment(brightness, reading)}, {"alignment": 1.0}, "", ("Ink_v2", "a.b"))
    reward.observe(IMAGES[:3], ["a cat, (ink_v2:1.2), sea", "a dog, embedding:A.B, ink v2", "inks, Ink_v2s"])
    assert read == ["a cat, sea", "a dog", "inks, ink v2s"]


def test_each_part_counts_in_units_of_the_warm_up(reward: WeightedReward) -> None:
    observed = reward.observe(IMAGES, [""] * 6)
    reward.warm_up(observed)
    found = reward(observed)
    normal = {name: (part - part.mean()) / part.std() for name, part in found.parts.items()}
    torch.testing.assert_close(found.total, 2 * normal["aesthetics"] + normal["fidelity"])
    alone = reward.combine(found.parts, {"fidelity": 1.0, "aesthetics": torch.zeros(6)})
    torch.testing.assert_close(alone, normal["fidelity"])


def test_pictures_alone_are_compared_with_each_other(reward: WeightedReward) -> None:
    observed = reward.observe(IMAGES, [""] * 6)
    reward.warm_up(observed)
    reward.learn(reward.observe(1 - IMAGES, [""] * 6))
    among_others, alone = reward(observed), reward.alone(observed)
    expected = inception_score(observed["fidelity"])[0]
    assert alone.parts["fidelity"].mean().exp().item() == pytest.approx(expected, rel=1e-5)
    assert not torch.equal(alone.parts["fidelity"], among_others.parts["fidelity"])
    assert torch.equal(alone.parts["aesthetics"], among_others.parts["aesthetics"])
    assert torch.equal(reward(observed).total, among_others.total), "what was learned is as it was"


def test_what_was_learned_survives_a_checkpoint(reward: WeightedReward, tmp_path: object) -> None:
    observed = reward.observe(IMAGES, [""] * 6)
    reward.warm_up(observed)
    fresh = WeightedReward(reward.judges | {"fidelity": Fidelity(classes, window=16)}, reward.weights)
    fresh.load_state_dict(reward.state_dict())
    more = reward.observe(1 - IMAGES, [""] * 6)
    for one in (reward, fresh):
        one.learn(more)
    assert torch.equal(reward(observed).total, fresh(observed).total)


def test_bad_weights_and_names_are_refused(reward: WeightedReward) -> None:
    for weights in ({"beauty": 1.0}, {"aesthetics": 0.0}, {"aesthetics": -1.0}, {"aesthetics": math.nan}, {}):
        with pytest.raises(OptionError):
            WeightedReward(reward.judges, weights)
    with pytest.raises(OptionError, match="same score"):
        reward.warm_up(reward.observe(torch.ones(4, 3, 4, 4), [""] * 4))
    with pytest.raises(OptionError, match="no judge is called 'beauty'"):
        judge_named("beauty", None)


def test_a_judge_of_ones_own_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.rewards.judge.JUDGES", {})
    register("bright", lambda source: Aesthetics(brightness, lambda embedding: source * embedding[:, 0]))
    judge = judge_named("bright", 3.0)
    torch.testing.assert_close(judge.score(judge.observe(IMAGES, [""] * 6)), 3 * IMAGES.mean((1, 2, 3)))
    with pytest.raises(OptionError, match="already"):
        register("bright", lambda source: judge)
