"""The same answers on the oldest host and on the newest: real virtual environments, compared.

    python tests/compat/run.py --floor python3.10 --top python3.13 --work DIR [--model MODEL]

makes two environments in DIR and installs this package in them without its test tools: one with the
versions that AUTOMATIC1111 pins (Python 3.10, torch 2.1.2, tokenizers 0.13.3, safetensors 0.3.1,
huggingface-hub 0.15.1, numpy below 2), one with the newest of everything. `smoke.py` runs in each,
away from the checkout and without network; the texts it prints must be the same. Exits 1 where they
are not.

Not one of the fast tests: it downloads several gigabytes. Environments that DIR already holds are used
again, with the package installed anew. On Linux `--pip=--index-url=URL` can name an index of CPU
builds of torch, which are a tenth of the size.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SMOKE = Path(__file__).with_name("smoke.py")

LEFT_OUT = [".*", "build", "dist", "runs", "shared", "*.egg-info", "__pycache__"]

DEPENDENCIES = ["torch", "tokenizers", "safetensors", "huggingface-hub", "numpy"]
PINS = {
    "floor": ["torch==2.1.2", "tokenizers==0.13.3", "safetensors==0.3.1", "huggingface-hub==0.15.1", "numpy<2"],
    "top": DEPENDENCIES,
}


def make(folder: Path, python: str, pins: Sequence[str], pip: Sequence[str]) -> Path:
    """The interpreter of a virtual environment at `folder` that holds `pins` and this package."""
    interpreter = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not interpreter.exists():
        run([python, "-m", "venv", str(folder)])
    install = [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *pip]
    run([*install, *pins])
    with tempfile.TemporaryDirectory() as copy:  # building leaves files beside the sources
        sources = shutil.copytree(ROOT, Path(copy) / "negopt", ignore=shutil.ignore_patterns(*LEFT_OUT))
        run([*install, "--no-deps", "--force-reinstall", str(sources)])
    run([str(interpreter), "-m", "pip", "check"])
    return interpreter


def smoke(interpreter: Path, model: str | None, away: Path) -> dict[str, Any]:
    """What `smoke.py` prints in that environment, run outside the checkout and offline."""
    offline = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": "", "PYTHONDONTWRITEBYTECODE": "1"}
    done = run([str(interpreter), str(SMOKE), *([model] if model else [])], cwd=away, env=offline)
    result: dict[str, Any] = json.loads(done)
    command = [str(interpreter), "-m", "negopt", "a red car", *(["--model", model] if model else [])]
    result["answers"]["command line"] = run(command, cwd=away, env=offline).strip()
    return result


def differences(floor: dict[str, Any], top: dict[str, Any]) -> list[str]:
    """What is wrong in either report, and which answers differ; empty when all is well."""
    wrong = []
    for name, result in (("floor", floor), ("top", top)):
        if result["import loads torch"]:
            wrong.append(f"{name}: importing negopt imports torch")
        if result["transformers is there"]:
            wrong.append(f"{name}: transformers is installed, so its absence was not tested")
        if result["answers"]["single"] != result["answers"]["batch"]:
            wrong.append(f"{name}: a prompt's answer differs between alone and in a batch")
    for kind, ours in floor["answers"].items():
        if ours != top["answers"][kind]:
            wrong.append(f"{kind} differ:\n  floor: {ours}\n  top:   {top['answers'][kind]}")
    return wrong


def run(command: Sequence[str], **options: Any) -> str:
    """The command's output; its own error output passes through, and a failure ends the script."""
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **options).stdout


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--floor", required=True, metavar="PYTHON", help="an interpreter of Python 3.10")
    parser.add_argument("--top", required=True, metavar="PYTHON", help="the newest interpreter to be supported")
    parser.add_argument("--work", required=True, type=Path, metavar="DIR", help="where the environments are kept")
    parser.add_argument("--model", help="a model folder instead of the bundled one")
    parser.add_argument("--pip", action="append", default=[], metavar="ARGUMENT", help="one more argument for pip")
    options = parser.parse_args()
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    model = str(Path(options.model).resolve()) if options.model else None

    reports = {}
    for name, python in (("floor", options.floor), ("top", options.top)):
        interpreter = make(work / name, python, PINS[name], options.pip)
        reports[name] = smoke(interpreter, model, work)
        shown = {key: value for key, value in reports[name].items() if key != "answers"}
        print(f"{name}: {json.dumps(shown)}", flush=True)
    wrong = differences(reports["floor"], reports["top"])
    print("\n".join(wrong) if wrong else f"same answers: {json.dumps(reports['top']['answers'], indent=1)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
