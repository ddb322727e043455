"""Graphs laid out on ComfyUI's page, and pictures of them: what templates and help pages are made from."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .page import frame

if TYPE_CHECKING:
    from PIL.Image import Image
    from playwright.sync_api import Page


@dataclass(frozen=True)
class Node:
    """One node: its widgets by name, and its inputs by name as (key of the other node, name of its output)."""

    kind: str
    at: tuple[int, int]
    size: tuple[int, int] = (0, 0)
    widgets: dict[str, Any] = field(default_factory=dict)
    links: dict[str, tuple[str, str]] = field(default_factory=dict)
    title: str = ""


BUILD = """
(nodes) => {
  app.graph.clear()
  const made = {}
  for (const [key, wanted] of Object.entries(nodes)) {
    const node = LiteGraph.createNode(wanted.kind)
    app.graph.add(node)
    node.pos = wanted.at
    if (wanted.title) node.title = wanted.title
    for (const [name, value] of Object.entries(wanted.widgets))
      (name ? node.widgets.find(w => w.name === name) : node.widgets[0]).value = value
    if (wanted.size[0]) node.setSize(wanted.size)
    made[key] = node
  }
  for (const [key, wanted] of Object.entries(nodes))
    for (const [input, [from, output]] of Object.entries(wanted.links)) {
      const source = made[from].outputs.findIndex(o => o.name === output)
      const target = made[key].inputs.findIndex(i => i.name === input)
      if (source < 0 || target < 0) throw new Error(`${key}.${input} from ${from}.${output}`)
      made[from].connect(source, made[key], target)
    }
}
"""


def build(page: Page, nodes: dict[str, Node]) -> None:
    """Clear the page's graph and put these nodes into it."""
    page.evaluate(BUILD, {key: vars(node) | {"size": list(node.size)} for key, node in nodes.items()})


def photograph(page: Page, space: int = 14) -> tuple[Image, Image]:
    """The whole page, and the graph alone with `space` pixels around it."""
    from PIL import Image

    x, y, width, height = frame(page)
    page.wait_for_timeout(500)
    whole = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    assert page.viewport_size
    zoom = whole.width / page.viewport_size["width"]
    corners = (x - space, y - space, x + width + space, y + height + space)
    return whole, whole.crop(tuple(int(zoom * corner) for corner in corners))  # type: ignore[arg-type]
