"""A training run that lives in a folder: progress bar, metrics as they come, the final model, figures; and resuming.

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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

from filelock import FileLock, Timeout
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dpo_book.cli import run_figures, run_report
from dpo_book.cli.config_file import Value, keep_options
from dpo_book.cli.eval_options import EvalSettings
from dpo_book.cli.evaluations import Evaluations, Look, measured, sweep_evaluations
from dpo_book.cli.models import Trainee
from dpo_book.cli.options import OutputOptions
from dpo_book.cli.run_model import damage_of, save_model
from dpo_book.cli.run_records import Records
from dpo_book.cli.trackers import Log, tensorboard, to_all, trackio
from dpo_book.data.facts import Facts
from dpo_book.system.devices import asked_or_best, describe
from dpo_book.system.files import FileError, read_object, remove, scratch_of, write_text
from dpo_book.system.processes import all_agree, this_process
from dpo_book.system.provenance import (
    config_digest,
    data_digest,
    model_digest,
    processor,
    tokenizer_digest,
    versions,
)
from dpo_book.training.checkpoints import Checkpoints, Identity, differences
from dpo_book.training.config import TrainConfig
from dpo_book.training.loop import Record

SHOWN = {"loss": "loss", "margin": "margins", "accuracy": "accuracies"}  # on the bar: by name, or as "rewards/..."
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


class Run:
    """A run in its folder. finished: its model is there. checkpoints: where its training goes on."""

    def __init__(self, output: OutputOptions, identity: Identity, finished: bool, writes: bool):
        self.finished = finished
        self._folder, self._writes, self._output, self._identity = output.out, writes, output, identity
        self._evaluations: Evaluations | None = None
        if finished:
            return
        self.checkpoints = Checkpoints(checkpoint_file(output.out), identity, output.checkpoint_every, writes)
        if writes:
            path, done = output.out / "metrics.jsonl", self.checkpoints.done
            self._records = Records(path, range(1, done + 1), self.checkpoints.records_digest)

    def watch(
        self,
        settings: EvalSettings,
        steps: int,
        trainee: Trainee,
        tokenizer: PreTrainedTokenizerBase,
        look: Look,
    ) -> None:
        """From now on ``follow`` has the trainee looked at between the steps: see ``Evaluations``."""
        checkpoints = self.checkpoints
        self._evaluations = Evaluations(self._folder, settings, steps, checkpoints, trainee, tokenizer, look)

    def follow(self, training: Iterator[Record], steps: int, tokens_a_step: float) -> None:
        """Take a training of ``steps`` to its end, every record into metrics.jsonl, trackers and the bar.

        tokens_a_step: for the bar alone, on average.
        """
        if not self._writes:
            for _ in self._watched(training):
                pass
            return
        done = self.checkpoints.done
        with ExitStack() as stack:
            log = self._trackers(stack)
            bar = stack.enter_context(tqdm(total=steps, initial=done, unit="step", desc=self._folder.name))
            for record in self._watched(training, log):
                step = record["step"]
                self._records.add(record, durable=self.checkpoints.due(step) or step == steps)
                self.checkpoints.records_digest = self._records.digest
                log(record, step)
                steps_a_second = bar.format_dict["rate"]  # None until the bar has seen two of them
                shown = _shown(record, steps_a_second and tokens_a_step * steps_a_second)
                if self._evaluations:
                    shown = f"{shown}, {self._evaluations.shown()}"
                bar.set_postfix_str(shown, refresh=False)
                bar.update()

    def _watched(self, training: Iterator[Record], log: Log | None = None) -> Iterator[Record]:
        return training if self._evaluations is None else self._evaluations.between(training, log)

    def _trackers(self, stack: ExitStack) -> Log:
        """What tells every tracker that was asked for, until the stack is left."""
        logs = []
        if self._output.tensorboard:
            logs.append(stack.enter_context(tensorboard(self._folder / "tensorboard", self.checkpoints.done)))
        if self._output.trackio is not None:
            before = [(record, record["step"]) for record in self._records.all]
            if self._evaluations:
                before += [(measured(row), row["step"]) for row in self._evaluations.rows]
            project = trackio(self._output.trackio, self._folder, self._identity, before)
            logs.append(stack.enter_context(project))
        return to_all(logs)

    def save(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        """The trained model, with which the run is finished; then the figures, of which none is worth a model."""
        if self._writes:
            save_model(model_folder(self._folder), model, tokenizer)
            if self._evaluations:
                rows, best = self._evaluations.rows, self._evaluations.best
                run_figures.draw(self._folder, self._records.all, rows, best["step"])
                print(self._evaluations.report())
            else:
                run_figures.draw(self._folder, self._records.all)
            run_report.try_to_write(self._folder)


@contextmanager
def open_run(output: OutputOptions, identity: Identity, given: Mapping[str, Value], facts: Facts) -> Iterator[Run]:
    """The run with this identity in its folder, for this command alone; a line says in the end where its model is.

    given, facts: the options, and what is to be said of the data, which the folder keeps when the run begins.

    Of several processes, which all train, the first one writes. RunError, in each of them, if they have not the same
    run before them; see ``lock_folder`` for others, and for a model that is there and not whole.
    """
    folder, checkpoint = output.out, checkpoint_file(output.out)
    finished = model_folder(folder).exists()
    if not all_agree((json.dumps(identity), finished, checkpoint.exists() and checkpoint.stat().st_size)):
        raise RunError(
            f"the processes do not have the same models and data, or not the same {folder}: it has to be on a disk "
            "that all of them see"
        )
    if this_process()[0] > 0:
        yield Run(output, identity, finished, writes=False)
        return
    with lock_folder(folder, identity):
        keep_options(_options_file(folder), identity["method"], given)
        _keep_facts(_data_file(folder), facts)
        if finished:
            _check_model(model_folder(folder))
            run_figures.draw_missing(folder)
            if not run_report.report_file(folder).exists():
                run_report.try_to_write(folder)
        else:
            _compare_versions(_about_file(folder))
        yield Run(output, identity, finished, writes=True)
    print(f"{folder} holds this run already, finished" if finished else f"the trained model is in {folder / 'model'}")


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
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock", blocking=False):
            if about.exists():
                _check_same_run(about, identity)  # another process may have been quicker
            else:
                begun = {**identity, BEGUN_WITH: _machinery(), MACHINE: _machine()}
                write_text(about, json.dumps(begun, indent=2) + "\n")
            sweep_evaluations(folder)
            written = (about, _options_file(folder), _data_file(folder), run_report.report_file(folder))
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


def _compare_versions(about: Path) -> None:
    """A warning, no more: other versions round otherwise, and who has upgraded may not lose what is done."""
    before, now = _read_about(about).get(BEGUN_WITH), _machinery()
    if before not in (None, now):
        warnings.warn(
            f"{about.parent} was begun with {before} and goes on with {now}: its numbers may end a little otherwise "
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


def _check_model(model: Path) -> None:
    if damage := damage_of(model):
        raise RunError(
            f"{model} is not as this run saved it ({damage}): move it away, and the same command saves it again"
        )


def _about_file(folder: Path) -> Path:
    return folder / "run.json"


def _keep_facts(path: Path, facts: Facts) -> None:
    if not path.exists():
        write_text(path, json.dumps(facts, indent=2) + "\n")


def _data_file(folder: Path) -> Path:
    return folder / "data.json"


def _options_file(folder: Path) -> Path:
    return folder / "run.toml"


def checkpoint_file(folder: Path) -> Path:
    return folder / "checkpoint.safetensors"


def model_folder(folder: Path) -> Path:
    return folder / "model"


def _shown(record: Record, tokens_a_second: float | None) -> str:
    """What the bar says of a record; nothing of a speed that nobody knows yet."""
    parts = []
    for name, key in SHOWN.items():
        value = record.get(name, record.get(f"rewards/{key}"))
        if value is not None:
            parts.append(f"{name} {value:.3f}")
    if tokens_a_second:
        parts.append(f"{tokens_a_second:,.0f} tokens/s")
    return ", ".join(parts)
