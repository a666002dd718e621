"""Mistakes that can happen in any exercise: a sign, a base, a mean for a sum, two arguments swapped, β forgotten.

Each is tried on the right answer of every trial; an answer that agrees with it on all of them is called by its name.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

BASES = {2: math.log(2), 10: math.log(10)}


class Suspect(NamedTuple):
    """words: what to say. change: of a right answer, or of the arguments, what the mistake makes."""

    words: str
    change: Callable


def _negative(value: Tensor) -> Tensor:
    return -value


def _exponential(value: Tensor) -> Tensor:
    return value.exp()


def _logarithm(value: Tensor) -> Tensor:
    return value.log()


def _complement(value: Tensor) -> Tensor:
    return 1 - value


def _inverse(value: Tensor) -> Tensor:
    return 1 / value


def _absolute(value: Tensor) -> Tensor:
    return value.abs()


def _positive_part(value: Tensor) -> Tensor:
    return value.clamp(min=0)


def _negative_part(value: Tensor) -> Tensor:
    return value.clamp(max=0)


def _squared(value: Tensor) -> Tensor:
    return value**2


def _root(value: Tensor) -> Tensor:
    return value**0.5


def _doubled(value: Tensor) -> Tensor:
    return 2 * value


def _halved(value: Tensor) -> Tensor:
    return value / 2


def _one_more(value: Tensor) -> Tensor:
    return value + 1


def _one_less(value: Tensor) -> Tensor:
    return value - 1


def _logistic(value: Tensor) -> Tensor:
    return value.sigmoid()


def _log_odds(value: Tensor) -> Tensor:
    return value.logit()


def _rounded(value: Tensor) -> Tensor:
    return value.round()


def _mean(value: Tensor) -> Tensor:
    return value.mean()


def _sum(value: Tensor) -> Tensor:
    return value.sum()


def _row_means(value: Tensor) -> Tensor:
    return value.mean(dim=-1)


def _row_sums(value: Tensor) -> Tensor:
    return value.sum(dim=-1)


def _column_means(value: Tensor) -> Tensor:
    return value.mean(dim=0)


def _column_sums(value: Tensor) -> Tensor:
    return value.sum(dim=0)


def _mean_everywhere(value: Tensor) -> Tensor:
    return value.mean().expand(value.shape)


def _backwards(value: Tensor) -> Tensor:
    return value.flip(-1)


def _transposed(value: Tensor) -> Tensor:
    return value.transpose(0, 1)


def _base(base: int) -> Callable[[Tensor], Tensor]:
    def change(value: Tensor) -> Tensor:
        return value / BASES[base]

    return change


OF_RESULTS = (
    Suspect("the sign is wrong: every value is minus the right one.", _negative),
    Suspect("the logarithm is to base 2; nats are natural logarithms.", _base(2)),
    Suspect("the logarithm is to base 10; nats are natural logarithms.", _base(10)),
    Suspect("this is the exponential of the right answer.", _exponential),
    Suspect("this is the logarithm of the right answer.", _logarithm),
    Suspect("this is 1 minus the right answer.", _complement),
    Suspect("this is 1 divided by the right answer.", _inverse),
    Suspect("this is the right answer squared.", _squared),
    Suspect("this is the root of the right answer.", _root),
    Suspect("every value is twice the right one.", _doubled),
    Suspect("every value is half the right one.", _halved),
    Suspect("every value is 1 too large.", _one_more),
    Suspect("every value is 1 too small.", _one_less),
    Suspect("σ is taken of the right answer once more.", _logistic),
    Suspect("these are the log-odds of the right answer.", _log_odds),
    Suspect("values below zero lose their sign: an absolute value too many.", _absolute),
    Suspect("values below zero are cut off: a clamp, relu or max too many.", _positive_part),
    Suspect("values above zero are cut off: a clamp or min too many.", _negative_part),
    Suspect("the right values are rounded to whole numbers.", _rounded),
    Suspect("this is the mean of the right values: keep one for each.", _mean),
    Suspect("this is the sum of the right values: keep one for each.", _sum),
    Suspect("these are means of the right values along the last dimension: keep them all.", _row_means),
    Suspect("these are sums of the right values along the last dimension: keep them all.", _row_sums),
    Suspect("these are means of the right values along the first dimension: keep them all.", _column_means),
    Suspect("these are sums of the right values along the first dimension: keep them all.", _column_sums),
    Suspect("the mean of the right values stands in the place of each.", _mean_everywhere),
    Suspect("the right values stand there in reverse order.", _backwards),
    Suspect("rows and columns are the other way round.", _transposed),
)


def _one(value: float) -> float:
    return type(value)(1)


def _nought(value: float) -> float:
    return type(value)(0)


OF_NUMBERS = (
    Suspect("`{}` is missing, as if it were 1.", _one),
    Suspect("`{}` is missing, as if it were 0.", _nought),
    Suspect("1 / `{0}` stands where `{0}` belongs, or the other way round.", _inverse),
    Suspect("`{}` counts twice, as its square.", _squared),
    Suspect("the root of `{0}` stands where `{0}` belongs.", _root),
    Suspect("`{}` has the wrong sign.", _negative),
    Suspect("`{}` is doubled.", _doubled),
    Suspect("`{}` is halved.", _halved),
    Suspect("1 − `{0}` stands where `{0}` belongs.", _complement),
    Suspect("`{}` counts one too many.", _one_more),
    Suspect("`{}` counts one too few.", _one_less),
)

OF_TENSORS = (
    Suspect("`{}` is left out, as if it were 0.", torch.zeros_like),
    Suspect("`{}` is left out, as if it were 1.", torch.ones_like),
    Suspect("`{}` has the wrong sign.", _negative),
    Suspect("the exponential of `{0}` stands where `{0}` belongs.", _exponential),
    Suspect("the logarithm of `{0}` stands where `{0}` belongs.", _logarithm),
    Suspect("`{}` is doubled.", _doubled),
    Suspect("`{}` is halved.", _halved),
    Suspect("1 − `{0}` stands where `{0}` belongs.", _complement),
    Suspect("`{}` stands in reverse order.", _backwards),
    Suspect("the mean of `{0}` stands in the place of each of its values.", _mean_everywhere),
    Suspect("`{}` is cut off below zero.", _positive_part),
    Suspect("`{}` is taken without its sign.", _absolute),
)


def of_arguments(names: Sequence[str], example: tuple) -> Iterator[Suspect]:
    """Every mistake in the arguments: ``change`` takes the arguments of a trial and gives the mistaken ones.

    example: the arguments of some trial, whose types say which mistakes are possible.
    """
    for place, (name, value) in enumerate(zip(names, example, strict=True)):
        for suspect in _of_one(value):
            yield Suspect(suspect.words.format(name), _at(place, suspect.change))
    for place, value in enumerate(example):
        for other in range(place + 1, len(example)):
            if _exchangeable(value, example[other]):
                words = f"`{names[place]}` and `{names[other]}` are swapped."
                yield Suspect(words, _swap(place, other))


def _of_one(value: object) -> tuple[Suspect, ...]:
    if isinstance(value, Tensor):
        return OF_TENSORS if value.is_floating_point() else ()
    return OF_NUMBERS if isinstance(value, int | float) else ()


def _exchangeable(one: object, other: object) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.shape == other.shape and one.dtype == other.dtype
    return type(one) is type(other) and not isinstance(one, Tensor)


def _at(place: int, change: Callable) -> Callable[[tuple], tuple]:
    def changed(arguments: tuple) -> tuple:
        return (*arguments[:place], change(arguments[place]), *arguments[place + 1 :])

    return changed


def _swap(place: int, other: int) -> Callable[[tuple], tuple]:
    def swapped(arguments: tuple) -> tuple:
        changed = list(arguments)
        changed[place], changed[other] = changed[other], changed[place]
        return tuple(changed)

    return swapped


def of_factors(names: Sequence[str], example: tuple) -> Iterator[Suspect]:
    """Factors too many: ``change`` takes the arguments of a trial and gives the factor."""
    for place, (name, value) in enumerate(zip(names, example, strict=True)):
        if isinstance(value, float):
            yield Suspect(f"every value is `{name}` times the right one.", _power_of(place, 1))
            yield Suspect(f"every value is the right one divided by `{name}`.", _power_of(place, -1))
            yield Suspect(f"every value is `{name}`² times the right one.", _power_of(place, 2))
        elif isinstance(value, Tensor):
            for dimension in range(value.dim()):
                size = f"the length of `{name}`" + (f" along dimension {dimension}" if value.dim() > 1 else "")
                more = f"every value is {size} times the right one: a mean belongs where a sum stands."
                less = f"every value is the right one divided by {size}: a sum belongs where a mean stands."
                yield Suspect(more, _size_of(place, dimension, 1))
                yield Suspect(less, _size_of(place, dimension, -1))


def _power_of(place: int, power: int) -> Callable[[tuple], float]:
    def factor(arguments: tuple) -> float:
        return arguments[place] ** power

    return factor


def _size_of(place: int, dimension: int, power: int) -> Callable[[tuple], float]:
    def factor(arguments: tuple) -> float:
        return float(arguments[place].shape[dimension]) ** power

    return factor
