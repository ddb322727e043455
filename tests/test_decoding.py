"""Decoding: greedy, sampled and diverse sequences, each independent of its neighbours in the batch."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from negopt.decoding import Decoded, decode
from negopt.errors import OptionError
from negopt.network import T5, T5Config
from tests.tiny_t5 import config_json, random_prompts, random_t5, random_weights

END = 1


class Free:
    """Forbids `never`; ends at `end`, and at nothing if that is None."""

    def __init__(self, end: int | None = None, never: Sequence[int] = ()) -> None:
        self.end, self.never = end, list(never)

    def begin(self, bias: Tensor) -> None:
        bias[self.never] = -math.inf

    def advance(self, token: int) -> bool:
        return token != self.end


class Once(Free):
    """Forbids each token once it is written, by the view of its bias that it keeps."""

    def begin(self, bias: Tensor) -> None:
        super().begin(bias)
        self.bias = bias

    def advance(self, token: int) -> bool:
        self.bias[token] = -math.inf
        return super().advance(token)


class Stops:
    """Ends after so many tokens."""

    def __init__(self, length: int) -> None:
        self.left = length

    def begin(self, bias: Tensor) -> None:
        pass

    def advance(self, token: int) -> bool:
        self.left -= 1
        return self.left > 0


class Scripted:
    """Stands for a network: gives every row the same logits [V] at each step."""

    def __init__(self, logits: Tensor) -> None:
        self.config = SimpleNamespace(vocab_size=len(logits), decoder_start_token_id=0)
        self.writable = None
        self.device = torch.device("cpu")
        self.given = logits

    def encode(self, input_ids: Tensor, mask: Tensor | None, first: Tensor | None = None) -> int:
        return len(input_ids)

    def start(self, encoded: int, max_steps: int, copies: int) -> Any:
        return SimpleNamespace(keep=lambda rows: None)

    def step(self, tokens: Tensor, cache: Any) -> Tensor:
        return self.given.repeat(len(tokens), 1)


def scripted(logits: Sequence[float] | Tensor) -> T5:
    return cast(T5, Scripted(torch.as_tensor(logits, dtype=torch.float32)))


def seeded(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def ragged() -> tuple[Tensor, Tensor]:
    """Five prompts of 3 to 11 tokens, padded with 0."""
    lengths = torch.tensor([11, 3, 7, 9, 4])
    mask = torch.arange(11)[None, :] < lengths[:, None]
    return random_prompts(5, 11) * mask, mask


def only(answers: list[list[Decoded]]) -> list[Decoded]:
    """The single alternative of each prompt."""
    assert all(len(alternatives) == 1 for alternatives in answers)
    return [alternatives[0] for alternatives in answers]


def test_greedy_equals_that_of_transformers() -> None:
    transformers = pytest.importorskip("transformers")
    settings = config_json()
    weights = random_weights(settings, seed=7, spread=1.5)
    theirs = transformers.T5ForConditionalGeneration(transformers.T5Config(**settings)).eval()
    theirs.load_state_dict(weights, strict=False)
    ours = T5(T5Config.from_json(settings), weights)
    input_ids, mask = ragged()
    # A token that the first row writes serves as the end, so that rows end at different steps.
    end = only(decode(ours, input_ids, mask, [Free() for _ in range(5)], max_steps=20))[0].tokens[4]

    wanted = theirs.generate(
        input_ids=input_ids,
        attention_mask=mask.long(),
        max_new_tokens=20,
        do_sample=False,
        num_beams=1,
        eos_token_id=end,
        pad_token_id=0,
    )
    found = only(decode(ours, input_ids, mask, [Free(end) for _ in range(5)], max_steps=20))

    assert len({len(answer.tokens) for answer in found}) > 1
    for answer, row in zip(found, wanted.tolist(), strict=True):
        assert answer.tokens + [0] * (len(row) - 1 - len(answer.tokens)) == row[1:]


def test_log_probs_are_those_of_the_allowed_tokens() -> None:
    net, (input_ids, mask) = random_t5(), ragged()
    never = [[], [5, 6], list(range(150)), [], [9]]
    rules = [Free(never=tokens) for tokens in never]
    answers = only(decode(net, input_ids, mask, rules, max_steps=8, temperature=1.3, generators=seeded(*range(5))))
    for row, answer in enumerate(answers):
        given = torch.tensor([[0, *answer.tokens[:-1]]])
        logits = net.logits(input_ids[row : row + 1], mask[row : row + 1], given)[0].clone()
        logits[:, never[row]] = -math.inf
        wanted = logits.log_softmax(-1)[range(8), answer.tokens]
        assert torch.allclose(torch.tensor(answer.log_probs), wanted, atol=1e-4)
        assert not set(answer.tokens) & set(never[row])


def test_a_rule_may_write_to_its_bias_at_every_step_while_rows_leave() -> None:
    net, (input_ids, mask) = random_t5(), ragged()
    kinds: list[Any] = [Once(), Stops(2), Once(), Stops(5), Once()]
    answers = only(decode(net, input_ids, mask, kinds, max_steps=30))
    assert [len(answer.tokens) for answer in answers] == [30, 2, 30, 5, 30]
    for row in (0, 2, 4):
        assert len(set(answers[row].tokens)) == 30
    free = only(decode(net, input_ids, mask, [Free() for _ in range(5)], max_steps=30))
    assert any(len(set(answer.tokens)) < 30 for answer in free)  # the rule made the difference


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_a_row_does_not_depend_on_its_batch(temperature: float) -> None:
    net, (input_ids, mask) = random_t5(), ragged()
    lengths = [9, 2, 12, 5, 12]

    def answers(rows: list[int], copies: int = 1) -> list[list[int]]:
        width = int(mask[rows].sum(1).max())
        rules = [Stops(lengths[row]) for row in rows]
        generators = seeded(*(100 + row for row in rows)) if temperature else None
        found = decode(
            net,
            input_ids[rows, :width],
            mask[rows, :width],
            rules,
            max_steps=12,
            temperature=temperature,
            top_p=0.95,
            generators=generators,
        )
        return [answer.tokens for answer in only(found)]

    together = answers([0, 1, 2, 3, 4])
    assert [len(tokens) for tokens in together] == lengths
    assert [answers([row])[0] for row in range(5)] == together
    assert answers([4, 2, 0]) == [together[4], together[2], together[0]]


def test_a_row_without_any_allowed_token_ends_empty() -> None:
    net, (input_ids, mask) = random_t5(), ragged()
    rules = [Free(), Free(never=range(300)), Free(), Free(), Free()]
    for options in ({}, {"temperature": 1.0}, {"end_token": END}):
        answers = only(decode(net, input_ids, mask, rules, max_steps=4, **options))
        assert answers[1] == Decoded([], [])
        assert len(answers[0].tokens) == 4 or END in answers[0].tokens


def test_no_prompts_no_answers() -> None:
    assert decode(random_t5(), torch.zeros(0, 4, dtype=torch.long), None, [], max_steps=3) == []


def first_tokens(logits: Tensor, draws: int, **options: Any) -> Counter[int]:
    """How often each token was drawn, every draw with a generator of its own."""
    input_ids = torch.zeros(draws, 1, dtype=torch.long)
    rules = [Free() for _ in range(draws)]
    generators = seeded(*range(draws))
    found = decode(scripted(logits), input_ids, None, rules, max_steps=1, generators=generators, **options)
    return Counter(answer.tokens[0] for answer in only(found))


def misfit(counts: Counter[int], probs: Tensor) -> float:
    """Pearson's chi-square over its degrees of freedom: near 1 when the counts follow `probs`."""
    wanted = probs * sum(counts.values())
    found = torch.tensor([float(counts[token]) for token in range(len(probs))])
    return float(((found - wanted) ** 2 / wanted).sum()) / (len(probs) - 1)


