"""The vocabulary of terms: frequent terms whole, everything else spelled, nothing lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from negopt.errors import ModelError
from negopt.locate import BUNDLED
from negopt.tokenizer import TermTokenizer
from training.vocabulary import PLANS, VocabularySize, build_vocabulary

PROMPTS = ["a red car, sharp focus", "an old house, sharp focus", "a red house by the sea"] * 4
NEGATIVES = [["bad anatomy", "extra fingers"], ["bad anatomy", "jpeg artifacts"], ["bad house"]] * 4


@pytest.fixture(scope="module")
def tokenizer() -> TermTokenizer:
    return TermTokenizer(build_vocabulary(PROMPTS, NEGATIVES, VocabularySize(parts=60)))


def test_frequent_terms_are_one_token_and_rare_ones_are_spelled(tokenizer: TermTokenizer) -> None:
    whole, spelled, odd = tokenizer.encode_terms(["bad anatomy", "bad car", "extra artifact"])
    assert len(whole) == 1
    assert [tokenizer.pieces[i] for i in spelled] == [",bad", " car"]
    assert "".join(tokenizer.pieces[i] for i in odd) == ",extra artifact"


def test_text_comes_back_from_its_tokens(tokenizer: TermTokenizer) -> None:
    text = "an old car, sharp focus, red sea"
    ids = tokenizer.encode(text)
    assert ids[-1] == 1
    assert tokenizer.text(ids) == text


def test_spaces_commas_and_case_make_no_difference(tokenizer: TermTokenizer) -> None:
    assert tokenizer.encode("  A red car ,, sharp  focus,\n") == tokenizer.encode("a red car, sharp focus")
    assert tokenizer.encode("") == tokenizer.encode(" , ") == [1]


def test_a_long_text_is_cut_and_still_ends(tokenizer: TermTokenizer) -> None:
    ids = tokenizer.encode("a red car, " * 50, max_tokens=8)
    assert len(ids) == 8
    assert ids[-1] == 1


def test_plans_say_how_long_a_list_is(tokenizer: TermTokenizer) -> None:
    assert list(tokenizer.plans) == list(PLANS)
    assert [tokenizer.least(terms) for terms in (0, 1, 3, 4, 18, 19, 99)] == [0, 1, 1, 4, 13, 19, 36]
    assert tokenizer.plan(20) == [tokenizer.plans[19]]
    assert all(tokenizer.pieces[token] == "" for token in tokenizer.plans.values())


def test_the_library_reads_the_file_as_we_do(tokenizer: TermTokenizer, tmp_path: Path) -> None:
    built = build_vocabulary(PROMPTS, NEGATIVES, VocabularySize(parts=60))
    built.save(str(tmp_path / "tokenizer.json"))
    assert TermTokenizer.from_file(tmp_path / "tokenizer.json").pieces == tokenizer.pieces
    assert built.decode(built.encode("bad anatomy, red car").ids) == "bad anatomy, red car"


def test_the_bundled_vocabulary_writes_a_term_in_few_steps() -> None:
    tokenizer = TermTokenizer.from_file(BUNDLED / "tokenizer.json")
    terms = json.loads((BUNDLED / "negopt.json").read_text(encoding="utf-8"))["terms"]
    assert len(terms) > 1000
    assert sum(map(len, tokenizer.encode_terms(terms))) / len(terms) <= 1.1


def test_a_vocabulary_of_word_pieces_is_read_as_the_same_thing(tmp_path: Path) -> None:
    pieces = ["<pad>", "</s>", "<unk>", "▁bad", "▁hand", "s", ",", "▁text", "▁"]
    library = Tokenizer(models.Unigram([(piece, -1.0) for piece in pieces], unk_id=2))
    library.pre_tokenizer = pre_tokenizers.Metaspace()
    library.decoder = decoders.Metaspace()
    tokenizer = TermTokenizer(library)
    assert tokenizer.whole_terms == {}
    assert tokenizer.between == [6]
    assert tokenizer.text([3, 4, 5, 6, 7, 1]) == "bad hands, text"
    assert tokenizer.encode_terms(["bad hands", "text"]) == [[3, 4, 5], [7]]


def test_new_spellings_are_respelled_for_old_libraries(tmp_path: Path) -> None:
    from negopt.tokenizer import _in_old_spelling

    library = Tokenizer(models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")]))
    library.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Metaspace(prepend_scheme="never")])
    old = json.loads(_in_old_spelling(library.to_str()))
    assert old["model"]["merges"] == ["a b"]
    assert old["pre_tokenizer"]["pretokenizers"][0]["add_prefix_space"] is False
    assert Tokenizer.from_str(json.dumps(old)).encode("ab").ids == library.encode("ab").ids == [2]


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"model": {"type": "Unigram", "vocab": 3}}'])
def test_a_damaged_file_is_named(content: str, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(content)
    with pytest.raises(ModelError, match=r"tokenizer\.json"):
        TermTokenizer.from_file(path)
