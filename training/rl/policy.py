"""The network that learns, as the distribution from which the generator draws.

`negopt` draws (fast, without gradients); here transformers' T5 gives the same probabilities with gradients,
step for step, under the same rules: the masks of what was allowed come with each rollout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import T5ForConditionalGeneration

from negopt.preference import Preferences
from negopt.rollout import Rollout
from training.examples import END_TOKEN, PAD_TOKEN


@dataclass
class Draws:
    """B rollouts as tensors; S source tokens, P prefix tokens at most, T steps, W tokens that can be written, M metrics
    that can be preferred (0 in a model without preferences)."""

    input_ids: torch.Tensor
    """int64 [B, S]."""
    attention_mask: torch.Tensor
    """int64 [B, S]."""
    decoder_input_ids: torch.Tensor
    """int64 [B, 1 + P + T - 1]: the start token, the prefix, and all steps but the last."""
    places: torch.Tensor
    """int64 [B, T]: where in the decoder's input each step is decided; the last place again where a row is shorter."""
    tokens: torch.Tensor
    """int64 [B, T]: the index of what was drawn among the W."""
    allowed: torch.Tensor
    """bool [B, T, W]."""
    mask: torch.Tensor
    """bool [B, T]: True at real steps."""
    log_probs: torch.Tensor
    """float32 [B, T]: of the draws, when they were drawn."""
    shares: torch.Tensor
    """float32 [B, M]: what each metric counted."""

    def __len__(self) -> int:
        return len(self.tokens)

    def rows(self, rows: torch.Tensor) -> Draws:
        """Those at the int64 positions `rows`."""
        return Draws(*(value[rows] for value in vars(self).values()))

    @staticmethod
    def joined(parts: Sequence[Draws]) -> Draws:
        """One after the other, of draws padded alike."""
        return Draws(*map(torch.cat, zip(*(vars(part).values() for part in parts), strict=True)))


def collate(rollouts: Sequence[Rollout], writable: torch.Tensor) -> Draws:
    """The rollouts, padded. `writable`: int64 [W], the tokens that the generator can write, as it holds them."""
    column = {token: place for place, token in enumerate(writable.tolist())}
    steps = max(1, *(len(rollout.tokens) for rollout in rollouts))
    sources = _padded([rollout.prompt_tokens for rollout in rollouts])
    lengths = torch.tensor([len(rollout.prompt_tokens) for rollout in rollouts])
    count = torch.tensor([len(rollout.tokens) for rollout in rollouts])
    begin = torch.tensor([len(rollout.prefix) for rollout in rollouts])
    step = torch.arange(steps)
    allowed = torch.ones((len(rollouts), steps, len(writable)), dtype=torch.bool)
    log_probs = torch.zeros((len(rollouts), steps))
    for row, rollout in enumerate(rollouts):
        allowed[row, : len(rollout.tokens)] = rollout.allowed[:, writable]
        log_probs[row, : len(rollout.tokens)] = torch.tensor(rollout.log_probs)
    return Draws(
        sources,
        (torch.arange(sources.shape[1]) < lengths.unsqueeze(1)).long(),
        _padded([(PAD_TOKEN, *rollout.prefix, *rollout.tokens[:-1]) for rollout in rollouts]),
        begin.unsqueeze(1) + torch.minimum(step, (count - 1).clamp(min=0).unsqueeze(1)),
        _padded([[column[token] for token in rollout.tokens] for rollout in rollouts], steps),
        allowed,
        step < count.unsqueeze(1),
        log_probs,
        torch.tensor([rollout.shares for rollout in rollouts]),
    )


def _padded(rows: Sequence[Sequence[int]], width: int = 0) -> torch.Tensor:
    width = max(width, *(len(row) for row in rows))
    return torch.tensor([[*row, *[PAD_TOKEN] * (width - len(row))] for row in rows], dtype=torch.long)


