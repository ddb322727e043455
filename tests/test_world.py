"""Worlds: the judges of one are told from others of the same names."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from training.miniature import BUNDLED
from training.world import World, add_world_arguments, open_world


def world(judges: str) -> World:
    parser = argparse.ArgumentParser()
    add_world_arguments(parser)
    return open_world(parser.parse_args(["--sampler", "miniature", "--judges", judges]))


def test_judges_are_told_by_what_their_folder_holds(tmp_path: Path) -> None:
    other = tmp_path / "moved"
    (other / "checkpoint").mkdir(parents=True)
    shutil.copytree(BUNDLED / "judges", other / "judges")
    origin = world("miniature").origin
    assert world(f"miniature:{other}").origin == origin
    (other / "judges" / "clip").rename(other / "judges" / "aside")
    shutil.copytree(other / "judges" / "aside", other / "judges" / "clip")
    assert world(f"miniature:{other}").origin != origin
    assert world("miniature").gallery({"aesthetics": 1.0}).reward.origin == origin
