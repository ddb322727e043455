"""The readers: every format as its program writes it, and every way in which a file can be broken."""

from __future__ import annotations

import gzip
import json
import os
import struct
import subprocess
import sys
import tracemalloc
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, PngImagePlugin

from negopt.errors import DataError
from training.data.pairs import RawPair, ReadLog
from training.data.readers import hub
from training.data.readers.exif import decode_user_comment, exif_values
from training.data.readers.infotext import split_infotext, without_settings

from .picture_files import INFOTEXT, NEGATIVE, PROMPT, png, read, texts, with_exif

# Infotext


def test_infotext_is_split_at_its_marks() -> None:
    assert split_infotext(INFOTEXT) == (PROMPT, NEGATIVE)
    assert split_infotext(INFOTEXT.replace("\n", "\r\n")) == (PROMPT, NEGATIVE)


def test_infotext_without_line_breaks() -> None:
    text = "a cat Negative prompt: blurry, dog Steps: 20, Sampler: Euler a, Seed: 5"
    assert split_infotext(text) == ("a cat", "blurry, dog")


def test_a_prompt_alone_is_no_infotext() -> None:
    assert split_infotext("a cat on steps: 20 of them") is None
    assert split_infotext("a cat\nSteps: 20, Sampler: Euler a") == ("a cat", "")
    assert without_settings("blurry\nSteps: 20, Sampler: x") == "blurry"
    assert without_settings("first steps: a baby") == "first steps: a baby"


# Tables


