"""What the nodes cost a real ComfyUI: at start-up, at the first run, and at every further one.

    NEGOPT_COMFYUI_DIR=... NEGOPT_COMFYUI_PYTHON=... python -m benchmarks.comfyui [--repeats 20]

Start-up is the time that ComfyUI's own loader takes for the pack, each time in a new process in which what
ComfyUI itself needs for any pack (its node API, its reader of pyproject.toml) is loaded already. Runs are timed
by the server's own clock, from the start of a graph to its end, for prompts that it has not seen; beside them,
in turns, a graph with one of ComfyUI's own text nodes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
from pathlib import Path
from typing import Any

from benchmarks.measure import Sample, machine, milliseconds, table
from benchmarks.prompts import PROMPTS
from tests.hosts.comfyui_server import ComfyUI, messages, server_of_environment
from tests.hosts.server import ROOT

Row = tuple[str, Sample, str]
"""What was measured, how long it took, and what is wanted."""

LOAD = """
import asyncio, os, sys, time
sys.path.insert(0, os.getcwd())
sys.argv = ["main.py", "--cpu"]
import utils.install_util, comfy.options
comfy.options.enable_args_parsing()
import nodes, server, comfy_api.latest, comfy_config.config_parser
async def load():
    server.PromptServer(asyncio.get_running_loop())
    start = time.perf_counter()
    assert await nodes.load_custom_node(sys.stdin.read(), module_parent="custom_nodes")
    print((time.perf_counter() - start) * 1e3, file=sys.stderr)
    assert "NegOpt" in nodes.NODE_CLASS_MAPPINGS
asyncio.run(load())
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.comfyui",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--repeats", type=int, default=20, help="how many runs of each kind (default: 20)")
    repeats = parser.parse_args().repeats
    host, python = Path(os.environ["NEGOPT_COMFYUI_DIR"]), os.environ["NEGOPT_COMFYUI_PYTHON"]
    rows: list[Row] = [("loading the pack at start-up", loading(host, python, max(5, repeats // 2)), "under 100 ms")]
    with server_of_environment() as server:
        rows += runs(server, repeats)
    print(machine())
    print(table(["what", "median (quartiles)", "wanted"], [[name, shown(s), wanted] for name, s, wanted in rows]))


def loading(host: Path, python: str, times: int) -> Sample:
    """Milliseconds that ComfyUI's loader takes for the pack."""
    taken = []
    for _ in range(times):
        done = subprocess.run(
            [python, "-c", LOAD], input=str(ROOT), cwd=host, check=True, capture_output=True, text=True
        )
        taken.append(float(done.stderr.strip().splitlines()[-1]))
    return Sample(tuple(taken))


def runs(server: ComfyUI, repeats: int) -> list[Row]:
    """Rows for the first run, further runs, ComfyUI's own text node, and the page's Write."""
    for number in range(3):
        took(server, text_node(f"warm {number}"))
    first = took(server, negopt(PROMPTS[0]))
    further, own, route = [], [], []
    for number in range(repeats):
        prompt = f"{PROMPTS[number % len(PROMPTS)]}, number {number}"
        further.append(took(server, negopt(prompt)))
        own.append(took(server, text_node(prompt)))
        wanted = {"prompt": prompt + ", once more"}
        route.append(milliseconds(lambda: server.post("/negopt/write", wanted)))  # noqa: B023
    return [
        ("first run of a graph with NegOpt (loads the model)", Sample((first,)), ""),
        ("every further run", Sample(tuple(further)), "under 100 ms"),
        ("a run of a graph with only ComfyUI's own text node", Sample(tuple(own)), ""),
        ("Write: the route, over HTTP", Sample(tuple(route)), ""),
    ]


def took(server: ComfyUI, graph: dict[str, Any]) -> float:
    """Milliseconds from the start of a graph to its end, by the server's clock."""
    record = server.run(graph)
    start, end = (messages(record, f"execution_{what}")[0]["timestamp"] for what in ("start", "success"))
    return float(end - start)


def negopt(prompt: str) -> dict[str, Any]:
    return {"1": {"class_type": "NegOpt", "inputs": {"prompt": prompt}}}


def text_node(text: str) -> dict[str, Any]:
    return {"1": {"class_type": "PreviewAny", "inputs": {"source": text}}}


def shown(sample: Sample) -> str:
    low, high = sample.quartiles
    return f"{sample.median:.1f} ms ({low:.1f} to {high:.1f})"


if __name__ == "__main__":
    main()
