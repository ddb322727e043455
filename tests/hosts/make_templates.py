"""Builds `example_workflows/` in a real page, so that each file is what ComfyUI itself saves, with its thumbnail;
and takes the README's picture of the page.

NEGOPT_COMFYUI_DIR=... NEGOPT_COMFYUI_PYTHON=... NEGOPT_COMFYUI_CHECKPOINT=... python -m tests.hosts.make_templates
"""

from __future__ import annotations

import io
import json
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .comfyui_server import CHECKPOINTS, ComfyUI
from .page import frame, open_page, press_write
from .server import ROOT

FOLDER = ROOT / "example_workflows"
THUMBNAIL = (640, 400)
PICTURE, PICTURED = ROOT / "docs" / "images" / "comfyui.png", "Text to image SDXL"

SOURCES = {
    CHECKPOINTS[0]: "https://huggingface.co/Comfy-Org/stable-diffusion-v1-5-archive/resolve/main/",
    CHECKPOINTS[1]: "https://huggingface.co/stabilityai/stable-diffusion-xl-base-1.0/resolve/main/",
}
"""Where the page offers to fetch a missing checkpoint from, as ComfyUI's own templates do."""


@dataclass(frozen=True)
class Node:
    """One node: its widgets by name, and its inputs by name as (key of the other node, name of its output)."""

    kind: str
    at: tuple[int, int]
    size: tuple[int, int] = (0, 0)
    widgets: dict[str, Any] = field(default_factory=dict)
    links: dict[str, tuple[str, str]] = field(default_factory=dict)
    title: str = ""


def note(text: str, at: tuple[int, int], size: tuple[int, int]) -> Node:
    return Node("MarkdownNote", at, size, {"": text}, title="Note")


def loader(name: str, at: tuple[int, int]) -> Node:
    return Node("CheckpointLoaderSimple", at, (330, 100), {"ckpt_name": name})


def latent(at: tuple[int, int], side: int) -> Node:
    return Node("EmptyLatentImage", at, (330, 110), {"width": side, "height": side, "batch_size": 1})


def sampler(at: tuple[int, int], positive: tuple[str, str], negative: tuple[str, str], title: str = "") -> Node:
    widgets = {"seed": 20260, "control_after_generate": "fixed", "steps": 24, "cfg": 7.0}
    widgets |= {"sampler_name": "dpmpp_2m", "scheduler": "karras", "denoise": 1.0}
    links = {
        "model": ("loader", "MODEL"),
        "positive": positive,
        "negative": negative,
        "latent_image": ("latent", "LATENT"),
    }
    return Node("KSampler", at, (320, 270), widgets, links, title)


def decode(at: tuple[int, int], samples: str) -> Node:
    return Node("VAEDecode", at, (200, 50), links={"samples": (samples, "LATENT"), "vae": ("loader", "VAE")})


def save(at: tuple[int, int], images: str, prefix: str, size: tuple[int, int] = (340, 380), title: str = "") -> Node:
    return Node("SaveImage", at, size, {"filename_prefix": prefix}, {"images": (images, "IMAGE")}, title)


POSITIVE, NEGATIVE = ("negopt", "positive"), ("negopt", "negative")
PORTRAIT = "portrait photo of an old fisherman, weathered face, 85mm, overcast"


def text_to_image(checkpoint: str, side: int, prompt: str, hint: str, keep: str = "") -> dict[str, Node]:
    return {
        "loader": loader(checkpoint, (0, 0)),
        "latent": latent((0, 170), side),
        "note": note(hint, (0, 350), (330, 180)),
        "negopt": Node("NegOpt", (390, 0), (420, 640), {"prompt": prompt, "keep": keep}, {"clip": ("loader", "CLIP")}),
        "sampler": sampler((870, 0), POSITIVE, NEGATIVE),
        "decode": decode((870, 340), "sampler"),
        "save": save((1240, 0), "decode", "negopt"),
    }


