"""Reinforcement learning without pictures: the mathematics by hand, and a policy that learns what it is paid for."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import pytest
import torch

import negopt
from negopt.errors import ModelError
from negopt.generator import Generator
from tests.tiny_policy import PROMPTS, TERMS, tiny_policy
from training.rl.advantages import generalized_advantages, group_advantages
from training.rl.learner import Expectations, Learner, Learning, as_generator
from training.rl.losses import (
    AdaptiveKL,
    clipped_policy_loss,
    clipped_value_loss,
    divergence,
    entropy,
    masked_mean,
)
from training.rl.policy import Policy, collate

# Advantages and losses by hand


def test_group_advantages_leave_the_draw_itself_out() -> None:
    rewards = torch.tensor([[1.0, 2.0, 6.0], [5.0, 5.0, 5.0]])
    others = torch.tensor([[1 - 4.0, 2 - 3.5, 6 - 1.5], [0.0, 0.0, 0.0]])
    spread = math.sqrt((4 + 1 + 9) / 6)
    torch.testing.assert_close(group_advantages(rewards), others / spread)
    assert group_advantages(torch.full((3, 4), 7.0)).abs().max() == 0


def test_generalized_advantages_against_a_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    rewards, values = torch.rand(5, 7, generator=generator), torch.rand(5, 7, generator=generator)
    lengths = [7, 1, 4, 3, 6]
    mask = torch.arange(7) < torch.tensor(lengths).unsqueeze(1)
    advantages, returns = generalized_advantages(rewards, values, mask, discount=0.9, decay=0.8)
    for row, length in enumerate(lengths):
        for start in range(length):
            expected = 0.0
            for step in range(start, length):
                following = values[row, step + 1].item() if step + 1 < length else 0.0
                surprise = rewards[row, step].item() + 0.9 * following - values[row, step].item()
                expected += (0.9 * 0.8) ** (step - start) * surprise
            assert advantages[row, start].item() == pytest.approx(expected, abs=1e-5)
            assert returns[row, start].item() == pytest.approx(expected + values[row, start].item(), abs=1e-5)
    assert advantages[~mask].abs().max() == returns[~mask].abs().max() == 0


def test_the_surrogate_is_clipped_on_the_side_that_pays() -> None:
    old = torch.zeros(1, 4)
    new = torch.tensor([[1.5, 0.5, 1.5, 0.5]]).log()
    advantages = torch.tensor([[1.0, 1.0, -1.0, -1.0]])
    mask = torch.ones(1, 4, dtype=torch.bool)
    assert clipped_policy_loss(new, old, advantages, mask, 0.2).item() == pytest.approx(-(1.2 + 0.5 - 1.5 - 0.8) / 4)
    mask[0, 2:] = False
    assert clipped_policy_loss(new, old, advantages, mask, 0.2).item() == pytest.approx(-(1.2 + 0.5) / 2)


def test_the_value_loss_is_clipped() -> None:
    mask = torch.ones(1, 2, dtype=torch.bool)
    values, before, returns = torch.tensor([[1.0, 0.1]]), torch.zeros(1, 2), torch.tensor([[1.0, 1.0]])
    loss = clipped_value_loss(values, before, returns, mask, 0.2)
    assert loss.item() == pytest.approx(0.5 * (0.8**2 + 0.9**2) / 2)


def test_divergence_is_positive_exact_and_blind_to_what_is_forbidden() -> None:
    p = torch.tensor([[[0.7, 0.3, 0.0]]]).log()
    q = torch.tensor([[[0.5, 0.5, 0.0]]]).log()
    expected = 0.7 * math.log(0.7 / 0.5) + 0.3 * math.log(0.3 / 0.5)
    assert divergence(p, q).item() == pytest.approx(expected)
    assert divergence(p, p).item() == 0
    logits = torch.tensor([[[0.3, -0.2, 0.9]]], requires_grad=True)
    log_q = torch.tensor([[[0.1, 0.4, -0.5]]]).log_softmax(-1)
    log_p = logits.log_softmax(-1)
    (found,) = torch.autograd.grad(divergence(log_p, log_q).sum(), logits, retain_graph=True)
    (defined,) = torch.autograd.grad((log_p.exp() * (log_p - log_q)).sum(), logits)
    torch.testing.assert_close(found, defined)
    assert entropy(q).item() == pytest.approx(math.log(2))
    assert masked_mean(torch.tensor([[1.0, 9.0]]), torch.tensor([[True, False]])).item() == 1


def test_the_weight_of_the_divergence_follows_its_target() -> None:
    adaptive = AdaptiveKL(0.1, target=2.0, horizon=100)
    adaptive.update(4.0, draws=10)
    assert adaptive.weight == pytest.approx(0.1 * (1 + 0.2 * 0.1))
    adaptive.update(1.9, draws=10)
    assert adaptive.weight == pytest.approx(0.1 * 1.02 * (1 - 0.05 * 0.1))


# The policy


@pytest.fixture(scope="module", params=[1.0, 0.0], ids=["settled", "step by step"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model of random weights, whose terms are judged on their own, or step by step."""
    return tiny_policy(tmp_path_factory.mktemp("model"), anchor=request.param)


