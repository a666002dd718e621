"""A recorded notebook as a page: what stands in it is the notebook's own, and nothing is run.

Figures become files beside the page, and move where their sliders were recorded. Chapters and equations that the
prose names become links, and a line below the title offers the notebook itself.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import nbformat

from tools.record import digest_of
from tools.site.links import with_links
from tools.site.moving import add_frames, as_html
from tools.site.pictures import moved_out

QUIZ = re.compile(r"^<b>.*</b><details>", re.DOTALL)
OFFER = (
    "[Download this chapter as a notebook](path:{file}), to run and change it in the book's own folder, `notebooks`, "
    "or wherever the book is installed."
)


def link(notebook: nbformat.NotebookNode, number: str, file: str, pages: Mapping[str, str]) -> None:
    """Tie a chapter's words to other pages, in place, and offer its notebook.

    number: the chapter's two digits. pages: every chapter's number → its page. file: the notebook, to be downloaded.
    """
    others = {chapter: name for chapter, name in pages.items() if chapter != number}
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = with_links(cell.source, others)
    title, _, rest = notebook.cells[0].source.partition("\n")
    notebook.cells[0].source = f"{title}\n\n{OFFER.format(file=file)}\n{rest}"


def show(notebook: nbformat.NotebookNode, site: Path, folders: Sequence[Path]) -> None:
    """Make a chapter's outputs what its page shows, in place.

    site: the folder of all pages. folders: what was recorded for the chapter. Sliders without a recording stand
    still, and so does a figure whose cell has changed since the notebook was recorded.
    """
    cells = []
    for place, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            _shown(output, site)
        cells.append(cell)
        for number, (folder, recording) in enumerate(_recordings_of(cell, folders)):
            add_frames(recording, folder, site)
            name = f"figure-{place}-{number}"
            figure = nbformat.v4.new_output("display_data", {"text/html": as_html(recording, name)})
            if "introduction" in recording:
                cells += _below(recording["introduction"], figure, name)
            else:
                cell.outputs = [figure]
    notebook.cells = cells


def _recordings_of(cell: nbformat.NotebookNode, folders: Sequence[Path]) -> list[tuple[Path, dict]]:
    """What the folders hold of a cell."""
    found = []
    for folder in folders:
        recordings = json.loads((folder / "recordings.json").read_text(encoding="utf-8"))
        if recording := recordings.get(digest_of(cell)):
            found.append((folder, recording))
    return found


def _below(introduction: str, figure: nbformat.NotebookNode, name: str) -> list[nbformat.NotebookNode]:
    """Cells that the notebook has not: a paragraph, and the figure without code above it."""
    words = nbformat.v4.new_markdown_cell(introduction, id=f"{name}-introduction")  # by chance it would be a new page
    tags = {"tags": ["remove-input"]}
    without_code = "# not shown; of a cell without source myst-nb leaves out the outputs, too"
    return [words, nbformat.v4.new_code_cell(without_code, outputs=[figure], id=name, metadata=tags)]


def _shown(output: nbformat.NotebookNode, site: Path) -> None:
    """The HTML of an output, where it has one, is all that the page takes."""
    data = output.get("data", {})
    if "text/html" not in data:
        return
    html = moved_out(data["text/html"], site)
    if QUIZ.match(html):
        html = f'<div class="quiz">{html}</div>'
    output.data = nbformat.from_dict({"text/html": html})
