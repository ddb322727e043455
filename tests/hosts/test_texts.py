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
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from training.samplers.checkpoints import open_pipeline
from training.samplers.texts import TextEncoder

from .a1111_server import WebUI
from .checkpoints import TINY, tiny_clip_config
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
OF_A1111 = [
    "[small] cat, [[tiny]]",
    "a cat BREAK (a dog:1.2)",
    r"saber \(fate\), open",
    "x " * 100 + " BREAK x",
    "a (red boat, (big:1.3) [old",
    "(a cat BREAK a dog, sea",
    "(a [b) c] d",
    "a (cat 1.2), (dog):1.3, {sea}, (:) <fog>",
]
OF_COMFYUI = [r"[small] cat, {a} \[c\] \(d\)", "(red)(blue:1.1) (a:1.0)b", "a (cat 1.2), (dog):1.3", "a (red boat, big"]

EMBEDDINGS = {
    "EasyNegative": 2,
    "bad-hands": 1,
    "bad-hands-5": 3,
    "bad_prompt_version2": 8,
    "styles/Ink v1.2": 1,
    "styles/fog": 5,
    "whole": 75,
}
"""Files, and how many vectors each has."""
NAMED_IN_A1111 = [
    "a cat, EasyNegative, ugly",
    "easynegative (EASYNEGATIVE:1.3), EasyNegatives, easy negative",
    "embedding:EasyNegative, embedding:missing",
    "bad-hands-5, bad-hands, bad-hands -5, fog, ink V1.2",
    "(bad-hands:0.6), red",
    "[EasyNegative], (bad-hands-5 <EasyNegative>",
    r"(a BREAK fog:1.2) BREAK \(fog\) bad_prompt_(version2:1.2)",
    "x " * 73 + "EasyNegative",
    "x " * 74 + "EasyNegative, x",
    "x " * 72 + "(fog:1.3), x",
    "x " * 60 + ", " + "x " * 14 + "EasyNegative",
    "x " * 60 + ", bad_prompt_version2 " + "x " * 6 + "red boat",
    "x " * 60 + ", x (bad_prompt_version2 fog:1.4), red " + "boat " * 60,
    "a whole whole b",
    "masterpiece, EasyNegative, " * 30,
]
NAMED_IN_COMFYUI = [
    "embedding:EasyNegative",
    "a cat, embedding:EasyNegative, ugly, embedding:bad-hands.safetensors,, sea",
    "(embedding:EasyNegative:1.3) (embedding:bad-hands), ((embedding:fog, ugly:1.2) red)",
    "(a embedding:EasyNegative embedding:bad-hands-5:0.7)(embedding:fog)",
    "red\nembedding:EasyNegative\nblue, embedding: fog red",
    "embedding:styles/fog, embedding:styles/fog.safetensors embedding:fog.pt embedding:Ink v1.2",
    "a embedding:missing red, embedding:missing, embedding:EasyNegative:1.2 blue, embedding:easynegative, x",
    "a,embedding:fog [embedding:fog] Embedding:fog, EasyNegative embedding:,fog red",
    "x " * 73 + "embedding:EasyNegative",
    "x " * 74 + "embedding:EasyNegative red",
    "x " * 70 + "(embedding:bad_prompt_version2:1.3), red",
    "a embedding:whole embedding:whole b",
    "masterpiece, embedding:EasyNegative, " * 30,
]

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

