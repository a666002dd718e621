"""A run's figures: looks, on which no run depends. What cannot be drawn or written is a warning."""

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from dpo_book import plots
from dpo_book.cli.run_model import EVALUATION
from dpo_book.cli.run_records import read_records, read_rows
from dpo_book.system.files import read_object, replace_whole
from dpo_book.training.loop import Record

COMPARED = ("reward_margins.png", "log_probabilities.png")  # of a run that has a reference
OTHERS = ("metrics.png",)
EVALUATED = "evaluations.png"  # of a run with held-out data
ALT = {  # what each shows, for who cannot see it
    "reward_margins.png": (
        "Left: implicit rewards of chosen and rejected completions and their margin, in nats, by step. Right: the "
        "share of pairs that are ranked right, by step."
    ),
    "log_probabilities.png": "Log-probabilities of chosen and rejected completions, in nats, by step.",
    "metrics.png": "The training's loss and other measures, by step.",
    EVALUATED: "Measures by step, in training and on held-out data with 95 % intervals; a line marks the best step.",
}
CURVES = ("loss", "accuracy", "margin", "grad_norm")  # such of them as a method has


def draw(folder: Path, records: Sequence[Record], rows: Sequence[Record] = (), best_step: int = 0) -> None:
    """The figures of a run with these ``records``, into its folder; see ``all_figures``."""
    for name, draw_one in all_figures(records, rows, best_step).items():
        _try_to_draw(folder / name, draw_one)


def all_figures(records: Sequence[Record], rows: Sequence[Record], best_step: int) -> dict[str, Callable[[], Figure]]:
    """What draws each figure of a run, by its file's name. rows: its evaluations, or none."""
    figures: dict[str, Callable[[], Figure]] = {name: partial(_figure, name, records) for name in _names(records)}
    if rows:
        figures[EVALUATED] = partial(plots.training_beside_held_out, records, rows, best_step)
    return figures


def files(folder: Path) -> list[Path]:
    """Where the figures of any run are."""
    return [folder / name for name in (*COMPARED, *OTHERS, EVALUATED)]


def draw_missing(folder: Path) -> None:
    """What a finished run lacks that was killed right after its model was saved."""
    if any(path.exists() for path in files(folder)):
        return
    try:
        records = read_records(folder / "metrics.jsonl")
        best = folder / "best" / EVALUATION
        rows = read_rows(folder / "evaluations.jsonl") if best.exists() else []
        best_step = read_object(best)["step"] if rows else 0
    except (OSError, ValueError, RecursionError, KeyError) as error:
        _warn(folder / "metrics.jsonl", "read, so no figure is drawn", error)
        return
    draw(folder, records, rows, best_step)


def _names(records: Sequence[Record]) -> tuple[str, ...]:
    return COMPARED if "rewards/margins" in records[0] else OTHERS


def _try_to_draw(path: Path, draw: Callable[[], Figure]) -> None:
    try:
        replace_whole(path, partial(Path.write_bytes, data=plots.png(draw())))
    except Exception as error:
        _warn(path, "made", error)


def _figure(name: str, records: Sequence[Record]) -> Figure:
    if name == "reward_margins.png":
        return plots.reward_margins(records)
    if name == "log_probabilities.png":
        return plots.log_probabilities({"policy": records})
    return plots.learning_curves({"run": records}, [name for name in CURVES if name in records[0]])


def _warn(path: Path, done: str, error: Exception) -> None:
    said = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
    warnings.warn(f"{path} could not be {done} ({said}); the trained model is saved", stacklevel=3)
