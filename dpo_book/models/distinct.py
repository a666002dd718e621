"""The distinct completions that pairs ask about: a prompt and what was said to it are run once for all its pairs.

Six pairs of four completions are twelve completions to a model that takes pair by pair, and else four:

    pairs        a ≻ b   c ≻ a   a ≻ d   b ≻ c   b ≻ d   d ≻ c
    completions  a b c d
    places       chosen 0 2 0 1 1 3,  rejected 1 0 3 2 3 2

A completion that stands in several pairs gets the sum of their gradients, which is what it would get pair by pair.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dpo_book.data.pairs import Pair
from dpo_book.models.batch import OnDevice

Group = tuple[Sequence[int], Sequence[Sequence[int]]]  # token ids of a prompt, and of some of its completions
Arrange = Callable[[list[Group]], list[Group]]  # the same completions, cut into groups that suit a model


@dataclass(frozen=True)
class Distinct(OnDevice):
    """M distinct completions of B pairs, numbered 0 to M − 1 in the order in which they stand in ``groups``.

    places (2, B) int64: the number of each pair's chosen completion, and of its rejected one.
    """

    groups: list[Group]
    places: Tensor


def distinct_completions(pairs: Sequence[Pair], arrange: Arrange = list) -> Distinct:
    """Every distinct prompt of the pairs with every distinct completion of it, and where each pair's two are.

    arrange: makes other groups of these, by default the same.
    """
    of_prompt: dict[tuple, dict[tuple, None]] = {}  # dicts as sets that keep their order
    for pair in pairs:
        completions = of_prompt.setdefault(tuple(pair.prompt), {})
        completions[tuple(pair.chosen)] = None
        completions[tuple(pair.rejected)] = None
    groups = arrange([(prompt, list(completions)) for prompt, completions in of_prompt.items()])

    number: dict[tuple, int] = {}
    for prompt, completions in groups:
        for completion in completions:
            number[prompt, completion] = len(number)
    chosen = [number[tuple(pair.prompt), tuple(pair.chosen)] for pair in pairs]
    rejected = [number[tuple(pair.prompt), tuple(pair.rejected)] for pair in pairs]
    return Distinct(groups, torch.tensor([chosen, rejected]))
