"""A run's evaluations: what held-out data say between its steps, its best model so far, and an early end.

evaluations.jsonl   one row an evaluation
samples.txt         the same prompts completed at every evaluation, to be read
best/               the best model so far, as model/, and its evaluation.json: by which measure, at which step
"""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from dpo_book.cli.eval_options import EvalSettings
from dpo_book.cli.models import Trainee
from dpo_book.cli.run_model import EVALUATION, damage_of, save_best
from dpo_book.cli.run_records import Records
from dpo_book.cli.trackers import Log
from dpo_book.evaluation.during_training import EvaluationError, undisturbed
from dpo_book.system.files import FileError, read_object, remove, scratch_of, settle, waiting_of, write_text
from dpo_book.system.processes import any_process, this_process
from dpo_book.training.checkpoints import CheckpointError, Checkpoints
from dpo_book.training.loop import Record

Row = dict[str, object]  # measures by name, flat, and samples
Look = Callable[[], Row]

SHOWN = {"loss": "loss", "accuracy": "accuracy", "kl": "KL"}  # on the bar, and how it is called there
LOWER_IS_BETTER = ("loss",)


class Evaluations:
    """What ``look`` finds at the start of a run, every so many steps and at its end.

    Where a checkpoint goes on, so do the rows: later ones are cut off, and come again. The best model may be ahead
    of it, and stays: what a later look is compared with is what is said beside the model, not a row. CheckpointError
    where the file or the best model is not as this run left it. Of several processes all look, and the first one
    decides.
    """

    def __init__(
        self,
        folder: Path,
        settings: EvalSettings,
        steps: int,
        checkpoints: Checkpoints,
        trainee: Trainee,
        tokenizer: PreTrainedTokenizerBase,
        look: Look,
    ):
        self._folder, self._settings, self._steps = folder, settings, steps
        self._checkpoints, self._trainee, self._tokenizer, self._look = checkpoints, trainee, tokenizer, look
        self._writes = this_process()[0] == 0
        self._due = {*range(0, steps + 1, settings.every), steps}
        self.stopped_at: int | None = None
        self._best: Row | None = None
        if self._writes:
            done = checkpoints.done
            seen = [] if done == 0 else [step for step in sorted(self._due) if step <= done]
            self._records = Records(folder / "evaluations.jsonl", seen, checkpoints.evaluations_digest)
            if seen:
                self._best = _read_best(best_folder(folder), settings.best_by)

    @property
    def rows(self) -> Sequence[Row]:
        """All so far, in the process that writes them."""
        return self._records.all

    @property
    def best(self) -> Row:
        """What was measured of the model in best/, as its evaluation.json says: the first than which none is better.

        In the process that writes, once the start was measured.
        """
        return self._best

    def between(self, training: Generator[Record], log: Log | None = None) -> Iterator[Record]:
        """The records of a training, which is looked at between them; it ends early where patience is at an end.

        It is looked at when a record is done with, and before the training keeps its state: no checkpoint is ahead
        of the evaluations.
        """
        if self._checkpoints.done == 0:
            self._evaluate(0, log)
        for record in training:
            yield record
            step = record["step"]
            if step in self._due:
                self._evaluate(step, log)
                if step < self._steps and any_process(self._writes and self._is_exhausted()):
                    self.stopped_at = step
                    training.close()  # or it would wait for its next step
                    return

    def shown(self) -> str:
        """The last evaluation, for the bar."""
        last = self.rows[-1]
        parts = [f"{SHOWN[name]} {last[name]:.3f}" for name in SHOWN if name in last]
        return f"held-out {', '.join(parts)}"

    def report(self) -> str:
        """What came of it, for the end of the run, in a line or two."""
        by, best, place = self._settings.best_by, self.best, best_folder(self._folder)
        said = f"the best by held-out {by}, {best[by]:.4g}, is the model of step {best['step']}, in {place}"
        if self.stopped_at is None:
            return said
        patience = self._settings.patience
        why = f"no better one in {patience} evaluation{'s' * (patience > 1)}"
        return f"stopped early at step {self.stopped_at} of {self._steps}, {why}\n{said}"

    def _evaluate(self, step: int, log: Log | None) -> None:
        try:
            with undisturbed(self._trainee.model):
                row = {"step": step, **self._look()}
        except EvaluationError as error:
            raise EvaluationError(f"step {step}: {error}") from error
        if any_process(self._writes and self._is_best(row)):
            self._keep(row)
        if self._writes:
            self._records.add(row, durable=True)
            self._checkpoints.evaluations_digest = self._records.digest
            if "samples" in row:
                write_text(samples_file(self._folder), samples_text(self.rows))
            if log:
                log(measured(row), step)

    def _keep(self, row: Row) -> None:
        model = self._trainee.so_far()
        if self._writes:
            numbers = {name: value for name, value in row.items() if name != "samples"}
            about = {"best_by": self._settings.best_by, **numbers}
            save_best(best_folder(self._folder), model, self._tokenizer, about)
            self._best = about

    def _is_best(self, row: Row) -> bool:
        return self._best is None or self._goodness(row) > self._goodness(self._best)

    def _is_exhausted(self) -> bool:
        if self._settings.patience is None:
            return False
        since = [row for row in self.rows if row["step"] > self._best["step"]]
        return len(since) >= self._settings.patience

    def _goodness(self, row: Row) -> float:
        value = row[self._settings.best_by]
        return -value if self._settings.best_by in LOWER_IS_BETTER else value


def measured(row: Row) -> dict[str, float]:
    """The numbers of an evaluation, as trackers get them."""
    return {f"held-out/{name}": value for name, value in row.items() if isinstance(value, float)}


def _read_best(best: Path, by: str) -> Row:
    """What is said of the best model, which has to be whole."""
    try:
        damage = damage_of(best)
        about = {} if damage else read_object(best / EVALUATION)
    except FileError as error:
        damage = f"{EVALUATION}: {error}"
    if damage is None and not about.keys() >= {"step", by}:
        damage = f"{EVALUATION} does not say its step and {by}"
    if damage:
        raise CheckpointError(
            f"{best} is not as this run saved it ({damage}). Put it back, or begin anew in a new folder"
        )
    return about


def best_folder(folder: Path) -> Path:
    return folder / "best"


def samples_file(folder: Path) -> Path:
    return folder / "samples.txt"


def sweep_evaluations(folder: Path) -> None:
    """End, or take away, what a try that was killed was about to write."""
    best = best_folder(folder)
    settle(best)
    for path in (waiting_of(best), samples_file(folder)):
        remove(scratch_of(path))


def samples_text(rows: Sequence[Mapping[str, object]]) -> str:
    """Every prompt with its completion at each evaluation, to be read down the page."""
    parts = []
    for number, first in enumerate(rows[0]["samples"]):
        parts.append(f"=== {first['prompt']}\n")
        for row in rows:
            parts.append(f"--- step {row['step']}\n{row['samples'][number]['completion']}\n")
    return "\n".join(parts)