OF_ANY_SIZE_IN_COMFYUI = """
import json, sys
host, folder, texts, out = sys.argv[1:]
sys.argv[1:] = ["--cpu"]
sys.path.insert(0, host)
import comfy.options
comfy.options.enable_args_parsing()
import torch
from comfy.sd1_clip import SD1ClipModel, SD1Tokenizer
from comfy.sdxl_clip import SDXLClipModel, SDXLTokenizer
from safetensors.torch import load_file, save_file
sizes = {f"{name}_model_config": size for name, size in json.load(open(f"{folder}/sizes.json")).items()}
found = {}
for kind, tokenizer, model, names in (
    ("sd1", SD1Tokenizer, SD1ClipModel, ["clip_l"]), ("sdxl", SDXLTokenizer, SDXLClipModel, ["clip_l", "clip_g"])
):
    tokenizer = tokenizer(embedding_directory=f"{folder}/{kind}")
    model = model(dtype=torch.float32, model_options=sizes)
    for name in names:
        assert not getattr(model, name).load_sd(load_file(f"{folder}/{name}.safetensors")).unexpected_keys
    for number, text in enumerate(json.loads(texts)):
        states, pooled = model.encode_token_weights(tokenizer.tokenize_with_weights(text))
        found |= {f"{kind} {number}": states[0].contiguous(), f"{kind} {number} pooled": pooled.contiguous()}
save_file(found, out)
"""

IN_A1111 = """
from modules import script_callbacks, shared

def encode(text: str):
    return shared.sd_model.cond_stage_model([text])[0].tolist()

script_callbacks.on_app_started(lambda demo, app: app.add_api_route("/encode", encode, methods=["GET"]))
"""


def write_embeddings(folder: Path, *widths: int) -> Path:
    """Those of `EMBEDDINGS`, in the layouts for one text encoder or for SDXL's two, in single and half precision."""
    random = torch.Generator().manual_seed(0)
    for number, (name, count) in enumerate(EMBEDDINGS.items()):
        file = folder / f"{name}.safetensors"
        file.parent.mkdir(parents=True, exist_ok=True)
        called = ("clip_l", "clip_g") if len(widths) > 1 else (("emb_params", f"<{name}>", "clip_l")[number % 3],)
        vectors = [0.3 * torch.randn(count, width, generator=random) for width in widths]
        shorter = [part[0].half() if name == "bad-hands" else part for part in vectors]
        save_file(dict(zip(called, shorter, strict=True)), file)
    return folder


def compare(ours: TextEncoder, texts: Sequence[str], theirs: Sequence[torch.Tensor]) -> None:
    with torch.inference_mode():
        found = [ours.encode([text], 8)[0].states for text in texts]
    assert not [text for text, mine, other in zip(texts, found, theirs, strict=True) if not same(mine, other)]


def same(found: torch.Tensor, expected: torch.Tensor) -> bool:
    return found.shape == expected.shape and bool((found - expected).abs().max() < 1e-4)


def in_comfyui(tmp_path: Path, script: str, given: str, texts: Sequence[str]) -> dict[str, torch.Tensor]:
    """What the script, which its own Python runs, encodes."""
    if not all(os.environ.get(name) for name in COMFYUI):
        pytest.skip(f"no ComfyUI given: set {', '.join(COMFYUI)}")
    host, python, _ = (os.environ[name] for name in COMFYUI)
    out = tmp_path / "encoded.safetensors"
    command = [python, "-c", script, host, given, json.dumps(texts), str(out)]
    subprocess.run(command, check=True, cwd=tmp_path, timeout=PATIENCE)
    return load_file(out)


def comfyui_tokenizer() -> Path:
    return Path(os.environ[COMFYUI[0]]) / "comfy" / "sd1_tokenizer"


def test_comfyui(tmp_path: Path) -> None:
    checkpoint = os.environ.get(COMFYUI[2], "")
    theirs = in_comfyui(tmp_path, IN_COMFYUI, checkpoint, TEXTS)
    pipeline = open_pipeline(checkpoint, dtype=torch.float32, device=torch.device("cpu"), tokenizer=comfyui_tokenizer())
    compare(TextEncoder(pipeline, "comfyui"), TEXTS, [theirs[str(number)] for number in range(len(TEXTS))])


