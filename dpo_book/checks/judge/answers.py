"""What a reader's function gave back, as a tensor: numbers, arrays and lists of either count as well."""

import numbers
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

HALVES = (torch.float16, torch.bfloat16)


class Fault(Exception):
    """An answer that has no value to be judged by; the message says why."""


def read(value: object, a_tuple_will_do: bool = False) -> Tensor:
    """``value`` as a floating-point tensor that keeps its gradient. Fault where it is nothing of the kind.

    a_tuple_will_do: the exercise asks for some numbers, and a tuple holds them as well as a list.
    """
    if isinstance(value, tuple) and not a_tuple_will_do:
        raise Fault(_of_tuple(value))
    if isinstance(value, Tensor):
        return _of_tensor(value)
    if isinstance(value, bool | numbers.Real):
        return torch.tensor(float(value), dtype=torch.float64)
    if isinstance(value, list | tuple):
        return _of_list(value)
    if hasattr(value, "__array__"):
        return _of_array(value)
    raise Fault(_of_something_else(value))


def _of_tensor(value: Tensor) -> Tensor:
    if value.layout is not torch.strided:
        value = value.to_dense()
    if value.is_complex():
        raise Fault("it returns complex numbers; is there a root or a logarithm of something below zero?")
    if value.dtype in HALVES:
        raise Fault(f"it returns {value.dtype}, which keeps three digits: stay with the precision that you get.")
    return value if value.is_floating_point() else value.double()


def _of_array(value: object) -> Tensor:
    array = np.asarray(value)
    if array.dtype == object:
        return read(array.tolist())
    if not np.issubdtype(array.dtype, np.number) and array.dtype != bool:
        raise Fault(f"it returns an array of {array.dtype}, and numbers are asked for.")
    return _of_tensor(torch.as_tensor(array.astype(np.float64)))


def _of_list(values: Sequence) -> Tensor:
    if not values:
        return torch.zeros(0, dtype=torch.float64)
    rows = []
    for value in values:
        if value is None or isinstance(value, str | dict):
            raise Fault(f"the list that it returns holds a {type(value).__name__}, and numbers are asked for.")
        rows.append(read(value, a_tuple_will_do=True))
    shapes = {tuple(row.shape) for row in rows}
    if len(shapes) > 1:
        first, other = (str(shape) for shape in sorted(shapes, key=len)[:2])
        raise Fault(f"the entries of the list that it returns have different shapes, {first} and {other}.")
    if len({row.dtype for row in rows}) > 1:
        rows = [row.double() for row in rows]
    return torch.stack(rows)


def _of_tuple(value: tuple) -> str:
    if hasattr(value, "values") and hasattr(value, "indices"):
        return "it returns values *and* indices, as `max`, `min` and `sort` along a dimension do: take `.values`."
    said = f"it returns a tuple of {len(value)} things where one tensor belongs. Return that alone; "
    if all(isinstance(part, Tensor) for part in value):
        return said + "if these are its rows, `torch.stack` makes one of them."
    return said + "if these are its numbers, make it a list, `[...]`."


def _of_something_else(value: object) -> str:
    if value is None:
        return "it returns None; is a `return` missing?"
    if value is NotImplemented or value is Ellipsis:
        return f"it returns {value!r}; the answer is not written yet."
    if callable(value):
        return f"it returns a function, `{getattr(value, '__name__', value)}`; are the brackets of its call missing?"
    kind = type(value).__name__
    article = "an" if kind[0] in "aeiouAEIOU" else "a"
    return f"it returns {article} {kind}, and a tensor, a number or a list of numbers is asked for."


def same(given: Tensor, right: Tensor, tolerance: float, nan_is_nan: bool = False) -> bool:
    """The same shape, and the same values up to ``tolerance``, relative, or a hundredth of it, absolute."""
    if given.shape != right.shape:
        return False
    return torch.allclose(given.double(), right.double(), rtol=tolerance, atol=tolerance / 100, equal_nan=nan_is_nan)


def first_difference(given: Tensor, right: Tensor, tolerance: float) -> tuple[str, float, float]:
    """Of two tensors of one shape: the first place where they differ, in words, and what each has there."""
    differs = ~torch.isclose(given.double(), right.double(), rtol=tolerance, atol=tolerance / 100)
    place = tuple(differs.nonzero()[0].tolist())
    where = f"the value at {list(place)}" if place else "it"
    return where, given[place].item(), right[place].item()


def told_apart(one: float, other: float) -> tuple[str, str]:
    """Both numbers with as many digits, at least five, as it takes to see that they differ."""
    for digits in range(5, 18):
        texts = f"{one:.{digits}g}", f"{other:.{digits}g}"
        if texts[0] != texts[1]:
            break
    return texts
