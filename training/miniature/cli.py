"""`python -m training miniature build|check|people|sheet`: arguments in, a call out."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from .plan import Plan

STAGES = ("vae", "unet", "clip", "aesthetics", "classifiers")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    build = actions.add_parser("build", help="train checkpoint and judges from nothing; resumable")
    build.add_argument("--out", type=Path, required=True, metavar="DIR")
    build.add_argument(
        "--begin", type=Path, metavar="DIR", help="go on from the networks of the miniature in DIR, with --stage"
    )
    build.add_argument("--stage", choices=STAGES, action="append", help="only this one (may be repeated)")
    build.add_argument("--minutes", type=float, metavar="N", help="at most so long per stage")
    build.add_argument("--psnr", type=float, metavar="DB", help=f"the autoencoder's goal ({Plan.psnr})")
    check = actions.add_parser("check", help="is this world fit for learning negative prompts? (figures)")
    check.add_argument("folder", type=Path, metavar="DIR", help="a folder that `build` wrote")
    check.add_argument("--prompts", type=int, default=64, help="prompts per gate (64)")
    check.add_argument("--quick", action="store_true", help="without the search, which takes most of the time")
    check.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    people = actions.add_parser("people", help="prompts with the negatives that this world's people write")
    people.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSON lines, for `data build`")
    people.add_argument("--pairs", type=int, default=20_000)
    people.add_argument("--seed", type=int, default=2)
    sheet = actions.add_parser("sheet", help="a sheet of pictures: painted, or made by a checkpoint")
    sheet.add_argument("file", type=Path, metavar="PNG")
    sheet.add_argument("--checkpoint", type=Path, metavar="DIR", help="a pipeline folder; without it the painter draws")


def run(args: argparse.Namespace) -> int:
    return {"build": _build, "check": _check, "people": _people, "sheet": _sheet}[args.action](args)


def _build(args: argparse.Namespace) -> int:
    from training.allocator import keep_freed_memory

    from .build import Build

    keep_freed_memory()
    plan = Plan() if args.psnr is None else replace(Plan(), psnr=args.psnr)
    build = Build(args.out, plan, args.minutes)
    if args.begin:
        build.begin(args.begin)
    build.run(args.stage or STAGES)
    return 0


def _check(args: argparse.Namespace) -> int:
    from training.allocator import keep_freed_memory

    from .check import check

    keep_freed_memory()
    return 0 if check(args.folder, prompts=args.prompts, report=args.json, quick=args.quick) else 1


def _people(args: argparse.Namespace) -> int:
    from .people import write_pairs

    write_pairs(args.out, args.seed, args.pairs)
    return 0


def _sheet(args: argparse.Namespace) -> int:
    from .sheets import contact_sheet, sample_sheet

    picture = contact_sheet() if args.checkpoint is None else sample_sheet(args.checkpoint)
    picture.save(args.file)
    return 0
