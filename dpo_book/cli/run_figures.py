"""A run's figures: looks, on which no run depends. What cannot be drawn or written is a warning."""

import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from dpo_book import plots
from dpo_book.cli.run_records import read_records
from dpo_book.system.files import replace_whole
from dpo_book.training.loop import Record

COMPARED = ("reward_margins.png", "log_probabilities.png")  # of a run that has a reference
OTHERS = ("metrics.png",)
CURVES = ("loss", "accuracy", "margin", "grad_norm")  # such of them as a method has


def draw(folder: Path, records: Sequence[Record]) -> None:
    """The figures of a run with these ``records``, into its folder."""
    for name in _names(records):
        _try_to_draw(folder / name, records)


def files(folder: Path) -> list[Path]:
    """Where the figures of any run are."""
    return [folder / name for name in (*COMPARED, *OTHERS)]


def draw_missing(folder: Path) -> None:
    """What a finished run lacks that was killed right after its model was saved."""
    if any(path.exists() for path in files(folder)):
        return
    try:
        records = read_records(folder / "metrics.jsonl")
    except (OSError, ValueError, RecursionError) as error:
        _warn(folder / "metrics.jsonl", "read, so no figure is drawn", error)
        return
    draw(folder, records)


def _names(records: Sequence[Record]) -> tuple[str, ...]:
    return COMPARED if "rewards/margins" in records[0] else OTHERS


def _try_to_draw(path: Path, records: Sequence[Record]) -> None:
    try:
        figure = _figure(path.name, records)
        replace_whole(path, partial(Path.write_bytes, data=plots.png(figure)))
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
