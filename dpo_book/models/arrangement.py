"""Which completions of a prompt stand in one row, and which rows are run at once."""

import math
from collections.abc import Sequence
from functools import partial

import torch

from dpo_book.data.batches import in_parts
from dpo_book.models.batch import Batch, collate
from dpo_book.models.distinct import Arrange, Group


def in_fewest_operations(features: int, groups: list[Group]) -> list[Group]:
    """Rows for a model of so many ``features``: each a prompt with as many of its completions as are best together.

    More in a row save prompts, and make what every token looks back on longer. Rows that are run at once are as wide
    as the widest of them, so that one number of completions a row has to suit all: powers of two and all that there
    are are tried. The rows of a prompt are made of like length.
    """
    most = max(len(completions) for _, completions in groups)
    sizes = {min(2**i, most) for i in range(most.bit_length() + 1)}
    options = [_with_so_many(size, groups) for size in sorted(sizes)]
    return min(options, key=partial(_operations, features))


def _operations(features: int, rows: list[Group]) -> int:
    """Of a layer of D features on these rows, in units of 4 D: a token costs about 24 D², and 4 D for each column."""
    width = max(map(_tokens_of, rows))
    return len(rows) * width * (6 * features + width)


def _with_so_many(size: int, groups: list[Group]) -> list[Group]:
    """Rows with at most so many completions, about equally many tokens in each of a prompt's."""
    rows = []
    for prompt, completions in groups:
        count = math.ceil(len(completions) / size)
        rows += [(prompt, part) for part in _dealt_out(completions, count)]
    return rows


def _dealt_out(completions: Sequence[Sequence[int]], count: int) -> list[Sequence[Sequence[int]]]:
    """In ``count`` parts: the shortest ones first, a round to the parts from the first on, the next from the last."""
    if count == 1:
        return [completions]
    parts: list[list[Sequence[int]]] = [[] for _ in range(count)]
    for number, of_round in enumerate(in_parts(sorted(completions, key=len), count)):
        in_turn = parts if number % 2 == 0 else parts[::-1]
        for part, completion in zip(in_turn, of_round, strict=False):
            part.append(completion)
    return parts


def by_length(arrange: Arrange, groups: list[Group]) -> list[Group]:
    """Each prompt's arranged by itself; rows with few tokens first."""
    rows: list[Group] = []
    for group in groups:
        rows += arrange([group])
    return sorted(rows, key=_tokens_of)


def _tokens_of(group: Group) -> int:
    prompt, completions = group
    return len(prompt) + sum(map(len, completions))


def in_parts_of(groups: Sequence[Group], most: int) -> list[list[Group]]:
    """The groups in lists of at most so many completions; one that has more is a list of its own."""
    parts: list[list[Group]] = []
    room = 0
    for group in groups:
        count = completions_in([group])
        if count > room:
            parts.append([])
            room = most
        parts[-1].append(group)
        room -= count
    return parts


def completions_in(groups: Sequence[Group]) -> int:
    """How many completions there are in all groups together."""
    return sum(len(completions) for _, completions in groups)


def in_own_rows(groups: Sequence[Group], device: torch.device | str = "cpu") -> Batch:
    """Every completion in a row of its own, behind its prompt, in the order of the groups."""
    prompts, rows = [], []
    for prompt, completions in groups:
        prompts += [prompt] * len(completions)
        rows += completions
    return collate(prompts, rows, device)
