"""A batch read so that every row is what it is alone, unpadded, whatever the model and wherever the padding stands.

The one door to a model's body and logits for rows of unlike lengths. Where a model hides padding, a batch is read as
it is. Where it does not hide padding on the left, rows are moved to the first column: what comes after a token, a
causal model cannot see. Where even that differs, each row is read alone.
"""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from transformers import PreTrainedModel

from dpo_book.models.batch import Batch
from dpo_book.models.traits import Traits, traits_of
from dpo_book.system.processes import is_sharded

# (B, T) tokens → (B, K, ...): something at each of the last K of the first T − 1 columns, of the token there.
Reader = Callable[[Batch], Tensor]


class ShardsError(RuntimeError):
    """Processes that each hold a shard of a model cannot read a batch in the way that this model needs."""


def as_alone(model: PreTrainedModel, read: Reader) -> Reader:
    """``read``, which runs ``model`` on a whole batch, for batches that have to be read in another way too.

    Made once for a model. Its result has K = T − 1 where it had to move rows, with zeros where nothing was read.
    """
    return partial(_read_as_alone, model, traits_of(model), read)


def _read_as_alone(model: PreTrainedModel, traits: Traits, read: Reader, batch: Batch) -> Tensor:
    if traits.steady_below < math.inf and _longest(batch) >= traits.steady_below:
        return _one_by_one(model, read, batch)
    if traits.hides_padding:
        return read(batch)
    return _from_the_first_column(read, batch)


def _longest(batch: Batch) -> int:
    return int(batch.attention_mask.sum(dim=1).max())


def _from_the_first_column(read: Reader, batch: Batch) -> Tensor:
    """Read with all padding on the right; what was found, back where its tokens stand."""
    rows, width = batch.input_ids.shape
    tokens_first = batch.attention_mask.int().argsort(dim=1, descending=True, stable=True)
    columns = tokens_first[:, : _longest(batch) + 1]  # and one for the last, which is not run
    moved = Batch(
        input_ids=batch.input_ids.gather(1, columns),
        attention_mask=batch.attention_mask.gather(1, columns),
        completion_mask=batch.completion_mask.gather(1, columns),
    )
    found = read(moved)  # (B, K, ...)
    columns = columns[:, :-1][:, -found.shape[1] :]
    index = columns.reshape(*columns.shape, *[1] * (found.dim() - 2)).expand_as(found)
    return found.new_zeros(rows, width, *found.shape[2:]).scatter(1, index, found)[:, :-1]


def _one_by_one(model: PreTrainedModel, read: Reader, batch: Batch) -> Tensor:
    """Each row alone and whole, for its last token too may change what the others are."""
    if is_sharded(model):
        raise ShardsError(
            f"{type(model).__name__} has to read rows of {_longest(batch)} tokens one by one, which processes that "
            "each hold a shard of it cannot do together: train it without FSDP"
        )
    rows = []
    for ids, is_token, is_completion in zip(
        batch.input_ids, batch.attention_mask, batch.completion_mask, strict=True
    ):
        columns = is_token.nonzero().flatten()
        row = Batch(
            _and_one_more(ids[columns]), _and_one_more(is_token[columns]), _and_one_more(is_completion[columns])
        )
        _forget_rows(model)
        found = read(row)[0]  # (K, ...)
        whole = found.new_zeros(len(ids), *found.shape[1:])
        rows.append(whole.index_copy(0, columns[-len(found) :], found))
    return torch.stack(rows)[:, :-1]


def _and_one_more(row: Tensor) -> Tensor:
    """A batch of this row, with a last column, which is not run."""
    return torch.cat([row, row.new_zeros(1)])[None]


@torch.no_grad()
def _forget_rows(model: PreTrainedModel) -> None:
    """Dynamic rotary embeddings keep the angles of the longest row so far until a short one comes."""
    token = torch.zeros(1, 1, dtype=torch.long, device=model.device)
    model.base_model(input_ids=token, attention_mask=torch.ones_like(token), use_cache=False)
