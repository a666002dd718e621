"""A last block whose feed-forward layer is run for some tokens only.

Behind the last block no token looks at another any more. Where nobody reads what a prompt's tokens have become, the
block's feed-forward layer, two thirds of a block of GPT-2's, has nobody to make it for.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn.functional import embedding
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer


def feed_forward_layer(model: PreTrainedModel) -> torch.nn.Module | None:
    """That of the last of the model's blocks; None where it has none by the name of mlp."""
    blocks = [module for module in model.base_model.modules() if isinstance(module, GradientCheckpointingLayer)]
    return getattr(blocks[-1], "mlp", None) if blocks else None


def is_watched(model: PreTrainedModel) -> bool:
    """Whether somebody has hooks in the model's body, who may count on all tokens being right."""
    return any(map(_has_hooks, model.base_model.modules()))


def _has_hooks(module: torch.nn.Module) -> bool:
    backward = module._backward_pre_hooks or module._backward_hooks
    return bool(module._forward_pre_hooks or module._forward_hooks or backward)


@contextmanager
def fed_forward_at(layer: torch.nn.Module, places: Tensor) -> Iterator[None]:
    """Within it the layer takes states (B, T, D), is run on those at these places alone, and gives 0 elsewhere.

    places (K,) int64, each once: of the B · T tokens. Other threads' calls are left as they are.
    """
    shapes: list[torch.Size] = []

    def only_there(_, inputs: tuple[Tensor]) -> tuple[Tensor]:
        (states,) = inputs
        shapes.append(states.shape)
        # As rows of a table that are looked up: on a CPU the gradient of that is quicker than index_select's.
        return (embedding(places, states.flatten(0, 1))[None],)

    def back_in_place(_, __, found: Tensor) -> Tensor:
        shape = shapes.pop()
        return found.new_zeros(shape).flatten(0, 1).index_copy(0, places, found[0]).view(shape)

    with _hooked(layer, only_there, back_in_place):
        yield


@contextmanager
def unknown_elsewhere(layer: torch.nn.Module, places: Tensor) -> Iterator[None]:
    """Within it the layer's states (B, T, D) are not a number but at these places: whatever depends on others shows.

    With any weights: 0 times what is no number is none either. Other threads' calls are left as they are.
    """

    def forget(_, inputs: tuple[Tensor]) -> tuple[Tensor]:
        (states,) = inputs
        unknown = torch.full_like(states, torch.nan).flatten(0, 1)
        return (unknown.index_copy(0, places, states.flatten(0, 1)[places]).view_as(states),)

    def as_it_is(_, __, found: Tensor) -> Tensor:
        return found

    with _hooked(layer, forget, as_it_is):
        yield


@contextmanager
def _hooked(layer: torch.nn.Module, before: Callable, after: Callable) -> Iterator[None]:
    """With two hooks on the layer that are this thread's own."""
    hooks = [
        layer.register_forward_pre_hook(_in_this_thread(before)),
        layer.register_forward_hook(_in_this_thread(after)),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _in_this_thread(hook: Callable) -> Callable:
    """A hook that leaves other threads' calls as they are, as one that gives nothing back does."""
    thread = threading.get_ident()

    def called(*of_layer: object) -> object:
        return hook(*of_layer) if threading.get_ident() == thread else None

    return called
