"""Attention that leaves out the future: what no token looks at is, for the most part, not computed.

Of what queries and keys give, a mask that is true nowhere above its diagonal throws away half. torch's attention on a
CPU computes it nonetheless, for it takes a mask as it comes. Cut into n blocks of queries, each with the keys up to
its own end, it computes (n + 1) / 2n of all:

    queries 1  keys 1
    queries 2  keys 1 2
    queries 3  keys 1 2 3
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode
from transformers import PreTrainedModel

from dpo_book.models.recomputed import is_recomputed

BLOCKS = 4
FROM = 256  # columns; in shorter rows the blocks cost as much as they save


def without_the_future(model: PreTrainedModel, mask: Tensor) -> AbstractContextManager:
    """Within it the model's attention over rows with this mask (B, 1, T, T), bool, is computed in blocks.

    mask: true nowhere above its diagonal. Nothing changes on other devices, whose attention has ways of its own; in
    short rows; and for a model whose blocks are run again for the gradient: that is done later, outside of here.
    """
    if mask.device.type != "cpu" or mask.shape[-1] < FROM or is_recomputed(model):
        return nullcontext()
    return _InBlocks(mask)


class _InBlocks(TorchFunctionMode):
    """Does scaled_dot_product_attention in blocks, where it is called with a mask as large as ``mask``."""

    def __init__(self, mask: Tensor):
        super().__init__()
        self._mask = mask
        self._blocks: list[tuple[slice, slice, Tensor]] = []  # queries, keys, and 0 or −∞ for each two

    def __torch_function__(
        self, function: Callable, types: Sequence[type], args: Sequence = (), kwargs: Mapping | None = None
    ) -> object:
        kwargs = dict(kwargs or {})
        if function is scaled_dot_product_attention and self._is_meant(kwargs.get("attn_mask")):
            return self._attention(*args, **kwargs)
        return function(*args, **kwargs)

    def _is_meant(self, mask: Tensor | None) -> bool:
        return mask is not None and mask.shape == self._mask.shape and mask.dtype == torch.bool

    def _attention(self, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor, **settings: object) -> Tensor:
        found = []
        for queries, keys, added in self._in_blocks(query.dtype):
            part = query[..., queries, :], key[..., keys, :], value[..., keys, :]
            found.append(scaled_dot_product_attention(*part, attn_mask=added, **settings))
        return torch.cat(found, dim=-2)

    def _in_blocks(self, dtype: torch.dtype) -> list[tuple[slice, slice, Tensor]]:
        """Made once for all layers, in the form that each would else make for itself."""
        if not self._blocks:
            columns = self._mask.shape[-1]
            ends = [columns * (i + 1) // BLOCKS for i in range(BLOCKS)]
            for start, end in zip([0, *ends], ends, strict=False):
                mask = self._mask[..., start:end, :end]
                added = torch.zeros(mask.shape, dtype=dtype).masked_fill_(~mask, -torch.inf)
                self._blocks.append((slice(start, end), slice(0, end), added))
        return self._blocks
