"""The README's picture: the first figure of chapter 07, taken from the recorded notebook."""

import base64
from functools import partial
from pathlib import Path

import nbformat

from dpo_book.system.files import replace_whole

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "does_it_get_there.png"


def first_figure(notebook: Path = ROOT / "notebooks" / "07_does_it_get_there.ipynb") -> bytes:
    """PNG bytes of the first figure that a recorded notebook holds."""
    for cell in nbformat.read(notebook, as_version=4).cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                return base64.b64decode(output["data"]["image/png"])
    raise ValueError(f"{notebook.name} holds no figure: record it")


if __name__ == "__main__":
    replace_whole(PICTURE, partial(Path.write_bytes, data=first_figure()))
