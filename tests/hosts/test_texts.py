"""Texts as `training.samplers` reads them against what the real hosts' own text encoders give for them.

NEGOPT_COMFYUI_DIR, NEGOPT_COMFYUI_PYTHON, NEGOPT_COMFYUI_CHECKPOINT  as for test_comfyui.py
NEGOPT_A1111_DIR, NEGOPT_A1111_PYTHON                                 as for test_a1111.py (AUTOMATIC1111)

python -m pytest tests/hosts/test_texts.py
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

import pytest
import torch
from safetensors.torch import load_file
from transformers import CLIPTextConfig, CLIPTextModel

from training.samplers.checkpoints import open_pipeline
from training.samplers.texts import TextEncoder

from .a1111_server import WebUI
from .checkpoints import tiny_clip_config
from .server import PATIENCE

COMFYUI = ("NEGOPT_COMFYUI_DIR", "NEGOPT_COMFYUI_PYTHON", "NEGOPT_COMFYUI_CHECKPOINT")
A1111 = ("NEGOPT_A1111_DIR", "NEGOPT_A1111_PYTHON")

TEXTS = [
    "",
    "A red_boat at night, 16:9. It's 8k!",
    "a (red:1.3) boat, ((big)) sea",
    "(a:0.5) b (c:2.0), (d (e:1.2):1.1)",
    "masterpiece, " * 50,
    "a house by the sea, " * 20 + "(bad hands, extra fingers:1.4), blurry, " + "low quality jpeg artifacts " * 15,
    "x " * 73 + "(bad hands, ugly:1.2)",
    "x " * 70 + "(bad hands, ugly, blurry, extra fingers, lowres:1.2)",
    "x " * 60 + ", " + "x " * 14 + ", x",
    "x " * 75 + ", x",
]
"""What both hosts read in the same language."""
OF_A1111 = ["[small] cat, [[tiny]]", "a cat BREAK (a dog:1.2)", r"saber \(fate\), open", "x " * 100 + " BREAK x"]

IN_COMFYUI = """
import json, sys
host, checkpoint, texts, out = sys.argv[1:]
sys.argv[1:] = ["--cpu"]
sys.path.insert(0, host)
import comfy.options
comfy.options.enable_args_parsing()
import comfy.sd
from safetensors.torch import save_file
_, clip, *_ = comfy.sd.load_checkpoint_guess_config(checkpoint, output_vae=False)
encoded = [clip.encode_from_tokens(clip.tokenize(text)) for text in json.loads(texts)]
save_file({str(number): states[0].float().contiguous() for number, states in enumerate(encoded)}, out)
"""

IN_A1111 = """
from modules import script_callbacks, shared

def encode(text: str):
    return shared.sd_model.cond_stage_model([text])[0].tolist()

script_callbacks.on_app_started(lambda demo, app: app.add_api_route("/encode", encode, methods=["GET"]))
"""


def compare(ours: TextEncoder, texts: Sequence[str], theirs: Sequence[torch.Tensor]) -> None:
    for text, expected in zip(texts, theirs, strict=True):
        with torch.inference_mode():
            (found,) = ours.encode([text], 8)
        assert found.states.shape == expected.shape, text
        assert (found.states - expected).abs().max() < 1e-4, text


def test_comfyui(tmp_path: Path) -> None:
    if not all(os.environ.get(name) for name in COMFYUI):
        pytest.skip(f"no ComfyUI given: set {', '.join(COMFYUI)}")
    host, python, checkpoint = (os.environ[name] for name in COMFYUI)
    out = tmp_path / "encoded.safetensors"
    command = [python, "-c", IN_COMFYUI, host, checkpoint, json.dumps(TEXTS), str(out)]
    subprocess.run(command, check=True, cwd=tmp_path, timeout=PATIENCE)
    tokenizer = Path(host) / "comfy" / "sd1_tokenizer"
    pipeline = open_pipeline(checkpoint, dtype=torch.float32, device=torch.device("cpu"), tokenizer=tokenizer)
    theirs = load_file(out)
    compare(TextEncoder(pipeline, "comfyui"), TEXTS, [theirs[str(number)] for number in range(len(TEXTS))])


@pytest.fixture
def webui(tmp_path: Path) -> Iterator[WebUI]:
    if not all(os.environ.get(name) for name in A1111):
        pytest.skip(f"no AUTOMATIC1111 given: set {', '.join(A1111)}")
    host, python = (os.environ[name] for name in A1111)
    server = WebUI(Path(host), python, tmp_path)
    if server.is_forge:
        pytest.skip("Forge has text encoders of its own")
    server.prepare()
    scripts = server.data / "extensions" / "encode" / "scripts"
    scripts.mkdir(parents=True)
    (scripts / "encode.py").write_text(IN_A1111)
    server.start()
    yield server
    server.stop()


@pytest.mark.parametrize("clip_skip", [1, 2])
def test_a1111(webui: WebUI, clip_skip: int) -> None:
    webui.post("/sdapi/v1/options", {"CLIP_stop_at_last_layers": clip_skip})
    texts = [*TEXTS, *OF_A1111]
    theirs = [torch.tensor(webui.get(f"/encode?text={quote(text)}")) for text in texts]
    checkpoint = webui.data / "models" / "Stable-diffusion" / "random.safetensors"
    tokenizer = webui.scratch / "openai" / "clip-vit-large-patch14"
    pipeline = open_pipeline(checkpoint, dtype=torch.float32, device=torch.device("cpu"), tokenizer=tokenizer)
    # its number of heads does not show in the file
    as_made = CLIPTextModel(CLIPTextConfig.from_dict(tiny_clip_config())).eval()
    as_made.load_state_dict(pipeline.text_encoder.state_dict())
    pipeline.text_encoder = as_made
    compare(TextEncoder(pipeline, clip_skip=clip_skip), texts, theirs)