def test_draws_follow_the_distribution_at_their_temperature() -> None:
    logits = torch.linspace(0, 3, 12)[torch.randperm(12, generator=seeded(3)[0])]
    counts = first_tokens(logits, 4000, temperature=0.7)
    assert misfit(counts, (logits / 0.7).softmax(-1)) < 2.0
    assert misfit(counts, logits.softmax(-1)) > 4.0  # the test sees the temperature


@pytest.mark.parametrize("vocabulary", [40, 700], ids=["small nucleus", "nucleus beyond the quick search"])
def test_top_p_cuts_to_the_smallest_set_that_holds_it(vocabulary: int) -> None:
    logits = torch.randn(vocabulary, generator=seeded(5)[0]) * (1.5 if vocabulary == 40 else 0.1)
    probs, order = logits.softmax(-1).sort(descending=True)
    size = int((probs.cumsum(0) < 0.8).sum()) + 1
    nucleus = set(order[:size].tolist())
    counts = first_tokens(logits, 3000, temperature=1.0, top_p=0.8)
    assert set(counts) <= nucleus
    assert len(nucleus) < vocabulary * 0.9
    assert len(nucleus - set(counts)) < 0.05 * size + 1
    assert set(first_tokens(logits, 500, temperature=1.0)) - nucleus
    wanted = torch.zeros(vocabulary).scatter_(0, order[:size], probs[:size] / probs[:size].sum())
    in_nucleus = order[:size].sort().values
    kept: Counter[int] = Counter({i: counts[int(token)] for i, token in enumerate(in_nucleus)})
    assert misfit(kept, wanted[in_nucleus]) < 2.0


