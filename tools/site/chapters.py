"""A recorded notebook as a page: what stands in it is the notebook's own, and nothing is run.

Figures become files beside the page, and move where their sliders were recorded. Chapters and equations that the
prose names become links, and a line below the title offers the notebook itself.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import nbformat

from tools.record import digest_of
from tools.site.links import with_links
from tools.site.moving import add_frames, as_html
from tools.site.pictures import moved_out

QUIZ = re.compile(r"^<b>.*</b><details>", re.DOTALL)
OFFER = "[Download this chapter as a notebook](path:{file}), to run and change it."


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


def show(notebook: nbformat.NotebookNode, site: Path, recordings: Path | None) -> None:
    """Make a chapter's outputs what its page shows, in place.

    site: the folder of all pages. recordings: the folder of the chapter's recorded sliders. Without it they stand
    still, and so does a figure whose cell has changed since the notebook was recorded.
    """
    recorded = {} if recordings is None else json.loads((recordings / "recordings.json").read_text(encoding="utf-8"))
    for place, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            _shown(output, site)
        if recording := recorded.get(digest_of(cell)):
            add_frames(recording, recordings, site)
            html = as_html(recording, f"figure-{place}")
            cell.outputs = [nbformat.v4.new_output("display_data", {"text/html": html})]


def _shown(output: nbformat.NotebookNode, site: Path) -> None:
    """The HTML of an output, where it has one, is all that the page takes."""
    data = output.get("data", {})
    if "text/html" not in data:
        return
    html = moved_out(data["text/html"], site)
    if QUIZ.match(html):
        html = f'<div class="quiz">{html}</div>'
    output.data = nbformat.from_dict({"text/html": html})
