"""The evaluation as people look at it: one HTML page with tables, plots and pictures, and the figures for programs.

OUT/report.html   stands alone: pictures and plots are inside
OUT/table.csv     every figure with its interval; OUT/ceiling.csv where fewer prompts were searched for, on those
OUT/gains.csv     what each approach gains over no negative, picture by picture, by the kind of prompt
OUT/report.json   the same, all differences, and the negative prompts
OUT/plot.png, OUT/pictures.png
"""

from __future__ import annotations

import base64
import csv
import html
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import torch

from training.atomic import write_bytes, write_text
from training.evaluation.intervals import Interval
from training.evaluation.outcome import LESS_IS_BETTER, NONE, Table
from training.samplers import Picture, Sampler
from training.sheet import MARK, Cell, enlarged, png, sheet

matplotlib.use("agg")
from matplotlib import pyplot

TITLE = "Negative prompts, judged by their pictures"
PANELS = 4
"""Plots side by side."""
ROW = 1150
"""Pixels that the pictures of one prompt take together at most, where they do not get too small for it."""


class Shown(NamedTuple):
    """A picture to look at."""

    approach: str
    picture: Picture
    reward: float


class OfKind(NamedTuple):
    """Some of the prompts, and what each approach gains there over no negative."""

    prompts: int
    gains: Table


@dataclass(frozen=True)
class Comparison:
    """Approaches on the same prompts and the same initial noise."""

    prompts: int
    figures: Table
    differences: Table
    """Reward of an approach less that of another, where it has one."""
    kinds: Mapping[str, OfKind]
    """All prompts, and then by their kinds, if there are any."""
    rates: Mapping[str, Table]
    """For each judge that only reports: in how many of the pictures it sees what."""


@dataclass(frozen=True)
class Report:
    """All that is written."""

    facts: Mapping[str, Any]
    comparisons: Sequence[Comparison]
    """Of all prompts; then, where the search was made for fewer, of those."""
    shown: Sequence[Sequence[Shown]]
    """For each prompt to be looked at, its picture in each approach."""
    negatives: Mapping[str, Sequence[str]]
    """Each approach's negative for each of the prompts, or the first of them."""
    prompts: Sequence[str]


def write_report(folder: Path, report: Report, sampler: Sampler) -> None:
    """Write the files into `folder`, each whole or not at all."""
    images = [sampler.sample([shown.picture for shown in row]) for row in report.shown]
    plots = [_plot(comparison.figures) for comparison in report.comparisons]
    folder.mkdir(parents=True, exist_ok=True)
    for name, comparison in zip(("table.csv", "ceiling.csv"), report.comparisons, strict=False):
        write_text(folder / name, _csv(comparison.figures))
    write_text(folder / "gains.csv", _gains_csv(report.comparisons[0].kinds))
    write_text(folder / "report.json", json.dumps(_plain(report), indent=1, ensure_ascii=False) + "\n")
    write_bytes(folder / "plot.png", plots[0])
    write_bytes(folder / "pictures.png", png(sheet(*_sheet(report.shown, images))))
    write_text(folder / "report.html", _page(report, plots, images))


def _csv(table: Table) -> str:
    return _written(["approach", "figure"], _lines(table))


def _gains_csv(kinds: Mapping[str, OfKind]) -> str:
    lines = [[kind, *line] for kind, of_kind in kinds.items() for line in _lines(of_kind.gains)]
    return _written(["kind", "approach", "figure"], lines)


def _lines(table: Table) -> list[list[str]]:
    return [
        [approach, name, *(f"{value:.6g}" for value in interval)]
        for approach, figures in table.items()
        for name, interval in figures.items()
    ]


