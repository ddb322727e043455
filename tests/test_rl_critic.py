"""The critic: what terms are worth, against numbers worked by hand and against a world whose worths are known."""

from __future__ import annotations

import copy
import random
from pathlib import Path

import pytest
import torch
from transformers import T5ForConditionalGeneration

import negopt
from tests.tiny_policy import PROMPTS, TERMS, read, tiny_policy
from training.rl.appraisal import Appraisal
from training.rl.critic import Critic
from training.rl.learner import Learner, Learning, as_generator
from training.rl.policy import Policy, collate


def test_the_ridge_by_hand() -> None:
    """One term, no features, a group of two of which one has the term and 3 more: inputs are +-0.5, scores +-1.5, so
    the sums are 0.5 and 1.5, and with a ridge of 1 the worth is 1.5 / (0.5 + 1)."""
    appraisal = Appraisal(1, 0, 1, prior=1.0)
    nothing = torch.zeros(2, 0)
    appraisal.learn(torch.tensor([[1.0], [0.0]]), nothing, torch.tensor([[5.0], [2.0]]), copies=2)
    assert appraisal.worths(nothing[:1]).item() == pytest.approx(1.0)
    appraisal.learn(torch.tensor([[1.0], [0.0]]), nothing, torch.tensor([[5.0], [2.0]]), copies=2)
    assert appraisal.worths(nothing[:1]).item() == pytest.approx(3 / 2)


def test_worths_that_depend_on_the_prompt_are_found() -> None:
    """Term 0 adds 1 to every draw, term 1 adds or takes 1 as the prompt's feature says, term 2 does nothing."""
    generator = torch.Generator().manual_seed(0)
    appraisal = Appraisal(3, 1, 2, prior=5.0)
    for _ in range(40):
        features = torch.randn(8, 1, generator=generator).sign().repeat_interleave(4, 0)
        drawn = torch.randint(2, (32, 3), generator=generator).float()
        noise = torch.randn(32, generator=generator)
        by_prompt = 10 * torch.randn(8, generator=generator).repeat_interleave(4)
        scores = drawn[:, 0] + drawn[:, 1] * features[:, 0] + by_prompt + noise
        appraisal.learn(drawn, features, torch.stack([scores, -scores], 1), copies=4)
    found = appraisal.worths(torch.tensor([[1.0], [-1.0]]))
    expected = torch.tensor([[1.0, 1.0, 0.0], [1.0, -1.0, 0.0]])
    torch.testing.assert_close(found[..., 0], expected, atol=0.25, rtol=0)
    torch.testing.assert_close(found[..., 1], -found[..., 0])


def test_features_and_terms_that_do_nothing_soon_count_little() -> None:
    """Of four terms and five features only the first ones matter, and these by turns: term 0 adds what feature 0 says,
    in one metric; in the other nothing matters."""
    generator = torch.Generator().manual_seed(0)
    appraisal = Appraisal(4, 5, 2)
    for _ in range(200):
        features = torch.randint(2, (16, 5), generator=generator).float().repeat_interleave(2, 0)
        drawn = torch.randint(2, (32, 4), generator=generator).float()
        scores = torch.randn(32, 2, generator=generator)
        scores[:, 0] += 2 * drawn[:, 0] * (features[:, 0] - 0.5)
        appraisal.learn(drawn, features, scores, copies=2)
    prior, other = appraisal.state_dict()["ridge"]
    assert prior[0, 1] * 20 < prior[0, 2:].min()  # term 0, feature 0 against other features
    assert prior[0, 1] * 20 < prior[1:, 1].min()  # and against other terms
    assert prior[0, 1] * 20 < other.min()
    odd = torch.tensor([[1.0, 1, 1, 1, 1], [0, 1, 1, 1, 1]])
    torch.testing.assert_close(appraisal.worths(odd)[:, 0, 0], torch.tensor([1.0, -1.0]), atol=0.25, rtol=0)


