"""Checkpoints of random weights for tests against real hosts: they make noise, but they make it fast.

A host reads them as it reads any Stable Diffusion 1.5 single file (the LDM key layout), so everything
between the prompt and the picture really runs. Weights are drawn with their fan-in, and no layer is
left at zero, so that another prompt gives another picture. Knows nothing of any host.

    write_random_sd15(path)   the full size, 2 GB: what every host recognises by its shapes
    write_tiny(path)          6 MB, with the .yaml beside it that tells AUTOMATIC1111 how it is built
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file

Shape = tuple[int, ...]
Shapes = Iterator[tuple[str, Shape]]


@dataclass(frozen=True)
class Architecture:
    """The sizes of a latent diffusion model of the first Stable Diffusion's kind."""

    channels: int = 320
    multipliers: tuple[int, ...] = (1, 2, 4, 4)
    attention: tuple[int, ...] = (0, 1, 2)
    """Levels of the UNet that attend to the prompt."""
    blocks: int = 2
    text_width: int = 768
    text_layers: int = 12
    vae_channels: int = 128
    vae_multipliers: tuple[int, ...] = (1, 2, 4, 4)


SD15 = Architecture()
TINY = Architecture(32, (1, 2), (0, 1), 1, text_width=32, text_layers=2, vae_channels=32, vae_multipliers=(1, 1, 1, 1))


def write_random_sd15(path: Path, seed: int = 0) -> None:
    """Write a full-size Stable Diffusion 1.5 checkpoint of random fp16 weights (1131 tensors, 2 GB)."""
    _write(path, SD15, torch.float16, seed)


def write_tiny(path: Path, seed: int = 0) -> None:
    """Write a checkpoint of 6 MB, and `path` with the suffix .yaml beside it, as AUTOMATIC1111 reads it.

    The text encoder's size is not in the yaml: the host takes it from `TINY`'s CLIP configuration,
    which `tiny_clip_config` gives.
    """
    _write(path, TINY, torch.float32, seed)
    path.with_suffix(".yaml").write_text(_yaml(TINY), encoding="utf-8")


def tiny_clip_config() -> dict[str, object]:
    """config.json of the tiny checkpoint's CLIP, as transformers reads it."""
    text = {
        "hidden_size": TINY.text_width,
        "intermediate_size": 4 * TINY.text_width,
        "num_attention_heads": 2,
        "num_hidden_layers": TINY.text_layers,
        "max_position_embeddings": 77,
        "vocab_size": 49408,
        "hidden_act": "quick_gelu",
    }
    return {"architectures": ["CLIPTextModel"], "model_type": "clip_text_model", **text}


