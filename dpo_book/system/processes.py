"""Several processes that train one model: what ``accelerate launch`` and torchrun start, on one machine or many.

Each process takes its rows of every batch. Either each also holds the whole model, and gradients are averaged (DDP);
or each holds a shard of every weight and of what belongs to it, and the weights of a block are gathered when a
computation comes to it (FSDP). Everything about ``torch.distributed`` is here; where a process is alone, these
functions do nothing.
"""

import copy
import os
import sys
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, distributed
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel
from transformers import PreTrainedModel

from dpo_book.system.devices import asked_or_best

T = TypeVar("T")
Together = Callable[[Callable[[], T], bool], T]


def join() -> torch.device:
    """Meet the other processes, if a launcher started several. Returns where a whole model belongs.

    That is this process's own GPU where there are several processes, and for one process ``asked_or_best()``; with
    ``accelerate launch --use_fsdp`` the CPU, for the device may have no room. ValueError where there are more
    processes than GPUs, DeviceError where the device that was asked for is not here.
    """
    place, cuda = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.is_available()
    if cuda and place >= torch.cuda.device_count():
        raise ValueError(f"{torch.cuda.device_count()} GPUs are here, and more processes: one GPU for each is needed")
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        return asked_or_best()
    device = torch.device("cuda", place) if cuda else torch.device("cpu")
    if not distributed.is_initialized():
        if cuda:
            torch.cuda.set_device(device)
        distributed.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo")
    if not _shards():
        return device
    os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"] = "false"  # or transformers loads weights in the first process only
    return torch.device("cpu")


def leave(status: int) -> None:
    """End one of several processes at once, with this exit status; where a process is alone, return.

    An ordinary exit may be aborted by the threads of the process group, and taking that down waits for the others,
    who after an error here wait themselves. The launcher ends them when it sees the status.
    """
    if not distributed.is_initialized():
        return
    if status == 0:
        distributed.barrier()  # nobody goes while another still needs an answer
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def this_process() -> tuple[int, int]:
    """Which process this is, from 0, and of how many: (0, 1) where it is alone."""
    if not distributed.is_initialized():
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()


def all_reduce_sum(tensors: list[Tensor]) -> None:
    """Replace each tensor by its sum over all processes, the same bits in each of them."""
    if this_process() != (0, 1):
        for tensor in tensors:
            distributed.all_reduce(tensor)


def any_process(says: bool) -> bool:
    """Whether at least one of all processes says so. All have to ask."""
    said = torch.tensor(float(says))
    all_reduce_sum([said])
    return bool(said)


def all_agree(what: object) -> bool:
    """Whether all processes have the same ``what``. All have to ask."""
    _, processes = this_process()
    everybodys = [what] * processes
    if processes > 1:
        distributed.all_gather_object(everybodys, what)
    return all(theirs == what for theirs in everybodys)


def together(model: PreTrainedModel) -> Together:
    """``run(compute, last)``, which runs a computation with ``model`` as one part of a step of all processes.

    Each process has to run equally many. After ``last`` of them, backward() leaves in every parameter's gradient the
    *mean* over processes of the sum over their parts.
    """
    if is_sharded(model):
        reshard(model)  # shards are what is trained
        return partial(_in_shards, model)
    if this_process() == (0, 1):
        return _alone
    ddp = DistributedDataParallel(_Computation(model), gradient_as_bucket_view=True)

    def run(compute: Callable[[], T], last: bool) -> T:
        with nullcontext() if last else ddp.no_sync():
            return ddp(compute)

    return run


def _alone(compute: Callable[[], T], last: bool) -> T:
    return compute()


def _in_shards(model: PreTrainedModel, compute: Callable[[], T], last: bool) -> T:
    return unsharded(model, compute)


class _Computation(torch.nn.Module):
    """A model as DDP wants it, with any computation as its forward pass."""

    def __init__(self, model: PreTrainedModel):
        super().__init__()
        self.model = model

    def forward(self, compute: Callable[[], T]) -> T:
        return compute()


# ------------------------------------------------------------------ FSDP


def shard(model: PreTrainedModel) -> PreTrainedModel:
    """With ``accelerate launch --use_fsdp``, a copy of ``model`` of which each process holds a shard; else ``model``.

    The weights of a block are gathered when it runs, and let go again; all others (embeddings, head) for a whole
    computation. It computes only in ``unsharded`` or ``together``.
    """
    if not _shards():
        return model
    cuda = torch.cuda.is_available()
    mesh = distributed.init_device_mesh("cuda" if cuda else "cpu", (this_process()[1],))
    sharded = copy.deepcopy(model)
    blocks = [part for part in sharded.modules() if type(part).__name__ in set(sharded._no_split_modules or ())]
    for block in reversed(blocks):  # one within another, as in Mamba, comes first
        fully_shard(block, mesh=mesh)
    fully_shard(sharded, mesh=mesh)
    sharded.compute = _call
    register_fsdp_forward_method(sharded, "compute")
    return sharded


def _call(compute: Callable[[], T]) -> T:
    return compute()


def is_sharded(model: PreTrainedModel) -> bool:
    """Whether ``shard`` made this model, and its parameters are shards."""
    return isinstance(model, FSDPModule)


def unsharded(model: PreTrainedModel, compute: Callable[[], T]) -> T:
    """What ``compute()`` gives, all processes running it at once, with the weights that it needs gathered."""
    if not is_sharded(model):
        return compute()
    try:
        return model.compute(compute)
    except Exception:
        model.reset_iter_state()  # it was left in the middle of a forward pass
        raise


def reshard(model: PreTrainedModel) -> None:
    """Let go of weights that a computation without backward() gathered: they would be stale once the shards change.

    Nothing for a model that is whole.
    """
    if is_sharded(model):
        model.reshard()


def gather(sharded: PreTrainedModel, model: PreTrainedModel) -> PreTrainedModel:
    """``model`` with the weights of ``sharded``, what ``shard(model)`` gave. All processes have to ask."""
    if sharded is not model:
        reshard(sharded)
        with torch.no_grad():
            for part, parameter in zip(sharded.parameters(), model.parameters(), strict=True):
                parameter.copy_(whole(part))
    return model


def whole(tensor: Tensor) -> Tensor:
    """A tensor of which each process may hold a shard, whole in each of them. All processes have to ask."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def sharded_like(parameter: Tensor, tensor: Tensor) -> Tensor:
    """A whole tensor on the device of ``parameter``, and this process's shard of it if that is one."""
    tensor = tensor.to(parameter.device)
    if isinstance(parameter, DTensor):
        return distribute_tensor(tensor, parameter.device_mesh, parameter.placements)
    return tensor


def _shards() -> bool:
    return this_process()[1] > 1 and os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"
