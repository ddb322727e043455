"""Gives a host's Python what NegOpt needs, and links this checkout into a host by hand.

Who runs it, and when:

* AUTOMATIC1111, Forge and SD.Next: `python install.py`, at every start; its output is shown when it has ended.
* ComfyUI-Manager and `comfy node install`: the same, once after NegOpt was installed or updated.
* You: `python install.py --check`, `--comfyui DIR`, `--a1111 DIR` and more, see `--help`.

Without options it says nothing where nothing is missing, and always exits with 0: a host starts without NegOpt, too.
What is needed stands in pyproject.toml and nowhere else. Only what is missing is installed, never torch, and every
package that the host has is pinned to its version meanwhile, so that the installation fails rather than changes one.
Knows nothing of negopt's code and imports none of it.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import shutil
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import argparse

HERE = Path(__file__).absolute().parent
"""This folder as it was called: inside a host it may be a link."""
ROOT = HERE.resolve()
"""The checkout itself."""
LINK_NAME = "negopt"
HOST_BRINGS = "torch"
"""The one requirement that is never installed: which build fits the machine is the host's business."""
UNKNOWN = "unknown"
"""The version of a package that can be imported but has no metadata (built or copied by hand)."""


class Refused(Exception):
    """What was asked for cannot be done; the message says why and what to do."""


# What NegOpt needs, and what this Python has


class Requirement(NamedTuple):
    name: str
    at_least: str

    def __str__(self) -> str:
        return f"{self.name}>={self.at_least}"


def requirements(pyproject: Path = ROOT / "pyproject.toml") -> list[Requirement]:
    """The run-time dependencies of pyproject.toml, all of them written as name>=version."""
    found = []
    for line in dependencies(pyproject.read_text(encoding="utf-8")):
        parts = re.fullmatch(r"([\w.-]+)\s*>=\s*([\w.]+)", line)
        if not parts:
            raise ValueError(f"{pyproject}: {line!r} is not of the form name>=version")
        found.append(Requirement(canonical(parts[1]), parts[2]))
    return found


def dependencies(text: str) -> list[str]:
    """`project.dependencies` of a pyproject.toml."""
    try:
        import tomllib
    except ModuleNotFoundError:  # Python 3.10
        return dependencies_without_tomllib(text)
    return list(tomllib.loads(text)["project"]["dependencies"])


def dependencies_without_tomllib(text: str) -> list[str]:
    """The same by hand: in the table [project], the array of plain strings after `dependencies =`."""
    table = re.search(r"^\[project\][^\n]*\n(.*?)(?=^\[|\Z)", text, re.MULTILINE | re.DOTALL)
    item = r"""[^\]"'#]|"[^"\n]*"|'[^'\n]*'|\#[^\n]*"""
    array = re.search(rf"^dependencies\s*=\s*\[((?:{item})*)\]", table[1] if table else "", re.MULTILINE)
    if not array:
        raise ValueError("pyproject.toml: no project.dependencies")
    strings = re.findall(r"""\#[^\n]*|"([^"\n]*)"|'([^'\n]*)'""", array[1])
    return [double or single for double, single in strings if double or single]


def installed_version(requirement: Requirement) -> str | None:
    """The version that this Python has, `UNKNOWN` where it does not say, None if the package is missing."""
    try:
        version = metadata.version(requirement.name)
    except (metadata.PackageNotFoundError, KeyError):
        version = ""
    if version:
        return version
    module = importlib.util.find_spec(requirement.name.replace("-", "_"))
    return UNKNOWN if module and module.origin else None


def is_older(version: str, at_least: str) -> bool:
    """Whether a version's release number is below another's; an unknown version is not."""
    return version != UNKNOWN and _release(version) < _release(at_least)


def _release(version: str) -> tuple[int, ...]:
    numbers = re.match(r"[vV]?(?:\d+!)?(\d+(?:\.\d+)*)", version)
    return tuple(int(number) for number in re.sub(r"(\.0+)+$", "", numbers[1]).split(".")) if numbers else ()


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


