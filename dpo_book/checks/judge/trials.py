"""What an answer is tried on: arguments of several shapes, lengths of one among them, kinds of number, and β."""

import copy
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor


def normal(
    seed: int, *shapes: tuple[int, ...], offset: float = 0.0, scale: float = 1.0, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, ...]:
    """Tensors of ``offset`` + ``scale`` · normal numbers, fixed by ``seed``: no two formulas agree there by luck."""
    generator = torch.Generator().manual_seed(seed)
    drawn = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    return tuple((offset + scale * values).to(dtype) for values in drawn)


def in_float32(arguments: Iterable[object]) -> tuple:
    """The same arguments with every float64 tensor in float32."""
    return tuple(
        value.float() if isinstance(value, Tensor) and value.is_floating_point() else value for value in arguments
    )


def in_float64(arguments: Iterable[object]) -> tuple:
    """Copies of the arguments, with every float32 tensor in float64."""
    copies = copy.deepcopy(tuple(arguments))
    return tuple(value.double() if is_float32([value]) else value for value in copies)


def is_float32(arguments: Iterable[object]) -> bool:
    return any(isinstance(value, Tensor) and value.dtype == torch.float32 for value in arguments)


def in_words(names: Sequence[str], arguments: tuple) -> str:
    """`logp` of shape (1, 7) in float32, `beta` = 0.7: enough to see what is special about a trial."""
    words, shapes = [], set()
    for name, value in zip(names, arguments, strict=True):
        if isinstance(value, Tensor):
            shape = tuple(value.shape)
            if shape not in shapes:
                words.append(f"`{name}` of shape {shape}")
            shapes.add(shape)
        elif isinstance(value, int | float):
            words.append(f"`{name}` = {value}")
        else:
            words.append(f"`{name}` of {len(value)}")
    if is_float32(arguments):
        words.append("in float32")
    return ", ".join(words)


def vector(*values: float) -> Tensor:
    """Chosen numbers, (B,), in float64."""
    return torch.tensor(values, dtype=torch.float64)
