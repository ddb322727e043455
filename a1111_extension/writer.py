"""What writes: a resident model with the host's token count and the host's embeddings.

One copy of each model serves both tabs and the API's routes, on the CPU, loaded on first use. Imports no host.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..negopt.clip_tokens import estimate_tokens
from ..negopt.errors import ModelError
from ..negopt.locate import available
from ..negopt.options import Value
from ..negopt.resident import resident
from .negatives import Write
from .record import record

if TYPE_CHECKING:
    from ..negopt.generator import Generator, NegativePrompt


@dataclass(frozen=True)
class Writer:
    """Writes with models in `folders`, with what the host knows of tokens and embeddings."""

    folders: Sequence[Path] = ()
    count_tokens: Callable[[str], int] = estimate_tokens
    embedding_name: Callable[[str], str | None] = lambda name: None
    """How the host writes an embedding's name; None where it has no such embedding."""
    record_file: Path | None = None
    """Where each negative written is recorded."""

    def models(self) -> list[str]:
        """The names of the models that can write, the bundled one first."""
        return available(self.folders)

    def generator(self, model: str) -> Generator:
        """The generator of one of `models`. No other is opened: names reach here over the network."""
        names = self.models()
        if model not in names:
            raise ModelError(f"there is no model {model!r}; there are: {', '.join(names)}")
        opened = resident(model, self.folders)
        return opened.beside(count_tokens=self.count_tokens, embedding_name=self.embedding_name)

    def write(self, model: str) -> Write:
        """Prompts and options in, texts out, by one model."""

        def write(prompts: Sequence[str], options: Mapping[str, Value]) -> list[str]:
            start = time.perf_counter()
            given: dict[str, Any] = dict(options)
            answers = self.generator(model).generate_batch(prompts, **given)
            texts = [answer.text for answer in answers]
            if self.record_file:
                record(self.record_file, model, prompts, options, texts, time.perf_counter() - start)
            return texts

        return write

    def answer(self, prompt: str, model: str, options: Mapping[str, Any]) -> NegativePrompt:
        """The whole answer for one prompt, with its terms."""
        return self.generator(model).generate(prompt, **dict(options))