def _write(path: Path, sizes: Architecture, dtype: torch.dtype, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    tensors = {name: _draw(name, shape, random).to(dtype) for name, shape in _shapes(sizes)}
    position_ids = "cond_stage_model.transformer.text_model.embeddings.position_ids"
    tensors[position_ids] = torch.arange(77).unsqueeze(0)
    save_file(tensors, str(path))


def _draw(name: str, shape: Shape, random: torch.Generator) -> torch.Tensor:
    """One layer's numbers: norms near 1, biases near 0, the rest with variance 1 / fan-in."""
    noise = torch.randn(shape, generator=random)
    if name.endswith("bias"):
        return 0.02 * noise
    if len(shape) == 1:
        return 1 + 0.05 * noise
    if "embedding" in name:
        return 0.3 * noise
    return noise / noise[0].numel() ** 0.5


def _shapes(sizes: Architecture) -> Shapes:
    """The name and shape of every tensor but `position_ids`."""
    for prefix, part in (
        ("model.diffusion_model.", _unet(sizes)),
        ("first_stage_model.", _vae(sizes)),
        ("cond_stage_model.transformer.text_model.", _clip(sizes)),
    ):
        for name, shape in part:
            yield prefix + name, shape


def _layer(name: str, *weight: int, bias: bool = True) -> Shapes:
    yield f"{name}.weight", weight
    if bias:
        yield f"{name}.bias", weight[:1]


def _unet(sizes: Architecture) -> Shapes:
    base, time = sizes.channels, 4 * sizes.channels
    yield from _layer("time_embed.0", time, base)
    yield from _layer("time_embed.2", time, time)
    yield from _layer("input_blocks.0.0", base, 4, 3, 3)
    levels = range(len(sizes.multipliers))
    width, skips, block = base, [base], 1
    for level in levels:
        for _ in range(sizes.blocks):
            name, out = f"input_blocks.{block}", base * sizes.multipliers[level]
            yield from _residual(f"{name}.0", width, out, time)
            if level in sizes.attention:
                yield from _transformer(f"{name}.1", out, sizes.text_width)
            width, block = out, block + 1
            skips.append(width)
        if level != levels[-1]:
            yield from _layer(f"input_blocks.{block}.0.op", width, width, 3, 3)
            skips.append(width)
            block += 1
    yield from _residual("middle_block.0", width, width, time)
    yield from _transformer("middle_block.1", width, sizes.text_width)
    yield from _residual("middle_block.2", width, width, time)
    block = 0
    for level in reversed(levels):
        for i in range(sizes.blocks + 1):
            name, out = f"output_blocks.{block}", base * sizes.multipliers[level]
            yield from _residual(f"{name}.0", width + skips.pop(), out, time)
            attends = level in sizes.attention
            if attends:
                yield from _transformer(f"{name}.1", out, sizes.text_width)
            width, block = out, block + 1
            if level and i == sizes.blocks:
                yield from _layer(f"{name}.{1 + attends}.conv", width, width, 3, 3)
    yield from _layer("out.0", base)
    yield from _layer("out.2", 4, base, 3, 3)


def _residual(name: str, width: int, out: int, time: int) -> Shapes:
    yield from _layer(f"{name}.in_layers.0", width)
    yield from _layer(f"{name}.in_layers.2", out, width, 3, 3)
    yield from _layer(f"{name}.emb_layers.1", out, time)
    yield from _layer(f"{name}.out_layers.0", out)
    yield from _layer(f"{name}.out_layers.3", out, out, 3, 3)
    if width != out:
        yield from _layer(f"{name}.skip_connection", out, width, 1, 1)


def _transformer(name: str, width: int, text: int) -> Shapes:
    yield from _layer(f"{name}.norm", width)
    yield from _layer(f"{name}.proj_in", width, width, 1, 1)
    block = f"{name}.transformer_blocks.0"
    for attention, source in (("attn1", width), ("attn2", text)):
        yield from _layer(f"{block}.{attention}.to_q", width, width, bias=False)
        yield from _layer(f"{block}.{attention}.to_k", width, source, bias=False)
        yield from _layer(f"{block}.{attention}.to_v", width, source, bias=False)
        yield from _layer(f"{block}.{attention}.to_out.0", width, width)
    yield from _layer(f"{block}.ff.net.0.proj", 8 * width, width)
    yield from _layer(f"{block}.ff.net.2", width, 4 * width)
    for number in (1, 2, 3):
        yield from _layer(f"{block}.norm{number}", width)
    yield from _layer(f"{name}.proj_out", width, width, 1, 1)


def _vae(sizes: Architecture) -> Shapes:
    base, multipliers = sizes.vae_channels, sizes.vae_multipliers
    last = len(multipliers) - 1
    width = base
    yield from _layer("encoder.conv_in", base, 3, 3, 3)
    for level, multiplier in enumerate(multipliers):
        for block in range(2):
            yield from _vae_block(f"encoder.down.{level}.block.{block}", width, base * multiplier)
            width = base * multiplier
        if level != last:
            yield from _layer(f"encoder.down.{level}.downsample.conv", width, width, 3, 3)
    yield from _vae_middle("encoder", width)
    yield from _layer("encoder.conv_out", 8, width, 3, 3)
    yield from _layer("decoder.conv_in", width, 4, 3, 3)
    yield from _vae_middle("decoder", width)
    for level in reversed(range(len(multipliers))):
        for block in range(3):
            yield from _vae_block(f"decoder.up.{level}.block.{block}", width, base * multipliers[level])
            width = base * multipliers[level]
        if level:
            yield from _layer(f"decoder.up.{level}.upsample.conv", width, width, 3, 3)
    yield from _layer("decoder.norm_out", width)
    yield from _layer("decoder.conv_out", 3, width, 3, 3)
    yield from _layer("quant_conv", 8, 8, 1, 1)
    yield from _layer("post_quant_conv", 4, 4, 1, 1)


def _vae_middle(side: str, width: int) -> Shapes:
    yield from _vae_block(f"{side}.mid.block_1", width, width)
    yield from _layer(f"{side}.mid.attn_1.norm", width)
    for layer in ("q", "k", "v", "proj_out"):
        yield from _layer(f"{side}.mid.attn_1.{layer}", width, width, 1, 1)
    yield from _vae_block(f"{side}.mid.block_2", width, width)
    if side == "encoder":
        yield from _layer("encoder.norm_out", width)


def _vae_block(name: str, width: int, out: int) -> Shapes:
    yield from _layer(f"{name}.norm1", width)
    yield from _layer(f"{name}.conv1", out, width, 3, 3)
    yield from _layer(f"{name}.norm2", out)
    yield from _layer(f"{name}.conv2", out, out, 3, 3)
    if width != out:
        yield from _layer(f"{name}.nin_shortcut", out, width, 1, 1)


def _clip(sizes: Architecture) -> Shapes:
    width = sizes.text_width
    yield "embeddings.token_embedding.weight", (49408, width)
    yield "embeddings.position_embedding.weight", (77, width)
    for number in range(sizes.text_layers):
        layer = f"encoder.layers.{number}"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield from _layer(f"{layer}.self_attn.{part}", width, width)
        yield from _layer(f"{layer}.layer_norm1", width)
        yield from _layer(f"{layer}.mlp.fc1", 4 * width, width)
        yield from _layer(f"{layer}.mlp.fc2", width, 4 * width)
        yield from _layer(f"{layer}.layer_norm2", width)
    yield from _layer("final_layer_norm", width)


def _yaml(sizes: Architecture) -> str:
    """The LDM configuration of a checkpoint."""
    resolutions = [2**level for level in sizes.attention]
    return f"""\
model:
  target: ldm.models.diffusion.ddpm.LatentDiffusion
  params:
    linear_start: 0.00085
    linear_end: 0.0120
    timesteps: 1000
    first_stage_key: jpg
    cond_stage_key: txt
    image_size: 64
    channels: 4
    cond_stage_trainable: false
    conditioning_key: crossattn
    scale_factor: 0.18215
    use_ema: false
    unet_config:
      target: ldm.modules.diffusionmodules.openaimodel.UNetModel
      params:
        image_size: 32
        in_channels: 4
        out_channels: 4
        model_channels: {sizes.channels}
        attention_resolutions: {resolutions}
        num_res_blocks: {sizes.blocks}
        channel_mult: {list(sizes.multipliers)}
        num_heads: {8 if sizes is SD15 else 2}
        use_spatial_transformer: true
        transformer_depth: 1
        context_dim: {sizes.text_width}
        use_checkpoint: false
        legacy: false
    first_stage_config:
      target: ldm.models.autoencoder.AutoencoderKL
      params:
        embed_dim: 4
        monitor: val/rec_loss
        ddconfig:
          double_z: true
          z_channels: 4
          resolution: 256
          in_channels: 3
          out_ch: 3
          ch: {sizes.vae_channels}
          ch_mult: {list(sizes.vae_multipliers)}
          num_res_blocks: 2
          attn_resolutions: []
          dropout: 0.0
        lossconfig:
          target: torch.nn.Identity
    cond_stage_config:
      target: ldm.modules.encoders.modules.FrozenCLIPEmbedder
"""


def main() -> None:
    """`python -m tests.hosts.checkpoints FILE` writes the full size there."""
    parser = argparse.ArgumentParser(description="Write a Stable Diffusion 1.5 checkpoint of random weights (2 GB).")
    parser.add_argument("file", type=Path)
    write_random_sd15(parser.parse_args().file)


if __name__ == "__main__":
    main()
