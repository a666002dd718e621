"""A training run that lives in a folder: progress bar, metrics as they come, figures, the final model; and resuming.

run.json                 what the run is: its settings, and digests of its models and data
metrics.jsonl            one record a step
checkpoint.safetensors   the last state, from which the same command goes on
*.png                    figures, at the end
model/                   the trained model and its tokenizer as save_pretrained writes them, last of all
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout
from matplotlib.figure import Figure
from safetensors import SafetensorError
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dpo_book import plots
from dpo_book.cli.options import OutputOptions
from dpo_book.system.files import replace_whole, write_text
from dpo_book.system.processes import all_agree, this_process
from dpo_book.system.provenance import data_digest, model_digest
from dpo_book.training.checkpoints import CheckpointError, Checkpoints, Identity, differences
from dpo_book.training.config import TrainConfig
from dpo_book.training.loop import Record

SHOWN = {"loss": "loss", "margin": "margins", "accuracy": "accuracies"}  # on the bar: by name, or as "rewards/..."


class RunError(ValueError):
    """A folder in which this run cannot be; the message says why."""


def identity_of(method: str, config: TrainConfig, model: PreTrainedModel, rows: Sequence, **more: object) -> Identity:
    """What decides a run's course: its settings, the model that it starts from and its data, and what is ``more``."""
    settings = {"method": method, **asdict(config)}
    return {**settings, "model": model_digest(model), "data": data_digest(rows), **more}


class Run:
    """A run in its folder. finished: its model is there. checkpoints: where its training goes on."""

    def __init__(self, output: OutputOptions, identity: Identity, finished: bool, writes: bool):
        self.finished = finished
        self._folder, self._writes, self._tensorboard = output.out, writes, output.tensorboard
        if not finished:
            self.checkpoints = Checkpoints(checkpoint_file(output.out), identity, output.checkpoint_every, writes)
            self._records = _kept_records(output.out / "metrics.jsonl", self.checkpoints.done) if writes else []

    def follow(self, training: Iterator[Record], steps: int, tokens_a_step: float) -> None:
        """Take a training of ``steps`` to its end, every record into metrics.jsonl, TensorBoard and the bar.

        tokens_a_step: for the bar alone, on average.
        """
        if not self._writes:
            for _ in training:
                pass
            return
        done = self.checkpoints.done
        with ExitStack() as stack:
            metrics = stack.enter_context(open(self._folder / "metrics.jsonl", "a", encoding="utf-8"))
            writer = _tensorboard(self._folder / "tensorboard", done, stack) if self._tensorboard else None
            bar = stack.enter_context(tqdm(total=steps, initial=done, unit="step", desc=self._folder.name))
            for record in training:
                metrics.write(json.dumps(record) + "\n")
                metrics.flush()
                if self.checkpoints.due(record["step"]):
                    os.fsync(metrics.fileno())  # no checkpoint may outlive the records before it
                self._records.append(record)
                for name in record if writer else ():
                    writer.add_scalar(name, record[name], record["step"])
                rate = bar.format_dict["rate"] or 0
                bar.set_postfix_str(_shown(record, tokens_a_step * rate), refresh=False)
                bar.update()

    def save(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        """The figures, then the trained model: the run is finished."""
        if not self._writes:
            return
        for name, figure in _figures(self._records).items():
            replace_whole(self._folder / f"{name}.png", partial(figure.savefig, format="png", dpi=150))
        save_model(model_folder(self._folder), model, tokenizer)


@contextmanager
def open_run(output: OutputOptions, identity: Identity) -> Iterator[Run]:
    """The run with this identity in its folder, for this command alone; a line says in the end where its model is.

    Of several processes, which all train, the first one writes. RunError, in each of them, if they have not the same
    run before them; see ``lock_folder`` for others.
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
        yield Run(output, identity, finished, writes=True)
    print(f"{folder} holds this run already, finished" if finished else f"the trained model is in {folder / 'model'}")


@contextmanager
def lock_folder(folder: Path, identity: Identity) -> Iterator[None]:
    """The folder of the run with this identity, for this process alone: made, or found as an earlier try left it.

    RunError, with nothing touched, where it is something else's or another run's.
    """
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder} is a file; a run needs a folder")
    about = folder / "run.json"
    if not about.exists() and _holds_something(folder):
        raise RunError(f"{folder} is not empty and holds no run: choose a new folder with --out")
    identity = json.loads(json.dumps(identity))  # as it reads after it was written
    if about.exists():
        _check_same_run(about, identity)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock", blocking=False):
            if not about.exists():
                write_text(about, json.dumps(identity, indent=2) + "\n")
            yield
    except Timeout:
        raise RunError(f"{folder} is being written by another process") from None


def _holds_something(folder: Path) -> bool:
    """Anything but what a run that was killed at its very start leaves."""
    return folder.exists() and any(path.name not in (".lock", "run.json.writing") for path in folder.iterdir())


def _check_same_run(about: Path, identity: Identity) -> None:
    try:
        differing = differences(json.loads(about.read_text(encoding="utf-8")), identity)
    except (ValueError, AttributeError) as error:
        raise RunError(f"{about} is damaged ({error}): choose a new folder with --out") from None
    if differing:
        raise RunError(f"{about.parent} holds another run: {differing}. Choose a new folder with --out")


def checkpoint_file(folder: Path) -> Path:
    return folder / "checkpoint.safetensors"


def model_folder(folder: Path) -> Path:
    return folder / "model"


def save_model(folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Model and tokenizer as ``save_pretrained`` writes them, in a folder that is there whole or not at all."""

    def write(scratch: Path) -> None:
        model.save_pretrained(scratch)
        tokenizer.save_pretrained(scratch)

    try:
        replace_whole(folder, write)
    except SafetensorError as error:
        raise CheckpointError(f"{folder} could not be saved; the last checkpoint is kept ({error})") from error


def _kept_records(path: Path, done: int) -> list[Record]:
    """The records up to the checkpoint, in which the file is cut; later ones will be written again."""
    lines = path.read_bytes().splitlines(keepends=True)[:done] if path.exists() else []
    try:
        records = [json.loads(line) for line in lines]
        whole = [record["step"] for record in records] == list(range(1, done + 1))
    except (ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        raise CheckpointError(
            f"{path} does not hold the records of steps 1 to {done}, up to which the checkpoint beside it goes: put "
            "the file back, or begin anew in a new folder"
        )
    if path.exists():
        os.truncate(path, sum(map(len, lines)))
    return records


def _shown(record: Record, tokens_a_second: float) -> str:
    parts = []
    for name, key in SHOWN.items():
        value = record.get(name, record.get(f"rewards/{key}"))
        if value is not None:
            parts.append(f"{name} {value:.3f}")
    return ", ".join([*parts, f"{tokens_a_second:,.0f} tokens/s"])


def _figures(records: list[Record]) -> Mapping[str, Figure]:
    if "rewards/margins" in records[0]:
        return {
            "reward_margins": plots.reward_margins(records),
            "log_probabilities": plots.log_probabilities({"policy": records}),
        }
    names = [name for name in ("loss", "accuracy", "margin", "grad_norm") if name in records[0]]
    return {"metrics": plots.learning_curves({"run": records}, names)}


def _tensorboard(folder: Path, done: int, stack: ExitStack):
    from torch.utils.tensorboard import SummaryWriter

    return stack.enter_context(SummaryWriter(folder, purge_step=done + 1))
