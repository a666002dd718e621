"""A training run that lives in a folder: progress bar, metrics as they come, figures, the final model; and resuming.

run.json                 what the run is: its settings, and digests of its models and data
metrics.jsonl            one record a step
checkpoint.safetensors   the last state, from which the same command goes on
*.png                    figures, at the end
model/                   the trained model and its tokenizer as save_pretrained writes them, last of all
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from matplotlib.figure import Figure
from safetensors import SafetensorError
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dpo_book import plots
from dpo_book.system.files import remove, replace_whole, write_text
from dpo_book.system.processes import all_agree, this_process
from dpo_book.training.checkpoints import CheckpointError, Checkpoints, Identity, differences
from dpo_book.training.loop import Record

SHOWN = {"loss": "loss", "margin": "margins", "accuracy": "accuracies"}  # on the bar: by name, or as "rewards/..."


class RunError(ValueError):
    """A folder in which this run cannot be; the message says why."""


@contextmanager
def run_folder(out: Path, identity: Identity) -> Iterator[Path]:
    """The folder of the run with this identity, for this process alone: made, or found as an earlier try left it.

    RunError, with nothing touched, where ``out`` is something else's or another run's.
    """
    if out.exists() and not out.is_dir():
        raise RunError(f"{out} is a file; a run needs a folder")
    ours = out / "run.json"
    there = [path for path in out.iterdir() if path.name not in (".lock", "run.json.writing")] if out.exists() else []
    if there and not ours.exists():
        raise RunError(f"{out} is not empty and holds no run: choose a new folder with --out")
    identity = json.loads(json.dumps(identity))
    if ours.exists():
        try:
            earlier = json.loads(ours.read_text(encoding="utf-8"))
            differing = differences(earlier, identity)
        except (ValueError, AttributeError) as error:
            raise RunError(f"{ours} is damaged ({error}): choose a new folder with --out") from None
        if differing:
            raise RunError(f"{out} holds another run: {differing}. Choose a new folder with --out")
    out.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(out / ".lock", blocking=False):
            if not ours.exists():
                write_text(ours, json.dumps(identity, indent=2) + "\n")
            yield out
    except Timeout:
        raise RunError(f"{out} is being written by another process") from None


def carry_out(
    out: Path,
    identity: Identity,
    start: Callable[[Checkpoints], Iterator[Record]],
    steps: int,
    trained: Callable[[], PreTrainedModel],
    tokenizer: PreTrainedTokenizerBase,
    tokens_a_step: float,
    checkpoint_every: int = 100,
    tensorboard: bool = False,
) -> bool:
    """Run ``start(checkpoints)``, a training of ``steps``, to its end in the folder ``out``, and save ``trained()``.

    A run that was stopped goes on from its checkpoint; one that is finished is left alone, and False returned.
    Of several processes, which all train, the first one writes. tokens_a_step: for the bar alone, on average.
    RunError, in each of them, if they have not the same run before them.
    """
    checkpoint, finished = out / "checkpoint.safetensors", (out / "model").exists()
    if not all_agree((json.dumps(identity), finished, checkpoint.exists() and checkpoint.stat().st_size)):
        raise RunError(
            f"the processes do not have the same models and data, or not the same {out}: it has to be on a disk that "
            "all of them see"
        )
    if this_process()[0] > 0:
        if not finished:
            for _ in start(Checkpoints(checkpoint, identity, checkpoint_every, writes=False)):
                pass
            trained()
        return False
    with run_folder(out, identity):
        if finished:
            return False
        checkpoints = Checkpoints(checkpoint, identity, checkpoint_every)
        records = _kept_records(out / "metrics.jsonl", checkpoints.done)
        writer = _tensorboard(out / "tensorboard", checkpoints.done) if tensorboard else None
        training = start(checkpoints)  # before the bar, for the reference may run first and has its own
        with (
            open(out / "metrics.jsonl", "a", encoding="utf-8") as metrics,
            tqdm(total=steps, initial=checkpoints.done, unit="step", desc=out.name) as bar,
        ):
            for record in training:
                metrics.write(json.dumps(record) + "\n")
                metrics.flush()
                if checkpoints.due(record["step"]):
                    os.fsync(metrics.fileno())  # no checkpoint may outlive the records before it
                records.append(record)
                bar.set_postfix_str(_shown(record, tokens_a_step * (bar.format_dict["rate"] or 0)), refresh=False)
                bar.update()
                for name in record if writer else ():
                    writer.add_scalar(name, record[name], record["step"])
        if writer:
            writer.close()
        for name, figure in _figures(records).items():
            save = lambda scratch, figure=figure: figure.savefig(scratch, format="png", dpi=150)
            replace_whole(out / f"{name}.png", save)
        save_model(out / "model", trained(), tokenizer)
        return True


def save_model(folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Model and tokenizer as ``save_pretrained`` writes them, in a folder that is there whole or not at all."""

    def write(scratch: Path) -> None:
        remove(scratch)  # of a try that was killed
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
    values = {name: record.get(name, record.get(f"rewards/{key}")) for name, key in SHOWN.items()}
    parts = [f"{name} {value:.3f}" for name, value in values.items() if value is not None]
    return ", ".join([*parts, f"{tokens_a_second:,.0f} tokens/s"])


def _figures(records: list[Record]) -> Mapping[str, Figure]:
    if "rewards/margins" in records[0]:
        return {
            "reward_margins": plots.reward_margins(records),
            "log_probabilities": plots.log_probabilities({"policy": records}),
        }
    names = [name for name in ("loss", "accuracy", "margin", "grad_norm") if name in records[0]]
    return {"metrics": plots.learning_curves({"run": records}, names)}


def _tensorboard(folder: Path, done: int):
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise RunError('--tensorboard needs an extra package: pip install "dpo-book[tensorboard]"') from None
    return SummaryWriter(folder, purge_step=done + 1)
