"""Judge a generator by its texts: how near does it come to what people wrote, and what must it beat?

    python -m training evaluate-text --data DIR [--model MODEL] [--split validation] [--json FILE]

prints one table: term F1 (with precision, recall and standard error) and likelihood of the model, the
best fixed negative of any length, and the nearest neighbour's negative, on all rows of the split and on
its strict part, whose negatives no training row has. Pictures are judged elsewhere.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

import negopt
from negopt.generator import MAX_PROMPT_TOKENS, Generator
from training.atomic import write_text
from training.baselines import best_fixed_list, nearest_neighbour
from training.data.dataset import load_split
from training.examples import IGNORED, Schedule, count_terms, encode_rows, set_loss
from training.scoring import F1Score, score

Row = dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="a data set folder from `data build`")
    parser.add_argument("--model", help="folder, name or Hub id of the model (default: the bundled one)")
    parser.add_argument("--split", choices=["validation", "test"], default="validation")
    parser.add_argument("--limit", type=int, help="judge on the first N rows only")
    parser.add_argument("--examples", type=int, default=0, help="also print this many prompts with answers")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")


def run(args: argparse.Namespace) -> int:
    train, judged = load_split(args.data, "train"), load_split(args.data, args.split)
    rows = judged.select(range(min(args.limit or len(judged), len(judged)))).to_list()
    generator = negopt.load(args.model)
    written = write_all(generator, rows)
    parts = {"all": rows, "strict": [row for row in rows if row.get("strict")]}
    report: dict[str, Any] = {"model": args.model or "bundled", "split": args.split, "parts": {}}
    for name, part in parts.items():
        if part:
            chosen = [terms for terms, row in zip(written, rows, strict=True) if name == "all" or row["strict"]]
            report["parts"][name] = judge(train, part, chosen)
            report["parts"][name]["model"]["nats_per_term"] = nats_per_term(generator, part)
    _print(report)
    for row, terms in list(zip(rows, written, strict=True))[: args.examples]:
        print(f"\n> {row['prompt']}\n  person: {', '.join(row['terms'])}\n  model:  {', '.join(terms)}")
    if args.json:
        write_text(args.json, json.dumps(report, indent=1) + "\n")
    return 0


def write_all(generator: Generator, rows: Sequence[Row]) -> list[list[str]]:
    """The model's own terms for each row's prompt, at the default options."""
    prompts = [row["prompt"] for row in rows]
    answers = tqdm(generator.stream(prompts), total=len(rows), unit="prompt", disable=None)
    return [[term.text for term in answer.terms if term.origin == "model"] for answer in answers]


def nats_per_term(generator: Generator, rows: Sequence[Row]) -> float:
    """What the network needs to write people's lists, on average for a term, the end counted as one.

    Terms come in the order that the model was trained for (negopt.json says it): figures of models with
    different orders do not compare.
    """
    tokenizer = generator.tokenizer
    examples = encode_rows(tokenizer, rows, max_prompt_tokens=MAX_PROMPT_TOKENS, max_terms=60)
    order = generator.settings.order
    schedule = Schedule(
        examples, 32, seed=0, order=order, embedding_rate=0.0, between=tokenizer.between, plan=tokenizer.plan,
        prompt_dropout=0.0, drop_last=False,
    )  # fmt: skip
    nats, terms = 0.0, 0
    for positions in schedule.epoch(0):
        drawn = schedule.draw(0, positions)
        batch = schedule.collate(drawn)
        known = generator.preferences  # where it has any, all metrics count alike
        shift = known.shifts([known.shares()] * len(batch.input_ids)) if known else None
        logits = generator.network.logits(
            batch.input_ids, batch.attention_mask.bool(), batch.decoder_input_ids, shift=shift
        )
        there = batch.targets[..., 0] != IGNORED
        nats += set_loss(logits[there], batch.targets[there]).item()
        terms += sum(map(count_terms, drawn))
    return nats / terms


def judge(train: Any, rows: Sequence[Row], written: Sequence[Sequence[str]]) -> dict[str, dict[str, float]]:
    """Scores of the model and of both baselines on the same rows."""
    references = [row["terms"] for row in rows]
    fixed = best_fixed_list(train["terms"], references)
    copied = nearest_neighbour(train["text"], train["terms"], [row["text"] for row in rows])
    lists = {
        "model": written,
        "best fixed list": [fixed] * len(rows),
        "nearest neighbour": copied,
    }
    return {name: _figures(score(texts, references), texts) for name, texts in lists.items()}


def _figures(result: F1Score, texts: Sequence[Sequence[str]]) -> dict[str, float]:
    return {
        "f1": result.f1,
        "error": result.error,
        "precision": result.precision,
        "recall": result.recall,
        "terms": sum(map(len, texts)) / len(texts),
        "different": len({tuple(text) for text in texts}) / len(texts),
        "pairs": result.pairs,
    }


def _print(report: dict[str, Any]) -> None:
    for name, part in report["parts"].items():
        pairs = next(iter(part.values()))["pairs"]
        print(f"\n{report['split']}, {name}: {pairs} pairs, model {report['model']}\n")
        print("| negative | term F1 | precision | recall | terms | different | nats a term |\n" + "|---" * 7 + "|")
        for who, f in part.items():
            nats = f"{f['nats_per_term']:.3f}" if "nats_per_term" in f else ""
            print(
                f"| {who} | {f['f1']:.3f} ± {f['error']:.3f} | {f['precision']:.3f} | {f['recall']:.3f} "
                f"| {f['terms']:.1f} | {f['different']:.0%} | {nats} |"
            )
