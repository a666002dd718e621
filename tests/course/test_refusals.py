"""What no course can be made of is told in a line, before Sphinx begins, which is slow."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.patience import PATIENCE
from tools import chromium
from tools.course import build as course_build
from tools.course.__main__ import STOPPED
from tools.course.build import NOTES, build
from tools.course.place import CourseInUse
from tools.course.printing import PrintingError, require_browser
from tools.course.sources import SourceError
from tools.teacher import TeacherError

# `python -m tools.course`, for the folder that it is given.
ELSEWHERE = """
import pathlib, runpy, sys
from tools.course import build
build.COURSE = pathlib.Path(sys.argv[1])
runpy.run_module("tools.course", run_name="__main__")
"""


def a_browser():
    return "chromium"


def no_browser():
    return None


def in_latin_1(path):
    path.write_bytes("# Prüfung\n".encode("latin-1"))


def without_title(path):
    path.write_text("Before the lesson\n", encoding="utf-8")


class TooLate(Exception):
    """Sphinx was begun."""


@pytest.fixture
def no_sphinx(monkeypatch):
    """Whatever is refused has to be before Sphinx begins. There is a browser, which nobody opens."""

    def begin(*_args: object) -> None:
        raise TooLate

    monkeypatch.setattr(course_build, "run_sphinx", begin)
    monkeypatch.setattr(course_build, "require_browser", a_browser)


def test_nothing_is_written_through_a_link(tmp_path, no_sphinx):
    elsewhere, link = tmp_path / "elsewhere", tmp_path / "course"
    elsewhere.mkdir()
    link.symlink_to(elsewhere)
    with pytest.raises(CourseInUse, match="is a link or a file: move it away"):
        build(link)
    assert link.is_symlink() and not list(elsewhere.iterdir())


def test_a_missing_browser_is_told_before_sphinx_begins(tmp_path, no_sphinx, monkeypatch):
    monkeypatch.setattr(course_build, "require_browser", require_browser)
    monkeypatch.setattr(chromium, "find", no_browser)
    with pytest.raises(PrintingError, match="there is none: install one"):
        build(tmp_path / "course")
    assert not list(tmp_path.iterdir())


def program(path, *lines):
    """A program of the shell, which $CHROMIUM may name."""
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]), encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def test_a_program_that_is_no_browser_is_told_before_sphinx_begins(tmp_path, no_sphinx, monkeypatch):
    monkeypatch.setattr(course_build, "require_browser", require_browser)
    monkeypatch.setenv("CHROMIUM", program(tmp_path / "true", "exit 0"))
    with pytest.raises(PrintingError, match=r"true prints no page \(.+\): name yours, CHROMIUM=") as slip:
        build(tmp_path / "course")
    assert "\n" not in str(slip.value) and not (tmp_path / "course").exists()


def test_ctrl_c_is_one_line(tmp_path):
    asked = tmp_path / "asked"
    browser = program(tmp_path / "browser", f"touch {asked}", "exec sleep 60")  # found slowly, if at all
    command = [sys.executable, "-c", ELSEWHERE, str(tmp_path / "course")]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, env=os.environ | {"CHROMIUM": browser}, start_new_session=True, text=True
    ) as course:
        deadline = time.monotonic() + PATIENCE
        while not asked.exists() and course.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(course.pid, signal.SIGINT)  # as a terminal does
        said = course.communicate(timeout=PATIENCE)[1]
    assert (course.returncode, said) == (130, f"{STOPPED}\n")
    assert not (tmp_path / "course").exists()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (Path.unlink, "notes/05_why_does_z_vanish.md cannot be read (No such file or directory)"),
        (in_latin_1, "notes/05_why_does_z_vanish.md is not in UTF-8"),
        (without_title, "notes/05_why_does_z_vanish.md has to begin with its title"),
    ],
)
def test_spoilt_notes_are_told_before_sphinx_begins(tmp_path, no_sphinx, monkeypatch, spoil, said):
    notes = shutil.copytree(NOTES, tmp_path / "notes")
    monkeypatch.setattr(course_build, "NOTES", notes)
    spoil(notes / "05_why_does_z_vanish.md")
    with pytest.raises(SourceError) as slip:
        build(tmp_path / "course")
    assert said in str(slip.value) and "\n" not in str(slip.value)
    assert not (tmp_path / "course").exists()


def test_a_solution_without_its_exercise_is_told_before_sphinx_begins(tmp_path, no_sphinx, monkeypatch):
    def no_exercise(folder: Path, names: list[str]) -> None:
        raise TeacherError(f"{names[0]}: no exercise")

    monkeypatch.setattr(course_build, "lay_out", no_exercise)
    with pytest.raises(TeacherError):
        build(tmp_path / "course")
    assert [path.name for path in tmp_path.iterdir()] == [".course.lock"]


def test_good_sources_come_to_sphinx(tmp_path, no_sphinx):
    with pytest.raises(TooLate):
        build(tmp_path / "course")
    assert [path.name for path in tmp_path.iterdir()] == [".course.lock"]
