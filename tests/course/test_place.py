"""Where a course is made: students' work stays, the old course is there until the new one is, one build at a time."""

import os

import pytest

from tools.course import build as course_build, place
from tools.course.build import build
from tools.course.place import WORK, CourseInUse, replace, scratch_beside

LOCK = ".course.lock"


@pytest.fixture
def course(tmp_path):
    """An old course's folder."""
    folder = tmp_path / "course"
    (folder / "teacher" / "grader" / "source").mkdir(parents=True)
    (folder / "old").touch()
    return folder


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def fresh_in(scratch):
    (scratch / "course").mkdir()
    (scratch / "course" / "new").touch()
    return scratch / "course"


def test_a_new_course_takes_the_old_one_s_place_and_leaves_nothing_beside(course):
    with scratch_beside(course) as scratch:
        replace(course, fresh_in(scratch))
    assert names(course) == ["new"] and names(course.parent) == [LOCK, "course"]


def test_a_first_course_needs_no_old_one(tmp_path):
    course = tmp_path / "build" / "course"
    with scratch_beside(course) as scratch:
        replace(course, fresh_in(scratch))
    assert names(course) == ["new"] and names(course.parent) == [LOCK, "course"]


@pytest.mark.parametrize("name", WORK)
def test_anything_of_a_course_under_way_is_kept(course, name):
    (course / "teacher" / "grader" / name).mkdir()
    with pytest.raises(CourseInUse, match=rf"a course that is under way \({name}\): move .*course elsewhere"):
        build(course)
    assert (course / "teacher" / "grader" / name).exists()


def test_what_is_handed_in_while_the_course_is_made_is_kept(course, monkeypatch):
    answer = course / "teacher" / "grader" / "submitted" / "ann" / "answer.ipynb"

    def skip(*_) -> None:
        pass

    def hand_in(*_) -> None:
        answer.parent.mkdir(parents=True)
        answer.write_text("mine")

    monkeypatch.setattr(course_build, "require_browser", skip)
    monkeypatch.setattr(course_build, "run_sphinx", skip)
    monkeypatch.setattr(course_build, "print_decks", hand_in)
    with pytest.raises(CourseInUse, match="under way"):
        build(course)
    assert answer.read_text() == "mine" and (course / "old").exists()
    assert names(course.parent) == [LOCK, "course"]


def test_work_that_comes_at_the_last_moment_is_kept(course, monkeypatch):
    """After it was looked for, and before the old course is aside."""
    answer = course / "teacher" / "grader" / "submitted"
    rename = os.rename

    def late(source, target) -> None:
        if source == course:
            answer.mkdir()
        rename(source, target)

    monkeypatch.setattr(place.os, "rename", late)
    with pytest.raises(CourseInUse, match="under way"), scratch_beside(course) as scratch:
        replace(course, fresh_in(scratch))
    assert answer.exists() and names(course.parent) == [LOCK, "course"]


@pytest.mark.parametrize("error", [OSError("disk"), KeyboardInterrupt()], ids=["error", "Ctrl-C"])
def test_the_old_course_is_back_where_the_new_one_cannot_be_moved(course, monkeypatch, error):
    rename = os.rename

    def fail(source, target) -> None:
        if source.name == "course" and target == course:
            raise error
        rename(source, target)

    monkeypatch.setattr(place.os, "rename", fail)
    with pytest.raises(type(error)), scratch_beside(course) as scratch:
        replace(course, fresh_in(scratch))
    assert (course / "old").exists() and names(course.parent) == [LOCK, "course"]


@pytest.mark.parametrize("handed_in", [True, False])
def test_what_somebody_puts_in_its_place_meanwhile_costs_nobody_s_work(course, monkeypatch, handed_in):
    """nbgrader makes the folders that it misses."""
    if handed_in:
        late = course.with_name(".course.old") / "teacher" / "grader" / "submitted"
    rename = os.rename

    def renamed(source, target) -> None:
        rename(source, target)
        if source == course:
            (course / "teacher" / "grader" / "release").mkdir(parents=True)
            if handed_in:
                late.mkdir()

    monkeypatch.setattr(place.os, "rename", renamed)
    with (
        pytest.raises(CourseInUse, match=r"meanwhile, and the course that was there is in .*\.course\.old"),
        scratch_beside(course) as scratch,
    ):
        replace(course, fresh_in(scratch))
    aside = course.with_name(".course.old")
    assert (aside / "old").exists() and (course / "teacher" / "grader" / "release").exists()
    if handed_in:
        assert late.exists()
        with pytest.raises(CourseInUse, match=r"\.course\.old.*under way"), scratch_beside(course):
            pass
        assert late.exists()


def test_an_old_course_that_a_kill_left_aside_comes_back(course):
    course.rename(course.with_name(".course.old"))
    with scratch_beside(course):
        assert (course / "old").exists()
    assert names(course.parent) == [LOCK, "course"]


def test_what_killed_builds_left_is_swept_and_nothing_else(course):
    beside = course.parent
    for left in (".course-a1b2c3_4/pages", ".course.old/students", ".course-2-a1b2c3_4", ".course-notes", "site"):
        (beside / left).mkdir(parents=True)
    (beside / ".course-notes.md").touch()
    with scratch_beside(course) as scratch:
        assert not (beside / ".course-a1b2c3_4").exists() and scratch.parent == beside
    assert names(beside) == [".course-2-a1b2c3_4", ".course-notes", ".course-notes.md", LOCK, "course", "site"]


def test_a_second_build_is_refused_and_touches_nothing(course):
    with scratch_beside(course) as scratch:
        with (
            pytest.raises(CourseInUse, match="is being made by another process: wait for it"),
            scratch_beside(course),
        ):
            pass
        assert scratch.exists()
    with scratch_beside(course):
        pass