# Installing what is missing


def install() -> bool:
    """Installs what is missing and says in plain lines what it did; whether all that is needed is there now."""
    needed = [(requirement, installed_version(requirement)) for requirement in requirements()]
    for requirement, version in needed:
        if version and is_older(version, requirement.at_least):
            say(f"this host has {requirement.name} {version}, NegOpt is made for {requirement}; it is left as it is.")
    missing = [requirement for requirement, version in needed if version is None]
    if any(requirement.name == HOST_BRINGS for requirement in missing):
        say(f"{HOST_BRINGS} is missing; the host brings its own, so install the host's requirements.")
    ours = [requirement for requirement in missing if requirement.name != HOST_BRINGS]
    return (not ours or _installed(ours)) and ours == missing


def _installed(missing: Sequence[Requirement]) -> bool:
    """Adds `missing` to this Python, and what they need in turn; says what came, or why nothing did."""
    names = " ".join(map(str, missing))
    tool = installer()
    if not tool:
        say(f"{names}: missing, and {sys.executable} has neither pip nor uv; install them with the host's own tool.")
        return False
    before = distributions()
    fault = _run(tool, missing, constraints(before.values(), missing))
    if fault:
        again = f'"{sys.executable}" "{ROOT / "install.py"}" --install'
        say(f"could not install {names} ({fault}). To try again: {again}")
        return False
    importlib.invalidate_caches()
    added = [f"{name} {found.version}" for name, found in sorted(distributions().items()) if name not in before]
    say(f"installed {', '.join(added) or names}.")
    return True


def installer() -> list[str]:
    """The command that installs into this Python: its own pip, else uv; empty if there is neither."""
    python = [sys.executable, *(["-s"] if sys.flags.no_user_site else [])]
    if importlib.util.find_spec("pip"):
        quiet = ["--no-input", "--disable-pip-version-check", "--retries", "1"]
        return [*python, "-m", "pip", "install", *quiet, "--prefer-binary"]
    uv = [*python, "-m", "uv"] if importlib.util.find_spec("uv") else [shutil.which("uv") or ""]
    return [*uv, "pip", "install", "--python", sys.executable] if uv[0] else []


def distributions() -> dict[str, metadata.Distribution]:
    """What this Python has, by canonical name; of two with one name the first on the path, which is imported."""
    found: dict[str, metadata.Distribution] = {}
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"] or ""
        if re.fullmatch(r"[A-Za-z0-9][\w.-]*", name) and distribution.metadata["Version"]:
            found.setdefault(canonical(name), distribution)
    return found


def constraints(present: Iterable[metadata.Distribution], missing: Sequence[Requirement]) -> list[str]:
    """Lines for pip's --constraint: every package stays as it is, and no new one breaks what another asks of it."""
    pins = {canonical(one.metadata["Name"]): one.version for one in present}
    lines = [f"{name}=={version}" for name, version in sorted(pins.items())]
    if HOST_BRINGS not in pins:
        lines.append(f"{HOST_BRINGS}<0")  # nothing may bring it along either
    names = {requirement.name for requirement in missing}
    wishes = {_wish(line, names) for one in present for line in one.requires or []}
    return lines + sorted(filter(None, wishes))


_VERSION = r"[\w.+!-]+"
_BOUND = rf"(?:[=!]=\s*{_VERSION}\*?|(?:[<>~]=|[<>])\s*{_VERSION})"
_REQUIRES = re.compile(rf"([\w.-]+)\s*(?:\[[^]]*\])?\s*\(?\s*({_BOUND}(?:\s*,\s*{_BOUND})*)\s*\)?\s*(;.*)?")


def _wish(line: str, names: set[str]) -> str:
    """A Requires-Dist line as a constraint if it is on one of `names`, "" if not or if only an extra asks for it."""
    parts = _REQUIRES.fullmatch(line)
    if not parts or canonical(parts[1]) not in names or "extra" in (parts[3] or ""):
        return ""
    return f"{canonical(parts[1])}{parts[2]}{parts[3] or ''}"


