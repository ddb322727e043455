"""Programs: each one's own layout, as its source writes it; damaged files, and files made to do harm."""

from __future__ import annotations

import io
import json
import struct
import time
import tracemalloc
import urllib.parse
import zlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

from training.data.readers.infotext import split_infotext
from training.data.readers.programs import pairs_in_texts
from training.data.readers.programs.texts import json_object

from .picture_files import GRAPH, INFOTEXT, NEGATIVE, PROMPT, comment, png, read, texts, with_exif

PAIR = [("a boat, at sea", "fog, rain")]


def found(**chunks: str) -> list[tuple[str, str]]:
    return [(prompt, negative) for prompt, negative, _ in pairs_in_texts(chunks)]


# Easy Diffusion: save_utils.py and sdkit's save_dicts

EASY = {
    "prompt": "a boat, at sea", "negative_prompt": "fog, rain", "seed": 42, "use_stable_diffusion_model": "sd-v1-5",
    "clip_skip": False, "use_vae_model": None, "sampler_name": "euler_a", "width": 512, "height": 512,
    "num_inference_steps": 25, "guidance_scale": 7.5,
}  # fmt: skip
EASY_TEXT = (
    "Prompt: a boat, at sea\nNegative Prompt: fog, rain\nSeed: 42\nStable Diffusion model: sd-v1-5\nClip Skip: False\n"
    "VAE model: None\nSampler: euler_a\nWidth: 512\nHeight: 512\nSteps: 25\nGuidance Scale: 7.5\n"
)
EASY_TEXT_2022 = (
    "Prompt: a boat,\nat sea\nWidth: 512\nHeight: 512\nSeed: 42\nSteps: 25\nGuidance Scale: 7.5\nSampler: euler_a\n"
    "Negative Prompt: fog, rain\nStable Diffusion model: sd-v1-4\n"
)


