"""Figures of the optimal policy (eq. 4): the way up to it, and the curve of optima over beta."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dpo_book.plots.style import (
    EXACT,
    LINES,
    MARKERS,
    POLICY,
    REFERENCE,
    SHADES,
    exact_line,
    literally,
    new_figure,
    styled,
    with_looks,
)
from dpo_book.plots.training import KL_TO_OPTIMUM

Points = tuple[Sequence[float], Sequence[float]]  # KL to the reference, expected reward


@styled
def climbs(runs: Mapping[str, Points], value: float, title: str = "") -> Figure:
    """Gradient ascent on the objective: its value by step (the optimum's dashed), and KL(π_θ‖π*), one green a run.

    runs: label → (objective by step, KL to π* by step). value: the objective at π*, β log Z.
    """
    alt = (
        f"Ascent by step, for {', '.join(runs)}. {title} Left: the objective rises to a dashed line at {value:.2f}, "
        "its value at the optimum. Right: KL to the optimum, on a logarithmic scale."
    )
    figure, (left, right) = new_figure(3.2, 2, alt)
    for (label, (objective, kl)), colour, line in with_looks(runs.items(), SHADES, LINES):
        steps = np.arange(len(objective))
        left.plot(steps, objective, linestyle=line, color=colour, label=literally(label))
        drawn = np.maximum(kl, 1e-16)  # below it lies rounding only
        right.plot(steps, drawn, linestyle=line, color=colour, label=literally(label))
    exact_line(left, value, r"$\beta \log Z$ (exact)")
    left.set_xscale("symlog", linthresh=10)  # most of the rise is in the first steps
    ticks = [tick for tick in (0, 5, 10, 30, 100, 300, 1000) if tick < len(objective)]
    left.set_xticks(ticks, [str(tick) for tick in ticks])
    left.set_xlim(0, len(objective) - 1)
    left.set(xlabel="step", ylabel=r"objective $J_\beta(\pi_\theta)$, nats", title=literally(title))
    right.set(xlabel="step", ylabel=KL_TO_OPTIMUM, yscale="log", title="distance to the formula's policy")
    left.legend(loc="lower right")
    return figure


@styled
def optimal_curve(
    responses: Sequence[str],
    reference: Sequence[float],
    star: Sequence[float],
    curve: Points,
    point: tuple[float, float],
    beta: float,
    others: Mapping[str, Points] | None = None,
) -> Figure:
    """Left: π_ref and π* at one beta, as bars. Right: that π* as a point on the reward–KL curve of all optima.

    reference, star: probabilities of ``responses``, K each. curve: the reference, then the optima of falling
    betas. point: the optimum at ``beta``; the dotted tangent there has slope beta and meets the axis at β log Z.
    others: label → policies that are no optima.
    """
    kl, reward = point
    value = reward - beta * kl
    alt = (
        f"Left: probabilities of {len(responses)} responses under the reference and under the optimum at beta "
        f"{beta:.2f}. Right: expected reward over KL to the reference. The optima of all betas form a rising, "
        f"flattening dashed curve, and no other policy lies above it. The optimum at beta {beta:.2f} has KL {kl:.2f} "
        f"and reward {reward:.2f}; its tangent meets the axis at {value:.2f}."
    )
    figure, (left, right) = new_figure(3.8, 2, alt)
    figure.set_layout_engine(None)  # a slider redraws this: looking for the best layout would take half the time
    figure.subplots_adjust(0.03 + 0.0105 * max(map(len, responses)), 0.26, 0.985, 0.92, wspace=0.24)
    _bars(left, responses, reference, star)
    for (label, (x, y)), colour, marker in with_looks((others or {}).items(), SHADES[2:], MARKERS[1:]):
        right.scatter(x, y, s=9, color=colour, marker=marker, label=literally(label), linewidths=0)
    right.plot(*curve, color=EXACT, linestyle="--", linewidth=1.2, label="optima of all β (exact)")
    reach = min(2 * kl + 0.3, max(curve[0]))
    right.plot([0, reach], [value, value + beta * reach], color=EXACT, linestyle=":", linewidth=1.2, label="slope β")
    right.plot(curve[0][0], curve[1][0], "o", color=REFERENCE, label="π_ref", clip_on=False, zorder=3)
    # Over π_ref, from which a large β hardly moves it, and over the axis.
    edge = {"markeredgecolor": "white", "markeredgewidth": 1.0, "clip_on": False, "zorder": 4}
    right.plot([kl], [reward], "o", color=POLICY, label="π* at this β", **edge)
    low = min([curve[1][0], *(min(y) for _, y in (others or {}).values())])
    right.set(
        xlabel=r"KL($\pi \Vert \pi_{ref}$), nats",
        ylabel="expected reward, nats",
        title=f"β = {beta:.2f}, β log Z = {value:.2f}",
        ylim=(low - 0.15, max(curve[1]) + 0.3),
    )
    right.set_xlim(left=0)
    figure.legend(*right.get_legend_handles_labels(), loc="lower center", ncols=3)  # inside no place is always free
    return figure


def _bars(axes: Axes, responses: Sequence[str], reference: Sequence[float], star: Sequence[float]) -> None:
    place = np.arange(len(responses))
    axes.barh(place, reference, 0.7, color=REFERENCE, label="π_ref")
    axes.barh(place, star, 0.86, facecolor="none", edgecolor=EXACT, linestyle="--", label="π* (exact)")
    axes.set_yticks(place, [literally(response) for response in responses])
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set(xlabel="probability of the whole response", title="the reference, tilted by the reward")
    axes.legend(loc="lower right")
