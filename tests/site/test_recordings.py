"""Recorded figures and runs: what is kept of them, when they are drawn anew, and what a failure says."""

import json
import subprocess
import sys

import jupytext
import nbformat
import pytest

from dpo_book import kl_divergence, plots
from dpo_book.widgets import IntSlider, LiveRun, slider_figure
from tools.chapter_widgets import NOTEBOOKS, cells_up_to
from tools.record import digest_of
from tools.site import recordings, training
from tools.site.draw import DrawError, recorded_figure, recorded_run
from tools.site.moving import as_html


def bars(height):
    return plots.probability_mass(["a", "b"], [0.5, 0.5], [1 / height, 1 - 1 / height])


def test_a_figure_that_fails_at_a_place_is_named(tmp_path):
    figure = slider_figure(bars, height=IntSlider(2, min=0, max=3, description="height"))
    with pytest.raises(DrawError, match="the figure at 0: ZeroDivisionError"):
        recorded_figure(figure, tmp_path)


def losses(steps):
    for step in range(1, steps + 1):
        yield {"step": step, "loss": 1 / step}


def curve(records):
    return bars(1 + len(records))


def test_a_run_is_kept_as_it_grew(tmp_path):
    recording = recorded_run(LiveRun(losses, curve, steps=IntSlider(3, min=1, max=9, description="steps")), tmp_path)
    (step,) = recording["controls"]
    assert step["texts"] == ["1, loss 1.0000", "2, loss 0.5000", "3, loss 0.3333"] and step["start"] == 2
    assert len({frame["file"] for frame in recording["frames"]}) == 3
    page = as_html(recording, "figure-1")
    assert "one run of this page&#x27;s code with steps = 3" in page and recording["frames"][2]["file"] in page


def breaks(steps):
    yield {"step": 1, "loss": 1.0}
    raise ValueError("no more")


def test_a_run_that_breaks_is_no_recording(tmp_path):
    with pytest.raises(DrawError, match="ValueError: no more"):
        recorded_run(LiveRun(breaks, curve, steps=IntSlider(3, min=1, max=9)), tmp_path)


def test_a_chapter_is_drawn_once_and_again_when_its_cells_change(tmp_path, monkeypatch):
    drawn = []

    def draw(chapter, module, folder):
        drawn.append((chapter, module))
        folder.mkdir()

    monkeypatch.setattr(recordings, "WIDGETS", {"02_what_a_reward_model_learns": {"slider_figure(": []}})
    monkeypatch.setattr(recordings, "_draw_into", draw)
    first = recordings.recorded(tmp_path)
    assert recordings.recorded(tmp_path) == first and len(drawn) == 1
    monkeypatch.setattr(recordings, "code_digest", str)
    second = recordings.recorded(tmp_path)
    assert second != first and len(drawn) == 2
    assert list(tmp_path.iterdir()) == second["02_what_a_reward_model_learns"]  # the old one is gone


def test_a_chapter_that_cannot_be_drawn_is_named_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(recordings, "WIDGETS", {"02_what_a_reward_model_learns": {"slider_figure(": []}})
    failed = subprocess.CompletedProcess([], 1)
    monkeypatch.setattr(recordings.subprocess, "run", lambda *_args, **_kwargs: failed)
    with pytest.raises(recordings.RecordingError, match="draws for 02_what_a_reward_model_learns could not be drawn"):
        recordings.recorded(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_chapter_s_own_cells_are_run_and_its_figure_moved(tmp_path):
    chapter = "10_is_it_better"  # a slider with few places
    command = [sys.executable, "-m", "tools.site.draw", chapter, str(tmp_path)]
    subprocess.run(command, cwd=NOTEBOOKS.parent, check=True)
    kept = json.loads((tmp_path / "recordings.json").read_text(encoding="utf-8"))
    notebook = NOTEBOOKS / f"{chapter}.ipynb"
    cell = nbformat.read(notebook, as_version=4).cells[cells_up_to(notebook, "slider_figure(")[-1]]
    recording = kept[digest_of(cell)]
    places = len(recording["controls"][0]["texts"])
    assert places > 3 and f"drew all {places} pictures" in recording["said"]
    assert len({frame["file"] for frame in recording["frames"]}) == places


def cells_of_chapter_07():
    """The names that the chapter has once its live run's cells have run; the widget itself is not pressed."""
    script = NOTEBOOKS / "py" / "07_does_it_get_there.py"
    cells, names = jupytext.read(script).cells, {}
    for place in cells_up_to(script, training.CELL):
        exec(cells[place].source, names)
    return names


def test_the_recorded_trainings_are_the_chapter_s_own_and_their_numbers_exact(tmp_path):
    begun = training.begin()
    run = training.trained(begun, 1.0, 20)
    start = cells_of_chapter_07()["start"]
    assert list(start(beta=1.0, rate=training.RATE, steps=20))[-1].items() >= run.records[-1].items()
    assert not {0.2, 2.0} & set(training.BETAS)  # which the chapter has its readers predict
    assert list(run.p) == list(run.distances) == [0, 10, 20] and len(run.records) == 20
    at_start = kl_divergence(begun.ref_logp, run.optimum).mean().item()
    assert run.distances[0] == pytest.approx(at_start, abs=1e-5) and run.distances[20] < at_start
    for table in training.probabilities(run, begun).values():
        assert len(table) == sum(training.LIKELIEST) and table["optimum"].is_monotonic_decreasing
    gaps = [begun.world.reward(begun.world.prompts[0], text) for text, _ in run.samples[20]]
    assert gaps == [reward for _, reward in run.samples[20]]
