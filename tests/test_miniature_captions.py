"""Captions: true where they describe, silent about most defects, varied; and what people write from them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from training.data.build import BuildOptions, build
from training.data.dataset import load_split
from training.data.split import Caps
from training.miniature.captions import DEFECT_TERMS, LONGEST_LIST, STYLE_NAMES, STYLE_TERMS, TERMS, caption, prompt
from training.miniature.people import pair, write_pairs
from training.miniature.stage import rng_of
from training.miniature.world import DEFECTS, SUBJECTS, Scene, defect_rate, draw_scene

COUNT = 12_000


@pytest.fixture(scope="module")
def captioned() -> list[tuple[Scene, str]]:
    return [(draw_scene(0, i), caption(draw_scene(0, i), rng_of(8, i))) for i in range(COUNT)]


def says(text: str, names: tuple[str, ...]) -> bool:
    parts = text.split(", ")
    return any(name in parts for name in names)


def has_subject(text: str) -> bool:
    return any(subject in text.split(", ")[0].split() for subject in SUBJECTS)


def holds(scene: Scene, term: str) -> bool:
    """Is a term of the world true of the picture?"""
    if term in DEFECT_TERMS:
        return any(term in DEFECTS[name].names for name in scene.defects)
    if term in STYLE_TERMS:
        return term in STYLE_NAMES[scene.style]
    return scene.quality > 7 if term in ("beautiful", "high quality") else scene.quality < 4.5


def test_a_quarter_has_no_subject_and_half_of_those_are_lists(captioned: list[tuple[Scene, str]]) -> None:
    without = [(scene, text) for scene, text in captioned if not has_subject(text)]
    assert len(without) / COUNT == pytest.approx(0.25, abs=0.02)
    untrue = [text for scene, text in without if any(not holds(scene, t) for t in text.split(", ") if t in TERMS)]
    assert 0.35 < len(untrue) / len(without) < 0.55  # a list can be all true by chance


def test_defects_are_mentioned_in_a_third_of_the_pictures_that_have_them(captioned: list[tuple[Scene, str]]) -> None:
    pairs = [(text, name) for scene, text in captioned for name in scene.defects]
    share = sum(says(text, DEFECTS[name].names) for text, name in pairs) / len(pairs)
    assert 0.30 <= share <= 0.40


def test_captions_with_a_subject_are_true(captioned: list[tuple[Scene, str]]) -> None:
    for scene, text in captioned:
        if has_subject(text):
            assert scene.subject in text
            assert all(holds(scene, term) for term in text.split(", ") if term in TERMS)


def test_lists_hold_something_true(captioned: list[tuple[Scene, str]]) -> None:
    lengths = set()
    for scene, text in captioned:
        terms = text.split(", ")
        if not has_subject(text) and all(term in TERMS for term in terms):
            assert any(holds(scene, term) for term in terms)
            assert len(set(terms)) == len(terms)
            lengths.add(len(terms))
    assert max(lengths) == LONGEST_LIST


def test_style_words_keep_varied_company(captioned: list[tuple[Scene, str]]) -> None:
    """Each style's word stands with every subject and every defect term."""
    for names in STYLE_NAMES.values():
        company: Counter[str] = Counter()
        for _, text in captioned:
            if any(name in text for name in names):
                company.update(subject for subject in SUBJECTS if subject in text)
                company.update(term for term in text.split(", ") if term in DEFECT_TERMS)
        assert set(SUBJECTS) <= set(company)
        assert set(DEFECT_TERMS) <= set(company)


def test_prompts_wish_for_no_defect() -> None:
    for index in range(300):
        text = prompt(draw_scene(3, index), rng_of(8, index))
        assert has_subject(text)
        assert not any(term in TERMS and term not in STYLE_TERMS for term in text.split(", "))


def test_people_write_what_suits_the_subject_more_often() -> None:
    pairs = [pair(2, index) for index in range(3000)]
    assert pairs[:50] == [pair(2, index) for index in range(50)]
    written: dict[str, Counter[str]] = {subject: Counter() for subject in SUBJECTS}
    count: Counter[str] = Counter()
    for row in pairs:
        subject = next(word for word in row["prompt"].split(", ")[0].split() if word in SUBJECTS)
        count[subject] += 1
        terms = row["negative_prompt"].split(", ")
        assert 1 <= len(terms) == len(set(terms))
        written[subject].update(name for name in DEFECTS if says(row["negative_prompt"], DEFECTS[name].names))
    for name in DEFECTS:
        likely = max(SUBJECTS, key=lambda subject, name=name: defect_rate(subject, name))  # type: ignore[misc]
        unlikely = min(SUBJECTS, key=lambda subject, name=name: defect_rate(subject, name))  # type: ignore[misc]
        assert written[likely][name] / count[likely] > written[unlikely][name] / count[unlikely] + 0.1
    lists = Counter(row["negative_prompt"] for row in pairs)
    assert np.mean([lists[row["negative_prompt"]] == 1 for row in pairs]) > 0.5  # not a few fixed lists


def test_the_peoples_pairs_make_a_data_set_with_a_test_split(tmp_path: Path) -> None:
    write_pairs(tmp_path / "people.jsonl", seed=2, count=300)
    options = BuildOptions(near=1.0, caps=Caps(negative=0), validation=0.1, test=0.1)
    summary = build([str(tmp_path / "people.jsonl")], tmp_path / "data", options, quiet=True)
    assert sum(summary["rows"].values()) + summary["dropped"]["prompt also in training"] > 290
    rows = load_split(tmp_path / "data", "test")
    assert len(rows) > 15
    assert {term for terms in rows["terms"] for term in terms} <= {term.lower() for term in TERMS}
