"""The chapters in JupyterLab in Chromium: widgets under a real keyboard and mouse, and every page as it is committed.

A page is looked at on a projector of 1024 × 768 pixels: nothing is cut, pictures have alt text, axe-core is content.
"""

import re

import nbformat
import pytest
from playwright.sync_api import expect

from tests.browser import laboratory
from tests.patience import PATIENCE
from tools.chapter_widgets import NOTEBOOKS, SETUP, cells_up_to, cells_with

# Chapters 00, 06 and 07 stand for those with sliders; test_sliders moves the sliders of all.
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


CHAPTERS = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
# What axe-core looks at is the same in all: tables, figures, quizzes, exercises, a live run. So three are enough.
ALTS = "images => images.map(image => image.getAttribute('alt') || '')"
READ_ALOUD = {"00_what_does_dpo_do", "07_does_it_get_there", "09_rlhf_or_dpo"}


@pytest.fixture(scope="module")
def lab_page():
    """``with lab_page(notebook, width=1280, height=900) as lab``, one after another in one JupyterLab."""
    with laboratory() as opens:
        yield opens


@pytest.fixture
def one_of_each(tmp_path):
    """A notebook with a slider of each kind, the first of them once more, a question, and pairs to label."""
    cells = [nbformat.v4.new_code_cell(source) for source in (ONE_OF_EACH, "linear", QUESTION, PAIRS)]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.write(notebook, tmp_path / "sliders.ipynb")
    return tmp_path / "sliders.ipynb"


def test_sliders_a_question_and_pairs_to_label_have_names_and_take_the_keyboard(one_of_each, lab_page):
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


def test_the_beta_slider_of_chapter_00_redraws_on_a_key_press(lab_page):
    notebook = NOTEBOOKS / "00_what_does_dpo_do.ipynb"
    needed = cells_up_to(notebook, "slider_figure(")
    slider, quizzes = needed[-1], cells_with(notebook, 'quiz("00", 1)', 'quiz("00", 2)')
    with lab_page(notebook) as lab:
        assert lab.cell(slider).locator("img[alt^='Bars']").count() == 1  # before anything has run
        lab.run_cells([*needed, *quizzes])
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


def test_the_live_run_of_chapter_07_fits_a_screen_and_draws_until_stop_is_pressed(lab_page):
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


def test_a_slider_s_picture_has_the_alt_text_of_what_it_shows(lab_page):
    chapter = NOTEBOOKS / "06_where_does_the_loss_come_from.ipynb"  # its figure and slider need nothing trained
    setup, figure = cells_with(chapter, SETUP, "plots.loss_and_weight(beta=")
    slider = cells_up_to(chapter, "slider_figure(")[-1]
    with lab_page(chapter) as lab:
        lab.run_cells([setup, figure, slider])
        picture = lab.picture(slider)
        shown = lab.cell(figure).locator("img").first.get_attribute("alt")  # while it is drawn anew there may be two
        first, before = picture.get_attribute("alt"), picture.get_attribute("src")
        lab.press(slider, "End")
        lab.wait_changed(picture, before)
        moved = picture.get_attribute("alt")
        assert shown == first != moved
        assert all(alt.startswith("At β = ") for alt in (shown, first, moved))


def without_alt(page):
    """What is wrong with the pictures' alt texts, in the notebook that is shown."""
    alts = page.eval_on_selector_all(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-OutputArea img", ALTS)
    if len(alts) < 2:
        return ["no pictures are seen"]
    return [f"a picture whose alt text is {alt!r}" for alt in alts if len(alt) <= 30]


def test_a_chapter_can_be_projected_and_read_aloud(lab_page):
    found = {}
    with lab_page(NOTEBOOKS / f"{CHAPTERS[0]}.ipynb", width=1024, height=768) as lab:
        for name in CHAPTERS:
            lab.open_beside(name)
            found[name] = lab.too_wide() + without_alt(lab.page)
            if name in READ_ALOUD:
                found[name] += lab.violations(colours=name == CHAPTERS[0])
    problems = [f"{name}: {problem}" for name in CHAPTERS for problem in found[name]]
    assert not problems, "\n".join(problems)
