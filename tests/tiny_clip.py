"""A CLIP of random weights and a few words, written as the Hub keeps one; and the same in open_clip's layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import CLIPConfig, CLIPModel

from training.miniature.tokenizer import learn_tokenizer

WORDS = ["a red boat at night", "a blue house by the sea", "blurry", "low quality"]
SIDE = 32


def tiny_clip_config() -> CLIPConfig:
    layers: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    layers |= {"projection_dim": 16}
    text = {"vocab_size": len(learn_tokenizer(WORDS)), "max_position_embeddings": 16, "eos_token_id": 2}
    return CLIPConfig(
        text_config=layers | text, vision_config=layers | {"image_size": SIDE, "patch_size": 8}, projection_dim=16
    )


def write_clip(folder: Path) -> CLIPModel:
    """config.json, model.safetensors, tokenizer.json and tokenizer_config.json in `folder`; returns the model."""
    torch.manual_seed(0)
    model = CLIPModel(tiny_clip_config()).eval()
    model.save_pretrained(folder, safe_serialization=True)
    learn_tokenizer(WORDS).save_pretrained(folder)
    return model


def as_open_clip(model: CLIPModel) -> dict[str, torch.Tensor]:
    """The weights under open_clip's names, as its own `CLIP` module lays them out."""
    own = model.state_dict()
    found = {
        "visual.class_embedding": own["vision_model.embeddings.class_embedding"],
        "visual.positional_embedding": own["vision_model.embeddings.position_embedding.weight"],
        "visual.conv1.weight": own["vision_model.embeddings.patch_embedding.weight"],
        "visual.proj": own["visual_projection.weight"].T,
        "token_embedding.weight": own["text_model.embeddings.token_embedding.weight"],
        "positional_embedding": own["text_model.embeddings.position_embedding.weight"],
        "text_projection": own["text_projection.weight"].T,
        "logit_scale": own["logit_scale"],
    }
    norms = {
        "visual.ln_pre": "vision_model.pre_layrnorm",
        "visual.ln_post": "vision_model.post_layernorm",
        "ln_final": "text_model.final_layer_norm",
    }
    for side, prefix in (("vision_model", "visual."), ("text_model", "")):
        for number in range(2):
            theirs, ours = f"{prefix}transformer.resblocks.{number}", f"{side}.encoder.layers.{number}"
            for part in ("weight", "bias"):
                rows = [own[f"{ours}.self_attn.{name}_proj.{part}"] for name in "qkv"]
                found[f"{theirs}.attn.in_proj_{part}"] = torch.cat(rows)
            norms |= {f"{theirs}.ln_1": f"{ours}.layer_norm1", f"{theirs}.ln_2": f"{ours}.layer_norm2"}
            norms |= {f"{theirs}.mlp.c_fc": f"{ours}.mlp.fc1", f"{theirs}.mlp.c_proj": f"{ours}.mlp.fc2"}
            norms[f"{theirs}.attn.out_proj"] = f"{ours}.self_attn.out_proj"
    for theirs, ours in norms.items():
        found |= {f"{theirs}.{part}": own[f"{ours}.{part}"] for part in ("weight", "bias")}
    return {f"model.{name}": tensor.contiguous() for name, tensor in found.items()}
