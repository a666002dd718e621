"""A training run in its folder: progress bar, metrics as they come, the final model, figures; and resuming.

``run_folder.py`` says what the folder holds, and whose it is.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dpo_book.cli import run_figures, run_report
from dpo_book.cli.config_file import Value, keep_options
from dpo_book.cli.eval_options import EvalSettings
from dpo_book.cli.evaluations import Evaluations, Look, measured
from dpo_book.cli.models import Trainee
from dpo_book.cli.options import OutputOptions
from dpo_book.cli.run_folder import (
    RunError,
    checkpoint_file,
    compare_versions,
    data_file,
    lock_folder,
    model_folder,
    options_file,
)
from dpo_book.cli.run_model import damage_of, save_model
from dpo_book.cli.run_records import Records
from dpo_book.cli.trackers import Log, tensorboard, to_all, trackio
from dpo_book.data.facts import Facts
from dpo_book.system.files import write_text
from dpo_book.system.processes import all_agree, this_process
from dpo_book.training.checkpoints import Checkpoints, Identity
from dpo_book.training.loop import Record

SHOWN = {"loss": "loss", "margin": "margins", "accuracy": "accuracies"}  # on the bar: by name, or as "rewards/..."


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
        keep_options(options_file(folder), identity["method"], given)
        _keep_facts(data_file(folder), facts)
        if finished:
            _check_model(model_folder(folder))
            run_figures.draw_missing(folder)
            if not run_report.report_file(folder).exists():
                run_report.try_to_write(folder)
        else:
            compare_versions(folder)
        yield Run(output, identity, finished, writes=True)
    print(f"{folder} holds this run already, finished" if finished else f"the trained model is in {folder / 'model'}")


def _keep_facts(path: Path, facts: Facts) -> None:
    if not path.exists():
        write_text(path, json.dumps(facts, indent=2) + "\n")


def _check_model(model: Path) -> None:
    if damage := damage_of(model):
        raise RunError(
            f"{model} is not as this run saved it ({damage}): move it away, and the same command saves it again"
        )


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