def test_a_tiny_top_p_is_greedy() -> None:
    logits = torch.randn(50, generator=seeded(6)[0])
    assert set(first_tokens(logits, 50, temperature=2.0, top_p=1e-9)) == {int(logits.argmax())}


def test_without_generators_draws_differ() -> None:
    net, input_ids = random_t5(), random_prompts(1, 5)
    found = {
        tuple(decode(net, input_ids, None, [Free()], max_steps=12, temperature=1.5)[0][0].tokens) for _ in range(4)
    }
    assert len(found) > 1


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_the_first_alternative_is_the_answer_that_stands_alone(temperature: float) -> None:
    net, (input_ids, mask) = random_t5(), ragged()
    options: dict[str, Any] = {"max_steps": 10, "temperature": temperature}
    seeds = list(range(20)) if temperature else []
    single = decode(net, input_ids, mask, [Free() for _ in range(5)], generators=seeded(*seeds[::4]) or None, **options)
    several = decode(
        net,
        input_ids,
        mask,
        [Free() for _ in range(20)],
        alternatives=4,
        diversity=1.0,
        generators=seeded(*seeds) or None,
        **options,
    )
    assert [len(alternatives) for alternatives in several] == [4] * 5
    assert [alternatives[0].tokens for alternatives in several] == [answer.tokens for answer in only(single)]


def test_diversity_keeps_alternatives_apart_as_far_as_it_is_asked_to() -> None:
    net, (input_ids, mask) = random_t5(), ragged()

    def shared_tokens(diversity: float) -> list[int]:
        """For each later alternative, how many of its tokens an earlier one had used by then."""
        rules = [Once() for _ in range(15)]
        found = decode(net, input_ids, mask, rules, max_steps=8, alternatives=3, diversity=diversity)
        return [
            sum(
                answers[i].tokens[step] in {t for earlier in answers[:i] for t in earlier.tokens[: step + 1]}
                for step in range(8)
            )
            for answers in found
            for i in (1, 2)
        ]

    assert shared_tokens(0.0) == [8] * 10  # all three are greedy
    assert shared_tokens(1e6) == [0] * 10
    assert 0 < sum(shared_tokens(0.3)) < 80


def test_an_alternative_pays_for_tokens_of_the_same_and_of_earlier_steps_only() -> None:
    # Logits 3, 2, 1, 0 at every step; each use costs 1.5.
    found = decode(
        scripted([3.0, 2.0, 1.0, 0.0]),
        torch.zeros(1, 1, dtype=torch.long),
        None,
        [Free() for _ in range(3)],
        max_steps=2,
        alternatives=3,
        diversity=1.5,
    )[0]
    # Step 1: a: 0. b: 3-1.5, 2 -> 1. c: 1.5, 0.5, 1 -> 0.  Step 2: a: 0. b: 0 was used twice: 0, 2 -> 1.
    # c: uses of 0 by a, a and of 1 by b, b: 3-3, 2-3, 1, 0 -> 2.
    assert [answer.tokens for answer in found] == [[0, 0], [1, 1], [0, 2]]
    log_probs = torch.tensor([3.0, 2.0, 1.0, 0.0]).log_softmax(-1)
    assert found[2].log_probs == pytest.approx([float(log_probs[0]), float(log_probs[2])])