def _written(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """As CSV; each line ends with an interval."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerows([[*head, "value", "low", "high"], *lines])
    return buffer.getvalue()


def _plain(report: Report) -> dict[str, Any]:
    """As JSON has it."""

    def plain(table: Table) -> dict[str, Any]:
        return {a: {name: interval._asdict() for name, interval in row.items()} for a, row in table.items()}

    return {
        "facts": dict(report.facts),
        "comparisons": [
            {
                "prompts": comparison.prompts,
                "figures": plain(comparison.figures),
                "differences": plain(comparison.differences),
                "kinds": {
                    name: {"prompts": of_kind.prompts, "gains": plain(of_kind.gains)}
                    for name, of_kind in comparison.kinds.items()
                },
                "rates": {name: plain(table) for name, table in comparison.rates.items()},
            }
            for comparison in report.comparisons
        ],
        "prompts": list(report.prompts),
        "negatives": {name: list(negatives) for name, negatives in report.negatives.items()},
    }


def best(table: Table, figure: str) -> str:
    """The approach with the best value of a figure."""
    sign = -1 if figure in LESS_IS_BETTER else 1
    return max(table, key=lambda approach: sign * table[approach][figure].value)


def _plot(table: Table) -> bytes:
    """PNG: one panel a figure, one line an approach; the dotted line is without a negative."""
    names, approaches = list(next(iter(table.values()))), list(table)
    columns = min(PANELS, len(names))
    rows = -(-len(names) // columns)
    figure, panels = pyplot.subplots(
        rows, columns, figsize=(3.1 * columns + 1, rows * (0.9 + 0.28 * len(approaches))), sharey=True, squeeze=False
    )
    for panel in panels.flat[len(names) :]:
        panel.set_axis_off()
    for panel, name in zip(panels.flat, names, strict=False):
        winner = best(table, name)
        for row, approach in enumerate(approaches):
            value, low, high = table[approach][name]
            error = [[max(0.0, value - low)], [max(0.0, high - value)]]
            color = MARK if approach == winner else "#35689f"
            panel.errorbar(value, row, xerr=error, fmt="o", markersize=5, capsize=3, color=color)
        if NONE in table:
            panel.axvline(table[NONE][name].value, color="#999999", linestyle=":", linewidth=1)
        panel.set_title(f"{name}{'  (less is better)' if name in LESS_IS_BETTER else ''}", fontsize=10)
        panel.tick_params(labelsize=9)
        panel.set_yticks(range(len(approaches)), approaches)
        panel.set_ylim(len(approaches) - 0.5, -0.5)
        panel.grid(axis="x", alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=150)
    pyplot.close(figure)
    return buffer.getvalue()


def _sheet(
    shown: Sequence[Sequence[Shown]], images: Sequence[torch.Tensor]
) -> tuple[list[str], list[tuple[str, list[Cell]]]]:
    """Headings and rows of a sheet with all pictures, a row for each prompt."""
    rows = []
    for of_prompt, made in zip(shown, images, strict=True):
        most = max(one.reward for one in of_prompt)
        cells = [
            Cell(image, one.picture.negative_prompt, one.reward == most)
            for one, image in zip(of_prompt, made, strict=True)
        ]
        rows.append((of_prompt[0].picture.prompt, cells))
    return [one.approach for one in shown[0]], rows


STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
h1 { line-height: 1.2 } h2 { margin-top: 2.5rem } h3 { margin: 1.5rem 0 .3rem; font-size: 1rem }
p { max-width: 50rem; margin: .5rem 0 } .wide { overflow-x: auto; margin: 1rem 0 }
dl { display: grid; grid-template-columns: max-content auto; gap: .1rem 1.2rem; font-size: .9rem; margin: 1rem 0 }
dt { color: #666 } dd { margin: 0 }
table { border-collapse: collapse; font-size: .9rem }
th, td { padding: .35rem .7rem; border-bottom: 1px solid #e2e2e2; text-align: left; vertical-align: top }
th { font-weight: 600; vertical-align: bottom }
td.figure { white-space: nowrap; font-variant-numeric: tabular-nums }
tr > :first-child { position: sticky; left: 0; background: #fff; white-space: nowrap; padding-left: 0 }
small { color: #666; font-weight: 400 } td.figure small, th small { display: block }
.best, .better { background: #e3f2e8 } .best { font-weight: 700 } .worse { background: #f9e6e4 }
img.plot { max-width: 100% }
.pictures td, .pictures th { border: 0; padding: 0 .6rem .9rem 4px }
.pictures td { width: 1px; font-size: .8rem; color: #555 } .pictures th { padding-bottom: .2rem }
.pictures tr > :first-child { position: static; white-space: normal; padding-left: 4px }
.pictures th.prompt { padding-top: .8rem; font-size: 1rem }
.pictures img { display: block; margin: 3px 0 .4rem }
.pictures img.small { image-rendering: pixelated } .pictures img.best { outline: 3px solid #2e7d4f }
td.none { color: #aaa }
"""


def _page(report: Report, plots: Sequence[bytes], images: Sequence[torch.Tensor]) -> str:
    facts = "".join(f"<dt>{html.escape(str(k))}</dt><dd>{html.escape(str(v))}</dd>" for k, v in report.facts.items())
    parts = [f"<h1>{TITLE}</h1><dl>{facts}</dl>"]
    for comparison, plot in zip(report.comparisons, plots, strict=True):
        parts.append(_comparison(comparison, plot, len(report.comparisons) > 1))
    parts.append(
        f"<h2>Side by side</h2><p>The first {len(report.shown)} prompts of the test split, not chosen. Each row began "
        "in the same noise; the frame marks the picture with the highest reward.</p>"
        f"{_pictures(report.shown, images)}"
    )
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{TITLE}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{STYLE}</style>\n" + "\n".join(parts) + "\n</html>\n"
    )


def _comparison(comparison: Comparison, plot: bytes, several: bool) -> str:
    which = f", {comparison.prompts} prompts" if several else ""
    parts = [
        f"<h2>What it does to the pictures{which}</h2>",
        "<p>The best of each column is marked. In small: where the figure lies in 95 of 100 resamples of the prompts. "
        "Reward is the sum of aesthetics, alignment and fidelity, each in standard deviations of the pictures without "
        "a negative prompt. All approaches began in the same noise.</p>",
        _figures(comparison.figures),
        f'<img class="plot" src="{_inline(plot)}" alt="Each figure with its interval">',
        "<h3>Reward of the row's approach less that of the column's</h3>",
        "<p>Picture by picture, so surer than the rewards above. Green: the row is better in at least 95 of 100 "
        "resamples; red: it is worse.</p>",
        _differences(comparison.differences),
        "<h3>Gain over no negative</h3>",
        "<p>Picture by picture, in each judge's own units; green and red as above.</p>",
        _gains(comparison.kinds),
    ]
    for name, table in comparison.rates.items():
        parts.append(
            f"<h3>Share of pictures, by {html.escape(name)}</h3><p>Detected by a classifier that only "
            "reports; nothing learned from it.</p>" + _rates(table)
        )
    return "\n".join(parts)


