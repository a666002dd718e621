"""Which rows are computed together: batches of like length, epoch after epoch, and lists cut into parts."""

import random
from collections.abc import Iterator, Sequence


def batches_by_length(lengths: Sequence[int], batch_size: int, seed: int = 0) -> Iterator[list[int]]:
    """Endless batches of indices into ``lengths``, epoch after epoch, each index once an epoch.

    Every epoch is shuffled anew; within windows of 50 batches, items of like length share a batch, so that
    little of it is padding. The last batch of an epoch may be smaller. Nothing depends on anything but ``seed``.
    """
    rng = random.Random(seed)
    window = 50 * batch_size
    while True:
        order = list(range(len(lengths)))
        rng.shuffle(order)
        for start in range(0, len(order), window):
            part = sorted(order[start : start + window], key=lengths.__getitem__)
            batches = in_parts(part, batch_size)
            rng.shuffle(batches)
            yield from batches


def in_parts(items: list, size: int) -> list[list]:
    """The items in lists of ``size``, the last of which may be shorter."""
    return [items[start : start + size] for start in range(0, len(items), size)]
