"""`python -m training evaluate`: which negatives make the best pictures, as a table with intervals and as a page. On
several GPUs: `accelerate launch -m training evaluate ...`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from datasets import Dataset
from tqdm import tqdm

import negopt
from negopt.errors import OptionError
from negopt.generator import Generator
from negopt.preference import read_preference
from training.data.dataset import load_judged, load_split
from training.evaluation.approaches import SEARCH_SEEDS, TERMS, best_fixed, best_for, copied, written
from training.evaluation.kept import KeptGallery
from training.evaluation.kinds import Kinds, by_kind, read_kinds
from training.evaluation.outcome import NONE, Outcome, Table, differences, gains, judge, judge_one, rates, table
from training.evaluation.report import Comparison, OfKind, Report, Shown, write_report
from training.evaluation.search import frequent_terms
from training.machine import machine
from training.processes import join
from training.samplers import Picture
from training.world import METRICS, add_world_arguments, check_for_several, open_world

FIXED, SEARCHED = "best fixed list", "search for each prompt"
WEIGHTS = dict.fromkeys(METRICS, 1.0)
"""What counts how much where one number is wanted, the reward."""
CEILING_SEEDS = 8
"""Pictures for each prompt that was searched for, at least: such prompts are few."""
SHOWN = 8
"""Prompts whose pictures are shown side by side."""
JUDGED = "judged.safetensors"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_world_arguments(parser)
    parser.add_argument("--data", type=Path, required=True, help="a data set folder; its test split is judged")
    parser.add_argument("--models", nargs="*", default=[], metavar="NAME=MODEL", help="models to compare, by name")
    parser.add_argument(
        "--prefer",
        nargs="*",
        default=[],
        metavar="NAME[:METRIC=N,...]",
        help="models to try with all weight on each metric, too, or as told: SFT+RL:aesthetics=1,alignment=2",
    )
    parser.add_argument(
        "--kinds", nargs="*", default=[], metavar="NAME=WORD,WORD", help="prompts with such words are looked at apart"
    )
    parser.add_argument("--out", type=Path, required=True, help="the report's folder")
    parser.add_argument("--prompts", type=int, default=200, help="prompts of the test split (200)")
    parser.add_argument("--seeds", type=int, default=2, help="pictures for each prompt (2)")
    parser.add_argument("--max-terms", type=int, default=12, help="the most terms a model writes (12)")
    parser.add_argument("--list-prompts", type=int, default=32, help="training prompts to find the fixed list on (32)")
    parser.add_argument(
        "--search", type=int, default=0, metavar="N", help="search for the best negative of each of the first N prompts"
    )


def run(args: argparse.Namespace) -> int:
    if args.prompts < 2 or args.seeds < 1 or args.prompts * args.seeds > SEARCH_SEEDS[0]:
        raise OptionError(f"an evaluation has 2 prompts or more and at most {SEARCH_SEEDS[0]} pictures of an approach")
    if min(args.search, args.list_prompts - 1) < 0:
        raise OptionError("--search takes 0 or more prompts, --list-prompts at least 1")
    with join() as crew:
        if crew.size > 1:
            check_for_several(args)
        evaluation = Evaluation.of(args)
        with crew.sharing(evaluation.gallery):
            if not crew.leads:
                return 0
            report = evaluation.report()
    write_report(args.out, report, evaluation.gallery.sampler)
    for comparison in report.comparisons:
        print(f"{comparison.prompts} prompts")
        for name, row in comparison.figures.items():
            print(f"  {name:24}" + "  ".join(f"{figure} {interval}" for figure, interval in row.items()))
    print(args.out / "report.html")
    return 0


class Told(NamedTuple):
    """A model that is told what shall count how much."""

    model: str
    title: str
    preference: Mapping[str, float]


def ways_told(given: str, models: Mapping[str, Generator]) -> list[Told]:
    """What an argument of --prefer asks for; raises `OptionError`."""
    name, _, weights = (given, "", "") if given in models else given.rpartition(":")
    preferences = models[name].preferences if name in models else None
    if preferences is None:
        raise OptionError(f"--prefer {given}: no model of --models by that name that has preferences")
    if not weights:
        return [Told(name, f"{name}, all {metric}", {metric: 1.0}) for metric in preferences.metrics]
    told = read_preference(weights)
    preferences.shares(told)  # refuses what it does not know
    return [Told(name, f"{name}, {', '.join(f'{metric} {told[metric]:g}' for metric in told)}", told)]


@dataclass(frozen=True)
class Evaluation:
    """What is asked for, opened."""

    args: argparse.Namespace
    gallery: KeptGallery
    train: Dataset
    test: Dataset
    models: Mapping[str, Generator]
    told: Sequence[Told]
    kinds: Kinds

    @classmethod
    def of(cls, args: argparse.Namespace) -> Evaluation:
        models, kinds = {}, read_kinds(args.kinds)
        for given in args.models:
            name, _, model = given.partition("=")
            if not model:
                raise OptionError(f"--models takes NAME=MODEL, not {given!r}")
            models[name] = negopt.load(model)
        told = [way for given in args.prefer for way in ways_told(given, models)]
        test, train = load_judged(args.data, args.prompts), load_split(args.data, "train")
        opened = open_world(args).gallery(WEIGHTS, report=True)
        gallery = KeptGallery(opened.sampler, opened.reward, args.out / JUDGED)
        return cls(args, gallery, train, test, models, told, kinds)

    def report(self) -> Report:
        """Everything made, judged and compared."""
        prompts, seeds = list(self.test["prompt"]), self.args.seeds
        approaches = self._approaches(prompts)
        outcomes = judge(self.gallery, prompts, approaches, seeds)
        several = [outcomes]
        if count := min(self.args.search, len(prompts)):
            for outcome in outcomes.values():
                self.gallery.reward.learn({name: rows.flatten(0, 1) for name, rows in outcome.seen.items()})
            found = self._search(prompts[:count], approaches)
            of_some = {**{name: negatives[:count] for name, negatives in approaches.items()}, SEARCHED: found}
            both = {
                name: judge_one(self.gallery, prompts[:count], negatives, max(seeds, CEILING_SEEDS), name)
                for name, negatives in of_some.items()
            }
            several = [outcomes, both]
        self.gallery.save()
        return Report(
            self._facts(approaches[FIXED][0]),
            [self._comparison(of_some) for of_some in several],
            self._shown(prompts, several[-1]),
            {name: list(outcome.negatives) for name, outcome in {**several[-1], **outcomes}.items()},
            prompts,
        )

    def _approaches(self, prompts: Sequence[str]) -> dict[str, Sequence[str]]:
        """Each way's negative for each test prompt."""
        train = self.train
        some = train.select(range(min(self.args.list_prompts, len(train))))
        fixed = best_fixed(self.gallery, some["prompt"], train["negative_prompt"], train["terms"])
        found: dict[str, Sequence[str]] = {
            NONE: [""] * len(prompts),
            FIXED: [fixed] * len(prompts),
            "people": list(self.test["negative_prompt"]),
            "nearest neighbour": copied(train["prompt"], train["negative_prompt"], prompts),
        }
        for name, model in self.models.items():
            found[name] = written(model, prompts, self.args.max_terms)
            for way in self.told:
                if way.model == name:
                    found[way.title] = written(model, prompts, self.args.max_terms, way.preference)
        return found

    def _search(self, prompts: Sequence[str], approaches: Mapping[str, Sequence[str]]) -> list[str]:
        terms = frequent_terms(self.train["terms"], TERMS)
        found = []
        with tqdm(prompts, desc="search", unit="prompt") as bar:
            for row, prompt in enumerate(bar):
                made = self.gallery.made
                known = [negatives[row] for negatives in approaches.values()]
                found.append(best_for(self.gallery, prompt, terms, known))
                bar.set_postfix(pictures=self.gallery.made - made)
        return found

    def _comparison(self, outcomes: Mapping[str, Outcome]) -> Comparison:
        reporters = {
            name: judge.labels for name, judge in self.gallery.reward.judges.items() if hasattr(judge, "labels")
        }
        shares: dict[str, Table] = {name: rates(outcomes, name, labels) for name, labels in reporters.items()}
        prompts = len(outcomes[NONE].negatives)
        kinds = by_kind(self.test["prompt"][:prompts], self.kinds)
        of_kinds = {name: OfKind(len(rows), gains(outcomes, rows)) for name, rows in kinds.items()}
        return Comparison(prompts, table(outcomes), differences(outcomes), of_kinds, shares)

    def _shown(self, prompts: Sequence[str], outcomes: Mapping[str, Outcome]) -> list[list[Shown]]:
        rows = range(min(SHOWN, len(outcomes[NONE].negatives)))
        return [
            [
                Shown(
                    name,
                    Picture(prompts[row], outcome.negatives[row], row * outcome.reward.shape[1]),
                    outcome.reward[row, 0].item(),
                )
                for name, outcome in outcomes.items()
            ]
            for row in rows
        ]

    def _facts(self, fixed: str) -> dict[str, object]:
        return {
            **self.gallery.sampler.description,
            "prompts": len(self.test),
            "pictures for each prompt": self.args.seeds,
            "prompts searched for": min(self.args.search, len(self.test)),
            "pictures made in all": self.gallery.made,
            "best fixed list": fixed,
            "machine": machine(),
        }