def test_easy_diffusion_beside_the_picture(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(EASY_TEXT)
    (tmp_path / "b.json").write_text(json.dumps(EASY, indent=2))
    (tmp_path / "c.txt").write_text(EASY_TEXT.replace("fog, rain", ""))
    pairs, _ = read(tmp_path)
    assert texts(pairs) == PAIR * 2
    assert len({pair.page for pair in pairs}) == 1  # whose pictures stand in one folder is one author
    assert found(parameters=EASY_TEXT_2022) == [("a boat,\nat sea", "fog, rain")]


def test_easy_diffusion_in_the_picture(tmp_path: Path) -> None:
    chunks = {name: str(value) for name, value in EASY.items()}
    (tmp_path / "a.png").write_bytes(png(**chunks))
    (tmp_path / "b.png").write_bytes(png(**{"Prompt": chunks["prompt"], "Negative Prompt": "fog, rain", "Seed": "4"}))
    (tmp_path / "c.jpeg").write_bytes(with_exif("jpeg", comment(json.dumps(EASY))))
    (tmp_path / "d.webp").write_bytes(with_exif("webp", comment(json.dumps(EASY))))
    (tmp_path / "e.png").write_bytes(png(**chunks | {"negative_prompt": ""}))
    pairs, log = read(tmp_path)
    assert texts(pairs) == PAIR * 4
    assert log.without_pair == 1


# kohya's sd-scripts: gen_img.py


def test_sd_scripts(tmp_path: Path) -> None:
    chunks = {"prompt": "a boat, at sea", "seed": "1", "sampler": "ddim", "steps": "30", "scale": "7.0"}
    (tmp_path / "a.png").write_bytes(png(**chunks | {"negative-prompt": "fog, rain", "raw-prompt": "a {boat|ship}"}))
    (tmp_path / "b.png").write_bytes(png(**chunks))
    assert texts(read(tmp_path)[0]) == PAIR


# InvokeAI: image_files_disk.py, pngwriter.py, import_images.py


def test_invokeai(tmp_path: Path) -> None:
    new = {
        "generation_mode": "txt2img", "positive_prompt": "a boat, at sea", "negative_prompt": "fog, rain", "width": 512,
        "model": {"key": "x", "name": "sd-1"}, "steps": 30, "app_version": "4.2.9",
    }  # fmt: skip
    graph = json.dumps({"id": "1", "nodes": {"2": {"type": "compel", "prompt": "a car"}}, "edges": []})
    (tmp_path / "a.png").write_bytes(png(invokeai_metadata=json.dumps(new), invokeai_graph=graph))
    beta = {"type": "t2l", "positive_conditioning": "a boat, at sea", "negative_conditioning": "fog, rain", "steps": 30}
    (tmp_path / "b.png").write_bytes(png(invokeai=json.dumps(beta)))
    image = {
        "type": "txt2img", "prompt": [{"prompt": "a boat, at sea [fog] [rain]", "weight": 1.0}], "seed": 4, "steps": 50,
    }  # fmt: skip
    old = {"model": "stable diffusion", "model_weights": "sd-1.5", "app_id": "invoke-ai/InvokeAI", "image": image}
    dream = '"a boat, at sea [fog] [rain]" -s 50 -S 42 -W 512 -H 512 -C 7.5 -A k_lms'
    (tmp_path / "c.png").write_bytes(png(**{"Dream": dream, "sd-metadata": json.dumps(old)}))
    (tmp_path / "d.png").write_bytes(png(Dream=dream))
    text = json.dumps(old | {"image": image | {"prompt": "a boat, at sea [fog, rain]"}})
    (tmp_path / "e.png").write_bytes(png(**{"sd-metadata": text}))
    pairs, log = read(tmp_path)
    assert texts(pairs) == PAIR * 5
    assert log.skipped_files == log.without_pair == 0


def test_invokeai_without_a_negative_and_with_emphasis() -> None:
    assert found(invokeai_metadata=json.dumps({"positive_prompt": "a boat", "negative_prompt": None})) == []
    assert found(Dream="a boat -s50 -S1") == []
    stressed = {"positive_prompt": "boat++ (at sea)+ (calm)1.2, C", "negative_prompt": "fog+, (bad hands)++"}
    assert found(invokeai_metadata=json.dumps(stressed)) == [
        ("(boat:1.21) (at sea:1.10) (calm)1.2, C", "(fog:1.10), (bad hands:1.21)")
    ]


# NovelAI: `Software`, `Description`, `Comment`, as A1111's images.py reads them


def nai(**fields: Any) -> dict[str, str]:
    record = {"prompt": "a boat, at sea", "steps": 28, "scale": 5.0, "uc": "fog, rain", "sampler": "k_euler"} | fields
    return {"Software": "NovelAI", "Description": "a boat, at sea", "Comment": json.dumps(record)}


def test_novelai(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(**nai()))
    old = json.loads(nai()["Comment"])
    del old["prompt"]
    (tmp_path / "b.png").write_bytes(png(**nai() | {"Comment": json.dumps(old)}))
    assert texts(read(tmp_path)[0]) == PAIR * 2
    assert found(**nai(uc="")) == []


def test_novelai_4_has_a_text_for_each_character() -> None:
    def caption(base: str, *characters: str) -> dict[str, Any]:
        entries = [{"char_caption": text, "centers": [{"x": 0.5, "y": 0.5}]} for text in characters]
        return {"caption": {"base_caption": base, "char_captions": entries}, "use_coords": False, "use_order": True}

    chunks = nai(
        v4_prompt=caption("2people, 1.3::a boat::, -2::night::", "girl, red hair,", "boy"),
        v4_negative_prompt=caption("fog, 1.2::rain::", "boy", "girl"),
    )
    assert found(**chunks) == [("2people, (a boat:1.3), , girl, red hair, boy", "fog, (rain:1.2)")]
    odd = nai(v4_prompt={"caption": {"base_caption": 5, "char_captions": [None, {"char_caption": []}]}})
    assert found(**odd) == PAIR
    assert found(**nai(v4_prompt="x", v4_negative_prompt=[1])) == PAIR


# Fooocus: meta_parser.py and private_logger.py

FOOOCUS = {
    "prompt": "a boat, at sea", "negative_prompt": "fog, rain", "prompt_expansion": "a boat, at sea, sharp, dramatic",
    "styles": "['Fooocus V2', 'SAI Anime']", "performance": "Speed", "steps": 30, "version": "Fooocus v2.5.5",
    "full_prompt": ["anime artwork a boat, at sea", "a boat, at sea, sharp, dramatic"],
    "full_negative_prompt": ["photo, realism", "fog, rain"], "loras": [],
}  # fmt: skip
STYLED = [("anime artwork a boat, at sea", "photo, realism")]


def fooocus_a1111(negative: str = "fog, rain") -> str:
    full = "photo, realism" + (negative and ", ") + negative
    return (
        f"anime artwork a boat, at sea, a boat, at sea, sharp, dramatic\nNegative prompt: {full}\n"
        "Steps: 30, Sampler: DPM++ 2M SDE Karras, Seed: 4, Size: 1152x896, CFG scale: 4, Performance: Speed,"
        f' Raw prompt: "a boat, at sea", Raw negative prompt: {json.dumps(negative) if negative else ""},'
        " Lora hashes: , Version: Fooocus v2.5.5"
    )


def fooocus_exif(form: str, text: str) -> bytes:
    """Fooocus puts a string into the first directory, not bytes into the EXIF directory."""
    exif = Image.Exif()
    exif[0x9286] = text
    exif[0x0131] = "Fooocus v2.5.5"
    exif[0x927C] = "fooocus"
    data = io.BytesIO()
    Image.new("RGB", (8, 8)).save(data, form, exif=exif)
    return data.getvalue()


def test_fooocus_as_typed(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(parameters=json.dumps(FOOOCUS), fooocus_scheme="fooocus"))
    (tmp_path / "b.png").write_bytes(png(parameters=fooocus_a1111(), fooocus_scheme="a1111"))
    for form in ("jpeg", "webp"):
        (tmp_path / f"c.{form}").write_bytes(fooocus_exif(form, json.dumps(FOOOCUS)))
        (tmp_path / f"d.{form}").write_bytes(fooocus_exif(form, fooocus_a1111()))
    assert texts(read(tmp_path)[0]) == PAIR * 6


def test_fooocus_styles_without_what_its_model_wrote() -> None:
    record = FOOOCUS | {"negative_prompt": "", "full_negative_prompt": ["photo, realism"]}
    assert found(parameters=json.dumps(record), fooocus_scheme="fooocus") == STYLED
    assert found(parameters=fooocus_a1111(""), fooocus_scheme="a1111") == STYLED
    assert found(parameters=json.dumps(record | {"full_negative_prompt": []})) == []
    assert found(parameters=json.dumps(record | {"full_prompt": [5], "full_negative_prompt": {}})) == []


def logged(**fields: Any) -> str:
    """A picture in Fooocus' log.html."""
    data = urllib.parse.quote(json.dumps(fields, indent=0), safe="")
    return f'<div id="x_png" class="image-container"><hr><button onclick="to_clipboard(\'{data}\')">Copy</button></div>'


def test_fooocus_log(tmp_path: Path) -> None:
    page = "<!DOCTYPE html><html><head><script>function to_clipboard(txt) { txt }</script></head><body>{}</body></html>"
    pictures = [
        logged(prompt="a boat, at sea", negative_prompt="fog, rain", styles="[]"),
        logged(prompt="it's a boat", negative_prompt=""),
        logged(**{"Prompt": "лодка", "Negative Prompt": "fog", "Fooocus V2 Expansion": "x"}),
        "to_clipboard('%7Bbroken')",
    ]
    folder = tmp_path / "2024-01-01"
    folder.mkdir()
    (folder / "log.html").write_text(page.replace("{}", "\n".join(pictures)), "utf-8")
    (folder / "other.html").write_text("to_clipboard('')")
    pairs, log = read(tmp_path)
    assert texts(pairs) == [*PAIR, ("лодка", "fog")]
    assert (log.files, log.without_pair, log.skipped_files) == (1, 2, 0)
    (folder / "log.html").write_bytes(b"<html>\xff no log")
    assert read(tmp_path)[1].named == [(str(Path("2024-01-01", "log.html")), "no log of Fooocus")]


# SwarmUI: docs/Image Metadata Format.md, ImageFile.cs


def test_swarmui(tmp_path: Path) -> None:
    record = {
        "sui_image_params": {"prompt": "a boat, at sea", "negativeprompt": "fog, rain", "swarm_version": "0.9.3.1"},
        "sui_extra_data": {"date": "2025-01-25", "original_prompt": "a <random:boat|ship>, at sea"},
        "sui_models": [{"name": "x.safetensors", "param": "model", "hash": "0x1"}],
    }
    text = json.dumps(record, indent=2)
    (tmp_path / "a.png").write_bytes(png(parameters=text))
    (tmp_path / "b.jpg").write_bytes(with_exif("jpeg", b"UNICODE\0" + text.encode("utf-16-le")))
    (tmp_path / "c.jpg").write_bytes(with_exif("jpeg", tags={0x0110: text}))
    (tmp_path / "a.swarm.json").write_text(text)
    pairs, log = read(tmp_path)
    assert texts(pairs) == PAIR * 4
    assert log.without_pair == 0


# Civitai: comfy.metadata.ts, and the JSON of its API


def test_civitais_own_pictures(tmp_path: Path) -> None:
    asked = json.dumps({"prompt": "a boat, at sea", "negativePrompt": "fog, rain", "cfgScale": 7, "resources": []})
    both = GRAPH | {"extra": {"airs": ["urn:air:sd1:checkpoint:civitai:1@2"]}, "extraMetadata": asked}
    (tmp_path / "a.jpg").write_bytes(with_exif("jpeg", comment(json.dumps(both))))
    (tmp_path / "b.png").write_bytes(png(parameters=json.dumps(both)))
    apart = {0x0110: "prompt:" + json.dumps(GRAPH)}
    (tmp_path / "c.webp").write_bytes(with_exif("webp", comment(json.dumps({"extraMetadata": asked})), apart))
    (tmp_path / "d.jpg").write_bytes(with_exif("jpeg", comment(json.dumps(GRAPH | {"extra": {}}))))
    assert texts(read(tmp_path)[0]) == [*PAIR * 3, ("a car", "snow")]
    assert found(parameters=json.dumps(both | {"extraMetadata": json.dumps({"prompt": "a boat"})})) == []
    assert found(parameters=json.dumps(both | {"extraMetadata": "{broken"})) == [("a car", "snow")]


def test_json_of_civitais_api(tmp_path: Path) -> None:
    meta = {"prompt": "a boat, at sea", "negativePrompt": "fog, rain", "Size": "512x512"}
    images = [{"id": 1, "username": "ann", "meta": meta}, {"id": 2, "meta": None}, {"id": 3, "meta": {"meta": meta}}]
    (tmp_path / "images.json").write_text(json.dumps({"items": images, "metadata": {"nextCursor": "x"}}))
    model = {
        "id": 1, "name": "x", "tags": ["a"], "creator": {"username": "ann"},
        "modelVersions": [{"id": 2, "files": [{"id": 3, "name": "x.safetensors"}], "images": images}],
    }  # fmt: skip
    (tmp_path / "model.json").write_text(json.dumps(model))
    (tmp_path / "version.json").write_text(json.dumps(model["modelVersions"][0]))  # type: ignore[index]
    pairs, log = read(tmp_path)
    assert texts(pairs) == PAIR * 6
    assert log.without_pair == 3


# Draw Things: ImageConverter.swift; how the Mac lays out a picture's comment in XMP


def xmp(text: str) -> str:
    text = text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description rdf:about=""><exif:UserComment><rdf:Alt>'
        f'<rdf:li xml:lang="x-default">{text}</rdf:li></rdf:Alt></exif:UserComment></rdf:Description></rdf:RDF>'
    )


