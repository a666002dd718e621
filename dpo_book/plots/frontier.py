"""Figures of methods that compete: reward against KL, reward by what it cost, and what a reward model hid.

Tables are ``dpo_book.frontier.table``'s: one row a measurement, ``last`` where a run ended.
"""

import json
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dpo_book.plots.style import EXACT, POLICY, REFERENCE, column, exact_line, new_figure, styled

KL_TO_REFERENCE = r"KL($\pi \Vert \pi_{ref}$), nats"
TRUE_REWARD = r"E[$r^*$], nats"
# method → its name on the page, colour, marker. DPO is the book's policy; what comes from the reference is grey.
LOOKS = {
    "sft": ("SFT (reference)", REFERENCE, "s"),
    "preferred-ft": ("preferred-FT", "#56B4E9", "v"),
    "unlikelihood": ("unlikelihood", "#E69F00", "^"),
    "dpo": ("DPO", POLICY, "o"),
    "best-of-n": ("best-of-n", "#555555", "D"),
    "ppo": ("PPO", "#CC79A7", "P"),
    "ppo-gt": ("PPO-GT", "#882255", "X"),
}
STRENGTHS = {"dpo": "β", "ppo": "β", "ppo-gt": "β", "best-of-n": "n", "unlikelihood": "α"}  # who is labelled first
Curve = tuple[Sequence[float], Sequence[float]]


@styled
def reward_kl_frontier(table: pd.DataFrame, optimum: Curve | None = None) -> Figure:
    """E[r*] against KL of every finished policy; with an optimum, also how far below it each is.

    Markers are means over seeds, with their strength where there is room. Crosses run from the lowest seed to the
    highest, and so do bands, at the KLs that all seeds reach. optimum: KL, rising, and the highest E[r*] at each,
    dashed black.
    """
    ends = table[table["last"]]
    best = ends.sort_values("reward").iloc[-1]
    names = [label for method, (label, _, _) in LOOKS.items() if method in set(ends["method"])]
    seeds = ends["seed"].nunique()
    alt = (
        f"Expected true reward against KL to the reference, {seeds} seed{'s' * (seeds > 1)}, for {', '.join(names)}. "
        f"Highest: {LOOKS[best['method']][0]} with {best['reward']:.2f} at {best['kl']:.2f} nats."
    )
    if optimum is None:
        figure, (left,) = new_figure(7.8, 4.2, 1, alt)
        panels = [(left, ends["reward"])]
    else:
        alt += " All lie below the dashed exact optimum; the right panel shows by how much."
        figure, (left, right) = new_figure(10.6, 4.2, 2, alt)
        gap = np.interp(ends["kl"], *optimum) - ends["reward"]
        panels = [(left, ends["reward"]), (right, gap)]
        left.plot(*optimum, color=EXACT, linestyle="--", linewidth=1.2, label="optimum (exact)")
        exact_line(right, 0.0)
        right.set(xlabel=KL_TO_REFERENCE, ylabel=r"optimum's E[$r^*$] minus its own, nats", title="below the optimum")
    for axes, values in panels:
        for method, (_, colour, marker) in LOOKS.items():
            if (rows := ends["method"] == method).any():
                points = ends.loc[rows, ["strength", "seed", "kl"]].assign(y=values[rows])
                _points_and_band(axes, points, _with_strength(method), colour, marker)
        axes.set_xlim(-0.03 * ends["kl"].max(), 1.06 * ends["kl"].max())
    _write_strengths(
        axes, ends[["method", "strength", "kl"]].assign(y=values)
    )  # of the magnified panel, if there is one
    left.set(xlabel=KL_TO_REFERENCE, ylabel=TRUE_REWARD, title="reward against KL")
    figure.legend(*left.get_legend_handles_labels(), loc="outside right upper")
    return figure


