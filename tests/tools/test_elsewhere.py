"""What lets the book be opened, cited and mended elsewhere: files that other programs and people read."""

import json
import re
import tomllib
from datetime import datetime
from pathlib import Path

import yaml
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
# Of containers.dev's schema, those that a container made of an image may have and that this one might want.
DEVCONTAINER_KEYS = {
    "name": str,
    "image": str,
    "hostRequirements": dict,
    "containerEnv": dict,
    "forwardPorts": list,
    "postCreateCommand": str,
    "customizations": dict,
}


def lines_of(name: str) -> list[str]:
    return (ROOT / name).read_text(encoding="utf-8").splitlines()


def test_binder_installs_the_book_with_the_tested_versions_and_torch_for_the_cpu():
    asked = [line for line in lines_of("binder/requirements.txt") if not line.startswith("#")]
    index, constraints, book = asked  # and so no version stands here
    assert index == f"--extra-index-url {CPU_INDEX}"
    versions = ROOT / "binder" / constraints.removeprefix("-c ")  # pip looks from the file that names it
    assert versions.resolve() == ROOT / "constraints.txt"
    (extras,) = re.findall(r"^-e \.\[(.*)\]$", book)  # repo2docker runs pip in the repository's root
    assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])


def test_binder_s_python_is_one_that_the_book_takes():
    (line,) = lines_of("binder/runtime.txt")
    assert re.fullmatch(r"python-3\.\d+", line)
    assert SpecifierSet(PROJECT["requires-python"]).contains(f"{line.removeprefix('python-')}.0")


def test_binder_s_folder_holds_nothing_that_would_take_the_place_of_these_files():
    """An environment.yml or a Dockerfile beside them would be read, and they not."""
    assert {path.name for path in (ROOT / "binder").iterdir()} == {"requirements.txt", "runtime.txt"}


def test_the_development_container_installs_as_make_does():
    settings = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))
    assert {name: type(value) for name, value in settings.items()}.items() <= DEVCONTAINER_KEYS.items()
    (python,) = re.findall(r"^mcr\.microsoft\.com/devcontainers/python:(3\.\d+)$", settings["image"])
    assert SpecifierSet(PROJECT["requires-python"]).contains(f"{python}.0")
    (extras,) = re.findall(r"^sh tools/bootstrap\.sh (\S+)$", settings["postCreateCommand"])
    assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])
    assert settings["containerEnv"] == {"PIP_EXTRA_INDEX_URL": CPU_INDEX}
    requirements = settings["hostRequirements"]
    assert set(requirements) == {"cpus", "memory"} and re.fullmatch(r"\d+gb", requirements["memory"])
    editor = settings["customizations"]["vscode"]
    assert editor["settings"]["python.defaultInterpreterPath"] == "${containerWorkspaceFolder}/.venv/bin/python"


def test_the_citation_is_of_this_package():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert set(citation) == {
        "cff-version",
        "message",
        "type",
        "title",
        "abstract",
        "version",
        "license",
        "authors",
    } | {"references"}
    assert citation["cff-version"] == "1.2.0" and citation["type"] == "software"
    said = {"version": PROJECT["version"], "license": PROJECT["license"], "abstract": PROJECT["description"]}
    assert {name: citation[name] for name in said} == said
    (holders,) = re.findall(r"^Copyright \(c\) \d+ (.*)$", "\n".join(lines_of("LICENSE")), re.MULTILINE)
    assert citation["authors"] == [{"name": holders}]
    (paper,) = citation["references"]
    assert {"type", "title", "authors", "year", "url"} <= set(paper)


def test_what_contributing_names_is_there():
    text = "\n".join(lines_of("CONTRIBUTING.md"))
    steps = [line for line in text.splitlines() if re.match(r"\d+\. ", line)]
    assert len(steps) <= 10
    targets = re.findall(r"^([a-z-]+):", "\n".join(lines_of("Makefile")), re.MULTILINE)
    assert set(re.findall(r"`make ([a-z-]+)", text)) <= set(targets)
    chapter = "06_where_does_the_loss_come_from"
    paths = [*re.findall(r"`((?:notebooks|teacher|tests|docs|tools)/\S+?)`", text), "tools/bootstrap.sh"]
    for path in paths:
        concrete = path.replace("NN_name", chapter).replace("NN", chapter[:2])
        assert (ROOT / concrete).exists(), path
    extras = re.findall(r"bootstrap\.sh ([\w,]+)", text)
    assert extras and set(",".join(extras).split(",")) <= set(PROJECT["optional-dependencies"])


def test_errata_are_dated_newest_first_and_name_their_chapters():
    text = (ROOT / "docs" / "errata.md").read_text(encoding="utf-8")
    days = [datetime.strptime(line, "%d %B %Y") for line in re.findall(r"^## (.*)$", text, re.MULTILINE)]
    assert days and days == sorted(days, reverse=True)
    chapters = {path.stem[:2] for path in (ROOT / "notebooks" / "py").glob("*.py")}
    named = re.findall(r"^- \*\*Chapter (\d\d)\.\*\* ", text, re.MULTILINE)
    assert len(named) == len(re.findall(r"^- ", text, re.MULTILINE)) > 0 and set(named) <= chapters
