"""The presets of `python -m training sft`: one named set of numbers each, overridable on the command line.

`mini` is the recipe of the bundled model: a small T5-v1.1 from scratch on a vocabulary of terms, its
embeddings begun from a sentence encoder, the order of terms left free. `paper` is the recipe of
arXiv 2403.07605, section 3: a pretrained T5 fine-tuned on prompt -> negative prompt, with its own word
pieces, in the order written; numbers that the paper leaves open are the customary ones for T5.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from training.examples import Order


@dataclass(frozen=True)
class NetworkSize:
    """Sizes of a network that is trained from scratch (T5-v1.1, gated GELU, tied embeddings)."""

    d_model: int = 192
    d_ff: int = 512
    d_kv: int = 32
    heads: int = 6
    encoder_layers: int = 3
    decoder_layers: int = 2


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a training run gives, besides its data and its base model."""

    base: str = "mini"
    order: Order = "free"
    epochs: int = 7
    batch_size: int = 64
    accumulate: int = 1
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.05
    warmup: float = 0.05
    """Share of all steps in which the learning rate rises; it then falls to zero along a cosine."""
    dropout: float = 0.1
    embedding_rate: float = 0.3
    max_prompt_tokens: int = 80
    max_terms: int = 60
    piece_embeddings: str = "minilm"
    """Where the embeddings of a new vocabulary begin: "minilm" or "random"."""
    plans: bool = True
    """Does a list begin with how long it will be? Without, the network says when it has enough, which RL can change."""
    whole_tags: int = 1000
    """How many comma-separated parts of prompts are one piece of a new vocabulary ("looking at viewer"). Where a part
    is a whole sentence ("a red cat at night"), it must be read in words: the network could not see what two share."""
    precision: str = "auto"
    """"bf16", "fp32", or "auto": bf16 where the machine computes it in hardware."""
    evaluate_every: float = 1.0
    """Epochs between two validations."""
    patience: int = 3
    """Validations without a better likelihood after which the run stops."""
    seed: int = 0
    network: NetworkSize = field(default_factory=NetworkSize)

    def changed(self, **values: Any) -> Recipe:
        """A copy with the values that are not None; keys of `NetworkSize` go into `network`."""
        given = {name: value for name, value in values.items() if value is not None}
        inner = {name: given.pop(name) for name in list(given) if name in NetworkSize.__dataclass_fields__}
        return replace(self, **given, network=replace(self.network, **inner))


PRESETS: dict[str, Recipe] = {
    "mini": Recipe(),
    "paper": Recipe(
        base="google-t5/t5-small",
        order="written",
        epochs=5,
        batch_size=64,
        learning_rate=3e-4,
        weight_decay=0.0,
        embedding_rate=0.0,
        max_prompt_tokens=96,
    ),
    # For the miniature's forty-odd terms; the end of a list is the policy's to choose, so in the order written.
    "miniature": Recipe(
        order="written",
        plans=False,
        whole_tags=0,
        epochs=6,
        batch_size=128,
        learning_rate=2e-3,
        piece_embeddings="random",
        network=NetworkSize(d_model=96, d_ff=192, d_kv=24, heads=4, encoder_layers=2, decoder_layers=2),
    ),
}
