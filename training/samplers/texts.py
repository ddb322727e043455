"""Texts as the UNet takes them, read as hosts read them: of any length, with emphasis.

Each passage is encoded by itself, and the results are laid end to end; emphasis changes what came out for a token,
embeddings what went in.
Knows nothing of pictures.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch

from negopt.errors import OptionError

from .checkpoints import is_xl, quiet
from .embeddings import open_embeddings
from .passages import A1111, COMFYUI, Passage, Reading, Splitter

KEPT = 1000
"""Texts whose encoding is kept, on the device: 118 MB of Stable Diffusion 1.5's in fp16, 315 MB of SDXL's, where each
is one passage. Prompts and negatives come again soon, in one step or for one approach; encoding one costs a thousandth
of a picture."""


class Text(NamedTuple):
    """A text as the UNet takes it."""

    states: torch.Tensor
    """[n * L, d]: n passages of L tokens."""
    pooled: torch.Tensor | None
    """[p] of SDXL's second encoder, which read the first passage."""


Emphasis = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""States [L, d], the weights of their tokens [L], and the states [L, d] of an empty text: the states emphasised."""


def scaled(states: torch.Tensor, weights: torch.Tensor, empty: torch.Tensor) -> torch.Tensor:
    """AUTOMATIC1111's: each token times its weight, then all so that their mean is as before."""
    heavier = states * weights[:, None]
    return heavier * (states.mean() / heavier.mean())


def away_from_empty(states: torch.Tensor, weights: torch.Tensor, empty: torch.Tensor) -> torch.Tensor:
    """ComfyUI's: each token's way from what an empty text has in its place, times its weight."""
    return empty + (states - empty) * weights[:, None]


READINGS: Mapping[str, tuple[Reading, Emphasis]] = {"a1111": (A1111, scaled), "comfyui": (COMFYUI, away_from_empty)}
"""How hosts read, by the names of --reads-like."""


