"""The ways to install the book agree with each other, and fail in one line that says what to do."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import distributions
from pathlib import Path

import pytest
import yaml
from packaging.markers import Marker, default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.patience import PATIENCE
from tools.kernel_env import KERNEL_ENV

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
EXTRAS = PROJECT["optional-dependencies"]
ASKED = [Requirement(line) for group in [PROJECT["dependencies"], *EXTRAS.values()] for line in group]
PINS = [Requirement(line) for line in (ROOT / "constraints.txt").read_text().splitlines() if line[0] != "#"]
PYTHONS = ["3.11", "3.12", "3.13"]
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text())
PIP_LINES = next(entry["pip"] for entry in ENVIRONMENT["dependencies"] if isinstance(entry, dict))


def pinned(python: str) -> dict[str, Version]:
    here = default_environment() | {"python_version": python, "python_full_version": f"{python}.0"}
    chosen = [pin for pin in PINS if pin.marker is None or Marker(str(pin.marker)).evaluate(here)]
    versions = {canonicalize_name(pin.name): Version(str(pin.specifier).removeprefix("==")) for pin in chosen}
    assert len(versions) == len(chosen), "a package is pinned twice"
    return versions


@pytest.mark.parametrize("python", PYTHONS)
def test_every_dependency_is_pinned_inside_its_range(python):
    versions = pinned(python)
    for asked in ASKED:
        assert asked.specifier.contains(versions[canonicalize_name(asked.name)]), asked


@pytest.mark.parametrize("python", PYTHONS)
def test_pins_accept_even_the_first_release_of_each_python(python):
    """Distributions keep old ones: Debian 12 has 3.11.2, for which some packages have no newest version."""
    here = {
        distribution.name: distribution.metadata["Requires-Python"]
        for distribution in distributions()
        if f"{distribution.name}=={distribution.version}" in map(str, PINS)
    }
    assert not {name: need for name, need in here.items() if not SpecifierSet(need or "").contains(f"{python}.0")}


@pytest.mark.parametrize("python", ["3.10", *PYTHONS, "3.14"])
def test_pythons_are_those_that_pyproject_asks_for(python):
    allowed = Requirement(f"book{PROJECT['requires-python']}").specifier.contains(f"{python}.5")
    assert allowed == (python in PYTHONS)
    assert allowed == (python in re.search(r"^ +(3.*)\) return", bootstrap(), re.MULTILINE)[1].split(" | "))


def bootstrap() -> str:
    return (ROOT / "tools" / "bootstrap.sh").read_text()


def test_conda_environment_installs_this_package_the_same_way():
    assert set(ENVIRONMENT) == {"name", "channels", "dependencies"}
    assert ENVIRONMENT["channels"] == ["conda-forge", "nodefaults"]
    python = next(entry for entry in ENVIRONMENT["dependencies"] if str(entry).startswith("python="))
    assert python.removeprefix("python=") in PYTHONS
    assert PIP_LINES[0] == "-c constraints.txt"
    extras = re.fullmatch(r"-e \.\[(.*)\]", PIP_LINES[1])[1].split(",")
    assert set(extras) <= set(EXTRAS)


def test_extras_that_make_installs_exist():
    asked = re.findall(r"bootstrap\.sh (\S+)", (ROOT / "Makefile").read_text())
    assert set(",".join(asked).split(",")) <= set(EXTRAS)


def test_files_of_the_package_that_are_not_python_are_installed_too():
    package = ROOT / "dpo_book"
    patterns = PYPROJECT["tool"]["setuptools"]["package-data"]["dpo_book"]
    installed = {path for pattern in patterns for path in package.glob(pattern)}
    files = {path for path in package.rglob("*") if path.is_file()}
    assert installed == {path for path in files if path.suffix not in (".py", ".pyc")}


def test_notebooks_are_paired_where_jupyterlab_looks():
    pairing = tomllib.loads((ROOT / "notebooks" / "jupytext.toml").read_text())
    assert pairing["formats"] == "ipynb,py//py:percent"


def test_environment_is_set_before_torch_is_imported():
    assert {name: os.environ.get(name) for name in KERNEL_ENV} == KERNEL_ENV
    assert Path(os.environ["DPO_BOOK_CACHE"]).is_dir()


AS_CLONED = [
    ".gitattributes",
    ".ci/run",
    "Makefile",
    "constraints.txt",
    "tools/bootstrap.sh",
    "tools/record.py",
    "notebooks/00_what_does_dpo_do.ipynb",
    "notebooks/py/00_what_does_dpo_do.py",
    "notebooks/results/verdicts.csv",
    "tests/samples/hh.jsonl",
    "docs/does_it_get_there.png",
]


@pytest.mark.skipif(shutil.which("git") is None, reason="no git here")
def test_a_clone_with_windows_line_ends_has_the_same_bytes(tmp_path):
    origin, clone = tmp_path / "origin", tmp_path / "clone"
    for name in AS_CLONED:
        (origin / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, origin / name)

    def git(*words: object) -> None:
        nobody = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
        alone = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        subprocess.run(["git", *nobody, *map(str, words)], env=os.environ | alone, check=True, capture_output=True)

    git("init", origin)
    git("-C", origin, "add", "--force", *AS_CLONED)
    git("-C", origin, "commit", "--message", "the book")
    git("clone", "--config", "core.autocrlf=true", origin, clone)
    assert [name for name in AS_CLONED if (clone / name).read_bytes() != (ROOT / name).read_bytes()] == []


make = pytest.mark.skipif(shutil.which("make") is None, reason="no make here")


def run_make(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "MAKE", "MFLAGS"))}
    return subprocess.run(
        ["make", *words],
        cwd=folder,
        env=clean | environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=PATIENCE,
    )


@pytest.fixture
def copy(tmp_path):
    """What `make lab` reads before anything is installed, in a folder whose name has a space."""
    folder = tmp_path / "a copy"
    (folder / "tools").mkdir(parents=True)
    for name in (
        "Makefile",
        "pyproject.toml",
        "constraints.txt",
        "README.md",
        "LICENSE",
        "tools/bootstrap.sh",
    ):
        shutil.copy(ROOT / name, folder / name)
    (folder / "dpo_book").mkdir()
    return folder


def said(done: subprocess.CompletedProcess) -> list[str]:
    """The lines of an error, without make's own."""
    assert done.returncode != 0
    return [line for line in done.stderr.splitlines() if not line.startswith("make")]


