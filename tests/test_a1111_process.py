"""What happens to a job of the host, on a stand-in with the attributes that the hosts' own has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.house import house

process = house("a1111_extension.process")
writer = house("a1111_extension.writer")


class Job(SimpleNamespace):
    """A job as it is when the host calls the `process` hook."""

    def comment(self, text: str) -> None:
        self.comments.append(text)


def job(prompts: Sequence[str] = ("cat",), negatives: Sequence[str] = ("ugly",), **more: Any) -> Job:
    count = max(len(prompts), len(negatives))
    prompts, negatives = [*prompts] * (count // len(prompts)), [*negatives] * (count // len(negatives))
    values = {
        "all_prompts": prompts,
        "all_negative_prompts": negatives,
        "main_negative_prompt": negatives[0],
        "all_seeds": list(range(5, 5 + count)),
        "all_subseeds": [1] * count,
        "subseed_strength": 0,
        "cfg_scale": 7.0,
        "extra_generation_params": {"Hires upscale": 2},
        "comments": [],
    }
    return Job(**{**values, **more})


def hires_job(**more: Any) -> Job:
    own = {"enable_hr": True, "all_hr_prompts": ["cat"], "all_hr_negative_prompts": ["ugly"]}
    return job(**{**own, **more})


def echo(model: str) -> Any:
    """A writer one can read."""

    def write(prompts: Sequence[str], options: Mapping[str, Any]) -> list[str]:
        return [f"{options['keep']}, not {prompt}".removeprefix(", ") for prompt in prompts]

    return write


def run(p: Job, *values: Any, write: Any = echo, comments: bool = True) -> Job:
    process.process(p, values, write, comments=comments)
    return p


def test_the_three_things_a_job_needs() -> None:
    p = run(hires_job(), True)
    assert p.all_negative_prompts == ["ugly, not cat"]
    assert p.main_negative_prompt == "ugly, not cat"
    assert p.all_hr_negative_prompts == ["ugly, not cat"]
    assert p.extra_generation_params["NegOpt"] == "extend mine"
    assert p.extra_generation_params["Hires upscale"] == 2


def test_unticked_nothing_changes() -> None:
    p = run(job(), False)
    assert p == job()


def test_comments_are_neither_read_nor_passed_on() -> None:
    p = run(job(["cat # secret"], ["ugly # private"]), True)
    assert p.all_negative_prompts == ["ugly, not cat "]
    assert p.extra_generation_params["NegOpt original"] == "ugly"
    literal = run(job(["cat #1"], ["ugly"]), True, comments=False)
    assert literal.all_negative_prompts == ["ugly, not cat #1"]


@pytest.mark.parametrize("more", [{"cfg_scale": 1}, {"cfg_scale": 1.0}])
def test_guidance_one_is_left_alone_and_said(more: dict[str, Any]) -> None:
    p = run(job(**more), True)
    assert p.all_negative_prompts == ["ugly"]
    assert "NegOpt" not in p.extra_generation_params
    assert "guidance is 1" in p.extra_generation_params["NegOpt note"]
    assert p.comments == [f"NegOpt: {process.GUIDANCE_ONE}"]


def test_guidance_of_the_second_pass_counts() -> None:
    assert run(hires_job(cfg_scale=1, hr_cfg=7), True).all_hr_negative_prompts == ["ugly, not cat"]
    assert run(hires_job(cfg_scale=1, hr_cfg=1), True).all_hr_negative_prompts == ["ugly"]


def test_a_hires_negative_of_its_own_is_written_for_its_own() -> None:
    p = run(hires_job(all_hr_prompts=["cat, closer"], all_hr_negative_prompts=["grain"]), True)
    assert p.all_negative_prompts == ["ugly, not cat"]
    assert p.all_hr_negative_prompts == ["grain, not cat, closer"]
    assert p.extra_generation_params["NegOpt hires original"] == "grain"


def test_a_hires_prompt_alone_keeps_one_negative() -> None:
    p = run(hires_job(all_hr_prompts=["cat, closer"]), True)
    assert p.all_hr_negative_prompts == p.all_negative_prompts


def test_cells_of_a_grid_do_not_leak_into_each_other() -> None:
    """The host copies the job for each cell, so all cells share one table of infotext keys."""
    base = job()
    cells = []
    for on in (True, False):
        cell = copy(base)
        process.set_instead(cell, "enabled", on)
        cell.all_negative_prompts = ["ugly"]
        cells.append(run(cell, False))
    assert cells[0].all_negative_prompts == ["ugly, not cat"]
    assert cells[1].all_negative_prompts == ["ugly"]
    assert [("NegOpt" in cell.extra_generation_params) for cell in cells] == [True, False]
    assert base.extra_generation_params == {"Hires upscale": 2}
    assert not hasattr(base, process.INSTEAD)


def test_a_host_that_keeps_the_negatives_does_not_compound() -> None:
    """SD.Next makes the lists anew only when there are none."""
    p = run(job(), True)
    p.all_prompts = ["dog"]
    run(p, True)
    assert p.all_negative_prompts == ["ugly, not dog"]
    run(p, False)
    assert p.all_negative_prompts == ["ugly"]


def test_infotext_of_the_second_pass_in_later_batches() -> None:
    p = job(["a", "b", "c", "d"], ["ugly"], enable_hr=True, batch_size=2, iteration=1)
    p.all_hr_prompts, p.all_hr_negative_prompts = list(p.all_prompts), ["grain"] * 4
    run(p, True)
    process.process_batch(p)
    key = p.extra_generation_params["Hires negative prompt"]
    assert key(p=p, index=1, all_negative_prompts=["x", "y"], negative_prompt="ugly, not d") == "grain, not d"
    assert key(p=p, index=1, all_negative_prompts=["x", "y"], negative_prompt="grain, not d") is None


@pytest.mark.parametrize("failure", [MemoryError("no memory"), RuntimeError("two\nlines"), KeyError("x")])
def test_whatever_fails_the_picture_is_made(failure: Exception, caplog: pytest.LogCaptureFixture) -> None:
    def broken(model: str) -> Any:
        def write(prompts: Sequence[str], options: Mapping[str, Any]) -> list[str]:
            raise failure

        return write

    p = run(hires_job(), True, write=broken)
    assert (p.all_negative_prompts, p.all_hr_negative_prompts) == (["ugly"], ["ugly"])
    (line,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert "\n" not in line
    assert process.FAILED in line
    assert type(failure).__name__ in p.extra_generation_params["NegOpt note"]
    assert len(p.comments) == 1


def test_wrong_arguments_are_named() -> None:
    p = run(job(), True, "extend mine", "negopt-mini", 9)
    assert p.all_negative_prompts == ["ugly"]
    assert p.extra_generation_params["NegOpt note"].startswith("creativity must be a number from 0 to 2, not 9")


@pytest.mark.parametrize(
    "wrong", [("append",), ("extend mine", "negopt-mini", 9), (*[None] * 10, "{"), (*[None] * 11, "x")]
)
def test_unticked_it_has_nothing_to_say_about_the_other_controls(wrong: tuple[Any, ...]) -> None:
    assert run(job(), False, *wrong) == job()


def test_the_bundled_model_writes(tmp_path: Path) -> None:
    real = writer.Writer(record_file=tmp_path / "record.jsonl")
    p = run(job(["portrait photo of an old fisherman"] * 2, ["my own thing"]), True, write=real.write)
    assert p.all_negative_prompts[0] == p.all_negative_prompts[1]
    assert p.all_negative_prompts[0].startswith("my own thing, ")
    assert len(p.all_negative_prompts[0].split(", ")) > 5
    assert len((tmp_path / "record.jsonl").read_text().splitlines()) == 1, "one question for both pictures"


def test_only_listed_models_are_opened(tmp_path: Path) -> None:
    """Names come over the network: none may lead to a folder elsewhere or to the Hub."""
    real = writer.Writer()
    for name in (str(tmp_path), "owner/name", "../negopt-mini"):
        p = run(job(), True, "extend mine", name, write=real.write)
        assert p.all_negative_prompts == ["ugly"]
        assert "there is no model" in p.extra_generation_params["NegOpt note"]
