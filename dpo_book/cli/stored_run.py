"""A training run as its folder tells it, finished or not: read, and checked to be what a run writes.

Light: nothing here imports torch.
"""

import json
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from dpo_book.system.files import FileError, read_object
from dpo_book.training.config import RewardConfig, SFTConfig
from dpo_book.training.dpo_config import DPOConfig

CONFIGS = {"sft": SFTConfig, "reward": RewardConfig, "dpo": DPOConfig}
REWARDS = ("rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies")
MEASURED = {  # in every record of a method
    "sft": ("loss",),
    "reward": ("loss", "accuracy", "margin"),
    "dpo": ("loss", *REWARDS, "logps/chosen", "logps/rejected"),
}
HELD_OUT = ("loss", "accuracy", "margin", "kl")  # in an evaluation, where they were measured, with their intervals
LENGTHS = ("prompt_tokens", "chosen_tokens", "rejected_tokens", "completion_tokens")
Row = dict[str, object]


class StoredRunError(ValueError):
    """A folder holds no training run, or a file of it is not as a run writes it; the message names it."""


class StoredRun(NamedTuple):
    """about: run.json. options: run.toml. data: data.json. records, evaluations: rows of their files.

    best: what best/evaluation.json says. options, data, evaluations, best: empty where the run has none.
    """

    folder: Path
    about: Row
    options: Row
    data: Row
    records: list[Row]
    evaluations: list[Row]
    best: Row
    finished: bool


def read_run(folder: Path) -> StoredRun:
    """All of it but models and figures. StoredRunError as above, and where no step is recorded yet."""
    about = _about(folder)
    records = _checked(folder / "metrics.jsonl", _records)
    if not records:
        raise StoredRunError(f"{folder} holds a run of which no step is recorded yet: there is nothing to report")
    for name in MEASURED[about["method"]]:
        _require(folder / "metrics.jsonl", name, name in records[0])
    evaluations = _checked(folder / "evaluations.jsonl", _evaluations) or []
    best = _checked(folder / "best" / "evaluation.json", _best) if evaluations else None
    return StoredRun(
        folder,
        about,
        options=_checked(folder / "run.toml", _toml) or {},
        data=_checked(folder / "data.json", _data) or {},
        records=records,
        evaluations=evaluations,
        best=best or {},
        finished=(folder / "model").exists(),
    )


def _about(folder: Path) -> Row:
    path = folder / "run.json"
    if not path.is_file():
        raise StoredRunError(f"{folder} holds no training run: there is no run.json. Name the --out of one")
    about = _checked(path, read_object)
    method = about.get("method")
    if method not in CONFIGS:
        raise StoredRunError(f"{folder} holds no training run by sft, reward or dpo: {path.name} is another's")
    for name in ("steps", "batch_size"):
        _require(path, name, isinstance(about.get(name), int) and about[name] > 0)
    if method == "dpo":
        _require(path, "beta", _is_number(about.get("beta")) and about["beta"] > 0)
        _require(path, "loss", isinstance(about.get("loss", "dpo"), str))
    return about


def _checked(path: Path, read: Callable[[Path], Row | list[Row]]) -> Row | list[Row] | None:
    """What a file holds; None where there is none."""
    if not path.exists():
        return None
    try:
        return read(path)
    except OSError as error:
        raise StoredRunError(f"{path}: {error.strerror or error}") from None
    except RecursionError:
        raise StoredRunError(f"{path} is damaged (it is nested too deeply)") from None
    except (FileError, ValueError) as error:
        raise StoredRunError(f"{path} is damaged ({error})") from None


def _require(path: Path, name: str, holds: bool) -> None:
    if not holds:
        raise StoredRunError(f"{path} is damaged (its {name} is not what a run writes)")


def _toml(path: Path) -> Row:
    return tomllib.loads(path.read_text(encoding="utf-8"))


def _records(path: Path) -> list[Row]:
    """From step 1 on, each with the same measures."""
    rows = _rows(path)
    for number, row in enumerate(rows, start=1):
        if row.get("step") != number or row.keys() != rows[0].keys():
            raise FileError(f"line {number} is not the record of step {number}")
        _check_numbers(number, row)
    return rows


def _evaluations(path: Path) -> list[Row]:
    rows = _rows(path)
    for number, row in enumerate(rows, start=1):
        measures = {name: value for name, value in row.items() if name != "samples"}
        if row.keys() != rows[0].keys() or not isinstance(row.get("step"), int) or "loss" not in row:
            raise FileError(f"line {number} is no evaluation, or not of the same measures as the first")
        _check_numbers(number, measures)
        for name in HELD_OUT:
            if name in row and not {f"{name}_low", f"{name}_high"} <= row.keys():
                raise FileError(f"line {number} has no interval of {name}")
        samples = row.get("samples", [])
        if not isinstance(samples, list) or len(samples) != len(rows[0].get("samples", [])):
            raise FileError(f"line {number} has not as many samples as the first")
        for sample in samples:
            if not isinstance(sample, dict) or not _has_texts(sample, "prompt", "completion"):
                raise FileError(f"line {number} has a sample without prompt or completion")
    return rows


def _rows(path: Path) -> list[Row]:
    """Objects, one a line; a last line that is only being written is left out."""
    lines = path.read_bytes().splitlines(keepends=True)
    rows = [json.loads(line) for line in lines if line.endswith(b"\n")]
    if not all(isinstance(row, dict) for row in rows):
        raise FileError("a line is no object")
    return rows


def _best(path: Path) -> Row:
    best = read_object(path)
    if not isinstance(best.get("step"), int) or not _has_texts(best, "best_by"):
        raise FileError("it does not say its step and best_by")
    return best


def _data(path: Path) -> Row:
    data = read_object(path)
    counts = {name: value for name, value in data.items() if name not in (*LENGTHS, "most_tokens")}
    needed = ("rows", "prompts", "completions", "cut")
    if not counts.keys() >= set(needed) or not all(isinstance(count, int) for count in counts.values()):
        raise FileError(f"it does not count {', '.join(needed)}")
    if data["rows"] < 1 or not isinstance(data.get("most_tokens"), int | None):
        raise FileError("its rows or most_tokens are no number of them")
    for name in LENGTHS:
        lengths = data.get(name, {"mean": 0.0})
        if not isinstance(lengths, dict) or not _is_number(lengths.get("mean")):
            raise FileError(f"its {name} have no mean")
        _check_numbers(name, lengths)
    if "chosen_longer" in data and not {"chosen_tokens", "rejected_tokens"} <= data.keys():
        raise FileError("it lacks the lengths of chosen or rejected")
    return data


def _check_numbers(place: object, row: Mapping[str, object]) -> None:
    for name, value in row.items():
        if not _is_number(value):
            raise FileError(f"{name} of {place} is no number")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _has_texts(row: Mapping[str, object], *names: str) -> bool:
    return all(isinstance(row.get(name), str) for name in names)
