"""Which tensors belong together: shapes are compared before anything is computed, as broadcasting asks nobody.

Looking at a shape costs nothing and waits for no device. Values are looked at only by the functions that say so.
"""

import torch
from torch import Tensor


def require_tensors(**named: Tensor) -> None:
    """TypeError unless each is a tensor; the message has its name."""
    for name, value in named.items():
        if not isinstance(value, Tensor):
            raise TypeError(f"{name} must be a tensor, not a {type(value).__name__}")


def require_one_shape(**named: Tensor) -> None:
    """ValueError unless all have one shape: else every row would silently meet every other."""
    require_tensors(**named)
    shapes = {name: tuple(value.shape) for name, value in named.items()}
    if len(set(shapes.values())) > 1:
        raise ValueError(f"these must have one shape: {_told(shapes)}")


def require_one_rank(**named: Tensor) -> None:
    """ValueError unless all have as many dimensions, or none: (B,) and (B, 1) would give (B, B).

    With one dimension each, B and 1 do not fit either. (n, 1) beside (1, n) is meant.
    """
    require_tensors(**named)
    shapes = {name: tuple(value.shape) for name, value in named.items() if value.ndim}
    ranks = {len(shape) for shape in shapes.values()}
    if len(ranks) > 1 or (ranks == {1} and len(set(shapes.values())) > 1):
        raise ValueError(f"these must have one shape: {_told(shapes)}")


def require_same_responses(**named: Tensor) -> None:
    """ValueError unless all are (..., N), N responses to a prompt, of one shape but for what one lacks in front.

    (N,) stands for every prompt, and (P, N) beside (500, P, N) for every policy. (P, 1) is no such thing.
    """
    require_tensors(**named)
    shapes = {name: tuple(value.shape) for name, value in named.items()}
    longest = max(shapes.values(), key=len)
    for shape in shapes.values():
        part = _without_ones(shape)
        if not shape or part != longest[len(longest) - len(part) :]:
            raise ValueError(f"these must have one shape, (..., N) with all N responses to a prompt: {_told(shapes)}")


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    """(1, 3, N) without its first dimension, which says nothing."""
    while len(shape) > 1 and shape[0] == 1:
        shape = shape[1:]
    return shape


def require_no_nan(**named: Tensor) -> None:
    """ValueError if one holds NaN, where sorting or comparing would make an answer of it. Waits for the device."""
    require_tensors(**named)
    for name, value in named.items():
        if torch.isnan(value).any():
            raise ValueError(f"{name} holds NaN, which is neither more nor less than anything")


def require_probabilities(**named: Tensor) -> None:
    """ValueError unless all values are in [0, 1]. Waits for the device."""
    require_tensors(**named)
    for name, value in named.items():
        wrong = value[~((value >= 0) & (value <= 1))]  # written so that NaN fails too
        if wrong.numel():
            raise ValueError(f"{name} must be in [0, 1], got {wrong.flatten()[0].item():g}")


def require_outcomes(**named: Tensor) -> None:
    """ValueError unless all are of one shape (n,), n at least 1, with values in [0, 1]: wins 1, losses 0."""
    require_one_shape(**named)
    for name, value in named.items():
        if value.ndim != 1 or not len(value):
            raise ValueError(f"{name} must be of shape (n,), one a comparison; got {tuple(value.shape)}")
    require_probabilities(**named)


def require_verdicts(**named: Tensor) -> None:
    """``require_outcomes``, and ValueError unless every value is 1 (a win), 0 (a loss) or 0.5 (a tie)."""
    require_outcomes(**named)
    for name, value in named.items():
        wrong = value[(value != 0) & (value != 0.5) & (value != 1)]
        if len(wrong):
            raise ValueError(f"{name} must be 1 (a win), 0 (a loss) or 0.5 (a tie), got {wrong[0].item():g}")


def _told(shapes: dict[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {shape}" for name, shape in shapes.items())