def test_scores_that_do_not_differ_in_a_group_teach_nothing() -> None:
    appraisal = Appraisal(4, 2, 1)
    drawn = torch.randint(2, (12, 4), generator=torch.Generator().manual_seed(0)).float()
    appraisal.learn(drawn, torch.ones(12, 2), torch.arange(3.0).repeat_interleave(4).unsqueeze(1), copies=4)
    assert appraisal.worths(torch.ones(1, 2)).abs().max() == 0


def test_an_appraisal_survives_a_checkpoint() -> None:
    one, other = Appraisal(3, 1, 1), Appraisal(3, 1, 1)
    generator = torch.Generator().manual_seed(0)
    drawn, features, scores = (torch.rand(8, width, generator=generator) for width in (3, 1, 1))
    one.learn(drawn, features, scores, copies=4)
    other.load_state_dict(one.state_dict())
    for appraisal in (one, other):
        appraisal.learn(drawn, features, scores, copies=4)
    assert torch.equal(one.worths(features), other.worths(features))
    random = [torch.Generator().manual_seed(1) for _ in range(2)]
    assert torch.equal(one.supposed(features, random[0]), other.supposed(features, random[1]))


def test_what_is_supposed_is_as_far_from_the_likeliest_as_is_open() -> None:
    """One term, no features, a ridge of 1, and n groups of two in which one has the term: the sum of squares is
    n / 2. Scores 1 apart in each have the sum of squares n / 2, too, with one free draw a group. A Bayesian's worth
    then has the mean (n / 2) / (n / 2 + 1) and the variance 0.5 / (n / 2 + 1)."""
    generator = torch.Generator().manual_seed(0)
    spread = []
    for groups in (2, 64):
        appraisal = Appraisal(1, 0, 1, prior=1.0)
        drawn = torch.tensor([[1.0], [0.0]]).repeat(groups, 1)
        appraisal.learn(drawn, torch.zeros(2 * groups, 0), drawn, copies=2)
        supposed = appraisal.supposed(torch.zeros(4000, 0), generator).flatten()
        spread.append(supposed.std().item())
        assert supposed.mean().item() == pytest.approx(groups / (groups + 2), abs=0.03)
        assert spread[-1] == pytest.approx((1 / (groups + 2)) ** 0.5, rel=0.05)
    assert spread[1] < spread[0] / 3


def test_rows_of_one_call_suppose_different_things() -> None:
    appraisal = Appraisal(2, 1, 1)
    drawn, features = torch.tensor([[1.0, 0], [0, 0]]), torch.ones(2, 1)
    appraisal.learn(drawn, features, torch.tensor([[1.0], [0.0]]), copies=2)
    one, other = appraisal.supposed(features, torch.Generator().manual_seed(0))[..., 0]
    assert len({*one.tolist(), *other.tolist()}) == 4


def new_critic() -> Critic:
    return Critic([*TERMS, "blurry"], PROMPTS, read, ["reward", "other"], longest=5)


def paid(terms: list[str], prompt: str) -> float:
    """In every prompt "blurry" is good; "logo" is good for a face, and bad for all others."""
    return ("blurry" in terms) + ("logo" in terms) * (1.0 if prompt == "a face" else -1.0)


def lists_for(critic: Critic, noise: torch.Generator, chance: random.Random) -> tuple[list[str], list[list[str]]]:
    prompts = [prompt for prompt in PROMPTS for _ in range(4)]
    supposed = critic.suppose(prompts, {"reward": 1.0}, noise)
    return prompts, [ranking.terms[: chance.randint(1, 5)] for ranking in supposed]