def _run(tool: Sequence[str], missing: Sequence[Requirement], limits: Sequence[str]) -> str:
    """Runs the installer; "" or, in one line, why it failed."""
    import subprocess
    import tempfile

    with tempfile.TemporaryDirectory(prefix="negopt-") as folder:
        file = Path(folder) / "constraints.txt"
        file.write_text("\n".join(limits) + "\n", encoding="utf-8")
        # AUTOMATIC1111's own variable for a package index nearer to the user
        index = ["--index-url", os.environ["INDEX_URL"]] if os.environ.get("INDEX_URL") else []
        command = [*tool, *index, "--constraint", str(file), *map(str, missing)]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", errors="replace", check=False
        )
    if done.returncode == 0:
        return ""
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    return (errors or lines or [f"exit code {done.returncode}"])[0]


# Hosts: where they keep what is added to them, and how they are told from any other folder


class Host(NamedTuple):
    name: str
    packs: str
    """The sub-folder in which each folder is a pack."""
    layouts: tuple[tuple[str, ...], ...]
    """What a folder of this host holds, all of one of these."""

    def lacks(self, folder: Path) -> str:
        """What is missing for `folder` to be this host: "" if nothing is."""
        lacking = [[name for name in layout if not (folder / name).exists()] for layout in self.layouts]
        return "" if [] in lacking else lacking[0][0]

    def packs_in(self, folder: Path) -> Path:
        """The folder for packs of the host in `folder`. Raises `Refused` where there is no such host."""
        lack = self.lacks(folder)
        if not lack:
            return folder / self.packs
        inside = sorted(folder.iterdir()) if folder.is_dir() else []
        hint = next((f"; did you mean {child}?" for child in inside if not self.lacks(child)), "")
        raise Refused(f"{folder} is not {self.name}'s folder: it has no {lack}{hint}")


COMFYUI = Host(
    "ComfyUI",
    "custom_nodes",
    (
        ("nodes.py", "comfy", "custom_nodes"),
        ("user", "models", "custom_nodes"),  # --base-directory and the desktop application: no code in it
    ),
)
WEBUI = Host("AUTOMATIC1111 or Forge", "extensions", (("webui.py", "launch.py", "modules"),))


# Linking this checkout into a host


def link(host: Host, folder: Path, name: str) -> None:
    """Makes NegOpt a pack of the host in `folder`; does nothing if it is one. Raises `Refused`."""
    packs = host.packs_in(folder)
    packs.mkdir(exist_ok=True)  # a web UI that was never started has none
    here = places(packs)
    place = packs / name
    if here:
        say(f"already in place: {here[0]}")
    elif is_link(place):
        raise Refused(f"{place} is a link to {place.readlink()}; take it away first, or choose another --name")
    elif (place / "negopt" / "__init__.py").is_file() and (place / "install.py").is_file():
        say(f"already in place: {place}, which is a folder of its own and not updated with this one")
    elif place.exists():
        raise Refused(f"{place} exists and is not NegOpt; choose another --name")
    else:
        say(_make(place) + f". Start {host.name} again to see it.")


def unlink(host: Host, folder: Path, name: str) -> None:
    """Takes links to this checkout away, a dangling one called `name`, too; no folder is ever deleted."""
    packs = host.packs_in(folder)
    place = packs / name
    here = places(packs)
    links = [entry for entry in here if is_link(entry)]
    if is_link(place) and not place.exists():
        links.append(place)
    for entry in links:
        entry.unlink()  # a link or a junction, never what it leads to
        say(f"took away the link {entry}")
    if not links and here:
        raise Refused(f"{here[0]} is a real folder, not a link, so it stays; delete it yourself")
    if not links and os.path.lexists(place):
        raise Refused(f"{place} is not a link to {ROOT}, so it stays")
    if not links:
        say(f"nothing to take away in {packs}")


