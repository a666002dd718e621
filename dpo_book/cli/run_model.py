"""A run's trained model in its folder: saved whole, with a manifest by which it is known to be whole."""

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from safetensors import SafetensorError, safe_open
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dpo_book.models.quiet import quiet
from dpo_book.system.files import FileError, read_object, replace_folder, replace_whole
from dpo_book.system.manifest import MANIFEST, file_digests, read_manifest, write_manifest
from dpo_book.training.checkpoints import CheckpointError

EVALUATION = "evaluation.json"  # in the folder of a run's best model


def save_model(folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Model and tokenizer as ``save_pretrained`` writes them, in a folder that is there whole or not at all.

    CheckpointError where there is no room, or something else is in its place.
    """
    _save(replace_whole, folder, partial(_write, model, tokenizer))


def save_best(
    folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, about: Mapping[str, object]
) -> None:
    """As ``save_model``, in place of the one before, with what was measured in a file beside it."""

    def write(scratch: Path) -> None:
        scratch.mkdir()
        (scratch / EVALUATION).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
        _write(model, tokenizer, scratch)

    _save(replace_folder, folder, write)


def _write(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, scratch: Path) -> None:
    with quiet():
        model.save_pretrained(scratch)
    tokenizer.save_pretrained(scratch)
    write_manifest(scratch)


def _save(replace: Callable[[Path, Callable], None], folder: Path, write: Callable[[Path], None]) -> None:
    try:
        replace(folder, write)
    except Exception as error:
        if not _is_of_the_disk(error):
            raise
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(
            f"{folder} could not be saved; the last checkpoint is kept, and the same command goes on from there "
            f"({reason})"
        ) from error


def _is_of_the_disk(error: Exception) -> bool:
    """The libraries in Rust have errors of their own for a full disk, tokenizers none but a plain Exception."""
    return isinstance(error, OSError | SafetensorError) or type(error) is Exception


def damage_of(folder: Path) -> str | None:
    """What is wrong with a folder that ``save_model`` is to have written; None if it is whole.

    Files that were put there besides do no harm.
    """
    if not folder.is_dir():
        return "it is a file" if folder.exists() else "it is not there"
    if not (folder / MANIFEST).exists():
        return _unreadable(folder)
    try:
        kept = read_manifest(folder)
    except FileError as error:
        return f"{MANIFEST}: {error}"
    there = file_digests(folder)
    for name, digest in kept.items():
        if name not in there:
            return f"{name} is missing"
        if there[name] != digest:
            return f"{name} has changed"
    return None


def _unreadable(folder: Path) -> str | None:
    """What can be told of a model that an earlier version saved, without a manifest: its files can be opened."""
    try:
        read_object(folder / "config.json")
    except FileError as error:
        return f"config.json: {error}"
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        return "there is no model.safetensors"
    for path in weights:
        try:
            with safe_open(path, framework="pt"):  # reads the header, and the file must be as long as that says
                pass
        except (OSError, SafetensorError) as error:
            return f"{path.name}: {error}"
    return None