def test_shared_tokens_and_the_end_cost_nothing() -> None:
    def second(**options: Any) -> list[int]:
        found = decode(
            scripted([3.0, 2.0]),
            torch.zeros(1, 1, dtype=torch.long),
            None,
            [Free(), Free()],
            max_steps=1,
            alternatives=2,
            diversity=9.0,
            **options,
        )
        return found[0][1].tokens

    assert second() == [1]
    assert second(shared=[0]) == [0]
    assert second(end_token=0, temperature=1e-6) == [0]


def test_greedy_ends_at_the_median_of_the_lengths() -> None:
    # The end has one fifth of the probability at every step, so open after k steps: 0.8^k, below 1/2 at 4.
    # It is never the likeliest token here, and always the likeliest there; the length is the same.
    for others in ([0.8, 0.0], [0.4, 0.4], [0.1] * 8):
        logits = torch.tensor([0.2, *others]).log()
        found = decode(
            scripted(logits), torch.zeros(1, 1, dtype=torch.long), None, [Free(0)], max_steps=9, end_token=0
        )[0][0]
        assert len(found.tokens) == 4
        assert found.tokens[-1] == 0
        assert 0 not in found.tokens[:-1]
        assert found.log_probs[-1] == pytest.approx(math.log(0.2))


def test_the_end_comes_when_nothing_else_is_allowed_and_never_when_it_is_forbidden() -> None:
    prompt = torch.zeros(1, 1, dtype=torch.long)
    only_end = decode(scripted([0.0] * 4), prompt, None, [Free(0, never=[1, 2, 3])], max_steps=9, end_token=0)
    assert only_end[0][0].tokens == [0]
    no_end = decode(scripted([5.0, 0.0, 0.0]), prompt, None, [Free(0, never=[0])], max_steps=9, end_token=0)
    assert len(no_end[0][0].tokens) == 9
    assert 0 not in no_end[0][0].tokens


@pytest.mark.parametrize(
    "options",
    [{}, {"end_token": 30}, {"temperature": 0.9, "top_p": 0.9}, {"alternatives": 3, "diversity": 1.0, "shared": [33]}],
    ids=["greedy", "median", "sampled", "alternatives"],
)
def test_a_network_of_few_writable_tokens_writes_as_if_all_others_were_forbidden(options: dict[str, Any]) -> None:
    settings = config_json()
    weights, config = random_weights(settings), T5Config.from_json(settings)
    writable = list(range(20, 300, 3)) if "end_token" not in options else list(range(30, 300, 3))
    others = sorted(set(range(300)) - set(writable))
    (input_ids, mask), rows = ragged(), 5 * options.get("alternatives", 1)
    found = []
    for net, never in ((T5(config, weights), others), (T5(config, weights, writable=writable), [])):
        rules = [Free(30, never) for _ in range(rows)]
        answers = decode(
            net,
            input_ids,
            mask,
            rules,
            max_steps=9,
            generators=seeded(*range(rows)) if "temperature" in options else None,
            **options,
        )
        found.append([answer for alternatives in answers for answer in alternatives])
    assert [answer.tokens for answer in found[0]] == [answer.tokens for answer in found[1]]
    for wide, narrow in zip(*found, strict=True):
        assert wide.log_probs == pytest.approx(narrow.log_probs, abs=1e-4)
        assert set(narrow.tokens) <= set(writable)


class Forced(Free):
    """Allows nothing but a prefix at first: the slow way to begin with it."""

    def __init__(self, prefix: Sequence[int]) -> None:
        super().__init__()
        self.left = list(prefix)

    def begin(self, bias: Tensor) -> None:
        self.bias = bias
        self.follow()

    def advance(self, token: int) -> bool:
        self.follow()
        return True

    def follow(self) -> None:
        self.bias.fill_(0.0)
        if self.left:
            token = self.left.pop(0)
            self.bias.fill_(-math.inf)
            self.bias[token] = 0.0


