"""One page a chapter: its widgets, and the words around them. It runs what they need and no more."""

import shutil
from pathlib import Path

import jupytext
import nbformat
from nbformat import NotebookNode

from tools.chapter_widgets import NOTEBOOKS, WIDGETS, cells_up_to

HEADING = "## "
SILENT = "%%capture\n"  # what a cell prints and draws on the way belongs to the chapter, not here


def page(chapter: str) -> NotebookNode:
    """A chapter's widgets, each below its section's heading and between the words that stand around it."""
    script = NOTEBOOKS / "py" / f"{chapter}.py"
    cells = jupytext.read(script).cells
    title = cells[_first_markdown(cells)].source.splitlines()[0]
    shown = [nbformat.v4.new_markdown_cell(title)]
    done: set[int] = set()
    for piece in WIDGETS[chapter]:
        *needed, place = cells_up_to(script, piece)
        for number in needed:
            if number not in done:
                shown.append(nbformat.v4.new_code_cell(SILENT + cells[number].source))
        done.update(needed)
        shown.append(nbformat.v4.new_markdown_cell(_heading_above(cells, place)))
        for number in (place - 1, place, place + 1):
            shown.append(_as_shown(cells[number], number == place))
    kept = [cell for cell in shown if cell.source]
    for number, cell in enumerate(kept):
        cell.id = f"app-{number}"  # the same whenever it is made
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return nbformat.v4.new_notebook(cells=kept, metadata={"kernelspec": kernel})


def _first_markdown(cells: list[NotebookNode]) -> int:
    return next(i for i, cell in enumerate(cells) if cell.cell_type == "markdown")


def _heading_above(cells: list[NotebookNode], place: int) -> str:
    """The heading of the section in which a cell stands, unless it stands in the words just above the cell."""
    for number in range(place - 1, -1, -1):
        first = cells[number].source.split("\n", 1)[0]
        if cells[number].cell_type == "markdown" and first.startswith(HEADING):
            return "" if number == place - 1 else first
    return ""


def _as_shown(cell: NotebookNode, is_widget: bool) -> NotebookNode:
    """A neighbour of a widget if it is words, and the widget itself."""
    if cell.cell_type == "markdown":
        return nbformat.v4.new_markdown_cell(cell.source)
    return nbformat.v4.new_code_cell(cell.source if is_widget else "")


def build(folder: Path) -> None:
    """Every chapter's page, and the stored results that some of them read."""
    for chapter in WIDGETS:
        nbformat.write(page(chapter), folder / f"{chapter}.ipynb")
    shutil.copytree(NOTEBOOKS / "results", folder / "results", ignore=shutil.ignore_patterns(".*"))
