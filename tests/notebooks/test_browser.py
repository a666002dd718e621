"""The widgets of the chapters under a real keyboard and mouse: JupyterLab in Chromium."""

import re

import nbformat
import pytest
from playwright.sync_api import expect

from tests.browser import lab_page
from tests.patience import PATIENCE
from tools.chapter_widgets import NOTEBOOKS, cells_up_to, cells_with

# Chapters 00, 06 (in test_alt) and 07 stand for those with sliders; test_sliders moves the sliders of all.
ONE_OF_EACH = """\
from ipywidgets import VBox
from dpo_book.widgets import FloatLogSlider, FloatSlider, IntSlider, SelectionSlider
linear = FloatSlider(value=0.3, min=0, max=1, step=0.1, description="ε")
whole = IntSlider(300, min=20, max=2000, step=20, description="steps")
power = FloatLogSlider(value=2e-3, min=-4.5, max=-1.5, step=0.1, description="rate")
one_of = SelectionSlider(options=[30, 100, 300], value=100, description="samples")
VBox([linear, whole, power, one_of])"""
QUESTION = """\
from dpo_book.quizzes import Quiz
question = Quiz("Is 1 < 2?", {"yes": "One is less.", "no": "Count again."}, right="yes")
question"""

PAIRS = """\
from dpo_book import Comparison, LabellingSession, exact_judge
from dpo_book.widgets import Labelling
def quality(prompt, text): return len(text)
long = "word " * 900
pairs = [Comparison("Why?", "<b>so</b>", long), Comparison("", "كلب", "because"), Comparison("How?", "a", "b")]
Labelling(LabellingSession(pairs, "labels.jsonl"), {"length": exact_judge(quality)})"""


@pytest.fixture
def one_of_each(tmp_path):
    """A notebook with a slider of each kind, the first of them once more, a question, and pairs to label."""
    cells = [nbformat.v4.new_code_cell(source) for source in (ONE_OF_EACH, "linear", QUESTION, PAIRS)]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.write(notebook, tmp_path / "sliders.ipynb")
    return tmp_path / "sliders.ipynb"


def test_sliders_a_question_and_pairs_to_label_have_names_and_take_the_keyboard(one_of_each):
    with lab_page(one_of_each) as lab:
        lab.run_all()
        slider = lambda name, cell=0: lab.cell(cell).get_by_role("slider", name=name, exact=True)

        def expect_to_stand(*texts):
            for name, text in zip(("ε", "steps", "rate", "samples"), texts, strict=True):
                expect(slider(name)).to_have_attribute("aria-valuetext", text, timeout=1000 * PATIENCE)
            expect(lab.cell(0).locator("output")).to_have_text(texts)

        expect_to_stand("0.30", "300", "0.00200", "100")
        slider("ε").press("ArrowRight")
        slider("steps").press("ArrowDown")  # not to the next cell, as elsewhere in JupyterLab
        slider("rate").press("Home")  # not to the notebook's top
        slider("samples").press("End")
        expect_to_stand("0.40", "280", "0.0000316", "300")
        expect(slider("ε", cell=1)).to_have_value("0.4")  # shown twice, it is one slider
        lab.execute("assert (round(linear.value, 9), whole.value, one_of.value) == (0.4, 280, 300)")
        lab.execute("assert abs(power.value - 10**-4.5) < 1e-12")
        lab.execute("linear.max = 0.2; power.value = 1e-2; one_of.index = 0")
        expect_to_stand("0.20", "280", "0.0100", "30")

        answers = lab.cell(2).get_by_role("group", name="Is 1 < 2?")
        answers.get_by_role("radio", name="yes").press("ArrowDown")  # not to the next cell either
        expect(answers.get_by_role("radio", name="no")).to_be_checked()
        expect(lab.cell(2)).to_contain_text("Not so. Count again.", timeout=1000 * PATIENCE)
        answers.get_by_role("radio", name="no").press("ArrowUp")
        expect(lab.cell(2)).to_contain_text("Right. One is less.", timeout=1000 * PATIENCE)
        lab.execute("assert question.choice.value == 'yes'")
        label_by_keys(lab, 3)
        assert lab.console_errors == lab.violations(colours=True) == []


def label_by_keys(lab, cell):
    """To the end and one back, with a text so long that it scrolls; the answers are in the file."""
    pairs = lab.cell(cell).get_by_role("group", name="Which answer is better?")
    text = lambda name: pairs.get_by_role("group", name=name, exact=True)
    says = lambda words: expect(pairs.get_by_role("status")).to_have_text(words, timeout=1000 * PATIENCE)
    button = lambda name: pairs.get_by_role("button", name=name)
    keyboard = lab.page.keyboard
    says("Pair 1 of 4.")
    expect(text("Left")).to_have_text("<b>so</b>")
    assert lab.too_wide() == []
    pairs.press("Backspace")  # there is nothing to take back
    text("Right").press("ArrowDown")  # a long text scrolls, and that is no answer
    lab.wait_for("() => document.querySelector('.dpo-labelling .texts .pane:last-child .text').scrollTop > 0")
    text("Right").press("ArrowRight")
    says("Pair 2 of 4. Last answer: right is better.")
    pairs.press("ArrowDown")  # not to another cell
    says("Pair 3 of 4. Last answer: as good.")
    expect(pairs).to_be_focused()
    pairs.press("Backspace")
    says("Pair 2 of 4. Last answer: right is better.")
    button("left is better").focus()
    keyboard.down("Enter")
    says("Pair 3 of 4. Last answer: left is better.")
    keyboard.down("Enter")  # held down, it repeats, and that is no answer to a pair unread
    keyboard.up("Enter")
    pairs.press("ArrowRight")
    says("Pair 4 of 4. Last answer: right is better.")
    assert lab.violations() == []
    button("as good").focus()
    keyboard.down("Space")
    keyboard.down("Space")
    keyboard.up("Space")  # which is when it clicks
    says("All 4 labelled. Last answer: as good.")
    expect(pairs).to_be_focused()  # the button is gone
    expect(pairs).to_contain_text("You and yourself: the same answer to")
    lab.execute(
        "import json; said = [json.loads(line)['place'] for line in open('labels.jsonl')]\n"
        "assert said == ['second', 'first', 'second', 'tie'], said"
    )


def test_the_beta_slider_of_chapter_00_redraws_on_a_key_press():
    notebook = NOTEBOOKS / "00_what_does_dpo_do.ipynb"
    (slider,) = cells_with(notebook, "widgets.slider_figure(")
    with lab_page(notebook) as lab:
        assert lab.cell(slider).locator("img[alt^='Bars']").count() == 1  # before anything has run
        lab.run_all()
        press_and_see(lab, slider, "ArrowRight", "ArrowRight", "Home", "End")
        assert lab.violations() == []  # of sliders, a list and quizzes


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
