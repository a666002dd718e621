"""Every figure of the book: pure functions of data that return a ``Figure``. Nothing here trains or shows.

One meaning a colour, from a palette that colour-blind readers can tell apart (Okabe and Ito): chosen blue,
rejected orange, reference grey, the policy green, anything exact a dashed black line. The figure's label is its
alt text.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from functools import wraps

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

CHOSEN, REJECTED, REFERENCE, POLICY, EXACT = "#0072B2", "#D55E00", "#888888", "#009E73", "black"
SHADES = ("#00503A", "#009E73", "#66C9AB", "#B5E3D5")  # several policies in one plot: dark to light green
KL_TO_OPTIMUM = r"KL($\pi_\theta \Vert \pi^*$), nats"
STYLE = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "font.size": 10,
    "axes.titlesize": 11,
}


def _styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Draw in the book's style, and leave the reader's own matplotlib settings alone."""

    @wraps(draw)
    def drawn(*args: object, **kwargs: object) -> Figure:
        with rc_context(STYLE):
            return draw(*args, **kwargs)

    return drawn


@_styled
def png(figure: Figure) -> bytes:
    """The figure as PNG bytes, at 100 dots an inch."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()


def _axes(width: float, height: float, columns: int, alt: str) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width, height), layout="constrained", label=alt)
    return figure, list(figure.subplots(1, columns, squeeze=False)[0])


def _exact(axes: Axes, value: float, label: str | None = None) -> None:
    axes.axhline(value, color=EXACT, linestyle="--", linewidth=1.2, label=label)


def _column(records: Sequence[Mapping[str, float]], name: str) -> np.ndarray:
    return np.array([record[name] for record in records])


def _smooth(values: np.ndarray, window: int = 15) -> np.ndarray:
    """Running mean over the last ``window`` steps: batches are noisy, the eye wants the trend."""
    return pd.Series(values, dtype=float).rolling(window, min_periods=1).mean().to_numpy()


def pipelines() -> Figure:
    """RLHF's three stages above DPO's one: which models each trains, and what each samples."""
    alt = (
        "Two rows of boxes. RLHF: preference pairs train a reward model, whose rewards train the policy by PPO "
        "while the policy samples anew at every step. DPO: the same pairs train the policy directly."
    )
    figure, (axes,) = _axes(9.2, 3.0, 1, alt)
    axes.axis("off")
    axes.set(xlim=(0, 11), ylim=(0, 4.2))

    def box(x: float, y: float, width: float, text: str, colour: str) -> None:
        style = {"boxstyle": "round,pad=0.06", "facecolor": colour + "22", "edgecolor": colour}
        axes.add_patch(FancyBboxPatch((x, y), width, 1.0, **style))
        axes.text(x + width / 2, y + 0.5, text, ha="center", va="center", fontsize=9)

    def arrow(start: tuple[float, float], end: tuple[float, float], bend: float = 0.0) -> None:
        style = {"arrowstyle": "-|>", "color": "#333333", "connectionstyle": f"arc3,rad={bend}"}
        axes.annotate("", end, start, arrowprops=style)

    for y, name in ((2.6, "RLHF"), (0.4, "DPO")):
        axes.text(0, y + 0.5, name, fontsize=13, weight="bold", va="center")
        box(1.1, y, 2.1, "1  imitate texts\n$\\pi_{ref}$ (SFT)", REFERENCE)
        box(3.9, y, 1.6, "pairs\n$y_w \\succ y_l$", CHOSEN)
        arrow((3.3, y + 0.5), (3.8, y + 0.5))
    box(6.2, 2.6, 2.0, "2  fit a reward\nmodel $r_\\phi$ (eq. 2)", REJECTED)
    box(8.9, 2.6, 2.0, "3  PPO against $r_\\phi$\n$\\pi_\\theta$ (eq. 3)", POLICY)
    arrow((5.6, 3.1), (6.1, 3.1))
    arrow((8.3, 3.1), (8.8, 3.1))
    arrow((9.3, 3.7), (10.5, 3.7), bend=-0.5)
    axes.text(9.1, 3.95, "sample, score,\nupdate, again", ha="right", va="center", fontsize=8)
    box(6.2, 0.4, 4.7, "2  one loss on the pairs: $\\pi_\\theta$ (eq. 7)\nno reward model, no sampling", POLICY)
    arrow((5.6, 0.9), (6.1, 0.9))
    return figure


@_styled
def top_responses(
    responses: Sequence[str], bars: Mapping[str, Sequence[float]], exact: Sequence[float] | None = None,
    title: str = "", count: int = 10, order_by: Sequence[float] | None = None,
) -> Figure:  # fmt: skip
    """The ``count`` likeliest responses, as bars a policy; the exact probability as a dashed black outline.

    bars: label → probability of every response (N,); at most two, the reference first. Sorted by
    ``order_by`` (N,), or else by the last of the bars.
    """
    order_by = np.asarray(list(bars.values())[-1] if order_by is None else order_by)
    top = np.argsort(-order_by, kind="stable")[:count]
    alt = f"Bars: probability of the {count} likeliest responses under {' and '.join(bars)}. {title}."
    figure, (axes,) = _axes(7.6, 4.2, 1, alt)
    height = 0.8 / len(bars)
    place = np.arange(count)
    for i, ((label, p), colour) in enumerate(zip(bars.items(), (REFERENCE, POLICY), strict=False)):
        axes.barh(place + i * height, np.asarray(p)[top], height, color=colour, label=label)
    if exact is not None:
        axes.barh(
            place + 0.4 - height / 2, np.asarray(exact)[top], 0.86,
            facecolor="none", edgecolor=EXACT, linestyle="--", label="π* (exact)",
        )  # fmt: skip
    axes.set_yticks(place + 0.4 - height / 2, [responses[i] for i in top])
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set(xlabel="probability of the whole response", title=title)
    axes.legend(loc="lower right")
    return figure


@_styled
def reward_margins(records: Sequence[Mapping[str, float]], ceiling: float | None = None) -> Figure:
    """Implicit rewards of chosen and rejected, their margin, and how often it is positive, by step.

    ceiling: the accuracy that knowing the true reward would give, where it is known.
    """
    alt = "Left: implicit rewards of chosen and rejected completions move apart by step. Right: accuracy by step."
    figure, (left, right) = _axes(8.6, 3.4, 2, alt)
    _margins(left, records)
    right.plot(_column(records, "step"), _smooth(_column(records, "rewards/accuracies")), color=POLICY)
    right.axhline(0.5, color=REFERENCE, linewidth=0.8)
    right.set(xlabel="step", ylabel="accuracy", title="share of pairs ranked right", ylim=(0.35, 1.02))
    if ceiling is not None:
        _exact(right, ceiling, "true reward (exact)")
        right.legend(loc="lower right")
    return figure


@_styled
def live_margins(records: Sequence[Mapping[str, float]]) -> Figure:
    """A run in progress: reward margins, and KL(π_θ‖π*) at the steps whose records hold ``kl_to_optimum``."""
    alt = "Left: reward margins by step so far. Right: KL to the exact optimum by step so far."
    figure, (left, right) = _axes(8.6, 3.4, 2, alt)
    _margins(left, records)
    measured = [record for record in records if "kl_to_optimum" in record]
    kl = _column(measured, "kl_to_optimum")
    right.plot(_column(measured, "step"), kl, color=POLICY, marker=".")
    right.axhline(0.05, color=REFERENCE, linewidth=0.8)
    right.set(xlabel="step", ylabel=KL_TO_OPTIMUM, yscale="log", title=f"now {kl[-1]:.3f} nats from π*")
    return figure


def _margins(axes: Axes, records: Sequence[Mapping[str, float]]) -> None:
    step = _column(records, "step")
    for name, colour in (("chosen", CHOSEN), ("rejected", REJECTED)):
        axes.plot(step, _smooth(_column(records, f"rewards/{name}")), color=colour, label=name)
    axes.plot(step, _smooth(_column(records, "rewards/margins")), color=POLICY, label="margin")
    axes.axhline(0, color=REFERENCE, linewidth=0.8)
    axes.set(xlabel="step", ylabel=r"implicit reward $\hat r$, nats", title="reward margins")
    axes.legend(loc="best")


@_styled
def to_the_optimum(
    runs: Mapping[str, Sequence[Mapping[str, float]]], optima: Mapping[str, tuple[float, float]]
) -> Figure:
    """KL(π_θ‖π*), expected reward and KL(π_θ‖π_ref) by step, one green a run; its optimum dashed black.

    runs: label → records, of which those with ``kl_to_optimum``, ``reward`` and ``kl_to_reference`` are drawn.
    optima: the same labels → (expected reward, KL to the reference) of π*.
    """
    alt = "By step, for each run: KL to the optimum falls; reward and KL to the reference meet dashed lines."
    figure, (kl, reward, drift) = _axes(10.2, 3.5, 3, alt)
    for (label, records), colour in zip(runs.items(), SHADES, strict=False):
        measured = [record for record in records if "kl_to_optimum" in record]
        for axes, name in ((kl, "kl_to_optimum"), (reward, "reward"), (drift, "kl_to_reference")):
            axes.plot(_column(measured, "step"), _column(measured, name), color=colour, label=label, marker=".")
        _exact(reward, optima[label][0])
        _exact(drift, optima[label][1])
    kl.axhline(0.05, color=REFERENCE, linewidth=0.8)
    kl.set(xlabel="step", ylabel=KL_TO_OPTIMUM, title="distance to the optimum", yscale="log")
    reward.set(xlabel="step", ylabel="expected reward, nats", title="reward (dashed: optimum)")
    drift.set(xlabel="step", ylabel=r"KL($\pi_\theta \Vert \pi_{ref}$), nats", title="drift (dashed: optimum)")
    kl.legend(loc="best")
    return figure


@_styled
def learning_curves(
    runs: Mapping[str, Sequence[Mapping[str, float]]],
    names: Sequence[str],
    exact: Mapping[str, float] | None = None,
) -> Figure:
    """Metrics by step, one panel a metric under the name it has in the records (and in TRL), one green a run.

    exact: metric → a value known in advance, dashed black. Runs that lack a metric at a step are not drawn there.
    """
    alt = f"By step, for {', '.join(runs)}: {', '.join(names)}."
    figure, panels = _axes(10.2, 3.1, len(names), alt)
    for axes, name in zip(panels, names, strict=True):
        for (label, records), colour in zip(runs.items(), SHADES, strict=False):
            measured = [record for record in records if name in record]
            values = _column(measured, name)
            every_step = len(measured) == len(records)
            axes.plot(_column(measured, "step"), _smooth(values) if every_step else values, color=colour, label=label)
        if exact and name in exact:
            _exact(axes, exact[name])
        axes.set(xlabel="step", title=name)
    if len(runs) > 1:
        panels[0].legend(loc="best", fontsize=8)
    return figure


@_styled
def log_probabilities(runs: Mapping[str, Sequence[Mapping[str, float]]]) -> Figure:
    """log π of chosen and rejected completions by step, one panel a run, on one scale."""
    alt = f"Log-probability of chosen and rejected completions by step, for {', '.join(runs)}."
    figure, panels = _axes(4.3 * len(runs), 3.3, len(runs), alt)
    for axes, (title, records) in zip(panels, runs.items(), strict=True):
        for name, colour in (("chosen", CHOSEN), ("rejected", REJECTED)):
            logps = _column(records, f"logps/{name}")
            axes.plot(_column(records, "step"), logps, color=colour, label=name)
            axes.axhline(logps[0], color=colour, linewidth=0.8, alpha=0.5)
        axes.set(xlabel="step", ylabel=r"$\log \pi_\theta(y|x)$, nats", title=title)
        axes.legend(loc="best")
    return figure


@_styled
def probability_mass(labels: Sequence[str], before: Sequence[float], after: Sequence[float]) -> Figure:
    """Probability of groups of responses before (grey) and after (green) training."""
    alt = "Bars: probability of groups of responses before and after. " + "; ".join(
        f"{label}: {a:.2f} to {b:.2f}" for label, a, b in zip(labels, before, after, strict=True)
    )
    figure, (axes,) = _axes(7.6, 0.9 + 0.5 * len(labels), 1, alt)
    place = np.arange(len(labels))
    axes.barh(place - 0.2, before, 0.4, color=REFERENCE, label="before")
    axes.barh(place + 0.2, after, 0.4, color=POLICY, label="after")
    axes.set_yticks(place, labels)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set(xlabel="probability")
    axes.legend(loc="best")
    return figure