def test_draw_things(tmp_path: Path) -> None:
    text = json.dumps({"c": "a boat, at sea", "uc": "fog, rain", "steps": 20, "sampler": "Euler a", "v2": {"seed": 1}})
    description = "a boat, at sea\n-fog, rain\nSteps: 20, Sampler: Euler a, Guidance Scale: 7.5, Seed: 1"
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", xmp(text))
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png", pnginfo=info)
    (tmp_path / "b.png").write_bytes(png(Software="Draw Things", Description=description, Comment=text))
    (tmp_path / "c.jpg").write_bytes(with_exif("jpeg", comment(text)))
    assert texts(read(tmp_path)[0]) == PAIR * 3
    for broken in ("<exif:UserComment>", xmp(text)[:200], xmp("{"), "<exif:UserComment><rdf:li></exif:UserComment>"):
        assert found(**{"XML:com.adobe.xmp": broken}) == []


# Stability Matrix, RuinedFooocus, Krita: what A1111's text and records already cover


def test_others_that_write_records_or_a1111s_text(tmp_path: Path) -> None:
    matrix = {"PositivePrompt": "a boat, at sea", "NegativePrompt": "fog, rain", "Steps": 20}
    (tmp_path / "a.webp").write_bytes(with_exif("webp", tags={0x010E: json.dumps(matrix), 0x0131: "{}"}))
    ruined = {"Prompt": "a boat, at sea", "Negative": "fog, rain", "steps": 20, "software": "RuinedFooocus"}
    (tmp_path / "b.png").write_bytes(png(parameters=json.dumps(ruined)))
    info = PngImagePlugin.PngInfo()
    info.add_itxt("parameters", INFOTEXT)
    Image.new("RGB", (8, 8)).save(tmp_path / "c.png", pnginfo=info)
    assert texts(read(tmp_path)[0]) == [*PAIR * 2, (PROMPT, NEGATIVE)]


