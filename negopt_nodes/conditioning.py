"""Texts through a checkpoint's own CLIP: encoded, and counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from . import host

CLIP_TOWERS = ("l", "g", "h")
"""Names of the encoders with windows of 77 tokens; T5 and language models have none."""


def encode(clips: Sequence[Any], texts: Sequence[str], before_each: Callable[[], None] = lambda: None) -> Any:
    """A conditioning for each text by its own CLIP, as CLIP Text Encode makes it; equal ones are made once.

    Without a CLIP, a value that says so to whatever takes it. What `before_each` raises goes through.
    """
    if any(clip is None for clip in clips):
        return host.blocked("NegOpt: connect the checkpoint's CLIP to the clip input to use this output")
    made: dict[tuple[int, str], Any] = {}
    for clip, text in zip(clips, texts, strict=True):
        if (id(clip), text) not in made:
            before_each()
            made[id(clip), text] = clip.encode_from_tokens_scheduled(clip.tokenize(text))
    return [made[id(clip), text] for clip, text in zip(clips, texts, strict=True)]


def token_counter(clip: Any) -> Callable[[str], int]:
    """Counts a text's tokens as `clip` reads it (weights and embeddings included); without one, as SD's CLIP does."""
    if clip is None:
        return host.clip_tokens()
    # Language models such as Qwen-Image's wrap each text in a template of theirs, which is not the artist's.
    template = _tokens_of_words(clip, "")

    def count(text: str) -> int:
        return max(0, _tokens_of_words(clip, text) - template) if text else 0

    return count


def _tokens_of_words(clip: Any, text: str) -> int:
    """Tokens of the encoder that reads most of them; of several, those with windows count."""
    towers = clip.tokenize(text, return_word_ids=True)
    named = [windows for name, windows in towers.items() if name in CLIP_TOWERS] or list(towers.values())
    # A token's third part is the number of its word; start, end and padding have none.
    return max((sum(1 for window in windows for token in window if token[2]) for windows in named), default=0)
