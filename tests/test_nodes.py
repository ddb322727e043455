"""What the ComfyUI nodes do that needs no ComfyUI: jobs, failures, spans, names of models, the page's requests."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from negopt.locate import BUNDLED
from tests.house import ROOT, house

jobs, models, report, routes, rows = (
    house(f"negopt_nodes.{name}") for name in ("jobs", "models", "report", "routes", "rows")
)
ModelError = house("negopt").ModelError
PROMPT = "a street at night, no people"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """ComfyUI's models/negopt, listed as ComfyUI lists it: every safetensors file, relative."""
    monkeypatch.setattr(
        models.host,
        "weight_files",
        lambda: sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.safetensors")),
    )
    monkeypatch.setattr(models.host, "full_path", lambda file: tmp_path / file)
    monkeypatch.setattr(models.host, "embedding_name", lambda name: None)
    monkeypatch.setattr(models.host, "clip_tokens", lambda: lambda text: len(text.split()))
    return tmp_path


# Jobs


def test_shorter_lists_repeat_their_last_value() -> None:
    table = rows.rows(
        {"prompt": ["a", "b", "c"], "keep": ["x", "y"], "max_terms": [3], "negopt_model": None, "avoid": []}
    )
    assert [row["prompt"] for row in table] == ["a", "b", "c"]
    assert [row["keep"] for row in table] == ["x", "y", "y"]
    assert all(row["max_terms"] == 3 and "avoid" not in row and "negopt_model" not in row for row in table)
    assert rows.rows({"prompt": [], "keep": ["x"]}) == []


def test_a_row_becomes_options_of_the_generator() -> None:
    reference = models.ModelReference("mine", Path("mine"))
    job = rows.job({"prompt": "a", "variation": 7, "keep": "x", "model": "m", "negopt_model": reference}, n=2)
    assert (job.options, job.model, job.own) == ({"seed": 7, "keep": "x", "n": 2}, reference, "x")


def test_jobs_are_written_in_order_and_equal_ones_together(folder: Path) -> None:
    opened: list[Any] = []
    ticks: list[int] = []

    def opening(model: Any, clip: Any) -> Any:
        opened.append(model)
        return models.open_model(model, clip)

    wanted = [jobs.Job(f"a knight, {i}", {"max_terms": 3 if i < 40 else 4}) for i in range(50)]
    written = jobs.write(wanted, opening, lambda: ticks.append(1))
    assert [one.job for one in written] == wanted
    assert [len(one.answers[0].terms) for one in written] == [3] * 40 + [4] * 10
    assert (len(opened), len(ticks)) == (2, 50)


