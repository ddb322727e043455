"""The hosts' prompt language as a text encoder reads it."""

from __future__ import annotations

import time

import pytest

from negopt.syntax import MAX_WEIGHT, plain_unicode, read_emphasis

from .test_terms import HOSTILE


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("A red_dress, 16:9. It's 8k!", [("A red_dress, 16:9. It's 8k!", 1.0)]),
        ("a (red:1.3) car", [("a ", 1.0), ("red", 1.3), (" car", 1.0)]),
        ("((big)), [small]", [("big", 1.21), (", ", 1.0), ("small", 0.909)]),
        ("(a, (b:1.5):2)", [("a, ", 2.0), ("b", 3.0)]),
        ("(no:-1) x", [("no", -1.0), (" x", 1.0)]),
        ("[a cat:a dog:0.5], [red|blue]", [("a cat, a dog, ", 1.0), ("red, blue", 0.909)]),
        (r"saber \(fate\), [a, (b:2", [("saber (fate), ", 1.0), ("a, ", 0.909), ("b:2", 1.0)]),
        ("(open (a:2), b BREAK c", [("open ", 1.1), ("a", 2.2), (", b ", 1.1), ("BREAK", -1.1), (" c", 1.1)]),
        ("(a 1.2), (b):1.3", [("a 1.2", 1.1), (", ", 1.0), ("b", 1.1), (":1.3", 1.0)]),
        ("(a [b) c] d", [("a ", 1.1), ("b", 1.0), (" c", 0.909), (" d", 1.0)]),
        ("(c:) (d;1.4)", [("c:", 1.1), (" ", 1.0), ("d;1.4", 1.1)]),
        (r"embedding:x\(v2\) embedding:a\b", [(r"embedding:x(v2) embedding:a\b", 1.0)]),
        ("a <lora:ink:0.8>b embedding:x __w__ <c>{d}", [("a b embedding:x  <c>{d}", 1.0)]),
        ("a # why\nb", [("a  \nb", 1.0)]),
        ("a BREAK (b BREAK c:1.2)", [("a ", 1.0), None, (" ", 1.0), ("b ", 1.2), ("BREAK", -1.2), (" c", 1.2)]),
        ("a AND b", [("a ,  b", 1.0)]),
        ("", []),
    ],
)
def test_emphasis(text: str, pieces: list[tuple[str, float] | None]) -> None:
    found = [piece and (piece[0], round(piece[1], 3)) for piece in read_emphasis(text)]
    assert found == pieces


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("(a (b:1.2) (c):1.5)", [("a ", 1.5), ("b", 1.2), (" ", 1.5), ("c", 1.65)]),
        (r"[a|b], \(c\) \[ (open", [(r"[a|b], (c) \[ (open", 1.0)]),
        ("[a (b] c)", [("[a ", 1.0), ("b] c", 1.1)]),
        ("(a)(embedding:x) b", [("a", 1.1), ("embedding:x", 1.1), (" b", 1.0)]),
        ("(a:1.0)b", [("a", 1.0), ("b", 1.0)]),
    ],
)
def test_emphasis_in_comfyui(text: str, pieces: list[tuple[str, float] | None]) -> None:
    found = [piece and (piece[0], round(piece[1], 3)) for piece in read_emphasis(text, comfyui=True)]
    assert found == pieces


def test_a_long_text_is_read_in_linear_time() -> None:
    started = time.process_time()
    assert read_emphasis("a, " * 200_000) == [("a, " * 200_000, 1.0)]
    assert len(read_emphasis("(a " * 50_000)) == 25  # 1.1 to the power 25 is above MAX_WEIGHT
    assert time.process_time() - started < 5


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_input_is_read(text: str) -> None:
    pieces = [piece for piece in read_emphasis(text) if piece]
    assert sum(len(said) for said, _ in pieces) <= 2 * len(plain_unicode(text))
    assert all(said and abs(weight) <= MAX_WEIGHT for said, weight in pieces)
