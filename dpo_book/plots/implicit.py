"""Figures of the implicit reward: what a shift f(x) of all rewards moves, and the reward read back off a policy."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from dpo_book.plots.style import CHOSEN, EXACT, POLICY, REFERENCE, literally, new_figure, styled

REWARD = "#AD5790"  # a reward as such, of no response chosen or rejected
TOWARDS_CHOSEN = LinearSegmentedColormap.from_list("chosen", ["white", CHOSEN])


@styled
def shifted_rewards(
    labels: Sequence[str],
    reward: Sequence[float],
    shifted: Sequence[float],
    implicit: Sequence[float],
    preferences: Sequence[Sequence[float]],
    reference: Sequence[float],
    optimum: Sequence[float],
    title: str = "",
) -> Figure:
    """N responses to one prompt: their rewards before and after a shift, their preferences, and the optimal policy.

    reward, shifted: r and r + f, in nats (N,). implicit: β log(π*/π_ref) (N,). preferences: p(row ≻ column)
    (N, N). reference, optimum: probabilities (N,). The scales are fixed, so that a slider moves bars, not axes.
    """
    alt = (
        f"{title}. Left: bars of the shifted rewards, {_listed(labels, shifted)}, beside dashed outlines of the "
        f"rewards before the shift and diamonds of the implicit rewards, {_listed(labels, implicit)}. Middle: the "
        f"table of preference probabilities. Right: the optimal policy, {_listed(labels, optimum)}."
    )
    figure, (left, middle, right) = new_figure(3.6, 3, alt)
    figure.set_layout_engine("none")  # fixed places as well as fixed scales, and twice as fast to draw
    for axes, place, width in ((left, 0.085, 0.25), (middle, 0.43, 0.23), (right, 0.74, 0.25)):
        axes.set_position((place, 0.25, width, 0.59))
    figure.suptitle(literally(title), fontsize=10.5)
    place = np.arange(len(labels))
    names = [literally(label) for label in labels]
    left.bar(place, shifted, 0.7, color=REWARD, label="$r + f$")
    left.bar(place, reward, 0.7, facecolor="none", edgecolor=EXACT, linestyle="--", label="$r$")
    left.plot(place, implicit, "D", color=POLICY, markeredgecolor="white", label=r"$\beta \log(\pi^*/\pi_{ref})$")
    left.axhline(0, color=REFERENCE, linewidth=0.8)
    left.set(xlabel="response y", ylabel="reward, nats", title="rewards", ylim=(-5.2, 5.8), yticks=(-4, 0, 4))

    preferences = np.asarray(preferences)
    middle.imshow(preferences, vmin=0, vmax=1, cmap=TOWARDS_CHOSEN, aspect="auto")
    for (i, j), p in np.ndenumerate(preferences):
        middle.text(j, i, f"{p:.2f}", ha="center", va="center", fontsize=8, color="white" if p > 0.88 else EXACT)
    middle.set_yticks(place, names)
    middle.grid(visible=False)
    middle.set(xlabel="response y' (column)", title=r"p(row $\succ$ column)")

    right.bar(place, reference, 0.7, color=REFERENCE, label=r"$\pi_{ref}$")
    right.bar(place, optimum, 0.7, facecolor="none", edgecolor=EXACT, linestyle="--", label=r"$\pi^*$ (exact)")
    right.set(xlabel="response y", ylabel="probability", title="optimal policy", ylim=(0, 1.15), yticks=(0, 0.5, 1))
    for axes in (left, middle, right):
        axes.set_xticks(place, names, fontsize=8, rotation=30, ha="right", rotation_mode="anchor")
    for axes in (left, right):
        axes.grid(axis="x", visible=False)
    handles, meanings = left.get_legend_handles_labels()
    of_policies, policies = right.get_legend_handles_labels()
    figure.legend([*handles, *of_policies], [*meanings, *policies], loc="lower center", ncols=5)
    return figure


@styled
def reward_read_back(
    panels: Mapping[str, tuple[Sequence[float], Sequence[float], Sequence[float]]],
    offsets: Mapping[str, float],
) -> Figure:
    """Implicit against true reward, one panel a prompt, dots as large as the response is likely.

    panels: prompt → true rewards, implicit rewards and probabilities of its responses (N,) each, in nats.
    offsets: the same prompts → −β log Z(x), the height at r* = 0 of the dashed black line of slope 1.
    """
    alt = "Implicit against true reward. " + "; ".join(
        f"{prompt}: points along a dashed line of slope 1 and offset {offset:.1f}"
        for prompt, offset in offsets.items()
    )
    figure, axes_list = new_figure(3.3, len(panels), alt)
    limits = _with_room([read for _, read, _ in panels.values()])
    for axes, (prompt, (true, implicit, probability)) in zip(axes_list, panels.items(), strict=True):
        true, implicit, probability = map(np.asarray, (true, implicit, probability))
        size = np.clip(4000 * probability, 0.6, 120)
        axes.scatter(true, implicit, s=size, color=POLICY, alpha=0.6, linewidths=0)
        ends = np.array([-2.0, 2.0])
        axes.plot(ends, ends + offsets[prompt], color=EXACT, linestyle="--", linewidth=1.2)
        axes.axvline(0, color=REFERENCE, linewidth=0.8)
        axes.axhline(0, color=REFERENCE, linewidth=0.8)
        axes.plot(0, offsets[prompt], "o", color=EXACT, markersize=5)
        axes.annotate(
            rf"$-\beta \log Z(x) = {offsets[prompt]:.2f}$",
            (0, offsets[prompt]), (0.97, 0.05), textcoords="axes fraction", ha="right",
            arrowprops={"arrowstyle": "-", "color": EXACT, "linewidth": 0.7},
        )  # fmt: skip
        axes.set(xlabel="true reward $r^*(x, y)$, nats", title=literally(prompt), xlim=(-2.1, 2.1), ylim=limits)
    axes_list[0].set_ylabel(r"implicit reward $\hat r(x, y)$, nats")
    return figure


def _with_room(groups: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Limits of an axis with all these values, so that no dot is cut: a twelfth of their span more on either side.

    Never less than what the line of slope 1 needs between rewards of -2 and 2.
    """
    values = np.concatenate([np.asarray(group) for group in groups])
    lowest, highest = min(values.min(), -2.0), max(values.max(), 2.0)
    room = (highest - lowest) / 12
    return lowest - room, highest + room


def _listed(labels: Sequence[str], values: Sequence[float]) -> str:
    return ", ".join(f"{label} {value:.2f}" for label, value in zip(labels, values, strict=True))
