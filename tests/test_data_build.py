"""The build: duplicates, authors, caps, splits, the folder, and what a broken run leaves."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tracemalloc
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, PngImagePlugin

from negopt.errors import DataError, OptionError
from training.__main__ import main
from training.data import dedup, split, stats
from training.data.build import BuildOptions, build
from training.data.cleaning import Cleaner, CleanPair
from training.data.dataset import LONGEST, load_judged, load_split
from training.data.pairs import RawPair
from training.data.store import SPLITS, Store

NOUNS = "boat lighthouse fox castle robot garden storm market bridge forest violin dragon harbour train owl".split()
PLACES = "sea desert city moon river village cave meadow island cliff library station attic glacier swamp".split()
TERMS = (
    "blurry,lowres,text,watermark,bad hands,cropped,signature,jpeg artifacts,worst quality,ugly,deformed,"
    "extra fingers,out of frame,grainy,oversaturated,cartoon,3d,sketch,monochrome,noise,duplicate,error"
).split(",")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path) as opened:
        yield opened


def add(store: Store, prompt: str, negative: str, page: str = "p", seed: int = 0) -> None:
    row = Cleaner().clean(RawPair(prompt, negative, source="s", page=page))
    assert row is not None
    store.add(row, split.place_of(seed, f"{row.pair_key}"))


def kept(store: Store) -> list[int]:
    return [row[0] for row in store.db.execute("SELECT id FROM pairs WHERE dropped IS NULL ORDER BY id")]


def different_pairs(count: int, seed: int = 0, authors: int = 50) -> list[dict[str, str]]:
    """`count` pairs of several authors, no two alike."""
    chance = random.Random(seed)
    pairs = []
    for i in range(count):
        words = chance.sample(NOUNS, 4) + chance.sample(PLACES, 4) + [f"w{i}a", f"w{i}b"]
        terms = chance.sample(TERMS, chance.randint(2, 9))
        pairs.append({"prompt": " ".join(words), "negative_prompt": ", ".join(terms), "user": f"u{i % authors}"})
    return pairs


def write_jsonl(path: Path, records: list[dict[str, str]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def rows_of(folder: Path) -> dict[str, list[dict[str, Any]]]:
    return {
        name: [row for file in sorted((folder / "data").glob(f"{name}-*")) for row in pq.read_table(file).to_pylist()]
        for name in SPLITS
    }


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# Duplicates


def test_exact_duplicates_keep_the_first(store: Store) -> None:
    for prompt in ("a boat at sea", "A boat, at sea", "a boat at sea"):
        add(store, prompt, "text, bad hands")
    add(store, "a boat at sea", "text")
    assert dedup.drop_exact(store) == 2
    assert kept(store) == [1, 4]


def test_near_duplicates_need_both_sides_alike(store: Store) -> None:
    prompt = (
        "an old boat at sea, storm, high waves, dark clouds, oil painting, thick brush, muted, signed in the corner"
    )
    terms = "text, bad hands, blurry, lowres, cropped, ugly, deformed, noise, error, sketch"
    add(store, prompt, terms)
    add(store, prompt + " left", terms + ", rain")  # both nearly the same
    add(store, prompt + " left", "photo, modern, people")  # another negative
    add(store, "a fox in a library reading by candle light", terms)  # another prompt
    assert dedup.drop_near(store) == 1
    assert kept(store) == [1, 3, 4]


def test_minhash_finds_what_overlaps_by_the_threshold() -> None:
    chance = np.random.default_rng(0)
    found = far = 0
    for _ in range(300):
        base = chance.integers(0, 2**32, size=90, dtype=np.uint32)
        near = np.concatenate([base[:80], chance.integers(0, 2**32, size=10, dtype=np.uint32)])  # Jaccard 0.8
        other = np.concatenate([base[:20], chance.integers(0, 2**32, size=70, dtype=np.uint32)])  # 0.125
        buckets = set(dedup.band_buckets(base))
        found += bool(buckets & set(dedup.band_buckets(near)))
        far += bool(buckets & set(dedup.band_buckets(other)))
    assert found >= 285
    assert far <= 12


def test_jaccard_is_that_of_the_sets() -> None:
    one, other = (np.array(values, dtype=np.uint32).tobytes() for values in ([1, 2, 3, 4], [3, 4, 5]))
    assert dedup.jaccard(one, other) == pytest.approx(2 / 5)
    assert dedup.jaccard(one, one) == 1.0
    assert dedup.jaccard(one, b"") == 0.0


# Authors, caps, splits


def authors_of(store: Store) -> dict[str, str]:
    return dict(store.db.execute("SELECT name, author FROM pages"))


LONG = [f"very particular thing {word}" for word in "one two three four five six seven eight nine ten".split()]


def test_pages_that_share_a_rare_long_negative_are_one_author(store: Store) -> None:
    chain = ["p9", "p1", "p7", "p3", "p8"]
    for i, (one, other) in enumerate(pairwise(chain)):  # p9-p1, p1-p7, p7-p3, p3-p8
        own = ", ".join([*LONG[:8], f"own {i} x"])
        add(store, f"{NOUNS[i]} first", own, one)
        add(store, f"{NOUNS[i]} second", own, other)
    add(store, "short negatives join nobody", "text, blurry", "p1")
    add(store, "so this one is alone", "text, blurry", "q1")
    split.join_authors(store)
    authors = authors_of(store)
    assert {authors[page] for page in chain} == {"p1"}
    assert authors["q1"] == "q1"


def test_a_popular_negative_is_common_property(store: Store) -> None:
    for page in range(split.RARE_NEGATIVE + 1):
        add(store, f"{NOUNS[page]} at sea", ", ".join(LONG), f"p{page}")
    split.join_authors(store)
    assert len(set(authors_of(store).values())) == split.RARE_NEGATIVE + 1


def test_long_chains_join_whatever_their_order(store: Store) -> None:
    order = list(range(300))
    random.Random(1).shuffle(order)
    for place, (one, other) in enumerate(pairwise(order)):
        own = ", ".join([*LONG[:8], f"own x{place}y"])
        for page in (one, other):
            add(store, f"boat {place} {page}", own, f"p{page:03d}")
    split.join_authors(store)
    assert set(authors_of(store).values()) == {"p000"}


def test_caps(store: Store) -> None:
    for i in range(30):
        add(store, f"boat w{i}", "text, blurry", "fan")
        add(store, f"fox w{i}", f"text, own x{i}", "busy")
        add(store, f"owl w{i}", "text, blurry", f"other{i}")
    split.join_authors(store)
    caps, none = split.Caps(favourite=5, negative=20, page=12), split.Caps(favourite=0, negative=0, page=0)
    assert split.cap_negatives(store, caps) == {"author's favourite above its cap": 25, "negative above its cap": 15}
    assert split.cap_authors(store, caps) == {"author above the cap": 18}
    assert split.cap_negatives(store, none) == split.cap_authors(store, none) == {}


def test_no_author_is_in_two_splits_and_strict_is_strict(tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "a.jsonl", different_pairs(600, authors=150))
    summary = build([str(source)], tmp_path / "out", BuildOptions(seed=3, validation=0.1, test=0.2))
    rows = rows_of(tmp_path / "out")
    total = sum(map(len, rows.values()))
    assert total > 500
    assert len(rows["validation"]) == pytest.approx(0.1 * total, abs=4)
    assert len(rows["test"]) == pytest.approx(0.2 * total, abs=4)
    splits = defaultdict(set)
    for name, members in rows.items():
        for row in members:
            splits[row["page"]].add(name)
    assert all(len(names) == 1 for names in splits.values())
    seen = {frozenset(row["terms"]) for row in rows["train"]}
    for name in ("validation", "test"):
        assert all(row["strict"] == (frozenset(row["terms"]) not in seen) for row in rows[name])
        assert 0 < summary["strict"][name] < len(rows[name])
    assert not any(row["strict"] for row in rows["train"])


def check_no_prompt_is_in_two_splits_and_strict_is_strict(rows: dict[str, list[dict[str, Any]]]) -> None:
    prompts = {name: {row["text"] for row in members} for name, members in rows.items()}
    assert not any(prompts[one] & prompts[other] for one, other in combinations(SPLITS, 2))
    seen = {frozenset(row["terms"]) for row in rows["train"]}
    for name in ("validation", "test"):
        assert rows[name]
        assert all(row["strict"] == (frozenset(row["terms"]) not in seen) for row in rows[name])


def test_one_author_alone_is_split_by_prompt(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    pairs = different_pairs(60)
    for i in range(180):  # each prompt with three negatives, each negative with several prompts
        prompt, negative = pairs[i % 60]["prompt"], pairs[i // 9]["negative_prompt"]
        info = PngImagePlugin.PngInfo()
        info.add_text("parameters", f"{prompt}\nNegative prompt: {negative}\nSteps: 20, Seed: {i}")
        Image.new("L", (2, 2)).save(folder / f"{i:03d}.png", pnginfo=info)
    summary = build([str(folder)], tmp_path / "out", BuildOptions(validation=0.2, test=0.2))
    assert summary["one_author"]
    assert summary["rows"] == {"train": 108, "validation": 36, "test": 36}
    rows = rows_of(tmp_path / "out")
    check_no_prompt_is_in_two_splits_and_strict_is_strict(rows)
    assert summary["strict"]["test"] == sum(row["strict"] for row in rows["test"]) < 36
    assert "split by prompt" in (tmp_path / "out" / "README.md").read_text("utf-8")


def test_a_sole_authors_favourite_is_capped(store: Store) -> None:
    for i in range(40):
        add(store, f"{NOUNS[i % 15]} w{i}x", "text, blurry", "me")
        add(store, f"{NOUNS[i % 15]} w{i}y", f"text, own x{i}y", "me")
    split.join_authors(store)
    assert split.cap_negatives(store, split.Caps()) == {
        "author's favourite above its cap": 20, "negative above its cap": 0,
    }  # fmt: skip
    assert split.break_up_sole_author(store, 0.1)
    assert split.cap_authors(store, split.Caps(page=50)) == {"author above the cap": 0}


def test_what_is_judged_are_prompts_that_training_never_saw(tmp_path: Path) -> None:
    pairs = different_pairs(300, authors=100)
    again = [{**pair, "prompt": pair["prompt"].title(), "user": f"v{i}"} for i, pair in enumerate(pairs[:60])]
    for pair in again:
        pair["negative_prompt"] = "something else"
    source = write_jsonl(tmp_path / "a.jsonl", pairs + again)
    options = BuildOptions(validation=0.2, test=0.2)
    summary = build([str(source)], tmp_path / "out", options)
    dropped = summary["dropped"]["prompt also in training"]
    assert 0 < dropped < 100
    assert not summary["one_author"]
    assert not summary["shared_prompts"]
    assert summary["read"] == sum(summary["rows"].values()) + sum(summary["dropped"].values())
    rows = rows_of(tmp_path / "out")
    trained = {row["text"] for row in rows["train"]}
    seen = {frozenset(row["terms"]) for row in rows["train"]}
    for name in ("validation", "test"):
        assert not trained & {row["text"] for row in rows[name]}
        strict = [frozenset(row["terms"]) not in seen for row in rows[name]]
        assert [row["strict"] for row in rows[name]] == strict
        assert summary["strict"][name] == sum(strict)
    assert "| prompt also in training |" in (tmp_path / "out" / "README.md").read_text("utf-8")


def test_where_all_write_for_the_same_prompts_these_are_what_is_split(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chance = random.Random(4)
    prompts = [pair["prompt"] for pair in different_pairs(80)]
    pairs = [{**pair, "prompt": chance.choice(prompts)} for pair in different_pairs(600, authors=100)]
    source, out = write_jsonl(tmp_path / "a.jsonl", pairs), tmp_path / "out"
    arguments = ["data", "build", str(source), "--out", str(out), "--validation", "0.2", "--test", "0.2"]
    assert main([*arguments, "--cap-per-negative", "0", "--quiet"]) == 0
    assert "split by prompt, not by author" in capsys.readouterr().out
    summary = json.loads((out / "build.json").read_text("utf-8"))
    assert summary["shared_prompts"]
    assert summary["dropped"]["prompt also in training"] == 0
    assert summary["authors"] == 80
    check_no_prompt_is_in_two_splits_and_strict_is_strict(rows_of(out))


# The folder


def test_datasets_opens_the_folder(tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "a.jsonl", different_pairs(200))
    build([str(source)], tmp_path / "out", BuildOptions(validation=0.1, test=0.1))
    train = load_split(tmp_path / "out", "train")
    assert train.column_names == [
        "prompt", "text", "terms", "embeddings", "negative_prompt", "weights", "page", "kind", "source",
        "licence", "strict",
    ]  # fmt: skip
    row = train[0]
    assert row["negative_prompt"] == ", ".join(row["terms"])
    assert len(row["weights"]) == len(row["terms"])
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert card.startswith("---\nlicense: other\n")
    assert f"{len(train):,}" in card
    assert "a.jsonl" in card
    assert str(tmp_path) not in card


def test_a_folder_with_brackets_in_its_name_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_jsonl(tmp_path / "a.jsonl", different_pairs(40))
    out = tmp_path / ".kept" / "__mine [v2]*"
    build([str(source)], out, BuildOptions(validation=0.1, test=0.0))
    monkeypatch.chdir(out)
    for folder in (out, Path(), Path("..", out.name)):
        assert len(load_split(folder, "train")) == 36
    with pytest.raises(DataError, match="not a data set with a split 'test'"):
        load_split(out, "test")


def test_windows_opens_a_folder_with_a_long_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "t"))
    (tmp_path / "t").mkdir()
    out = tmp_path / ("o" * LONGEST)
    for seed in (1, 2):  # a rebuilt data set has no rows of the one before
        source = write_jsonl(tmp_path / "a.jsonl", different_pairs(40, seed))
        build([str(source)], out, BuildOptions(validation=0.0, test=0.0))
        with monkeypatch.context() as patched:
            patched.setattr("sys.platform", "win32")
            opened = load_split(out, "train")
        assert sorted(opened["prompt"]) == sorted(row["prompt"] for row in rows_of(out)["train"])
        assert not (out / ".cache").exists()
    assert len(list((tmp_path / "t").glob("negopt-*"))) == 2


def test_each_prompt_is_judged_once(tmp_path: Path) -> None:
    prompts = [pair["prompt"] for pair in different_pairs(20)]
    pairs = [{**pair, "prompt": prompts[i % 20], "user": f"u{i}"} for i, pair in enumerate(different_pairs(200))]
    source, out = write_jsonl(tmp_path / "a.jsonl", pairs), tmp_path / "out"
    build([str(source)], out, BuildOptions(validation=0.0, test=0.4))
    written = list(load_split(out, "test")["prompt"])
    judged = list(load_judged(out, 1000)["prompt"])
    assert len(written) > len(judged) > 2
    assert judged == list(dict.fromkeys(written))
    assert list(load_judged(out, 2)["prompt"]) == judged[:2]


def test_an_empty_split_has_no_file_and_the_rest_opens(tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "a.jsonl", different_pairs(40))
    summary = build([str(source)], tmp_path / "out", BuildOptions(validation=0.0, test=0.0))
    assert summary["rows"] == {"train": 40, "validation": 0, "test": 0}
    assert len(load_split(tmp_path / "out", "train")) == 40
    with pytest.raises(DataError):
        load_split(tmp_path / "out", "test")


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path: Path) -> None:
    source = str(write_jsonl(tmp_path / "a.jsonl", different_pairs(150)))
    for name, seed in (("one", 5), ("two", 5), ("three", 6)):
        build([source], tmp_path / name / "set", BuildOptions(seed=seed, validation=0.1, test=0.1))
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    splits = [{row["prompt"] for row in rows_of(tmp_path / name / "set")["test"]} for name in ("one", "three")]
    assert splits[0] != splits[1]


def test_rows_are_in_no_order_of_the_source(tmp_path: Path) -> None:
    source = str(write_jsonl(tmp_path / "a.jsonl", different_pairs(100)))
    build([source], tmp_path / "out", BuildOptions(validation=0.0, test=0.0))
    numbers = [int(row["prompt"].split(" w")[1].split("a")[0]) for row in rows_of(tmp_path / "out")["train"]]
    assert sorted(numbers) == list(range(100))
    assert numbers != sorted(numbers)


def test_every_pair_is_accounted_for(tmp_path: Path) -> None:
    pairs = different_pairs(80)
    pairs += pairs[:7]
    pairs += [{"prompt": "a boat", "negative_prompt": "EasyNegative", "user": "u"}]
    source = write_jsonl(tmp_path / "a.jsonl", pairs)
    (tmp_path / "broken.parquet").write_bytes(b"nothing")
    summary = build([str(source), str(tmp_path / "broken.parquet")], tmp_path / "out", BuildOptions())
    assert summary["read"] == 88
    assert summary["dropped"]["exact duplicate"] == 7
    assert summary["read"] == sum(summary["rows"].values()) + sum(summary["dropped"].values())
    assert summary["skipped_files"] == 1
    assert "broken.parquet" in (tmp_path / "out" / "README.md").read_text("utf-8")


def test_limit_is_for_each_source(tmp_path: Path) -> None:
    one = write_jsonl(tmp_path / "a.jsonl", different_pairs(50, seed=1))
    two = write_jsonl(tmp_path / "b.jsonl", different_pairs(50, seed=2))
    assert build([str(one), str(two)], tmp_path / "out", BuildOptions(limit=10))["read"] == 20


# What goes wrong


def test_nothing_usable_is_a_clear_error_and_writes_nothing(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="no prompt with a negative prompt in 0 files"):
        build([str(empty)], tmp_path / "out", BuildOptions())
    (empty / "a.csv").write_text("colour\nred\n")
    with pytest.raises(DataError, match=r"a\.csv: no prompt and negative prompt columns"):
        build([str(empty)], tmp_path / "out", BuildOptions())
    source = write_jsonl(tmp_path / "a.jsonl", [{"prompt": "a", "negative_prompt": "EasyNegative"}])
    with pytest.raises(DataError, match="only embeddings"):
        build([str(source)], tmp_path / "out", BuildOptions())
    assert {path.name for path in tmp_path.iterdir()} == {"empty", "a.jsonl"}


def test_a_folder_of_something_else_is_never_replaced(tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "a.jsonl", different_pairs(20))
    home = tmp_path / "home"
    home.mkdir()
    (home / "letter.txt").write_text("dear")
    with pytest.raises(DataError, match="is no data set"):
        build([str(source)], home, BuildOptions())
    with pytest.raises(DataError, match="is a file"):
        build([str(source)], source, BuildOptions())
    assert (home / "letter.txt").read_text() == "dear"


def test_a_killed_build_leaves_the_old_folder_whole(tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "a.jsonl", different_pairs(40))
    out = tmp_path / "out"
    build([str(source)], out, BuildOptions())
    before = digests(out)
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "import training.data.build as b\n"
        "b.write_card = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "b.build([sys.argv[1]], Path(sys.argv[2]), b.BuildOptions(seed=9))\n"
    )
    run = subprocess.run([sys.executable, "-c", code, str(source), str(out)], capture_output=True, text=True)
    assert run.returncode == -signal.SIGKILL, run.stderr
    assert digests(out) == before
    assert len(list(tmp_path.glob(".out.*"))) > 0  # what the dead process left beside it ...
    build([str(source)], out, BuildOptions(seed=9))
    assert digests(out) != before
    assert list(tmp_path.glob(".out.*")) == []  # ... the next build clears away


def test_a_failing_build_leaves_the_old_folder_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_jsonl(tmp_path / "a.jsonl", different_pairs(40))
    build([str(source)], tmp_path / "out", BuildOptions())
    before = digests(tmp_path)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(split, "assign", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build([str(source)], tmp_path / "out", BuildOptions(seed=9))
    assert digests(tmp_path) == before


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not list what is open")
@pytest.mark.parametrize(
    "place",
    [
        "training.data.dedup.jaccard",
        "training.data.dedup.band_buckets",
        "pyarrow.parquet.ParquetWriter.write_batch",
    ],
)
def test_a_failing_build_leaves_no_file_open(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError("no space left")

    source = write_jsonl(tmp_path / "a.jsonl", different_pairs(40))
    monkeypatch.setattr("training.data.build._ROWS_PER_GROUP", 5)
    monkeypatch.setattr(place, full)
    with pytest.raises(OSError, match="no space left") as raised:
        build([str(source)], tmp_path / "out", BuildOptions())
    opened = [file.readlink().name for file in Path("/proc/self/fd").iterdir() if file.is_symlink()]
    assert not [name for name in opened if name.startswith("rows.sqlite")]
    assert raised.tb  # and with it what the failed functions held


def test_a_failing_build_says_why_where_windows_deletes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        monkeypatch.setattr(os, "unlink", refused)
        raise KeyboardInterrupt

    def refused(*_: object, **__: object) -> None:
        raise PermissionError("used by another process")

    source = write_jsonl(tmp_path / "a.jsonl", different_pairs(40))
    monkeypatch.setattr(split, "assign", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build([str(source)], tmp_path / "out", BuildOptions())


@pytest.mark.parametrize("field", ["prompt", "negative_prompt", "source", "user", "licence"])
def test_half_a_character_does_not_end_a_build(tmp_path: Path, field: str) -> None:
    pairs = different_pairs(20)
    half = {**pairs[0], "prompt": "a dog in snow"}
    half[field] = half.get(field, "") + " x \ud83d"
    source = write_jsonl(tmp_path / "a.jsonl", [*pairs, half])
    summary = build([str(source)], tmp_path / "out", BuildOptions())
    assert sum(summary["rows"].values()) == 21
    texts = (tmp_path / "out" / "README.md").read_text("utf-8") + json.dumps(rows_of(tmp_path / "out"))
    assert r"\ud83d" not in texts
    assert json.loads((tmp_path / "out" / "build.json").read_text("utf-8"))["read"] == 21


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_names_that_are_no_utf8_are_read_and_named(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    write_jsonl(folder / os.fsdecode(b"caf\xe9.jsonl"), different_pairs(20))
    (folder / os.fsdecode(b"caf\xe9.png")).write_bytes(b"nothing")
    summary = build([str(folder)], tmp_path / "out", BuildOptions())
    assert summary["sources"] == {"caf\ufffd.jsonl": 20}
    assert summary["skipped"][0][0] == "caf\ufffd.png"
    assert "caf\ufffd.png" in (tmp_path / "out" / "README.md").read_text("utf-8")
    with pytest.raises(DataError, match="no name in UTF-8"):
        build([str(folder)], tmp_path / os.fsdecode(b"out\xe9"), BuildOptions())


@pytest.mark.parametrize(
    "options",
    [{"validation": 0.5}, {"test": -0.1}, {"near": 0.0}, {"limit": 0}, {"caps": split.Caps(negative=-1)}],
)
def test_options_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        BuildOptions(**options)


# Size


def test_the_store_needs_no_memory_for_its_rows(tmp_path: Path) -> None:
    first = Cleaner().clean(RawPair("a lighthouse in a storm " * 20, ", ".join(TERMS), source="s"))
    assert first is not None

    def row(number: int) -> CleanPair:
        text = f"a lighthouse in storm {number}"
        return replace(first, text=text, page=f"p{number // 3}", pair_key=number, negative_key=number // 9)

    def work(rows: int, folder: Path) -> int:
        folder.mkdir()
        tracemalloc.start()
        with Store(folder) as opened:
            for number in range(rows):
                opened.add(row(number), split.place_of(0, str(number)))
            dedup.drop_exact(opened)
            split.join_authors(opened)
            split.cap_negatives(opened, split.Caps(0, 8, 0))
            split.assign(opened, 0, 0.05, 0.05)
            written = sum(1 for name in SPLITS for _ in opened.rows(name))
            _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert 0.85 * rows < written < 0.9 * rows  # eight of nine
        return peak

    few, many = work(1_000, tmp_path / "few"), work(8_000, tmp_path / "many")
    assert many < few + 2 * 2**20  # 7,000 rows more, of 2 KB each


# The command


def test_command_builds_and_shows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "styles.csv").write_text("name,prompt,negative_prompt\nx,{prompt} in oil,photo\n")
    source = write_jsonl(tmp_path / "a.jsonl", different_pairs(120))
    out = tmp_path / "out"
    arguments = ["data", "build", str(source), str(tmp_path / "styles.csv"), "--out", str(out), "--test", "0.1"]
    assert main([*arguments, "--quiet"]) == 0
    printed = capsys.readouterr()
    assert "train" in printed.out
    assert printed.err == ""
    assert main(["data", "stats", str(out), "--html", str(tmp_path / "page.html")]) == 0
    text = capsys.readouterr().out
    assert "worst quality" in text
    page = (tmp_path / "page.html").read_text("utf-8")
    assert "<svg" in page
    assert "worst quality" in page
    assert main(["data", "stats", str(out), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert sum(figures["rows"].values()) == 121
    assert figures["coverage"]["1000"] == 1.0


def test_command_errors_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "build", str(tmp_path / "no.csv"), "--out", str(tmp_path / "out")]) == 1
    assert main(["data", "stats", str(tmp_path)]) == 1
    source = write_jsonl(tmp_path / "a.jsonl", different_pairs(5))
    assert main(["data", "build", str(source), "--out", str(tmp_path / "out"), "--test", "0.9"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("error: ") for line in lines)
    with pytest.raises(SystemExit) as caught:
        main(["data", "build", str(source)])
    assert caught.value.code == 2


def test_what_cannot_be_written_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_jsonl(tmp_path / "a.jsonl", different_pairs(30))
    out = tmp_path / "out"
    assert main(["data", "build", str(source), "--out", str(source / "below" / "a" / "file"), "--quiet"]) == 1
    assert main(["data", "build", str(source), "--out", str(out), "--quiet"]) == 0
    assert main(["data", "stats", str(out), "--html", str(tmp_path / "nowhere" / "x.html")]) == 1
    built, page = capsys.readouterr().err.splitlines()
    assert built.startswith("error: ")
    assert built.endswith(": Not a directory")
    assert page == f"error: {tmp_path / 'nowhere' / 'x.html'}: No such file or directory"


def test_statistics_of_a_data_set_of_another_making_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    file = tmp_path / "data" / "train-00000-of-00001.parquet"
    pq.write_table(pa.table({"text": ["a boat"], "terms": [["blurry"]]}), file)
    assert main(["data", "stats", str(tmp_path)]) == 1
    expected = f"error: {file}: column 'embeddings' is missing; build the data set with `data build`\n"
    assert capsys.readouterr().err == expected


def test_a_skipped_file_is_named_on_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_jsonl(tmp_path / "a.jsonl", different_pairs(20))
    (tmp_path / "b.parquet").write_bytes(b"nothing")
    assert main(["data", "build", str(tmp_path), "--out", str(tmp_path.parent / f"{tmp_path.name}-out")]) == 0
    printed = capsys.readouterr()
    assert "skipped b.parquet: " in printed.err
    assert "1 files skipped" in printed.out


def test_statistics_count_what_is_there(tmp_path: Path) -> None:
    pairs = different_pairs(90)
    source = write_jsonl(tmp_path / "a.jsonl", [*pairs, {"prompt": "a fox", "negative_prompt": "Texts, badhandv4"}])
    build([str(source)], tmp_path / "out", BuildOptions())
    figures = stats.measure(tmp_path / "out")
    counted = Counter(term for pair in pairs for term in pair["negative_prompt"].split(", "))
    counted["text"] += 1  # "Texts" is the same term
    assert dict(figures.frequent_terms)["text"] == counted["text"]
    assert figures.used_terms == sum(counted.values())
    assert figures.with_embeddings == pytest.approx(1 / 91)
    with pytest.raises(DataError):
        stats.measure(tmp_path)