def test_embeddings_in_comfyui(tmp_path: Path) -> None:
    """Its own text encoders, tiny ones."""
    texts = [*TEXTS, *OF_COMFYUI, *NAMED_IN_COMFYUI]
    tiny = {"vocab_size": 49408, "bos_token_id": 49406, "eos_token_id": 49407, "num_hidden_layers": 3}
    sizes: dict[str, dict[str, Any]] = {
        "clip_l": {**tiny, "hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2},
        "clip_g": {**tiny, "hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, "projection_dim": 64},
    }
    (tmp_path / "sizes.json").write_text(json.dumps(sizes))
    torch.manual_seed(0)
    first = CLIPTextModel(CLIPTextConfig(**sizes["clip_l"], hidden_act="quick_gelu")).eval()
    second = CLIPTextModelWithProjection(CLIPTextConfig(**sizes["clip_g"], hidden_act="gelu")).eval()
    for name, encoder in (("clip_l", first), ("clip_g", second)):
        for weights in encoder.parameters():
            if weights.ndim > 1:
                torch.nn.init.normal_(weights, std=0.2)  # words differ, as in a trained one
        known = ("text_model.", "text_projection.")
        state = {n if n.startswith(known) else known[0] + n: t for n, t in encoder.state_dict().items()}
        save_file(state, tmp_path / f"{name}.safetensors")
    write_embeddings(tmp_path / "sd1", 32)
    write_embeddings(tmp_path / "sdxl", 32, 64)
    theirs = in_comfyui(tmp_path, OF_ANY_SIZE_IN_COMFYUI, str(tmp_path), texts)
    tokenizers = [
        CLIPTokenizer.from_pretrained(comfyui_tokenizer(), model_max_length=77, pad_token=pad)
        for pad in ("<|endoftext|>", "!")
    ]
    parts: dict[str, Any] = {"tokenizer": tokenizers[0], "text_encoder": first}
    more = {"tokenizer_2": tokenizers[1], "text_encoder_2": second}
    for kind, given in (("sd1", parts), ("sdxl", parts | more)):
        ours = TextEncoder(SimpleNamespace(**given), "comfyui", embeddings=[tmp_path / kind])
        assert len(ours.embeddings) == len(EMBEDDINGS)
        compare(ours, texts, [theirs[f"{kind} {number}"] for number in range(len(texts))])
    pooled = [theirs[f"sdxl {number} pooled"][0] for number in range(len(texts))]
    with torch.inference_mode():
        found = [text.pooled for text in ours.encode(texts, 8)]
    assert all(one is not None and same(one, other) for one, other in zip(found, pooled, strict=True))


@pytest.fixture
def webui(tmp_path: Path) -> Iterator[WebUI]:
    if not all(os.environ.get(name) for name in A1111):
        pytest.skip(f"no AUTOMATIC1111 given: set {', '.join(A1111)}")
    host, python = (os.environ[name] for name in A1111)
    server = WebUI(Path(host), python, tmp_path)
    if server.is_forge:
        pytest.skip("Forge has text encoders of its own")
    server.prepare()
    write_embeddings(server.data / "embeddings", TINY.text_width)
    scripts = server.data / "extensions" / "encode" / "scripts"
    scripts.mkdir(parents=True)
    (scripts / "encode.py").write_text(IN_A1111)
    server.start()
    yield server
    server.stop()


@pytest.mark.parametrize("clip_skip", [1, 2])
def test_a1111(webui: WebUI, clip_skip: int) -> None:
    webui.post("/sdapi/v1/options", {"CLIP_stop_at_last_layers": clip_skip})
    texts = [*TEXTS, *OF_A1111, *NAMED_IN_A1111]
    theirs = [torch.tensor(webui.get(f"/encode?text={quote(text)}")) for text in texts]
    checkpoint = webui.data / "models" / "Stable-diffusion" / "random.safetensors"
    tokenizer = webui.scratch / "openai" / "clip-vit-large-patch14"
    pipeline = open_pipeline(checkpoint, dtype=torch.float32, device=torch.device("cpu"), tokenizer=tokenizer)
    # its number of heads does not show in the file
    as_made = CLIPTextModel(CLIPTextConfig.from_dict(tiny_clip_config())).eval()
    as_made.load_state_dict(pipeline.text_encoder.state_dict())
    pipeline.text_encoder = as_made
    ours = TextEncoder(pipeline, clip_skip=clip_skip, embeddings=[webui.data / "embeddings"])
    compare(ours, texts, theirs)
