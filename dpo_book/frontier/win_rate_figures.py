"""Figures of win rates where methods compete: by temperature, and over training."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dpo_book.frontier.methods import METHODS
from dpo_book.maths.estimates import Interval
from dpo_book.plots.style import LINES, MARKERS, SHADES, error_bars, exact_line, literally, new_figure, styled

Rates = Mapping[float, Interval]  # by temperature, or by step


@styled
def win_rates_of_methods(panels: Mapping[str, Mapping[str, Rates]]) -> Figure:
    """Win rate by temperature, a panel for each title, with 95 % intervals; dashed: half, where neither is better.

    panels: title → method of ``METHODS`` → temperature → interval.
    """
    told = []
    for title, methods in panels.items():
        at_best = [f"{METHODS[name].label} up to {_highest(rates):.2f}" for name, rates in methods.items()]
        told.append(f"{title}: {', '.join(at_best)}")
    alt = f"Win rate by temperature; dashed: one half. {'; '.join(told)}."
    figure, axes_of = new_figure(3.8, len(panels), alt)
    names = list(dict.fromkeys(name for methods in panels.values() for name in methods))
    for axes, (title, methods) in zip(axes_of, panels.items(), strict=True):
        for name, rates in methods.items():
            method = METHODS[name]
            aside = 0.012 * (names.index(name) - (len(names) - 1) / 2)  # or intervals would hide each other
            _draw(axes, rates, aside, method.colour, "-", method.marker, method.label)
        exact_line(axes, 0.5)
        axes.set(xlabel="temperature", ylabel="win rate", title=literally(title), ylim=(0, 1))
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "¼", "½", "¾", "1"])
    handles = {}  # of the first panel that has the method
    for axes in axes_of:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
    return figure


@styled
def win_rates_over_training(curves: Mapping[str, Rates]) -> Figure:
    """Win rate by step of training, a curve a label, with 95 % intervals; dashed: half."""
    told = [f"{label} ends at {list(rates.values())[-1].value:.2f}" for label, rates in curves.items()]
    alt = f"Win rate by step of DPO; dashed: one half. {'; '.join(told)}."
    figure, (axes,) = new_figure(3.0, 1, alt)
    looks = zip(SHADES, LINES, MARKERS, strict=False)
    for (label, rates), (colour, line, marker) in zip(curves.items(), looks, strict=False):
        _draw(axes, rates, 0.0, colour, line, marker, literally(label))
    exact_line(axes, 0.5)
    axes.set(xlabel="step", ylabel="win rate", ylim=(0, 1))
    axes.legend(loc="lower right")
    return figure


def _draw(axes: Axes, rates: Rates, aside: float, colour: str, line: str, marker: str, label: str) -> None:
    value, low, high = np.array(list(rates.values()), dtype=float).T
    place = np.array(list(rates), dtype=float) + aside
    look = {"color": colour, "linestyle": line, "marker": marker}
    size = {"markersize": 5, "capsize": 2, "linewidth": 1.2}
    axes.errorbar(place, value, yerr=error_bars(value, low, high), label=label, **look, **size)


def _highest(rates: Rates) -> float:
    return max(rate.value for rate in rates.values())
