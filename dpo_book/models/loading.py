"""A policy from a hub id, a folder or a .gguf file: whole, a causal language model, and with its own tokenizer."""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import safe_open
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    GgufConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import cached_file, find_adapter_config_file, logging

from dpo_book.data.conversations import ends_of_answers
from dpo_book.models.sampling import end_ids
from dpo_book.models.traits import require_causal
from dpo_book.system.hub import first_line, hub_answers

ADAPTER = "adapter_model.safetensors"


class PolicyNotFoundError(OSError):
    """A policy could not be loaded; the message names it and says what to do instead."""


class NotAPolicyError(ValueError):
    """What is there is no whole causal language model with its tokenizer; the message names it and what is wrong."""


def load_policy(name_or_path: str | os.PathLike) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """``(model, tokenizer)`` of a causal language model: a hub id such as "gpt2", a ``save_pretrained`` folder, a
    .gguf file, which transformers reads and turns into plain weights (with the package's extra "gguf"), or a LoRA
    adapter, which is added to the weights of its base (with the extra "lora").

    Weights come from safetensors or GGUF only (a pickle can run code), and no code is ever taken from the hub.
    The model is in float32 with dropout off, and its generation_config stops at the tokenizer's EOS too.

    Raises PolicyNotFoundError, with what to do, when the name does not exist, the network cannot be reached, or the
    files cannot be read; NotAPolicyError when weights are missing or left over, a token sees what comes after it, or
    the tokenizer has more tokens than the model.
    """
    name = str(name_or_path)
    where = {"trust_remote_code": False, "local_files_only": not hub_answers(name)}
    adapter = None if name.endswith(".gguf") else _adapter_folder(name, where)
    if adapter is None:
        model, tokenizer = _read(name, where)
    else:
        model, tokenizer = _merged(name, adapter, where)
    try:
        require_causal(model)
    except ValueError as error:
        raise NotAPolicyError(f"{name}: {error}") from error
    _check_vocabulary(name, model, tokenizer)
    _stop_at_ends(model, tokenizer)
    return model.eval(), tokenizer


def _read(name: str, where: dict) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Tokenizer and model, as transformers reads them, if every tensor has its place."""
    source, weights = name, {"use_safetensors": True, "dtype": torch.float32}
    weights |= {"output_loading_info": True, "ignore_mismatched_sizes": True}  # looked at below, all of one kind
    if name.endswith(".gguf"):
        source, file = os.path.split(os.path.abspath(name))
        where = where | {"gguf_file": file}
        weights["quantization_config"] = GgufConfig(dequantize=True)  # blocks of 4 or 8 bits cannot be trained
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, **where)
        if len(tokenizer) <= len(tokenizer.all_special_ids):
            raise ValueError("there are no tokenizer files, or they hold no word")
        with _no_table_of_tensors():
            model, found = AutoModelForCausalLM.from_pretrained(source, **weights, **where)
    except Exception as error:  # of any class: a configuration may hold anything, and a file may end anywhere
        raise _not_found(name, error) from error
    _check_tensors(name, found)
    return model, tokenizer


@contextmanager
def _no_table_of_tensors() -> Iterator[None]:
    """Without transformers' own report of the weights, a table on stderr: ours is one line."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


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

    transformers has already taken out what may rightly be absent or too much: tied weights, and buffers.
    """
    faults = []
    if found["missing_keys"]:
        faults.append(f"it lacks {_first_of(found['missing_keys'])}, which would be random numbers")
    if found["unexpected_keys"]:
        faults.append(f"it holds {_first_of(found['unexpected_keys'])}, for which the model has no place")
    if found["mismatched_keys"]:
        names = [key for key, *_ in found["mismatched_keys"]]
        faults.append(f"of another shape is {_first_of(names)}")
    if faults:
        raise NotAPolicyError(
            f"the weights in {name} are not those of its config.json: {'; '.join(faults)}. A policy is a causal "
            "language model, all of it, as save_pretrained writes it (a reward model is none)"
        )


def _first_of(names: Iterable[str]) -> str:
    first, *others = sorted(names)
    return f"{first} and {len(others)} more" if others else first


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


def _stop_at_ends(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """One set of end marks for both, and saved with the model, so that whoever draws from it later stops there too.

    What of its generation_config could not be saved, and would lose a trained model at the end of a run, is left out.
    """
    ends = end_ids(model)
    if tokenizer.eos_token_id is None and ends:
        tokenizer.eos_token = tokenizer.convert_ids_to_tokens(min(ends))
    ends |= ends_of_answers(tokenizer)
    habits = model.generation_config
    try:
        habits.validate(strict=True)
    except ValueError:
        habits = GenerationConfig(bos_token_id=habits.bos_token_id, pad_token_id=habits.pad_token_id)
        model.generation_config = habits
    if ends:
        habits.eos_token_id = sorted(ends) if len(ends) > 1 else min(ends)


# ------------------------------------------------------------------ LoRA adapters


def _adapter_folder(name: str, where: dict) -> Path | None:
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


def _merged(name: str, folder: Path, where: dict) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The adapter's base, a plain model with the adapter in its weights; the tokenizer beside it, or the base's."""
    try:
        from peft import PeftModel, get_peft_model_state_dict
    except ImportError:
        raise NotAPolicyError(
            f'{name} is a peft adapter: pip install "dpo-book[lora]" to load it, or merge it into its base first '
            "(peft's merge_and_unload) and give the merged folder"
        ) from None
    base = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8")).get("base_model_name_or_path")
    if not base or not isinstance(base, str):
        raise NotAPolicyError(f"{name} is a peft adapter whose adapter_config.json names no base_model_name_or_path")
    try:
        model, tokenizer = _read(base, where | {"local_files_only": not hub_answers(base)})
    except OSError as error:
        raise PolicyNotFoundError(f"{name} is a peft adapter, and of its base {error}") from error
    try:
        weights = cached_file(name, ADAPTER, local_files_only=where["local_files_only"])
        with safe_open(weights, framework="pt") as file:
            saved = set(file.keys())
        if (folder / "tokenizer_config.json").exists():
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        adapted = PeftModel.from_pretrained(model, folder)
        differing = saved ^ set(get_peft_model_state_dict(adapted))
        merged = adapted.merge_and_unload()
    except Exception as error:  # of any class, as in reading a model
        raise PolicyNotFoundError(
            f"{name} is a peft adapter, and could not be added to its base {base}: it must hold adapter_config.json "
            f"and {ADAPTER} ({type(error).__name__}: {first_line(error)})"
        ) from error
    if differing:
        raise NotAPolicyError(
            f"the adapter in {name} does not fit its base {base}: one of them has no {_first_of(differing)}"
        )
    return merged.requires_grad_(True), tokenizer
