"""A live run without a browser: it runs, stops, and shows its errors."""

import threading

import pytest

from dpo_book import plots
from dpo_book.widgets import FloatSlider, IntSlider, LiveRun
from tests.patience import PATIENCE


def wait_for_the_end(widget):
    widget.thread.join(PATIENCE)
    assert not widget.thread.is_alive(), "the run hangs"


def record(step):
    return {
        "step": step,
        "loss": 0.6,
        "rewards/chosen": step / 10,
        "rewards/rejected": -step / 10,
        "rewards/margins": step / 5,
        "kl_to_optimum": 1 / step,
    }


def live(start, steps=5):
    return LiveRun(
        start,
        plots.live_margins,
        beta=FloatSlider(value=1.0),
        steps=IntSlider(value=steps, min=1, max=10_000),
    )


def test_a_live_run_says_without_a_kernel_how_to_start_it():
    assert "Once the cell has run in JupyterLab" in live(lambda **_: iter(()))._repr_mimebundle_()["text/html"]


def test_a_page_that_shows_no_html_says_in_words_what_a_live_run_is():
    words = live(lambda **_: iter(()))._repr_mimebundle_()["text/plain"]
    assert words == "Sliders: beta, steps. Run the cell in JupyterLab, then press Run to train."


def test_run_draws_every_record_and_run_can_be_pressed_again():
    settings = []

    def start(beta, steps):
        settings.append((beta, steps))
        yield from (record(step) for step in range(1, steps + 1))

    widget = live(start)
    assert widget.image.value == "" and widget.stop.disabled
    for beta in (1.0, 0.5):
        widget.children[0].children[0].value = beta
        widget.run.click()
        wait_for_the_end(widget)
        assert [r["step"] for r in widget.records] == [1, 2, 3, 4, 5]
        assert widget.progress.value == widget.progress.max == 5
        assert widget.status.value.startswith("done: step 5")
        assert widget.image.png.startswith(b"\x89PNG")
        assert not widget.run.disabled and widget.stop.disabled
    assert settings == [(1.0, 5), (0.5, 5)]


def test_stop_ends_a_run_before_its_next_step():
    under_way, pressed, computed = threading.Event(), threading.Event(), []

    def start(beta, steps):
        for step in range(1, steps + 1):
            if step == 4:
                under_way.set()
                pressed.wait(PATIENCE)
            computed.append(step)
            yield record(step)

    widget = live(start, steps=10_000)
    widget.run.click()
    assert under_way.wait(PATIENCE)
    assert widget.run.disabled and not widget.stop.disabled
    widget.stop.click()
    pressed.set()
    wait_for_the_end(widget)
    assert computed == [1, 2, 3, 4] == [r["step"] for r in widget.records]  # the step under way, and no other
    assert widget.status.value.startswith("stopped: step 4")
    assert not widget.run.disabled and widget.stop.disabled


def test_pressing_run_twice_starts_one_run():
    gate, started = threading.Event(), []

    def start(beta, steps):
        started.append(1)
        gate.wait(PATIENCE)
        yield record(1)

    widget = live(start)
    widget.run.click()
    widget.run.click()
    gate.set()
    wait_for_the_end(widget)
    assert started == [1]


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("good_steps", [0, 2])
def test_whatever_ends_a_run_is_shown_and_run_works_again(good_steps, error):
    def start(beta, steps):
        yield from (record(step) for step in range(1, good_steps + 1))
        raise error("the loss is not finite")

    widget = live(start)
    widget.run.click()
    wait_for_the_end(widget)
    assert widget.status.value.startswith(f"{error.__name__}: the loss is not finite")
    assert not widget.run.disabled and widget.stop.disabled


def test_a_second_run_stops_the_first():
    """A cell that is run again must not leave its old run computing."""
    second_runs = threading.Event()

    def start_first(beta, steps):
        yield record(1)
        second_runs.wait(PATIENCE)
        yield from (record(step) for step in range(2, steps + 1))

    def start_second(beta, steps):
        second_runs.set()
        yield from (record(step) for step in range(1, steps + 1))

    first, second = live(start_first, steps=10_000), live(start_second, steps=3)
    first.run.click()
    second.run.click()
    wait_for_the_end(first)
    wait_for_the_end(second)
    assert first.status.value.startswith("stopped") and len(first.records) <= 2
    assert second.status.value.startswith("done: step 3")


def test_a_run_without_a_steps_slider_is_refused():
    with pytest.raises(ValueError, match="slider named steps"):
        LiveRun(lambda beta: iter(()), plots.live_margins, beta=FloatSlider())


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt])
def test_whatever_a_figure_raises_is_shown_and_run_works_again(error):
    def figure(records):
        raise error("no figure")

    widget = LiveRun(lambda steps: iter([record(1)]), figure, steps=IntSlider(value=1, min=1))
    widget.run.click()
    wait_for_the_end(widget)
    assert widget.status.value == f"{error.__name__}: no figure" and not widget.run.disabled


def test_margins_are_drawn_without_a_distance_to_the_optimum():
    records = [{k: v for k, v in record(step).items() if k != "kl_to_optimum"} for step in (1, 2)]
    assert plots.png(plots.live_margins(records)).startswith(b"\x89PNG")
