"""A trained reward model from a folder or the hub: whole, with one reward as its output, and with its tokenizer."""

import os

import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from dpo_book.models.quiet import quiet
from dpo_book.models.refusals import first_of
from dpo_book.system.devices import find_device
from dpo_book.system.hub import first_line, hub_answers


class NotARewardModelError(ValueError):
    """What is there is no reward model with its tokenizer; the message names it and what is wrong."""


def load_reward_model(
    name_or_path: str | os.PathLike, device: str | torch.device | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """``(model, tokenizer)`` of a sequence classifier with one label, as ``build_reward_model`` makes them.

    In float32, from safetensors alone; device: see ``find_device``. NotARewardModelError for a name that does not
    exist, files that cannot be read, and weights that are missing, as the head's of a policy are.
    """
    name, place = str(name_or_path), find_device(device)
    where = {"trust_remote_code": False, "local_files_only": not hub_answers(name)}
    weights = {"use_safetensors": True, "dtype": torch.float32}
    weights |= {"output_loading_info": True, "ignore_mismatched_sizes": True}  # looked at below, all of one kind
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, **where)
        with quiet():
            model, found = AutoModelForSequenceClassification.from_pretrained(name, **weights, **where)
    except Exception as error:  # of any class: a configuration may hold anything, and a file may end anywhere
        raise NotARewardModelError(
            f"no reward model could be loaded from {name!r}: it must be a folder such as OUT/model that the command "
            f"reward writes, or a hub id (transformers said: {first_line(error)})"
        ) from error
    _check(name, model, found)
    return model.to(place).eval(), tokenizer


def _check(name: str, model: PreTrainedModel, found: dict) -> None:
    missing = set(found["missing_keys"]) | {key for key, *_ in found["mismatched_keys"]}
    if missing:
        raise NotARewardModelError(
            f"{name} is no reward model: it lacks {first_of(missing)}, which would be random numbers (a policy has "
            "no scalar head)"
        )
    if model.config.num_labels != 1:
        raise NotARewardModelError(
            f"{name} is no reward model: it has {model.config.num_labels} labels, and a reward is one number"
        )
