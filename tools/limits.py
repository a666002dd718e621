"""How long a chapter is, and how long that takes to read: `python -m tools.limits` prints it for every chapter."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jupytext
from nbformat import NotebookNode

SCRIPTS = Path(__file__).resolve().parent.parent / "notebooks" / "py"
GUARD = "hide-input"  # a cell that guards the recording: folded, and no part of the page

WORDS_A_MINUTE = 150
CODE_LINES_A_MINUTE = 20

CELLS, WORDS = 60, 3_000
LINES_A_CELL, CHARACTERS_A_LINE = 15, 88
MINUTES_OFF = 0.15  # of what is stated

FORMULA = re.compile(r"\$\$.*?\$\$|\$[^$]*\$", re.DOTALL)
STEP = re.compile(r"^\d+\. ")
WORD = re.compile(r"\w")
STATED = re.compile(r"\| *(\d+)(?: |&nbsp;)min *\|")
EXERCISE = re.compile(
    r"^### Exercise · (?P<name>\w+)\n\n"
    r"Difficulty (?P<stars>★{1,3})☆{0,2} · importance (?P<importance>●{1,3})○{0,2} · (?P<minutes>\d+) minutes\n",
    re.MULTILINE,
)


class Length(NamedTuple):
    """What a chapter asks of a reader. Guards count nowhere, code that is printed in the text is text."""

    cells: int
    words: int  # a formula is one word
    steps: int  # of derivations: numbered lines
    code_lines: int
    longest_cell: int  # in lines of code
    widest_line: int  # of code, in characters
    exercises: int  # minutes, as the exercises state them
    stated: int  # minutes, as the chapter's first table states them

    @property
    def minutes(self) -> float:
        """For text, a step, code and exercises."""
        return self.words / WORDS_A_MINUTE + self.steps + self.code_lines / CODE_LINES_A_MINUTE + self.exercises


def length_of(script: Path) -> Length:
    """Counts of a chapter's script, without running it."""
    return counted([cell for cell in jupytext.read(script).cells if GUARD not in cell.metadata.get("tags", [])])


def counted(cells: Sequence[NotebookNode]) -> Length:
    """Counts of these cells of a chapter."""
    texts = [cell.source for cell in cells if cell.cell_type == "markdown"]
    codes = [_lines(cell.source) for cell in cells if cell.cell_type == "code"]
    text_lines = [line for text in texts for line in FORMULA.sub("formula", text).splitlines()]
    steps = [line for line in text_lines if STEP.match(line)]
    words = [word for line in text_lines if not STEP.match(line) for word in line.split() if WORD.search(word)]
    page = "\n".join(texts)
    return Length(
        cells=len(cells),
        words=len(words),
        steps=len(steps),
        code_lines=sum(map(len, codes)),
        longest_cell=max(map(len, codes), default=0),
        widest_line=max((len(line) for lines in codes for line in lines), default=0),
        exercises=sum(int(exercise["minutes"]) for exercise in EXERCISE.finditer(page)),
        stated=sum(map(int, STATED.findall(page))),
    )


def _lines(source: str) -> list[str]:
    return [line for line in source.splitlines() if line.strip()]


def too_long(length: Length) -> list[str]:
    """Every limit that a chapter exceeds, in words."""
    limits = {
        "cells": (length.cells, CELLS),
        "words": (length.words, WORDS),
        "lines in a code cell": (length.longest_cell, LINES_A_CELL),
        "characters in a line of code": (length.widest_line, CHARACTERS_A_LINE),
    }
    found = [f"{value} {name}, at most {most}" for name, (value, most) in limits.items() if value > most]
    if abs(length.stated - length.minutes) > MINUTES_OFF * length.stated:
        found.append(f"{length.stated} minutes stated, {length.minutes:.0f} counted")
    return found


if __name__ == "__main__":
    for path in sorted(SCRIPTS.glob("*.py")):
        length = length_of(path)
        print(f"{path.stem}: {length._asdict()}, {length.minutes:.0f} minutes")
        for problem in too_long(length):
            print(f"    {problem}")
