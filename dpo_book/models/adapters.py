"""A LoRA adapter that peft saved, merged into the weights of its base: a plain model again."""

import json
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import cached_file, find_adapter_config_file

from dpo_book.models.refusals import NotAPolicyError, PolicyNotFoundError, first_of
from dpo_book.models.traits import states_agree, trial_rows
from dpo_book.system.hub import first_line, hub_answers

Loaded = tuple[PreTrainedModel, PreTrainedTokenizerBase]
Read = Callable[[str, dict], Loaded]  # a model's name and where to look for it

ADAPTER = "adapter_model.safetensors"
# How far a merged adapter may be from the one beside its base, as a share of how far tokens are from each other: the
# weights are rounded once more. One that has gone to the wrong place is further off.
MERGED = 1e-3


def adapter_folder(name: str, where: dict) -> Path | None:
    """Where the files of a peft adapter lie, if that is what the name is of."""
    try:
        found = find_adapter_config_file(name, local_files_only=where["local_files_only"])
    except (OSError, ValueError):  # nothing is there: reading it says so
        return None
    if found is None:
        return None
    if (Path(name) / "config.json").exists():
        raise NotAPolicyError(
            f"{name} holds a whole model, config.json, and a peft adapter, adapter_config.json: take one of them away"
        )
    return Path(found).parent


def merged_adapter(name: str, folder: Path, where: dict, read: Read) -> Loaded:
    """The adapter's base, a plain model with the adapter in its weights; the tokenizer beside it, or the base's.

    read: how the base is loaded. where: from the hub, or from this disk alone.
    """
    try:
        from peft import PeftModel
    except ImportError:
        raise NotAPolicyError(
            f'{name} is a peft adapter: pip install "dpo-book[lora]" to load it, or merge it into its base first '
            "(peft's merge_and_unload) and give the merged folder"
        ) from None
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    base = config.get("base_model_name_or_path")
    if not base or not isinstance(base, str):
        raise NotAPolicyError(f"{name} is a peft adapter whose adapter_config.json names no base_model_name_or_path")
    if "num_virtual_tokens" in config:
        raise NotAPolicyError(
            f"{name} is a peft adapter of the type {config.get('peft_type')}, which puts tokens before a text: only "
            "one that changes weights, as LoRA, can be merged into its base"
        )
    try:
        model, tokenizer = read(base, where | {"local_files_only": not hub_answers(base)})
    except OSError as error:
        raise PolicyNotFoundError(f"{name} is a peft adapter, and of its base {error}") from error
    try:
        weights = cached_file(name, ADAPTER, local_files_only=where["local_files_only"])
        saved = load_file(weights)
        if _has_tokenizer(name, where):
            tokenizer = AutoTokenizer.from_pretrained(name, **where)
        row = trial_rows(model)[0][None]
        adapted = PeftModel.from_pretrained(model, folder).eval()
        differing = _without_a_place(saved, adapted)
        expected = _logits(adapted, row)
        merged = adapted.merge_and_unload()
        merged.tie_weights()  # as it is after saving and loading
        found = _logits(merged, row)
    except Exception as error:  # of any class, as in reading a model
        raise PolicyNotFoundError(
            f"{name} is a peft adapter, and could not be added to its base {base}: it must hold adapter_config.json "
            f"and {ADAPTER} ({type(error).__name__}: {first_line(error)})"
        ) from error
    if differing:
        raise NotAPolicyError(
            f"the adapter in {name} does not fit its base {base}: one of them has no {first_of(differing)}"
        )
    if not states_agree(found, expected, expected, MERGED):
        raise NotAPolicyError(
            f"{name} cannot be merged into its base {base}: with the adapter beside it the model says something else "
            "than with the adapter in its weights. If it changes lm_head or the embedding and the base ties the two, "
            "untie them before the adapter is trained"
        )
    return merged.requires_grad_(True), tokenizer


def _has_tokenizer(name: str, where: dict) -> bool:
    """Whether a tokenizer was saved with the adapter, in its folder or on the hub."""
    missing = {"_raise_exceptions_for_missing_entries": False, "_raise_exceptions_for_connection_errors": False}
    file = cached_file(name, "tokenizer_config.json", local_files_only=where["local_files_only"], **missing)
    return file is not None


def _without_a_place(saved: dict[str, torch.Tensor], adapted: PreTrainedModel) -> set[str]:
    """What an adapter's file and the adapter in its base do not have in common.

    A file may hold plain weights of the base too, as embeddings that were made larger: they have come to stand there.
    """
    from peft import get_peft_model_state_dict

    weights = adapted.state_dict()
    differing = saved.keys() ^ get_peft_model_state_dict(adapted).keys()
    return {key for key in differing if not (key in saved and key in weights and saved[key].equal(weights[key]))}


@torch.no_grad()
def _logits(model: torch.nn.Module, row: torch.Tensor) -> torch.Tensor:
    return model(input_ids=row, attention_mask=torch.ones_like(row), use_cache=False).logits[0]
