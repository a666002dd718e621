"""Digests of models and data: they tell whether two runs, or kept results, were made from the same."""

import hashlib
import json
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor
from transformers import PreTrainedModel


def model_digest(model: PreTrainedModel) -> str:
    """Class, size and a digest of the weights, such as "GPT2LMHeadModel of 124,439,808 parameters, 1f0c…"."""
    weights = digest(type(model).__name__, dict(model.named_parameters()))
    return f"{type(model).__name__} of {model.num_parameters():,} parameters, {weights[:16]}"


def data_digest(rows: Iterable) -> str:
    """How many rows, and a digest of them, such as "300 rows, 9b1e…". rows: anything that JSON can write."""
    rows = list(rows)
    return f"{len(rows):,} rows, {hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]}"


def digest(text: str, tensors: Mapping[str, Tensor]) -> str:
    """Of a text and of named tensors: every name, type, shape and bit of them."""
    sha256 = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        sha256.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        sha256.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return sha256.hexdigest()