@pytest.fixture
def generator(folder: Path) -> Generator:
    return negopt.load(folder)


def new_policy(folder: Path, generator: Generator, value_head: bool = False) -> Policy:
    from transformers import T5ForConditionalGeneration

    network = T5ForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    assert generator.network.writable is not None
    return Policy(network, generator.network.writable, generator.settings.anchor, value_head)


def draw(generator: Generator, step: int = 0, copies: int = 8) -> list[list[negopt.rollout.Rollout]]:
    seeds = [[1000 * step + 10 * row + copy for copy in range(copies)] for row in range(len(PROMPTS))]
    return generator.draw(PROMPTS, seeds, max_terms=5)


def test_training_gives_draws_the_probability_they_were_drawn_with(folder: Path, generator: Generator) -> None:
    assert generator.network.writable is not None
    rollouts = [rollout for group in draw(generator) for rollout in group]
    draws = collate(rollouts, generator.network.writable)
    with torch.no_grad():
        scored = new_policy(folder, generator)(draws)
    torch.testing.assert_close(scored.log_probs, draws.log_probs, atol=1e-4, rtol=1e-4)
    assert draws.mask.sum().item() == sum(len(rollout.tokens) for rollout in rollouts)
    torch.testing.assert_close(scored.distributions.exp().sum(-1), torch.ones_like(draws.log_probs))


def test_a_draw_depends_on_its_seed_alone(generator: Generator) -> None:
    (first, second), (third, _) = generator.draw(["a face", "a house"], [[1, 2], [1, 3]], max_terms=5)
    (alone,) = generator.draw(["a house"], [[1]], max_terms=5)[0]
    assert alone.tokens == third.tokens
    assert first.tokens != second.tokens


def paid(rollout: negopt.rollout.Rollout) -> float:
    """One for each of the terms wanted, less one for each other."""
    return float(sum(1 if term.text in ("blurry", "wilted") else -1 for term in rollout.answer.terms))


def learn(folder: Path, generator: Generator, steps: int, reward: object = paid) -> tuple[list[float], Policy]:
    """The mean reward of each step, and the policy after the last."""
    assert callable(reward)
    policy = new_policy(folder, generator)
    learner = Learner(policy, copy.deepcopy(policy), Learning(learning_rate=3e-3, kl_weight=0.01))
    shuffle = torch.Generator().manual_seed(0)
    means = []
    for step in range(steps):
        groups = draw(as_generator(policy, generator), step)
        rewards = torch.tensor([[reward(rollout) for rollout in group] for group in groups])
        means.append(rewards.mean().item())
        draws = collate([rollout for group in groups for rollout in group], policy.writable)
        learner.update(draws, group_advantages(rewards).reshape(-1, 1), shuffle)
    return means, policy


def test_it_learns_what_it_is_paid_for(folder: Path, generator: Generator) -> None:
    means, policy = learn(folder, generator, 15)
    assert sum(means[-3:]) / 3 > sum(means[:3]) / 3 + 0.8
    taught = as_generator(policy, generator).generate("a face", max_terms=5)
    assert {"blurry", "wilted"} <= {term.text for term in taught.terms}


def moved(folder: Path, generator: Generator, reward: object) -> float:
    """Nats a step between the policy after two steps of learning and the one before."""
    _, policy = learn(folder, generator, 2, reward)
    draws = collate([rollout for group in draw(generator) for rollout in group], policy.writable)
    with torch.no_grad():
        after, before = policy(draws), new_policy(folder, generator)(draws)
    return masked_mean(divergence(after.distributions, before.distributions), draws.mask).item()


def test_a_constant_reward_moves_nothing(folder: Path, generator: Generator) -> None:
    by_pay = moved(folder, generator, paid)
    assert by_pay > 1e-2
    assert moved(folder, generator, lambda rollout: 3.0) < by_pay / 100  # rounding errors are left


