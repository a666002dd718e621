"""The book, built once for all tests of a process: chapter 06's figure moves, and the other figures stand still."""

import nbformat
import pytest

from dpo_book import plots
from dpo_book.widgets import FloatLogSlider, FloatSlider, slider_figure
from tests.site.html_page import Page
from tools.chapter_widgets import NOTEBOOKS, cells_up_to
from tools.record import digest_of
from tools.site import training
from tools.site.build import build
from tools.site.draw import recorded_figure, write

MOVES = "06_where_does_the_loss_come_from"  # its figure needs nothing trained
WATCHED = "07_does_it_get_there"


@pytest.fixture(scope="session")
def watched_run(tmp_path_factory):
    """Chapter 07's runs, two of them, for twenty steps: 2 by 3 places."""
    folder = tmp_path_factory.mktemp("watched")
    notebook = NOTEBOOKS / f"{WATCHED}.ipynb"
    cell = nbformat.read(notebook, as_version=4).cells[cells_up_to(notebook, training.CELL)[-1]]
    recording = training.watched([0.5, 1.0], 20, first=1.0, folder=folder)
    write({digest_of(cell): recording | {"introduction": training.INTRODUCTION}}, folder)
    return folder


@pytest.fixture(scope="session")
def recordings(tmp_path_factory, watched_run):
    """The chapter's figure under fewer places than its own sliders have: 3 by 2."""
    folder = tmp_path_factory.mktemp("recorded")
    figure = slider_figure(
        plots.loss_and_weight,
        beta=FloatLogSlider(value=1, base=10, min=-1, max=1, step=1, description="β"),
        difference=FloatSlider(value=2, min=0, max=2, step=2, description="m/β"),
    )
    notebook = NOTEBOOKS / f"{MOVES}.ipynb"
    cell = nbformat.read(notebook, as_version=4).cells[cells_up_to(notebook, "slider_figure(")[-1]]
    write({digest_of(cell): recorded_figure(figure, folder)}, folder)
    return {MOVES: [folder], WATCHED: [watched_run]}


@pytest.fixture(scope="session")
def site(tmp_path_factory, recordings):
    """The folder of the built pages."""
    return build(tmp_path_factory.mktemp("site"), recordings)


@pytest.fixture(scope="session")
def pages(site):
    """Every page by its file's name."""
    return {path.name: Page(path) for path in sorted(site.glob("*.html"))}