def test_json_under_parameters_is_no_text_of_a1111s() -> None:
    text = json.dumps({"prompt": "a sign that says Negative prompt: ugly", "negative_prompt": "fog"})
    assert found(parameters=text) == [("a sign that says Negative prompt: ugly", "fog")]
    assert found(parameters="{red|blue} boat\nNegative prompt: fog\nSteps: 20") == [("{red|blue} boat", "fog")]


# SD.Next: processing_info.py, image/save.py


def test_sdnext(tmp_path: Path) -> None:
    text = (
        "a boat, at sea\nNegative prompt: fog, rain\nTemplate: a {boat|ship}, at __place__\n"
        "Negative template: {fog|snow}, rain\nSteps: 20, Size: 512x512, Sampler: Euler a, App: SD.Next"
    )
    assert split_infotext(text) == PAIR[0]
    assert split_infotext(text.replace(": fog, rain", ":")) == ("a boat, at sea", "")
    entries = [{"id": 0, "filename": "a.jpg", "time": "2025-01-01", "info": text}, {"id": 1, "info": "x"}]
    (tmp_path / "log.json").write_text(json.dumps(entries))
    (tmp_path / "a.txt").write_text(text, "utf-16")
    pairs, log = read(tmp_path)
    assert texts(pairs) == PAIR * 2
    assert log.without_pair == 1


