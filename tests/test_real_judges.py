"""The judges of real pictures, on small networks of random weights in the layouts that the Hub has them in."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import CLIPImageProcessor, CLIPModel

from negopt.errors import ModelError, OptionError
from tests.hub_server import COMMIT, hub_with
from tests.tiny_clip import SIDE, as_open_clip, tiny_clip_config, write_clip
from training.rewards.aesthetics import read_head
from training.rewards.clip import Clip, prepare
from training.rewards.inception import Inception
from training.rewards.judge import judge_named
from training.rewards.preference import Preference
from training.rewards.real import Source, judges_named

CPU, FULL = torch.device("cpu"), torch.float32
TEXTS = ["a red boat", "a blue house by the sea", "a red boat"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    write_clip(folder)
    return folder


@pytest.fixture(scope="module")
def clip(folder: Path) -> Clip:
    return Clip.open(folder, folder, CPU, FULL)


def pictures(*shape: int) -> torch.Tensor:
    """Smooth ones, in whole bytes."""
    coarse = torch.rand(shape[0], 3, 6, 6, generator=torch.Generator().manual_seed(0))
    return (torch.nn.functional.interpolate(coarse, shape[1:], mode="bilinear") * 255).round() / 255


@pytest.mark.parametrize("size", [(64, 64), (50, 80), (91, 40), (20, 24)])
def test_pictures_are_prepared_as_transformers_does_it(size: tuple[int, int]) -> None:
    images = pictures(2, *size)
    theirs = CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    whole = [Image.fromarray(np.asarray((image * 255).round().byte().permute(1, 2, 0))) for image in images]
    expected = theirs(images=whole, return_tensors="pt")["pixel_values"]
    # theirs rounds to whole bytes after the rows and again after the columns: half a byte each
    assert (prepare(images, SIDE) - torch.as_tensor(expected)).abs().max() < 1.05 / 255 / 0.26


def test_embeddings_are_those_of_transformers(folder: Path, clip: Clip) -> None:
    images = pictures(3, SIDE, SIDE)
    model = CLIPModel.from_pretrained(folder)
    with torch.no_grad():
        seen = model.visual_projection(model.vision_model(pixel_values=prepare(images, SIDE)).pooler_output)
    torch.testing.assert_close(clip.embed_images(images), seen)
    read = clip.embed_texts(TEXTS)
    assert torch.equal(read[0], read[2])
    assert not torch.allclose(read[0], read[1])
    torch.testing.assert_close(read[1:2], clip.embed_texts(TEXTS[1:2]))


def test_a_picture_is_embedded_once_for_all_judges(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = Clip.open(folder, folder, CPU, FULL)
    looks: list[int] = []
    look = clip._embed

    def counted(images: torch.Tensor) -> torch.Tensor:
        looks.append(len(images))
        return look(images)

    monkeypatch.setattr(clip, "_embed", counted)
    images = pictures(40, 8, 8)
    first = clip.embed_images(images)
    assert torch.equal(clip.embed_images(images), first)
    assert looks == [32, 8]
    clip.embed_images(images[:1].clone())
    assert looks == [32, 8, 1]


def test_a_clip_in_open_clips_layout_gives_the_same_embeddings(folder: Path, clip: Clip, tmp_path: Path) -> None:
    save_file(as_open_clip(CLIPModel.from_pretrained(folder)), tmp_path / "model.safetensors")
    other = Clip.open_open_clip(tmp_path / "model.safetensors", folder, CPU, FULL, tiny_clip_config())
    images = pictures(2, SIDE, SIDE)
    torch.testing.assert_close(other.embed_images(images), clip.embed_images(images))
    torch.testing.assert_close(other.embed_texts(TEXTS), clip.embed_texts(TEXTS))
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        Clip.open_open_clip(tmp_path / "model.safetensors", folder, CPU, FULL)


def test_a_damaged_clip_is_one_clear_line(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    weights = load_file(folder / "model.safetensors")
    del weights["visual_projection.weight"]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=r"visual_projection\.weight") as caught:
        Clip.open(tmp_path, folder, CPU, FULL)
    assert "\n" not in str(caught.value)
    (tmp_path / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ModelError):
        Clip.open(tmp_path, folder, CPU, FULL)


def improved_head(width: int) -> torch.nn.Sequential:
    """As github.com/christophschuhmann/improved-aesthetic-predictor builds it."""
    torch.manual_seed(1)
    linear, dropout = torch.nn.Linear, torch.nn.Dropout
    return torch.nn.Sequential(
        linear(width, 1024), dropout(0.2), linear(1024, 128), dropout(0.2), linear(128, 64), dropout(0.1),
        linear(64, 16), linear(16, 1),
    ).eval()  # fmt: skip


def test_both_versions_of_laions_head_are_read(tmp_path: Path) -> None:
    embedded = torch.randn(5, 16, generator=torch.Generator().manual_seed(0))
    unit = embedded / embedded.norm(dim=-1, keepdim=True)
    improved = improved_head(16)
    save_file({f"layers.{name}": t for name, t in improved.state_dict().items()}, tmp_path / "2.safetensors")
    torch.testing.assert_close(read_head(tmp_path / "2.safetensors")(embedded), improved(unit)[:, 0])
    first = torch.nn.Linear(16, 1)
    save_file(first.state_dict(), tmp_path / "1.safetensors")
    torch.testing.assert_close(read_head(tmp_path / "1.safetensors")(embedded), first(unit)[:, 0])
    save_file({"layers.0.weight": torch.ones(2, 16), "layers.0.bias": torch.ones(2)}, tmp_path / "0.safetensors")
    for wrong in ("0.safetensors", "none.safetensors"):
        with pytest.raises(ModelError, match="not an aesthetics head"):
            read_head(tmp_path / wrong)


def test_laions_head_asks_no_device_for_double_precision(tmp_path: Path) -> None:
    save_file(torch.nn.Linear(16, 1).state_dict(), tmp_path / "1.safetensors")
    rate = read_head(tmp_path / "1.safetensors")
    with FakeTensorMode(allow_non_fake_inputs=True):
        assert rate(torch.empty(5, 16, device="cuda:0")).device == CPU


def test_preference_is_the_scaled_cosine(clip: Clip) -> None:
    judge = Preference(clip, clip.scale)
    images = pictures(3, 40, 40)
    scores = judge.score(judge.observe(images, TEXTS))
    expected = torch.cosine_similarity(clip.embed_images(images), clip.embed_texts(TEXTS)) * clip.scale
    torch.testing.assert_close(scores, expected)


def test_a_name_that_there_is_not_names_those_there_are() -> None:
    with pytest.raises(OptionError, match="aesthetics, alignment, fidelity, hpsv2, imagereward, pickscore"):
        judges_named(["beauty"], Source(CPU, FULL))


def test_what_is_missing_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.hub.Pinned.file", lambda self, name: tmp_path / name)
    for name, module in (("fidelity", "torchvision.models"), ("imagereward", "imscore.imreward.model")):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(ModelError, match=f"pip install {module.split('.')[0]}") as caught:
            judge_named(name, Source(CPU, FULL))
        assert "\n" not in str(caught.value)


def test_inception_opens_torchvisions_weights(tmp_path: Path) -> None:
    try:
        from torchvision.models import inception_v3
    except (ImportError, RuntimeError):
        pytest.skip("no torchvision that goes with this torch")
    torch.manual_seed(0)
    theirs = inception_v3(weights=None, init_weights=False, aux_logits=True, transform_input=True).eval()
    save_file(theirs.state_dict(), tmp_path / "model.safetensors")
    images = pictures(2, 64, 80)
    square = torch.nn.functional.interpolate(images, (299, 299), mode="bilinear", antialias=True)
    mean, spread = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        expected = theirs((square - mean.view(3, 1, 1)) / spread.view(3, 1, 1)).softmax(-1)
    found = Inception.open(tmp_path / "model.safetensors", CPU, FULL).classify(images)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", ["alignment", "pickscore"])
def test_a_judge_by_name_opens_its_network(
    name: str, folder: Path, clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.hub.Pinned.file", lambda self, name: folder / name)
    judges = judges_named([name, "alignment"], Source(CPU, FULL))
    images = pictures(3, 40, 40)
    found = judges[name].score(judges[name].observe(images, TEXTS))
    cosine = torch.cosine_similarity(clip.embed_images(images), clip.embed_texts(TEXTS))
    torch.testing.assert_close(found, {"alignment": 2.5 * cosine.clamp(min=0), "pickscore": clip.scale * cosine}[name])


def test_clip_reads_prompts_where_it_is_no_judge(folder: Path, clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.hub.Pinned.file", lambda self, name: folder / name)
    torch.testing.assert_close(Source(CPU, FULL).read(TEXTS), clip.embed_texts(TEXTS))


HUB = """
import sys
from training.hub import Pinned
print(Pinned("owner/clip", sys.argv[1]).folder("config.json", "model.safetensors"))
"""


@pytest.mark.parametrize("revision", [COMMIT, COMMIT[:7]])
def test_networks_come_from_the_hub_once_and_then_work_offline(folder: Path, tmp_path: Path, revision: str) -> None:
    def look(endpoint: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_ENDPOINT": endpoint}
        command = [sys.executable, "-c", HUB, revision]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    with hub_with(folder, "owner/clip") as (endpoint, fetched):
        first = look(endpoint)
    found = Path(first.stdout.strip())
    assert found.name == COMMIT, first.stderr
    assert (found / "config.json").read_bytes() == (folder / "config.json").read_bytes()
    assert set(fetched) == {"config.json", "model.safetensors"}
    assert look("http://127.0.0.1:9").stdout == first.stdout


def test_what_the_hub_does_not_have_is_one_clear_line(tmp_path: Path) -> None:
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", HUB, COMMIT]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert "ModelError" in last
    assert "owner/clip/config.json" in last
