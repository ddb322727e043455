"""ComfyUI's page in headless Chromium, driven by Playwright."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .comfyui_server import ComfyUI

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM = os.environ.get("NEGOPT_CHROMIUM", "/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@contextmanager
def open_page(
    server: ComfyUI, width: int = 1500, height: int = 1000, *, language: str = "en", zoom: float = 1.0
) -> Iterator[Page]:
    """The page in a language of ComfyUI's, ready, with an empty graph. Clipboard allowed."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        context = browser.new_context(viewport={"width": width, "height": height}, device_scale_factor=zoom)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        page = context.new_page()
        _load(page, server.url)
        for setting, value in {"Comfy.Minimap.Visible": False, "Comfy.Locale": language}.items():
            page.evaluate("async ([id, value]) => await app.extensionManager.setting.set(id, value)", [setting, value])
        if language != "en":
            _load(page, server.url)
        page.evaluate("() => app.graph.clear()")
        yield page
        browser.close()


def _load(page: Page, url: str) -> None:
    page.goto(url)
    page.wait_for_function("!!(window.app?.graph && window.LiteGraph?.registered_node_types?.NegOpt)", timeout=180_000)
    page.wait_for_timeout(2500)
    page.keyboard.press("Escape")


def load_workflow(page: Page, workflow: dict[str, Any]) -> None:
    """Open a saved workflow as the page's own menu does, and look at all of it."""
    page.evaluate("async (workflow) => { await app.loadGraphData(workflow) }", workflow)
    page.wait_for_timeout(800)
    page.keyboard.press("Escape")
    frame(page)


def frame(page: Page) -> list[float]:
    """Let the canvas show the whole graph; returns x, y, width, height of the graph on the page, in pixels."""
    box = page.evaluate(
        """() => {
          const nodes = app.graph._nodes, title = 40, space = 50
          const left = Math.min(...nodes.map(n => n.pos[0])), top = Math.min(...nodes.map(n => n.pos[1] - title))
          const right = Math.max(...nodes.map(n => n.pos[0] + n.size[0]))
          const bottom = Math.max(...nodes.map(n => n.pos[1] + n.size[1]))
          const canvas = app.canvas.canvas.getBoundingClientRect()
          const bar = 80  // what the page's own bars cover at the top and at the left
          const scale = Math.min(1, (canvas.width - bar - 2 * space) / (right - left),
                                 (canvas.height - bar - 2 * space) / (bottom - top))
          app.canvas.ds.scale = scale
          app.canvas.ds.offset = [(bar + space) / scale - left, (bar + space) / scale - top]
          app.canvas.setDirty(true, true)
          return [canvas.left + bar + space, canvas.top + bar + space, (right - left) * scale, (bottom - top) * scale]
        }"""
    )
    page.wait_for_timeout(600)
    return list(box)


def press_write(page: Page, kind: str) -> None:
    """Press Write on the first node of a kind, and wait for the answer."""
    page.evaluate(
        """(kind) => { const node = app.graph._nodes.find(n => n.type === kind)
                       node.negoptBox.replaceChildren()
                       node.widgets.find(w => w.name === 'Write').callback() }""",
        kind,
    )
    page.wait_for_function(
        """(kind) => { const node = app.graph._nodes.find(n => n.type === kind)
                       return !!node.negoptBox.querySelector('.negopt-entry, .negopt-failure') }""",
        arg=kind,
        timeout=60_000,
    )


def text_in_node(page: Page, kind: str) -> str:
    """What the box of the first node of a kind shows."""
    found = page.evaluate("(kind) => app.graph._nodes.find(n => n.type === kind).negoptBox.innerText", kind)
    return str(found)
