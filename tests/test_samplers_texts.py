"""Texts as hosts read them: emphasis, passages, BREAK, clip skip, embeddings; plain ones as diffusers itself encodes
them."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from negopt.errors import ModelError, OptionError
from tests.tiny_checkpoints import write_sd1, write_sd2, write_sdxl, write_tokenizer
from training.samplers import Picture
from training.samplers.in_process import DiffusersSampler
from training.samplers.passages import Passage
from training.samplers.texts import TextEncoder, away_from_empty, scaled

ROOM = 75
"""Tokens of a passage."""
SHORT, LONG = "a red boat", ", ".join(["a blue house by the sea"] * 12)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def opened(write: Callable[[Path], None], folder: Path, tokenizer: Path) -> DiffusersSampler:
    write(folder / "mine.safetensors")
    return DiffusersSampler.open(
        folder / "mine.safetensors", tokenizer=tokenizer, steps=2, guidance=3.0, size=(64, 48), batch=3, device="cpu"
    )


@pytest.fixture(scope="module")
def sampler(tmp_path_factory: pytest.TempPathFactory, tokenizer: Path) -> DiffusersSampler:
    return opened(write_sd1, tmp_path_factory.mktemp("checkpoint"), tokenizer)


@pytest.fixture
def encoder(sampler: DiffusersSampler) -> TextEncoder:
    return TextEncoder(sampler.pipeline)


def states(encoder: TextEncoder, text: str) -> torch.Tensor:
    with torch.inference_mode():
        return encoder.encode([text], 1)[0].states


def lengths(encoder: TextEncoder, text: str) -> list[int]:
    return [len(passage) for passage in encoder._passages(text)]


@pytest.mark.parametrize("write", [write_sd1, write_sd2, write_sdxl])
@torch.inference_mode()
def test_a_plain_text_is_what_diffusers_makes_of_it(
    write: Callable[[Path], None], tmp_path: Path, tokenizer: Path
) -> None:
    pipeline = opened(write, tmp_path, tokenizer).pipeline
    theirs = pipeline.encode_prompt(
        prompt=[SHORT, ""], device=pipeline.device, num_images_per_prompt=1, do_classifier_free_guidance=False
    )
    ours = TextEncoder(pipeline).encode([SHORT, ""], 2)
    assert torch.equal(torch.stack([text.states for text in ours]), theirs[0])
    if write is write_sdxl:
        assert torch.equal(torch.stack([text.pooled for text in ours if text.pooled is not None]), theirs[2])
    else:
        assert ours[0].pooled is None


def test_a_long_text_ends_a_passage_at_a_comma_or_when_it_is_full(encoder: TextEncoder) -> None:
    assert lengths(encoder, "") == [0]
    assert lengths(encoder, "red " * ROOM) == [ROOM]
    assert lengths(encoder, "red " * (ROOM + 1)) == [ROOM, 1]
    within = "red " * (ROOM - 10) + "," + "red " * 12
    assert lengths(encoder, within) == [ROOM - 9, 12]
    # as AUTOMATIC1111: 20 tokens back and not 21
    assert lengths(encoder, "red " * (ROOM - 20) + "," + "red " * 20) == [ROOM - 19, 20]
    assert lengths(encoder, "red " * (ROOM - 21) + "," + "red " * 21) == [ROOM, 1]
    assert lengths(encoder, "red " * (ROOM - 1) + ",, red") == [ROOM, 2]
    assert lengths(encoder, "red BREAK boat sea BREAK") == [1, 2]


def test_comfyui_fills_passages_but_keeps_short_emphasis_together(sampler: DiffusersSampler) -> None:
    comfyui = TextEncoder(sampler.pipeline, "comfyui")
    assert lengths(comfyui, "red " * (ROOM - 10) + "," + "red " * 12) == [ROOM, 3]
    assert lengths(comfyui, "red " * (ROOM - 3) + "(a blue boat:1.2)") == [ROOM]
    assert lengths(comfyui, "red " * (ROOM - 2) + "(a blue boat:1.2)") == [ROOM - 2, 3]
    assert lengths(comfyui, "red " * (ROOM - 2) + "(a blue house by the sea, red:1.2)") == [ROOM, 6]


def test_what_comes_late_in_a_text_is_read(sampler: DiffusersSampler, encoder: TextEncoder) -> None:
    assert lengths(encoder, LONG) == [ROOM - 5, 13]  # at the comma behind the tenth of seven tokens
    pictures = [Picture(SHORT, LONG, 1), Picture(SHORT, LONG + ", red", 1)]
    assert not torch.equal(*sampler.sample(pictures))


def test_texts_of_any_length_go_together(sampler: DiffusersSampler) -> None:
    three = f"{LONG} BREAK {SHORT}"
    pictures = [Picture(SHORT, LONG, 1), Picture(SHORT, "", 2), Picture(LONG, three, 3), Picture(SHORT, LONG, 4)]
    together = sampler.sample(pictures)
    for picture, image in zip(pictures, together, strict=True):
        torch.testing.assert_close(sampler.sample([picture])[0], image, atol=1e-5, rtol=0)


def test_saying_all_of_a_text_twice_changes_nothing(sampler: DiffusersSampler, encoder: TextEncoder) -> None:
    """So one text can be made as long as the other, as ComfyUI does."""
    text = states(encoder, SHORT)[None]
    noise = torch.randn(1, 4, 6, 8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        once, thrice = (
            sampler.pipeline.unet(noise, 500, encoder_hidden_states=t).sample for t in (text, text.repeat(1, 3, 1))
        )
    torch.testing.assert_close(once, thrice, atol=1e-5, rtol=0)


def test_emphasis_by_hand() -> None:
    # two tokens of two numbers; the second token counts twice
    said, weights = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([1.0, 2.0])
    empty = torch.tensor([[1.0, 1.0], [2.0, 2.0]])
    # [[1, 2], [6, 8]] has the mean 4.25 where it was 2.5
    expected = torch.tensor([[1.0, 2.0], [6.0, 8.0]]) * 2.5 / 4.25
    torch.testing.assert_close(scaled(said, weights, empty), expected)
    torch.testing.assert_close(away_from_empty(said, weights, empty), torch.tensor([[1.0, 2.0], [4.0, 6.0]]))


def test_emphasis_stands_where_its_words_are(sampler: DiffusersSampler) -> None:
    comfyui = TextEncoder(sampler.pipeline, "comfyui")
    plain, stressed, empty = states(comfyui, SHORT), states(comfyui, "a (red:1.5) boat"), states(comfyui, "")
    moved = (plain - stressed).abs().sum(1) > 1e-6
    assert moved.nonzero().flatten().tolist() == [2]  # after the start and "a"
    torch.testing.assert_close(stressed[2], empty[2] + 1.5 * (plain - empty)[2])
    a1111 = states(TextEncoder(sampler.pipeline), "a (red:1.5) boat")
    torch.testing.assert_close(a1111.mean(), plain.mean())
    torch.testing.assert_close(a1111[2] / plain[2], a1111[1] / plain[1] * 1.5)


def test_what_says_nothing_to_a_text_encoder_is_left_out(encoder: TextEncoder) -> None:
    written = "a red <lora:ink:0.8> boat# and a comment"
    assert encoder._passages(written.replace("#", " # ")) == encoder._passages(SHORT)
    assert not torch.equal(states(encoder, "a (red:1.1) boat"), states(encoder, SHORT))


def test_clip_skip_listens_to_an_earlier_layer(sampler: DiffusersSampler, tmp_path: Path, tokenizer: Path) -> None:
    pipeline = sampler.pipeline
    text_encoder = pipeline.text_encoder
    body = getattr(text_encoder, "text_model", text_encoder)
    layers: list[torch.Tensor] = []
    hooks = [
        layer.register_forward_hook(
            lambda module, inputs, output: layers.append(output[0] if isinstance(output, tuple) else output)
        )
        for layer in body.encoder.layers
    ]
    skipped = states(TextEncoder(pipeline, clip_skip=2), SHORT)
    for hook in hooks:
        hook.remove()
    with torch.inference_mode():
        assert torch.equal(skipped, body.final_layer_norm(layers[-2])[0])
    assert not torch.equal(skipped, states(TextEncoder(pipeline), SHORT))
    with pytest.raises(OptionError, match=f"from 1 to {len(body.encoder.layers)}"):
        TextEncoder(pipeline, clip_skip=0)
    with pytest.raises(OptionError, match="not for SDXL"):
        TextEncoder(opened(write_sdxl, tmp_path, tokenizer).pipeline, clip_skip=2)
    with pytest.raises(OptionError, match="comfyui"):
        TextEncoder(pipeline, reads_like="loud")


def test_texts_are_encoded_once(encoder: TextEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    listen = encoder._listen

    def counted(which: int, passages: Sequence[Passage]) -> Any:
        sizes.append(len(passages))
        return listen(which, passages)

    monkeypatch.setattr(encoder, "_listen", counted)
    with torch.inference_mode():
        first = encoder.encode([SHORT, LONG, SHORT, ""], 3)
        assert sizes == [3, 1]
        again = encoder.encode(["", LONG], 3)
    assert sizes == [3, 1]
    assert again[0] is first[3]
    assert again[1] is first[1]


def test_only_so_many_texts_are_kept(encoder: TextEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.samplers.texts.KEPT", 2)
    with torch.inference_mode():
        first = encoder.encode(["a", "b", "c"], 1)
        assert len(encoder._encoded) == len(encoder._read) == 2
        torch.testing.assert_close(encoder.encode(["a", "b", "c"], 1)[0].states, first[0].states)
    assert len(encoder._encoded) == 2


def says(pipeline: Any, words: str, number: int = 0) -> torch.Tensor:
    """The vectors of the words' own tokens: an embedding of these reads as the words do."""
    suffix = "_2" if number else ""
    tokens = getattr(pipeline, f"tokenizer{suffix}")(words, add_special_tokens=False).input_ids
    layer = getattr(pipeline, f"text_encoder{suffix}").get_input_embeddings()
    return layer(torch.tensor(tokens)).detach().clone()


