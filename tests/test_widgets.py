"""Widgets without a browser: sliders redraw at both ends, a live run runs, stops, and shows its errors."""

import base64
import threading

import ipywidgets
import matplotlib
import pytest

from dpo_book import plots
from dpo_book.widgets import LiveRun, slider_figure
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
        beta=ipywidgets.FloatSlider(value=1.0),
        steps=ipywidgets.IntSlider(value=steps, min=1, max=10_000),
    )


def test_a_slider_redraws_at_both_ends():
    seen = []

    def figure(beta):
        seen.append(beta)
        return plots.probability_mass(["a", "b"], [0.5, 0.5], [beta / 10, 1 - beta / 10])

    slider = ipywidgets.FloatSlider(value=1.0, min=0.0, max=10.0)
    box = slider_figure(figure, beta=slider)
    picture = box.children[-1]
    pictures = [picture.png]
    for end in (slider.min, slider.max):
        slider.value = end
        pictures.append(picture.png)
    assert seen == [1.0, 0.0, 10.0]
    assert all(p.startswith(b"\x89PNG") for p in pictures) and len(set(pictures)) == 3


def bars(height):
    return plots.probability_mass(["a", "b"], [0.5, 0.5], [1 / height, 1 - 1 / height])


def test_what_a_figure_raises_stands_in_its_place_until_it_can_be_drawn():
    slider = ipywidgets.IntSlider(value=2, min=0, max=4)
    box = slider_figure(bars, height=slider)
    before = box.image.png
    slider.value = 0
    sliders = box.children[0]
    assert sliders.children == (slider,)
    assert box.children == (sliders, box.error)
    assert box.error.value == "ZeroDivisionError: division by zero"
    slider.value = 4
    assert box.children == (sliders, box.image)
    assert box.image.png not in (b"", before)


@pytest.mark.parametrize("error", [ValueError("two\n  lines"), SystemExit("two lines")], ids=["error", "exit"])
def test_an_error_of_several_lines_is_shown_in_one(error):
    def figure(height):
        if height == 0:
            raise error
        return bars(height)

    slider = ipywidgets.IntSlider(value=2, min=0, max=4)
    box = slider_figure(figure, height=slider)
    slider.value = 0
    assert box.error.value == f"{type(error).__name__}: two lines"


def test_what_a_figure_raises_is_shown_as_it_is():
    def figure(height):
        if height == 0:
            raise ValueError("1 < 2 & <b>")
        return bars(height)

    slider = ipywidgets.IntSlider(value=2, min=0, max=4)
    box = slider_figure(figure, height=slider)
    slider.value = 0
    assert box.error.value == "ValueError: 1 &lt; 2 &amp; &lt;b&gt;"


def test_a_figure_that_cannot_be_drawn_at_first_is_an_error_of_the_cell():
    with pytest.raises(ZeroDivisionError):
        slider_figure(bars, height=ipywidgets.IntSlider(value=0))


def test_a_picture_has_its_figures_alt_text():
    slider = ipywidgets.IntSlider(value=2, min=1, max=4)
    box = slider_figure(bars, height=slider)
    for height in (2, 4):
        slider.value = height
        assert f'<img alt="{bars(height).get_label()}" ' in box.image.value


def test_a_readers_style_does_not_reach_the_pictures_of_sliders():
    with matplotlib.style.context("dark_background"):
        dark = slider_figure(bars, height=ipywidgets.IntSlider(value=2))
    assert dark.image.png == plots.png(bars(2))


def test_sliders_can_be_seen_without_a_kernel():
    slider = ipywidgets.FloatSlider(value=2.0, min=0, max=4, description="height <h>")
    box = slider_figure(bars, height=slider)
    page = box._repr_mimebundle_()["text/html"]
    assert f'alt="{bars(2).get_label()}"' in page
    assert base64.b64encode(plots.png(bars(2))).decode() in page
    assert "<p>height &lt;h&gt; = 2. Once the cell has run" in page
    slider.value = 0  # cannot be drawn: the page stays with the last picture
    assert box._repr_mimebundle_()["text/html"] == page


def test_a_live_run_says_without_a_kernel_how_to_start_it():
    assert "Once the cell has run in JupyterLab" in live(lambda **_: iter(()))._repr_mimebundle_()["text/html"]


def test_a_page_that_shows_no_html_says_in_words_what_the_widgets_are():
    words = {
        slider_figure(bars, height=ipywidgets.IntSlider(value=2)): "Slider: height. Run",
        slider_figure(bars, height=ipywidgets.IntSlider(value=2, description="h")): "Slider: h. Run",
        live(lambda **_: iter(())): "Sliders: beta, steps. Run",
    }
    for widget, start in words.items():
        assert widget._repr_mimebundle_()["text/plain"].startswith(f"{start} the cell in JupyterLab")


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
        LiveRun(lambda beta: iter(()), plots.live_margins, beta=ipywidgets.FloatSlider())


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt])
def test_whatever_a_figure_raises_is_shown_and_run_works_again(error):
    def figure(records):
        raise error("no figure")

    widget = LiveRun(lambda steps: iter([record(1)]), figure, steps=ipywidgets.IntSlider(value=1, min=1))
    widget.run.click()
    wait_for_the_end(widget)
    assert widget.status.value == f"{error.__name__}: no figure" and not widget.run.disabled


def test_margins_are_drawn_without_a_distance_to_the_optimum():
    records = [{k: v for k, v in record(step).items() if k != "kl_to_optimum"} for step in (1, 2)]
    assert plots.png(plots.live_margins(records)).startswith(b"\x89PNG")
