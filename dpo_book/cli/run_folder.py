"""The folder of a run: what it holds, which run that is, and that no other one and no other process writes into it.

run.json                 what the run is: its settings, and digests of its models, tokenizer and data
run.toml                 the options that it was begun with, for --config
data.json                what it trains on, in numbers
metrics.jsonl            one record a step
checkpoint.safetensors   the last state, from which the same command goes on
model/                   the trained model and its tokenizer as save_pretrained writes them, and a manifest
*.png                    figures
report.html              all of it on a page, last of all

And what ``evaluations.py`` keeps, where there are held-out data.
"""

import datetime
import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from filelock import FileLock, Timeout
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dpo_book.cli import run_figures, run_report
from dpo_book.cli.evaluations import sweep_evaluations
from dpo_book.system.devices import asked_or_best, describe
from dpo_book.system.files import FileError, make_folder, read_object, remove, scratch_of, write_text
from dpo_book.system.provenance import (
    config_digest,
    data_digest,
    model_digest,
    processor,
    tokenizer_digest,
    versions,
)
from dpo_book.training.checkpoints import Identity, differences
from dpo_book.training.config import TrainConfig

BEGUN_WITH, MACHINE = "begun_with", "machine"  # in run.json, and no part of the identity
ELSEWHERE = "choose a new folder with --out"


class RunError(ValueError):
    """A folder in which this run cannot be; the message says why."""


def identity_of(
    method: str,
    config: TrainConfig,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence,
    date: datetime.date,
    **more: object,
) -> Identity:
    """What decides a run's course and what it leaves: its settings, the model that it starts from, and its data.

    tokenizer: is saved with the model. date: when the run was begun, see ``begun_on``. more: what else counts.
    """
    identity = {
        "method": method,
        **asdict(config),
        "model": model_digest(model),
        "tokenizer": tokenizer_digest(tokenizer),
        "data": data_digest(rows),
        "date": date.isoformat(),
    }
    if generation := getattr(model, "generation_config", None):
        identity["generation_config"] = config_digest(generation)
    return {**identity, **more}


def begun_on(folder: Path) -> datetime.date:
    """The day on which the run in this folder was begun, today if there is none: chat templates may print it.

    It has to be part of the run's identity, as ``date``. RunError for a run.json that is damaged.
    """
    about = _about_file(folder)
    kept = _read_about(about).get("date") if about.exists() else None
    if kept is None:
        return datetime.date.today()
    try:
        return datetime.date.fromisoformat(kept)
    except (TypeError, ValueError):
        raise RunError(f"{about} is damaged (its date is {kept!r}, not such as 2026-01-31): {ELSEWHERE}") from None


@contextmanager
def lock_folder(folder: Path, identity: Identity) -> Iterator[None]:
    """The folder of the run with this identity, for this process alone: made, or found as an earlier try left it.

    RunError, with nothing touched, where it is something else's or another run's. What a try that was killed was
    about to write is swept away.
    """
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder} is a file; a run needs a folder")
    about = _about_file(folder)
    if not about.exists() and _holds_something(folder):
        raise RunError(f"{folder} is not empty and holds no run: {ELSEWHERE}")
    identity = json.loads(json.dumps(identity))  # as it reads after it was written
    if about.exists():
        _check_same_run(about, identity)
    make_folder(folder)
    try:
        with FileLock(folder / ".lock", blocking=False):
            if about.exists():
                _check_same_run(about, identity)  # another process may have been quicker
            else:
                begun = {**identity, BEGUN_WITH: _machinery(), MACHINE: _machine()}
                write_text(about, json.dumps(begun, indent=2) + "\n")
            sweep_evaluations(folder)
            written = (about, options_file(folder), data_file(folder), run_report.report_file(folder))
            for path in (*written, checkpoint_file(folder), model_folder(folder), *run_figures.files(folder)):
                remove(scratch_of(path))
            yield
    except Timeout:
        raise RunError(f"{folder} is being written by another process") from None


def _holds_something(folder: Path) -> bool:
    """Anything but what a run that was killed at its very start leaves."""
    passing = (".lock", scratch_of(_about_file(folder)).name)
    return folder.exists() and any(path.name not in passing for path in folder.iterdir())


def _read_about(about: Path) -> dict:
    try:
        return read_object(about)
    except FileError as error:
        raise RunError(f"{about} is damaged ({error}): {ELSEWHERE}") from None


def _check_same_run(about: Path, identity: Identity) -> None:
    there = _read_about(about)
    for name in (BEGUN_WITH, MACHINE):
        there.pop(name, None)
    if differing := differences(there, identity):
        raise RunError(f"{about.parent} holds another run: {differing}. Choose a new folder with --out")


def compare_versions(folder: Path) -> None:
    """A warning, no more: other versions round otherwise, and who has upgraded may not lose what is done."""
    before, now = _read_about(_about_file(folder)).get(BEGUN_WITH), _machinery()
    if before not in (None, now):
        warnings.warn(
            f"{folder} was begun with {before} and goes on with {now}: its numbers may end a little otherwise "
            "than in one go",
            stacklevel=3,
        )


def _machinery() -> str:
    """What rounds a run's numbers, and does not decide which they are."""
    return f"{versions()}, {asked_or_best().type.upper()}"


def _machine() -> str:
    """Where it began; it may go on elsewhere."""
    device = asked_or_best()
    return processor() if device.type == "cpu" else describe(device)


def _about_file(folder: Path) -> Path:
    return folder / "run.json"


def data_file(folder: Path) -> Path:
    return folder / "data.json"


def options_file(folder: Path) -> Path:
    return folder / "run.toml"


def checkpoint_file(folder: Path) -> Path:
    return folder / "checkpoint.safetensors"


def model_folder(folder: Path) -> Path:
    return folder / "model"
