"""Figures of win rates, drawn from intervals alone."""

from functools import partial

import pytest

from dpo_book.frontier import win_rate_figures
from dpo_book.frontier.methods import METHODS
from dpo_book.maths.estimates import Interval, share_interval
from tests.plots.test_plots import (  # noqa: F401  what holds of every figure, here of this file's
    picture,
    test_a_figure_has_alt_text_and_a_picture,
    test_axes_are_named,
    test_nothing_is_drawn_on_the_outermost_pixels,
)


def falling(best):
    return {temperature: share_interval(best - 0.2 * temperature, 100) for temperature in (0.0, 0.5, 1.0)}


RATES = {"sft": falling(0.4), "dpo": falling(0.8), "best-of-n": falling(0.6)}
BY_STEP = {0: share_interval(0.5, 100), 50: Interval(1.0, 1.0, 1.0)}
FIGURES = {
    "one panel": partial(win_rate_figures.win_rates_of_methods, {"a world": RATES}),
    "two panels": partial(win_rate_figures.win_rates_of_methods, {"summaries": RATES, "dialogues": RATES}),
    "over training": partial(win_rate_figures.win_rates_over_training, {"temperature 1": BY_STEP}),
}


@pytest.fixture(params=FIGURES, ids=str, scope="module")
def figure(request):
    return FIGURES[request.param]()


def test_every_method_has_its_own_look_in_every_panel():
    drawn = FIGURES["two panels"]()
    for axes in drawn.axes:
        looks = {(bars[0].get_color(), bars[0].get_marker()) for bars in axes.containers}
        assert looks == {(METHODS[name].colour, METHODS[name].marker) for name in RATES}


def test_a_rate_stands_beside_its_temperature_between_its_ends():
    (axes,) = FIGURES["one panel"]().axes
    for bars, rates in zip(axes.containers, RATES.values(), strict=True):
        (line, _, (segments,)) = bars
        for (x, y), segment, (temperature, rate) in zip(
            line.get_xydata(), segments.get_segments(), rates.items(), strict=True
        ):
            assert abs(x - temperature) < 0.05
            assert [segment[0][1], y, segment[1][1]] == pytest.approx([rate.low, rate.value, rate.high])


def test_the_alt_text_has_the_highest_rate_of_each_method():
    assert "DPO up to 0.80" in FIGURES["one panel"]().get_label()