@dataclass
class Scored:
    """What a policy says of B draws."""

    distributions: torch.Tensor
    """float32 [B, T, W]: log-probabilities of all that could be written; -inf where it was not allowed."""
    log_probs: torch.Tensor
    """float32 [B, T]: of what was drawn; 0 outside the mask."""
    values: torch.Tensor | None
    """float32 [B, T]: expected before each step, with a value head."""


class Policy(torch.nn.Module):
    """A T5 as the distribution of `Generator.draw`; with `value_head`, its expectations, too (for PPO).

    The vectors of its `preferences`, if it has any, learn along with the network. Without, it takes draws under any
    preference for draws of a model that knows none.
    """

    writable: torch.Tensor

    def __init__(
        self,
        network: T5ForConditionalGeneration,
        writable: torch.Tensor,
        anchor: float,
        value_head: bool = False,
        preferences: Preferences | None = None,
    ) -> None:
        """`anchor` as in the model's settings: how far each step is decided by the first one's distribution."""
        super().__init__()
        self.network = network
        self.anchor = anchor
        self.metrics = preferences.metrics if preferences else ()
        self.vectors = torch.nn.Parameter(preferences.vectors.clone().float()) if preferences else None
        # A copy: the generator made its own in inference mode, which autograd does not take.
        self.register_buffer("writable", writable.clone(), persistent=False)
        self.value_head = torch.nn.Linear(network.config.d_model, 1) if value_head else None
        if self.value_head is not None:
            torch.nn.init.zeros_(self.value_head.weight)
            torch.nn.init.zeros_(self.value_head.bias)

    @property
    def preferences(self) -> Preferences | None:
        """As they are now."""
        return None if self.vectors is None else Preferences(self.metrics, self.vectors.detach().clone())

    def forward(self, draws: Draws) -> Scored:
        hidden = self._hidden(draws)
        scores = self._head(hidden).float().log_softmax(-1)
        if self.anchor > 0:
            scores = self._anchored(scores)
        distributions = scores.masked_fill(~draws.allowed, -torch.inf).log_softmax(-1)
        drawn = distributions.gather(-1, draws.tokens.unsqueeze(-1)).squeeze(-1)
        values = None if self.value_head is None else self.value_head(hidden.float()).squeeze(-1)
        return Scored(distributions, torch.where(draws.mask, drawn, 0.0), values)

    def _hidden(self, draws: Draws) -> torch.Tensor:
        """The decoder's state [B, T, d] where each step is decided."""
        encoded = self.network.encoder(inputs_embeds=self._source(draws), attention_mask=draws.attention_mask)
        decoded = self.network.decoder(
            input_ids=draws.decoder_input_ids,
            encoder_hidden_states=encoded.last_hidden_state,
            encoder_attention_mask=draws.attention_mask,
            use_cache=False,
        ).last_hidden_state
        places = draws.places.unsqueeze(-1).expand(-1, -1, decoded.shape[-1])
        return decoded.gather(1, places)

    def _source(self, draws: Draws) -> torch.Tensor:
        """What the encoder reads, [B, S, d]."""
        embedded = self.network.shared(draws.input_ids)
        return embedded if self.vectors is None else embedded + (draws.shares @ self.vectors).unsqueeze(1)

    def _head(self, hidden: torch.Tensor) -> torch.Tensor:
        """Logits [B, T, W] of the tokens that can be written."""
        if self.network.config.tie_word_embeddings:
            hidden = hidden * self.network.model_dim**-0.5
        return torch.nn.functional.linear(hidden, self.network.lm_head.weight[self.writable])

    def _anchored(self, scores: torch.Tensor) -> torch.Tensor:
        """As `negopt.decoding` mixes them: each step with the first, but for the end, which below 1 keeps its own."""
        mixed = torch.lerp(scores, scores[:, :1].expand_as(scores), self.anchor)
        if self.anchor >= 1:
            return mixed
        end = torch.eq(self.writable, END_TOKEN)
        return torch.where(end, scores, mixed)
