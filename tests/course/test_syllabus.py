"""The syllabi's minutes: those of the decks, and those that the chapters state."""

import re

import pytest

from tools.course.build import LECTURE, PAGES, SLIDES
from tools.course.decks import minutes_of, read_deck
from tools.course.lecture import read_lecture
from tools.limits import length_of
from tools.record import NOTEBOOKS
from tools.teacher import chapters

TEXT = (PAGES / "syllabus.md").read_text(encoding="utf-8")
TABLES = "\n".join(line for line in TEXT.splitlines() if line.startswith("|"))
NAMES = {name[:2]: name for name in chapters()}
WEEKS = [section for section in re.split(r"^## ", TEXT, flags=re.MULTILINE) if section.startswith(("One", "Three w"))]


def rows(section):
    """The cells of the first table below its two head lines."""
    table = re.search(r"^\| Session .*?(?=^\n|\Z)", section, re.MULTILINE | re.DOTALL)[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.strip().splitlines()[2:]]


def number(cell):
    found = re.fullmatch(r"(?:\*\*)?(\d+)(?:\*\*)?", cell)
    return int(found[1]) if found else 0


@pytest.mark.parametrize("section", WEEKS, ids=[section.splitlines()[0] for section in WEEKS])
def test_a_table_adds_up(section):
    *sessions, total = rows(section)
    assert len(WEEKS) == 3 and len(sessions) >= 5
    assert number(total[2]) == sum(number(row[2]) for row in sessions)
    assert number(total[4]) == sum(number(row[4]) for row in sessions)
    if section.startswith("One lecture"):
        assert number(total[2]) == 90
    else:
        assert {number(row[2]) for row in sessions} == {0, 90}


@pytest.mark.parametrize("section", WEEKS[1:], ids=["one week", "three weeks"])
def test_what_a_session_holds_is_its_minutes(section):
    for _, in_class, minutes, *_ in rows(section)[:-1]:
        inside = [int(part) for part in re.findall(r"\((\d+)\)", in_class)]
        assert sum(inside) == number(minutes), in_class


def test_the_lecture_s_deck_has_the_minutes_of_its_table():
    decks = {name: read_deck(SLIDES / f"{name}.md") for name in chapters()}
    shown = [(name[:2], minutes_of(slides)) for name, slides in read_lecture(LECTURE, decks)]
    named = [(found[1], number(row[2])) for row in rows(WEEKS[0]) if (found := re.search(r">deck (\d\d)<", row[1]))]
    (*shown, (last, closing)), (*named, (last_named, time_left)) = shown, named
    assert shown == named and len(shown) == 6
    assert last == last_named and closing < time_left  # and questions


def test_whole_decks_take_the_minutes_of_their_notes():
    whole = re.findall(r"deck (\d\d) \((\d+)\)", TABLES)
    assert len(whole) >= 10
    for deck, minutes in whole:
        assert int(minutes) == minutes_of(read_deck(SLIDES / f"{NAMES[deck]}.md")), deck


def test_whole_chapters_take_the_minutes_that_they_state():
    whole = re.findall(r"chapter (\d\d) \((\d+)\)", TABLES)
    assert len(whole) >= 4
    for chapter, minutes in whole:
        assert int(minutes) == length_of(NOTEBOOKS / "py" / f"{NAMES[chapter]}.py").stated, chapter