def test_styles_csv_with_byte_order_mark_quotes_and_line_breaks(tmp_path: Path) -> None:
    path = tmp_path / "styles.csv"
    path.write_text(
        'name,prompt,negative_prompt\n"Film, old","{prompt}, ""35mm""\ngrain","digital,\nclean"\nempty,,\nhalf,a,\n',
        "utf-8-sig",
    )
    pairs, log = read(path)
    assert texts(pairs) == [('{prompt}, "35mm"\ngrain', "digital,\nclean")]
    assert pairs[0].kind == "style"
    assert pairs[0].page is not None
    assert (log.without_pair, log.skipped_files) == (2, 0)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("semicolon.csv", "Prompt;Negative Prompt;user\na, b;x, y;ann\n"),
        ("tab.tsv", "prompt\tnegativePrompt\tuser\na, b\tx, y\tann\n"),
        ("old_mac.csv", "prompt,negative_prompt,user\ra, b,x, y,ann\r".replace("a, b,x, y", '"a, b","x, y"')),
        ("nul.csv", 'prompt,neg_prompt,user\n"a\0, b","x, y",ann\n'),
    ],
)
def test_csv_dialects(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_bytes(text.encode())
    pairs, _ = read(tmp_path / name)
    assert texts(pairs) == [("a, b", "x, y")]
    assert pairs[0].page is not None
    assert "ann" not in pairs[0].page


def test_csv_in_utf16(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("prompt,negative_prompt\nдом,blurry\n", "utf-16")
    assert texts(read(tmp_path / "a.csv")[0]) == [("дом", "blurry")]


def test_unclosed_quote_does_not_swallow_the_file(tmp_path: Path) -> None:
    line = "word " * 200 + ",blurry\n"
    path = tmp_path / "a.csv"
    path.write_text('prompt,negative_prompt\na,b\n"unclosed ' + line * 6000 + "c,d\n")
    pairs, log = read(path)
    assert texts(pairs)[0] == ("a", "b")
    assert texts(pairs)[-1] == ("c", "d")
    assert log.bad_records == 1


def test_csv_with_a_column_of_infotext(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f'file,parameters\na.png,"{INFOTEXT.replace(chr(34), chr(34) * 2)}"\nb.png,x\n')
    pairs, log = read(tmp_path / "a.csv")
    assert texts(pairs) == [(PROMPT, NEGATIVE)]
    assert pairs[0].kind == "infotext"
    assert (log.without_pair, log.skipped_files) == (1, 0)


def test_rows_with_too_many_cells_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("prompt,negative_prompt\na,b,c,d\ne,f,\n")
    pairs, log = read(tmp_path / "a.csv")
    assert texts(pairs) == [("e", "f")]
    assert log.bad_records == 1


def test_jsonl_keeps_what_the_record_states_and_counts_bad_lines(tmp_path: Path) -> None:
    record = {
        "prompt": "a", "negative_prompt": "b", "page": "p1", "source": "somewhere", "license": "MIT",
        "kind": "gallery", "model_written": True,
    }  # fmt: skip
    lines = [json.dumps(record), "{broken", "[1, 2]", "", json.dumps({"prompt": "no negative"})]
    with gzip.open(tmp_path / "a.jsonl.gz", "wt") as stream:
        stream.write("\n".join(lines))
    pairs, log = read(tmp_path / "a.jsonl.gz")
    assert len(pairs) == 1
    pair = pairs[0]
    assert (pair.source, pair.licence, pair.kind, pair.model_written) == ("somewhere", "MIT", "gallery", True)
    assert (log.bad_records, log.without_pair, log.skipped_files) == (2, 1, 0)


def test_truncated_gzip_gives_what_came_before_and_is_named(tmp_path: Path) -> None:
    rows = [json.dumps({"prompt": f"prompt {i * 7919}", "negative_prompt": f"term {i}"}) for i in range(9000)]
    whole = gzip.compress("\n".join(rows).encode())
    (tmp_path / "a.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    pairs, log = read(tmp_path)
    assert 100 < len(pairs) < 9000
    assert log.named == [("a.jsonl.gz", "the compressed file is truncated")]


def test_json_list_streams_and_nested_parameters_are_found(tmp_path: Path) -> None:
    items = [{"meta": {"prompt": f"{i}", "negativePrompt": "x"}, "username": "u"} for i in range(3000)]
    (tmp_path / "a.json").write_text(json.dumps(items, indent=2))
    pairs, _ = read(tmp_path / "a.json")
    assert [pair.prompt for pair in pairs] == [str(i) for i in range(3000)]


def test_json_lines_in_a_file_that_is_named_json(tmp_path: Path) -> None:
    lines = [json.dumps({"prompt": f"{i}", "negative_prompt": "x"}) for i in range(3)]
    (tmp_path / "a.json").write_text("\n" + "\n".join([*lines[:2], "{broken", lines[2]]), "utf-8-sig")
    pairs, log = read(tmp_path / "a.json")
    assert [pair.prompt for pair in pairs] == ["0", "1", "2"]
    assert (log.bad_records, log.skipped_files) == (1, 0)
    (tmp_path / "b.json").write_text(lines[0] + "\n\n")
    assert texts(read(tmp_path / "b.json")[0]) == [("0", "x")]


def test_json_list_that_breaks_off(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('[{"prompt": "a", "negative_prompt": "b"}, {"prompt": "c", "nega')
    pairs, log = read(tmp_path / "a.json")
    assert texts(pairs) == [("a", "b")]
    assert log.named == [("a.json", "the JSON list breaks off")]


def test_json_object_of_styles(tmp_path: Path) -> None:
    styles = {"One": {"prompt": "{prompt}, oil", "negative": "photo"}, "Two": {"prompt": "x"}}
    (tmp_path / "sdxl_styles.json").write_text(json.dumps(styles))
    pairs, log = read(tmp_path / "sdxl_styles.json")
    assert texts(pairs) == [("{prompt}, oil", "photo")]
    assert pairs[0].kind == "style"
    assert log.without_pair == 1


def test_parquet_of_the_papers_data_set(tmp_path: Path) -> None:
    table = pa.table(
        {
            "id": ["1", "2"], "prompt": ["a", None], "negative_prompt": ["b", "c"], "likes": [1, 2],
            "sampler": ["x", "y"], "url": ["u", "v"], "model": ["m", "m"],
        }
    )  # fmt: skip
    pq.write_table(table, tmp_path / "train-00000-of-00001.parquet")
    pairs, log = read(tmp_path)
    assert texts(pairs) == [("a", "b")]
    assert pairs[0].page is None
    assert log.without_pair == 1


def test_bad_files_are_named_counted_and_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a_empty.csv").touch()
    (tmp_path / "b_noise.parquet").write_bytes(b"PAR1 no parquet")
    (tmp_path / "c_other.csv").write_text("colour,size\nred,1\n")
    (tmp_path / "d_noise.json").write_text("{not json")
    (tmp_path / "e_gone.jsonl").symlink_to(tmp_path / "nowhere")
    (tmp_path / "f_noise.csv.gz").write_bytes(b"\x1f\x8bnoise")
    (tmp_path / "notes.md").write_text("not read at all")
    (tmp_path / "z.csv").write_text("prompt,negative_prompt\na,b\n")
    pairs, log = read(tmp_path)
    assert texts(pairs) == [("a", "b")]
    assert log.files == 7
    assert log.skipped_files == 6
    assert [name[0] for name, _ in log.named] == list("abcdef")
    assert all(reason for _, reason in log.named)


def test_a_file_that_no_reader_foresaw_is_named_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: Path, folder: Path, log: ReadLog) -> Iterator[RawPair]:
        raise ZeroDivisionError("odd")
        yield

    (tmp_path / "a.csv").touch()
    monkeypatch.setattr("training.data.readers.tables.read_table", broken)
    assert read(tmp_path)[1].named == [("a.csv", "ZeroDivisionError while reading: odd")]


def test_a_source_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read(tmp_path / "nothing.csv")


@pytest.mark.parametrize("source", ["~nobody-of-that-name/pics", "x" * 300, "a\0b"], ids=["user", "long", "nul"])
def test_a_source_that_cannot_be_there_is_the_same_error(source: str) -> None:
    with pytest.raises(DataError, match="no such file"):
        read(source)


def test_linked_folders_are_followed_and_circles_end(tmp_path: Path) -> None:
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "folder"
    (elsewhere / "deep").mkdir(parents=True)
    folder.mkdir()
    (elsewhere / "deep" / "a.csv").write_text("prompt,negative_prompt\na,b\n")
    (folder / "linked").symlink_to(elsewhere)
    (folder / "linked_too").symlink_to(elsewhere)
    (elsewhere / "deep" / "back").symlink_to(folder)
    (elsewhere / "itself").symlink_to(elsewhere / "itself")
    pairs, log = read(folder)
    assert texts(pairs) == [("a", "b")]
    assert (log.files, log.skipped_files) == (1, 0)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are of Unix")
def test_what_is_no_ordinary_file_is_passed_over(tmp_path: Path) -> None:
    names = ["a.png", "b.csv"]
    for name in names:
        os.mkfifo(tmp_path / name)
    ends = [os.open(tmp_path / name, os.O_RDWR | os.O_NONBLOCK) for name in names]  # else a reader waits for ever
    try:
        for end in ends:
            os.write(end, b"prompt,negative_prompt\n" * 10)
        expected = [(name, "no ordinary file") for name in names]
        assert read(tmp_path)[1].named == expected
        assert read(tmp_path / "a.png")[1].named == expected[:1]
    finally:
        for end in ends:
            os.close(end)


def test_memory_stays_flat_over_200000_rows(tmp_path: Path) -> None:
    pytest.importorskip("resource")
    line = json.dumps({"prompt": "a lighthouse in a storm " * 4, "negative_prompt": "blurry, lowres, " * 8})
    (tmp_path / "few.jsonl").write_text(f"{line}\n" * 100)
    (tmp_path / "many.jsonl").write_text(f"{line}\n" * 200_000)  # 49 MB
    code = (
        "import resource, sys\n"
        "from training.data.pairs import ReadLog\n"
        "from training.data.readers import read_source\n"
        "for name in sys.argv[1:]:\n"
        "    count = sum(1 for _ in read_source(name, ReadLog()))\n"
        "    print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    files = [str(tmp_path / "few.jsonl"), str(tmp_path / "many.jsonl")]
    run = subprocess.run([sys.executable, "-c", code, *files], capture_output=True, text=True, check=True)
    (few, before), (many, after) = (map(int, line.split()) for line in run.stdout.splitlines())
    assert (few, many) == (100, 200_000)
    assert after - before < (10 << 10) * (1024 if sys.platform == "darwin" else 1)  # KiB but on macOS


# Pictures


def test_png_with_parameters(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(parameters=INFOTEXT))
    pairs, log = read(tmp_path)
    assert texts(pairs) == [(PROMPT, NEGATIVE)]
    assert (pairs[0].kind, pairs[0].source) == ("infotext", tmp_path.name)
    assert log.skipped_files == 0


def test_png_with_unicode_and_compressed_text(tmp_path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", INFOTEXT.replace("storm", "шторм 嵐 🌩"), zip=True)
    Image.new("L", (4, 4)).save(tmp_path / "a.png", pnginfo=info)
    pairs, _ = read(tmp_path)
    assert pairs[0].prompt == PROMPT.replace("storm", "шторм 嵐 🌩")


@pytest.mark.parametrize("form", ["jpeg", "webp"])
@pytest.mark.parametrize(
    "comment",
    [
        b"UNICODE\0" + INFOTEXT.encode("utf-16-be"),
        b"UNICODE\0" + INFOTEXT.encode("utf-16-le"),
        b"UNICODE\0" + INFOTEXT.encode("utf-16"),
        b"UNICODE\0" + INFOTEXT.encode("utf-8"),
        b"ASCII\0\0\0" + INFOTEXT.encode(),
        b"\0" * 8 + INFOTEXT.encode(),
        INFOTEXT.encode(),
    ],
    ids=["utf-16-be", "utf-16-le", "byte order mark", "utf-8", "ascii", "undefined", "no code"],
)
def test_exif_user_comment(tmp_path: Path, form: str, comment: bytes) -> None:
    (tmp_path / f"a.{form}").write_bytes(with_exif(form, comment))
    pairs, _ = read(tmp_path)
    assert texts(pairs) == [(PROMPT, NEGATIVE)]


@pytest.mark.parametrize("order", ["utf-16-be", "utf-16-le"])
def test_user_comment_in_another_script(order: str) -> None:
    text = "嵐の灯台\nNegative prompt: ぼやけた\nSteps: 20, Sampler: Euler a"
    assert decode_user_comment(b"UNICODE\0" + text.encode(order)) == text


def test_graph_in_webp_tags_and_in_png(tmp_path: Path) -> None:
    graph = json.dumps(
        {
            "1": {"class_type": "CLIPTextEncode", "inputs": {"text": "a boat"}},
            "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "fog"}},
            "3": {
                "class_type": "KSampler",
                "inputs": {"positive": ["1", 0], "negative": ["2", 0], "cfg": float("nan")},
            },
        }
    )
    (tmp_path / "a.webp").write_bytes(with_exif("webp", tags={0x0110: "prompt:" + graph, 0x010F: "workflow:{}"}))
    (tmp_path / "b.png").write_bytes(png(prompt=graph, workflow="{}"))
    pairs, _ = read(tmp_path)
    assert texts(pairs) == [("a boat", "fog")] * 2
    assert {pair.kind for pair in pairs} == {"workflow"}
    assert len({pair.page for pair in pairs}) == 1


def test_json_of_other_programs(tmp_path: Path) -> None:
    (tmp_path / "novelai.png").write_bytes(png(Comment=json.dumps({"prompt": "fox", "uc": "lowres", "steps": 28})))
    (tmp_path / "swarm.png").write_bytes(
        png(parameters=json.dumps({"sui_image_params": {"prompt": "owl", "negativeprompt": "text"}}))
    )
    assert texts(read(tmp_path)[0]) == [("fox", "lowres"), ("owl", "text")]


def test_text_beside_a_picture(tmp_path: Path) -> None:
    (tmp_path / "00001.txt").write_text(INFOTEXT)
    (tmp_path / "readme.txt").write_text("nothing of that kind")
    pairs, log = read(tmp_path)
    assert texts(pairs) == [(PROMPT, NEGATIVE)]
    assert log.without_pair == 1


def test_a_picture_may_state_any_size_since_no_pixel_is_read(tmp_path: Path) -> None:
    comment = b"ASCII\0\0\0" + INFOTEXT.encode()
    jpeg, webp = bytearray(with_exif("jpeg", comment)), bytearray(with_exif("webp", comment))
    frame, canvas = jpeg.index(b"\xff\xc0"), webp.index(b"VP8X")
    for name, side in [("a", 12_000), ("b", 16_000)]:  # at 89 million pixels Pillow warns, at 179 it refuses
        jpeg[frame + 5 : frame + 9] = struct.pack(">HH", side, side)
        webp[canvas + 12 : canvas + 18] = (side - 1).to_bytes(3, "little") * 2
        (tmp_path / f"{name}.jpg").write_bytes(jpeg)
        (tmp_path / f"{name}.webp").write_bytes(webp)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert texts(read(tmp_path)[0]) == [(PROMPT, NEGATIVE)] * 4


def test_exif_in_two_segments_and_after_bytes_that_fill_up(tmp_path: Path) -> None:
    whole = with_exif("jpeg", b"ASCII\0\0\0" + INFOTEXT.encode())
    start = whole.index(b"\xff\xe1")
    size = int.from_bytes(whole[start + 2 : start + 4], "big")
    block = whole[start + 10 : start + 2 + size]
    parts = [b"\xff\xff\xff\xe1" + struct.pack(">H", len(p) + 8) + b"Exif\0\0" + p for p in (block[:90], block[90:])]
    (tmp_path / "a.jpg").write_bytes(whole[:start] + b"".join(parts) + whole[start + 2 + size :])
    assert texts(read(tmp_path)[0]) == [(PROMPT, NEGATIVE)]


def test_damaged_exif_never_raises() -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0blurry"
    exif[0x010E] = "a boat"
    whole = exif.tobytes()
    assert exif_values(whole, (0x9286, 0x010E)) == {0x9286: b"ASCII\0\0\0blurry", 0x010E: b"a boat\0"}
    for place in range(len(whole)):
        for byte in (0, 1, 0x7F, 0xFF):
            exif_values(whole[:place] + bytes([byte]) + whole[place + 1 :], (0x9286, 0x010E))
        exif_values(whole[:place], (0x9286, 0x010E))


def test_packed_texts_of_a_png_have_one_limit_together(tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    whole = png(parameters=INFOTEXT)
    bomb = zlib.compress(b" " * 2**25, 9)
    bombs = [chunk(b"zTXt", b"k%d\0\0" % number + bomb) for number in range(20)]
    damaged = [chunk(b"zTXt", b"d%d\0\0" % number + bomb[:-9] + b"\xff" * 9) for number in range(20)]
    end = whole.index(b"IDAT") - 4
    (tmp_path / "a.png").write_bytes(whole[:end] + b"".join(bombs + damaged) + whole[end:])
    start = whole.index(b"tEXt") - 4
    (tmp_path / "b.png").write_bytes(whole[:start] + b"".join(bombs) + whole[start:])
    (tmp_path / "c.png").write_bytes(whole[:start] + b"".join(damaged) + whole[start:])
    tracemalloc.start()
    pairs, log = read(tmp_path)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert texts(pairs) == [(PROMPT, NEGATIVE)]  # in the others the limit is reached before it
    assert log.without_pair == 2
    assert most < 300 * 2**20


def test_broken_pictures(tmp_path: Path) -> None:
    whole = png(parameters=INFOTEXT)
    (tmp_path / "a_empty.png").touch()
    (tmp_path / "b_cut.png").write_bytes(whole[:40])
    (tmp_path / "c_text.jpg").write_text("<html>not found</html>")
    (tmp_path / "d_cut.jpg").write_bytes(with_exif("jpeg", b"ASCII\0\0\0" + INFOTEXT.encode())[:30])
    (tmp_path / "e_late_cut.png").write_bytes(whole[: whole.index(b"IDAT") + 6])
    (tmp_path / "f_plain.png").write_bytes(png())
    pairs, log = read(tmp_path)
    assert texts(pairs) == [(PROMPT, NEGATIVE)]  # the text stands before the pixels that are missing
    assert [name[0] for name, _ in log.named] == list("abcd")
    assert log.without_pair == 1


# Hugging Face Hub


def test_a_folder_in_the_hubs_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = tmp_path / "negopt_full"
    (folder / "data").mkdir(parents=True)
    rows = {"id": ["1", "2"], "prompt": ["a", "b"], "negative_prompt": ["c", ""], "likes": [3, 4]}
    pq.write_table(pa.table(rows), folder / "data" / "train-00000-of-00001.parquet")
    (folder / "README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: data/train-*\n---\n"
    )
    log = ReadLog()
    assert texts(list(hub.read_hub(str(folder), log))) == [("a", "c")]
    assert log.without_pair == 1


def test_hub_out_of_reach_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def out_of_reach(name: str, **_: object) -> Iterator[None]:
        raise ConnectionError(f"Couldn't reach '{name}' on the Hub (LocalEntryNotFoundError)\nlong trace")

    monkeypatch.setattr("datasets.load_dataset", out_of_reach)
    with pytest.raises(DataError) as caught:
        read("mikeogezi/negopt_full")
    assert "mikeogezi/negopt_full" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "give its folder" in str(caught.value)
    assert str(caught.value).startswith("no such file or folder here, and ")
    with pytest.raises(DataError, match=r"^cannot read"):
        read("hf:mikeogezi/negopt_full")
