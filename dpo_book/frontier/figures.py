"""Figures of methods that compete: reward against KL, the objective by β, reward by what it cost, over-optimisation.

Tables are ``dpo_book.frontier.table``'s: one row a measurement, ``last`` where a run ended.
"""

import json
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dpo_book.frontier.comparison import CLIMBERS, objectives
from dpo_book.frontier.methods import METHODS, Method
from dpo_book.plots.labels import write_beside
from dpo_book.plots.style import EXACT, REFERENCE, SHADES, column, exact_line, literally, new_figure, styled

KL_TO_REFERENCE = r"KL($\pi \Vert \pi_{ref}$), nats"
ROOT_KL = r"$\sqrt{KL(\pi_\theta \Vert \pi_{ref})}$, √nats"
TRUE_REWARD = r"E[$r^*$], nats"
Curve = tuple[Sequence[float], Sequence[float]]

# ------------------------------------------------------------------ where every method ends


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
        figure, (left,) = new_figure(7.8, 4.2, 1, alt)
        _draw_methods(left, ends, "reward")
        _write_strengths(left, ends, "reward")
    else:
        alt += " All lie below the dashed exact optimum; the right panel shows by how much."
        figure, (left, right) = new_figure(10.6, 4.2, 2, alt)
        left.plot(*optimum, color=EXACT, linestyle="--", linewidth=1.2, label="optimum (exact)")
        _draw_methods(left, ends, "reward")
        exact_line(right, 0.0)
        ends = ends.assign(gap=np.interp(ends["kl"], *optimum) - ends["reward"])
        _draw_methods(right, ends, "gap")
        _write_strengths(right, ends, "gap")
        right.set(xlabel=KL_TO_REFERENCE, ylabel=r"optimum's E[$r^*$] minus its own, nats", title="below the optimum")
    left.set(xlabel=KL_TO_REFERENCE, ylabel=TRUE_REWARD, title="reward against KL")
    figure.legend(*left.get_legend_handles_labels(), loc="outside right upper")
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
    figure, (left, right) = new_figure(9.6, 3.6, 2, alt)
    right.sharey(left)
    _draw_methods(left, shown, "learned_reward")
    _draw_methods(right, shown, "reward")
    _write_strengths(left, shown, "learned_reward")  # now that both panels have their common limits
    _write_strengths(right, shown, "reward")
    left.set(title=f"{literally(title)}: learned reward", xlabel=KL_TO_REFERENCE, ylabel=r"gain of E[$r_\phi$], nats")
    right.set(title="true reward", xlabel=KL_TO_REFERENCE, ylabel=r"gain of E[$r^*$], nats")
    right.legend(loc="lower right")
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
        figure, (left,) = new_figure(6.4, 3.9, 1, alt)
    else:
        figure, (left, right) = new_figure(9.6, 3.9, 2, alt)
        left.plot(
            list(most), list(most.values()), color=EXACT, linestyle="--", linewidth=1.2, label="β log Z (exact)"
        )
        missed = J.rsub([most[beta] for beta in J.index.get_level_values("strength")], axis=0)
        _draw_by_beta(right, missed)
        exact_line(right, 0.0)
        right.set(xlabel="β", ylabel="β log Z − J, nats", title="what is missing")
    _draw_by_beta(left, J)
    left.set(xlabel="β", ylabel="objective J, nats", title="equation 3 at the end of training")
    left.legend(loc="best")
    return figure


def _objective_alt(J: pd.DataFrame, most: Mapping[float, float] | None) -> str:
    mean = J.groupby("strength").mean()
    parts = []
    for beta, row in mean.iterrows():
        values = ", ".join(f"{METHODS[name].label} {row[name]:.2f}" for name in CLIMBERS if np.isfinite(row[name]))
        bound = f" of at most {most[beta]:.2f}" if most else ""
        parts.append(f"at β = {beta:g}: {values}{bound}")
    return f"Objective of the final policies, in nats, {'; '.join(parts)}."


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


# ------------------------------------------------------------------ on the way


