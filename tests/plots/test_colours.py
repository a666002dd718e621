"""Every figure can be read in greyscale, by a deuteranope, and on a page of 592 pixels."""

from itertools import combinations

import pandas as pd
import pytest
from matplotlib.figure import Figure

from dpo_book import plots
from dpo_book.frontier import figures, on_the_way, sampled_figure
from dpo_book.plots.style import CHOSEN, EXACT, POLICY, REFERENCE, REJECTED, SHADES
from tests.frontier import test_figures as of_ends, test_on_the_way as of_ways
from tests.plots import test_plots as of_plots
from tests.plots.sight import WHITE, contrast, difference, on_white, slips

DRAWING = (plots, figures, on_the_way, sampled_figure)
FOUR = ["one", "two", "three", "four"]
RECORDS = of_plots.RECORDS
THREE_RUNS = dict.fromkeys(FOUR[:3], RECORDS)
ASCENT = [{"step": step, "objective": step / 9, "kl": step, "likeliest": step / 10} for step in range(9)]
CLIMB = ([0.1, 0.4, 0.5], [0.5, 0.1, 0.0])
THREE_MEANS = {label: [0.01, 0.1] for label in FOUR[:3]}
SWEEP = pd.concat([of_plots.SWEEP, of_plots.SWEEP[of_plots.SWEEP["beta"] == 0.1].assign(beta=1.0)])
LOSSES = pd.DataFrame({"case": case, "step": step, "relative_difference": 1e-6} for case in FOUR for step in (1, 2))
LONG_RUNS = pd.concat(
    [of_ways.LONG_RUNS, of_ways.LONG_RUNS[lambda runs: runs["label"] == "few"].assign(label="some")]
)

# As many things in one panel as a figure tells apart; the tables of the other tests often have one or two.
CROWDED = {
    "to_the_optimum": lambda: plots.to_the_optimum(THREE_RUNS, dict.fromkeys(FOUR[:3], (1.5, 1.0))),
    "learning_curves": lambda: plots.learning_curves(dict.fromkeys(FOUR, RECORDS), ["loss", "kl_to_optimum"] * 2),
    "ascents": lambda: plots.ascents(dict.fromkeys(FOUR, ASCENT), {"one": 1.0}),
    "climbs": lambda: plots.climbs(dict.fromkeys(FOUR, CLIMB), 0.5, "t"),
    "lengths": lambda: plots.lengths({label: [4, 7, 20] for label in FOUR}),
    "kl_estimators": lambda: plots.kl_estimators([0.01, 0.1], THREE_MEANS, THREE_MEANS),
    "sweep": lambda: plots.sweep(SWEEP),
    "loss_differences": lambda: plots.loss_differences(LOSSES, within=1e-5),
    "optimal_curve": lambda: plots.optimal_curve(
        ["a", "b"], [0.5, 0.5], [0.2, 0.8], ([0, 0.5], [0, 0.6]), (0.1, 0.2), 2.0,
        {"one": ([0.2], [0.1]), "two": ([0.3], [0.1])},
    ),
    "interval_coverage": lambda: plots.interval_coverage(
        [0.1, 0.5, 0.9], {f"n = {n}": dict.fromkeys(FOUR, (0.9, 0.95, 0.8)) for n in (20, 50, 256)}
    ),
    "power_by_comparisons": lambda: plots.power_by_comparisons(
        [30, 300, 3000], dict.fromkeys(FOUR, (0.1, 0.4, 0.9)), {256: 0.3, 2373: 0.8}
    ),
    "win_rates_by_temperature": lambda: plots.win_rates_by_temperature(
        {label: {0.0: (0.6, 0.5, 0.7), 1.0: (0.4, 0.3, 0.5)} for label in FOUR}
    ),
    "over_optimisation": lambda: on_the_way.over_optimisation(LONG_RUNS, of_ways.OPTIMUM),
}  # fmt: skip
FIGURES = {
    **of_plots.FIGURES,
    **of_ends.FIGURES,
    **of_ways.FIGURES,
    **{f"{name}, crowded": draw for name, draw in CROWDED.items()},
}


@pytest.mark.parametrize("name", FIGURES)
def test_everybody_can_read(name):
    assert slips(FIGURES[name]()) == []


def test_no_figure_is_left_out():
    public = [(name, value) for module in DRAWING for name, value in vars(module).items()]
    drawing = {
        name
        for name, value in public
        if callable(value) and getattr(value, "__annotations__", {}).get("return") is Figure
    }
    assert drawing == {name.partition(",")[0] for name in FIGURES}


@pytest.mark.parametrize(
    "colours", [(CHOSEN, REJECTED, REFERENCE, POLICY, EXACT), SHADES], ids=["meanings", "shades"]
)
def test_the_colours_differ_in_grey_and_to_a_deuteranope_and_stand_out_from_paper(colours):
    for one, other in combinations([on_white(colour) for colour in colours], 2):
        assert contrast(one, other) >= 1.3
        assert difference(one, other) >= 10
    assert all(contrast(on_white(colour), WHITE) >= 3 for colour in colours)


def one_panel():
    figure = Figure(figsize=(7, 3))
    return figure, figure.subplots()


def two_greens():
    figure, axes = one_panel()
    axes.plot([0, 1], color="#009E73", label="policy")  # the book's green and grey of before
    axes.plot([1, 0], color="#888888", label="reference")
    return figure


def pale_line():
    figure, axes = one_panel()
    axes.plot([0, 1], color="#B5E3D5", label="a shade")
    return figure


def pale_dots():
    figure, axes = one_panel()
    axes.scatter([0, 1], [0, 1], color=POLICY, alpha=0.3, label="dots")
    return figure


def same_bars():
    figure, axes = one_panel()
    axes.bar([0], [1], color=POLICY, label="one")
    axes.bar([1], [1], color=POLICY, label="two")
    return figure


def small_text():
    figure, axes = one_panel()
    axes.text(0.5, 0.5, "0.3", fontsize=7.5)
    return figure


def pale_text():
    figure, axes = one_panel()
    axes.text(0.5, 0.5, "a coin", color=REFERENCE)
    return figure


def white_text_on_a_pale_cell():
    figure, axes = one_panel()
    axes.imshow([[0.3]], vmin=0, vmax=1, cmap="Blues")
    axes.text(0, 0, "0.30", color="white")
    return figure


def four_panels():
    figure = Figure(figsize=(7, 3))
    figure.subplots(1, 4)
    return figure


@pytest.mark.parametrize(
    ("bad", "slip"),
    [
        (two_greens, "policy looks like reference"),
        (pale_line, "a shade is pale"),
        (pale_dots, "dots is pale"),
        (same_bars, "one looks like two"),
        (small_text, "'0.3' is 8.8 px"),
        (pale_text, "'a coin' is pale"),
        (white_text_on_a_pale_cell, "'0.30' is pale"),
        (four_panels, "4 panels in a row"),
    ],
)
def test_a_figure_that_some_cannot_read_is_found(bad, slip):
    assert slips(bad()) == [slip]


def test_a_marker_of_its_own_is_enough():
    figure, axes = one_panel()
    axes.plot([0, 1], "o-", color="#2878B5", label="one")
    axes.plot([1, 0], "^-", color="#A06400", label="two")
    assert slips(figure) == []
