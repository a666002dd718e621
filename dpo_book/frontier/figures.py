"""Figures of where methods that compete end: reward against KL, the learned reward beside the true one, J by β.

Tables are ``dpo_book.frontier.table``'s: one row a measurement, ``last`` where a run ended. How runs come there is
drawn in ``dpo_book.frontier.on_the_way``.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dpo_book.frontier.comparison import CLIMBERS, objectives
from dpo_book.frontier.methods import METHODS, Method
from dpo_book.plots.labels import write_beside
from dpo_book.plots.style import EXACT, exact_line, literally, new_column, new_figure, styled

KL_TO_REFERENCE = r"KL($\pi \Vert \pi_{ref}$), nats"
TRUE_REWARD = r"E[$r^*$], nats"
Curve = tuple[Sequence[float], Sequence[float]]


@styled
def reward_kl_frontier(table: pd.DataFrame, optimum: Curve | None = None) -> Figure:
    """E[r*] against KL of every finished policy; with an optimum, also how far below it each is.

    Markers are means over seeds, with their strength where there is room. Crosses run from the lowest seed to the
    highest, and so do bands, at the KLs that all seeds reach. optimum: KL, rising, and the highest E[r*] at each,
    dashed black.
    """
    ends = table[table["last"]]
    alt = _reward_kl_alt(ends)
    if optimum is None:
        figure, (reward,) = new_figure(3.8, 1, alt)
    else:
        alt += " All lie below the dashed exact optimum; the lower panel shows by how much."
        figure, (reward, gap) = new_column(3.1, 2, alt)
        reward.plot(*optimum, color=EXACT, linestyle="--", linewidth=1.2, label="optimum (exact)")
    _draw_methods(reward, ends, "reward")
    reward.set(xlabel=KL_TO_REFERENCE, ylabel=TRUE_REWARD, title="reward against KL")
    figure.legend(*reward.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    if optimum is None:
        _write_strengths(reward, ends, "reward")
        return figure
    exact_line(gap, 0.0)
    ends = ends.assign(gap=np.interp(ends["kl"], *optimum) - ends["reward"])
    _draw_methods(gap, ends, "gap")
    gap.set(xlabel=KL_TO_REFERENCE, ylabel=r"optimum's E[$r^*$] − its own, nats", title="below the optimum")
    _write_strengths(gap, ends, "gap")
    return figure


def _reward_kl_alt(ends: pd.DataFrame) -> str:
    seeds = ends["seed"].nunique()
    labels = [METHODS[name].label for name in _present(ends)]
    best = ends.sort_values("reward").iloc[-1]
    return (
        f"Expected true reward against KL to the reference, {seeds} seed{'s' * (seeds > 1)}, "
        f"for {', '.join(labels)}. "
        f"Highest: {METHODS[best['method']].label} with {best['reward']:.2f} at {best['kl']:.2f} nats."
    )


@styled
def maximised_and_wanted(table: pd.DataFrame, title: str = "") -> Figure:
    """Against KL: the learned reward (left), which PPO and best-of-n maximise, and the true one (right).

    Both as gains over the reference: r_φ is fixed only up to a constant a prompt.
    """
    ends = table[table["last"]].copy()
    start = table[table["method"] == "sft"].set_index("seed")
    for quantity in ("learned_reward", "reward"):
        ends[quantity] -= ends["seed"].map(start[quantity])
    shown = ends[ends["method"].isin(["best-of-n", "ppo", "ppo-gt"])]
    alt = (
        f"{title}. Gain over the reference against KL. Left: the learned reward, of which PPO gets more than PPO-GT. "
        "Right: the true reward, of which PPO gets less."
    )
    figure, (left, right) = new_figure(3.4, 2, alt)
    right.sharey(left)
    _draw_methods(left, shown, "learned_reward")
    _draw_methods(right, shown, "reward")
    left.set(title=f"{literally(title)}: learned reward", xlabel=KL_TO_REFERENCE, ylabel=r"gain of E[$r_\phi$], nats")
    right.set(title="true reward", xlabel=KL_TO_REFERENCE, ylabel=r"gain of E[$r^*$], nats")
    right.legend(loc="lower right")
    _write_strengths(left, shown, "learned_reward")  # now that both panels have their common limits
    _write_strengths(right, shown, "reward")
    return figure


def _present(rows: pd.DataFrame) -> list[str]:
    """The methods of a table, in the order of the page."""
    there = set(rows["method"])
    return [name for name in METHODS if name in there]


def _draw_methods(axes: Axes, ends: pd.DataFrame, quantity: str) -> None:
    """A column of the finished policies against KL, method by method."""
    for name in _present(ends):
        runs = ends[ends["method"] == name]
        _draw_points(axes, runs, quantity, METHODS[name])
        if runs["strength"].nunique() > 1 and runs["seed"].nunique() > 1:
            _draw_band(axes, runs, quantity, METHODS[name].colour)
    furthest = ends["kl"].max()
    axes.set_xlim(-0.03 * furthest, 1.06 * furthest)


def _draw_points(axes: Axes, runs: pd.DataFrame, quantity: str, method: Method) -> None:
    """A marker a strength, at the mean over seeds, in a cross from the lowest to the highest; a line joins them."""
    by_strength = runs.groupby("strength")[["kl", quantity]]
    mean = by_strength.mean().sort_values("kl")
    lowest = by_strength.min().loc[mean.index]
    highest = by_strength.max().loc[mean.index]
    below = (mean - lowest).clip(lower=0)  # rounding can leave −1e-17
    above = (highest - mean).clip(lower=0)
    axes.errorbar(
        mean["kl"],
        mean[quantity],
        xerr=[below["kl"], above["kl"]],
        yerr=[below[quantity], above[quantity]],
        color=method.colour,
        marker=method.marker,
        markersize=8 if method.marker in "PX" else 6,
        markeredgecolor="white",
        markeredgewidth=0.4,
        linestyle="-" if len(mean) > 1 else "",
        linewidth=1.0,
        elinewidth=0.8,
        label=f"{method.label} ({method.symbol})" if method.symbol else method.label,
    )


def _draw_band(axes: Axes, runs: pd.DataFrame, quantity: str, colour: str) -> None:
    """From the lowest seed's line to the highest's, at the KLs that all seeds reach."""
    seeds = [rows.sort_values("kl") for _, rows in runs.groupby("seed")]
    start = max(rows["kl"].min() for rows in seeds)
    stop = min(rows["kl"].max() for rows in seeds)
    kl = np.linspace(start, stop, 200)
    lines = [np.interp(kl, rows["kl"], rows[quantity]) for rows in seeds]
    lowest = np.min(lines, axis=0)
    highest = np.max(lines, axis=0)
    axes.fill_between(kl, lowest, highest, color=colour, alpha=0.2, linewidth=0)


def _write_strengths(axes: Axes, ends: pd.DataFrame, quantity: str) -> None:
    """β, α or n beside the means over seeds, where there is room for it."""
    means = ends.groupby(["method", "strength"])[["kl", quantity]].mean().sort_values("kl")
    texts, colours = [], []
    for name, strength in means.index:
        texts.append(f"{strength:g}" if METHODS[name].symbol else "")
        colours.append(METHODS[name].colour)
    write_beside(axes, means.to_numpy(), texts, colours)


@styled
def objective_by_beta(table: pd.DataFrame, most: Mapping[float, float] | None = None) -> Figure:
    """J (eq. 3, nats) of the final policies by β: DPO, PPO and PPO-GT, from the lowest seed to the highest.

    most: β → β log Z, the J of the exact optimum. With it the J are drawn as what they lack of it, on a right panel.
    """
    J = objectives(table)
    alt = _objective_alt(J, most)
    if most is None:
        figure, (left,) = new_figure(3.4, 1, alt)
    else:
        figure, (left, right) = new_figure(3.4, 2, alt)
        left.plot(
            list(most), list(most.values()), color=EXACT, linestyle="--", linewidth=1.2, label="β log Z (exact)"
        )
        missed = J.rsub([most[beta] for beta in J.index.get_level_values("strength")], axis=0)
        _draw_by_beta(right, missed)
        exact_line(right, 0.0)
        right.set(xlabel="β", ylabel="β log Z − J, nats", title="what is missing")
    _draw_by_beta(left, J)
    left.set(xlabel="β", ylabel="objective J, nats", title="J at the end of training")
    left.legend(loc="best")
    return figure


def _objective_alt(J: pd.DataFrame, most: Mapping[float, float] | None) -> str:
    """What every method reached at each β, a mean over seeds, in words. NaN: it has no policy there."""
    at_each_beta = []
    for beta, mean in J.groupby("strength").mean().iterrows():
        reached = []
        for name in CLIMBERS:
            if np.isfinite(mean[name]):
                reached.append(f"{METHODS[name].label} {mean[name]:.2f}")
        bound = f" of at most {most[beta]:.2f}" if most else ""
        at_each_beta.append(f"at β = {beta:g}: {', '.join(reached)}{bound}")
    return f"Objective of the final policies, in nats, {'; '.join(at_each_beta)}."


def _draw_by_beta(axes: Axes, values: pd.DataFrame) -> None:
    """A column a method, by β: means over seeds, in bars from the lowest to the highest."""
    betas = sorted(set(values.index.get_level_values("strength")))
    for place, name in enumerate(CLIMBERS):
        method = METHODS[name]
        by_beta = values[name].dropna().groupby("strength")
        mean = by_beta.mean()
        below = (mean - by_beta.min()).clip(lower=0)
        above = (by_beta.max() - mean).clip(lower=0)
        axes.errorbar(
            mean.index * 1.06 ** (place - 1),  # side by side, so that bars do not hide each other
            mean,
            yerr=[below, above],
            color=method.colour,
            marker=method.marker,
            markersize=7,
            linewidth=1.0,
            elinewidth=0.8,
            label=method.label,
        )
    axes.set_xscale("log")
    axes.set_xticks(betas, [f"{beta:g}" for beta in betas])
    axes.minorticks_off()
