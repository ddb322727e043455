"""Requests and answers as JSON: what is right goes through, what is wrong is said in one line."""

from __future__ import annotations

import json
from typing import Any

import pytest

import negopt
from negopt.wire import LONGEST_BODY, describe, read_request


def test_a_request_is_read_with_its_options() -> None:
    request = read_request(b'{"prompt": "a knight", "model": "", "max_terms": 3, "keep": "blurry"}')
    assert (request.prompt, request.model) == ("a knight", None)
    assert (request.options.max_terms, request.options.keep) == (3, "blurry")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "not JSON"),
        (b"[" * 60000, "not JSON"),
        (b'"text"', "object"),
        (b'{"prompt": 3}', "prompt"),
        (b"{}", "prompt"),
        (b'{"prompt": "a", "model": ["x"]}', "model"),
        (b'{"prompt": "a", "max_terms": 1000}', "max_terms must be a whole number from 0 to 100"),
        (b'{"prompt": "a", "colour": 1}', "unknown option 'colour'"),
        (b"\xff\xfe", "not JSON"),
        (b'{"prompt": "a", "seed": 1' + b"0" * 400 + b"}", "seed must be a whole number"),
        (json.dumps({"prompt": "a" * LONGEST_BODY}).encode(), "longer"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(body: bytes, message: str) -> None:
    with pytest.raises(negopt.OptionError, match=message) as error:
        read_request(body)
    assert "\n" not in str(error.value)


def test_half_an_emoji_can_be_answered(generator: negopt.Generator) -> None:
    request = read_request(b'{"prompt": "a \\ud83d cat", "keep": "ugly \\ude00"}')
    answer = generator.generate(request.prompt, keep=request.options.keep)
    assert "ugly ?" in json.dumps(describe(request.prompt, answer), ensure_ascii=False).encode().decode()


def test_an_answer_is_described_whole(generator: negopt.Generator) -> None:
    answer = generator.generate("a knight, no text", keep="(blurry:1.2)", max_terms=4, n=2)
    record: dict[str, Any] = json.loads(json.dumps(describe("a knight, no text", answer)))
    assert record["negative_prompt"] == answer.text
    assert [term["origin"] for term in record["terms"]] == ["keep", "prompt", "model", "model", "model"]
    assert record["terms"][0]["weight"] == 1.2
    assert [other["text"] for other in record["alternatives"]] == [other.text for other in answer.alternatives]
