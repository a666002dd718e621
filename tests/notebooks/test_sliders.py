"""Every widget of every chapter, without a browser: sliders are moved to their ends, quizzes answered."""

import inspect
import time
from itertools import product

import jupytext
import nbformat
import pytest

from dpo_book import plots
from dpo_book.widgets import IntSlider, slider_figure
from tools.chapter_widgets import NOTEBOOKS, SETUP, WIDGETS, cells_up_to, cells_with

# What a probe cell in the chapter's kernel does with the widget that the cell above it shows:


def both_ends(control):
    """What to set, and to which two values, to put a slider or a list at its ends."""
    if hasattr(control, "options"):
        return "index", (0, len(control.options) - 1)
    if hasattr(control, "base"):
        return "value", (control.base**control.min, control.base**control.max)
    return "value", (control.min, control.max)


def corners(controls):
    """Move the controls to every combination of their ends; say which: (0, 1) is the first low, the second high."""
    for corner in product((0, 1), repeat=len(controls)):
        for control, which in zip(controls, corner, strict=True):
            name, values = both_ends(control)
            setattr(control, name, values[which])
        yield corner


def probe_slider_figure(figure):
    """At every corner there is a picture, and no control leaves it as it is at all of them."""
    controls = list(figure._sliders.values())
    pictures = {}
    for corner in corners(controls):
        assert figure.children[-1] is figure.image, f"{corner}: {figure.error.value}"
        pictures[corner] = figure.image.png
    assert all(picture.startswith(b"\x89PNG") for picture in pictures.values())
    for i, control in enumerate(controls):
        low, high = ([pictures[corner] for corner in pictures if corner[i] == which] for which in (0, 1))
        assert low != high, f"{control.description} moves nothing"


def probe_live_run(live):
    """At every corner a run gives records and a picture, and can be stopped."""
    for corner in corners(list(live._sliders.values())):
        live.image.png = b""
        live.run.click()
        while live.thread.is_alive() and not live.records:
            time.sleep(0.01)
        live.stop.click()
        live.thread.join()
        assert live.status.value.startswith(("stopped", "done")), f"{corner}: {live.status.value}"
        assert live.records and live.image.png.startswith(b"\x89PNG"), corner


def probe_quiz(quiz):
    """Every answer is explained, and one is right."""
    marks = []
    for answer in quiz.choice.options:
        quiz.verdict.value = ""
        quiz.choice.value = answer
        mark, _, explanation = quiz.verdict.value.partition(". ")
        assert explanation.strip(), f"{answer!r} has no explanation"
        marks.append(mark)
    assert sorted(marks) == ["✓ Right"] + ["✗ Not so"] * (len(marks) - 1), marks


PROBES = {
    "widgets.slider_figure(": probe_slider_figure,
    "widgets.LiveRun(": probe_live_run,
    'quiz("': probe_quiz,
}
SLIDERS = (probe_slider_figure, probe_live_run)
TOOLS = "import time\nfrom itertools import product\n\n\n" + "\n\n".join(
    inspect.getsource(function) for function in (both_ends, corners, *PROBES.values())
)


def probe_of(cell):
    """The probe for the widget that a cell shows; None for a cell that shows none."""
    return next((probe for call, probe in PROBES.items() if cell.cell_type == "code" and call in cell.source), None)


def probed(script):
    """A notebook of the cells that a chapter's widgets need, and a probe below each widget; how many probes."""
    cells = jupytext.read(script).cells
    needed = {place for widget in WIDGETS.get(script.stem, {}) for place in cells_up_to(script, widget)}
    quizzes = {i for i, cell in enumerate(cells) if probe_of(cell) is probe_quiz}
    sources, probes = [TOOLS], 0
    for place in sorted(needed | quizzes | set(cells_with(script, SETUP))):
        sources.append(cells[place].source)
        if probe := probe_of(cells[place]):
            sources.append(f"{probe.__name__}(Out[max(Out)])\nprint('probe: OK')")
            probes += 1
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources]), probes


def printed(notebook, stream):
    outputs = (output for cell in notebook.cells for output in cell.outputs)
    return "".join(output.text for output in outputs if output.get("name") == stream)


every_chapter = pytest.mark.parametrize("script", sorted(NOTEBOOKS.glob("py/*.py")), ids=lambda script: script.stem)


@every_chapter
def test_every_cell_with_sliders_is_in_the_table(script):
    shown = [i for i, cell in enumerate(jupytext.read(script).cells) if probe_of(cell) in SLIDERS]
    assert sorted(cells_with(script, *WIDGETS.get(script.stem, {}))) == shown, "add it to tools/chapter_widgets.py"


@every_chapter
def test_every_widget_answers_at_the_ends(script, run):
    notebook, probes = probed(script)
    run(notebook)
    assert printed(notebook, "stdout").count("probe: OK\n") == probes > 0
    assert printed(notebook, "stderr") == ""


def bars(height):
    return plots.probability_mass(["a", "b"], [0.5, 0.5], [1 / height, 1 - 1 / height])


def test_a_figure_that_fails_at_an_end_is_found():
    figure = slider_figure(bars, height=IntSlider(value=2, min=0, max=4))
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        probe_slider_figure(figure)


def test_a_slider_that_moves_nothing_is_found():
    sliders = (IntSlider(value=2, min=1, max=4, description=name) for name in ("height", "idle"))
    figure = slider_figure(lambda height, idle: bars(height), **{s.description: s for s in sliders})
    with pytest.raises(AssertionError, match="idle moves nothing"):
        probe_slider_figure(figure)
