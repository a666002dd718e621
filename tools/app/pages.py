"""One page a chapter: its widgets, and the words around them. It runs what they need and no more."""

import re
import shutil
from pathlib import Path

import jupytext
import nbformat
from nbformat import NotebookNode

from tools.chapter_widgets import NOTEBOOKS, WIDGETS, cells_up_to

HEADING = re.compile(r"^#{2,4} .*$", re.MULTILINE)
SILENT = "%%capture\n"  # what a cell prints and draws on the way belongs to the chapter, not here


def page(chapter: str) -> NotebookNode:
    """A chapter's widgets, each below its heading and between the words that stand around it."""
    script = NOTEBOOKS / "py" / f"{chapter}.py"
    cells = jupytext.read(script).cells
    first = next(cell for cell in cells if cell.cell_type == "markdown")
    shown = [nbformat.v4.new_markdown_cell(first.source.splitlines()[0])]
    done: set[int] = set()
    for piece in WIDGETS[chapter]:
        *needed, place = cells_up_to(script, piece)
        for number in needed:
            if number not in done:
                shown.append(nbformat.v4.new_code_cell(SILENT + cells[number].source))
        done.update(needed)
        shown.append(nbformat.v4.new_markdown_cell(_words_above(cells, place)))
        shown.append(nbformat.v4.new_code_cell(cells[place].source))
        shown.append(nbformat.v4.new_markdown_cell(_words_below(cells, place)))
    for number, cell in enumerate(shown):
        cell.id = f"app-{number}"  # the same whenever it is made
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return nbformat.v4.new_notebook(cells=shown, metadata={"kernelspec": kernel})


def _words_above(cells: list[NotebookNode], place: int) -> str:
    """The heading under which a widget stands, and what the cell just above it says since that heading."""
    heading = words = ""
    for number, cell in enumerate(cells[:place]):
        if cell.cell_type == "markdown":
            *_, heading = [heading, *HEADING.findall(cell.source)]
            words = HEADING.split(cell.source)[-1] if number == place - 1 else ""
    return f"{heading}\n\n{words.strip()}"


def _words_below(cells: list[NotebookNode], place: int) -> str:
    """What the cell below a widget says up to its first heading."""
    below = cells[place + 1] if place + 1 < len(cells) else None
    if below is None or below.cell_type != "markdown":
        return ""
    return HEADING.split(below.source)[0].strip()


def build(folder: Path) -> None:
    """Every chapter's page, and the stored results that some of them read."""
    for chapter in WIDGETS:
        nbformat.write(page(chapter), folder / f"{chapter}.ipynb")
    shutil.copytree(NOTEBOOKS / "results", folder / "results", ignore=shutil.ignore_patterns(".*"))
