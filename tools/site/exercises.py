"""The page that lists every exercise: where it is, how hard, and how long it takes."""

from collections.abc import Iterable
from pathlib import Path

import nbformat

from tools.limits import EXERCISE

INTRODUCTION = """\
# Exercises

They stand at the end of the chapters. In JupyterLab the check below an exercise says whether an answer is right, or
which mistake it looks like. More dots, more important.

| number | exercise | difficulty | importance | minutes |
|---|---|---|---|---|
"""


def exercises_page(chapters: Iterable[Path]) -> str:
    """Markdown of the page. chapters: the notebooks, in their order; their pages are named as they are."""
    rows = [row for chapter in chapters for row in _rows(chapter)]
    return INTRODUCTION + "".join(rows)


def _rows(chapter: Path) -> list[str]:
    cells = nbformat.read(chapter, as_version=4).cells
    prose = "\n".join(f"{cell.source}\n" for cell in cells if cell.cell_type == "markdown")
    rows = []
    for place, found in enumerate(EXERCISE.finditer(prose), start=1):
        name = found["name"]
        link = f"[{name}]({chapter.name}#exercise--{name})"
        marks = f"{found['stars']} | {found['importance']} | {found['minutes']}"
        rows.append(f"| {chapter.stem[:2]}.{place} | {link} | {marks} |\n")
    return rows