TEMPLATES: dict[str, dict[str, Node]] = {
    "Text to image SD1.5": text_to_image(
        CHECKPOINTS[0],
        512,
        PORTRAIT,
        "**NegOpt writes the negative prompt.** It takes the place of both CLIP Text Encode nodes.\n\n"
        "Press **Write** to see the negative now, or **Run** to make the picture with it. Blue: your own terms, "
        "from *keep*. Green: what your prompt itself rules out.",
    ),
    "Text to image SDXL": text_to_image(
        CHECKPOINTS[1],
        1024,
        "watercolor landscape at dawn, misty valley, no people",
        "**SDXL with NegOpt.** The node encodes both texts with SDXL's own two text encoders.\n\n"
        'Blue is your own text, from *keep*. The prompt says "no people": so "people" follows, in green.',
        keep="(oversaturated:1.2)",
    ),
    "Compare with and without": {
        "loader": loader(CHECKPOINTS[0], (0, 0)),
        "latent": latent((0, 170), 512),
        "note": note(
            "**The same seed twice:** above with the negative that NegOpt wrote, below with none.\n\n"
            "Put your usual list into the lower box to compare with that.",
            (0, 350),
            (330, 180),
        ),
        "negopt": Node("NegOpt", (390, 0), (420, 640), {"prompt": PORTRAIT}, {"clip": ("loader", "CLIP")}),
        "none": Node(
            "CLIPTextEncode",
            (390, 720),
            (420, 160),
            {"text": ""},
            {"clip": ("loader", "CLIP")},
            "Your usual negative",
        ),
        "with": sampler((870, 0), POSITIVE, NEGATIVE, "With NegOpt"),
        "without": sampler((870, 460), POSITIVE, ("none", "CONDITIONING"), "Without"),
        "decode_with": decode((870, 340), "with"),
        "decode_without": decode((870, 800), "without"),
        "save_with": save((1240, 0), "decode_with", "with-negopt", title="With NegOpt"),
        "save_without": save((1240, 460), "decode_without", "without", title="Without"),
    },
    "Alternatives side by side": {
        "loader": loader(CHECKPOINTS[0], (0, 0)),
        "latent": latent((0, 170), 512),
        "note": note(
            "**Four negatives for one prompt.** What follows runs once for each, with the same seed, so that only "
            "the negative differs.\n\nTo keep one: right-click, *Copy negative prompt*, and paste it into *keep*.",
            (0, 350),
            (330, 180),
        ),
        "negopt": Node(
            "NegOptAlternatives",
            (390, 0),
            (440, 860),
            {"prompt": "a knight, oil painting"},
            {"clip": ("loader", "CLIP")},
        ),
        "sampler": sampler((890, 0), POSITIVE, NEGATIVE),
        "decode": decode((890, 340), "sampler"),
        "save": save((1260, 0), "decode", "alternative", (420, 460)),
    },
    "Merge with a list of your own": {
        "loader": loader(CHECKPOINTS[0], (0, 0)),
        "latent": latent((0, 170), 512),
        "note": note(
            "**A list from elsewhere, made to suit the prompt.** A styler or an old habit gives the list on the right; "
            "what the prompt asks for and what repeats itself is left out, and NegOpt adds what is missing.",
            (0, 350),
            (330, 180),
        ),
        "prompt": Node(
            "PrimitiveStringMultiline",
            (390, 0),
            (420, 150),
            {"value": "black and white pencil sketch of a cat"},
            title="Prompt",
        ),
        "negopt": Node(
            "NegOptMerge",
            (390, 230),
            (420, 640),
            {"negative": "sketch, monochrome, blurry, (bad anatomy:1.2), watermark, Blurry"},
            {"prompt": ("prompt", "STRING")},
        ),
        "positive": Node(
            "CLIPTextEncode",
            (870, 0),
            (320, 90),
            links={"clip": ("loader", "CLIP"), "text": ("prompt", "STRING")},
            title="Prompt encoded",
        ),
        "negative": Node(
            "CLIPTextEncode",
            (870, 170),
            (320, 90),
            links={"clip": ("loader", "CLIP"), "text": ("negopt", "negative text")},
            title="Negative encoded",
        ),
        "sampler": sampler((870, 340), ("positive", "CONDITIONING"), ("negative", "CONDITIONING")),
        "decode": decode((870, 680), "sampler"),
        "save": save((1240, 340), "decode", "merged"),
    },
}

BUILD = """
(nodes) => {
  app.graph.clear()
  const made = {}
  for (const [key, wanted] of Object.entries(nodes)) {
    const node = LiteGraph.createNode(wanted.kind)
    app.graph.add(node)
    node.pos = wanted.at
    if (wanted.title) node.title = wanted.title
    for (const [name, value] of Object.entries(wanted.widgets))
      (name ? node.widgets.find(w => w.name === name) : node.widgets[0]).value = value
    if (wanted.size[0]) node.setSize(wanted.size)
    made[key] = node
  }
  for (const [key, wanted] of Object.entries(nodes))
    for (const [input, [from, output]] of Object.entries(wanted.links)) {
      const source = made[from].outputs.findIndex(o => (o.label ?? o.name) === output)
      const target = made[key].inputs.findIndex(i => i.name === input)
      if (source < 0 || target < 0) throw new Error(`${key}.${input} from ${from}.${output}`)
      made[from].connect(source, made[key], target)
    }
  for (const [key, wanted] of Object.entries(nodes))
    if (wanted.kind === "CheckpointLoaderSimple")
      made[key].properties.models = [{ name: wanted.widgets.ckpt_name, url: wanted.source, directory: "checkpoints" }]
  return app.graph.serialize()
}
"""


def described(nodes: dict[str, Node]) -> dict[str, dict[str, Any]]:
    """The nodes as the page's script wants them."""
    table = {key: vars(node) | {"size": list(node.size)} for key, node in nodes.items()}
    for values in table.values():
        name = values["widgets"].get("ckpt_name")
        values["source"] = SOURCES[name] + name if name else ""
    return table


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        server = ComfyUI(
            Path(os.environ["NEGOPT_COMFYUI_DIR"]),
            os.environ["NEGOPT_COMFYUI_PYTHON"],
            Path(scratch),
            checkpoint=Path(os.environ["NEGOPT_COMFYUI_CHECKPOINT"]),
        )
        server.prepare()
        server.start()
        try:
            build(server)
        finally:
            server.stop()


def build(server: ComfyUI) -> None:
    from PIL import Image

    FOLDER.mkdir(exist_ok=True)
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    with open_page(server, 1680, 920) as page:
        for name, nodes in TEMPLATES.items():
            workflow = page.evaluate(BUILD, described(nodes))
            x, y, width, height = frame(page)
            press_write(page, nodes["negopt"].kind)
            page.wait_for_timeout(500)
            whole = Image.open(io.BytesIO(page.screenshot()))
            space = 14
            picture = whole.crop((int(x - space), int(y - space), int(x + width + space), int(y + height + space)))
            picture.thumbnail((2 * THUMBNAIL[0], 2 * THUMBNAIL[1]), Image.Resampling.LANCZOS)
            picture.convert("RGB").save(FOLDER / f"{name}.jpg", quality=82, optimize=True)
            text = json.dumps(workflow, ensure_ascii=False, indent=1)
            (FOLDER / f"{name}.json").write_text(text + "\n", encoding="utf-8")
            if name == PICTURED:
                whole.convert("RGB").save(PICTURE, optimize=True)
            print(name)


if __name__ == "__main__":
    main()
