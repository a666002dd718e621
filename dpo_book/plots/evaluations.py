"""A run beside its held-out data: what training shows of its own rows, and what rows that it never saw say."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dpo_book.plots.style import POLICY, REFERENCE, SHADES, column, error_bars, new_figure, smooth, styled

Rows = Sequence[Mapping[str, float]]
UNITS = {
    "loss": "nats",
    "accuracy": "share of pairs",
    "margin": "nats",
    "kl": r"KL($\pi_\theta \Vert \pi_{ref}$), nats",
}
IN_RECORDS = {"accuracy": "rewards/accuracies", "margin": "rewards/margins"}  # where a method has TRL's names


@styled
def training_beside_held_out(records: Rows, evaluations: Rows, best_step: int) -> Figure:
    """Loss, accuracy, margin and KL by step, such of them as were measured; held-out ones with 95 % intervals.

    records: one a step of training, a running mean of which is drawn. evaluations: rows of a run's
    evaluations.jsonl. best_step: at which the best of them was measured, a grey line.
    """
    names = [name for name in UNITS if name in evaluations[0]]
    last = ", ".join(f"{name} {evaluations[-1][name]:.3g}" for name in names)
    alt = f"By step, in training and on held-out data; the best is at step {best_step}. Held-out in the end: {last}."
    figure, panels = new_figure(2.9, len(names), alt)
    for axes, name in zip(panels, names, strict=True):
        _training(axes, records, name)
        _held_out(axes, evaluations, name)
        axes.axvline(best_step, color=REFERENCE, linewidth=1.2, zorder=0, label="best")
        axes.set(xlabel="step", ylabel=UNITS[name], title="drift" if name == "kl" else name)
    panels[0].legend(loc="best")
    return figure


def _training(axes: Axes, records: Rows, name: str) -> None:
    """A line, where the records have this measure."""
    name = name if name in records[0] else IN_RECORDS.get(name, name)
    if name in records[0]:
        values = smooth(column(records, name))
        axes.plot(column(records, "step"), values, ":", color=SHADES[2], linewidth=2, label="training")


def _held_out(axes: Axes, evaluations: Rows, name: str) -> None:
    value = column(evaluations, name)
    errors = error_bars(value, column(evaluations, f"{name}_low"), column(evaluations, f"{name}_high"))
    look = {"color": POLICY, "marker": "o", "markersize": 4, "elinewidth": 1, "capsize": 2}
    axes.errorbar(column(evaluations, "step"), value, yerr=errors, label="held-out", **look)