def _figures(table: Table) -> str:
    names = list(next(iter(table.values())))
    head = list(map(_heading, names))
    winners = {name: best(table, name) for name in names}
    rows = {
        approach: [_figure(figures[name], "best" if winners[name] == approach else "") for name in names]
        for approach, figures in table.items()
    }
    return _table(head, rows)


def _differences(table: Table) -> str:
    rows = {}
    for name, others in table.items():
        cells = []
        for other in table:
            found = others.get(other)
            cells.append('<td class="none">–</td>' if found is None else _figure(found, verdict(found), "+.2f"))
        rows[name] = cells
    return _table([html.escape(name) for name in table], rows)


def _gains(kinds: Mapping[str, OfKind]) -> str:
    """All figures on all prompts; behind them the reward by kind, if there are kinds."""
    (_, everything), *others = kinds.items()
    names = list(next(iter(everything.gains.values())))
    head = list(map(_heading, names))
    head += [f"reward: {html.escape(kind)}<small>{of_kind.prompts} prompts</small>" for kind, of_kind in others]
    rows = {
        approach: [
            *(_figure(gains[name], verdict(gains[name], name), "+.3f") for name in names),
            *(_figure(one, verdict(one), "+.3f") for one in (kind.gains[approach]["reward"] for _, kind in others)),
        ]
        for approach, gains in everything.gains.items()
    }
    return _table(head, rows)


def _heading(figure: str) -> str:
    return f"{html.escape(figure)}{'<small>less is better</small>' if figure in LESS_IS_BETTER else ''}"


def verdict(found: Interval, figure: str = "reward") -> str:
    """The class of a difference's cell: whether it is surely for the better, or for the worse."""
    if found.low <= 0 <= found.high:
        return ""
    return "better" if (found.low > 0) != (figure in LESS_IS_BETTER) else "worse"


def _rates(table: Table) -> str:
    labels = [label for label in next(iter(table.values())) if any(row[label].value for row in table.values())]
    rows = {name: [_rate(row[label].value) for label in labels] for name, row in table.items()}
    return _table([html.escape(label) for label in labels], rows)


def _rate(value: float) -> str:
    """The darker the more."""
    return f'<td class="figure" style="background: rgb(200 90 70 / {0.8 * value:.2f})">{100 * value:.0f}%</td>'


def _figure(found: Interval, kind: str, form: str = ".3f") -> str:
    bounds = f"{found.low:{form}} to {found.high:{form}}"
    return f'<td class="figure {kind}">{found.value:{form}}<small>{bounds}</small></td>'


def _table(head: Sequence[str], rows: Mapping[str, Sequence[str]]) -> str:
    """`head` and the cells are HTML, the names of the rows are text."""
    heading = "".join(f"<th>{text}</th>" for text in ["", *head])
    body = "".join(f"<tr><td>{html.escape(name)}</td>{''.join(cells)}</tr>\n" for name, cells in rows.items())
    return f'<div class="wide"><table><tr>{heading}</tr>\n{body}</table></div>'


def _pictures(shown: Sequence[Sequence[Shown]], images: Sequence[torch.Tensor]) -> str:
    rows = ""
    for of_prompt, made in zip(shown, images, strict=True):
        most = max(one.reward for one in of_prompt)
        pairs = zip(of_prompt, made, strict=True)
        cells = "".join(_picture(one, image, one.reward == most, len(of_prompt)) for one, image in pairs)
        prompt = html.escape(of_prompt[0].picture.prompt)
        rows += f'<tr><th class="prompt" colspan="{len(of_prompt)}">{prompt}</th></tr>\n<tr>{cells}</tr>\n'
    head = "".join(f"<th>{html.escape(one.approach)}</th>" for one in shown[0])
    return f'<div class="wide"><table class="pictures"><tr>{head}</tr>\n{rows}</table></div>'


def _picture(shown: Shown, image: torch.Tensor, marked: bool, columns: int) -> str:
    """One picture with its negative prompt, at three quarters of the size where there are many columns."""
    picture = enlarged(image)
    wide = picture.width if columns * (picture.width + 14) <= ROW else 3 * picture.width // 4
    kind = ("small " if image.shape[2] < picture.width else "") + ("best" if marked else "")
    size = f'width="{wide}" height="{wide * picture.height // picture.width}"'
    words = html.escape(shown.picture.negative_prompt)
    return f'<td><img class="{kind}" {size} src="{_inline(png(picture))}" alt="">{words}</td>'


def _inline(content: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(content).decode()
