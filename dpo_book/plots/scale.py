"""Figures of what training costs: the tables that ``make bench`` writes."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dpo_book.plots.style import EXACT, POLICY, REFERENCE, SHADES, literally, new_figure, styled, with_looks

SIDES = {"dpo_book": (POLICY, "o-", "this book"), "TRL": (REFERENCE, "s-", "TRL")}
MODELS = {"nano": "nano", "mini": "mini", "small": "6 blocks,\n384 wide"}
MILLISECONDS = [2, 5, 10, 20, 50, 100, 200, 500, 1000]
AXES = {
    "prompt": "prompt, tokens", "completion": "completion, tokens", "batch": "pairs a batch",
    "vocabulary": "vocabulary", "size": "model",
}  # fmt: skip


@styled
def levers(table: pd.DataFrame) -> Figure:
    """Speed and peak memory with one lever after another, as shares of the first, for every case of "levers".

    table: columns case, what (the lever, in order), pairs_per_cpu_second, peak_mb.
    """
    rows = table[table["table"] == "levers"]
    cases = list(rows["case"].unique())
    alt = "Bars of speed and of peak memory, one lever on top of another. " + "; ".join(
        f"{case}: {_gain(rows[rows['case'] == case])}" for case in cases
    )
    figure, panels = new_figure(3.6, 2, alt)
    panels[1].sharey(panels[0])
    names = list(rows["what"].unique())
    first = literally(names[0])
    place = np.arange(len(names))[::-1]
    apart = 0.8 / len(cases)
    for axes, column, label in (
        (panels[0], "pairs_per_cpu_second", f"pairs a CPU second, {first} = 1"),
        (panels[1], "peak_mb", f"peak memory, {first} = 1"),
    ):
        for i, (case, colour) in enumerate(with_looks(cases, SHADES[1:])):
            values = rows[rows["case"] == case].set_index("what")[column].loc[names]
            shares = values / values.iloc[0]
            middle = place + 0.4 - apart * (i + 0.5)
            axes.barh(middle, shares, height=0.95 * apart, color=colour, label=literally(case))
        axes.set_yticks(place, [literally(name) for name in names])
        axes.grid(axis="y", visible=False)
        axes.set(xlabel=label)
    panels[1].tick_params(labelleft=False)
    panels[0].set(title="speed: more is better")
    panels[1].set(title="memory: less is better")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def _gain(rows: pd.DataFrame) -> str:
    first, last = rows.iloc[0], rows.iloc[-1]
    return (
        f"{last['pairs_per_cpu_second'] / first['pairs_per_cpu_second']:.1f} times the speed of the first, "
        f"{last['peak_mb'] / first['peak_mb']:.2f} of its memory"
    )


@styled
def growth(table: pd.DataFrame) -> Figure:
    """CPU milliseconds a pair by prompt length, completion length, batch, vocabulary and model size.

    table: columns case ("by prompt", ...), what ("dpo_book" or "TRL"), those five, pairs_per_cpu_second.
    """
    rows = table[table["table"] == "growth"]
    ends = rows[rows["case"] == "by vocabulary"].groupby("what")["pairs_per_cpu_second"].min()
    alt = (
        "Time a pair against each of five sizes, for this book and TRL. With the largest vocabulary: "
        f"{1000 / ends['dpo_book']:.0f} and {1000 / ends['TRL']:.0f} ms."
    )
    figure, panels = new_figure(2.7, len(AXES), alt)
    for axes, (name, label) in zip(panels, AXES.items(), strict=True):
        _lines(axes, rows[rows["case"] == f"by {name}"], name)
        axes.set(xlabel=label, yscale="log")
        axes.set_yticks(MILLISECONDS, MILLISECONDS)
        axes.minorticks_off()
    figure.supylabel("CPU milliseconds a pair", fontsize=10)
    in_the_gap = {"loc": "center", "bbox_to_anchor": (0.85, 0.3)}
    figure.legend(*panels[0].get_legend_handles_labels(), **in_the_gap)
    milliseconds = 1000 / rows["pairs_per_cpu_second"]
    for axes in panels:
        axes.set_ylim(0.7 * milliseconds.min(), 1.4 * milliseconds.max())
    return figure


def _lines(axes: Axes, rows: pd.DataFrame, name: str) -> None:
    for what, (colour, style, label) in SIDES.items():
        values = rows[rows["what"] == what]
        if name == "size":
            places, names = np.arange(len(values)), [MODELS[size] for size in values[name]]
        else:
            places, names = values[name], [f"{value:,}" for value in values[name]]
            axes.set_xscale("log")
        axes.plot(places, 1000 / values["pairs_per_cpu_second"], style, color=colour, label=label)
        axes.set_xticks(places, names)
    axes.margins(x=0.16)


@styled
def loss_differences(losses: pd.DataFrame, within: float) -> Figure:
    """How far two trainers' losses are apart, relative to the loss, a row a case; ``within`` is the goal.

    losses: columns case, step, relative_difference. A difference of zero is drawn at 1e-8, below float32's rounding.
    """
    worst = losses["relative_difference"].max()
    cases: Sequence[str] = list(losses["case"].unique())
    alt = (
        f"Relative differences of the losses, a row of dots for each of {len(cases)} cases, all left of the dashed "
        f"line; the largest is {worst:.1e}."
    )
    figure, (axes,) = new_figure(1.2 + 0.28 * len(cases), 1, alt)
    for place, case in enumerate(cases):
        values = losses.loc[losses["case"] == case, "relative_difference"].clip(lower=1e-8)
        axes.plot(values, [place] * len(values), "o", color=POLICY, alpha=0.7, markersize=5)
    axes.axvline(within, color=EXACT, linestyle="--")
    axes.text(1.2 * within, 0, "the goal", va="center")
    axes.set(xlabel="relative difference of the losses, one dot a step", xscale="log", xlim=(6e-9, 4 * within))
    axes.set_yticks(range(len(cases)), [literally(case) for case in cases])
    axes.invert_yaxis()
    return figure