# Save nodes of ComfyUI


def test_save_nodes_that_write_into_exif(tmp_path: Path) -> None:
    graph, drawn = json.dumps(GRAPH), json.dumps({"nodes": [], "links": []})
    was = {0x010F: "Prompt:" + graph, 0x010E: "Workflow:" + drawn + drawn}  # WAS Node Suite
    (tmp_path / "a.webp").write_bytes(with_exif("webp", tags=was))
    image_saver = {0x0110: "prompt:" + graph, 0x010F: "workflow:" + drawn}  # ComfyUI Image Saver
    (tmp_path / "b.jpeg").write_bytes(with_exif("jpeg", comment(INFOTEXT), image_saver))
    assert texts(read(tmp_path)[0]) == [("a car", "snow"), (PROMPT, NEGATIVE)]


# Harm


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.mark.parametrize(
    "keyword", [b"parameters", b"Comment", b"invokeai_metadata", b"sd-metadata", b"prompt", b"XML:com.adobe.xmp", b"x"]
)
def test_deep_json_and_bombs_under_any_name(tmp_path: Path, keyword: bytes) -> None:
    whole = png()
    end = whole.index(b"IDAT") - 4
    deep = b'{"a":' * 200_000
    harms = {
        "a": chunk(b"tEXt", keyword + b"\0" + deep),
        "b": chunk(b"zTXt", keyword + b"\0\0" + zlib.compress(deep * 8)),
        "c": chunk(b"zTXt", keyword + b"\0\0" + zlib.compress(b'{"uc": "' + b" " * 2**24, 9)),
        "d": struct.pack(">I", 2**31 - 2) + b"tEXt" + keyword + b"\0{",
        "e": chunk(b"tEXt", keyword + b"\0" + b"{}[]()1::+-" * 20_000),
    }
    for name, harm in harms.items():
        (tmp_path / f"{name}.png").write_bytes(whole[:end] + harm + whole[end:])
    tracemalloc.start()
    began = time.process_time()
    pairs, log = read(tmp_path)
    took, most = time.process_time() - began, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (pairs, log.files) == ([], 5)
    assert log.skipped_files + log.without_pair == 5
    assert took < 10
    assert most < 400 * 2**20


