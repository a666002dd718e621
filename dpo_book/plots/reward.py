"""Figures of the reward model (eq. 2): what it learned, what noisy labels leave of a margin, and over-optimisation.

Green is what was learned or gained, grey the reference or plain labels, dashed black what is exact.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from dpo_book.plots.style import EXACT, POLICY, REFERENCE, SHADES, literally, new_figure, styled

Curve = tuple[Sequence[float], Sequence[float], Sequence[float]]  # KL, learned gain, true gain


@styled
def learned_rewards(
    panels: Mapping[str, tuple[Sequence[float], Sequence[float]]], probability: Sequence[float], often: float = 1e-3
) -> Figure:
    """Learned against true reward of every response, one panel a model.

    panels: label → (true, learned), N each. probability: π_ref of the responses; those above ``often`` are green.
    """
    said = np.asarray(probability) > often
    alt = (
        f"Learned over true reward of {len(said)} responses, for {' and '.join(panels)}. The dashed line is learned "
        f"equal to true. The {said.sum()} responses that the reference often says are green, the rare ones grey."
    )
    figure, panes = new_figure(4.0, len(panels), alt)
    for axes, (label, (true, learned)) in zip(panes, panels.items(), strict=True):
        true, learned = np.asarray(true), np.asarray(learned)
        axes.scatter(true[~said], learned[~said], s=2, marker="s", color=REFERENCE, linewidths=0, label="rare")
        axes.scatter(true[said], learned[said], s=14, color=POLICY, linewidths=0, label="often said")
        ends = [true.min(), true.max()]
        axes.plot(ends, ends, color=EXACT, linestyle="--", linewidth=1.2, label="learned = true")
        axes.set(xlabel="true reward r*, nats", title=literally(label))
    panes[0].set_ylabel("learned reward, shifted, nats")
    low, high = min(a.get_ylim()[0] for a in panes), max(a.get_ylim()[1] for a in panes)
    for axes in panes:
        axes.set_ylim(low, high)
    legend = figure.legend(*panes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    for dots in legend.legend_handles[:2]:  # as large as each other: the rare ones are specks above
        dots.set(sizes=[25])
    return figure


def noisy_log_odds(margin: np.ndarray | float, noise: float) -> np.ndarray:
    """Log-odds of the label once a share ``noise`` of labels is flipped; margin: the true reward difference."""
    margin = np.asarray(margin, dtype=float)
    preferred = 1 / (1 + np.exp(-margin))  # P(a ≻ b), equation 1
    kept, flipped = (1 - noise) * preferred, noise * (1 - preferred)
    labelled = kept + flipped  # P(the label says a ≻ b)
    return np.log(labelled) - np.log1p(-labelled)


@styled
def noisy_labels(noise: float, margin: float) -> Figure:
    """Left: the margin that noisy labels ask for, by the true one. Right: the expected loss whose lowest point it is.

    noise: share of flipped labels, 0 to 0.5. margin: true r(a) − r(b) of the pair that is marked.
    """
    best = float(noisy_log_odds(margin, noise))
    alt = (
        f"With {100 * noise:.0f} % of labels flipped. Left: best margin over true margin, an S below the dashed "
        f"diagonal; a true margin of {margin:.2f} becomes {best:.2f} nats. Right: expected loss of that pair over "
        f"the learned margin, with its lowest point at {best:.2f}, and without noise at {margin:.2f}."
    )
    figure, (left, right) = new_figure(3.4, 2, alt)
    figure.set_layout_engine(None)  # a slider redraws this: looking for the best layout would take half the time
    figure.subplots_adjust(0.085, 0.15, 0.985, 0.9, wspace=0.22)
    m = np.linspace(-6, 6, 121)
    left.plot(m, m, color=EXACT, linestyle="--", linewidth=1.2, label="no noise")
    left.plot(m, noisy_log_odds(m, noise), color=POLICY, label=f"{100 * noise:.0f} % flipped")
    left.plot([margin], [best], "o", color=POLICY, markeredgecolor=EXACT)
    if noise > 0.0025:
        for end in (-1, 1):
            left.axhline(end * np.log((1 - noise) / noise), color=REFERENCE, linewidth=0.8)
    left.set(
        xlabel="true margin r*(a) − r*(b), nats",
        ylabel="best learned margin, nats",
        title=f"true {margin:.2f} → learned {best:.2f}",
        xlim=(-6, 6),
        ylim=(-6.3, 6.3),
    )
    left.legend(loc="upper left")
    win, lose = np.logaddexp(0, -m), np.logaddexp(0, m)  # the loss if a wins, and if b wins
    for epsilon, at, colour, style, label in (
        (0.0, margin, EXACT, "--", "no noise"),
        (noise, best, POLICY, "-", f"{100 * noise:.0f} % flipped"),
    ):
        p = 1 / (1 + np.exp(-noisy_log_odds(margin, epsilon)))
        right.plot(m, p * win + (1 - p) * lose, color=colour, linestyle=style, linewidth=1.4, label=label)
        lowest = p * np.logaddexp(0, -at) + (1 - p) * np.logaddexp(0, at)
        right.plot([at], [lowest], "o", color=colour, markersize=5)
    right.set(
        xlabel="learned margin r(a) − r(b), nats",
        ylabel="expected loss, nats",
        title="the marked pair",
        xlim=(-6, 6),
        ylim=(0, 3.2),
    )
    return figure


@styled
def promised_and_gained(panels: Mapping[str, Curve], frontier: tuple[Sequence[float], Sequence[float]]) -> Figure:
    """Optima of a learned reward over KL: the gain that the learned reward promises, and the true gain.

    panels: label → (KL, learned gain, true gain), by falling beta. frontier: (KL, true gain) of the optima of the
    true reward: no policy gains more at its KL.
    """
    figure, panes = new_figure(3.4, len(panels), _promised_alt(panels))
    largest_kl = max(max(kl) for kl, _, _ in panels.values())
    highest_promise = max(max(learned) for _, learned, _ in panels.values())
    reach, top = 1.05 * largest_kl, 1.1 * highest_promise
    best_kl, best_gain = np.asarray(frontier[0]), np.asarray(frontier[1])
    shown = best_kl <= 1.1 * reach
    dashed = {"color": EXACT, "linestyle": "--", "linewidth": 1.2}
    for axes, (label, (kl, learned, true)) in zip(panes, panels.items(), strict=True):
        axes.fill_between(kl, learned, true, color=SHADES[1], alpha=0.2, linewidth=0)
        axes.plot(kl, learned, color=SHADES[2], linestyle="-.", label="promised by the learned reward")
        axes.plot(kl, true, color=SHADES[1], linewidth=2, label="true gain")
        axes.plot(best_kl[shown], best_gain[shown], **dashed, label="best possible")
        axes.set(xlabel=r"KL($\pi \Vert \pi_{ref}$), nats", title=literally(label))
        axes.set(xlim=(0, reach), ylim=(0, top))
    panes[0].set_ylabel("gain in expected reward, nats")
    panes[0].legend(loc="lower right")
    return figure


def _promised_alt(panels: Mapping[str, Curve]) -> str:
    """What the learned reward promised in each panel and what was gained, in words."""
    ends = []
    for label, (_, learned, true) in panels.items():
        promised, gained = f"{learned[-1]:.2f} promised", f"{true[-1]:.2f} gained"
        ends.append(f"{label}: at the largest KL {promised}, {gained}, at most {max(true):.2f}")
    told = "; ".join(ends)
    return f"Gain in expected reward over KL to the reference. {told}. The dashed frontier is the best possible."
