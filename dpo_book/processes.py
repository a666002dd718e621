"""Several processes that train one model: what ``accelerate launch`` and torchrun start, on one machine or many.

Each process takes its rows of every batch. Either each also holds the whole model, and gradients are averaged (DDP);
or each holds a part of every weight and of what belongs to it, and the weights of a block are put together when a
computation comes to it (FSDP). Everything about ``torch.distributed`` is here; where a process is alone, these
functions do nothing.
"""

import copy
import os
from collections.abc import Callable
from contextlib import nullcontext
from typing import TypeVar

import torch
from torch import Tensor, distributed
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel
from transformers import PreTrainedModel

T = TypeVar("T")
Together = Callable[[Callable[[], T], bool], T]


def join() -> torch.device:
    """Meet the other processes, if a launcher started several. Returns where a whole model belongs.

    That is this process's device; with ``accelerate launch --use_fsdp`` the CPU, for the device may have no room.
    """
    cuda = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if cuda else torch.device("cpu")
    if int(os.environ.get("WORLD_SIZE", 1)) > 1 and not distributed.is_initialized():
        if cuda:
            torch.cuda.set_device(device)
        distributed.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo")
    if not _splits():
        return device
    os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"] = "false"  # or transformers loads weights in the first process only
    return torch.device("cpu")


def leave() -> None:
    """Part from the other processes. One that just ends may be aborted by its threads, and bring down the rest."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def this_process() -> tuple[int, int]:
    """Which process this is, from 0, and of how many: (0, 1) where it is alone."""
    if not distributed.is_initialized():
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()


def sum_over_processes(tensors: list[Tensor]) -> None:
    """Replace each tensor by its sum over all processes, the same bits in each of them."""
    if this_process() != (0, 1):
        for tensor in tensors:
            distributed.all_reduce(tensor)


def any_process(says: bool) -> bool:
    """Whether at least one of all processes says so. All have to ask."""
    said = torch.tensor(float(says))
    sum_over_processes([said])
    return bool(said)


def split(model: PreTrainedModel) -> PreTrainedModel:
    """With ``accelerate launch --use_fsdp``, a copy of ``model`` of which each process holds a part; else ``model``.

    Each of its blocks is put together when it is needed, and taken apart again; the rest (embeddings, head) is
    together during a whole computation. Only within ``together(model)`` are weights there whole.
    """
    if not _splits():
        return model
    cuda = torch.cuda.is_available()
    mesh = distributed.init_device_mesh("cuda" if cuda else "cpu", (this_process()[1],))
    parts = copy.deepcopy(model)
    blocks = [module for module in parts.modules() if type(module).__name__ in set(parts._no_split_modules or ())]
    for block in reversed(blocks):  # one within another, as in Mamba, comes first
        fully_shard(block, mesh=mesh)
    fully_shard(parts, mesh=mesh)
    parts.compute = lambda compute: compute()
    register_fsdp_forward_method(parts, "compute")
    return parts


def together(model: PreTrainedModel) -> Together:
    """``run(compute, last)``, which runs a computation with ``model`` as one part of a step of all processes.

    Each process has to run equally many. After ``last`` of them, backward() leaves in every parameter's gradient the
    *mean* over processes of the sum over their parts.
    """
    if is_split(model):
        take_apart(model)  # what is trained are the parts
        return lambda compute, last: model.compute(compute)
    if this_process() == (0, 1):
        return lambda compute, last: compute()
    ddp = DistributedDataParallel(_Computation(model), gradient_as_bucket_view=True)

    def run(compute: Callable[[], T], last: bool) -> T:
        with nullcontext() if last else ddp.no_sync():
            return ddp(compute)

    return run


def with_weights(model: PreTrainedModel, compute: Callable[[], T]) -> T:
    """What ``compute()`` gives, all processes running it at once, with the weights that it needs put together."""
    return model.compute(compute) if is_split(model) else compute()


def take_apart(model: PreTrainedModel) -> None:
    """Leave only this process's parts of a split model: weights that a computation without backward() put together,
    and that would be stale once the parts change, are let go. Nothing for another model.
    """
    if is_split(model):
        model.reshard()


def gather(parts: PreTrainedModel, model: PreTrainedModel) -> PreTrainedModel:
    """``model`` with the weights of ``parts``, what ``split(model)`` gave."""
    if parts is not model:
        take_apart(parts)
        with torch.no_grad():
            for part, parameter in zip(parts.parameters(), model.parameters(), strict=True):
                parameter.copy_(whole(part))
    return model


def is_split(model: PreTrainedModel) -> bool:
    """Whether ``split`` made this model, and its parameters are parts."""
    return isinstance(model, FSDPModule)


def whole(tensor: Tensor) -> Tensor:
    """A tensor of which each process may hold a part, whole in each of them. All processes have to ask."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def like(tensor: Tensor, parameter: Tensor) -> Tensor:
    """A whole tensor in the form of ``parameter``: on its device, and this process's part of it if that is one."""
    if isinstance(parameter, DTensor):
        return distribute_tensor(tensor.to(parameter.device), parameter.device_mesh, parameter.placements)
    return tensor.to(parameter.device)


def _splits() -> bool:
    return this_process()[1] > 1 and os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"


class _Computation(torch.nn.Module):
    """A model as DDP wants it, with any computation as its forward pass."""

    def __init__(self, model: PreTrainedModel):
        super().__init__()
        self.model = model

    def forward(self, compute: Callable[[], T]) -> T:
        return compute()
