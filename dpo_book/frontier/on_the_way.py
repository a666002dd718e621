"""Figures of runs on the way: reward by what it had cost, over-optimisation, PPO's own view of its climb, a budget.

Tables are ``dpo_book.frontier.table``'s: one row a measurement, ``last`` where a run ended. Where methods end is
drawn in ``dpo_book.frontier.figures``.
"""

import json
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dpo_book.frontier.figures import KL_TO_REFERENCE, TRUE_REWARD, Curve
from dpo_book.frontier.methods import METHODS, Method
from dpo_book.plots.style import (
    EXACT,
    LINES,
    MARKERS,
    REFERENCE,
    SHADES,
    WIDTH,
    column,
    exact_line,
    literally,
    new_figure,
    styled,
)

ROOT_KL = r"$\sqrt{KL(\pi_\theta \Vert \pi_{ref})}$, √nats"


@styled
def reward_by_cost(table: pd.DataFrame, beta: float, goal: float, best: float | None = None) -> Figure:
    """E[r*] by passes and by seconds at one β, a mean over seeds in a band from the lowest seed to the highest.

    goal: a grey line. best: the reward of the exact optimum at this β, dashed; who overspends KL can be above it.
    """
    alt = (
        f"Expected true reward at β = {beta:g} by passes and by seconds, for DPO, PPO and PPO-GT; a line marks the "
        f"goal, {goal:.2f} nats."
    )
    figure, panels = new_figure(3.8, 2, alt)
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
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4)
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
    figure, (left, right) = new_figure(3.5, 2, "")
    if optimum is not None:
        kl, highest = (np.asarray(values) for values in optimum)
        left.plot(np.sqrt(kl), highest, color=EXACT, linestyle="--", linewidth=1.2, label="optimum (exact)")
    looks = zip(SHADES, LINES, MARKERS, strict=True)
    for (label, rows), (colour, line, marker) in zip(runs.groupby("label", sort=False), looks, strict=False):
        by_seed = [run.sort_values("step") for _, run in rows.groupby("seed")]
        for place, run in enumerate(by_seed):
            named = literally(label) if place == 0 else None
            best = run.loc[run["reward"].idxmax()]
            for axes, x in ((left, np.sqrt(run["kl"])), (right, run["step"])):
                axes.plot(x, run["reward"], linestyle=line, color=colour, linewidth=1.4, label=named)
            left.plot(np.sqrt(best["kl"]), best["reward"], marker, color=colour, markersize=6)
            right.plot(best["step"], best["reward"], marker, color=colour, markersize=6)
        highest = np.mean([run["reward"].max() for run in by_seed])
        last = np.mean([run["reward"].iloc[-1] for run in by_seed])
        parts.append(f"{label}: from at most {highest:.2f} to {last:.2f} nats at the end, mean over seeds")
    figure.set_label(f"True reward of long DPO runs against the root of KL, and by step. {'; '.join(parts)}.")
    left.set(xlabel=ROOT_KL, ylabel=TRUE_REWARD, title="true reward against drift")
    right.set(xscale="log", xlabel="step", title="and by step")
    right.sharey(left)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4)
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
    figure, (axes,) = new_figure(3.4, 1, alt)
    band = (step, value - 2 * error, value + 2 * error)
    axes.fill_between(*band, facecolor=(REFERENCE, 0.25), edgecolor=REFERENCE, linewidth=0.8)
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
    figure = Figure(figsize=(WIDTH, 5.3), label=alt)  # laid out by hand: a slider waits for it
    axes = figure.add_axes((0.085, 0.535, 0.9, 0.41))
    if optimum is not None:
        axes.plot(*optimum, color=EXACT, linestyle="--", linewidth=1.2)
    figure.text(0.02, 0.43, literally(f"{prompt} …"), fontweight="bold", va="top")
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
        left = 0.02 + 0.5 * (place % 2)
        top = 0.385 - 0.127 * (place // 2)
        figure.text(left, top, heading, color=method.colour, va="top", fontsize=9)
        figure.text(left, top - 0.033, literally(_answer(now, sample)), va="top", fontsize=9)
    axes.set(xlabel=KL_TO_REFERENCE, ylabel=TRUE_REWARD, title=f"after {budget:,.0f} passes")
    axes.set(xlim=(-0.1, 1.08 * furthest), ylim=(start["reward"] - 0.1, highest + 0.1))  # the same at every budget
    axes.legend(loc="lower right", fontsize=8)
    return figure


def _draw_path(axes: Axes, path: pd.DataFrame, method: Method) -> None:
    """The way of one run, and where it stands now."""
    now = path.iloc[-1]
    look = {"color": method.colour, "marker": method.marker}
    axes.plot(path["kl"], path["reward"], **look, markersize=3, linewidth=1.0)
    axes.plot(now["kl"], now["reward"], **look, markersize=8, linestyle="", label=method.label)


def _answer(measured: pd.Series, sample: int) -> str:
    """What a measured policy says to one prompt, in at most three lines."""
    samples = json.loads(measured["samples"])
    if not samples:
        return "(computed, not sampled)"
    _, response = samples[sample]
    return textwrap.fill(response.strip(), 48, max_lines=3, placeholder=" …")
