"""Figures of policies as distributions over responses, and of the way from preferences to a policy."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from dpo_book.plots.style import EXACT, POLICY, REFERENCE, literally, new_figure, styled, with_looks


@styled
def pipelines() -> Figure:
    """RLHF's three stages above DPO's one: which models each trains, and what each samples."""
    alt = (
        "Two rows of boxes. RLHF: preference pairs train a reward model, whose rewards train the policy by PPO "
        "while the policy samples anew at every step. DPO: the same pairs train the policy directly."
    )
    figure, (axes,) = new_figure(2.9, 1, alt)
    axes.axis("off")
    axes.set(xlim=(0, 11), ylim=(0, 4.2))

    def box(x: float, y: float, width: float, text: str, colour: str) -> None:
        style = {
            "boxstyle": "round,pad=0.06",
            "facecolor": "white" if colour == EXACT else colour + "22",
            "edgecolor": colour,
        }
        axes.add_patch(FancyBboxPatch((x, y), width, 1.0, **style))
        axes.text(x + width / 2, y + 0.5, text, ha="center", va="center", fontsize=9)

    def arrow(start: tuple[float, float], end: tuple[float, float], bend: float = 0.0) -> None:
        style = {"arrowstyle": "-|>", "color": "#333333", "connectionstyle": f"arc3,rad={bend}"}
        axes.annotate("", end, start, arrowprops=style)

    for y, name in ((2.6, "RLHF"), (0.4, "DPO")):
        axes.text(0, y + 0.5, name, fontsize=13, weight="bold", va="center")
        box(1.1, y, 2.1, "1  imitate texts\n$\\pi_{ref}$ (SFT)", REFERENCE)
        box(3.9, y, 1.6, "pairs\n$y_w \\succ y_l$", EXACT)
        arrow((3.3, y + 0.5), (3.8, y + 0.5))
    box(6.2, 2.6, 2.0, "2  fit a reward\nmodel $r_\\phi$ (eq. 2)", EXACT)
    box(8.9, 2.6, 2.0, "3  PPO against $r_\\phi$\n$\\pi_\\theta$ (eq. 3)", POLICY)
    arrow((5.6, 3.1), (6.1, 3.1))
    arrow((8.3, 3.1), (8.8, 3.1))
    arrow((9.3, 3.7), (10.5, 3.7), bend=-0.5)
    axes.text(9.1, 3.95, "sample, score,\nupdate, again", ha="right", va="center", fontsize=8)
    box(6.2, 0.4, 4.7, "2  one loss on the pairs: $\\pi_\\theta$ (eq. 7)\nno reward model, no sampling", POLICY)
    arrow((5.6, 0.9), (6.1, 0.9))
    return figure


@styled
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
    figure, (axes,) = new_figure(4.0, 1, alt)
    shown = {label: np.asarray(p)[top] for label, p in bars.items()}
    bars_on(axes, [responses[i] for i in top], shown, None if exact is None else np.asarray(exact)[top])
    axes.set_title(literally(title))
    axes.legend(loc="lower right")
    return figure


def bars_on(
    axes: Axes, responses: Sequence[str], bars: Mapping[str, Sequence[float]], exact: Sequence[float] | None
) -> None:
    """A row a response, the first on top: bars of each label's probabilities, and the exact one as an outline."""
    height = 0.8 / len(bars)
    place = np.arange(len(responses))
    for i, ((label, p), colour) in enumerate(with_looks(bars.items(), (REFERENCE, POLICY))):
        axes.barh(place + i * height, p, height, color=colour, label=literally(label))
    middle = place + 0.4 - height / 2
    if exact is not None:
        outline = {"facecolor": "none", "edgecolor": EXACT, "linestyle": "--"}
        axes.barh(middle, exact, 0.86, label="π* (exact)", **outline)
    axes.set_yticks(middle, [literally(response) for response in responses])
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("probability of the whole response")


@styled
def probability_mass(labels: Sequence[str], before: Sequence[float], after: Sequence[float]) -> Figure:
    """Probability of groups of responses before (grey) and after (green) training."""
    alt = "Bars: probability of groups of responses before and after. " + "; ".join(
        f"{label}: {a:.2f} to {b:.2f}" for label, a, b in zip(labels, before, after, strict=True)
    )
    figure, (axes,) = new_figure(0.9 + 0.5 * len(labels), 1, alt)
    place = np.arange(len(labels))
    axes.barh(place - 0.2, before, 0.4, color=REFERENCE, label="before")
    axes.barh(place + 0.2, after, 0.4, color=POLICY, label="after")
    axes.set_yticks(place, [literally(label) for label in labels])
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set(xlabel="probability")
    axes.legend(loc="best")
    return figure
