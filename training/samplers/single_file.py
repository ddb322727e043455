"""A Stable Diffusion checkpoint in one .safetensors file, opened without any network.

diffusers converts the tensors but asks the Hub how the networks are built. Here that is read from the file: the
tensors' shapes say all but the number of attention heads, which each family fixes. So checkpoints of any size open,
also where there is no network. Knows SD1.x, SD2.x and SDXL in the layout they were released in (LDM, sgm), as hosts
read it; nothing of samplers.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers.loaders.single_file_utils import SingleFileComponentError
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline
from safetensors import SafetensorError, safe_open
from transformers import CLIPTokenizer

from negopt.errors import ModelError

Shapes = Mapping[str, list[int]]
Config = dict[str, Any]

UNET, VAE = "model.diffusion_model.", "first_stage_model."
CLIP, OPEN_CLIP = "cond_stage_model.transformer.text_model.", "cond_stage_model.model."
XL_CLIP, XL_OPEN_CLIP = "conditioner.embedders.0.transformer.text_model.", "conditioner.embedders.1.model."
LATENT_SCALE, XL_LATENT_SCALE = 0.18215, 0.13025
TELLTALE = UNET + "output_blocks.11.1.transformer_blocks.0.norm1.bias"
VELOCITY_SPREAD = 0.09
"""SD2's two kinds differ in no shape: where this bias spreads wider, the network predicts velocity (ComfyUI's rule)."""


def open_single_file(file: Path, tokenizer: Path, dtype: torch.dtype) -> Any:
    """The pipeline in `file`, its weights as `dtype`, with the CLIP tokenizer in the folder `tokenizer`.

    Raises `ModelError` for a file that is not safetensors, is of another family, or lacks a part.
    """
    if file.suffix != ".safetensors":
        raise ModelError(f"{file}: only .safetensors files are opened, since others can run code")
    try:
        shapes, velocity = _look(file)
        configs = configs_of(shapes, velocity)
        with tempfile.TemporaryDirectory() as folder:
            _write(Path(folder), configs)
            kind = StableDiffusionXLPipeline if _is_xl(shapes) else StableDiffusionPipeline
            pipeline: Any = kind.from_single_file(
                str(file), config=folder, torch_dtype=dtype, **_tokenizers(tokenizer, shapes), local_files_only=True
            )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError, SingleFileComponentError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(f"{file}: not a Stable Diffusion checkpoint that can be opened ({reason})") from error
    return pipeline


def configs_of(shapes: Shapes, velocity: bool = False) -> dict[str, Config]:
    """The configuration of each part, under the name of its folder in diffusers' layout, from the tensors' shapes.

    `velocity`: the network predicts velocity in place of noise. Raises `ValueError` for what is not among the known
    families.
    """
    for prefix, part in ((UNET, "a UNet"), (VAE, "an autoencoder")):
        if not any(name.startswith(prefix) for name in shapes):
            raise ValueError(f"it lacks {part}")
    if _is_xl(shapes):
        encoders = {"text_encoder": _clip(shapes, XL_CLIP), "text_encoder_2": _open_clip(shapes, XL_OPEN_CLIP)}
    elif CLIP + "embeddings.token_embedding.weight" in shapes:
        encoders = {"text_encoder": _clip(shapes, CLIP)}
    elif OPEN_CLIP + "token_embedding.weight" in shapes:
        encoders = {"text_encoder": _open_clip(shapes, OPEN_CLIP)}
    else:
        raise ValueError("it lacks a text encoder of SD1, SD2 or SDXL")
    # SD2 reads the text from the layer before the last
    if OPEN_CLIP + "token_embedding.weight" in shapes:
        encoders["text_encoder"]["num_hidden_layers"] -= 1
    scheduler = _scheduler(shapes, velocity)
    return {"unet": _unet(shapes, velocity), "vae": _vae(shapes), "scheduler": scheduler, **encoders}


def _is_xl(shapes: Shapes) -> bool:
    return XL_OPEN_CLIP + "token_embedding.weight" in shapes


def _look(file: Path) -> tuple[dict[str, list[int]], bool]:
    """The shape of every tensor, and whether the UNet predicts velocity."""
    with safe_open(file, framework="pt") as tensors:
        shapes = {name: tensors.get_slice(name).get_shape() for name in tensors.keys()}  # noqa: SIM118
        if OPEN_CLIP + "token_embedding.weight" in shapes and TELLTALE in shapes:
            return shapes, tensors.get_tensor(TELLTALE).float().std(correction=0).item() > VELOCITY_SPREAD
    return shapes, "v_pred" in shapes


def _unet(shapes: Shapes, velocity: bool) -> Config:
    first = shapes[UNET + "input_blocks.0.0.weight"]
    if first[1] != 4:
        raise ValueError(f"its UNet takes {first[1]} channels, not 4: a checkpoint for inpainting or editing")
    levels: list[tuple[int, list[int]]] = [(0, [])]
    for block in range(1, _count(shapes, UNET + "input_blocks.")):
        name = f"{UNET}input_blocks.{block}."
        if name + "0.op.weight" in shapes:
            levels.append((0, []))
        else:
            depth = _count(shapes, name + "1.transformer_blocks.")
            levels[-1] = (shapes[name + "0.out_layers.3.weight"][0], [*levels[-1][1], depth])
    channels, depths = [width for width, _ in levels], [max(depths) for _, depths in levels]
    attends = next(name for name in shapes if name.startswith(UNET) and name.endswith(".attn2.to_k.weight"))
    linear = len(shapes[attends.split("transformer_blocks")[0] + "proj_in.weight"]) == 2
    config: Config = {
        "_class_name": "UNet2DConditionModel",
        "sample_size": 128 if _is_xl(shapes) else 96 if velocity else 64,
        "in_channels": 4,
        "out_channels": shapes[UNET + "out.2.weight"][0],
        "block_out_channels": channels,
        "layers_per_block": len(levels[0][1]),
        "down_block_types": ["CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in depths],
        "up_block_types": ["CrossAttnUpBlock2D" if depth else "UpBlock2D" for depth in reversed(depths)],
        "transformer_layers_per_block": [depth or 1 for depth in depths],
        "cross_attention_dim": shapes[attends][1],
        "use_linear_projection": linear,
        # diffusers' name for what is the number of heads: 8 in SD1, and heads of 64 since
        "attention_head_dim": [max(1, width // 64) for width in channels] if linear else 8,
    }
    if _is_xl(shapes):
        added, pooled = shapes[UNET + "label_emb.0.0.weight"][1], shapes[XL_OPEN_CLIP + "text_projection"][1]
        config |= {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": (added - pooled) // 6,
            "projection_class_embeddings_input_dim": added,
        }
    return config


def _vae(shapes: Shapes) -> Config:
    levels = _count(shapes, VAE + "encoder.down.")
    return {
        "_class_name": "AutoencoderKL",
        "block_out_channels": [shapes[f"{VAE}encoder.down.{n}.block.0.conv2.weight"][0] for n in range(levels)],
        "layers_per_block": _count(shapes, VAE + "encoder.down.0.block."),
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "latent_channels": shapes[VAE + "decoder.conv_in.weight"][1],
        "scaling_factor": XL_LATENT_SCALE if _is_xl(shapes) else LATENT_SCALE,
    }


def _scheduler(shapes: Shapes, velocity: bool) -> Config:
    return {
        "_class_name": "DPMSolverMultistepScheduler",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "num_train_timesteps": 1000,
        "steps_offset": 1,
        "timestep_spacing": "leading",
        "prediction_type": "v_prediction" if velocity else "epsilon",
        "rescale_betas_zero_snr": "ztsnr" in shapes,
    }


def _clip(shapes: Shapes, prefix: str) -> Config:
    """OpenAI's, in transformers' names."""
    layers = _count(shapes, prefix + "encoder.layers.")
    words, width = shapes[prefix + "embeddings.token_embedding.weight"]
    inner = shapes[prefix + "encoder.layers.0.mlp.fc1.weight"][0]
    length = shapes[prefix + "embeddings.position_embedding.weight"][0]
    return _text_config(words, width, inner, layers, length) | {"hidden_act": "quick_gelu"}


def _open_clip(shapes: Shapes, prefix: str) -> Config:
    """LAION's, in open_clip's names."""
    layers = _count(shapes, prefix + "transformer.resblocks.")
    words, width = shapes[prefix + "token_embedding.weight"]
    inner = shapes[prefix + "transformer.resblocks.0.mlp.c_fc.weight"][0]
    length = shapes[prefix + "positional_embedding"][0]
    projection = shapes.get(prefix + "text_projection", [width, width])[1]
    return _text_config(words, width, inner, layers, length) | {"hidden_act": "gelu", "projection_dim": projection}


def _text_config(words: int, width: int, inner: int, layers: int, length: int) -> Config:
    return {
        "model_type": "clip_text_model",
        "vocab_size": words,
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": max(1, width // 64),
        "max_position_embeddings": length,
    }


def _count(shapes: Shapes, prefix: str) -> int:
    """How many numbers follow the prefix."""
    pattern = re.compile(re.escape(prefix) + r"(\d+)\.")
    return len({found.group(1) for name in shapes if (found := pattern.match(name))})


def _write(folder: Path, configs: Mapping[str, Config]) -> None:
    """diffusers' layout, without weights and tokenizers."""
    index: Config = {
        "_class_name": "StableDiffusionXLPipeline" if "text_encoder_2" in configs else "StableDiffusionPipeline"
    }
    for name, config in configs.items():
        kind = {"text_encoder": "CLIPTextModel", "text_encoder_2": "CLIPTextModelWithProjection"}
        index[name] = ["transformers", kind[name]] if name in kind else ["diffusers", config["_class_name"]]
        (folder / name).mkdir()
        file = "scheduler_config.json" if name == "scheduler" else "config.json"
        (folder / name / file).write_text(json.dumps(config), encoding="utf-8")
    if "text_encoder_2" not in configs:
        index |= {"safety_checker": [None, None], "feature_extractor": [None, None], "requires_safety_checker": False}
    (folder / "model_index.json").write_text(json.dumps(index), encoding="utf-8")


def _tokenizers(folder: Path, shapes: Shapes) -> dict[str, Any]:
    """Encoders of open_clip's kind learned with "!" after the end of a text, OpenAI's with its end again."""
    length: Config = {"model_max_length": 77}
    if _is_xl(shapes):
        second = CLIPTokenizer.from_pretrained(folder, pad_token="!", **length)
        return {"tokenizer": CLIPTokenizer.from_pretrained(folder, **length), "tokenizer_2": second}
    pad: Config = {"pad_token": "!"} if OPEN_CLIP + "token_embedding.weight" in shapes else {}
    parts = {"safety_checker": None, "feature_extractor": None}
    return {"tokenizer": CLIPTokenizer.from_pretrained(folder, **length, **pad), **parts}