def _points_and_band(axes: Axes, points: pd.DataFrame, label: str, colour: str, marker: str) -> None:
    """points: strength, seed, kl, y. A marker a strength; strengths make a line, seeds a band around it."""
    spread = points.groupby("strength")[["kl", "y"]].agg(["mean", "min", "max"]).sort_values(("kl", "mean"))
    mean = {name: spread[name]["mean"].to_numpy() for name in ("kl", "y")}
    error = {
        name: np.clip([mean[name] - spread[name]["min"], spread[name]["max"] - mean[name]], 0, None) for name in mean
    }
    line = "-" if len(spread) > 1 else ""
    axes.errorbar(
        mean["kl"], mean["y"], xerr=error["kl"], yerr=error["y"], color=colour, marker=marker,
        markersize=8 if marker in "PX" else 6,
        markeredgecolor="white", markeredgewidth=0.4, linestyle=line, linewidth=1.0, elinewidth=0.8, label=label,
    )  # fmt: skip
    seeds = [rows.sort_values("kl") for _, rows in points.groupby("seed")]
    if len(spread) > 1 and len(seeds) > 1:
        start, stop = max(rows["kl"].min() for rows in seeds), min(rows["kl"].max() for rows in seeds)
        grid = np.linspace(start, stop, 200)
        curves = np.array([np.interp(grid, rows["kl"], rows["y"]) for rows in seeds])
        axes.fill_between(grid, curves.min(axis=0), curves.max(axis=0), color=colour, alpha=0.2, linewidth=0)


def _with_strength(method: str) -> str:
    """A method's name, and what the numbers beside its markers are."""
    name = LOOKS[method][0]
    return f"{name} ({STRENGTHS[method]})" if method in STRENGTHS else name


def _write_strengths(axes: Axes, points: pd.DataFrame) -> None:
    """points: method, strength, kl, y. Writes β, α or n beside the means over seeds, where there is room for it.

    That is: on no marker, line or other label, and clearly nearer to its own marker than to any other.
    """
    axes.set(xlim=axes.get_xlim(), ylim=axes.get_ylim())  # labels are placed for these limits
    to_fraction = axes.transData + axes.transAxes.inverted()
    means = points.groupby(["method", "strength"])[["kl", "y"]].mean().sort_values("kl")
    places = pd.DataFrame(to_fraction.transform(means.to_numpy()), index=means.index)
    markers = places.to_numpy()
    taken = [(x - 0.015, y - 0.02, x + 0.015, y + 0.02) for x, y in markers]
    for _, line in places.groupby("method"):
        along = np.linspace(0, len(line) - 1, 40 * len(line))
        x, y = (np.interp(along, range(len(line)), line[i]) for i in (0, 1))
        taken += zip(x, y, x, y, strict=True)
    for method in STRENGTHS:
        own = places.loc[[method]].droplevel(0) if method in places.index else places[:0]
        for strength, (x, y) in own.iterrows():
            text = f"{strength:g}"
            width, height = 0.006 + 0.016 * len(text), 0.036
            aside, apart = (x + 0.02, x - 0.02 - width), (y + 0.015, y - 0.015 - height, y - height / 2)
            corners = [(left, bottom) for bottom in apart for left in aside]
            for left, bottom in [*corners, (x - width / 2, y + 0.03), (x - width / 2, y - 0.03 - height)]:
                box = (left, bottom, left + width, bottom + height)
                middle = np.array([left + width / 2, bottom + height / 2])
                others = np.hypot(*(markers[(markers != [x, y]).any(axis=1)] - middle).T)
                near = np.hypot(*(middle - [x, y])) < 0.7 * others.min(initial=np.inf)
                if near and min(box) > 0 and max(box) < 1 and not any(_overlap(box, other) for other in taken):
                    place = {"transform": axes.transAxes, "va": "bottom", "fontsize": 7.5}
                    axes.text(left, bottom, text, color=LOOKS[method][1], **place)
                    taken.append(box)
                    break


