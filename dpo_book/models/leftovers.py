"""Tensors that old checkpoints hold beside their weights: the masks of attention, once saved as buffers."""

import json
from collections.abc import Iterable

from safetensors import safe_open
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME, cached_file

MASKS = ("masked_bias", "causal_mask")  # nothing learned is called so


def without_masks(name: str, local_files_only: bool, keys: Iterable[str]) -> list[str]:
    """Those of the left-over ``keys`` of a checkpoint, a folder or hub id, that are weights.

    A mask goes by its name, or is the ``bias`` of an attention with the shape (1, 1, T, T): a weight called so has
    one dimension.
    """
    others = [key for key in keys if key.rpartition(".")[2] not in MASKS]
    doubtful = [key for key in others if _is_bias_of_attention(key)]
    shapes = _shapes(name, local_files_only) if doubtful else {}
    masks = [key for key in doubtful if _is_square(_shape_of(key, shapes))]
    return [key for key in others if key not in masks]


def _is_bias_of_attention(key: str) -> bool:
    *_, module, last = ["", *key.split(".")]
    return last == "bias" and module in ("attn", "attention", "self_attn", "self_attention")


def _shape_of(key: str, shapes: dict[str, list[int]]) -> list[int]:
    """Its shape in the file, where it may stand with the body's prefix or without it."""
    for stored, shape in shapes.items():
        if f".{stored}".endswith(f".{key}") or f".{key}".endswith(f".{stored}"):
            return shape
    return []


def _is_square(shape: list[int]) -> bool:
    return len(shape) == 4 and shape[:2] == [1, 1] and shape[2] == shape[3]


def _shapes(name: str, local_files_only: bool) -> dict[str, list[int]]:
    """Of all tensors of a checkpoint, from the headers of its files."""
    shapes = {}
    for path in _weight_files(name, local_files_only):
        with safe_open(path, framework="pt") as file:
            for key in file.keys():  # noqa: SIM118
                shapes[key] = file.get_slice(key).get_shape()
    return shapes


def _weight_files(name: str, local_files_only: bool) -> list[str]:
    if name.endswith(".gguf"):
        return []
    where = {"local_files_only": local_files_only, "_raise_exceptions_for_missing_entries": False}
    whole = cached_file(name, SAFE_WEIGHTS_NAME, **where)
    if whole is not None:
        return [whole]
    index = cached_file(name, SAFE_WEIGHTS_INDEX_NAME, **where)
    if index is None:
        return []
    with open(index, encoding="utf-8") as file:
        parts = set(json.load(file)["weight_map"].values())
    return [cached_file(name, part, **where) for part in sorted(parts)]