def fake_python(folder: Path, name: str, body: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


@make
def test_make_alone_lists_every_target():
    listed = run_make(ROOT).stdout
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {"lab", "test", "outputs", "lint"} < set(targets)
    assert all(f"make {target} " in listed for target in targets if target != "help")


@make
def test_python_too_old_is_said_in_a_line(copy, tmp_path):
    old = fake_python(tmp_path / "bin", "old", "echo 3.8")
    (line,) = said(run_make(copy, "lab", f"PYTHON={old}"))
    assert "needs Python 3.11, 3.12 or 3.13" in line
    assert f"{old} is 3.8; install one" in line
    assert not (copy / ".venv").exists()


@make
def test_no_python_is_said_in_a_line(copy, tmp_path):
    for name in ("python3", "python3.11", "python3.12", "python3.13", "python"):
        fake_python(tmp_path / "bin", name, "echo 'no such version' >&2; exit 127")
    (line,) = said(run_make(copy, "lab", PATH=f"{tmp_path / 'bin'}:/usr/bin:/bin"))
    assert "no Python that runs was found" in line


@make
def test_python_that_cannot_make_environments_is_said_in_a_line(copy, tmp_path):
    bare = fake_python(tmp_path / "bin", "bare", '[ "$1" = -c ] && echo 3.12')
    (line,) = said(run_make(copy, "lab", f"PYTHON={bare}"))
    assert "venv" in line


@make
def test_no_network_is_said_in_a_line_and_the_next_call_goes_on(copy):
    offline = {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
        "PIP_RETRIES": "0",
        "PIP_TIMEOUT": "1",
        "PYTHON": sys.executable,
    }
    (line,) = said(run_make(copy, "lab", **offline))
    assert "the package index cannot be reached" in line
    assert (copy / ".venv" / "install.log").read_text() != ""
    (line,) = said(run_make(copy, "lab", **offline))
    assert "the package index cannot be reached" in line


@make
def test_ready_environment_is_left_alone_until_what_it_needs_changes(copy, tmp_path):
    """A stand-in for Python notes what it is asked, so that nothing has to be installed."""
    notes = tmp_path / "notes"
    note = f'case "$*" in *"-m pip install"*) echo pip >>"{notes}" ;; *jupyterlab*) echo lab >>"{notes}" ;; esac'
    venv = f'if [ "$2" = venv ]; then mkdir -p .venv/bin; cp "$0" .venv/bin/python; echo new >>"{notes}"; fi'
    python = fake_python(tmp_path / "bin", "python3", f'[ "$1" = -c ] && echo 3.12\n{note}\n{venv}')

    def what_make_did(target: str) -> list[str]:
        notes.write_text("")
        assert run_make(copy, target, f"PYTHON={python}").returncode == 0
        return notes.read_text().split()

    assert what_make_did("lab") == ["new", "pip", "lab"]
    assert what_make_did("lab") == ["lab"]
    assert what_make_did("outputs") == ["pip"]  # more extras
    assert what_make_did("lab") == ["lab"]
    (copy / "constraints.txt").write_text("torch==2.13.0\n")
    assert what_make_did("lab") == ["pip", "lab"]
    (copy / ".venv" / "book.stamp").write_text("installing\n")  # cut short
    assert what_make_did("lab") == ["new", "pip", "lab"]
