"""Hints at what is wrong, where no known mistake gives the same values: of the shape, and of how values differ."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from dpo_book.checks.judge.answers import same

NEARLY = 2e-3  # relative, and absolute
FEW = 3  # values tell nothing of their edges


def of_shape(given: Tensor, right: Tensor, tolerance: float, arguments: Mapping[str, object]) -> str:
    """Words for an answer whose shape is not the right one's."""
    wanted, got = tuple(right.shape), tuple(given.shape)
    text = f"the result should have shape {wanted}, yours has {got}."
    if given.numel() == right.numel() and same(given.reshape(right.shape), right, tolerance):
        return text + " Its values are right: is it a `squeeze`, `unsqueeze` or `keepdim` too many?"
    if wanted and given.numel() == 1:
        return text + " One value for each is asked for: is there a mean or a sum too many?"
    if got and not wanted:
        return text + " One number for all is asked for: is a mean or a sum missing?"
    for name, value in arguments.items():
        if isinstance(value, Tensor) and tuple(value.shape) == got:
            return text + f" That is the shape of `{name}`: is a sum missing, or along another dimension?"
    if got == wanted + wanted:
        return text + " Were two tensors broadcast against each other, so that every value met every other?"
    return text


def of_values(given: Sequence[Tensor], right: Sequence[Tensor]) -> str:
    """Words for values that are no numbers, rounded, cut off, or all a little off; "" for others."""
    if [one.shape for one in right] != [one.shape for one in given]:
        return ""
    ours, theirs = (torch.cat([one.flatten().double() for one in values]) for values in (right, given))
    if theirs.isnan().any():
        return " (nan comes of 0 · inf, inf − inf, 0 / 0, or the logarithm of a negative number.)"
    if theirs.isinf().any():
        return " (inf comes of the logarithm of 0, a division by 0, or the exponential of a large number.)"
    return _rounded(theirs, ours) or _nearly(theirs, ours) or _cut_off(theirs, ours)


def _rounded(given: Tensor, right: Tensor) -> str:
    for decimals in range(1, 6):
        if torch.allclose(given, right.round(decimals=decimals), rtol=1e-6, atol=1e-9):
            return f" Yours are the right values, rounded to {decimals} decimals: keep them all."
    return ""


def _nearly(given: Tensor, right: Tensor) -> str:
    if torch.allclose(given, right, rtol=NEARLY, atol=NEARLY):
        return " Nearly: is a small number added somewhere, such as inside a logarithm, or something rounded?"
    return ""


def _cut_off(given: Tensor, right: Tensor) -> str:
    """Words where every wrong value is the smallest or the largest given, and the right one lies beyond."""
    wrong = ~torch.isclose(given, right, rtol=NEARLY, atol=NEARLY / 100)
    if wrong.all() or not wrong.any() or len(given) <= FEW:
        return ""
    low, high = given.min(), given.max()
    at_an_edge = torch.isclose(given, low, rtol=NEARLY) | torch.isclose(given, high, rtol=NEARLY)
    beyond = (right < low) | (right > high)
    if (at_an_edge & beyond)[wrong].all():
        return f" All of yours lie between {low.item():.5g} and {high.item():.5g}: is something clamped?"
    return ""
