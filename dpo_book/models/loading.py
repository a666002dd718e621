"""A policy from a hub id, a folder or a .gguf file: whole, a causal language model, and with its own tokenizer."""

import json
import os

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    GgufConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import cached_file

from dpo_book.data.conversations import ends_of_answers
from dpo_book.models.adapters import adapter_folder, merged_adapter
from dpo_book.models.leftovers import without_masks
from dpo_book.models.quiet import quiet
from dpo_book.models.refusals import NotAPolicyError, PolicyNotFoundError, first_of
from dpo_book.models.sampling import end_ids
from dpo_book.models.traits import require_causal
from dpo_book.system.devices import find_device
from dpo_book.system.hub import first_line, hub_answers


def load_policy(
    name_or_path: str | os.PathLike, device: str | torch.device | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """``(model, tokenizer)`` of a causal language model: a hub id such as "gpt2", a ``save_pretrained`` folder, a
    .gguf file, which transformers reads and turns into plain weights (with the package's extra "gguf"), or a LoRA
    adapter, which is added to the weights of its base (with the extra "lora").

    Weights come from safetensors or GGUF only (a pickle can run code), and no code is ever taken from the hub.
    The model is in float32 with dropout off, and its generation_config stops at the tokenizer's EOS too. It lies on
    ``device``: see ``find_device``.

    Raises PolicyNotFoundError, with what to do, when the name does not exist, the network cannot be reached, or the
    files cannot be read; NotAPolicyError when weights are missing or left over, a token sees what comes after it, or
    the tokenizer has more tokens than the model; ValueError for a device that this machine lacks.
    """
    name, place = str(name_or_path), find_device(device)
    where = {"trust_remote_code": False, "local_files_only": not hub_answers(name)}
    adapter = None if name.endswith(".gguf") else adapter_folder(name, where)
    if adapter is None:
        model, tokenizer = _read(name, where)
    else:
        model, tokenizer = merged_adapter(name, adapter, where, _read)
    model = model.to(place)
    try:
        require_causal(model)
    except ValueError as error:
        raise NotAPolicyError(f"{name}: {error}") from error
    _check_vocabulary(name, model, tokenizer)
    _stop_at_ends(name, model, tokenizer)
    return model.eval(), tokenizer


def _read(name: str, where: dict) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Tokenizer and model, as transformers reads them, if every tensor has its place."""
    source, weights = name, {"use_safetensors": True, "dtype": torch.float32}
    weights |= {"output_loading_info": True, "ignore_mismatched_sizes": True}  # looked at below, all of one kind
    weights["generation_config"] = _habits(name, where)
    if name.endswith(".gguf"):
        source, file = os.path.split(os.path.abspath(name))
        where = where | {"gguf_file": file}
        weights["quantization_config"] = GgufConfig(dequantize=True)  # blocks of 4 or 8 bits cannot be trained
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, **where)
        if len(tokenizer) <= len(tokenizer.all_special_ids):
            raise ValueError("there are no tokenizer files, or they hold no word")
        with quiet():
            model, found = AutoModelForCausalLM.from_pretrained(source, **weights, **where)
    except Exception as error:  # of any class: a configuration may hold anything, and a file may end anywhere
        raise _not_found(name, error) from error
    left_over = without_masks(name, where["local_files_only"], found["unexpected_keys"])
    _check_tensors(name, found | {"unexpected_keys": left_over})
    return model, tokenizer


def _habits(name: str, where: dict) -> GenerationConfig | None:
    """Where transformers refuses the generation_config.json, the ids in it, for nothing else there counts.

    None where transformers itself reads it, or there is none.
    """
    if name.endswith(".gguf"):
        return None
    try:
        GenerationConfig.from_pretrained(name, local_files_only=where["local_files_only"])
    except OSError:
        return None
    except Exception:  # of any class: every key has its own way of being wrong
        with open(cached_file(name, "generation_config.json", **where), encoding="utf-8") as file:
            settings = json.load(file)
        kept = ("bos_token_id", "eos_token_id", "pad_token_id")
        return GenerationConfig(**{key: settings.get(key) for key in kept}) if isinstance(settings, dict) else None
    return None


def _not_found(name: str, error: Exception) -> PolicyNotFoundError:
    said = first_line(error)
    if said.endswith(":"):  # which field it is; the next line says what is wrong with it
        said = " ".join(str(error).split())
    if not isinstance(error, (OSError, ValueError)):
        said = f"{type(error).__name__}: {said}"
    return PolicyNotFoundError(
        f"no policy could be loaded from {name!r}. If it is a folder, it must hold config.json, "
        "the tokenizer's files and model.safetensors, as save_pretrained writes them; a .gguf file must be whole "
        "and of a family that transformers reads. If it is a hub id, check its spelling and the network, or go "
        'on without either: build_policy("mini", train_tokenizer(texts)) needs none. '
        f"(transformers said: {said})"
    )


def _check_tensors(name: str, found: dict) -> None:
    """NotAPolicyError unless the weights are those that the configuration asks for.

    What may rightly be absent or too much has already been taken out: tied weights, and buffers.
    """
    faults = []
    if found["missing_keys"]:
        faults.append(f"it lacks {first_of(found['missing_keys'])}, which would be random numbers")
    if found["unexpected_keys"]:
        faults.append(f"it holds {first_of(found['unexpected_keys'])}, for which the model has no place")
    if found["mismatched_keys"]:
        names = [key for key, *_ in found["mismatched_keys"]]
        faults.append(f"of another shape is {first_of(names)}")
    if faults:
        raise NotAPolicyError(
            f"the weights in {name} are not those of its config.json: {'; '.join(faults)}. A policy is a causal "
            "language model, all of it, as save_pretrained writes it (a reward model is none)"
        )


def _check_vocabulary(name: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """NotAPolicyError if there is a token that the model cannot read, for sooner or later one comes."""
    rows = model.get_input_embeddings().weight.shape[0]
    token, highest = max(tokenizer.get_vocab().items(), key=_id_of)
    if highest >= rows:
        raise NotAPolicyError(
            f"the tokenizer in {name} has the token {token!r} with the id {highest}, and the model's embedding "
            f"{rows} rows: they do not belong together (model.resize_token_embeddings makes room)"
        )


def _id_of(item: tuple[str, int]) -> int:
    return item[1]


def _stop_at_ends(name: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """One set of end marks for both, and saved with the model, so that whoever draws from it later stops there too.

    A tokenizer without one gets the model's, unless that is an ordinary token, which stands within texts too. What of
    its generation_config could not be saved, and would lose a trained model at the end of a run, is left out.
    """
    try:
        ends = end_ids(model)
    except ValueError as error:
        raise NotAPolicyError(f"{name}: {error}") from error
    marks = ends & (set(tokenizer.all_special_ids) | set(tokenizer.get_added_vocab().values()))
    if tokenizer.eos_token_id is None and marks:
        tokenizer.eos_token = tokenizer.convert_ids_to_tokens(min(marks))
    ends |= ends_of_answers(tokenizer)
    habits = model.generation_config
    try:
        habits.validate(strict=True)
        habits.to_json_string()
    except Exception:  # of any class: every key has its own way of being wrong
        habits = GenerationConfig(bos_token_id=habits.bos_token_id, pad_token_id=habits.pad_token_id)
        model.generation_config = habits
    habits.eos_token_id = sorted(ends) if len(ends) > 1 else min(ends, default=None)
