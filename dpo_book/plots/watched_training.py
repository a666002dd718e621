"""A policy at one step of its training, as a frame of a film: between frames nothing moves but the data."""

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dpo_book.plots.responses import bars_on
from dpo_book.plots.style import WIDTH, exact_line, literally, styled
from dpo_book.plots.training import distance_on, margins_on


@styled
def watched_training(
    prompt: str,
    responses: pd.DataFrame,
    distances: Mapping[int, float],
    records: Sequence[Mapping[str, float]],
    samples: Sequence[tuple[str, float]],
    best_margin: float,
    limits: Mapping[str, tuple[float, float]],
) -> Figure:
    """Probabilities of some responses to ``prompt``, samples, KL(π_θ‖π*) and the reward margins up to now.

    responses: text → ``reference``, ``policy`` and ``optimum``, their probabilities; the first row on top.
    distances: step → KL(π_θ‖π*) in nats; its last step is now. records: by TRL's names, up to now; before the first
    update there are none. samples: the policy's responses, each with its true reward in nats. best_margin: that of
    π*, nats. limits: both ends of the axes ``probability``, ``step``, ``kl`` and ``reward``, the same for all frames.
    """
    alt = _in_words(prompt, responses, distances, samples)
    figure = Figure(figsize=(WIDTH, 5.6), layout="constrained", label=alt)
    above, below = figure.subfigures(2, 1, height_ratios=(1.2, 1))  # so that one's labels do not indent the other
    bars, said = above.subplots(1, 2, width_ratios=(1.35, 1))
    kl, rewards = below.subplots(1, 2)
    policies = {"π_ref": responses["reference"], "π_θ": responses["policy"]}
    bars_on(bars, list(responses.index), policies, responses["optimum"])
    bars.set(xlim=limits["probability"], xlabel="probability", title=literally(f"likely responses to “{prompt}”"))
    _samples_on(said, samples)
    said.legend(*bars.get_legend_handles_labels(), loc="lower left")
    distance_on(kl, list(distances), list(distances.values()))
    _named(kl, 0.05, "0.05")
    kl.set_ylim(limits["kl"])
    margins_on(rewards, records)
    rewards.legend(loc="upper center", bbox_to_anchor=(0.5, -0.25), ncols=3)
    exact_line(rewards, best_margin)
    _named(rewards, best_margin, "π*")
    rewards.set(ylim=limits["reward"], ylabel="nats", title=r"implicit rewards $\hat r$")
    for axes in (kl, rewards):
        axes.set_xlim(limits["step"])
    for axes in (bars, kl, rewards):
        axes.locator_params(axis="x", nbins=4)  # nine tenths of a picture's bytes are its letters
    return figure


def _named(axes: Axes, value: float, name: str) -> None:
    """Write the name of a horizontal line on it, at its left end."""
    place = {"xycoords": axes.get_yaxis_transform(), "textcoords": "offset points", "xytext": (3, 2)}
    axes.annotate(name, (0, value), fontsize=8, **place)


def _samples_on(axes: Axes, samples: Sequence[tuple[str, float]]) -> None:
    """A line a sample: its true reward, and its words."""
    axes.axis("off")
    axes.set_title("samples, with $r^*$ in nats")
    for row, (text, reward) in enumerate(samples):
        height = 0.93 - 0.12 * row
        signed = f"{reward:+.2f}".replace("-", "−")
        axes.text(0.16, height, signed, ha="right", va="center", fontsize=9)
        words = axes.text(0.2, height, literally(text), va="center", fontsize=9)
        words.set_in_layout(False)  # a long sample would push the panels aside


def _in_words(
    prompt: str, responses: pd.DataFrame, distances: Mapping[int, float], samples: Sequence[tuple[str, float]]
) -> str:
    """The figure's alt text."""
    step, distance = list(distances.items())[-1]
    first = responses.iloc[0]
    said = "; ".join(f"{text} ({reward:.2f})" for text, reward in samples)
    return (
        f"After {step} steps: KL to the optimum is {distance:.3f} nats. To “{prompt}”, {first.name} has probability "
        f"{first['reference']:.3f} under the reference, {first['policy']:.3f} under the policy and "
        f"{first['optimum']:.3f} under π*. Samples, with their true rewards: {said}."
    )
