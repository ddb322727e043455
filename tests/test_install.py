"""install.py as hosts and artists run it: real interpreters, real links, real pip with wheels made here; no network.

Two kinds of Python stand in for a host's: a bare virtual environment whose packages are folders of metadata on
PYTHONPATH (enough for what is only read), and one with pip, in which packages are really installed.
"""

from __future__ import annotations

import configparser
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
INSTALL = ROOT / "install.py"
NEEDED = {"torch": "2.1", "tokenizers": "0.13.3", "safetensors": "0.3.1", "huggingface-hub": "0.15.1"}
"""The lower bounds of pyproject.toml, written out so that a change there is noticed here."""


def load(path: Path = INSTALL) -> ModuleType:
    spec = importlib.util.spec_from_file_location("install_under_test", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(
    python: Path | str, *options: object, script: Path = INSTALL, cwd: Path | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """install.py in its own process, with nothing of the tester's own Python or pip settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON", "UV_"))}
    settings = {"PYTHONIOENCODING": "utf-8", "PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", **variables}
    command = [str(python), str(script), *map(str, options)]
    return subprocess.run(command, env=kept | settings, cwd=cwd, capture_output=True, encoding="utf-8", check=False)


def make_venv(folder: Path, *options: str) -> Path:
    subprocess.run([sys.executable, "-m", "venv", *options, str(folder)], check=True)
    return python_in(folder)


def python_in(venv: Path) -> Path:
    return venv / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has nothing, not even pip."""
    return make_venv(tmp_path_factory.mktemp("bare") / "empty höst", "--without-pip")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of packages for PYTHONPATH, in which importing torch, pip or negopt is an error."""
    folder = tmp_path / "site packages"
    folder.mkdir()
    for name in ("torch", "pip", "negopt"):
        (folder / f"{name}.py").write_text(f"raise AssertionError('{name} was imported')\n")
    return folder


def have(site: Path, **versions: str) -> None:
    """Puts a package's metadata, and nothing else, into a folder."""
    for name, version in versions.items():
        info = site / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def have_all(site: Path, **other: str) -> None:
    have(site, **{name.replace("-", "_"): version for name, version in NEEDED.items()} | other)


# Reading what is needed


def test_the_requirements_are_those_of_pyproject() -> None:
    assert {one.name: one.at_least for one in load().requirements()} == NEEDED


PYPROJECT = """
[tool.before]
dependencies = ["not-this>=1"]
[project]  # the table
name = "x"
classifiers = ["also [not] this"]
dependencies = [
    "one>=1",  # a comment with ] and "quotes>=9"
    'two[extra]>=2',
    # "three>=3",
    "four>=4"
]
[project.optional-dependencies]
dependencies = ["nor-this>=1"]
"""


@pytest.mark.parametrize("text", [PYPROJECT, (ROOT / "pyproject.toml").read_text(encoding="utf-8")])
def test_python_310_reads_the_same_dependencies_by_hand(text: str) -> None:
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 has nothing to compare with")
    assert load().dependencies_without_tomllib(text) == tomllib.loads(text)["project"]["dependencies"]


def test_dependencies_are_read_by_hand() -> None:
    assert load().dependencies_without_tomllib(PYPROJECT) == ["one>=1", "two[extra]>=2", "four>=4"]
    with pytest.raises(ValueError, match=r"no project\.dependencies"):
        load().dependencies_without_tomllib('[tool.x]\ndependencies = ["a>=1"]\n')


@pytest.mark.parametrize(
    ("version", "bound", "older"),
    [
        ("0.13.2", "0.13.3", True),
        ("0.9", "0.13.3", True),
        ("2.1.2+cu121", "2.1", False),
        ("2.10", "2.9.1", False),
        ("2.1", "2.1.0", False),
        ("3.0rc1", "2.1", False),
        ("1!0.1", "0.2", True),
        ("unknown", "2.1", False),
    ],
)
def test_versions_are_compared_as_numbers(version: str, bound: str, older: bool) -> None:
    assert load().is_older(version, bound) is older


# A host's start


def test_nothing_is_said_or_imported_where_nothing_is_missing(bare: Path, site: Path) -> None:
    have_all(site)
    done = run(bare, PYTHONPATH=str(site))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_start_with_nothing_to_do_loads_no_slow_module(bare: Path, site: Path) -> None:
    have_all(site)
    done = run(bare, PYTHONPATH=str(site), PYTHONPROFILEIMPORTTIME="1")
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "importlib.metadata" in loaded
    assert not loaded & {"argparse", "subprocess", "torch", "pip", "negopt"}


def test_an_older_version_is_told_and_left(bare: Path, site: Path) -> None:
    have(site, torch="2.0.1", tokenizers="0.13.3", safetensors="0.3.1", huggingface_hub="0.15.1")
    done = run(bare, PYTHONPATH=str(site))
    assert done.stdout == "NegOpt: this host has torch 2.0.1, NegOpt is made for torch>=2.1; it is left as it is.\n"
    assert done.returncode == 0


def test_torch_is_left_to_the_host(bare: Path, site: Path) -> None:
    have(site, tokenizers="0.22.0", safetensors="0.6", huggingface_hub="1.0")
    (site / "torch.py").unlink()
    done = run(bare, PYTHONPATH=str(site))
    assert done.stdout.startswith("NegOpt: torch is missing; the host brings its own")
    assert len(done.stdout.splitlines()) == 1
    assert done.returncode == 0
    assert run(bare, "--install", PYTHONPATH=str(site)).returncode == 1


def test_a_module_without_metadata_is_there(bare: Path, site: Path) -> None:
    have(site, tokenizers="0.22.0", safetensors="0.6", huggingface_hub="1.0")  # torch.py lies in the folder
    assert run(bare, PYTHONPATH=str(site)).stdout == ""


def test_an_empty_folder_of_a_package_is_not_the_package(bare: Path, site: Path) -> None:
    have(site, torch="2.4", safetensors="0.6", huggingface_hub="1.0")
    (site / "pip.py").unlink()
    (site / "tokenizers").mkdir()
    assert "tokenizers>=0.13.3: missing" in run(bare, PYTHONPATH=str(site), PATH="").stdout


def test_without_pip_and_uv_it_says_what_to_do(bare: Path) -> None:
    done = run(bare, PATH="")
    assert "has neither pip nor uv; install them with the host's own tool" in done.stdout
    assert str(bare) in done.stdout
    assert done.returncode == 0
    assert run(bare, "--install", PATH="").returncode == 1
    assert run(sys.executable, "--python", bare, PATH="").returncode == 1


def test_a_host_starts_even_with_a_broken_checkout(bare: Path, tmp_path: Path) -> None:
    shutil.copy(INSTALL, tmp_path)
    done = run(bare, script=tmp_path / "install.py")
    assert done.returncode == 0
    assert done.stdout.startswith("NegOpt: install.py failed (FileNotFoundError")
    assert len(done.stdout.splitlines()) == 1


# Installing, for real


def test_constraints_hold_pins_and_what_the_host_asks_of_the_missing(tmp_path: Path) -> None:
    """Requirements that an extra makes, that pip could not read, or that are about other packages are left out."""
    have(tmp_path, some_host="1.0+local")
    asks = ["Tokenizers (<0.14,>=0.11.1)", "tokenizers!=0.12.*; python_version > '3'", "tokenizers>=0.13.*"]
    asks += ["tokenizers>=9; extra == 'all'", "tokenizers @ https://example.org/x.whl", "safetensors<1", "tokenizers"]
    with (tmp_path / "some_host-1.0+local.dist-info" / "METADATA").open("a", encoding="utf-8") as file:
        file.writelines(f"Requires-Dist: {line}\n" for line in asks)
    install = load()
    present = list(metadata.distributions(path=[str(tmp_path)]))
    assert install.constraints(present, [install.Requirement("tokenizers", "0.13.3")]) == [
        "some-host==1.0+local",
        "torch<0",
        "tokenizers!=0.12.*; python_version > '3'",
        "tokenizers<0.14,>=0.11.1",
    ]


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pristine") / "venv"
    make_venv(folder)
    return folder


class PipHost:
    """A host's Python with pip, and a folder of wheels as the only place to install from."""

    def __init__(self, venv: Path, wheels: Path) -> None:
        self.python = python_in(venv)
        self.wheels = wheels
        wheels.mkdir()

    def offer(self, name: str, version: str, *requires: str) -> None:
        info = f"{name}-{version}.dist-info"
        facts = [
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}",
            *(f"Requires-Dist: {r}" for r in requires),
        ]
        with zipfile.ZipFile(self.wheels / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{name}.py", f"VERSION = {version!r}\n")
            wheel.writestr(f"{info}/METADATA", "\n".join(facts) + "\n")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")

    def pip(self, *arguments: str) -> str:
        command = [str(self.python), "-m", "pip", "--isolated", *arguments]
        return subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout

    def starts_with(self, *requirements: str) -> dict[str, str]:
        self.pip("install", "--no-index", "--find-links", str(self.wheels), "--no-deps", *requirements)
        return self.packages()

    def packages(self) -> dict[str, str]:
        listed = json.loads(self.pip("list", "--format", "json", "--disable-pip-version-check"))
        return {one["name"]: one["version"] for one in listed}

    def install(self, *options: str) -> subprocess.CompletedProcess[str]:
        return run(self.python, *options, PIP_FIND_LINKS=str(self.wheels))


@pytest.fixture
def host(pristine: Path, tmp_path: Path) -> Iterator[PipHost]:
    venv = tmp_path / "ein Höst"
    shutil.copytree(pristine, venv, symlinks=True)
    host = PipHost(venv, tmp_path / "wheels")
    for name in ("torch", "tokenizers", "safetensors", "huggingface_hub"):
        host.offer(name, "99.0")
    yield host
    assert "torch" not in host.packages() or host.packages()["torch"] != "99.0", "torch was installed"


def test_only_what_is_missing_comes_and_nothing_changes(host: PipHost) -> None:
    """Of each missing package the newest version that goes with what the host has, with what it needs in turn."""
    for version in ("1.0", "2.0"):
        host.offer("shared", version)
    host.offer("tokenizers", "0.20", "shared>=1.0", "brought")
    host.offer("tokenizers", "0.30", "shared>=2.0", "brought")
    (host.wheels / "tokenizers-99.0-py3-none-any.whl").unlink()
    host.offer("brought", "1.5")
    host.offer("huggingface_hub", "0.30")
    host.offer("old_transformers", "4.30", "huggingface-hub (<1.0,>=0.14)", "tokenizers>=99; extra == 'all'")
    host.offer("safetensors", "0.4")
    before = host.starts_with("shared==1.0", "old_transformers", "safetensors==0.4")
    done = host.install()
    added = {"brought": "1.5", "huggingface_hub": "0.30", "tokenizers": "0.20"}
    assert host.packages() == before | added, done.stdout
    assert done.returncode == 0
    assert done.stdout.splitlines()[1:] == ["NegOpt: installed brought 1.5, huggingface-hub 0.30, tokenizers 0.20."]

    again = host.install()
    assert [line.split(";")[0] for line in again.stdout.splitlines()] == ["NegOpt: torch is missing"]


def test_it_fails_rather_than_changes_a_package(host: PipHost) -> None:
    for version in ("1.0", "2.0"):
        host.offer("shared", version)
    host.offer("tokenizers", "99.0", "shared>=2.0")
    before = host.starts_with("shared==1.0", "safetensors", "huggingface_hub")
    done = host.install()
    assert host.packages() == before
    assert done.returncode == 0
    last = done.stdout.splitlines()[-1]
    assert last.startswith("NegOpt: could not install tokenizers>=0.13.3 (")
    assert f'To try again: "{host.python}" "{INSTALL}" --install' in last
    assert len(done.stdout.splitlines()) == 2
    assert host.install("--install").returncode == 1


def test_torch_does_not_come_through_the_back_door(host: PipHost) -> None:
    host.offer("tokenizers", "99.0", "torch")
    before = host.starts_with("safetensors", "huggingface_hub")
    assert "could not install tokenizers" in host.install().stdout
    assert host.packages() == before


def test_with_torch_there_install_succeeds(host: PipHost) -> None:
    host.offer("torch", "2.1.2+cu121")
    before = host.starts_with("torch==2.1.2+cu121", "safetensors")
    done = host.install("--install")
    assert done.returncode == 0, done.stdout
    assert host.packages() == before | {"tokenizers": "99.0", "huggingface_hub": "99.0"}


def test_python_option_installs_into_that_python(host: PipHost) -> None:
    host.offer("torch", "2.4")
    before = host.starts_with("torch==2.4", "safetensors", "huggingface_hub")
    done = run(sys.executable, "--python", host.python, PIP_FIND_LINKS=str(host.wheels))
    assert "installed tokenizers 99.0." in done.stdout
    assert done.returncode == 0
    assert host.packages() == before | {"tokenizers": "99.0"}


# Links


@pytest.fixture
def comfyui(tmp_path: Path) -> Path:
    folder = tmp_path / "my Cömfy UI" / "ComfyUI"
    for part in ("comfy", "custom_nodes/other_pack"):
        (folder / part).mkdir(parents=True)
    (folder / "nodes.py").touch()
    return folder


@pytest.fixture
def webui(tmp_path: Path) -> Path:
    folder = tmp_path / "stable diffusion wébui"
    (folder / "modules").mkdir(parents=True)
    for name in ("webui.py", "launch.py"):
        (folder / name).touch()
    return folder


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A small clone of NegOpt: what install.py looks at, and what a copy leaves out."""
    folder = tmp_path / "clöne"
    shutil.copytree(ROOT / "negopt" / "models", folder / "negopt" / "models")
    for name in ("install.py", "pyproject.toml", "negopt/__init__.py"):
        shutil.copy(ROOT / name, folder / name)
    (folder / ".git").mkdir()
    return folder


def by_hand(*options: object, script: Path = INSTALL) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, *options, script=script)


def entries(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_comfyui_gets_a_link_and_loses_it_again(comfyui: Path) -> None:
    place = comfyui / "custom_nodes" / "negopt"
    done = by_hand("--comfyui", comfyui)
    assert done.returncode == 0, done.stderr
    assert place.is_dir()
    assert place.samefile(ROOT)
    assert str(place) in done.stdout

    again = by_hand("--comfyui", comfyui)
    assert (again.returncode, "already in place" in again.stdout) == (0, True)
    assert by_hand("--comfyui", comfyui, "--name", "other").returncode == 0
    assert entries(comfyui / "custom_nodes") == ["negopt", "other_pack"]

    assert by_hand("--comfyui", comfyui, "--unlink").returncode == 0
    assert entries(comfyui / "custom_nodes") == ["other_pack"]
    assert INSTALL.is_file()
    assert "nothing to take away" in by_hand("--comfyui", comfyui, "--unlink").stdout


def test_a_web_ui_that_was_never_started_gets_its_extensions_folder(webui: Path) -> None:
    assert by_hand("--a1111", webui, "--name", "sd-webui-negopt").returncode == 0
    assert (webui / "extensions" / "sd-webui-negopt").samefile(ROOT)


def test_the_link_is_found_under_any_name(webui: Path) -> None:
    by_hand("--a1111", webui, "--name", "sd-webui-negopt")
    assert by_hand("--a1111", webui, "--unlink").returncode == 0
    assert entries(webui / "extensions") == []


def test_both_hosts_at_once(comfyui: Path, webui: Path) -> None:
    assert by_hand("--comfyui", comfyui, "--a1111", webui).returncode == 0
    assert (comfyui / "custom_nodes" / "negopt").samefile(webui / "extensions" / "negopt")


def test_comfyuis_base_directory_is_a_host(tmp_path: Path) -> None:
    for name in ("custom_nodes", "models", "user"):
        (tmp_path / name).mkdir()
    assert by_hand("--comfyui", tmp_path).returncode == 0


def test_another_folder_is_no_host(comfyui: Path, webui: Path) -> None:
    done = by_hand("--comfyui", comfyui.parent)
    assert done.returncode == 1
    assert f"is not ComfyUI's folder: it has no nodes.py; did you mean {comfyui}?" in done.stderr
    assert by_hand("--a1111", comfyui).returncode == 1
    assert by_hand("--comfyui", webui).returncode == 1
    assert by_hand("--comfyui", comfyui / "nowhere").returncode == 1
    assert entries(comfyui) == ["comfy", "custom_nodes", "nodes.py"]
    assert not (webui / "extensions").exists()


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("folder", "exists and is not NegOpt; choose another --name"),
        ("file", "exists and is not NegOpt; choose another --name"),
        ("foreign link", "is a link to"),
    ],
)
def test_nothing_is_overwritten_or_deleted(comfyui: Path, what: str, why: str) -> None:
    place = comfyui / "custom_nodes" / "negopt"
    other = comfyui / "custom_nodes" / "other_pack"
    if what == "folder":
        place.mkdir()
        (place / "mine.txt").write_text("mine")
    elif what == "file":
        place.write_text("mine")
    else:
        place.symlink_to(other)
    done = by_hand("--comfyui", comfyui)
    assert done.returncode == 1
    assert f"{place} {why}" in done.stderr
    assert by_hand("--comfyui", comfyui, "--unlink").returncode == 1
    if what == "foreign link":
        assert place.samefile(other)
    else:
        assert (place / "mine.txt" if what == "folder" else place).read_text() == "mine"


def test_a_clone_inside_the_host_is_neither_linked_nor_deleted(comfyui: Path, checkout: Path) -> None:
    clone = comfyui / "custom_nodes" / "NegOpt-main"
    checkout.rename(clone)
    assert "already in place" in by_hand("--comfyui", comfyui, script=clone / "install.py").stdout
    assert entries(comfyui / "custom_nodes") == ["NegOpt-main", "other_pack"]
    done = by_hand("--comfyui", comfyui, "--unlink", script=clone / "install.py")
    assert done.returncode == 1
    assert "is a real folder" in done.stderr
    assert (clone / "install.py").is_file()


def test_a_link_to_a_checkout_that_is_gone_can_be_taken_away(comfyui: Path, tmp_path: Path) -> None:
    place = comfyui / "custom_nodes" / "negopt"
    place.symlink_to(tmp_path / "gone")
    assert by_hand("--comfyui", comfyui).returncode == 1
    assert by_hand("--comfyui", comfyui, "--unlink").returncode == 0
    assert not place.is_symlink()


def no_links(place: Path) -> None:
    """A file system, or a user, without links."""
    raise OSError("links are not permitted")


def test_a_copy_is_made_and_said_where_links_are_not_possible(
    comfyui: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install = load(checkout / "install.py")
    monkeypatch.setattr(install, "make_link", no_links)
    place = comfyui / "custom_nodes" / "negopt"
    assert install.main(["--comfyui", str(comfyui)]) == 0
    assert "links are not permitted" in capsys.readouterr().out
    assert not place.is_symlink()
    assert entries(place) == ["install.py", "negopt", "pyproject.toml"]
    assert install.main(["--comfyui", str(comfyui)]) == 0
    assert "a folder of its own" in capsys.readouterr().out
    assert install.main(["--comfyui", str(comfyui), "--unlink"]) == 1
    assert (place / "install.py").is_file()


def test_a_copy_is_made_where_windows_leaves_half_a_junction(
    comfyui: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def half(source: str, place: str) -> None:
        """As CPython does it: the folder is made first, and stays where it cannot become a junction."""
        Path(place).mkdir()
        raise OSError("Incorrect function")

    windows = ModuleType("_winapi")
    windows.CreateJunction = half  # type: ignore[attr-defined]
    install = load(checkout / "install.py")
    monkeypatch.setitem(sys.modules, "_winapi", windows)
    monkeypatch.setattr(install, "is_link", lambda path: False)
    with monkeypatch.context() as patch:
        patch.setattr(install.sys, "platform", "win32")
        assert install.main(["--comfyui", str(comfyui)]) == 0
    assert "copied to" in capsys.readouterr().out
    assert (comfyui / "custom_nodes" / "negopt" / "install.py").is_file()


def test_no_copy_is_made_into_itself(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install = load(checkout / "install.py")
    monkeypatch.setattr(install, "make_link", no_links)
    for name in ("custom_nodes", "models", "user"):
        (checkout / "runs" / name).mkdir(parents=True)
    assert install.main(["--comfyui", str(checkout / "runs")]) == 1
    assert "a copy would hold itself" in capsys.readouterr().err
    assert entries(checkout / "runs" / "custom_nodes") == []


@pytest.mark.parametrize(
    "options",
    [
        ["--unlink"],
        ["--name", "x"],
        ["--comfyui", "{host}", "--name", "neg.opt"],
        ["--comfyui", "{host}", "--name", "../negopt"],
        ["--comfyui", "{host}", "--install"],
        ["--comfyui", "{host}", "--unlink", "--check"],
    ],
)
def test_wrong_options_change_nothing(comfyui: Path, options: Sequence[str]) -> None:
    assert by_hand(*(option.format(host=comfyui) for option in options)).returncode == 2
    assert entries(comfyui / "custom_nodes") == ["other_pack"]


# --check


def rows(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """The lines of --check by their second word: a package's, a model's or the host's name."""
    return {line.split()[1].split(">=")[0]: line for line in done.stdout.splitlines()}


def test_check_says_what_is_there_and_what_is_not(bare: Path, site: Path) -> None:
    have(site, torch="2.3.1", tokenizers="0.12.0", safetensors="0.4.2")
    done = run(sys.executable, "--check", "--python", bare, PYTHONPATH=str(site))
    said = rows(done)
    assert done.returncode == 1
    assert str(bare) in done.stdout
    assert said["torch"].split()[2:] == ["2.3.1", "ok"]
    assert "older" in said["tokenizers"]
    assert said["safetensors"].endswith("ok")
    assert "missing" in said["huggingface-hub"]
    assert said["negopt-mini"].endswith("whole")


def test_check_is_content_with_all_there(bare: Path, site: Path) -> None:
    have_all(site)
    done = run(bare, "--check", PYTHONPATH=str(site))
    assert (done.returncode, done.stderr) == (0, "")


def test_check_says_whether_negopt_is_in_the_host(bare: Path, site: Path, comfyui: Path) -> None:
    have_all(site)
    before = run(bare, "--check", "--comfyui", comfyui, PYTHONPATH=str(site))
    assert (before.returncode, "NegOpt is not in it" in before.stdout) == (1, True)
    by_hand("--comfyui", comfyui)
    after = run(bare, "--check", "--comfyui", comfyui, PYTHONPATH=str(site))
    assert (after.returncode, f"NegOpt is {comfyui / 'custom_nodes' / 'negopt'}" in after.stdout) == (0, True)
    nowhere = run(bare, "--check", "--a1111", comfyui, PYTHONPATH=str(site))
    assert (nowhere.returncode, "it has no webui.py" in nowhere.stdout) == (1, True)


def test_check_finds_the_host_around_it(webui: Path) -> None:
    by_hand("--a1111", webui)
    inside = webui / "extensions" / "negopt" / "install.py"
    assert f"AUTOMATIC1111 or Forge in {webui}" in by_hand("--check", script=inside).stdout
    assert "none around" in by_hand("--check").stdout


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("weights cut", "model.safetensors is damaged"),
        ("weights are a pointer", "model.safetensors is damaged"),
        ("weights gone", "no weights"),
        ("tokenizer cut", "tokenizer.json is damaged"),
        ("config gone", "no config.json"),
        ("model gone", "none in"),
    ],
)
def test_check_finds_a_damaged_model(bare: Path, site: Path, checkout: Path, damage: str, said: str) -> None:
    have_all(site)
    model = checkout / "negopt" / "models" / "negopt-mini"
    weights = model / "model.safetensors"
    if damage == "weights cut":
        weights.write_bytes(weights.read_bytes()[:-1])
    elif damage == "weights are a pointer":
        weights.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 7855472\n")
    elif damage == "weights gone":
        weights.unlink()
    elif damage == "tokenizer cut":
        (model / "tokenizer.json").write_text("{")
    elif damage == "config gone":
        (model / "config.json").unlink()
    else:
        shutil.rmtree(model)
    done = run(bare, "--check", script=checkout / "install.py", PYTHONPATH=str(site))
    assert done.returncode == 1
    assert said in done.stdout


def test_a_python_that_does_not_run_is_told(tmp_path: Path) -> None:
    done = by_hand("--check", "--python", tmp_path / "python")
    assert done.returncode == 1
    assert "does not run" in done.stderr


# metadata.ini


def test_metadata_holds_in_a_folder_of_any_name() -> None:
    """AUTOMATIC1111 opens it in the system's encoding, and complains of a section that names another folder."""
    text = (ROOT / "metadata.ini").read_bytes().decode("ascii")
    config = configparser.ConfigParser()
    config.read_string(text)
    assert config.sections() == ["Extension", "scripts"]
    assert "sd-dynamic-prompts" in config["scripts"]["After"].split(", ")
