"""The widgets of the chapters under a real keyboard and mouse: JupyterLab in Chromium."""

import re

import pytest

from tests.browser import lab_page
from tests.chapter_widgets import NOTEBOOKS, WIDGETS, cells_up_to, cells_with

# Sliders are one class: three chapters stand for it, beside 00, 06 (test_alt) and 07; test_sliders moves them all.
FIRST_SLIDERS = {
    name: next(iter(WIDGETS[name])) for name in ("01_what_comparisons_tell", "05_why_does_z_vanish", "09_rlhf_or_dpo")
}


def test_the_beta_slider_of_chapter_00_redraws_on_a_key_press():
    notebook = NOTEBOOKS / "00_what_does_dpo_do.ipynb"
    (slider,) = cells_with(notebook, "widgets.slider_figure(")
    with lab_page(notebook) as lab:
        assert lab.cell(slider).locator("img[alt^='Bars']").count() == 1  # before anything has run
        lab.run_all()
        press_and_see(lab, slider, "ArrowRight", "ArrowRight", "Home", "End")
        assert lab.violations() == []  # of sliders, a list and quizzes


@pytest.mark.parametrize("name", FIRST_SLIDERS)
def test_the_first_slider_redraws_on_a_key_press(name):
    notebook = NOTEBOOKS / f"{name}.ipynb"
    needed = cells_up_to(notebook, FIRST_SLIDERS[name])
    with lab_page(notebook) as lab:
        lab.run_cells(needed)
        press_and_see(lab, needed[-1], "ArrowRight", "End")


def press_and_see(lab, cell, *keys):
    """Each key gives a picture that was not there before."""
    picture = lab.picture(cell)
    pictures = [picture.get_attribute("src")]
    for key in keys:
        lab.press(cell, key)
        lab.wait_changed(picture, pictures[-1])
        pictures.append(picture.get_attribute("src"))
    assert picture.get_attribute("alt")
    assert len(set(pictures)) == len(pictures)
    assert lab.console_errors == []


# More steps than can be done while anybody waits, so that only Stop ends the run, however slow the browser is.
ENDLESS = "_._sliders['steps'].max = _._sliders['steps'].value = 10**7"


def test_the_live_run_of_chapter_07_fits_a_screen_and_draws_until_stop_is_pressed():
    notebook = NOTEBOOKS / "07_does_it_get_there.ipynb"
    needed = cells_up_to(notebook, "LiveRun(")
    live = needed[-1]
    with lab_page(notebook, width=1024, height=768) as lab:
        lab.run_cells(needed)
        lab.execute(ENDLESS)
        status = lambda pattern: lab.cell(live).locator(".widget-html-content", has_text=re.compile(pattern))
        picture = lab.picture(live)
        assert picture.count() == 0
        lab.click(live, "Run")
        early = picture.get_attribute("src")
        lab.wait_changed(picture, early)  # it grows while it runs
        status(r"^training: step \d+").wait_for()
        lab.click(live, "Stop")
        status(r"^stopped: step \d+").wait_for()
        stopped_at = picture.get_attribute("src")
        lab.execute("_.thread.join()")  # what could still be drawn has been drawn
        lab.wait_enabled(live, "Run")
        assert picture.get_attribute("src") == stopped_at
        assert lab.console_errors == []
        assert lab.violations(colours=True) == lab.too_wide() == []
        height = lambda part: part.bounding_box()["height"]
        screen = lab.page.locator(".jp-WindowedPanel-outer")
        assert height(lab.cell(live).locator(".jp-OutputArea-output")) <= height(screen)  # sliders and figure
