"""The critic: what terms are worth, against numbers worked by hand and against a world whose worths are known."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import T5ForConditionalGeneration

import negopt
from negopt.rollout import Rollout
from tests.tiny_policy import PROMPTS, tiny_policy
from training.examples import END_TOKEN
from training.rl.appraisal import Appraisal, principal
from training.rl.critic import Critic, expected_of
from training.rl.losses import expected_worth
from training.rl.policy import Draws, Policy, collate


def test_the_ridge_by_hand() -> None:
    """One token, no features, a group of two of which one has the token and 3 more: inputs are +-0.5, scores +-1.5, so
    the sums are 0.5 and 1.5, and with a ridge of 1 the worth is 1.5 / (0.5 + 1)."""
    appraisal = Appraisal(torch.ones(1, 1), 0, 1, prior=1.0)
    nothing = torch.zeros(2, 0)
    appraisal.learn(torch.tensor([[1.0], [0.0]]), nothing, torch.tensor([[5.0], [2.0]]), copies=2)
    assert appraisal.worths(nothing[:1]).item() == pytest.approx(1.0)
    appraisal.learn(torch.tensor([[1.0], [0.0]]), nothing, torch.tensor([[5.0], [2.0]]), copies=2)
    assert appraisal.worths(nothing[:1]).item() == pytest.approx(3 / 2)


def test_worths_that_depend_on_the_prompt_are_found() -> None:
    """Token 0 adds 1 to every draw, token 1 adds or takes 1 as the prompt's feature says, token 2 is the end."""
    generator = torch.Generator().manual_seed(0)
    told = torch.eye(3)
    told[2] = 0
    appraisal = Appraisal(told, 1, 2, prior=5.0)
    for _ in range(40):
        features = torch.randn(8, 1, generator=generator).sign().repeat_interleave(4, 0)
        counts = torch.randint(2, (32, 3), generator=generator).float()
        noise = torch.randn(32, generator=generator)
        by_prompt = 10 * torch.randn(8, generator=generator).repeat_interleave(4)
        scores = counts[:, 0] + counts[:, 1] * features[:, 0] + by_prompt + noise
        appraisal.learn(counts, features, torch.stack([scores, -scores], 1), copies=4)
    found = appraisal.worths(torch.tensor([[1.0], [-1.0]]))
    expected = torch.tensor([[1.0, 1.0, 0.0], [1.0, -1.0, 0.0]])
    torch.testing.assert_close(found[..., 0], expected, atol=0.25, rtol=0)
    torch.testing.assert_close(found[..., 1], -found[..., 0])


def test_scores_that_do_not_differ_in_a_group_teach_nothing() -> None:
    appraisal = Appraisal(torch.eye(4), 2, 1)
    counts = torch.randint(2, (12, 4), generator=torch.Generator().manual_seed(0)).float()
    appraisal.learn(counts, torch.ones(12, 2), torch.arange(3.0).repeat_interleave(4).unsqueeze(1), copies=4)
    assert appraisal.worths(torch.ones(1, 2)).abs().max() == 0


def test_an_appraisal_survives_a_checkpoint() -> None:
    one, other = Appraisal(torch.eye(3), 1, 1), Appraisal(torch.eye(3), 1, 1)
    generator = torch.Generator().manual_seed(0)
    counts, features, scores = (torch.rand(8, width, generator=generator) for width in (3, 1, 1))
    one.learn(counts, features, scores, copies=4)
    other.load_state_dict(one.state_dict())
    for appraisal in (one, other):
        appraisal.learn(counts, features, scores, copies=4)
    assert torch.equal(one.worths(features), other.worths(features))


def test_principal_components_have_squares_that_sum_up_to_one() -> None:
    rows = torch.randn(200, 6, generator=torch.Generator().manual_seed(0)) * torch.tensor([9.0, 3, 1, 0, 0, 0]) + 5
    mean, basis = principal(rows, 2)
    told = (rows - mean) @ basis
    assert told.square().sum(1).mean().item() == pytest.approx(1.0, abs=1e-4)
    assert told.var(0)[0] / told.var(0)[1] == pytest.approx(9.0, rel=0.4)
    same, nothing = principal(torch.ones(5, 3), 2)
    assert ((torch.ones(5, 3) - same) @ nothing).abs().max() < 1e-3


def test_what_the_next_token_is_worth_on_average() -> None:
    log_probs = torch.tensor([[[0.25, 0.75, 0.0], [0.0, 0.5, 0.5]]]).log()
    worths = torch.tensor([[4.0, 0.0, -2.0]])
    torch.testing.assert_close(expected_worth(log_probs, worths), torch.tensor([[1.0, -1.0]]))


def paid(rollout: Rollout, prompt: str) -> float:
    """In every prompt "blurry" is good; "logo" is good for a face, and bad for all others."""
    terms = [term.text for term in rollout.answer.terms]
    return ("blurry" in terms) + ("logo" in terms) * (1.0 if prompt == "a face" else -1.0)


def test_a_critic_tells_prompts_apart(tmp_path: Path) -> None:
    model = tiny_policy(tmp_path, anchor=0.0)
    generator = negopt.load(model)
    writable = generator.network.writable
    assert writable is not None
    network = T5ForConditionalGeneration.from_pretrained(model, dtype=torch.float32)
    policy = Policy(network, writable, generator.settings.anchor).eval()
    critic = Critic(policy, [generator.tokenizer.encode(prompt) for prompt in PROMPTS], ["reward"])
    noise = torch.Generator().manual_seed(0)

    def drawn(seed: int) -> Draws:
        seeds = [[100 * seed + 10 * row + copy for copy in range(8)] for row in range(len(PROMPTS))]
        groups = generator.draw(PROMPTS, seeds, max_terms=5, temperature=2.0)
        rewards = [paid(one, prompt) for prompt, group in zip(PROMPTS, groups, strict=True) for one in group]
        draws = collate([one for group in groups for one in group], writable)
        critic.learn(draws, {"reward": torch.tensor(rewards) + 0.3 * torch.randn(32, generator=noise)}, copies=8)
        return draws

    for seed in range(48):
        draws = drawn(seed)
    worths = critic.worths(draws, {"reward": 2.0})[::8]
    place = {generator.tokenizer.text([token]): row for row, token in enumerate(writable.tolist())}
    blurry, logo = worths[:, place["blurry"]], worths[:, place["logo"]]
    assert blurry.min() > 1
    assert logo[0] > 0.5
    assert logo[1:].max() < -0.5
    end = writable.tolist().index(END_TOKEN)
    assert worths[:, end].abs().max() == 0
    expected = expected_of(draws, critic.worths(draws, {"reward": 1.0}))
    first = sum(critic.worths(draws, {"reward": 1.0})[0, token].item() for token in draws.tokens[0][draws.mask[0]])
    assert expected[0].item() == pytest.approx(first, abs=1e-5)
