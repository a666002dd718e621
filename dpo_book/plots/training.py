"""Figures of a training run: records by step."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dpo_book.plots.style import (
    CHOSEN,
    LINES,
    MARKERS,
    POLICY,
    REFERENCE,
    REJECTED,
    SHADES,
    column,
    exact_line,
    literally,
    new_figure,
    smooth,
    styled,
    with_looks,
)

KL_TO_OPTIMUM = r"KL($\pi_\theta \Vert \pi^*$), nats"
LABELS = {  # what TRL does not log, or gives no unit for
    "loss": {"ylabel": "nats"},
    "rewards/margins": {"ylabel": "nats"},
    "rewards/accuracies": {"ylabel": "share of pairs"},
    "kl_to_optimum": {"ylabel": "nats", "title": "KL to the optimum", "yscale": "log"},
}


@styled
def reward_margins(records: Sequence[Mapping[str, float]], ceiling: float | None = None) -> Figure:
    """Implicit rewards of chosen and rejected, their margin, and how often it is positive, by step.

    ceiling: the accuracy that knowing the true reward would give, where it is known.
    """
    alt = "Left: implicit rewards of chosen and rejected completions move apart by step. Right: accuracy by step."
    figure, (left, right) = new_figure(3.3, 2, alt)
    margins_on(left, records)
    _names_below(left)
    right.plot(column(records, "step"), smooth(column(records, "rewards/accuracies")), color=POLICY)
    right.axhline(0.5, color=REFERENCE, linewidth=0.8)
    right.annotate("a coin", (0, 0.5), xytext=(0, -11), textcoords="offset points", fontsize=8)
    right.set(xlabel="step", ylabel="accuracy", title="share of pairs ranked right", ylim=(0.35, 1.02))
    if ceiling is not None:
        exact_line(right, ceiling, "knowing the true reward")
        right.legend(loc="lower right")
    return figure


@styled
def live_margins(records: Sequence[Mapping[str, float]]) -> Figure:
    """A run in progress: reward margins, and KL(π_θ‖π*) at the steps whose records hold ``kl_to_optimum``."""
    alt = "Left: reward margins by step so far. Right: KL to the exact optimum by step so far."
    figure, (left, right) = new_figure(3.3, 2, alt)
    margins_on(left, records)
    _names_below(left)
    measured = [record for record in records if "kl_to_optimum" in record]
    distance_on(right, column(measured, "step"), column(measured, "kl_to_optimum"))
    return figure


def distance_on(axes: Axes, steps: Sequence[float], kl: Sequence[float]) -> None:
    """KL(π_θ‖π*) in nats on a logarithmic axis, with a line at 0.05; above it what it is now."""
    axes.plot(steps, kl, color=POLICY, marker=".")
    axes.axhline(0.05, color=REFERENCE, linewidth=0.8)
    title = f"now {kl[-1]:.3f} nats from π*" if len(kl) else ""
    axes.set(xlabel="step", ylabel=KL_TO_OPTIMUM, yscale="log", title=title)


def margins_on(axes: Axes, records: Sequence[Mapping[str, float]]) -> None:
    """Implicit rewards of chosen and rejected, and their margin: running means, so that the eye sees the trend."""
    step = column(records, "step")
    for name, colour, line in (("chosen", CHOSEN, "-"), ("rejected", REJECTED, "-.")):
        axes.plot(step, smooth(column(records, f"rewards/{name}")), line, color=colour, label=name)
    axes.plot(step, smooth(column(records, "rewards/margins")), ":", color=POLICY, linewidth=2.2, label="margin")
    axes.axhline(0, color=REFERENCE, linewidth=0.8)
    axes.set(xlabel="step", ylabel=r"implicit reward $\hat r$, nats", title="reward margins")


def _names_below(axes: Axes) -> None:
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=3)  # nowhere inside is always free


@styled
def to_the_optimum(
    runs: Mapping[str, Sequence[Mapping[str, float]]], optima: Mapping[str, tuple[float, float]]
) -> Figure:
    """KL(π_θ‖π*), expected reward and KL(π_θ‖π_ref) by step, one green a run; its optimum dashed black.

    runs: label → records, of which those with ``kl_to_optimum``, ``reward`` and ``kl_to_reference`` are drawn.
    optima: the same labels → (expected reward, KL to the reference) of π*.
    """
    alt = (
        "By step: KL to the optimum falls for each run; reward and drift approach the optimum's dashed lines. "
        + "; ".join(
            f"{label}: KL to the optimum ends at {records[-1]['kl_to_optimum']:.3f} nats"
            for label, records in runs.items()
        )
    )
    figure, (kl, reward, drift) = new_figure(3.4, 3, alt)
    longest = max(records[-1]["step"] for records in runs.values())
    for (label, records), colour, marker in with_looks(runs.items(), SHADES, MARKERS):
        shown = literally(label)
        measured = [record for record in records if "kl_to_optimum" in record]
        for axes, name in ((kl, "kl_to_optimum"), (reward, "reward"), (drift, "kl_to_reference")):
            look = {"color": colour, "marker": marker, "markersize": 4, "label": shown}
            axes.plot(column(measured, "step"), column(measured, name), **look)
        for axes, value in zip((reward, drift), optima[label], strict=True):
            exact_line(axes, value)
            axes.annotate(shown, (1.06 * longest, value), xytext=(0, 2), textcoords="offset points", fontsize=8)
            axes.set_xlim(right=1.5 * longest)
    kl.axhline(0.05, color=REFERENCE, linewidth=0.8)
    kl.annotate("0.05", (longest, 0.05), xytext=(0, 2), textcoords="offset points", ha="right", fontsize=8)
    kl.set(xlabel="step", ylabel=KL_TO_OPTIMUM, title="distance to the optimum", yscale="log")
    reward.set(xlabel="step", ylabel="expected reward, nats", title="reward (dashed: optimum)")
    drift.set(xlabel="step", ylabel=r"KL($\pi_\theta \Vert \pi_{ref}$), nats", title="drift (dashed: optimum)")
    kl.legend(loc="best")
    return figure


@styled
def learning_curves(
    runs: Mapping[str, Sequence[Mapping[str, float]]],
    names: Sequence[str],
    exact: Mapping[str, float] | None = None,
) -> Figure:
    """Metrics by step, one panel a metric under the name it has in the records, one green and line style a run.

    exact: metric → a value known in advance, dashed black. Runs that lack a metric at a step are not drawn there.
    """
    alt = f"By step, for {', '.join(runs)}: {', '.join(names)}."
    figure, panels = new_figure(2.9, len(names), alt)
    for axes, name in zip(panels, names, strict=True):
        for (label, records), colour, style in with_looks(runs.items(), SHADES, LINES):
            measured = [record for record in records if name in record]
            values = column(measured, name)
            every_step = len(measured) == len(records)
            values = smooth(values) if every_step else values
            look = {"color": colour, "linestyle": style, "linewidth": 1.8, "label": literally(label)}
            axes.plot(column(measured, "step"), values, **look)
        if exact and name in exact:
            exact_line(axes, exact[name])
        axes.set(**({"xlabel": "step", "title": literally(name)} | LABELS.get(name, {})))
    if len(runs) > 1:
        panels[0].legend(loc="best")
    return figure


@styled
def log_probabilities(runs: Mapping[str, Sequence[Mapping[str, float]]]) -> Figure:
    """log π of chosen and rejected completions by step, one panel a run, on one scale."""
    alt = f"Log-probability of chosen and rejected completions by step, for {', '.join(runs)}."
    figure, panels = new_figure(3.2, len(runs), alt)
    for axes in panels[1:]:
        axes.sharey(panels[0])
    for axes, (title, records) in zip(panels, runs.items(), strict=True):
        for name, colour, line in (("chosen", CHOSEN, "-"), ("rejected", REJECTED, "-.")):
            logps = column(records, f"logps/{name}")
            axes.plot(column(records, "step"), logps, line, color=colour, label=name)
            axes.axhline(logps[0], color=colour, linestyle=":", linewidth=0.8)
        axes.set(xlabel="step", ylabel=r"$\log \pi_\theta(y|x)$, nats", title=literally(title))
        axes.legend(loc="best")
    return figure


@styled
def ends_by_proposal(panels: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """Where runs end by who proposed their pairs: KL(π_θ‖π*) on a logarithmic axis, a dot a run, 0.05 as a line.

    panels: title → proposal → one value a run. All panels have the same proposals, first on top.
    """
    said = [
        f"{title}: " + ", ".join(f"{name} {np.mean(values):.3f}" for name, values in rows.items())
        for title, rows in panels.items()
    ]
    alt = f"KL to the optimum at the end of runs, by proposal, mean of the runs in nats. {'; '.join(said)}."
    figure, axes_of = new_figure(2.4, len(panels), alt)
    for axes, (title, rows) in zip(axes_of, panels.items(), strict=True):
        for place, values in enumerate(rows.values()):
            axes.plot(values, [place] * len(values), "o", color=POLICY)
        axes.axvline(0.05, color=REFERENCE, linewidth=0.8)
        axes.set(xscale="log", xlim=(0.008, 2), ylim=(len(rows) - 0.5, -0.5), xlabel=KL_TO_OPTIMUM)
        axes.set_title(literally(title))
        axes.set_yticks(range(len(rows)), [literally(name) for name in rows])
        axes.set_xticks([0.01, 0.05, 0.1, 1], ["0.01", "0.05", "0.1", "1"])
    for axes in axes_of[1:]:
        axes.set_yticklabels([])
    return figure
