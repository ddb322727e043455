"""Commands of this package one after another, or side by side, each a process of its own: what is printed can be typed.

A step that was done is not done again unless one that it was built on was, and one that was killed goes on where it
was, as its command does. `OUT/logs/NAME.log` holds what it printed, `OUT/logs/NAME.done` the command that was done, and
of which commands before it.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from negopt.errors import NegOptError
from training.atomic import write_text
from training.digest import digest_of_texts


def can_launch_several() -> bool:
    """Whether torchrun starts here: its rendezvous asks for libuv, without which PyTorch is built for Windows
    (https://github.com/pytorch/pytorch/issues/148283)."""
    return sys.platform != "win32"


@dataclass(frozen=True)
class Step:
    """One command, and the steps that must be done before."""

    name: str
    command: tuple[str, ...]
    after: tuple[str, ...] = ()
    processes: int = 1
    """More than one are started by `torchrun`."""

    @property
    def typed(self) -> str:
        """As one would type it."""
        launch = f"torchrun {' '.join(self.launch)}" if self.processes > 1 else "python"
        # cmd.exe knows no single quotes
        said = subprocess.list2cmdline(self.command) if sys.platform == "win32" else shlex.join(self.command)
        return f"{launch} -m training {said}"

    @property
    def launch(self) -> list[str]:
        """How torchrun starts several processes, which on a machine without a GPU `accelerate launch` would not."""
        return ["--standalone", "--nproc_per_node", str(self.processes)]


def run_all(steps: Sequence[Step], out: Path, jobs: int, watched: bool = False) -> None:
    """All steps, as many side by side as `jobs`; raises `NegOptError` with the end of the log of one that failed.
    `watched`: what they print goes to the terminal, progress bars and all, in place of the logs."""
    threads = max(1, (os.cpu_count() or 1) // jobs)
    waiting, running, done = list(steps), dict[Future[float], Step](), set[str]()
    named = {step.name: step for step in steps}
    with ThreadPoolExecutor(jobs) as pool:
        while waiting or running:
            for step in [step for step in waiting if set(step.after) <= done]:
                waiting.remove(step)
                running[pool.submit(_run, step, _marked(step, named), out, threads, watched)] = step
            finished = [future for future in running if future.done()]
            for future in finished:
                step = running.pop(future)
                try:
                    seconds = future.result()
                except NegOptError:
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise
                done.add(step.name)
                print(f"{len(done)}/{len(steps)} {step.name}: done in {seconds:.0f} s", flush=True)
            if not finished:
                time.sleep(0.2)


def _marked(step: Step, steps: Mapping[str, Step]) -> str:
    """What its mark says: its command, and what stands for the marks of the steps that it was built on."""
    said = " ".join(step.command)
    before = [_marked(steps[name], steps) for name in step.after]
    return f"{said}\nafter {digest_of_texts(before)}" if before else said


def _run(step: Step, said: str, out: Path, threads: int, watched: bool) -> float:
    """The seconds that it took; 0 where it was done before, and so its mark says what is `said`."""
    mark, log = out / "logs" / f"{step.name}.done", out / "logs" / f"{step.name}.log"
    if mark.exists() and mark.read_text("utf-8") == said:
        return 0.0
    log.parent.mkdir(parents=True, exist_ok=True)
    mark.unlink(missing_ok=True)  # what it stands for is about to change
    print(step.typed, flush=True)
    began = time.monotonic()
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "passive"}
    launcher = ["torch.distributed.run", *step.launch, "-m"]
    command = [sys.executable, "-m", *(launcher if step.processes > 1 else []), "training", *step.command]
    if watched:
        if subprocess.run(command, env=environment).returncode:
            raise NegOptError(f"{step.name} failed; when that is put right, the same command goes on from here")
    else:
        with log.open("a", encoding="utf-8") as file:
            result = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, env=environment)
        if result.returncode:
            # a library may write in another encoding
            end = "\n".join(log.read_text("utf-8", "replace").splitlines()[-5:])
            raise NegOptError(f"{step.name} failed; the end of {log}:\n{end}")
    write_text(mark, said)
    return time.monotonic() - began