class TextEncoder:
    """The text encoders of one pipeline, each text read once."""

    def __init__(
        self, pipeline: Any, reads_like: str = "a1111", clip_skip: int = 1, embeddings: Sequence[Path] = ()
    ) -> None:
        """`pipeline`: of diffusers, with one text encoder or SDXL's two. `reads_like`: a name in `READINGS`.
        `clip_skip`, as AUTOMATIC1111 counts: the layer that is listened to, 1 for the last. `embeddings`: files and
        folders, see `open_embeddings`. Raises `OptionError` and `ModelError`."""
        if reads_like not in READINGS:
            raise OptionError(f"no host is called {reads_like!r}; there are: {', '.join(READINGS)}")
        names = ("", "_2") if is_xl(pipeline) else ("",)
        self._pipeline = pipeline
        self._encoders = [(getattr(pipeline, f"tokenizer{n}"), getattr(pipeline, f"text_encoder{n}")) for n in names]
        layers = self._encoders[0][1].config.num_hidden_layers
        if not 1 <= clip_skip <= layers or (clip_skip > 1 and len(names) > 1):
            allowed = "is not for SDXL, as in the hosts" if len(names) > 1 else f"must be from 1 to {layers}"
            raise OptionError(f"clip skip {allowed}")
        reading, self._emphasis = READINGS[reads_like]
        self._clip_skip = clip_skip
        self._room = self._encoders[0][0].model_max_length - 2
        widths = [encoder.get_input_embeddings().embedding_dim for _, encoder in self._encoders]
        opened = open_embeddings(embeddings, widths)
        self.embeddings: Mapping[str, str] = {embedding.name: embedding.digest for embedding in opened}
        """The digests of those that count, by their names."""
        self._split = Splitter(reading, self._numbers, self._room, opened)
        self._read: OrderedDict[str, list[Passage]] = OrderedDict()
        self._encoded: OrderedDict[str, Text] = OrderedDict()

    def passages(self, text: str) -> int:
        """How many passages the text is, at least 1."""
        return len(self._passages(text))

    def encode(self, texts: Sequence[str], at_once: int) -> list[Text]:
        """The texts in order; the encoders see `at_once` passages at a time."""
        new = [text for text in dict.fromkeys(texts) if text not in self._encoded]
        passages = [passage for text in new for passage in self._passages(text)]
        starts = range(0, len(passages), at_once)
        parts = iter([part for start in starts for part in self._encode(passages[start : start + at_once])])
        for text in new:
            whole = list(islice(parts, self.passages(text)))
            self._encoded[text] = Text(torch.cat([part.states for part in whole]), whole[0].pooled)
        found = [self._encoded[text] for text in texts]
        _keep_last(self._encoded)
        return found

    def _passages(self, text: str) -> list[Passage]:
        if text not in self._read:
            with quiet():  # the tokenizer would warn of texts that are longer than a passage
                self._read[text] = self._split(text)
            _keep_last(self._read)
        return self._read[text]

    def _numbers(self, text: str) -> list[int]:
        return list(self._encoders[0][0](text, add_special_tokens=False, truncation=False).input_ids)

    def _encode(self, passages: Sequence[Passage]) -> list[Text]:
        read = [self._run(which, passages) for which in range(len(self._encoders))]
        states = torch.cat([states for states, _ in read], dim=-1)
        pooled = read[-1][1]
        # copies: a view would keep the whole batch alive
        return [Text(states[at].clone(), None if pooled is None else pooled[at].clone()) for at in range(len(passages))]

    def _run(self, which: int, passages: Sequence[Passage]) -> tuple[torch.Tensor, torch.Tensor | None]:
        """States [B, L, d] with emphasis, and what SDXL's second encoder pools [B, p], which knows none."""
        states, pooled = self._listen(which, passages)
        emphasised = [at for at, passage in enumerate(passages) if any(token.weight != 1 for token in passage.tokens)]
        if emphasised:
            (empty,), _ = self._listen(which, [Passage()])
            weights = torch.ones(states.shape[:2], dtype=states.dtype, device=states.device)
            for at in emphasised:
                said = [token.weight for token in passages[at].tokens]
                weights[at, 1 : 1 + len(said)] = torch.tensor(said, dtype=states.dtype, device=states.device)
                states[at] = self._emphasis(states[at], weights[at], empty)
        return states, pooled

    def _listen(self, which: int, passages: Sequence[Passage]) -> tuple[torch.Tensor, torch.Tensor | None]:
        tokenizer, encoder = self._encoders[which]
        start, end, pad = tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id
        rows = [
            [start, *(token.number for token in passage.tokens), end, *[pad] * (self._room - len(passage))]
            for passage in passages
        ]
        vectors = {
            (row, 1 + place): vector.embedding.vectors[which][vector.row]
            for row, passage in enumerate(passages)
            for place, vector in passage.vectors.items()
        }
        with _in_place(encoder.get_input_embeddings(), vectors):
            read = encoder(torch.tensor(rows, device=encoder.device), output_hidden_states=True)
        if is_xl(self._pipeline):
            return read.hidden_states[-2].to(encoder.dtype), read[0] if read[0].ndim == 2 else None
        if self._clip_skip == 1:
            return read[0].to(encoder.dtype), None
        body = getattr(encoder, "text_model", encoder)  # as transformers before and after 5.6 have it
        return body.final_layer_norm(read.hidden_states[-self._clip_skip]).to(encoder.dtype), None


@contextmanager
def _in_place(tokens: torch.nn.Module, vectors: Mapping[tuple[int, int], torch.Tensor]) -> Iterator[None]:
    """Lets the layer `tokens` give these vectors [d] where they stand: text encoders take no vectors themselves."""

    def place(layer: torch.nn.Module, given: Any, found: torch.Tensor) -> torch.Tensor:
        rows, columns = torch.tensor(list(vectors)).T
        found = found.clone()
        found[rows, columns] = torch.stack(list(vectors.values())).to(found)
        return found

    hook = tokens.register_forward_hook(place) if vectors else None
    try:
        yield
    finally:
        if hook:
            hook.remove()


def _keep_last(texts: OrderedDict[str, Any]) -> None:
    while len(texts) > KEPT:
        texts.popitem(last=False)