def test_a_failure_gives_the_own_text_and_one_line_and_spares_the_others(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wanted = [jobs.Job("a", {"keep": "ugly", "n": 2}, "gone"), jobs.Job("b", {"max_terms": 2})]
    with caplog.at_level(logging.WARNING, "negopt"):
        failed, fine = jobs.write(wanted, models.open_model)
    assert failed.texts == ["ugly", "ugly"]
    assert "gone" in failed.failure
    assert len(fine.answers[0].terms) == 2
    assert len(caplog.records) == 1
    assert "\n" not in caplog.records[0].getMessage()


def test_a_fault_of_ours_is_named_as_such() -> None:
    def broken(model: Any, clip: Any) -> Any:
        raise ZeroDivisionError("first\nsecond")

    (written,) = jobs.write([jobs.Job("a", {"keep": "ugly"})], broken)
    assert written.failure == "ZeroDivisionError: first (a fault in NegOpt; please report it)"


def test_what_the_tick_raises_goes_through(folder: Path) -> None:
    class Interrupted(Exception):
        pass

    def tick() -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        jobs.write([jobs.Job("a")], models.open_model, tick)


class Clip:
    """Reads text as ComfyUI's CLIP objects do: each word a token, in windows that end in padding."""

    def __init__(self, name: str, tokens_a_word: int) -> None:
        self.name, self.tokens_a_word = name, tokens_a_word
        self.encoded: list[str] = []

    def tokenize(self, text: str, return_word_ids: bool = False) -> dict[str, Any]:
        words = [(7, 1.0, number + 1) for number, _ in enumerate(text.split()) for _ in range(self.tokens_a_word)]
        return {"l": [[(1, 1.0, 0), *words, (2, 1.0, 0), (2, 1.0, 0)]], "text": text}

    def encode_from_tokens_scheduled(self, tokens: dict[str, Any]) -> str:
        self.encoded.append(tokens["text"])
        return f"{self.name}: {tokens['text']}"


def test_each_text_goes_through_its_own_clip_once() -> None:
    first, second = Clip("first", 1), Clip("second", 1)
    conditioning = house("negopt_nodes.conditioning")
    encoded = conditioning.encode([first, first, second, second], ["a", "a", "a", "b"])
    assert encoded == ["first: a", "first: a", "second: a", "second: b"]
    assert (first.encoded, second.encoded) == (["a"], ["a", "b"])


def test_encoding_many_texts_can_be_cancelled() -> None:
    clip, cancelled = Clip("any", 1), iter([False, False, True])

    def stop() -> None:
        if next(cancelled):
            raise InterruptedError

    with pytest.raises(InterruptedError):
        house("negopt_nodes.conditioning").encode([clip] * 4, ["a", "b", "c", "d"], stop)
    assert clip.encoded == ["a", "b"]


def test_the_clip_that_reads_the_text_counts_its_tokens(folder: Path) -> None:
    wanted = [jobs.Job("a", {"max_tokens": 20}, clip=clip) for clip in (Clip("short", 1), Clip("long", 4))]
    short, long = (len(one.answers[0].terms) for one in jobs.write(wanted, models.open_model))
    assert short > long > 0


class Templated(Clip):
    """As Qwen-Image's: every text comes in a template, whose words are counted, too."""

    def tokenize(self, text: str, return_word_ids: bool = False) -> dict[str, Any]:
        template = "describe the image by detailing its colour shape and size " * 4
        return {"qwen": super().tokenize(template + text)["l"]}


def test_a_template_around_the_text_takes_none_of_its_room(folder: Path) -> None:
    wanted = [jobs.Job("a", {"max_tokens": 20}, clip=clip) for clip in (Clip("plain", 1), Templated("wrapped", 1))]
    plain, wrapped = (one.texts for one in jobs.write(wanted, models.open_model))
    assert plain == wrapped


@pytest.mark.parametrize(("asked", "count"), [(0, 1), (-1, 1), (1000, 1), (None, 1), ("many", 1), (3, 3)])
def test_where_it_fails_there_are_as_many_texts_as_may_be_asked_for(asked: object, count: int) -> None:
    failed = jobs.Written(jobs.Job("a", {"n": asked, "keep": "ugly"}), failure="why")
    assert failed.texts == ["ugly"] * count
    assert len(report.report([failed])) == count


@pytest.fixture
def damaged_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The table of families with a slip of whoever extended it."""
    guard = house("negopt.guard")
    (tmp_path / "families.json").write_text('{"families": [}', encoding="utf-8")
    with monkeypatch.context() as patched:
        patched.setattr(guard, "FAMILIES", tmp_path / "families.json")
        guard._default_guard.cache_clear()
        yield
    guard._default_guard.cache_clear()


def test_a_damaged_table_of_families_costs_the_terms_of_ours_alone(folder: Path, damaged_table: None) -> None:
    shutil.copytree(BUNDLED, folder / "fresh")  # a model that was not opened while the table was whole
    merged = jobs.merge_or_join("a sketch", "sketch, ugly", "", "(bad hands:1.2)", avoid="x")
    assert merged.text == "sketch, ugly, (bad hands:1.2)"
    (written,) = jobs.write([jobs.Job("a sketch", {"keep": merged.text}, "fresh")], models.open_model)
    assert written.texts == [merged.text]
    assert "families.json" in written.failure
    body = json.dumps({"prompt": "a sketch", "model": "fresh", "negatives": ["sketch, ugly"]}).encode()
    (entry,) = routes.entries(body)
    assert (entry["text"], "families.json" in entry["failure"]) == ("sketch, ugly", True)


def test_a_path_may_come_in_the_quotes_that_windows_copies_it_with(folder: Path) -> None:
    shutil.copytree(BUNDLED, folder / "my models" / "mine")
    reference = models.refer(f' "{folder / "my models" / "mine"}"\n')
    assert (reference.folder, reference.failure) == (folder / "my models" / "mine", "")


def test_a_reference_that_leads_nowhere_is_told_not_raised(folder: Path) -> None:
    for name in ("~nobody-of-that-name/x", "y" * 300):
        assert "no such model" in models.refer(name).failure


# What the page shows


@pytest.mark.parametrize(
    ("prompt", "options"),
    [
        (PROMPT, {"keep": "(blurry:1.2), ugly,"}),
        (PROMPT, {"keep": "text, text, BREAK [a|b]", "weights": True, "n": 3}),
        ("a knight", {"keep": "\n", "weights": True, "creativity": 1.0}),
        ("a knight", {"max_terms": 0}),
        ("a knight", {"keep": "ugly # why not", "max_terms": 4}),
    ],
)
def test_spans_cover_the_text_and_say_whose_each_term_is(folder: Path, prompt: str, options: dict[str, Any]) -> None:
    written = jobs.write([jobs.Job(prompt, options)], models.open_model)
    entries = report.report(written)
    assert len(entries) == options.get("n", 1)
    for entry, answer in zip(entries, written[0].answers, strict=True):
        assert "".join(span["text"] for span in entry["spans"]) == entry["text"] == answer.text
        for origin in ("prompt", "model"):
            said = [span["text"] for span in entry["spans"] if span.get("origin") == origin]
            assert said == [term.text for term in answer.terms if term.origin == origin]
        own = [span["text"] for span in entry["spans"] if span.get("origin") == "keep"]
        assert own == ([options["keep"].strip(" ,\n")] if options.get("keep", "").strip() else [])
    json.dumps(entries)


# Models


def test_models_are_named_by_their_folders(folder: Path) -> None:
    shutil.copytree(BUNDLED, folder / "styles" / "mine")
    (folder / "loose.safetensors").write_bytes(b"")
    assert models.model_names() == [BUNDLED.name, "styles/mine"]
    assert models.model_folder("styles/mine") == folder / "styles" / "mine"
    assert models.model_folder("").name == models.model_folder(BUNDLED.name).name == BUNDLED.name
    with pytest.raises(ModelError, match="no such model in models/negopt"):
        models.model_folder(str(folder / "styles" / "mine"))


def test_the_version_of_a_model_changes_with_its_files(folder: Path) -> None:
    mine = Path(shutil.copytree(BUNDLED, folder / "mine"))
    before = models.version("mine")
    assert before == models.version("mine") != ""
    (mine / "negopt.json").write_text("{}")
    assert models.version("mine") != before
    assert models.version("gone") == ""


def test_a_model_referred_to_once_is_known_by_its_name(folder: Path) -> None:
    elsewhere = str(shutil.copytree(BUNDLED, folder / "else where"))
    assert models.refer("/no/such/folder").failure
    assert models.refer(elsewhere).folder == Path(elsewhere)
    assert models.model_folder(elsewhere) == Path(elsewhere)
    assert models.open_model(models.refer(elsewhere)).generate("a knight").text
    with pytest.raises(ModelError, match="no such folder"):
        models.open_model(models.ModelReference("x", failure="no such folder"))


# The page's requests


@pytest.mark.parametrize(
    ("headers", "same"),
    [
        ({}, True),
        ({"Host": "here:8188", "Origin": "http://here:8188"}, True),
        ({"Host": "inner", "X-Forwarded-Host": "outer", "Origin": "https://outer"}, True),
        ({"Sec-Fetch-Site": "same-origin", "Host": "inner", "Origin": "https://outer"}, True),
        ({"Sec-Fetch-Site": "cross-site", "Host": "here", "Origin": "http://here"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Host": "here:8188", "Origin": "http://evil"}, False),
        ({"Host": "here:8188", "Origin": "null"}, False),
    ],
)
def test_only_the_page_itself_is_answered(headers: dict[str, str], same: bool) -> None:
    assert routes.is_same_origin(headers) is same


def test_a_request_is_answered_as_the_nodes_answer(folder: Path) -> None:
    (entry,) = routes.entries(json.dumps({"prompt": PROMPT, "max_terms": 3}).encode())
    (written,) = jobs.write([jobs.Job(PROMPT, {"max_terms": 3})], models.open_model)
    assert entry["text"] == written.texts[0]
    merging = {"prompt": "a sketch", "negatives": ["sketch, ugly", "Ugly", 3], "max_terms": 0}
    (entry,) = routes.entries(json.dumps(merging).encode())
    assert (entry["text"], entry["conflicting"], entry["repeated"]) == ("ugly", ["sketch"], ["ugly"])
    assert entry["inputs"]["negative"] == "sketch, ugly"


def test_the_route_over_http(folder: Path) -> None:
    web = pytest.importorskip("aiohttp.web")
    from aiohttp.test_utils import TestClient, TestServer

    async def ask() -> list[tuple[int, Any]]:
        app = web.Application()
        app.router.add_post(routes.PATH, routes.answer)
        async with TestClient(TestServer(app)) as client:
            found = []
            for body in ({"prompt": PROMPT, "max_terms": 2}, {"prompt": 1}, {"prompt": "a" * 70_000}):
                response = await client.post(routes.PATH, json=body)
                found.append((response.status, await response.json()))
            response = await client.post(routes.PATH, data="{}")
            return [*found, (response.status, await response.json())]

    fine, wrong, long, foreign = asyncio.run(ask())
    assert fine[0] == 200
    assert fine[1]["entries"][0]["text"].startswith("people, ")
    assert (wrong[0], long[0], foreign[0]) == (400, 413, 403)
    assert all(len(answer[1]["error"].splitlines()) == 1 for answer in (wrong, long, foreign))


def nulls(value: Any, name: str = "") -> Iterator[str]:
    """The names under which a saved workflow holds nothing."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from nulls(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from nulls(inner, name)
    elif value is None:
        yield name


@pytest.mark.parametrize("template", sorted((ROOT / "example_workflows").glob("*.json")), ids=lambda path: path.stem)
def test_a_template_holds_nothing_only_where_no_link_is(template: Path) -> None:
    """The page checks each workflow that it opens, and shows an alert for null elsewhere."""
    assert set(nulls(json.loads(template.read_text(encoding="utf-8")))) <= {"link", "links"}


def test_nothing_of_the_pack_is_on_the_path_and_its_door_needs_no_torch() -> None:
    import subprocess
    import sys

    code = (
        "import sys; before = list(sys.path); from tests.house import house; house('negopt_nodes.models');"
        "assert sys.path == before; assert 'torch' not in sys.modules;"
        "assert not any(name.split('.')[0] in ('negopt', 'negopt_nodes') for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent.parent)
