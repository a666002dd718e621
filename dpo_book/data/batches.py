"""Which rows are computed together: batches of like length, epoch after epoch, and lists cut into parts."""

import itertools
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dpo_book.data.pairs import Pair
from dpo_book.maths.require import require_count


def batches_by_length(
    lengths: Sequence[int], batch_size: int, seed: int = 0, groups: Sequence[int] | None = None
) -> Iterator[list[int]]:
    """Endless batches of indices into ``lengths``, epoch after epoch, each index once an epoch.

    Every epoch is shuffled anew; within windows of 50 batches, items of like length share a batch, so that
    little of it is padding. The last batch of an epoch may be smaller. Nothing depends on anything but ``seed``.

    groups: a number for each index, by default one of its own. Those of one number then come one after the other,
    by the longest of them, and share a batch, or two where one is full.

    ValueError, at once, if there is nothing to make a batch of.
    """
    require_count("batch_size", batch_size)
    require_count("seed", seed, least=0, most=2**64)  # without one every run would have its own order
    if not lengths:
        raise ValueError("there is nothing to make a batch of: lengths is empty")
    members = _members(range(len(lengths)) if groups is None else groups)
    longest = [0] * len(lengths)
    for group in members:
        length = max(lengths[i] for i in group)
        for i in group:
            longest[i] = length
    return _epochs(members, longest, batch_size, random.Random(seed))


def _epochs(
    members: Sequence[list[int]], lengths: Sequence[int], batch_size: int, rng: random.Random
) -> Iterator[list[int]]:
    window = 50 * batch_size
    while True:
        shuffled = [*members]
        rng.shuffle(shuffled)
        order = list(itertools.chain.from_iterable(shuffled))
        for start in range(0, len(order), window):
            # One group's have one length, and those of one length stay in order: so a group stays together.
            part = sorted(order[start : start + window], key=lengths.__getitem__)
            batches = in_parts(part, batch_size)
            rng.shuffle(batches)
            yield from batches


def _members(groups: Sequence[int]) -> list[list[int]]:
    """The indices of every group, in the order in which the groups are first met."""
    members: dict[int, list[int]] = {}
    for i, group in enumerate(groups):
        members.setdefault(group, []).append(i)
    return list(members.values())


@dataclass(frozen=True)
class BatchOrder:
    """In which batches rows are gone through, and which of a batch's rows are a process's own.

    lengths: tokens of each row. groups: a number for each row, by default one of its own; see ``batches_by_length``.
    """

    lengths: Sequence[int]
    groups: Sequence[int] | None = None

    def batches(self, batch_size: int, seed: int) -> Iterator[list[int]]:
        """``batches_by_length``."""
        return batches_by_length(self.lengths, batch_size, seed, self.groups)

    def shares(self, batch: Sequence[int], processes: int) -> list[list[int]]:
        """A batch dealt out to some processes: group by group, each to the one that has fewest rows so far.

        A group of more than a process's even share is cut. Rows that are alone in their groups go round in turn, and
        since a batch's come in order of length, all processes then have as much to do.
        """
        even = math.ceil(len(batch) / processes)
        group_of = range(len(self.lengths)) if self.groups is None else self.groups
        shares: list[list[int]] = [[] for _ in range(processes)]
        for _, group in itertools.groupby(batch, key=group_of.__getitem__):
            for piece in in_parts(list(group), even):
                min(shares, key=len).extend(piece)
        return shares


def pair_order(pairs: Sequence[Pair], lengths: Sequence[int], by_prompt: bool) -> BatchOrder:
    """The order of pairs of such lengths: each on its own, or ``by_prompt`` a prompt's pairs together."""
    if not by_prompt:
        return BatchOrder(lengths)
    number: dict[tuple[int, ...], int] = {}
    groups = [number.setdefault(tuple(pair.prompt), len(number)) for pair in pairs]
    return BatchOrder(lengths, groups)


def in_parts(items: list, size: int) -> list[list]:
    """The items in lists of ``size``, the last of which may be shorter."""
    require_count("size", size)
    return [items[start : start + size] for start in range(0, len(items), size)]