@pytest.fixture
def embeddings(sampler: DiffusersSampler, tmp_path: Path) -> Path:
    """A folder of some; `Ink` and what begins like it say other words."""
    folder = tmp_path / "embeddings"
    (folder / "more").mkdir(parents=True)
    pipeline = sampler.pipeline
    save_file({"emb_params": says(pipeline, "red boat")}, folder / "Ink.safetensors")
    save_file({"*": says(pipeline, "blue house by the sea")}, folder / "ink-2.safetensors")
    save_file({"clip_l": says(pipeline, "house")[0]}, folder / "more" / "v1.2_x.safetensors")
    save_file({"<lots>": says(pipeline, "red " * (ROOM + 5))}, folder / "more" / "Lots.safetensors")
    return folder


def named(sampler: DiffusersSampler, embeddings: Path) -> TextEncoder:
    """Without the one that AUTOMATIC1111 cannot read."""
    (embeddings / "more" / "Lots.safetensors").unlink()
    return TextEncoder(sampler.pipeline, embeddings=[embeddings])


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("a INK", "a red boat"),
        ("a (ink:1.3), sea", "a (red boat:1.3), sea"),
        ("[ink], ink-2", "[red boat], blue house by the sea"),
        ("a ink, V1.2_X", "a red boat, house"),
        ("(a ink", "(a red boat"),
        ("ink BREAK ink", "red boat BREAK red boat"),
        ("red " * (ROOM - 1) + "ink, sea", "red " * (ROOM - 1) + "BREAK red boat, sea"),
        ("red " * (ROOM - 2) + "ink, sea", "red " * (ROOM - 2) + "red boat, sea"),
        ("red " * (ROOM - 10) + "," + "red " * 9 + "ink", "red " * (ROOM - 10) + ", BREAK" + " red" * 9 + " red boat"),
    ],
)
def test_an_embedding_reads_as_what_its_vectors_say(
    written: str, meant: str, sampler: DiffusersSampler, embeddings: Path
) -> None:
    encoder = named(sampler, embeddings)
    torch.testing.assert_close(states(encoder, written), states(encoder, meant), atol=1e-6, rtol=0)
    assert not torch.equal(states(encoder, written), states(TextEncoder(sampler.pipeline), written))


