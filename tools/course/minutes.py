"""How long a chapter's sections take to read, for a teacher who plans an hour."""

import re
from pathlib import Path

import jupytext
import nbformat
from nbformat import NotebookNode

from tools.limits import GUARD, Length, counted

SECTION = re.compile(r"^## (.+)$", re.MULTILINE)


def sections(script: Path) -> list[tuple[str, Length]]:
    """Every section of a chapter's script and its counts; what stands above the first one is the opening."""
    found: dict[str, list[NotebookNode]] = {"Opening": []}
    for cell in jupytext.read(script).cells:
        if GUARD in cell.metadata.get("tags", []):
            continue
        if cell.cell_type == "code":
            found[list(found)[-1]].append(cell)
            continue
        above, *headed = SECTION.split(cell.source)  # text, then title and text of each section that begins here
        found[list(found)[-1]].append(nbformat.v4.new_markdown_cell(above))
        for title, text in zip(headed[::2], headed[1::2], strict=True):
            found[title] = [nbformat.v4.new_markdown_cell(text)]
    return [(title, counted(cells)) for title, cells in found.items()]


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
