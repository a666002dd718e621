"""Rows of tokens, padded to one width: what a model is asked about."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor


class OnDevice:
    """A dataclass of tensors, which go to a device together."""

    def to(self, device: torch.device | str) -> Self:
        """To a GPU through pinned memory, so that the copy does not wait for what the GPU is doing."""
        to_a_gpu = torch.device(device).type == "cuda"
        moved = {}
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                value = value.pin_memory() if to_a_gpu and not value.is_cuda else value
                moved[name] = value.to(device, non_blocking=to_a_gpu)
        return replace(self, **moved)


@dataclass(frozen=True)
class Batch(OnDevice):
    """B token sequences, padded to T columns on either side.

    input_ids (B, T) int64: prompt and completion. attention_mask (B, T) bool: True where a real token
    stands. completion_mask (B, T) bool: True on the tokens of the completion, the only ones that count.
    """

    input_ids: Tensor
    attention_mask: Tensor
    completion_mask: Tensor


def collate(
    prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]], device: torch.device | str = "cpu"
) -> Batch:
    """Pad B prompts on the left and their completions on the right, so that all completions start in one column.

    The logits before that column are then never needed, and never computed. Padding is token 0; the masks
    hide it, so that the model's own pad token does not matter and an EOS at the end is never mistaken
    for padding. The batch lies on ``device``, and is there as wide as suits it: see ``suited_width``.
    """
    left, right = max(map(len, prompts)), max(map(len, completions))
    columns = left + right - 1  # the last one is not run
    left += suited_width(columns, device) - columns
    rows = []  # one list and one tensor of it: a tensor a row takes six times as long
    for x, y in zip(prompts, completions, strict=True):
        before, after = [0] * (left - len(x)), [0] * (right - len(y))
        rows.append([*before, *x, *y, *after])
    column = torch.arange(left + right)
    start = left - torch.tensor([len(x) for x in prompts])[:, None]
    end = left + torch.tensor([len(y) for y in completions])[:, None]
    batch = Batch(
        input_ids=torch.tensor(rows),
        attention_mask=(column >= start) & (column < end),
        completion_mask=(column >= left) & (column < end),
    )
    return batch.to(device)


def suited_width(columns: int, device: torch.device | str) -> int:
    """With how many columns a row of ``columns`` is run: on a CUDA GPU with some more, of padding.

    For every width that it has not met cuDNN's attention first makes a plan. So there are few: from 64 on eight
    between two powers of two, at most an eighth too wide. All are multiples of 8, as tensor cores like them.
    """
    if torch.device(device).type != "cuda":
        return columns
    unit = width_unit(columns)
    return math.ceil(columns / unit) * unit


def width_unit(columns: int) -> int:
    """What widths near ``columns`` are multiples of on a GPU: an eighth of the power of two below, at least 8."""
    return max(8, 2 ** (columns.bit_length() - 4))


def check_rows(batch: Batch) -> None:
    """ValueError for a row whose completion mask is empty, or that starts in the first token.

    The log-probability of the one would be an empty sum, 0, and the loss would train on nothing; nothing predicts
    the first token of the other.
    """
    empty = (~batch.completion_mask.any(dim=1)).nonzero().flatten().tolist()
    if empty:
        raise ValueError(f"row {empty[0]} of the batch has no completion token in its completion_mask")
    is_first = batch.attention_mask.cumsum(dim=1) == 1
    unpredicted = (is_first & batch.attention_mask & batch.completion_mask).any(dim=1).nonzero().flatten()
    if len(unpredicted):
        raise ValueError(
            f"row {int(unpredicted[0])} of the batch has no prompt token, so nothing predicts its first "
            "completion token: put the tokenizer's BOS token in front"
        )


def completion_columns(batch: Batch) -> Tensor:
    """The completion mask from the first column on in which any row's completion stands: (B, K) bool."""
    return batch.completion_mask[:, int(batch.completion_mask.any(dim=0).nonzero()[0]) :]


def model_inputs(batch: Batch) -> dict:
    """What a model is called with. The last column predicts nothing that is scored, so it is not run.

    Positions are told where padding stands in front of a row. Elsewhere a model counts from the first column itself,
    and some count from another number than 0.
    """
    attention_mask = batch.attention_mask[:, :-1].long()
    inputs = {"input_ids": batch.input_ids[:, :-1], "attention_mask": attention_mask, "use_cache": False}
    if not attention_mask[:, 0].all():
        inputs["position_ids"] = position_ids(attention_mask)
    return inputs


def position_ids(attention_mask: Tensor) -> Tensor:
    """Positions (B, T) that count real tokens, so that padding on the left does not shift them.

    attention_mask (B, T) int64. transformers' models do not see to that alone.
    """
    return (attention_mask.cumsum(dim=1) - 1).clamp(min=0)