@styled
def reward_by_cost(table: pd.DataFrame, beta: float, goal: float, best: float | None = None) -> Figure:
    """E[r*] by passes and by seconds at one β, a mean over seeds in a band from the lowest seed to the highest.

    goal: a grey line. best: the reward of the exact optimum at this β, dashed; who overspends KL can be above it.
    """
    alt = (
        f"Expected true reward at β = {beta:g} by passes and by seconds, for DPO, PPO and PPO-GT; a line marks the "
        f"goal, {goal:.2f} nats."
    )
    figure, panels = new_figure(9.0, 3.9, 2, alt)
    left, right = panels
    at_beta = table[table["strength"] == beta]
    for name in ("dpo", "ppo", "ppo-gt"):
        runs = at_beta[at_beta["method"] == name]
        _draw_climb(left, runs, "passes", METHODS[name])
        _draw_climb(right, runs, "seconds", METHODS[name])
    for axes in panels:
        axes.axhline(goal, color=REFERENCE, linewidth=1.2, label="goal")
        if best is not None:
            exact_line(axes, best, r"E[$r^*$] of $\pi^*$ at this β (not a bound)")
    left.set(xscale="log", xlabel="passes (sequences)", ylabel=TRUE_REWARD)
    right.set(xscale="log", xlabel="seconds")
    right.sharey(left)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return figure


def _draw_climb(axes: Axes, runs: pd.DataFrame, currency: str, method: Method) -> None:
    """One method's reward by what it had cost, measurement by measurement, once it had cost anything."""
    by_step = runs.groupby("step").agg(
        cost=(currency, "mean"),
        mean=("reward", "mean"),
        lowest=("reward", "min"),
        highest=("reward", "max"),
    )
    by_step = by_step[by_step["cost"] > 0]
    style = {"color": method.colour, "marker": method.marker, "markersize": 5}
    axes.plot(by_step["cost"], by_step["mean"], **style, label=method.label)
    band = (by_step["cost"], by_step["lowest"], by_step["highest"])
    axes.fill_between(*band, color=method.colour, alpha=0.2, linewidth=0)


@styled
def over_optimisation(runs: pd.DataFrame, optimum: Curve | None = None) -> Figure:
    """Long DPO runs: E[r*] against √KL to the reference (left) and by step (right), a line a seed, a green a label.

    runs: rows with ``label``, ``seed``, ``step``, ``kl`` and ``reward``, in nats. Dots: where a run's reward was
    highest. optimum: KL, rising, and the highest E[r*] at each, dashed black.
    """
    parts = []
    figure, (left, right) = new_figure(9.6, 3.9, 2, "")
    if optimum is not None:
        kl, highest = (np.asarray(values) for values in optimum)
        left.plot(np.sqrt(kl), highest, color=EXACT, linestyle="--", linewidth=1.2, label="optimum (exact)")
    for (label, rows), colour, line in zip(runs.groupby("label", sort=False), SHADES, ("-", ":", "-."), strict=False):
        by_seed = [run.sort_values("step") for _, run in rows.groupby("seed")]
        for place, run in enumerate(by_seed):
            named = literally(label) if place == 0 else None
            best = run.loc[run["reward"].idxmax()]
            for axes, x in ((left, np.sqrt(run["kl"])), (right, run["step"])):
                axes.plot(x, run["reward"], line, color=colour, linewidth=1.4, label=named)
            left.plot(np.sqrt(best["kl"]), best["reward"], "o", color=colour, markersize=6)
            right.plot(best["step"], best["reward"], "o", color=colour, markersize=6)
        highest = np.mean([run["reward"].max() for run in by_seed])
        last = np.mean([run["reward"].iloc[-1] for run in by_seed])
        parts.append(f"{label}: from at most {highest:.2f} to {last:.2f} nats at the end, mean over seeds")
    figure.set_label(f"True reward of long DPO runs against the root of KL, and by step. {'; '.join(parts)}.")
    left.set(xlabel=ROOT_KL, ylabel=TRUE_REWARD, title="true reward against drift")
    right.set(xscale="log", xlabel="step", title="and by step")
    right.sharey(left)
    left.legend(loc="lower right")
    if optimum is not None:
        left.set_xlim(right=1.08 * np.sqrt(runs["kl"].max()))
    return figure


