"""Builds `example_workflows/` in a real page, so that each file is what ComfyUI itself saves, with its thumbnail;
and takes the README's picture of the page.

NEGOPT_COMFYUI_DIR=... NEGOPT_COMFYUI_PYTHON=... NEGOPT_COMFYUI_CHECKPOINT=... python -m tests.hosts.make_templates
"""

from __future__ import annotations

import json

from .comfyui_server import CHECKPOINTS, ComfyUI, server_of_environment
from .graphs import Node, build, photograph
from .page import open_page, press_write
from .server import ROOT

FOLDER = ROOT / "example_workflows"
THUMBNAIL = (640, 400)
PICTURE, PICTURED = ROOT / "docs" / "images" / "comfyui.png", "Text to image SDXL"

SOURCES = {
    CHECKPOINTS[0]: "https://huggingface.co/Comfy-Org/stable-diffusion-v1-5-archive/resolve/main/",
    CHECKPOINTS[1]: "https://huggingface.co/stabilityai/stable-diffusion-xl-base-1.0/resolve/main/",
}
"""Where the page offers to fetch a missing checkpoint from, as ComfyUI's own templates do."""


OFFER_CHECKPOINTS = """
(sources) => {
  for (const loader of app.graph._nodes.filter(node => node.type === "CheckpointLoaderSimple")) {
    const name = loader.widgets[0].value
    loader.properties.models = [{ name, url: sources[name] + name, directory: "checkpoints" }]
  }
  return JSON.stringify(app.graph.serialize())
}
"""
"""Names each checkpoint's source; returns the saved workflow as text: what has no value is in no JSON, but would come
through Playwright as null, which the page's own check of a workflow refuses."""


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
        "negopt": Node("NegOpt", (390, 0), (420, 676), {"prompt": prompt, "keep": keep}, {"clip": ("loader", "CLIP")}),
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
        "negopt": Node("NegOpt", (390, 0), (420, 676), {"prompt": PORTRAIT}, {"clip": ("loader", "CLIP")}),
        "none": Node(
            "CLIPTextEncode",
            (390, 756),
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
            "the negative differs.\n\nTo keep one: select its text in the box, copy it, and paste it into *keep* of a "
            "NegOpt node with *max_terms* 0.",
            (0, 350),
            (330, 180),
        ),
        "negopt": Node(
            "NegOptAlternatives",
            (390, 0),
            (440, 896),
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
            (420, 676),
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


def main() -> None:
    with server_of_environment() as server:
        make(server)


def make(server: ComfyUI) -> None:
    from PIL import Image

    FOLDER.mkdir(exist_ok=True)
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    with open_page(server, 1680, 920) as page:
        for name, nodes in TEMPLATES.items():
            build(page, nodes)
            press_write(page, nodes["negopt"].kind)
            whole, picture = photograph(page)
            workflow = page.evaluate(OFFER_CHECKPOINTS, SOURCES)
            picture.thumbnail((2 * THUMBNAIL[0], 2 * THUMBNAIL[1]), Image.Resampling.LANCZOS)
            picture.save(FOLDER / f"{name}.jpg", quality=82, optimize=True)
            text = json.dumps(json.loads(workflow), ensure_ascii=False, indent=1)
            (FOLDER / f"{name}.json").write_text(text + "\n", encoding="utf-8")
            if name == PICTURED:
                whole.save(PICTURE, optimize=True)
            print(name)


if __name__ == "__main__":
    main()
