"""The one training loop: batches in, a record of metrics a step out. It knows nothing of methods.

A batch's loss is a sum over parts, micro-batches on each of some processes, so that neither how much fits into
memory nor how many machines there are changes what is computed, only its rounding.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial

import torch
from transformers import PreTrainedModel

from dpo_book.data.batches import batches_by_length, in_parts
from dpo_book.models.recomputed import recomputed, require_blocks
from dpo_book.system.processes import this_process
from dpo_book.training.checkpoints import Checkpoints
from dpo_book.training.config import OfflineConfig
from dpo_book.training.updates import Measured, Update, Updates

Record = dict[str, float]


def train(
    policy: PreTrainedModel,
    lengths: Sequence[int],
    loss_of: Callable[[list[int]], Measured],
    config: OfflineConfig,
    checkpoints: Checkpoints | None,
    weights: Sequence[float] | None = None,
) -> Iterator[Record]:
    """Train ``policy`` in place on batches of like ``lengths``, and yield a record of metrics a step.

    loss_of: the loss of some rows, their mean weighted by ``weights`` (all alike by default), and metrics that
    are plain means over them. checkpoints: where to go on, and to keep the state. ValueError, at once, for a policy
    whose blocks cannot be computed again where they are to be.
    """
    if config.gradient_checkpointing:
        require_blocks(policy)
    return _steps(policy, lengths, loss_of, config.counted(len(lengths)), checkpoints, weights or [1] * len(lengths))


def _steps(
    policy: PreTrainedModel,
    lengths: Sequence[int],
    loss_of: Callable[[list[int]], Measured],
    config: OfflineConfig,
    checkpoints: Checkpoints | None,
    weights: Sequence[float],
) -> Iterator[Record]:
    policy.eval()  # dropout off: log π must be a function of (x, y), not a draw
    updates = Updates(policy, config, config.steps)
    done = checkpoints.restore(updates) if checkpoints else 0
    batches = itertools.islice(batches_by_length(lengths, config.batch_size, config.seed), done, None)

    with recomputed(policy) if config.gradient_checkpointing else nullcontext():
        for step in range(done + 1, config.steps + 1):
            parts = parts_of(next(batches), loss_of, weights, config.micro_batch_size)
            yield record_of(step, updates.apply(step, *parts))
            if checkpoints and checkpoints.due(step) and step < config.steps:
                checkpoints.save(updates)
        updates.check(config.steps, *parts_of(next(batches), loss_of, weights, config.micro_batch_size))
    if checkpoints:
        checkpoints.save(updates)


def record_of(step: int, update: Update) -> Record:
    measured = {"loss": update.loss, **update.metrics, "grad_norm": update.grad_norm}
    values = torch.stack([value.float() for value in measured.values()]).tolist()  # one wait for the device
    return {"step": step, **dict(zip(measured, values, strict=True)), "learning_rate": update.learning_rate}


def rows_reached(lengths: Sequence[int], config: OfflineConfig) -> list[int]:
    """Which rows ``train`` comes by, in rising order: those of its steps, and of the look after the last one."""
    config = config.counted(len(lengths))
    reached: set[int] = set()
    for batch in itertools.islice(batches_by_length(lengths, config.batch_size, config.seed), config.steps + 1):
        reached.update(batch)
        if len(reached) == len(lengths):
            break
    return sorted(reached)


def parts_of(
    batch: list[int], loss_of: Callable[[list[int]], Measured], weights: Sequence[float], size: int | None
) -> list[Callable[[], Measured]]:
    """What a batch's loss and metrics are the sums of: micro-batches of ``size`` of this process's rows.

    Every so-manieth row is a process's own: rows of a batch come in order of length, so all have as much to do.
    All have equally many parts, for they compute them together; one with fewer rows fills up with parts that count
    nothing.
    """
    index, processes = this_process()
    total = sum(weights[i] for i in batch)

    def part(rows: list[int]) -> Measured:
        return _scaled(loss_of(rows), sum(weights[i] for i in rows) / total, len(rows) / len(batch))

    def idle() -> Measured:
        return _scaled(loss_of(batch[:1]), 0, 0)

    most = len(batch[::processes])  # the first process's rows; no other has more
    size = size or most
    parts = [partial(part, rows) for rows in in_parts(batch[index::processes], size)]
    return parts + [idle] * (math.ceil(most / size) - len(parts))


def _scaled(measured: Measured, loss_share: float, metrics_share: float) -> Measured:
    loss, metrics = measured
    return loss * loss_share, {name: value * metrics_share for name, value in metrics.items()}