def test_other_words_are_no_names(sampler: DiffusersSampler, embeddings: Path) -> None:
    encoder, plain = named(sampler, embeddings), TextEncoder(sampler.pipeline)
    for text in ("inks", "in k", "i(nk:1.2)", SHORT, "embedding:none"):
        assert torch.equal(states(encoder, text), states(plain, text))


def test_behind_a_comma_only_the_places_of_an_embedding_go_over(sampler: DiffusersSampler, embeddings: Path) -> None:
    """AUTOMATIC1111's slip, which its users' pictures have."""
    encoder = named(sampler, embeddings)
    before, after = encoder._passages("red " * (ROOM - 6) + ", (ink:1.3) " + "red " * 4)
    assert (len(before), len(after)) == (ROOM - 5, 6)
    assert [(place, vector.row) for place, vector in before.vectors.items()] == [(ROOM - 5, 0), (ROOM - 4, 1)]
    assert [(token.number, token.weight) for token in after.tokens[:2]] == [(0, 1.3)] * 2
    assert not after.vectors


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("embedding:Ink", "red boat"),
        ("a embedding:Ink.safetensors,, sea", "a red boat,, sea"),
        ("a (embedding:Ink:1.3), sea", "a (red boat:1.3), sea"),
        ("a (embedding:Ink sea)", "a (red boat sea)"),
        ("a\nembedding: Ink sea", "a red boat sea"),
        ("a embedding:more/v1.2_x embedding:v1.2_x.safetensors", "a house house"),
        ("a embedding:none, embedding:Ink:1.2 embedding:ink sea embedding:", "a, sea"),
        ("red embedding:Lots boat", "red " * (ROOM + 6) + "boat"),
        ("red " * (ROOM - 1) + "embedding:Ink", "red " * (ROOM - 1) + "BREAK red boat"),
    ],
)
def test_comfyui_reads_names_behind_a_prefix(
    written: str, meant: str, sampler: DiffusersSampler, embeddings: Path
) -> None:
    encoder = TextEncoder(sampler.pipeline, "comfyui", embeddings=[embeddings])
    torch.testing.assert_close(states(encoder, written), states(encoder, meant), atol=1e-6, rtol=0)