def test_a_critic_tells_prompts_apart_and_the_policy_is_taught(tmp_path: Path) -> None:
    model = tiny_policy(tmp_path, anchor=0.0)
    generator = negopt.load(model)
    writable = generator.network.writable
    assert writable is not None
    critic = new_critic()
    assert critic.terms[0] == "blurry"  # the commonest
    assert set(critic.terms) == set(TERMS)
    noise, chance = torch.Generator().manual_seed(0), random.Random(0)
    for _ in range(60):
        prompts, lists = lists_for(critic, noise, chance)
        rewards = torch.tensor([paid(terms, prompt) for terms, prompt in zip(lists, prompts, strict=True)])
        rewards += 0.5 * torch.randn(len(lists), generator=noise)
        critic.learn(prompts, lists, {"reward": rewards, "other": -rewards}, copies=4)
    rankings = critic.rank(PROMPTS, {"reward": 1.0})
    best = [set(ranking.terms[:2]) for ranking in rankings]
    assert all("blurry" in terms for terms in best)
    assert ["logo" in terms for terms in best] == [True, False, False, False]
    assert all(1 <= ranking.worthwhile < len(TERMS) for ranking in rankings)
    opposite = critic.rank(PROMPTS, {"other": 1.0})
    assert [ranking.terms for ranking in opposite] == [ranking.terms[::-1] for ranking in rankings]

    network = T5ForConditionalGeneration.from_pretrained(model, dtype=torch.float32)
    policy = Policy(network, writable, generator.settings.anchor).eval()
    learner = Learner(policy, copy.deepcopy(policy), Learning(learning_rate=3e-3, epochs=60))
    wanted = [TERMS[row : row + 4] for row in range(len(PROMPTS))]
    draws = collate(generator.recite(PROMPTS, wanted, max_terms=5), writable)
    measured = learner.imitate(draws, noise)
    assert learner.imitate(draws, noise)["policy_loss"] < 0.1 < measured["kl"]
    answers = as_generator(policy, generator).generate_batch(PROMPTS, max_terms=5)
    assert [answer.text.split(", ") for answer in answers] == wanted


def test_a_critic_survives_a_checkpoint() -> None:
    one, other = new_critic(), new_critic()
    prompts, lists = lists_for(one, torch.Generator().manual_seed(0), random.Random(0))
    scores = {name: torch.rand(len(lists)) for name in ("reward", "other")}
    one.learn(prompts, lists, scores, copies=4)
    assert one.rank(PROMPTS, {"reward": 1.0}) != other.rank(PROMPTS, {"reward": 1.0})
    other.load_state_dict(one.state_dict())
    assert one.rank(PROMPTS, {"reward": 1.0}) == other.rank(PROMPTS, {"reward": 1.0})


def test_each_prompt_by_its_own_weights() -> None:
    critic = new_critic()
    liked = torch.tensor([1.0, 0.0])
    critic.learn(["a face"] * 2, [["logo"], []], {"reward": liked, "other": -liked}, copies=2)
    shares = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    for_reward, for_other = critic.rank(["a face"] * 2, {"reward": shares[0], "other": shares[1]})
    assert for_reward.terms[0] == for_other.terms[-1] == "logo"
    assert for_reward.worthwhile == 1
    assert for_other.worthwhile == 0


def test_nothing_is_written_where_nothing_helps_enough() -> None:
    """A first term costs 1, whatever it is; each of three terms adds 0.6, but for a face."""
    critic = new_critic()
    noise, chance = torch.Generator().manual_seed(0), random.Random(0)
    good = set(critic.terms[:3])
    for _ in range(80):
        prompts = [prompt for prompt in PROMPTS for _ in range(4)]
        lists = [chance.sample(critic.terms, chance.randint(0, 5)) for _ in prompts]
        rewards = torch.tensor(
            [
                0.6 * len(good & set(terms)) * (prompt != "a face") - (1.0 if terms else 0.0)
                for terms, prompt in zip(lists, prompts, strict=True)
            ]
        )
        rewards += 0.5 * torch.randn(len(lists), generator=noise)
        critic.learn(prompts, lists, {"reward": rewards, "other": -rewards}, 4)
    for prompt, ranking in zip(PROMPTS, critic.rank(PROMPTS, {"reward": 1.0}), strict=True):
        if prompt == "a face":
            assert ranking.worthwhile == 0
        else:
            assert ranking.worthwhile == 3
            assert set(ranking.terms[:3]) == good
