"""Figures of a file of preferences and of runs on it: what a cut leaves, a sweep, held-out curves, lengths."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dpo_book.plots.style import (
    EXACT,
    LINES,
    MARKERS,
    REFERENCE,
    SHADES,
    exact_line,
    literally,
    new_figure,
    styled,
    with_looks,
)

LN2 = float(np.log(2))
# What becomes of a pair when its rows are cut: its name in a table's columns → colour, hatch.
FATES = {"whole": (SHADES[1], ""), "cut": (SHADES[3], ""), "the same": ("white", "xx"), "no room": ("white", "..")}


@styled
def cut_pairs(shares: pd.DataFrame, max_length: int) -> Figure:
    """What becomes of the pairs of a file at every max_length, as shares that add up to 1.

    shares: indexed by max_length, a column for each of ``FATES``. max_length: the one that is pointed at.
    """
    here = shares.loc[max_length]
    told = ", ".join(f"{name} {100 * here[name]:.0f} %" for name in FATES)
    alt = f"Share of pairs by max_length that stay whole, are cut, become the same or have no room; at {max_length}: "
    figure, (axes,) = new_figure(3.2, 1, alt + told)
    below = np.zeros(len(shares))
    for name, (colour, hatch) in FATES.items():
        above = below + shares[name].to_numpy()
        axes.fill_between(shares.index, below, above, facecolor=colour, hatch=hatch, edgecolor="black", linewidth=0.4)
        axes.fill_between([], [], [], facecolor=colour, hatch=hatch, edgecolor="black", linewidth=0.4, label=name)
        below = above
    axes.axvline(max_length, color=EXACT, linewidth=2)
    axes.set(
        xlabel="max_length, tokens of prompt and completion",
        ylabel="share of pairs",
        title=f"max_length = {max_length}: {told}",
        xlim=(shares.index[0], shares.index[-1]),
        ylim=(0, 1),
    )
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


@styled
def sweep(runs: pd.DataFrame) -> Figure:
    """Held-out loss, and reward above the reference's, with standard errors, against KL: one line a β.

    runs: a row a run, with columns ``beta``, ``kl``, ``loss``, ``error``, ``gain``, ``gain_error``; the gain is the
    mean of differences on the same prompts. Dashed: ln 2 and 0, those of a policy that still is its reference.
    """
    alt = "By KL from the reference, one line a beta, with standard errors: held-out loss, and gain in reward."
    figure, (left, right) = new_figure(3.4, 2, alt)
    for (beta, rows), colour, marker, line in with_looks(runs.groupby("beta"), SHADES, MARKERS, LINES):
        rows = rows.sort_values("kl")
        style = {
            "color": colour,
            "marker": marker,
            "linestyle": line,
            "capsize": 2,
            "markeredgecolor": "black",
            "label": f"β = {beta:g}",
        }
        left.errorbar(rows["kl"], rows["loss"], rows["error"], **style)
        right.errorbar(rows["kl"], rows["gain"], rows["gain_error"], **style)
    exact_line(left, LN2)
    exact_line(right, 0.0)
    for axes in (left, right):
        axes.set(xlabel=r"KL($\pi_\theta \Vert \pi_{ref}$), nats", xscale="log")
    left.set(ylabel="held-out loss, nats", title="what you can see (dashed: ln 2)")
    right.set(ylabel="reward above the reference's, nats", title="what only this world can tell")
    left.legend(loc="best")
    return figure


@styled
def training_and_held_out(curves: pd.DataFrame, names: Mapping[str, str], turn: int) -> Figure:
    """The same measures on training pairs and on held-out ones by step, one panel a measure.

    curves: indexed by step, columns "training NAME" and "held-out NAME". names: NAME → its unit. turn: the step at
    which the held-out loss was lowest.
    """
    alt = f"By step, on training and on held-out pairs: {', '.join(names)}; held-out loss is lowest at step {turn}."
    figure, panels = new_figure(3.0, len(names), alt)
    for axes, (name, unit) in zip(panels, names.items(), strict=True):
        for part, colour, style in (("training", SHADES[1], ":"), ("held-out", SHADES[0], "-")):
            axes.plot(curves.index, curves[f"{part} {name}"], style, color=colour, label=part, linewidth=2)
        axes.axvline(turn, color=REFERENCE, linewidth=1)
        axes.set(xlabel="step", ylabel=unit, title=literally(name))
    panels[0].legend(loc="best")
    return figure


@styled
def lengths(drawn: Mapping[str, Sequence[int]]) -> Figure:
    """How long fresh samples are, tokens: the share that is at most so long, one line a policy."""
    alt = "Share of samples of at most so many tokens, for " + "; ".join(
        f"{label}: {np.mean(values):.1f} tokens on average" for label, values in drawn.items()
    )
    figure, (axes,) = new_figure(3.2, 1, alt)
    colours, lines = (REFERENCE, *SHADES[:3]), ("-", "-.", ":", (0, (8, 2)))
    for (label, values), colour, style in with_looks(drawn.items(), colours, lines):
        ordered = np.sort(np.asarray(values))
        shares = np.arange(1, len(ordered) + 1) / len(ordered)
        axes.step(ordered, shares, where="post", linestyle=style, color=colour, label=literally(label), linewidth=2)
    axes.set(xlabel="tokens of a sample", ylabel="share of samples at most so long", ylim=(0, 1.02))
    axes.legend(loc="lower right")
    return figure
