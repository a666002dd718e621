"""The widgets of the chapters under a real keyboard and mouse: JupyterLab in Chromium."""

import re
from pathlib import Path

import jupytext

from tests.browser import lab_page

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"


def cells_with(notebook, *sources):
    """Places of the cells that hold these pieces of source, one each."""
    cells = jupytext.read(notebook).cells
    return [next(i for i, cell in enumerate(cells) if source in cell.source) for source in sources]


def test_the_beta_slider_of_chapter_00_redraws_on_a_key_press():
    notebook = NOTEBOOKS / "00_five_minutes.ipynb"
    (slider,) = cells_with(notebook, "widgets.slider_figure(")
    with lab_page(notebook) as lab:
        lab.run_all()
        picture = lab.picture(slider)
        pictures = [picture.get_attribute("src")]
        for key in ("ArrowRight", "ArrowRight", "Home", "End"):
            lab.press(slider, key)
            lab.wait_changed(picture, pictures[-1])
            pictures.append(picture.get_attribute("src"))
        assert len(set(pictures)) == 5
        assert lab.console_errors == []


def test_the_live_run_of_chapter_07_draws_margins_and_stops_within_a_second():
    notebook = NOTEBOOKS / "07_does_it_get_there.ipynb"
    needed = cells_with(notebook, "setup(seed=0)", "def measured(", "widgets.LiveRun(")
    live = needed[-1]
    with lab_page(notebook) as lab:
        lab.run_cells(needed)
        status = lambda pattern: lab.cell(live).locator(".widget-label", has_text=re.compile(pattern))
        picture = lab.picture(live)
        empty = picture.get_attribute("src")
        lab.click(live, "Run")
        lab.wait_changed(picture, empty, timeout=60)
        early = picture.get_attribute("src")
        lab.wait_changed(picture, early, timeout=30)  # it grows while it runs
        status(r"^training: step \d+").wait_for()
        lab.click(live, "Stop")
        status(r"^stopped: step \d+").wait_for(timeout=1000)
        stopped_at = picture.get_attribute("src")
        lab.page.wait_for_timeout(1500)
        assert picture.get_attribute("src") == stopped_at
        assert lab.console_errors == []
