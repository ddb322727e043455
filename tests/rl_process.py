"""One process of an RL run that is interrupted before a step: `torchrun ... -m tests.rl_process STEP ARGUMENTS`, the
arguments being those of `python -m training`."""

from __future__ import annotations

import sys

import torch

from training.__main__ import main
from training.rl import stage

torch.set_num_threads(1)


def run(last: int, arguments: list[str]) -> int:
    step = stage.Stage._step

    def dying(self: stage.Stage, number: int) -> dict[str, float]:
        if number == last:
            self._save()
            raise KeyboardInterrupt
        return step(self, number)

    stage.Stage._step = dying  # type: ignore[method-assign, assignment]
    return main(arguments)


if __name__ == "__main__":
    sys.exit(run(int(sys.argv[1]), sys.argv[2:]))
