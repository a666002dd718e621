"""The recorded figure of a chapter, found by what its cell says."""

import base64
from pathlib import Path

import nbformat
from nbformat import NotebookNode, ValidationError

from tools.site.pictures import INSIDE

NO_NOTEBOOK = (ValueError, ValidationError, AttributeError, TypeError)  # what nbformat raises, no JSON, or other JSON


class PictureError(ValueError):
    """A notebook cannot be read, or not one picture of it is meant; the message says which, and by what words."""


def recorded_picture(notebook: Path, words: str) -> bytes:
    """The PNG of the one cell whose code holds these words and whose output is a picture. PictureError else."""
    meant = [cell for cell in _cells(notebook) if cell.cell_type == "code" and words in cell.source]
    found = [picture for cell in meant for picture in _pictures_of(cell)]
    if len(found) != 1:
        raise PictureError(f"{notebook.name} has {len(found)} pictures of cells with {words!r}; one is needed")
    return found[0]


def _cells(notebook: Path) -> list[NotebookNode]:
    try:
        return nbformat.read(notebook, as_version=4).cells
    except NO_NOTEBOOK as error:
        said = str(error).splitlines()[0]
        raise PictureError(f"{notebook.name} is no notebook ({said}): put it back") from None


def _pictures_of(cell: NotebookNode) -> list[bytes]:
    found = []
    for output in cell.outputs:
        data = output.get("data", {})
        encoded = [data["image/png"]] if "image/png" in data else INSIDE.findall(data.get("text/html", ""))
        found += [base64.b64decode(png) for png in encoded]
    return found
