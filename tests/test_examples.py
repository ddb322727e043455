"""Batches: what is right at each step, and an order that is a function of the seed."""

from __future__ import annotations

import math

import torch

from training.examples import IGNORED, Example, Schedule, collate, set_loss

LIST = Example(prompt=[5, 6, 1], terms=[[10], [11, 12], [13]])


def test_free_order_accepts_every_term_still_to_come() -> None:
    batch = collate([LIST], order="free")
    assert batch.decoder_input_ids.tolist() == [[0, 10, 11, 12, 13]]
    right = [[token for token in step if token != IGNORED] for step in batch.targets[0].tolist()]
    assert right == [[10, 11, 13], [11, 13], [12], [13], [1]]


def test_written_order_is_teacher_forcing() -> None:
    batch = collate([LIST], order="written")
    assert batch.targets[0, :, 0].tolist() == [10, 11, 12, 13, 1]


def test_between_two_terms_stands_what_the_tokenizer_says_and_a_plan_comes_first() -> None:
    example = Example(prompt=[5, 1], terms=[[10], [11]], plan=(3,))
    batch = collate([example], order="free", between=[4])
    assert batch.decoder_input_ids.tolist() == [[0, 3, 10, 4, 11]]
    right = [[token for token in step if token != IGNORED] for step in batch.targets[0].tolist()]
    assert right == [[3], [10, 11], [4], [11], [1]]


def test_a_list_that_was_cut_does_not_end_and_still_expects_the_rest() -> None:
    schedule = Schedule(
        [Example([5, 1], [[n] for n in range(10, 20)])], 1, seed=0, max_target_tokens=4, prompt_dropout=0
    )
    (drawn,) = schedule.draw(0, [0])
    assert len(drawn.terms) == 4
    steps = collate([drawn], order="free").targets[0]
    assert steps.shape[0] == 4
    assert not (steps == 1).any()
    assert set(steps[0].tolist()) - {IGNORED} == set(range(10, 20))


def test_padding_is_masked_and_never_a_target() -> None:
    batch = collate([LIST, Example([7, 1], [[10]])], order="free")
    assert batch.attention_mask.tolist() == [[1, 1, 1], [1, 1, 0]]
    assert (batch.targets[1, 2:] == IGNORED).all()


def test_set_loss_is_the_mean_cross_entropy_over_the_right_tokens() -> None:
    logits = torch.tensor([[0.0, 1.0, 2.0, 3.0]])
    targets = torch.tensor([[1, 3, IGNORED]])
    log_z = math.log(sum(math.exp(x) for x in range(4)))
    torch.testing.assert_close(set_loss(logits, targets), torch.tensor(log_z - 2.0))
    one = torch.tensor([[2, IGNORED, IGNORED]])
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor([2]))
    torch.testing.assert_close(set_loss(logits, one), expected)


def test_the_order_follows_from_seed_and_epoch_alone() -> None:
    examples = [Example([5] * (n % 7 + 1) + [1], [[n + 10], [n + 60], [n + 110]]) for n in range(50)]
    one, two = (Schedule(examples, 8, seed=3) for _ in range(2))
    assert one.epoch(4) == two.epoch(4)
    assert one.epoch(4) != one.epoch(5)
    assert one.draw(4, range(50)) == two.draw(4, range(50))
    assert one.draw(4, range(50)) != one.draw(5, range(50))
    assert len({position for batch in one.epoch(0) for position in batch}) == 48


def test_validation_keeps_every_example() -> None:
    examples = [Example([5, 1], [[10]])] * 21
    batches = Schedule(examples, 8, seed=0, drop_last=False).epoch(0)
    assert sorted(position for batch in batches for position in batch) == list(range(21))
