"""A last block whose feed-forward layer is run for some tokens only.

Behind the last block no token looks at another any more. Where nobody reads what a prompt's tokens have become, the
block's feed-forward layer, two thirds of a block of GPT-2's, has nobody to make it for.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn.functional import embedding
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer


@contextmanager
def fed_forward_at(model: PreTrainedModel, places: Tensor) -> Iterator[None]:
    """Within it the model's last hidden states are made up at these places only, elsewhere they are something else.

    places (K,) int64, each once: of the B · T tokens that the model is run on. ValueError for a model without such a
    layer; one that has it may still need it for all tokens: see ``Traits.feeds_forward_by_token``.
    """
    layer = _feed_forward_layer(model)
    shapes: list[torch.Size] = []

    def only_there(_, inputs: tuple[Tensor]) -> tuple[Tensor]:
        (states,) = inputs  # (B, T, D)
        shapes.append(states.shape)
        # As rows of a table that are looked up: on a CPU the gradient of that is quicker than index_select's.
        return (embedding(places, states.flatten(0, 1))[None],)

    def back_in_place(_, __, found: Tensor) -> Tensor:
        shape = shapes.pop()
        return found.new_zeros(shape).flatten(0, 1).index_copy(0, places, found[0]).view(shape)

    hooks = [layer.register_forward_pre_hook(only_there), layer.register_forward_hook(back_in_place)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _feed_forward_layer(model: PreTrainedModel) -> torch.nn.Module:
    blocks = [module for module in model.base_model.modules() if isinstance(module, GradientCheckpointingLayer)]
    layer = getattr(blocks[-1], "mlp", None) if blocks else None
    if layer is None:
        raise ValueError(f"{type(model).__name__} has no last block with a layer called mlp")
    return layer
