"""An exercise of chapter 13: the gradient of a batch from those of its uneven parts."""

from collections.abc import Callable

import torch
from torch import Tensor

from dpo_book.checks.judge import Exercise, in_float32, normal, vector

__all__ = ["check_whole_gradient"]

# Gradients of K parts' mean losses, each of D numbers, (K, D), and how many pairs each part has, (K,).
PARTS = [
    (*normal(0, (3, 4)), vector(16, 16, 5)),
    (*normal(1, (3, 4)), vector(7, 1, 2)),
    (*normal(2, (1, 6)), vector(9)),
    (*normal(3, (5, 1)), vector(1, 2, 3, 4, 5)),
    in_float32((*normal(4, (2, 3)), vector(8, 3))),
    (*normal(5, (4, 4)), vector(10, 1, 1, 6)),
    (*normal(6, (2, 5), scale=10.0), vector(3, 40)),
    (*normal(7, (3, 2), scale=1e-3), vector(2, 2, 9)),
    (*normal(8, (1, 1)), vector(1)),
]


def _weighted(gradients: Tensor, sizes: Tensor) -> Tensor:
    return (sizes / sizes.sum()) @ gradients


def _by(weigh: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """The gradient with the weights that ``weigh`` makes of the sizes."""

    def mistaken(gradients: Tensor, sizes: Tensor) -> Tensor:
        return weigh(sizes) @ gradients

    return mistaken


def _by_root(sizes: Tensor) -> Tensor:
    return sizes.sqrt() / sizes.sqrt().sum()


def _by_square(sizes: Tensor) -> Tensor:
    return sizes.square() / sizes.square().sum()


def _one_less_share(sizes: Tensor) -> Tensor:
    return 1 - sizes / sizes.sum()


def _by_softmax(sizes: Tensor) -> Tensor:
    return sizes.softmax(dim=0)


def _by_length(sizes: Tensor) -> Tensor:
    return sizes / sizes.norm()


def _by_size_over_parts(sizes: Tensor) -> Tensor:
    return sizes / len(sizes)


def _twice_divided(sizes: Tensor) -> Tensor:
    return 1 / sizes


def _sums_over_pairs(sizes: Tensor) -> Tensor:
    return torch.ones_like(sizes) / sizes.sum()


def _unit(gradients: Tensor) -> Tensor:
    return gradients / gradients.norm(dim=-1, keepdim=True)


def _clipped(gradients: Tensor, sizes: Tensor) -> Tensor:
    right = _weighted(gradients, sizes)
    return right / right.norm().clamp(min=1)


def _not_added(gradients: Tensor, sizes: Tensor) -> Tensor:
    return (sizes / sizes.sum())[:, None] * gradients


def _added_within_parts(gradients: Tensor, sizes: Tensor) -> Tensor:
    return _not_added(gradients, sizes).sum(dim=1)


def _of_largest_part(gradients: Tensor, sizes: Tensor) -> Tensor:
    return gradients[sizes.argmax()]


check_whole_gradient = Exercise(
    "whole_gradient",
    _weighted,
    PARTS,
    {
        "every part weighs the same here, though some have fewer pairs.": lambda g, n: g.mean(dim=0),
        "a sum over parts of means is K times too long: weigh each by its share of the pairs.": (
            lambda g, n: g.sum(dim=0)
        ),
        "weighed by the sizes, but not divided by their sum: shares must add up to 1.": lambda g, n: n @ g,
        "divided by the number of parts once more: the shares add up to 1 already.": (
            lambda g, n: _weighted(g, n) / len(n)
        ),
        "divided by the largest part instead of by all pairs.": lambda g, n: (n / n.max()) @ g,
        "small parts weigh most here: the share is n over the sum, not its inverse.": (
            lambda g, n: (n.reciprocal() / n.reciprocal().sum()) @ g
        ),
        "weighed by the roots of the sizes: a part's share is its size over the sum of sizes.": _by(_by_root),
        "weighed by the squared sizes: a part's share is its size over the sum of sizes.": _by(_by_square),
        "weighed by a softmax of the sizes: a part's share is its size over the sum of sizes.": _by(_by_softmax),
        "divided by the length √Σn² of the sizes: shares are divided by their sum.": _by(_by_length),
        "divided by the number of parts, and it should be by the number of all pairs.": _by(_by_size_over_parts),
        "each gradient is divided by its part's size: it is a mean already. Multiply.": _by(_twice_divided),
        "means are added as if they were sums: multiply each by its part's size first.": _by(_sums_over_pairs),
        "the parts' weighted gradients, one by one: add them.": _not_added,
        "added over the numbers of each part's gradient: add over the parts.": _added_within_parts,
        "the largest part's gradient alone: the others have a share, too.": _of_largest_part,
        "the first part's gradient alone: the others have a share, too.": lambda g, n: g[0],
        "1 − share stands where the share belongs: small parts weigh most.": _by(_one_less_share),
        "a mean over the numbers of each part's gradient: average over the parts.": lambda g, n: g.mean(dim=1),
        "the parts' gradients are made equally long first: their lengths count.": (
            lambda g, n: _weighted(_unit(g), n)
        ),
        "the right gradient at length 1: nothing is normalised here.": lambda g, n: _unit(_weighted(g, n)),
        "the right gradient, clipped to length 1: nothing is clipped here.": _clipped,
        "the median of the parts: a mean is asked for, weighed by their sizes.": lambda g, n: g.median(dim=0).values,
    },
    "The parts may lie on other machines. What do they have to send each other?",
    far=[(*normal(9, (3, 4), scale=1e4), vector(1e6, 2e5, 7))],
)
