"""Figures of comparisons: noisy judgements, rewards fitted to them, and how well the fit foretells new ones.

Green is what was fitted, grey what people or coins did, dashed black what is exact.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from dpo_book.plots.style import CHOSEN, EXACT, POLICY, REFERENCE, REJECTED, literally, new_figure, styled


@styled
def noisy_rewards(differences: Sequence[float], shares: Sequence[float], reward: float = 1.0) -> Figure:
    """Gumbel noise around two rewards, and how often the first wins, by their difference.

    shares: of simulated comparisons that a won at each of ``differences``; the logistic curve is drawn beside it.
    reward: of a in the left panel, where b has 0.
    """
    alt = (
        f"Left: Gumbel densities of the noisy rewards of a (at {reward:g}) and b (at 0), which overlap. "
        "Right: the share of simulated comparisons won by a lies on the dashed logistic curve."
    )
    figure, (left, right) = new_figure(3.2, 2, alt)
    u = np.linspace(-3, 8, 400)
    for name, r, colour, line in (("a", reward, CHOSEN, "-"), ("b", 0.0, REJECTED, "-.")):
        density = np.exp(-(u - r) - np.exp(-(u - r)))
        left.plot(u, density, line, color=colour, label=f"${name}$: $r_{name} = {r:g}$")
        left.fill_between(u, density, color=colour, alpha=0.15)
    left.set(xlabel="reward plus noise, nats", ylabel="density", title="what one person feels")
    left.legend(loc="upper right")
    d = np.linspace(min(differences), max(differences), 200)
    right.plot(differences, shares, "o", color=REFERENCE, label="simulated")
    right.plot(d, 1 / (1 + np.exp(-d)), color=EXACT, linestyle="--", label=r"$\sigma(r_a - r_b)$")
    right.set(xlabel="$r_a - r_b$, nats", ylabel="share won by $a$", title="who feels better, many times")
    right.legend(loc="upper left")
    return figure


@styled
def fitted_words(
    words: Sequence[str], rewards: Sequence[float], expected: Sequence[float], observed: Sequence[float]
) -> Figure:
    """The fitted reward of every word, and the wins that it expects for each word against those counted."""
    alt = (
        "Left: fitted rewards of words, from "
        f"{words[int(np.argmax(rewards))]} at {np.max(rewards):.1f} down to "
        f"{words[int(np.argmin(rewards))]} at {np.min(rewards):.1f} nats. Right: for every word, expected wins "
        "equal observed wins: all points lie on the dashed diagonal."
    )
    figure, (left, right) = new_figure(0.9 + 0.22 * len(words), 2, alt)
    order = np.argsort(rewards, kind="stable")
    place = np.arange(len(words))
    values = np.asarray(rewards)[order]
    left.hlines(place, 0, values, color=POLICY, linewidth=0.8)
    left.plot(values, place, "o", color=POLICY, markersize=5)
    left.axvline(0, color=REFERENCE, linewidth=0.8)
    left.set_yticks(place, [literally(words[i]) for i in order])
    left.set(xlabel=r"fitted reward $r_\phi$, nats (mean 0)", title="what the comparisons say")
    ends = [0, 1.04 * max(np.max(expected), np.max(observed))]
    right.plot(ends, ends, color=EXACT, linestyle="--", label="expected = observed")
    right.plot(observed, expected, "o", color=POLICY, markersize=5, label="one word")
    right.set(xlabel="wins observed", ylabel=r"wins expected under $r_\phi$", title="why it is the fit")
    right.legend(loc="upper left")
    return figure


@styled
def win_tables(tables: Mapping[str, tuple[Sequence[str], Sequence[Sequence[float]]]]) -> Figure:
    """How often the word of a row beat the word of a column, one panel a table; zeros framed in orange.

    tables: title → (words, wins), wins of shape (n, n).
    """
    alt = "Tables of wins, row over column. " + "; ".join(
        f"{title}: {len(words)} words, {sum(w == 0 for row in wins for w in row) - len(words)} cells with no win"
        for title, (words, wins) in tables.items()
    )
    figure, panels = new_figure(3.6, len(tables), alt)
    for axes, (title, (words, wins)) in zip(panels, tables.items(), strict=True):
        n = len(words)
        for i in range(n):
            for j in range(n):
                if i == j:
                    continue
                share = wins[i][j] / max(wins[i][j] + wins[j][i], 1)
                axes.add_patch(_won(j, i, 0.1 + 0.5 * share) if wins[i][j] else _never_won(j, i))
                axes.text(j, i, f"{wins[i][j]:g}", ha="center", va="center")
        axes.set(xlim=(-0.5, n - 0.5), ylim=(n - 0.5, -0.5), aspect="equal", title=literally(title))
        names = [literally(word) for word in words]
        axes.set_xticks(range(n), names, rotation=30, ha="right")
        axes.set_yticks(range(n), names)
        axes.set(xlabel="loser", ylabel="winner")
        axes.grid(visible=False)
    return figure


def _won(x: float, y: float, strength: float) -> Rectangle:
    return Rectangle((x - 0.48, y - 0.48), 0.96, 0.96, facecolor=CHOSEN, alpha=strength, edgecolor="none")


def _never_won(x: float, y: float) -> Rectangle:
    return Rectangle((x - 0.44, y - 0.44), 0.88, 0.88, facecolor="white", edgecolor=REJECTED, linewidth=2)


@styled
def calibration(panels: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """Probabilities that were predicted against shares that were then observed, one panel a title.

    Each panel holds ``predicted`` and ``observed``, the means of groups of pairs; where it holds ``pairs``
    (two rows: predicted, observed), every single pair is drawn in grey behind them.
    """
    alt = "Observed share of wins against predicted probability. " + "; ".join(
        f"{title}: "
        + ", ".join(f"{p:.2f} → {o:.2f}" for p, o in zip(panel["predicted"], panel["observed"], strict=True))
        for title, panel in panels.items()
    )
    figure, axes_of = new_figure(3.7, len(panels), alt)
    for axes, (title, panel) in zip(axes_of, panels.items(), strict=True):
        if "pairs" in panel:
            axes.plot(*panel["pairs"], ".", color=REFERENCE, markersize=4, label="one pair of words")
        axes.plot([0.5, 1], [0.5, 1], color=EXACT, linestyle="--", label="perfect")
        axes.plot(panel["predicted"], panel["observed"], "o-", color=POLICY, label="mean of a group of pairs")
        axes.set(xlabel="predicted on five raters", title=literally(title), xlim=(0.49, 1.01), ylim=(0.0, 1.03))
    axes_of[0].set_ylabel("observed on the other five")
    with_most = max(axes_of, key=_labelled)
    figure.legend(*with_most.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _labelled(axes: Axes) -> int:
    """How many things of a panel belong into a legend."""
    handles, _ = axes.get_legend_handles_labels()
    return len(handles)


@styled
def recovered_rewards(
    true: Sequence[float], fitted: Sequence[float] | None, noise: float, count: int,
    counts: Sequence[int], errors: Sequence[float], limits: Sequence[float],
) -> Figure:  # fmt: skip
    """Fitted against true rewards, and the relative error by number of comparisons.

    fitted: None where ``count`` comparisons have no finite fit. errors (nan there) and limits: relative errors
    of this draw and in theory, at each of ``counts``.
    """
    state = "no finite fit" if fitted is None else "fitted rewards lie around the dashed line true / noise"
    alt = (
        f"Left: {count} comparisons with noise {noise:g}: {state}. "
        "Right: the relative error falls with the number of comparisons, along the dashed theory."
    )
    figure, (left, right) = new_figure(3.4, 2, alt)
    true = np.asarray(true)
    ends = np.array([true.min() - 0.3, true.max() + 0.3])
    left.plot(ends, ends / noise, color=EXACT, linestyle="--", label="$r^*/s$")
    if fitted is None:
        left.text(0.5, 0.12, "no finite fit: no chain\nof wins to everybody", transform=left.transAxes, ha="center")
    else:
        left.plot(true, fitted, "o", color=POLICY, label=r"fitted $r_\phi$")
    left.set(
        xlabel="true reward $r^*$", ylabel=r"$r_\phi$, nats", title=f"{count:,} comparisons, noise $s$ = {noise:g}"
    )
    left.legend(loc="upper left")
    right.plot(counts, limits, color=EXACT, linestyle="--", label="theory, for many")
    right.plot(counts, errors, "o-", color=POLICY, markersize=4, label="this draw")
    right.axvline(count, color=REFERENCE, linewidth=0.8)
    right.set(xlabel="number of comparisons", ylabel="error / spread of $r^*/s$", xscale="log", yscale="log")
    right.set(ylim=(0.008, 5), title="how wrong the rewards are")
    for axis, ticks in ((right.xaxis, (100, 1000, 10_000)), (right.yaxis, (0.01, 0.1, 1))):
        axis.set_ticks(ticks, [f"{tick:,}" for tick in ticks])
        axis.set_ticks([], minor=True)  # a slider redraws this: minor ticks take as long as all the rest
    right.legend(loc="upper right")
    return figure
