"""One model for every weighting, measured: what each metric gains as it is asked for more.

OUT/curves.png   for each metric its gain over no negative against its weight, the other metrics sharing the rest
OUT/curves.csv   every metric at every weighting, with intervals
OUT/kept.csv     how much of each specialist's gain the model keeps with all weight on that metric

What the judges saw is kept beside OUT, in OUT.judged.safetensors, so that a call that was killed goes on.
"""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import torch

import negopt
from negopt.errors import OptionError
from negopt.generator import Generator
from training.atomic import replace_folder
from training.data.dataset import load_judged
from training.evaluation.approaches import written
from training.evaluation.intervals import RESAMPLES, Interval, mean_interval
from training.evaluation.kept import KeptGallery
from training.evaluation.outcome import pictures_of
from training.rl.gallery import Gallery
from training.world import add_world_arguments, open_world

matplotlib.use("agg")
from matplotlib import pyplot
from matplotlib.axes import Axes

FIRST_NOISE = 1_000_000
"""The table of `evaluate` has others: what holds on both is no luck of one's noises."""
NO_PREFERENCES = "this model was not trained for preferences (python -m training rl --prefer-any does that)"

Scores = Mapping[str, torch.Tensor]
"""Each judge's scores [P, S] of S pictures for each of P prompts, in its own units."""


@dataclass(frozen=True)
class Curves:
    """A model with preferences under many weightings; all pictures of a prompt and seed began in the same noise."""

    asked: Mapping[str, Mapping[float, Scores]]
    """For each metric and each weight that it was given, the others sharing the rest, what the pictures scored."""
    none: Scores
    """Without a negative prompt."""
    before: Scores | None
    """Of the model before it learned from pictures."""
    specialists: Mapping[str, Scores]
    """Of the models that learned one metric alone, by that metric."""

    def gain(self, scores: Scores, metric: str) -> Interval:
        """How much more than without a negative: the mean over the pictures."""
        return mean_interval(scores[metric] - self.none[metric])

    def kept(self, metric: str) -> Interval:
        """With all weight on `metric`: its gain since `before`, as a share of what its specialist gained."""
        assert self.before is not None
        model = (self.asked[metric][1.0][metric] - self.before[metric]).double().mean(1)
        specialist = (self.specialists[metric][metric] - self.before[metric]).double().mean(1)
        return _ratio(model, specialist)


def preference_curves(
    gallery: Gallery,
    generator: Generator,
    prompts: Sequence[str],
    seeds: int,
    *,
    before: Sequence[str] | None = None,
    specialists: Mapping[str, Sequence[str]] | None = None,
    max_terms: int = 12,
) -> Curves:
    """Have `generator`'s negatives painted and judged, `seeds` pictures for each prompt, at weights from 0 to 1 of each
    of its metrics.

    `before` and each of the `specialists` give a negative for each prompt. Raises `OptionError` where the model has
    no preferences, or knows a metric that no judge does.
    """
    _check(generator, gallery, specialists or {})

    def observe(negatives: Sequence[str], title: str) -> dict[str, torch.Tensor]:
        return gallery.observe(pictures_of(prompts, negatives, seeds, FIRST_NOISE), title)

    none = observe([""] * len(prompts), "no negative")
    gallery.reward.warm_up(none)

    def score(negatives: Sequence[str], title: str) -> Scores:
        judged = gallery.reward.alone(observe(negatives, title))
        return {name: part.view(len(prompts), seeds) for name, part in judged.parts.items()}

    asked = {
        metric: {
            weight: score(
                written(generator, prompts, max_terms, weighting(generator.metrics, metric, weight)),
                f"{metric} {weight:.2f}",
            )
            for weight in weights_of(generator.metrics)
        }
        for metric in generator.metrics
    }
    return Curves(
        asked,
        score([""] * len(prompts), "no negative"),
        None if before is None else score(before, "before"),
        {metric: score(negatives, f"specialist {metric}") for metric, negatives in (specialists or {}).items()},
    )


def weights_of(metrics: Sequence[str]) -> list[float]:
    """The weights at which curves are drawn: thirds, and where all metrics count alike."""
    return sorted({0.0, 1 / 3, 1 / len(metrics), 2 / 3, 1.0})


def weighting(metrics: Sequence[str], metric: str, weight: float) -> dict[str, float]:
    """`weight` (0 to 1) on `metric`, the rest shared by the others."""
    rest = (1 - weight) / max(1, len(metrics) - 1)
    return {name: weight if name == metric else rest for name in metrics}


def _check(generator: Generator, gallery: Gallery, specialists: Mapping[str, Sequence[str]]) -> None:
    if not generator.metrics:
        raise OptionError(NO_PREFERENCES)
    for name in (*generator.metrics, *specialists):
        if name not in gallery.reward.judges:
            raise OptionError(f"no judge is called {name!r}; there are: {', '.join(gallery.reward.judges)}")
    for name in specialists:
        if name not in generator.metrics:
            raise OptionError(f"this model has no preference for {name!r}; it has: {', '.join(generator.metrics)}")


def _ratio(model: torch.Tensor, specialist: torch.Tensor) -> Interval:
    """Of the means of gains [P] each. By plain percentiles, which a resample without any gain does not upset."""
    picks = torch.randint(len(model), (RESAMPLES, len(model)), generator=torch.Generator().manual_seed(0))
    found = model[picks].mean(1) / specialist[picks].mean(1)
    low, high = found.quantile(torch.tensor([0.025, 0.975], dtype=found.dtype)).tolist()
    return Interval((model.mean() / specialist.mean()).item(), low, high)


