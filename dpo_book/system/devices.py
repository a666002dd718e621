"""Where a model is put, and with how many digits it computes there.

Everything else follows the model: batches, samples and log-probabilities of a policy are made where it lies. What is
compared, tables over all responses and rewards, lies on the CPU.
"""

import os
from contextlib import AbstractContextManager

import torch

from dpo_book.system.provenance import processor

VARIABLE = "DPO_BOOK_DEVICE"
MADE_FOR_BFLOAT16 = 8  # the generation of CUDA cards from which on tensor cores take it: Ampere


class DeviceError(ValueError):
    """There is no such device, or not on this machine; the message says what was asked for, and where."""


def best_device() -> torch.device:
    """The first that this machine has of: a CUDA GPU, Apple's GPU (MPS), the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def find_device(name: str | torch.device | None = None) -> torch.device:
    """The device called "cpu", "cuda", "cuda:1", "mps", or "auto", the best one that is here.

    By default what the environment's DPO_BOOK_DEVICE says, and where it says nothing the CPU: there the book's
    outputs were recorded, and a GPU adds up in another order. DeviceError for what is no device, or one that this
    machine lacks.
    """
    source = "device" if name else VARIABLE
    name = str(name or os.environ.get(VARIABLE) or "cpu")
    if name == "auto":
        return best_device()
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda", "mps"):
        raise DeviceError(f"{source} must be cpu, cuda, cuda:1 and so on, mps, or auto; got {name!r}")
    if not _is_here(device):
        raise DeviceError(f"{source} is {name}, and this machine has no such device; its best one is {best_device()}")
    return device


def asked_or_best() -> torch.device:
    """What DPO_BOOK_DEVICE says; where it says nothing a CUDA GPU if there is one, else the CPU.

    Apple's GPU has to be asked for: nobody has tried the book on one. DeviceError as ``find_device``.
    """
    if os.environ.get(VARIABLE) or not torch.cuda.is_available():
        return find_device()
    return best_device()


def _is_here(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()
    return device.type == "cpu" or torch.backends.mps.is_available()


def precision(device: torch.device) -> torch.dtype:
    """What matrix products of a step are computed in: bfloat16 on a CUDA GPU that is made for it, else float32.

    Weights, AdamW's state and losses are float32 everywhere. A card without bfloat16 (before Ampere: Colab's T4)
    would imitate it, slower and less exact than its float32; on a CPU results are compared with exact ones.
    """
    if device.type != "cuda":
        return torch.float32
    generation, _ = torch.cuda.get_device_capability(device)
    return torch.bfloat16 if generation >= MADE_FOR_BFLOAT16 else torch.float32


def forked_rng() -> AbstractContextManager:
    """Within it random numbers may be seeded and drawn; after it everybody's, on every GPU in use, are as before."""
    cuda = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    return torch.random.fork_rng(devices=list(cuda))


def widest_float(device: torch.device) -> torch.dtype:
    """What long sums are added up in: float64, or float32 on Apple's GPU, which has nothing wider."""
    return torch.float32 if device.type == "mps" else torch.float64


def describe(device: torch.device) -> str:
    """The device and the precision of a step there, for people: "NVIDIA H100 80GB HBM3 (cuda), bfloat16"."""
    name = f"{torch.cuda.get_device_name(device)} (cuda)" if device.type == "cuda" else device.type
    return f"{name}, {str(precision(device)).removeprefix('torch.')}"


def hardware(device: torch.device | None = None) -> str:
    """What a run of a stored table is computed on, by default ``find_device()``: a GPU, or one processor's thread."""
    device = device or find_device()
    return f"{processor()}, 1 thread" if device.type == "cpu" else describe(device)
