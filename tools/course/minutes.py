"""How long a chapter's sections take to read, for a teacher who plans an hour."""

from itertools import groupby
from pathlib import Path

import jupytext

from tools.limits import GUARD, Length, counted

SECTION = "## "


def sections(script: Path) -> list[tuple[str, Length]]:
    """Every section of a chapter's script and its counts; what stands above the first one is the opening."""
    title = "Opening"
    placed = []
    for cell in jupytext.read(script).cells:
        if GUARD in cell.metadata.get("tags", []):
            continue
        if cell.cell_type == "markdown" and cell.source.startswith(SECTION):
            title = cell.source.splitlines()[0].removeprefix(SECTION)
        placed.append((title, cell))
    return [(title, counted([cell for _, cell in cells])) for title, cells in groupby(placed, key=_title_of)]


def _title_of(placed: tuple) -> str:
    title, _ = placed
    return title


def minutes_table(script: Path, deck: int) -> str:
    """A table in Markdown. deck: minutes of the chapter's slides."""
    lines = ["| Section | Reading | Exercises |", "|---|---|---|"]
    reading = exercises = 0.0
    for title, length in sections(script):
        read = length.minutes - length.exercises
        reading, exercises = reading + read, exercises + length.exercises
        lines.append(f"| {title} | {read:.0f} min | {f'{length.exercises} min' if length.exercises else ''} |")
    lines.append(f"| **Together** | **{reading:.0f} min** | **{exercises:.0f} min** |")
    return "\n".join([*lines, "", f"The slides take {deck} minutes."])
