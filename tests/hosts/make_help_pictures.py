"""Takes the pictures of the help pages in a real page, in each of their languages.

NEGOPT_COMFYUI_DIR=... NEGOPT_COMFYUI_PYTHON=... NEGOPT_COMFYUI_CHECKPOINT=... python -m tests.hosts.make_help_pictures
"""

from __future__ import annotations

from .comfyui_server import CHECKPOINTS, ComfyUI, server_of_environment
from .graphs import Node, build, photograph
from .page import open_page, press_write
from .server import ROOT

DOCS = ROOT / "negopt_nodes" / "web" / "docs"
LANGUAGES = {"en": "", "zh": ".zh", "zh-TW": ".zh-TW"}
"""What stands before ".png" in each language's pictures."""
FISHERMAN = "portrait photo of an old fisherman, no text"

PICTURES: dict[str, dict[str, Node]] = {
    "NegOpt/node": {
        "written": Node("NegOpt", (0, 0), (340, 696), {"prompt": FISHERMAN, "keep": "(blurry:1.2), ugly"}),
    },
    "NegOpt/wiring": {
        "loader": Node("CheckpointLoaderSimple", (0, 0), (190, 98), {"ckpt_name": CHECKPOINTS[0]}),
        "negopt": Node("NegOpt", (230, 0), (250, 656), {"prompt": FISHERMAN}, {"clip": ("loader", "CLIP")}),
        "sampler": Node(
            "KSampler",
            (530, 0),
            (180, 262),
            links={"positive": ("negopt", "positive"), "negative": ("negopt", "negative")},
        ),
    },
    "NegOptAlternatives/node": {
        "written": Node(
            "NegOptAlternatives", (0, 0), (430, 896), {"prompt": "a knight resting under a tree, watercolor", "n": 3}
        ),
    },
    "NegOptMerge/node": {
        "prompt": Node("PrimitiveStringMultiline", (-400, 0), (300, 110), {"value": "black and white sketch of a cat"}),
        "written": Node(
            "NegOptMerge",
            (0, 0),
            (360, 696),
            {"negative": "sketch, monochrome, (bad hands:1.3), Bad Hand, blurry"},
            {"prompt": ("prompt", "STRING")},
        ),
    },
    "NegOptLoadModel/node": {
        "loader": Node("NegOptLoadModel", (0, 0), (220, 58), {"model": "owner/name"}),
        "negopt": Node(
            "NegOpt", (260, 0), (260, 656), {"prompt": "a knight"}, {"negopt_model": ("loader", "negopt model")}
        ),
    },
}
"""The graph of each picture; a node called "written" shows what Write gives."""


def main() -> None:
    with server_of_environment() as server:
        for language, suffix in LANGUAGES.items():
            make(server, language, suffix)


def make(server: ComfyUI, language: str, suffix: str) -> None:
    from PIL import Image

    with open_page(server, 1300, 1200, language=language, zoom=1.5) as page:
        for name, nodes in PICTURES.items():
            build(page, nodes)
            if "written" in nodes:
                press_write(page, nodes["written"].kind)
            _, picture = photograph(page)
            path = DOCS / f"{name}{suffix}.png"
            few = picture.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
            few.save(path, optimize=True)
            print(path.name, path.stat().st_size)


if __name__ == "__main__":
    main()
