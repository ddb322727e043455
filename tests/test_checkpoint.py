"""What a checkpoint gives back outlives its files: on Windows a run could not save again otherwise."""

from __future__ import annotations

from pathlib import Path

import torch

from training.checkpoint import load_checkpoint, load_tensors, moment_names, save_checkpoint
from training.miniature.stage import Stage


def overwrite(folder: Path) -> None:
    """Zeros in place of the tensors, in the very files: what is mapped from them changes."""
    for file in folder.rglob("*.safetensors"):
        start = 8 + int.from_bytes(file.read_bytes()[:8], "little")
        with file.open("r+b") as opened:
            opened.seek(start)
            opened.write(bytes(file.stat().st_size - start))


def test_a_resumed_run_does_not_hold_the_files_of_its_checkpoint(tmp_path: Path) -> None:
    model = torch.nn.Linear(8, 8)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(2, 8)).sum().backward()
    optimizer.step()
    state = {"moments": moment_names(optimizer)}
    save_checkpoint(tmp_path / "kept", model, optimizer, state, {"seen": torch.ones(4)})
    load_checkpoint(tmp_path / "kept", model, optimizer)
    seen = load_tensors(tmp_path / "kept")["seen"]
    overwrite(tmp_path / "kept")
    assert all(optimizer.state[parameter]["exp_avg"].all() for parameter in model.parameters())
    assert seen.tolist() == [1.0] * 4


def test_a_resumed_stage_does_not_hold_the_files_of_its_checkpoint(tmp_path: Path) -> None:
    layer = torch.nn.Linear(4, 1)

    def loss(step: int) -> torch.Tensor:
        return layer(torch.ones(1, 4)).square().sum()

    Stage(tmp_path / "s", layer, steps=2, learning_rate=1e-3).run(loss)
    resumed = Stage(tmp_path / "s", layer, steps=2, learning_rate=1e-3)
    resumed._resume()
    overwrite(tmp_path / "s")
    assert all(average.all() for average in resumed.average.values())
