"""The recorded figure of a chapter, found by what its cell says."""

import base64
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from tools.site.pictures import INSIDE


class PictureError(ValueError):
    """No picture, or more than one, is meant; the message says by what words, and in which notebook."""


def recorded_picture(notebook: Path, words: str) -> bytes:
    """The PNG of the one cell whose code holds these words and whose output is a picture. PictureError else."""
    cells = nbformat.read(notebook, as_version=4).cells
    meant = [cell for cell in cells if cell.cell_type == "code" and words in cell.source]
    found = [picture for cell in meant for picture in _pictures_of(cell)]
    if len(found) != 1:
        raise PictureError(f"{notebook.name} has {len(found)} pictures of cells with {words!r}; one is needed")
    return found[0]


def _pictures_of(cell: NotebookNode) -> list[bytes]:
    found = []
    for output in cell.outputs:
        data = output.get("data", {})
        encoded = [data["image/png"]] if "image/png" in data else INSIDE.findall(data.get("text/html", ""))
        found += [base64.b64decode(png) for png in encoded]
    return found
