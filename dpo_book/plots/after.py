"""Figures of what came after DPO: losses of a margin, and where they lead at matched KL."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dpo_book.plots.style import (
    EXACT,
    LINES,
    MARKERS,
    POLICY,
    REFERENCE,
    SHADES,
    literally,
    new_figure,
    styled,
    with_looks,
)

FARTHEST = 0.35  # of a share: what is farther from DPO is drawn at the edge
BEYOND = 6.0  # nats of margin: a best margin farther out is drawn at the edge
LOOKS = (*zip(SHADES, LINES, MARKERS, strict=True), (REFERENCE, "-", "v"))  # of up to five kinds of runs


@styled
def losses_by_margin(
    margins: np.ndarray, losses: Mapping[str, np.ndarray], best: Mapping[str, np.ndarray], probability: float
) -> Figure:
    """Left: the expected loss of a pair against its margin, a line a loss, its minimum marked. Right: best margins.

    margins: (M,) in nats, for which ``losses`` holds the expected losses (M,) at this ``probability`` that the label
    falls "chosen". best: name → the best margin at every probability from 1/2 to 1 in equal steps, inf where there
    is none. At most four losses.
    """
    probabilities = np.linspace(0.5, 1.0, len(next(iter(best.values()))))
    place = np.abs(probabilities - probability).argmin()
    said = ", ".join(f"{name} {_margin(curve[place])}" for name, curve in best.items())
    alt = (
        f"At a label of {probability:.2f}: left, expected losses against the margin; right, the best margin against "
        f"the label's probability, at this one: {said}."
    )
    figure, (left, right) = new_figure(3.3, 2, alt)
    for name, colour, line, marker in with_looks(losses, SHADES, LINES, MARKERS):
        left.plot(margins, losses[name], color=colour, linestyle=line, label=literally(name))
        lowest = losses[name].argmin()
        if 0 < lowest < len(margins) - 1:  # else it falls on
            left.plot(margins[lowest], losses[name][lowest], marker, color=colour)
        right.plot(probabilities, best[name], color=colour, linestyle=line, label=literally(name))
        if np.isfinite(best[name][place]):
            here = min(best[name][place], BEYOND)
            right.plot(probabilities[place], here, marker, color=colour, clip_on=False)
    right.axvline(probability, color=REFERENCE, linewidth=0.8)
    left.set(xlabel=r"margin $\beta(h_w - h_l)$, nats", ylabel="expected loss", ylim=(-0.2, 4))
    left.set_title(f"p = {probability:.2f}; marked: the minimum")
    right.set(xlabel="p, how often the label falls so", ylabel="best margin, nats", ylim=(0, BEYOND))
    right.set_title("where the minimum lies")
    left.legend(loc="upper right")
    return figure


def _margin(best: float) -> str:
    return f"{best:.1f} nats" if np.isfinite(best) else "none"


@styled
def ahead_of_dpo(differences: pd.DataFrame) -> Figure:
    """By how much each loss is ahead of DPO at the same KL, a panel a condition, all on one scale.

    differences: columns ``condition``, ``loss``, ``seed``, ``ahead`` (a share of the gain that is possible). A dot is
    the mean of seeds, a line spans them. What lies beyond the scale is drawn as a triangle at its edge.
    """
    conditions = list(dict.fromkeys(differences["condition"]))
    names = list(dict.fromkeys(differences["loss"]))
    means = differences.groupby(["condition", "loss"])["ahead"].mean()
    best = "; ".join(f"{condition}: {means[condition].idxmax()} is farthest ahead" for condition in conditions)
    alt = f"Share of the possible gain less DPO's at the same KL, by loss, in {len(conditions)} panels. {best}."
    figure, panels = new_figure(0.9 + 0.2 * len(names), len(conditions), alt)
    for axes, condition in zip(panels, conditions, strict=True):
        here = differences[differences["condition"] == condition]
        axes.axvline(0, color=REFERENCE, linewidth=1.2)
        for place, name in enumerate(names):
            values = here.loc[here["loss"] == name, "ahead"]
            if values.empty:
                continue
            axes.plot([values.min(), values.max()], [place, place], color=POLICY)
            shown = float(np.clip(values.mean(), -FARTHEST, FARTHEST))
            beyond = "<" if values.mean() < -FARTHEST else ">"
            marker = "o" if shown == values.mean() else beyond
            axes.plot(shown, place, marker, color=POLICY, clip_on=False)
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.set(xlabel="share of the gain, less DPO's", title=literally(condition), xlim=(-FARTHEST, FARTHEST))
    return figure


@styled
def ends_by_kl(panels: Mapping[str, pd.DataFrame], frontier: np.ndarray | None = None) -> Figure:
    """Where runs end, by their KL to the reference: a marker a run, a line through the means of a setting's seeds.

    panels: what is on the y-axis → columns ``who`` (at most five), ``setting``, ``kl`` (nats) and ``value``.
    frontier: KL and the best value there (2, M), drawn dashed in every panel.
    """
    names = list(dict.fromkeys(name for ends in panels.values() for name in ends["who"]))
    if len(names) > len(LOOKS):
        raise ValueError(f"ends_by_kl draws at most {len(LOOKS)} kinds of runs, got {len(names)}: {', '.join(names)}")
    looks = dict(with_looks(names, LOOKS))
    told = []
    for title, ends in panels.items():
        farthest = ends.groupby("who", sort=False)[["kl", "value"]].max()
        highest = ", ".join(f"{name} up to {value:.2f}" for name, value in farthest["value"].items())
        told.append(f"{title}: {highest}")
    alt = f"Where runs end, by KL to the reference, in {len(panels)} panels. {'; '.join(told)}."
    figure, axes_of = new_figure(3.4, len(panels), alt)
    for axes, (title, ends) in zip(axes_of, panels.items(), strict=True):
        most = 1.05 * ends["kl"].max()
        if frontier is not None:
            inside = frontier[0] <= most
            axes.plot(*frontier[:, inside], "--", color=EXACT, linewidth=1.2, label="the best at this KL")
        for name, runs in ends.groupby("who", sort=False):
            colour, line, marker = looks[name]
            means = runs.groupby("setting", sort=False)[["kl", "value"]].mean().sort_values("kl")
            axes.plot(means["kl"], means["value"], color=colour, linestyle=line)
            axes.plot(runs["kl"], runs["value"], marker, color=colour, markersize=4, label=literally(name))
        axes.set(xlabel="KL to the reference, nats", ylabel=literally(title), xlim=(0, most))
    handles, labels = axes_of[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure
