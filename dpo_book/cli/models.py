"""The models of a command: loaded where they belong, looked at, and one of them made ready for training."""

import copy
from collections.abc import Sequence

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from dpo_book.cli.boundary import Refused, entering
from dpo_book.cli.data import Data
from dpo_book.data.tokens import prompt_ids
from dpo_book.models.loading import load_policy
from dpo_book.models.lora import Lora
from dpo_book.models.policy import build_policy, train_tokenizer
from dpo_book.models.traits import context_of
from dpo_book.system.processes import gather, join, shard
from dpo_book.training.updates import not_finite


def load(name: str, data: Data | None = None) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A policy and its tokenizer; "mini" is a new one whose tokenizer is made from ``data``, where that is given.

    Refused, with its name, where it cannot be loaded or run, or its weights are not finite.
    """
    if name == "mini" and data is not None:
        return new_mini(data.texts())
    device = _place()
    with entering("the policy", name):
        model, tokenizer = load_policy(name, device)
    if tensor := not_finite(model):
        raise Refused(f"the policy {name}: its tensor {tensor} holds what is not finite, NaN or an infinity")
    return model, tokenizer


def new_mini(texts: Sequence[str]) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A new small GPT-2 that has learned nothing, and its tokenizer, made from ``texts``."""
    device = _place()
    tokenizer = train_tokenizer(texts)
    return build_policy("mini", tokenizer, device=device), tokenizer


def _place() -> torch.device:
    """Where this process's models belong; once it is known, the other processes are too."""
    logging.disable_progress_bar()  # of reading and writing weights; ours is the run's
    with entering("the GPUs of", "this machine", ValueError):
        return join()


def load_reference(name: str, policy: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """A second policy. Refused unless its tokens, and their number, are those of the first and its ``tokenizer``."""
    model, theirs = load(name)
    if theirs.get_vocab() != tokenizer.get_vocab():
        raise Refused(f"the reference {name} has another tokenizer than the policy: their tokens must be the same")
    rows, ours = (each.config.get_text_config().vocab_size for each in (model, policy))
    if rows != ours:
        raise Refused(
            f"the reference {name} has a vocabulary of {rows} and the policy one of {ours}: they must be one "
            "(resize_token_embeddings makes them so)"
        )
    return model


def room(*models: PreTrainedModel) -> int | None:
    """The most tokens that a row may have in all of the models; None where they set no limit."""
    contexts = [context_of(model) for model in models]
    return min((context for context in contexts if context is not None), default=None)


def with_room(
    prompts: Sequence[list[int]], context: int | None, max_new_tokens: int, option: str = "--max-new-tokens"
) -> list[list[int]]:
    """The prompts that leave room for ``max_new_tokens`` in the models' context; Refused, with the ``option`` that
    would be lower, if none does."""
    fitting = [prompt for prompt in prompts if context is None or len(prompt) + max_new_tokens - 1 <= context]
    if not fitting:
        raise Refused(f"no prompt leaves room for {option} {max_new_tokens} in the models' context of {context}")
    return fitting


def check_lora(name: str, model: PreTrainedModel, lora_rank: int | None) -> None:
    """Refused for an adapter that is no smaller than what it stands beside, or that the model cannot take.

    The latter is found out by trying, before a run is begun; the model stays as it is.
    """
    if lora_rank is None:
        return
    width = getattr(model.config.get_text_config(), "hidden_size", None)
    if width is not None and lora_rank > width:
        raise Refused(f"lora_rank must be at most the policy's width, {width}; got {lora_rank}")
    with entering("the policy", name, ValueError):
        Lora(model, lora_rank).remove()


def check_room(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], max_new_tokens: int
) -> None:
    """Refused, before anything is drawn, for a prompt that leaves no room for ``max_new_tokens``."""
    context = context_of(model)
    with entering("the prompts", "that were given"):
        encoded = prompt_ids(tokenizer, prompts)
    for number, ids in enumerate(encoded, start=1):
        if context is not None and len(ids) + max_new_tokens - 1 > context:  # the last token is said and not read
            raise Refused(
                f"prompt {number} has {len(ids)} tokens, and with --max-new-tokens {max_new_tokens} it does not fit "
                f"in the policy's {context} positions"
            )


class Trainee:
    """A model in training: all of it or an adapter, in this process or in shards. ``model`` is what to train."""

    def __init__(self, model: PreTrainedModel, lora_rank: int | None = None, seed: int = 0):
        self._whole = model
        self._lora = None if lora_rank is None else Lora(model, lora_rank, seed)
        self.model = shard(model)

    def so_far(self) -> PreTrainedModel:
        """The model as it is now, whole and plain, while training goes on. Of several processes, all have to ask.

        An adapter is merged in a copy: taken out of the model again it would leave weights that are rounded.
        """
        gather(self.model, self._whole)
        if self._lora is None:
            return self._whole
        return copy.deepcopy(self._lora).merge()

    def trained(self) -> PreTrainedModel:
        """The model whole and plain again. Of several processes, all have to ask."""
        gather(self.model, self._whole)
        return self._lora.merge() if self._lora else self._whole