@styled
def sampled_objective(records: Sequence[Mapping[str, float]], exact: Curve, highest: float) -> Figure:
    """The objective (eq. 3) of every step as PPO's own samples estimate it, around its exact value.

    exact: the exact objective before each step, and the standard error of the step's estimate. highest: the most that
    any policy can have.
    """
    value, error = (np.asarray(numbers) for numbers in exact)
    step, estimate = column(records, "step"), column(records, "objective")
    alt = (
        f"Objective by step of PPO on the true reward: it climbs from {value[0]:.2f} to {value[-1]:.2f} of at most "
        f"{highest:.2f} nats; the estimates scatter around the exact curve, mostly within two standard errors."
    )
    ppo_gt = METHODS["ppo-gt"]
    figure, (axes,) = new_figure(7.6, 3.6, 1, alt)
    axes.fill_between(step, value - 2 * error, value + 2 * error, color=REFERENCE, alpha=0.25, linewidth=0)
    axes.plot(step, value, color=EXACT, linestyle="--", linewidth=1.2, label="exact, ± 2 standard errors")
    axes.plot(step, estimate, ppo_gt.marker, color=ppo_gt.colour, label="from the step's own samples")
    axes.axhline(highest, color=EXACT, linestyle="--", linewidth=0.8)
    axes.annotate(
        "optimum (exact)", (step[-1], highest), xytext=(0, 3), textcoords="offset points", ha="right", fontsize=8
    )
    axes.set(xlabel="step (one batch of rollouts)", ylabel="objective J, nats")
    axes.legend(loc="lower right")
    return figure


@styled
def at_budget(
    table: pd.DataFrame, strengths: Mapping[str, float], budget: float, sample: int = 0, optimum: Curve | None = None
) -> Figure:
    """Where every method stands after ``budget`` passes, how it came there, and what it says to one prompt; seed 0.

    strengths: method → the strength to show. Each is shown as last measured within the budget, with the passes of
    that measurement. A method that cannot pay its reward model yet is the reference.
    """
    first = table[table["seed"] == 0]
    reference = first[first["method"] == "sft"]
    start = reference.iloc[0]
    prompt, _ = json.loads(start["samples"])[sample]
    alt = f"Reward against KL of every method after {budget:,.0f} passes, and its answer to “{prompt}”."
    figure = Figure(figsize=(10.6, 4.6), label=alt)  # laid out by hand: a slider waits for it
    axes = figure.add_axes((0.065, 0.11, 0.44, 0.82))
    if optimum is not None:
        axes.plot(*optimum, color=EXACT, linestyle="--", linewidth=1.2)
    figure.text(0.53, 0.95, literally(f"{prompt} …"), fontweight="bold", va="top")
    furthest, highest = 0.0, start["reward"]
    for place, (name, strength) in enumerate(strengths.items()):
        method = METHODS[name]
        run = first[(first["method"] == name) & (first["strength"] == strength)]
        furthest = max(furthest, run["kl"].max())
        highest = max(highest, run["reward"].max())
        paid = run[run["passes"] <= budget]
        path = reference if paid.empty else paid
        now = path.iloc[-1]
        _draw_path(axes, path, method)
        when = "still the reference" if paid.empty else f"at {now['passes']:,} passes"
        heading = f"{method.label}, {now['reward']:.2f}, {when}"
        top = 0.88 - 0.145 * place
        figure.text(0.53, top, heading, color=method.colour, va="top", fontsize=9)
        figure.text(0.53, top - 0.04, literally(_answer(now, sample)), va="top", fontsize=9)
    axes.set(xlabel=KL_TO_REFERENCE, ylabel=TRUE_REWARD, title=f"after {budget:,.0f} passes")
    axes.set(xlim=(-0.1, 1.08 * furthest), ylim=(start["reward"] - 0.1, highest + 0.1))  # the same at every budget
    axes.legend(loc="lower right", fontsize=8)
    return figure


def _draw_path(axes: Axes, path: pd.DataFrame, method: Method) -> None:
    """The way of one run, and where it stands now."""
    now = path.iloc[-1]
    axes.plot(path["kl"], path["reward"], color=method.colour, linewidth=1.0, alpha=0.7)
    axes.plot(now["kl"], now["reward"], method.marker, color=method.colour, markersize=8, label=method.label)


def _answer(measured: pd.Series, sample: int) -> str:
    """What a measured policy says to one prompt, in at most two lines."""
    samples = json.loads(measured["samples"])
    if not samples:
        return "(computed, not sampled)"
    _, response = samples[sample]
    return textwrap.fill(response.strip(), 68, max_lines=2, placeholder=" …")