def test_pace_is_a_share_of_the_learning_rate(folder: Path, generator: Generator) -> None:
    policy = new_policy(folder, generator)
    learner = Learner(policy, copy.deepcopy(policy), Learning(learning_rate=3e-3))
    groups = draw(generator)
    draws = collate([rollout for group in groups for rollout in group], policy.writable)
    advantages = group_advantages(torch.tensor([[paid(rollout) for rollout in group] for group in groups]))

    def moves(pace: float) -> bool:
        before = policy.network.shared.weight.detach().clone()
        learner.update(draws, advantages.reshape(-1, 1), torch.Generator().manual_seed(0), pace=pace)
        return not torch.equal(policy.network.shared.weight, before)

    assert [moves(pace) for pace in (0.0, 1.0, 0.0, 0.5)] == [False, True, False, True]


def test_a_gradient_that_is_not_finite_changes_nothing_and_says_so(folder: Path, generator: Generator) -> None:
    policy = new_policy(folder, generator)
    before = copy.deepcopy(policy.state_dict())
    learner = Learner(policy, copy.deepcopy(policy), Learning())
    draws = collate([rollout for group in draw(generator) for rollout in group], policy.writable)
    with pytest.raises(ModelError, match="gradient is not finite"):
        learner.update(draws, torch.full((len(draws), 1), torch.nan), torch.Generator().manual_seed(0))
    assert all(torch.equal(tensor, before[name]) for name, tensor in policy.state_dict().items())


def test_the_value_head_learns_what_to_expect(folder: Path, generator: Generator) -> None:
    policy = new_policy(folder, generator, value_head=True)
    learner = Learner(policy, copy.deepcopy(policy), Learning(learning_rate=3e-3, kl_weight=0.0))
    shuffle, errors = torch.Generator().manual_seed(0), []
    rollouts = [rollout for group in draw(generator) for rollout in group]
    draws = collate(rollouts, policy.writable)
    last = draws.mask.sum(1) - 1
    rewards = torch.zeros_like(draws.log_probs)
    rewards[torch.arange(len(rewards)), last] = torch.tensor([paid(rollout) for rollout in rollouts]) / 5
    for _ in range(12):
        values = learner.score(draws)[0].values
        assert values is not None
        advantages, returns = generalized_advantages(rewards, values, draws.mask)
        errors.append(masked_mean((values - returns).square(), draws.mask).item())
        learner.update(draws, torch.zeros_like(advantages), shuffle, Expectations(values, returns))
    assert errors[-1] < 0.6 * errors[0]


def test_a_recited_list_is_as_likely_as_the_same_list_drawn(folder: Path, generator: Generator) -> None:
    drawn = [rollout for (rollout,) in draw(generator, copies=1)]
    lists = [[term.text for term in rollout.answer.terms] for rollout in drawn]
    recited = generator.recite(PROMPTS, lists, max_terms=5)
    assert [rollout.answer.text for rollout in recited] == [rollout.answer.text for rollout in drawn]
    assert generator.network.writable is not None
    scored = new_policy(folder, generator)(collate(recited, generator.network.writable)).log_probs
    for row, (one, other) in enumerate(zip(recited, drawn, strict=True)):
        assert not any(one.log_probs)
        same = len(one.tokens) - 1  # a full list ends here; one that was drawn may go on, which is then left out
        assert one.tokens[:same] == other.tokens[:same]
        torch.testing.assert_close(scored[row, :same], torch.tensor(other.log_probs[:same]), atol=1e-4, rtol=1e-4)


def test_a_recited_list_holds_what_may_be_written_and_ends_in_time(tmp_path: Path) -> None:
    generator = negopt.load(tiny_policy(tmp_path, anchor=0.0))
    lists = [["logo", "logo", "text", "grainy", "noise"], ["wilted", "cropped"], TERMS, []]
    recited = generator.recite(PROMPTS, lists, least=[3, 2, 2, 0], avoid="cropped", max_terms=3)
    texts = [rollout.answer.text for rollout in recited]
    assert texts[0] == "logo, text, grainy"
    assert texts[1] == "wilted"
    assert texts[2] == ", ".join(TERMS[:2])
    assert texts[3] == ""
    end = generator.network.config.eos_token_id
    assert [rollout.tokens[-1:] == (end,) for rollout in recited] == [True, True, True, False]  # its plan wants more
    (cut,) = generator.recite(PROMPTS[:1], [TERMS], max_terms=3)  # more is wanted than fits: this is not its end
    assert cut.tokens == recited[2].tokens[:2] + cut.tokens[2:3]
    for rollout in (*recited, cut):
        assert len(rollout.allowed) == len(rollout.tokens)
        assert all(allowed[token] for token, allowed in zip(rollout.tokens, rollout.allowed, strict=True))
