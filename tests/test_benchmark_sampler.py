"""What the benchmark of the sampler says of itself."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmarks import sampler


def test_the_gpu_that_was_measured_is_the_one_that_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    anything: Any = SimpleNamespace(device="cuda:1")
    makers = sampler.Makers(anything, anything, torch.float16)
    monkeypatch.setattr(sampler, "opened", lambda options: nullcontext(makers))
    monkeypatch.setattr(sampler, "measure", lambda *_: {"rates": {}})
    monkeypatch.setattr(sampler, "shown", lambda *_: "")
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device=None: f"card {device}")
    assert sampler.main(["--device", "cuda:1", "--threads", "1"]) == 0  # one, as all tests have
    assert "card cuda:1" in capsys.readouterr().out