def write_curves(folder: Path, curves: Curves) -> None:
    """Write `folder` anew."""
    with replace_folder(folder) as fresh:
        (fresh / "curves.png").write_bytes(plot(curves))
        rows: list[list[object]] = [
            [
                asked,
                f"{weight:.4g}",
                judged,
                *map(_number, (scores[judged].mean().item(), *curves.gain(scores, judged))),
            ]
            for asked, of_weight in curves.asked.items()
            for weight, scores in of_weight.items()
            for judged in scores
        ]
        _write_csv(fresh / "curves.csv", ["asked for", "weight", "metric", "mean", "gain", "low", "high"], rows)
        if curves.before is not None and curves.specialists:
            kept = [[metric, *map(_number, curves.kept(metric))] for metric in curves.specialists]
            _write_csv(fresh / "kept.csv", ["metric", "kept", "low", "high"], kept)


def _write_csv(path: Path, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([head, *rows])


def _number(value: float) -> str:
    return f"{value:.6g}"


def plot(curves: Curves) -> bytes:
    """PNG: a panel for each metric, its gain over no negative against its weight."""
    figure, panels = pyplot.subplots(1, len(curves.asked), figsize=(3.6 * len(curves.asked), 3.2), squeeze=False)
    for panel, (metric, of_weight) in zip(panels[0], curves.asked.items(), strict=True):
        gains = [curves.gain(scores, metric) for scores in of_weight.values()]
        panel.plot(list(of_weight), [gain.value for gain in gains], "o-", color="#35689f", label="one model")
        panel.fill_between(
            list(of_weight), [g.low for g in gains], [g.high for g in gains], color="#35689f", alpha=0.2, linewidth=0
        )
        panel.axhline(0, color="#777", linewidth=1, label="no negative")
        if curves.before is not None:
            _line(panel, curves.gain(curves.before, metric), "before", "#b0893c")
        if metric in curves.specialists:
            _line(panel, curves.gain(curves.specialists[metric], metric), "specialist", "#a33d3d")
        panel.set_title(metric, fontsize=10)
        panel.set_xlabel(f"weight of {metric}", fontsize=9)
        panel.tick_params(labelsize=8)
        panel.grid(alpha=0.3)
    panels[0][0].set_ylabel("gain over no negative", fontsize=9)
    panels[0][0].legend(fontsize=8)
    figure.tight_layout()
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=120)
    pyplot.close(figure)
    return buffer.getvalue()


def _line(panel: Axes, gain: Interval, label: str, color: str) -> None:
    panel.axhline(gain.value, color=color, linestyle="--", linewidth=1.2, label=label)
    panel.axhspan(gain.low, gain.high, color=color, alpha=0.08, linewidth=0)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_world_arguments(parser)
    parser.add_argument("--data", type=Path, required=True, help="a data set folder; prompts are of its test split")
    parser.add_argument("--model", required=True, help="a model that was trained with --prefer-any")
    parser.add_argument("--before", metavar="MODEL", help="the model that all of them were trained from")
    parser.add_argument(
        "--specialists", nargs="*", default=[], metavar="METRIC=MODEL", help="models trained on one metric alone"
    )
    parser.add_argument("--out", type=Path, required=True, help="the folder for curves.png, curves.csv and kept.csv")
    parser.add_argument("--prompts", type=int, default=200, help="prompts of the test split (200)")
    parser.add_argument("--seeds", type=int, default=2, help="pictures for each prompt and weighting (2)")
    parser.add_argument("--max-terms", type=int, default=12, help="the most terms a model writes (12)")


def run(args: argparse.Namespace) -> int:
    if args.prompts < 2 or args.seeds < 1:
        raise OptionError("curves need at least two prompts and one seed")
    generator = negopt.load(args.model)
    if not generator.metrics:
        raise OptionError(NO_PREFERENCES)
    opened = open_world(args, generator.metrics).gallery(dict.fromkeys(generator.metrics, 1.0))
    gallery = KeptGallery(opened.sampler, opened.reward, args.out.with_name(f"{args.out.name}.judged.safetensors"))
    prompts = list(load_judged(args.data, args.prompts)["prompt"])
    models = {}
    for given in args.specialists:
        metric, _, model = given.partition("=")
        if not model:
            raise OptionError(f"--specialists takes METRIC=MODEL, not {given!r}")
        models[metric] = negopt.load(model)
    curves = preference_curves(
        gallery,
        generator,
        prompts,
        args.seeds,
        before=written(negopt.load(args.before), prompts, args.max_terms) if args.before else None,
        specialists={metric: written(model, prompts, args.max_terms) for metric, model in models.items()},
        max_terms=args.max_terms,
    )
    gallery.save()
    write_curves(args.out, curves)
    for metric, of_weight in curves.asked.items():
        gains = "  ".join(f"{weight:.2f}: {curves.gain(scores, metric)}" for weight, scores in of_weight.items())
        kept = f"  kept of the specialist's gain: {curves.kept(metric)}" if args.before and metric in models else ""
        print(f"{metric:12} gain at weight {gains}{kept}")
    print(args.out / "curves.png")
    return 0
