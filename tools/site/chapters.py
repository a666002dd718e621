"""A recorded notebook as a page: what stands in it is the notebook's own, and nothing is run.

Figures become files beside the page, chapters and equations that the prose names become links, and a line below the
title offers the notebook itself.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import nbformat

from tools.site.links import with_links
from tools.site.pictures import moved_out

QUIZ = re.compile(r"^<b>.*</b><details>", re.DOTALL)
OFFER = "[Download this chapter as a notebook](path:{file}), to run and change it."


def page(notebook: nbformat.NotebookNode, number: str, file: str, pages: Mapping[str, str], site: Path) -> None:
    """Turn a chapter's notebook into its page, in place.

    number: the chapter's two digits. pages: every chapter's number → its page. site: the folder of all pages.
    file: where in it the notebook lies, to be downloaded.
    """
    others = {chapter: name for chapter, name in pages.items() if chapter != number}
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = with_links(cell.source, others)
        for output in cell.get("outputs", []):
            _shown(output, site)
    title, _, rest = notebook.cells[0].source.partition("\n")
    notebook.cells[0].source = f"{title}\n\n{OFFER.format(file=file)}\n{rest}"


def _shown(output: nbformat.NotebookNode, site: Path) -> None:
    """The HTML of an output, where it has one, is all that the page takes."""
    data = output.get("data", {})
    if "text/html" not in data:
        return
    html = moved_out(data["text/html"], site)
    if QUIZ.match(html):
        html = f'<div class="quiz">{html}</div>'
    output.data = nbformat.from_dict({"text/html": html})
