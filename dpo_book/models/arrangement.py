"""Which completions of a prompt stand in one row, and which rows are run at once."""

import math
from collections.abc import Sequence

import torch

from dpo_book.models.batch import Batch, collate
from dpo_book.models.distinct import Arrange, Group


def in_fewest_operations(features: int, groups: list[Group]) -> list[Group]:
    """Rows for a model of so many ``features``: each a prompt with as many of its completions as are best together.

    More in a row save prompts, and make what every token looks back on longer: see ``_operations``. The rows of a
    prompt are made of like length.
    """
    rows = []
    for prompt, completions in groups:
        count = _best_count(features, len(prompt), completions)
        rows += [(prompt, part) for part in _dealt_out(completions, count)]
    return rows


def _best_count(features: int, prompt: int, completions: Sequence[Sequence[int]]) -> int:
    """In how many rows the completions of a prompt of so many tokens cost least.

    If they could be cut anywhere, into rows of S tokens of them, the derivative of what they cost in all would be
    zero at S = √(P (6 D + P)). They cannot: so one of the two whole numbers of them that are next to it.
    """
    mean = _tokens_in(completions) / len(completions)
    at_best = math.sqrt(prompt * (6 * features + prompt)) / max(1, mean)
    fewer = max(1, int(at_best))
    counts = [math.ceil(len(completions) / in_a_row) for in_a_row in (fewer + 1, fewer)]
    costs = []
    for count in counts:
        longest = prompt + mean * math.ceil(len(completions) / count)
        costs.append(_operations(features, count, longest))
    return counts[costs.index(min(costs))]


def _operations(features: int, rows: int, width: float) -> float:
    """Of a layer of D features on such rows, in units of 4 D: a token costs about 24 D², and 4 D for each column."""
    return rows * width * (6 * features + width)


def _dealt_out(completions: Sequence[Sequence[int]], count: int) -> list[list[Sequence[int]]]:
    """In ``count`` parts of about equally many tokens: the longest first, each to the part that has fewest."""
    if count == 1:
        return [list(completions)]
    parts: list[list[Sequence[int]]] = [[] for _ in range(count)]
    for completion in sorted(completions, key=len, reverse=True):
        min(parts, key=_tokens_in).append(completion)
    return parts


def _tokens_in(completions: Sequence[Sequence[int]]) -> int:
    return sum(map(len, completions))


def by_length(arrange: Arrange, groups: list[Group]) -> list[Group]:
    """Arranged, and those with few tokens first."""
    return sorted(arrange(groups), key=_tokens_of)


def _tokens_of(group: Group) -> int:
    prompt, completions = group
    return len(prompt) + _tokens_in(completions)


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
