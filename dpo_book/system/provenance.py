"""Where a number comes from: digests of the models and data behind it, the machine and the versions it was made with.

Digests tell whether two runs, or kept results, were made from the same.
"""

import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # whoever has a tensor has torch; versions and cached files are asked for without
    from torch import Tensor
    from transformers import PreTrainedModel


def model_digest(model: "PreTrainedModel") -> str:
    """Class, size and a digest of the weights, such as "GPT2LMHeadModel of 124,439,808 parameters, 1f0c…"."""
    weights = digest(type(model).__name__, dict(model.named_parameters()))
    return f"{type(model).__name__} of {model.num_parameters():,} parameters, {weights[:16]}"


def data_digest(rows: Iterable) -> str:
    """How many rows, and a digest of them, such as "300 rows, 9b1e…". rows: anything that JSON can write."""
    rows = list(rows)
    return f"{len(rows):,} rows, {hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]}"


def digest(text: str, tensors: "Mapping[str, Tensor]") -> str:
    """Of a text and of named tensors: every name, type, shape and bit of them."""
    import torch

    sha256 = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        sha256.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        sha256.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return sha256.hexdigest()


def processor() -> str:
    """The processor's name as the system gives it, such as "AMD EPYC"."""
    if Path("/proc/cpuinfo").exists():  # Linux; platform.processor() is empty there
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def versions(*packages: str) -> str:
    """Such as "Python 3.11.2, torch 2.13.0, transformers 5.23.0", and any more ``packages`` that are named."""
    installed = [f"{name} {importlib.metadata.version(name)}" for name in ("torch", "transformers", *packages)]
    return ", ".join([f"Python {platform.python_version()}", *installed])
