"""Which rows are computed together: batches of like length, epoch after epoch, and lists cut into parts."""

import random
from collections.abc import Iterator, Sequence

from dpo_book.maths.require import require_count


def batches_by_length(lengths: Sequence[int], batch_size: int, seed: int = 0) -> Iterator[list[int]]:
    """Endless batches of indices into ``lengths``, epoch after epoch, each index once an epoch.

    Every epoch is shuffled anew; within windows of 50 batches, items of like length share a batch, so that
    little of it is padding. The last batch of an epoch may be smaller. Nothing depends on anything but ``seed``.

    ValueError, at once, if there is nothing to make a batch of.
    """
    require_count("batch_size", batch_size)
    require_count("seed", seed, least=0, most=2**64)  # without one every run would have its own order
    if not lengths:
        raise ValueError("there is nothing to make a batch of: lengths is empty")
    return _epochs(lengths, batch_size, random.Random(seed))


def _epochs(lengths: Sequence[int], batch_size: int, rng: random.Random) -> Iterator[list[int]]:
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
    require_count("size", size)
    return [items[start : start + size] for start in range(0, len(items), size)]
