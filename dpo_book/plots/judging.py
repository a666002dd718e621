"""Figures of judging: how often intervals hold the truth, how many comparisons it takes, and biased judges.

Green is what is recommended or corrected, grey what is raw, dashed black what is exact.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dpo_book.plots.style import (
    EXACT,
    LINES,
    MARKERS,
    POLICY,
    REFERENCE,
    SHADES,
    error_bars,
    exact_line,
    literally,
    new_column,
    new_figure,
    styled,
    with_looks,
)

Ends = tuple[float, float, float]  # a value, and the low and high end of its interval
LOWEST = 0.3  # coverage that a panel still shows
OF_INTERVALS = (SHADES[0], REFERENCE, SHADES[2], SHADES[3])  # the recommended first, the plain one second


@styled
def interval_coverage(
    shares: Sequence[float], panels: Mapping[str, Mapping[str, Sequence[float]]], stated: float = 0.95
) -> Figure:
    """How often an interval holds the true share, by that share: one panel below the other, each for an n.

    panels: title → (name of the interval → coverage at each of ``shares``). stated: what the intervals promise.
    """
    alt = f"Coverage by true share; dashed: the stated {100 * stated:.0f} %. " + "; ".join(
        f"{title}: {_lowest(coverages)}" for title, coverages in panels.items()
    )
    figure, axes_of = new_column(2.4, len(panels), alt)
    for axes, (title, coverages) in zip(axes_of, panels.items(), strict=True):
        for (name, coverage), colour, line in with_looks(coverages.items(), OF_INTERVALS, LINES):
            axes.plot(shares, coverage, linestyle=line, color=colour, label=literally(name))
        exact_line(axes, stated)
        axes.set(xlabel="true share $p$", ylabel="intervals that hold $p$", title=literally(title))
        axes.set(ylim=(LOWEST, 1.005))
    axes_of[0].legend(loc="lower center")
    return figure


def _lowest(coverages: Mapping[str, Sequence[float]]) -> str:
    """In words: how far the coverage of each interval falls."""
    told = [f"{name} down to {100 * np.min(coverage):.0f} %" for name, coverage in coverages.items()]
    return ", ".join(told)


@styled
def power_by_comparisons(
    counts: Sequence[int], curves: Mapping[str, Sequence[float]], marked: Mapping[int, float], wanted: float = 0.8
) -> Figure:
    """The power of a test by the number of comparisons a side, one curve a test.

    curves: label → power at each of ``counts``. marked: number of comparisons → power, to be pointed at. wanted: the
    power at which the dashed line stands.
    """
    told = ", ".join(f"{power:.2f} with {n:,}" for n, power in marked.items())
    alt = f"Power rises with the comparisons a side, for {', '.join(curves)}; marked: {told}. Dashed: {wanted:g}."
    figure, (axes,) = new_figure(3.4, 1, alt)
    for (label, powers), colour, line in with_looks(curves.items(), SHADES, LINES):
        axes.plot(counts, powers, linestyle=line, color=colour, label=literally(label))
    exact_line(axes, wanted)
    for n, power in marked.items():
        axes.plot([n], [power], "D", color=EXACT, markersize=6)
        axes.annotate(f"{n:,}: {power:.2f}", (n, power), xytext=(8, -12), textcoords="offset points")
    axes.set(xlabel="comparisons a side", ylabel="power", xscale="log", ylim=(0, 1.03))
    ticks = [n for n in (10, 30, 100, 300, 1000, 3000, 10_000, 30_000) if counts[0] <= n <= counts[-1]]
    axes.set_xticks(ticks, [f"{n:,}" for n in ticks])
    axes.set_xticks([], minor=True)
    axes.legend(loc="upper left")
    return figure


@styled
def judged_win_rates(judges: Mapping[str, tuple[Ends, Ends]], truth: float) -> Figure:
    """What each judge says of one win rate, raw and corrected, beside the truth.

    judges: name → (raw, corrected), each a value with the ends of its interval, such as an ``Interval``.
    """
    told = [f"{name}: {raw[0]:.2f} raw, {corrected[0]:.2f} corrected" for name, (raw, corrected) in judges.items()]
    alt = f"Win rate by judge with intervals; the truth, dashed, is {truth:.2f}. " + "; ".join(told)
    figure, (axes,) = new_figure(1.0 + 0.5 * len(judges), 1, alt)
    raw, corrected = zip(*judges.values(), strict=True)
    place = np.arange(len(judges))
    _with_ends(axes, place - 0.14, raw, REFERENCE, MARKERS[1], "raw")
    _with_ends(axes, place + 0.14, corrected, POLICY, MARKERS[0], "corrected")
    axes.axvline(truth, color=EXACT, linestyle="--", linewidth=1.2, label="truth")
    axes.set_yticks(place, [literally(name) for name in judges])
    axes.set(xlabel="win rate of the policy", ylim=(len(judges) - 0.5, -0.5))
    axes.grid(axis="y", visible=False)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


@styled
def win_rates_by_temperature(policies: Mapping[str, Mapping[float, Ends]]) -> Figure:
    """The win rate of each policy by the temperature at which it was sampled; dashed: half, where none is better.

    policies: label → (temperature → the rate with the ends of its interval, such as an ``Interval``).
    """
    told = [f"{label}: {_rates(rates)}" for label, rates in policies.items()]
    alt = "Win rate by temperature with 95 % intervals; dashed: 0.5. " + "; ".join(told)
    figure, (axes,) = new_figure(3.0, 1, alt)
    for (label, rates), colour, line, marker in with_looks(policies.items(), SHADES, LINES, MARKERS):
        value, ends = _ends(list(rates.values()))
        look = {"color": colour, "linestyle": line, "marker": marker, "markersize": 6, "capsize": 3}
        axes.errorbar(list(rates), value, yerr=ends, label=literally(label), **look)
    exact_line(axes, 0.5)
    axes.set(xlabel="temperature", ylabel="win rate", ylim=(-0.03, 1.03))
    axes.legend(loc="best")
    return figure


def _rates(rates: Mapping[float, Ends]) -> str:
    return ", ".join(f"{value:.2f} at {temperature:g}" for temperature, (value, *_) in rates.items())


def _with_ends(axes: Axes, place: np.ndarray, found: Sequence[Ends], colour: str, marker: str, label: str) -> None:
    """Markers with horizontal intervals, one a judge."""
    value, ends = _ends(found)
    axes.errorbar(value, place, xerr=ends, fmt=marker, color=colour, capsize=3, markersize=6, label=label)


def _ends(found: Sequence[Ends]) -> tuple[np.ndarray, np.ndarray]:
    """The values, and how far below and above them their intervals reach; of a share of 1 rounding may say −1e-16."""
    value, low, high = np.array(found, dtype=float).T
    return value, error_bars(value, low, high)