@pytest.mark.parametrize(
    ("chunks", "prompt", "negative"),
    [
        ({"Comment": ["prompt", "uc"]}, "1::(" * 20_000, "9" * 50_000 + "::"),
        ({"invokeai_metadata": ["positive_prompt", "negative_prompt"]}, "(a" * 20_000, "+" * 50_000),
        ({"sd-metadata": ["image", "x"]}, "[" * 50_000, "]"),
    ],
    ids=["weights", "emphasis", "brackets"],
)
def test_long_knots_of_marks_take_no_time(chunks: dict[str, list[str]], prompt: str, negative: str) -> None:
    began = time.process_time()
    for keyword, names in chunks.items():
        values: dict[str, Any] = dict(zip(names, (prompt, negative), strict=True))
        if "image" in values:
            values = {"image": {"prompt": prompt + negative}}
        list(pairs_in_texts({keyword: json.dumps(values)}))
    list(pairs_in_texts({"Dream": prompt}))
    list(pairs_in_texts({"parameters": "Raw prompt: " + prompt + '"\\' * 20_000 + "\nSteps: 20"}))
    list(pairs_in_texts({"parameters": "Prompt: " + "\nSeed: \n\n" * 50_000}))
    assert time.process_time() - began < 5


def test_json_objects_of_nonsense() -> None:
    for text in ("", "{", "[1]", '{"a": NaN}x', "{" * 10_000, '\ufeff{"a": 1}\0', '{"a": Infinity}', "nul"):
        value = json_object(text)
        assert value is None or isinstance(value, dict)
    values: list[Any] = [None, 5, [], {}, [[]], {"caption": []}]
    for odd in values:
        text = json.dumps({"image": odd, "uc": odd, "c": odd, "extraMetadata": odd, "full_negative_prompt": odd})
        for keyword in ("parameters", "Comment", "invokeai_metadata", "invokeai", "sd-metadata", "prompt", "Dream"):
            assert found(**{keyword: text}) == []
