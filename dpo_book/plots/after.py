"""Figures of what came after DPO: losses of a margin, and where they lead at matched KL."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dpo_book.plots.style import EXACT, LINES, MARKERS, POLICY, REFERENCE, SHADES, literally, new_figure, styled

BEYOND = 6.0  # nats of margin: a best margin farther out is drawn at the edge


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
    said = ", ".join(f"{name} {curve[place]:.1f}" for name, curve in best.items())
    alt = (
        f"At a label of {probability:.2f}: left, expected losses against the margin; right, the best margin against "
        f"the label's probability, at this one: {said} nats."
    )
    figure, (left, right) = new_figure(3.3, 2, alt)
    for name, colour, line, marker in zip(losses, SHADES, LINES, MARKERS, strict=False):
        left.plot(margins, losses[name], color=colour, linestyle=line, label=literally(name))
        lowest = losses[name].argmin()
        if 0 < lowest < len(margins) - 1:  # else it falls on
            left.plot(margins[lowest], losses[name][lowest], marker, color=colour)
        right.plot(probabilities, best[name], color=colour, linestyle=line, label=literally(name))
        here = min(best[name][place], BEYOND)
        right.plot(probabilities[place], here, marker, color=colour, clip_on=False)
    right.axvline(probability, color=REFERENCE, linewidth=0.8)
    left.set(xlabel=r"margin $\beta(h_w - h_l)$, nats", ylabel="expected loss", ylim=(-0.2, 4))
    left.set_title(f"p = {probability:.2f}; marked: the minimum")
    right.set(xlabel="p, how often the label falls so", ylabel="best margin, nats", ylim=(0, BEYOND))
    right.set_title("where the minimum lies")
    left.legend(loc="upper right")
    return figure


@styled
def below_the_frontier(shortfalls: pd.DataFrame) -> Figure:
    """How much reward each loss leaves behind at the KL where it is, a panel a condition.

    shortfalls: columns ``condition``, ``loss``, ``seed``, ``shortfall`` (nats of reward below the best policy of the
    same KL). A dot is the mean of seeds, a line spans them. The dashed line is the exact frontier; grey, the mean of
    the first loss.
    """
    conditions = list(dict.fromkeys(shortfalls["condition"]))
    names = list(dict.fromkeys(shortfalls["loss"]))
    means = shortfalls.groupby(["condition", "loss"])["shortfall"].mean()
    nearest = "; ".join(f"{condition}: {means[condition].idxmin()} is nearest" for condition in conditions)
    alt = f"Reward below the exact frontier, by loss, in {len(conditions)} panels. {nearest}."
    figure, panels = new_figure(0.9 + 0.2 * len(names), len(conditions), alt)
    for axes, condition in zip(panels, conditions, strict=True):
        here = shortfalls[shortfalls["condition"] == condition]
        axes.axvline(0, color=EXACT, linestyle="--", linewidth=1.2)
        axes.axvline(means[condition, names[0]], color=REFERENCE, linewidth=1.2)
        for place, name in enumerate(names):
            values = here.loc[here["loss"] == name, "shortfall"]
            if len(values):
                axes.plot([values.min(), values.max()], [place, place], color=POLICY)
                axes.plot(values.mean(), place, "o", color=POLICY)
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.set(xlabel="nats below the frontier", title=literally(condition))
    return figure