@pytest.mark.parametrize("text", ["Ink", "a,embedding:Ink", "[embedding:Ink]", "a Embedding:Ink"])
def test_comfyui_reads_other_text_as_it_is(text: str, sampler: DiffusersSampler, embeddings: Path) -> None:
    encoder = TextEncoder(sampler.pipeline, "comfyui", embeddings=[embeddings])
    assert torch.equal(states(encoder, text), states(TextEncoder(sampler.pipeline, "comfyui"), text))


@torch.inference_mode()
def test_sdxl_has_vectors_for_both_text_encoders(tmp_path: Path, tokenizer: Path) -> None:
    pipeline = opened(write_sdxl, tmp_path, tokenizer).pipeline
    both = {"clip_l": says(pipeline, "red boat"), "clip_g": says(pipeline, "red boat", 1)}
    save_file(both, tmp_path / "Ink.safetensors")
    encoder = TextEncoder(pipeline, embeddings=[tmp_path / "Ink.safetensors"])
    found, expected = encoder.encode(["a (ink:1.2)", "a (red boat:1.2)"], 1)
    torch.testing.assert_close(found.states, expected.states, atol=1e-6, rtol=0)
    assert found.pooled is not None
    torch.testing.assert_close(found.pooled, expected.pooled, atol=1e-6, rtol=0)
    save_file({**both, "clip_l": both["clip_l"][:1].clone()}, tmp_path / "uneven.safetensors")
    save_file({"emb_params": both["clip_l"]}, tmp_path / "half.safetensors")
    for name, words in {"uneven": "different numbers", "half": r"width 32, and the checkpoint has 32 \+ 64"}.items():
        with pytest.raises(ModelError, match=words):
            TextEncoder(pipeline, embeddings=[tmp_path / f"{name}.safetensors"])


def test_what_is_no_embedding_is_one_clear_line(
    sampler: DiffusersSampler, embeddings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline, ink = sampler.pipeline, embeddings / "Ink.safetensors"
    save_file({"emb_params": torch.zeros(2, 48)}, embeddings / "wide.safetensors")
    save_file({"a": torch.zeros(2, 32), "b": torch.zeros(2, 32)}, embeddings / "lora.safetensors")
    (embeddings / "cut.safetensors").write_bytes(ink.read_bytes()[:20])
    (embeddings / "note.txt").write_text("")
    (embeddings / "old.pt").write_bytes(b"")
    in_folder = {
        "wide.safetensors": "width 48, and the checkpoint has 32",
        "lora.safetensors": "one tensor",
        "cut.safetensors": "not a .safetensors",
        "old.pt": "can run code",
    }
    for name, words in {**in_folder, "note.txt": "no embedding", "none": "no embedding"}.items():
        with pytest.raises(ModelError, match=words) as caught:
            TextEncoder(pipeline, embeddings=[embeddings / name])
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(ModelError, match=r"Lots.safetensors: 80 vectors do not fit in a passage of 75"):
        TextEncoder(pipeline, embeddings=[embeddings / "more"])
    # of a folder only what fits counts, and a file is one however often it is given
    found = TextEncoder(pipeline, "comfyui", embeddings=[embeddings, ink]).embeddings
    assert list(found) == ["Ink", "ink-2", "Lots", "v1.2_x"]
    passed_over = capsys.readouterr().err.splitlines()
    assert all(any(f"{name}: " in line for line in passed_over) for name in in_folder)
    assert len(passed_over) == 4
    save_file({"emb_params": torch.zeros(1, 32)}, embeddings / "more" / "INK.safetensors")
    with pytest.raises(OptionError, match="another embedding called Ink"):
        TextEncoder(pipeline, "comfyui", embeddings=[embeddings])


@pytest.mark.parametrize("layout", [{"string_to_param": {"*": 0}, "name": "old"}, {"clip_l": 0}])
def test_the_line_about_a_pickle_says_how_to_convert_it(
    layout: dict[str, Any], sampler: DiffusersSampler, tmp_path: Path
) -> None:
    vectors = torch.nn.Parameter(says(sampler.pipeline, "red boat"))
    filled = {name: {"*": vectors} if isinstance(value, dict) else vectors if value == 0 else value
              for name, value in layout.items()}  # fmt: skip
    torch.save(filled, tmp_path / "old.pt")
    with pytest.raises(ModelError) as caught:
        TextEncoder(sampler.pipeline, embeddings=[tmp_path / "old.pt"])
    _, *command = shlex.split(str(caught.value).partition("make a .safetensors of it: ")[2])
    subprocess.run([sys.executable, *command], check=True)
    encoder = TextEncoder(sampler.pipeline, embeddings=[tmp_path / "old.safetensors"])
    assert torch.equal(states(encoder, "a old"), states(encoder, "a red boat"))


def test_the_record_of_a_run_knows_embeddings_by_what_they_hold(
    sampler: DiffusersSampler, embeddings: Path, tmp_path: Path
) -> None:
    ink, moved = embeddings / "Ink.safetensors", tmp_path / "Ink.safetensors"
    record = DiffusersSampler(sampler.pipeline, embeddings=[ink]).description["embeddings"]
    moved.write_bytes(ink.read_bytes())
    assert DiffusersSampler(sampler.pipeline, embeddings=[moved]).description["embeddings"] == record
    save_file({"emb_params": torch.zeros(2, 32)}, moved)
    assert DiffusersSampler(sampler.pipeline, embeddings=[moved]).description["embeddings"].keys() == record.keys()
    assert DiffusersSampler(sampler.pipeline, embeddings=[moved]).description["embeddings"] != record
    assert "embeddings" not in sampler.description