def places(packs: Path) -> list[Path]:
    """The entries of a host's packs that are this checkout, linked or cloned there under whatever name."""
    entries = sorted(packs.iterdir()) if packs.is_dir() else []
    return [entry for entry in entries if entry.is_dir() and entry.samefile(ROOT)]


def is_link(path: Path) -> bool:
    """A symbolic link or, on Windows, a junction."""
    if sys.platform == "win32" and os.path.lexists(path):
        import stat

        return path.is_symlink() or path.lstat().st_reparse_tag == stat.IO_REPARSE_TAG_MOUNT_POINT
    return path.is_symlink()


def _make(place: Path) -> str:
    """Puts a link at `place`, a copy where links are not possible; says which."""
    try:
        make_link(place)
        return f"linked {place} to {ROOT}"
    except OSError as error:
        if place.resolve().is_relative_to(ROOT):
            raise Refused(f"{place}: no link is possible there ({error}), and a copy would hold itself") from error
        left_out = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "runs")
        shutil.copytree(ROOT, place, ignore=left_out)
        return f"copied to {place}, since no link is possible there ({error}); copy again after each update"


def make_link(place: Path) -> None:
    """Raises OSError where the file system or the user's rights do not allow a link."""
    if sys.platform == "win32":  # a junction needs no rights of its own, a symbolic link does
        import _winapi

        try:
            _winapi.CreateJunction(str(ROOT), str(place))
        except OSError:  # on a drive without junctions (exFAT, the network) an empty folder is left
            with suppress(OSError):
                place.rmdir()
            raise
    else:
        place.symlink_to(ROOT, target_is_directory=True)


# Saying what is there


def check(hosts: Sequence[tuple[Host, Path]]) -> bool:
    """Prints what this Python and the hosts have and lack; whether nothing is missing."""
    print(f"Python   {sys.version.split()[0]}  {sys.executable}")
    checks = [*map(_check_requirement, requirements()), *_check_models()]
    checks += [_check_host(host, folder) for host, folder in hosts] if hosts else [_check_surroundings()]
    return all(checks)


def _check_requirement(requirement: Requirement) -> bool:
    version = installed_version(requirement)
    if version is None:
        cure = "the host brings it" if requirement.name == HOST_BRINGS else "--install adds it"
        verdict = f"missing; {cure}"
    else:
        verdict = "older than NegOpt is made for" if is_older(version, requirement.at_least) else "ok"
    print(f"package  {requirement!s:26} {version or '-':14} {verdict}")
    return verdict == "ok"


def _check_models(models: Path = ROOT / "negopt" / "models") -> list[bool]:
    folders = sorted(entry for entry in models.iterdir() if entry.is_dir()) if models.is_dir() else []
    if not folders:
        print(f"model    none in {models}; get NegOpt anew")
    faults = [model_fault(folder) for folder in folders]
    for folder, fault in zip(folders, faults, strict=True):
        print(f"model    {folder.name:26} {fault + '; get NegOpt anew' if fault else 'whole'}")
    return [not fault for fault in faults] or [False]


