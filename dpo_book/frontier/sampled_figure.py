"""The figure of a frontier whose numbers are sampled: reward against KL, each with its 95 % interval."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from dpo_book.frontier.figures import KL_TO_REFERENCE
from dpo_book.frontier.methods import METHODS, Method
from dpo_book.maths.estimates import Z95
from dpo_book.plots.labels import write_beside
from dpo_book.plots.style import literally, new_figure, styled


@styled
def sampled_frontier(table: pd.DataFrame, title: str = "") -> Figure:
    """E[r*] against the KL of whole responses: a marker a finished run, small dots where it was measured on its way.

    Crosses are 95 % intervals, ± 1.96 standard errors, of what was sampled of this one policy; how seeds differ shows
    only where there are several. A line joins a method's strengths, seed by seed. KL is linear up to 1 nat and
    logarithmic beyond.
    """
    ends = table[table["last"]]
    figure, (axes,) = new_figure(4.2, 1, _alt(ends, title))
    for name, method in METHODS.items():
        runs = table[table["method"] == name]
        if not runs.empty:
            _draw(axes, runs, method)
    axes.set_xscale("symlog", linthresh=1)  # unlikelihood can be a hundred nats away, the others within twenty
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.set(xlabel=f"sequence {KL_TO_REFERENCE}", ylabel=r"E[$r^*$]", title=literally(title))
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    _write_strengths(axes, ends)
    return figure


def _draw(axes: Axes, runs: pd.DataFrame, method: Method) -> None:
    """One method: its way as dots, its ends as markers in their crosses, joined for each seed."""
    look = {"color": method.colour, "marker": method.marker}
    on_the_way = runs[~runs["last"]]
    axes.plot(on_the_way["kl"], on_the_way["reward"], **look, linestyle="", markersize=2.5)
    label = f"{method.label} ({method.symbol})" if method.symbol else method.label
    for place, (_, ends) in enumerate(runs[runs["last"]].groupby("seed")):
        in_order = ends.sort_values("kl")
        axes.errorbar(
            in_order["kl"],
            in_order["reward"],
            xerr=Z95 * in_order["kl_error"],
            yerr=Z95 * in_order["reward_error"],
            **look,
            markersize=7 if method.marker in "PX" else 5.5,
            markeredgecolor="white",
            markeredgewidth=0.4,
            linewidth=0.8,
            elinewidth=0.8,
            label=None if place else label,
        )


def _write_strengths(axes: Axes, ends: pd.DataFrame) -> None:
    """β, α or n beside every finished run's marker, where there is room for it."""
    texts, colours = [], []
    for name, strength in zip(ends["method"], ends["strength"], strict=True):
        texts.append(f"{strength:g}" if METHODS[name].symbol else "")
        colours.append(METHODS[name].colour)
    write_beside(axes, ends[["kl", "reward"]].to_numpy(), texts, colours)


def _alt(ends: pd.DataFrame, title: str) -> str:
    told = []
    for name, method in METHODS.items():
        runs = ends[ends["method"] == name].sort_values("reward")
        if not runs.empty:
            best = runs.iloc[-1]
            told.append(f"{method.label} up to {best['reward']:.2f} at {best['kl']:.2f} nats")
    named = f"{title}: sampled" if title else "Sampled"
    return f"{named} reward against sequence KL to the reference, with 95 % intervals; {', '.join(told)}."
