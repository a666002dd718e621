"""Activations computed twice and not kept (gradient checkpointing; Chen et al. 2016, arXiv 1604.06174).

Of a block only its input stays in memory until the gradient needs what is inside; then the block is run again. With n
blocks, memory for activations falls from n blocks to n inputs and one block, for one more forward pass.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import CheckpointWrapper
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer


@contextmanager
def recomputed(model: PreTrainedModel) -> Iterator[None]:
    """Within it the model's blocks are run again for the gradient; results and gradients are the same.

    transformers' own switch does this only in training mode, in which dropout is on, and log π a draw. ValueError as
    of ``require_blocks``.
    """
    blocks = require_blocks(model)
    for block in blocks:
        # Nothing in a block is drawn, so nobody's random numbers have to be kept for the second time.
        block.forward = partial(checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False)
    try:
        yield
    finally:
        for block in blocks:
            del block.forward  # the class's own is behind it


def is_recomputed(model: PreTrainedModel) -> bool:
    """Whether some of the model is run again for the gradient: within ``recomputed``, by transformers, or by torch.

    Also true where anything else stands before a module's own forward pass, since nobody knows what it does.
    """
    return any(map(_is_run_again, model.modules()))


def _is_run_again(module: torch.nn.Module) -> bool:
    by_transformers = module.training and getattr(module, "gradient_checkpointing", False)
    return by_transformers or isinstance(module, CheckpointWrapper) or "forward" in vars(module)


def require_blocks(model: PreTrainedModel) -> list[torch.nn.Module]:
    """The blocks that can be run again, those within others left out; ValueError if there is none."""
    blocks, inside = [], set()
    for module in model.modules():
        if isinstance(module, GradientCheckpointingLayer) and module not in inside:
            blocks.append(module)
            inside.update(module.modules())
    if not blocks:
        raise ValueError(
            f"{type(model).__name__} has no blocks that can be computed again: leave gradient_checkpointing out"
        )
    return blocks
