"""The evaluation as people look at it: one HTML page with table, plot and pictures, and the figures as CSV.

OUT/report.html   stands alone: pictures and plot are inside
OUT/table.csv     every figure with its interval
OUT/plot.png, OUT/pictures.png
"""

from __future__ import annotations

import base64
import csv
import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import torch
from PIL import Image

from training.atomic import replace_folder
from training.evaluation.intervals import Interval
from training.samplers import Picture, Sampler

matplotlib.use("agg")
from matplotlib import pyplot

Table = Mapping[str, Mapping[str, Interval]]

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #222 }}
table {{ border-collapse: collapse; margin: 1rem 0; font-size: 14px }}
th, td {{ padding: .3rem .6rem; border-bottom: 1px solid #ddd; text-align: left; vertical-align: top }}
td.figure {{ white-space: nowrap; font-variant-numeric: tabular-nums }}
td.best {{ font-weight: 600 }} small {{ color: #777; display: block }}
img {{ max-width: 100% }} td img {{ width: 128px; height: 128px; image-rendering: pixelated; display: block }}
</style>
<h1>{title}</h1><p>{facts}</p>
<h2>What it does to the pictures</h2>{table}
<p>In small: where the figure lies in 95 of 100 resamples of the prompts. All approaches began in the same noise.</p>
<img src="{plot}" alt="Each figure with its interval">
<h2>Side by side</h2>{pictures}
</html>
"""


def write_report(
    folder: Path,
    title: str,
    facts: Mapping[str, Any],
    table: Table,
    shown: Sequence[Sequence[Picture]],
    sampler: Sampler,
) -> None:
    """Write `folder` anew. `shown`: for each prompt to be looked at, its picture in each approach of the table."""
    images = [sampler.sample(list(row)) for row in shown]
    with replace_folder(folder) as fresh:
        _write_csv(fresh / "table.csv", table)
        plot = _plot(table)
        (fresh / "plot.png").write_bytes(plot)
        (fresh / "pictures.png").write_bytes(_png(_sheet(images)))
        page = PAGE.format(
            title=html.escape(title),
            facts=html.escape(", ".join(f"{name}: {value}" for name, value in facts.items())),
            table=_table(table),
            plot=_inline(plot),
            pictures=_pictures(list(table), shown, images),
        )
        (fresh / "report.html").write_text(page, encoding="utf-8")


def _write_csv(path: Path, table: Table) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["approach", "figure", "value", "low", "high"])
        for approach, figures in table.items():
            for name, interval in figures.items():
                writer.writerow([approach, name, *(f"{value:.6g}" for value in interval)])


def _table(table: Table) -> str:
    names = list(next(iter(table.values())))
    best = {name: max(figures[name].value for figures in table.values()) for name in names}
    head = "".join(f"<th>{html.escape(name)}</th>" for name in ["", *names])
    rows = ""
    for approach, figures in table.items():
        cells = ""
        for name in names:
            found = figures[name]
            kind = "figure best" if found.value == best[name] else "figure"
            cells += f'<td class="{kind}">{found.value:.3f}<small>{found.low:.3f} to {found.high:.3f}</small></td>'
        rows += f"<tr><td>{html.escape(approach)}</td>{cells}</tr>"
    return f"<table><tr>{head}</tr>{rows}</table>"


def _plot(table: Table) -> bytes:
    """PNG: one panel a figure, one bar an approach."""
    names, approaches = list(next(iter(table.values()))), list(table)
    figure, panels = pyplot.subplots(
        1, len(names), figsize=(2.6 * len(names), 0.5 + 0.4 * len(approaches)), sharey=True
    )
    for panel, name in zip(panels, names, strict=True):
        found = [table[approach][name] for approach in approaches]
        values = [one.value for one in found]
        errors = [[max(0.0, o.value - o.low) for o in found], [max(0.0, o.high - o.value) for o in found]]
        panel.errorbar(values, range(len(approaches)), xerr=errors, fmt="o", capsize=3, color="#35689f")
        panel.set_title(name, fontsize=9)
        panel.tick_params(labelsize=8)
        panel.grid(axis="x", alpha=0.3)
    panels[0].set_yticks(range(len(approaches)), approaches)
    panels[0].invert_yaxis()
    figure.tight_layout()
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=120)
    pyplot.close(figure)
    return buffer.getvalue()


def _pictures(approaches: Sequence[str], shown: Sequence[Sequence[Picture]], images: Sequence[torch.Tensor]) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in ["prompt", *approaches])
    rows = ""
    for pictures, made in zip(shown, images, strict=True):
        cells = "".join(map(_cell, pictures, made))
        rows += f"<tr><td>{html.escape(pictures[0].prompt)}</td>{cells}</tr>"
    return f"<table><tr>{head}</tr>{rows}</table>"


def _cell(picture: Picture, image: torch.Tensor) -> str:
    """One picture with its negative prompt."""
    source = _inline(_png(_image(image)))
    return f'<td><img src="{source}" alt=""><small>{html.escape(picture.negative_prompt)}</small></td>'


def _sheet(rows: Sequence[torch.Tensor]) -> Image.Image:
    """All pictures, a row for each prompt."""
    return _image(torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1))


def _image(image: torch.Tensor) -> Image.Image:
    """Of float [3, H, W], 0 to 1."""
    return Image.fromarray((255 * image).round().byte().permute(1, 2, 0).numpy())


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _inline(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
