"""The nodes' words in each language, and their help pages: complete, alike, and in step with the nodes."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from negopt.options import OPTIONS

ROOT = Path(__file__).resolve().parents[1]
LOCALES = ROOT / "locales"
NODES = ROOT / "negopt_nodes"
HELP = NODES / "web" / "docs"
TEXTS = NODES / "web" / "js" / "texts.js"
LANGUAGES = ("en", "zh", "zh-TW")
FILES = ("main.json", "nodeDefs.json")
OPTION_INPUTS = {name: "variation" if name == "seed" else name for name in OPTIONS}
WITHOUT = {"NegOpt": {"n"}, "NegOptAlternatives": set(), "NegOptMerge": {"n", "keep"}}
"""The writing nodes, and the options that each has no input for."""
LARGEST_PICTURE = 120_000


def read(language: str, file: str) -> dict[str, Any]:
    data = json.loads((LOCALES / language / file).read_text(encoding="utf-8"))
    assert isinstance(data, dict)
    return data


def texts(value: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every text under its path of keys."""
    for key, inner in value.items():
        if isinstance(inner, dict):
            yield from texts(inner, (*path, key))
        else:
            yield (*path, key), inner


NODE_NAMES = tuple(read("en", "nodeDefs.json"))


def test_the_languages_are_those_that_the_page_knows() -> None:
    assert sorted(folder.name for folder in LOCALES.iterdir()) == sorted(LANGUAGES)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("file", FILES)
def test_every_language_has_the_same_keys(language: str, file: str) -> None:
    assert [path for path, _ in texts(read(language, file))] == [path for path, _ in texts(read("en", file))]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("file", FILES)
def test_texts_are_written_and_need_no_escapes(language: str, file: str) -> None:
    """Some versions of the page read {, }, @ and | as instructions and others as they are: none is right in both."""
    for path, text in texts(read(language, file)):
        assert isinstance(text, str), path
        assert text == text.strip() != "", path
        assert not set(text) & set("{}@|"), path


@pytest.mark.parametrize("node", WITHOUT)
def test_every_option_that_a_node_takes_is_named(node: str) -> None:
    inputs = read("en", "nodeDefs.json")[node]["inputs"]
    for name in OPTIONS.keys() - WITHOUT[node]:
        assert inputs[OPTION_INPUTS[name]] == {"name": OPTION_INPUTS[name], "tooltip": OPTIONS[name].help}
    assert not {OPTION_INPUTS[name] for name in WITHOUT[node]} & inputs.keys()


def test_english_is_what_the_nodes_say() -> None:
    """Every English text stands in the nodes' code, word for word: there is one wording only."""
    said = [re.escape(option.help) for option in OPTIONS.values()]
    for file in NODES.glob("*.py"):
        said += patterns(ast.parse(file.read_text(encoding="utf-8")))
    for path, text in texts(read("en", "nodeDefs.json")):
        if path[-2] not in ("inputs", "outputs") and path[-1] == "name" and "inputs" in path:
            assert text == path[-2], path
        else:
            assert any(re.fullmatch(pattern, text) for pattern in said), (path, text)


def patterns(tree: ast.AST) -> Iterator[str]:
    """A regular expression for each text in the code; what an f-string fills in may be any words."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield re.escape(node.value)
        elif isinstance(node, ast.JoinedStr) and len(node.values) > 1:
            parts = [part.value if isinstance(part, ast.Constant) else None for part in node.values]
            yield "".join(r"[\w ]+" if part is None else re.escape(str(part)) for part in parts)


def test_menu_entries_are_those_of_the_script() -> None:
    """The page translates an entry by its English words."""
    script = (NODES / "web" / "js" / "negopt.js").read_text(encoding="utf-8")
    for entry in read("en", "main.json")["contextMenu"]:
        assert f'content: "{entry}"' in script


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_the_script_says_is_there_and_used(language: str) -> None:
    """web/js/texts.js has each text in each language; every text is asked for, or is an origin of a term."""
    table, script = TEXTS.read_text(encoding="utf-8"), (NODES / "web" / "js" / "negopt.js").read_text(encoding="utf-8")
    script += (NODES / "web" / "js" / "display.js").read_text(encoding="utf-8")
    asked = set(re.findall(r'\btext\("(\w+)"\)', script))
    said = dict(re.findall(r'^    (\w+): "(.+)",?$', section(table, language), re.MULTILINE))
    assert said.keys() == asked | {"keep", "prompt", "model"}


def section(table: str, language: str) -> str:
    """The lines of one language in texts.js."""
    found = re.search(rf'^  "?{language}"?: {{\n(.*?)^  }}', table, re.MULTILINE | re.DOTALL)
    assert found, language
    return found[1]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("node", NODE_NAMES)
def test_help_tells_of_every_input_and_output(node: str, language: str) -> None:
    page = (HELP / node / f"{language}.md").read_text(encoding="utf-8")
    words = read(language, "nodeDefs.json")[node]
    assert page.startswith(f"# {words['display_name']}\n")
    for slot in (*words["inputs"].values(), *words["outputs"].values()):
        assert f"\n- **{slot['name']}**" in page


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("node", NODE_NAMES)
def test_help_shows_pictures_that_are_there(node: str, language: str) -> None:
    """The page looks for pictures under docs/, wherever the help page itself lies."""
    page = (HELP / node / f"{language}.md").read_text(encoding="utf-8")
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", page)
    assert pictures
    for picture in pictures:
        assert 0 < (HELP / picture).stat().st_size < LARGEST_PICTURE, picture


def test_no_picture_is_left_over() -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in HELP.rglob("*.md"))
    for picture in HELP.rglob("*.png"):
        assert f"({picture.relative_to(HELP).as_posix()})" in pages


@pytest.mark.parametrize("node", NODE_NAMES)
def test_other_languages_get_the_english_help(node: str) -> None:
    """The page asks for docs/<node>.md where there is none in its language: copy <node>/en.md there."""
    assert (HELP / f"{node}.md").read_bytes() == (HELP / node / "en.md").read_bytes()