def test_sequences_go_on_from_their_prefixes() -> None:
    net, (input_ids, mask) = random_t5(), ragged()
    prefixes: list[list[int]] = [[7], [], [8, 9, 10, 11], [12, 13], [14]]
    seen: list[list[int]] = [[] for _ in prefixes]

    class Watching(Free):
        def __init__(self, row: int) -> None:
            super().__init__()
            self.row = row

        def advance(self, token: int) -> bool:
            seen[self.row].append(token)
            return True

    found = only(decode(net, input_ids, mask, [Watching(row) for row in range(5)], max_steps=6, prefixes=prefixes))
    forced = only(decode(net, input_ids, mask, [Forced(prefix) for prefix in prefixes], max_steps=10))
    for row, prefix in enumerate(prefixes):
        assert [*prefix, *found[row].tokens] == forced[row].tokens[: len(prefix) + 6]
        assert found[row].log_probs == pytest.approx(forced[row].log_probs[len(prefix) :][:6], abs=1e-4)
        assert seen[row] == found[row].tokens


def test_prefixes_of_others_change_no_draw() -> None:
    net, (input_ids, mask) = random_t5(), ragged()
    options: dict[str, Any] = {"max_steps": 6, "temperature": 1.0}
    rules = [Free() for _ in range(5)]
    prefixes: list[list[int]] = [[5, 6, 7], [], [8], [], [9, 9]]
    together = only(decode(net, input_ids, mask, rules, generators=seeded(*range(5)), prefixes=prefixes, **options))
    for row in range(5):
        alone = decode(
            net,
            input_ids[row : row + 1],
            mask[row : row + 1],
            [Free()],
            generators=seeded(row),
            prefixes=[prefixes[row]],
            **options,
        )
        assert alone[0][0].tokens == together[row].tokens


def test_two_threads_answer_as_one() -> None:
    net, (input_ids, mask) = random_t5(), ragged()

    def answers(seed: int) -> list[list[list[int]]]:
        found = decode(
            net,
            input_ids,
            mask,
            [Once() for _ in range(10)],
            max_steps=10,
            temperature=0.9,
            alternatives=2,
            generators=seeded(*range(seed, seed + 10)),
        )
        return [[answer.tokens for answer in alternatives] for alternatives in found]

    alone = [answers(seed) for seed in range(0, 60, 10)]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(answers, range(0, 60, 10))) == alone


@pytest.mark.parametrize(
    "options",
    [
        {"max_steps": 0},
        {"temperature": -0.1},
        {"temperature": math.nan},
        {"temperature": math.inf},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"alternatives": 0},
        {"diversity": -1.0},
        {"anchor": 1.5},
    ],
)
def test_values_out_of_range_are_named(options: dict[str, Any]) -> None:
    name = next(iter(options))
    with pytest.raises(OptionError, match=name):
        decode(random_t5(), random_prompts(1, 3), None, [Free()], **{"max_steps": 3, **options})


def test_rules_and_generators_must_be_one_for_each_sequence() -> None:
    with pytest.raises(ValueError, match="4 sequences"):
        decode(random_t5(), random_prompts(2, 3), None, [Free()] * 2, max_steps=3, alternatives=2)
    with pytest.raises(ValueError, match="1 sequences"):
        decode(random_t5(), random_prompts(1, 3), None, [Free()], max_steps=3, generators=seeded(1, 2))
    with pytest.raises(ValueError, match="1 sequences"):
        decode(random_t5(), random_prompts(1, 3), None, [Free()], max_steps=3, prefixes=[])


def test_an_anchored_sequence_takes_tokens_in_the_order_of_its_first_step() -> None:
    net = random_t5()
    input_ids = random_prompts(1, 5)
    first = net.logits(input_ids, None, torch.zeros((1, 1), dtype=torch.long))[0, -1]
    expected = first.argsort(descending=True)[:6].tolist()
    ((anchored,),) = decode(net, input_ids, None, [Once()], max_steps=6, anchor=1.0)
    ((drifting,),) = decode(net, input_ids, None, [Once()], max_steps=6)
    assert anchored.tokens == expected
    assert drifting.tokens[0] == expected[0]
    assert drifting.tokens != expected