def model_fault(model: Path) -> str:
    """What is wrong with a model's folder, "" if nothing: each file there, readable and of its full length."""
    import json

    weights = sorted(model.glob("*.safetensors"))
    if not weights:
        return "no weights"
    for name in ("config.json", "tokenizer.json"):
        try:
            json.loads((model / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return f"no {name}"
        except ValueError:
            return f"{name} is damaged"
    damaged = [file.name for file in weights if not _is_whole(file)]
    return f"{damaged[0]} is damaged" if damaged else ""


def _is_whole(weights: Path) -> bool:
    """Whether a safetensors file is as long as its header says (8 bytes of length, the header in JSON, the tensors)."""
    import json

    size = weights.stat().st_size
    with weights.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if 8 + length > size:
            return False
        try:
            header = json.loads(file.read(length))
            ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
        except (ValueError, AttributeError, LookupError, TypeError):
            return False
    return size == 8 + length + max(ends, default=0)


def _check_host(host: Host, folder: Path) -> bool:
    try:
        here = places(host.packs_in(folder))
    except Refused as refused:
        print(f"host     {refused}")
        return False
    print(f"host     {host.name} in {folder}: {f'NegOpt is {here[0]}' if here else 'NegOpt is not in it'}")
    return bool(here)


def _check_surroundings() -> bool:
    """Whether this folder lies in a host is told, but NegOpt works without one."""
    around = [
        host for host in (COMFYUI, WEBUI) if HERE.parent.name == host.packs and not host.lacks(HERE.parent.parent)
    ]
    print(f"host     {around[0].name} in {HERE.parent.parent}" if around else "host     none around this folder")
    return True


# The command line


def say(text: str) -> None:
    print(f"NegOpt: {text}", flush=True)


def run_by_host() -> int:
    """What a host runs at its start: never stops it, whatever goes wrong."""
    try:
        install()
    except Exception as error:
        say(f"install.py failed ({type(error).__name__}: {' '.join(str(error).split())}); the host goes on without it.")
    return 0


def run_by_hand(arguments: Sequence[str]) -> int:
    """What you ask for on the command line; 1 if it could not be done or, with --check, if something is missing."""
    parser, python = _parser()
    chosen, others = python.parse_known_args(arguments)
    options = parser.parse_args(arguments)
    _refuse_nonsense(parser, options)
    if chosen.python:
        return _with_python(chosen.python, others or ["--install"])
    hosts = [(host, folder) for host, folder in ((COMFYUI, options.comfyui), (WEBUI, options.a1111)) if folder]
    try:
        if options.check:
            return 0 if check(hosts) else 1
        if options.install:
            return 0 if install() else 1
        for host, folder in hosts:
            (unlink if options.unlink else link)(host, folder, options.name)
    except (Refused, OSError) as error:
        print(f"NegOpt: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> tuple[argparse.ArgumentParser, argparse.ArgumentParser]:
    """The whole command line, and the part of it that chooses a Python."""
    import argparse

    python = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    python.add_argument("--python", metavar="PATH", help="the host's Python, if it is not the one that runs this")
    parser = argparse.ArgumentParser(
        prog="install.py", allow_abbrev=False, parents=[python], description="Adds NegOpt to a host by hand."
    )
    parser.add_argument("--comfyui", metavar="DIR", type=_folder, help="link this folder into the ComfyUI in DIR")
    parser.add_argument(
        "--a1111", metavar="DIR", type=_folder, help="link this folder into the AUTOMATIC1111 or Forge in DIR"
    )
    parser.add_argument("--name", default=LINK_NAME, help="the link's name (default: %(default)s)")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--unlink", action="store_true", help="take the link away again")
    what.add_argument("--check", action="store_true", help="say what is there and what is missing; change nothing")
    what.add_argument("--install", action="store_true", help="install what is missing, as hosts do at their start")
    return parser, python


def _folder(text: str) -> Path:
    return Path(text).expanduser().absolute()


def _refuse_nonsense(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    if not re.fullmatch(r"[\w-]+", options.name):
        parser.error("--name: letters, digits, - and _ only (ComfyUI finds no help pages of a folder with a dot)")
    hosts = options.comfyui or options.a1111
    if options.install and hosts:
        parser.error("--install goes with --python, not with a host's folder")
    if not (hosts or options.check or options.install or options.python):
        parser.error("no folder given: --comfyui DIR or --a1111 DIR")


def _with_python(python: str, arguments: Sequence[str]) -> int:
    """Runs this file again with a host's Python, which knows best what it has."""
    import subprocess

    try:
        return subprocess.run([python, str(HERE / "install.py"), *arguments], check=False).returncode
    except OSError as error:
        print(f"NegOpt: {python} does not run ({error.strerror})", file=sys.stderr)
        return 1


def main(arguments: Sequence[str]) -> int:
    for stream in (sys.stdout, sys.stderr):  # Windows' code pages do not hold every path
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    return run_by_hand(arguments) if arguments else run_by_host()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
