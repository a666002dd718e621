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

from dpo_book.data.batches import BatchOrder, in_parts
from dpo_book.models.recomputed import recomputed, require_blocks
from dpo_book.system.processes import this_process
from dpo_book.training.checkpoints import Checkpoints
from dpo_book.training.config import OfflineConfig
from dpo_book.training.updates import Measured, Update, Updates

Record = dict[str, float]


def train(
    policy: PreTrainedModel,
    order: BatchOrder,
    loss_of: Callable[[list[int]], Measured],
    config: OfflineConfig,
    checkpoints: Checkpoints | None,
    weights: Sequence[float] | None = None,
) -> Iterator[Record]:
    """Train ``policy`` in place on batches of rows in such an order, and yield a record of metrics a step.

    loss_of: the loss of some rows, their mean weighted by ``weights`` (all alike by default), and metrics that
    are plain means over them. checkpoints: where to go on, and to keep the state. ValueError, at once, for a policy
    whose blocks cannot be computed again where they are to be.
    """
    if config.gradient_checkpointing:
        require_blocks(policy)
    rows = len(order.lengths)
    return _steps(policy, order, loss_of, config.counted(rows), checkpoints, weights or [1] * rows)


def _steps(
    policy: PreTrainedModel,
    order: BatchOrder,
    loss_of: Callable[[list[int]], Measured],
    config: OfflineConfig,
    checkpoints: Checkpoints | None,
    weights: Sequence[float],
) -> Iterator[Record]:
    policy.eval()  # dropout off: log π must be a function of (x, y), not a draw
    updates = Updates(policy, config, config.steps)
    done = checkpoints.restore(updates) if checkpoints else 0
    parts = partial(parts_of, order, loss_of, weights, config.micro_batch_size)
    batches = itertools.islice(order.batches(config.batch_size, config.seed), done, None)

    with recomputed(policy) if config.gradient_checkpointing else nullcontext():
        for step in range(done + 1, config.steps + 1):
            yield record_of(step, updates.apply(step, *parts(next(batches))))
            if checkpoints and checkpoints.due(step) and step < config.steps:
                checkpoints.save(updates)
        updates.check(config.steps, *parts(next(batches)))
    if checkpoints:
        checkpoints.save(updates)


def record_of(step: int, update: Update) -> Record:
    measured = {"loss": update.loss, **update.metrics, "grad_norm": update.grad_norm}
    values = torch.stack([value.float() for value in measured.values()]).tolist()  # one wait for the device
    return {"step": step, **dict(zip(measured, values, strict=True)), "learning_rate": update.learning_rate}


def rows_reached(order: BatchOrder, config: OfflineConfig) -> list[int]:
    """Which rows ``train`` comes by, in rising order: those of its steps, and of the look after the last one."""
    rows = len(order.lengths)
    config = config.counted(rows)
    reached: set[int] = set()
    for batch in itertools.islice(order.batches(config.batch_size, config.seed), config.steps + 1):
        reached.update(batch)
        if len(reached) == rows:
            break
    return sorted(reached)


def parts_of(
    order: BatchOrder,
    loss_of: Callable[[list[int]], Measured],
    weights: Sequence[float],
    size: int | None,
    batch: list[int],
) -> list[Callable[[], Measured]]:
    """What a batch's loss and metrics are the sums of: micro-batches of ``size`` of this process's rows.

    All processes have equally many parts, for they compute them together; one with fewer rows fills up with parts
    that count nothing.
    """
    index, processes = this_process()
    total = sum(weights[i] for i in batch)

    def part(rows: list[int]) -> Measured:
        return _scaled(loss_of(rows), sum(weights[i] for i in rows) / total, len(rows) / len(batch))

    def idle() -> Measured:
        return _scaled(loss_of(batch[:1]), 0, 0)

    shares = order.shares(batch, processes)
    most = max(map(len, shares))
    size = size or most
    parts = [partial(part, rows) for rows in in_parts(shares[index], size)]
    return parts + [idle] * (math.ceil(most / size) - len(parts))


def _scaled(measured: Measured, loss_share: float, metrics_share: float) -> Measured:
    loss, metrics = measured
    return loss * loss_share, {name: value * metrics_share for name, value in metrics.items()}
