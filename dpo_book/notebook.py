"""What notebooks call besides the package's subject: ``setup()`` first of all, ``stored()`` for stored tables."""

import os
import random
from pathlib import Path

import numpy as np
import torch
from IPython import get_ipython
from matplotlib.figure import Figure
from transformers.utils import logging

from dpo_book.plots import html_image, png
from dpo_book.plots.style import size_on_page
from dpo_book.system.devices import VARIABLE, find_device

INSTALLED_FROM = Path(__file__).resolve().parent.parent


def setup(seed: int = 0, device: str | None = None) -> None:
    """Make a notebook repeat itself: one thread, fixed seeds, deterministic algorithms; and let figures show.

    One thread because models this small gain nothing from two, and two fight each other on a busy machine.
    May be run again at any time: it starts the random numbers over.

    device: where models are put that are made or loaded from then on, as ``find_device`` takes it ("auto": the best
    there is); by default it stays as it is, and at first that is the CPU. ValueError for one that is not here.
    """
    if device is not None:
        os.environ[VARIABLE] = str(find_device(device))
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what deterministic matrix products need on CUDA
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.set_printoptions(precision=4, sci_mode=False)
    np.set_printoptions(precision=4, suppress=True)
    logging.disable_progress_bar()
    shell = get_ipython()
    if shell is not None:
        shell.display_formatter.mimebundle_formatter.for_type(Figure, figure_output)


def figure_output(figure: Figure) -> tuple[dict, dict]:
    """What a cell shows of a figure, and the metadata: a PNG, and where it has a label the same in HTML.

    The label is its alt text, which JupyterLab and nbconvert would not show beside a PNG; print needs the PNG.
    """
    picture, alt = png(figure), figure.get_label()
    width, height = size_on_page(picture)
    size = {"width": width, "height": height}
    if not alt:
        return {"image/png": picture}, {"image/png": size}
    return {"image/png": picture, "text/html": html_image(picture, alt)}, {"image/png": size | {"alt": alt}}


def stored(name: str) -> Path:
    """The file ``name`` of the book's stored results, notebooks/results, as ``book_file`` finds it."""
    return book_file("results", name)


def book_file(folder: str, name: str) -> Path:
    """The file ``name`` of a folder of notebooks/, from any folder of the book.

    From elsewhere, as on Colab, it is that of the folder which ``pip install -e`` installed the package from.
    FileNotFoundError where neither a folder above nor that one holds it.
    """
    for above in [Path.cwd(), *Path.cwd().parents, INSTALLED_FROM]:
        for path in (above / folder / name, above / "notebooks" / folder / name):
            if path.exists():
                return path
    raise FileNotFoundError(f"no {folder}/{name} here or above: open the notebook in the book's own folders")
