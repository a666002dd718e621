"""What a model's body makes of tokens: its last hidden states, where they are read.

Elsewhere they may be anything: what nobody reads need not be computed. See ``last_block.py``.
"""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from transformers import PreTrainedModel

from dpo_book.models.batch import Batch, model_inputs
from dpo_book.models.last_block import fed_forward_at, feed_forward_layer, is_watched
from dpo_book.models.recomputed import is_recomputed
from dpo_book.models.traits import traits_of


def read_at(model: PreTrainedModel, places: Tensor) -> AbstractContextManager:
    """Within it the body's last hidden states are right at these places (K,) of the B · T tokens that it is run on.

    They are right everywhere for a model whose blocks are run again for the gradient, which is done later, outside;
    and where somebody watches the body.
    """
    if is_recomputed(model) or is_watched(model) or not traits_of(model).feeds_forward_by_token:
        return nullcontext()
    return fed_forward_at(feed_forward_layer(model), places)


def predicting_states(model: PreTrainedModel, batch: Batch) -> Tensor:
    """Hidden states at all columns but the last, (B, T − 1, D), right where a completion's token is predicted."""
    return _states(model, batch, batch.completion_mask[:, 1:])


def closing_states(model: PreTrainedModel, batch: Batch) -> Tensor:
    """Hidden states at all columns but the last, (B, T − 1, D), right at each row's last token."""
    return _states(model, batch, last_token(batch))


def last_token(batch: Batch) -> Tensor:
    """(B, T − 1) bool: True at the last token of each row, whose last column is padding."""
    is_token = batch.attention_mask[:, :-1]
    columns = torch.arange(is_token.shape[1], device=is_token.device)
    last = (columns * is_token).argmax(dim=1)
    return columns == last[:, None]


def _states(model: PreTrainedModel, batch: Batch, read: Tensor) -> Tensor:
    """Hidden states (B, T − 1, D), right where ``read`` (B, T − 1) is true."""
    with read_at(model, read.flatten().nonzero().squeeze(-1)):
        return model.base_model(**model_inputs(batch)).last_hidden_state