def _overlap(one: tuple, other: tuple) -> bool:
    """Whether two boxes (left, bottom, right, top) do."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


@styled
def maximised_and_wanted(table: pd.DataFrame, title: str = "") -> Figure:
    """Against KL: the learned reward (left), which PPO and best-of-n maximise, and the true one (right).

    Both as gains over the reference: r_φ is fixed only up to a constant a prompt.
    """
    ends = table[table["last"]].copy()
    start = table[table["method"] == "sft"].set_index("seed")
    for name in ("learned_reward", "reward"):
        ends[name] -= ends["seed"].map(start[name])
    methods = [method for method in ("best-of-n", "ppo", "ppo-gt") if method in set(ends["method"])]
    alt = (
        f"{title}. Gain over the reference against KL. Left: the learned reward, of which PPO gets more than PPO-GT. "
        "Right: the true reward, of which PPO gets less."
    )
    figure, (left, right) = new_figure(9.6, 3.6, 2, alt)
    right.sharey(left)
    for axes, name, wanted in ((left, "learned_reward", r"$r_\phi$"), (right, "reward", r"$r^*$")):
        for method in methods:
            rows = ends[ends["method"] == method]
            points = rows[["strength", "seed", "kl"]].assign(y=rows[name])
            _points_and_band(axes, points, _with_strength(method), *LOOKS[method][1:])
        axes.set(xlabel=KL_TO_REFERENCE, ylabel=f"gain of E[{wanted}], nats")
    for axes, name in ((left, "learned_reward"), (right, "reward")):  # when both have their common limits
        rows = ends[ends["method"].isin(methods)]
        _write_strengths(axes, rows[["method", "strength", "kl"]].assign(y=rows[name]))
    left.set(title=f"{title}: learned reward")
    right.set(title="true reward")
    right.legend(loc="lower right")
    return figure


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
    names = {"passes": "passes (sequences)", "seconds": "seconds"}
    for axes, (name, label) in zip(panels, names.items(), strict=True):
        for method in ("dpo", "ppo", "ppo-gt"):
            rows = table[(table["method"] == method) & (table["strength"] == beta)]
            by_step = rows.groupby("step")[[name, "reward"]].agg(["mean", "min", "max"])
            by_step = by_step[by_step[name]["mean"] > 0]
            cost, reward = by_step[name]["mean"], by_step["reward"]
            word, colour, marker = LOOKS[method]
            axes.plot(cost, reward["mean"], color=colour, marker=marker, markersize=5, label=word)
            axes.fill_between(cost, reward["min"], reward["max"], color=colour, alpha=0.2, linewidth=0)
        axes.axhline(goal, color=REFERENCE, linewidth=1.2, label="goal")
        if best is not None:
            exact_line(axes, best, r"E[$r^*$] of $\pi^*$ at this β (not a bound)")
        axes.set(xscale="log", xlabel=label)
    panels[1].sharey(panels[0])
    panels[0].set(ylabel=TRUE_REWARD)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
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
    figure, (axes,) = new_figure(7.6, 3.6, 1, alt)
    axes.fill_between(step, value - 2 * error, value + 2 * error, color=REFERENCE, alpha=0.25, linewidth=0)
    axes.plot(step, value, color=EXACT, linestyle="--", linewidth=1.2, label="exact, ± 2 standard errors")
    axes.plot(step, estimate, LOOKS["ppo-gt"][2], color=LOOKS["ppo-gt"][1], label="from the step's own samples")
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
    start = first[first["method"] == "sft"].iloc[0]
    prompt = json.loads(start["samples"])[sample][0]
    alt = f"Reward against KL of every method after {budget:,.0f} passes, and its answer to “{prompt}”."
    figure = Figure(figsize=(10.6, 4.6), label=alt)  # laid out by hand: a slider waits for it
    axes = figure.add_axes((0.065, 0.11, 0.44, 0.82))
    if optimum is not None:
        axes.plot(*optimum, color=EXACT, linestyle="--", linewidth=1.2)
    figure.text(0.53, 0.95, f"{prompt} …", fontweight="bold", va="top")
    shown = {method: first[(first["method"] == method) & (first["strength"] == s)] for method, s in strengths.items()}
    for place, (method, rows) in enumerate(shown.items()):
        word, colour, marker = LOOKS[method]
        so_far = rows[rows["passes"] <= budget]
        path = so_far if len(so_far) else start.to_frame().T
        axes.plot(path["kl"], path["reward"], color=colour, linewidth=1.0, alpha=0.7)
        now = path.iloc[-1]
        axes.plot(now["kl"], now["reward"], marker, color=colour, markersize=8, label=word)
        answers = json.loads(now["samples"])
        said = answers[sample][1].strip() if answers else "(computed, not sampled)"
        text = textwrap.fill(said, 68, max_lines=2, placeholder=" …")
        top = 0.88 - 0.145 * place
        when = f"at {now['passes']:,} passes" if len(so_far) else "still the reference"
        figure.text(0.53, top, f"{word}, {now['reward']:.2f}, {when}", color=colour, va="top", fontsize=9)
        figure.text(0.53, top - 0.04, text, va="top", fontsize=9)
    everything = pd.concat(shown.values())
    axes.set(
        xlabel=KL_TO_REFERENCE, ylabel=TRUE_REWARD, title=f"after {budget:,.0f} passes",
        xlim=(-0.1, 1.08 * everything["kl"].max()),
        ylim=(start["reward"] - 0.1, 0.1 + max(everything["reward"].max(), start["reward"])),
    )  # fmt: skip
    axes.legend(loc="lower right", fontsize=8)
    return figure
