"""Policies: building GPT-2 from scratch, loading pretrained ones (``loading.py``), sampling (``sampling.py``).

A policy is always a plain causal language model of transformers and its tokenizer; nothing is wrapped.
"""

import copy
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from dpo_book.data.tokens import completion_texts, prompt_ids
from dpo_book.models.loading import PolicyNotFoundError, load_policy
from dpo_book.models.sampling import sample_ids
from dpo_book.models.traits import context_of
from dpo_book.system.devices import find_device, forked_rng, precision

__all__ = [
    "END_OF_TEXT",
    "SIZES",
    "PolicyNotFoundError",
    "autocast",
    "build_policy",
    "context_of",
    "copy_policy",
    "load_policy",
    "sample",
    "sample_ids",
    "train_tokenizer",
]

END_OF_TEXT = "<|endoftext|>"

SIZES = {
    # nano: for the enumerable world, a handful of words deep. About 0.1 million parameters.
    "nano": {"n_layer": 2, "n_head": 4, "n_embd": 64, "n_positions": 16},
    # micro: for open text whose responses copy words of their prompts. About 0.5 million parameters with a vocabulary
    # of 600. Its weights begin with a standard deviation of 1/√128. GPT-2's own 0.02 suits its width of 768: in 128
    # dimensions what one word can say to another is then so faint at first that copying takes many times as long.
    "micro": {"n_layer": 2, "n_head": 4, "n_embd": 128, "n_positions": 256, "initializer_range": 128**-0.5},
    # mini: for open text. About a million parameters with a vocabulary of 2,048.
    "mini": {"n_layer": 4, "n_head": 4, "n_embd": 128, "n_positions": 256},
}


def build_policy(
    size: str, tokenizer: PreTrainedTokenizerBase, seed: int = 0, device: str | torch.device | None = None
) -> GPT2LMHeadModel:
    """A freshly initialised GPT-2 of ``size`` "nano", "micro" or "mini" over the tokenizer's vocabulary.

    Dropout is off, as in DPO: the policy and its reference have to be one function, not a random one (the
    authors' code switches it off in both). Its weights depend on ``seed`` alone, whatever the device: see
    ``find_device``. ValueError for a size or a device that does not exist.
    """
    if size not in SIZES:
        raise ValueError(f"there is no policy of size {size!r}; choose one of {', '.join(SIZES)}")
    place = find_device(device)
    config = GPT2Config(
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        activation_function="gelu_pytorch_tanh",  # GPT-2's own function ("gelu_new"), in one fused step
        **SIZES[size],
    )
    with forked_rng():
        torch.manual_seed(seed)
        return GPT2LMHeadModel(config).to(place).eval()


def copy_policy(policy: PreTrainedModel) -> PreTrainedModel:
    """A second model with the same weights, to train while the first stays the reference."""
    return copy.deepcopy(policy).requires_grad_(True).eval()


def autocast(model: PreTrainedModel) -> AbstractContextManager:
    """In it matrix products have the precision of the model's device; where that is float32, nothing changes."""
    dtype = precision(model.device)
    return nullcontext() if dtype == torch.float32 else torch.autocast(model.device.type, dtype=dtype)


def train_tokenizer(texts: Iterable[str], vocab_size: int = 2048) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer, as GPT-2's, learned from ``texts``.

    All 256 bytes are in its alphabet, so it encodes any text, of any script, without an unknown token.
    ``<|endoftext|>`` is its EOS, BOS and padding.
    """
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token=END_OF_TEXT,
        bos_token=END_OF_TEXT,
        pad_token=END_OF_TEXT,
        clean_up_tokenization_spaces=False,
    )


def sample(
    policy: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    max_new_tokens: int,
    temperature: float = 1.0,
    seed: int = 0,
) -> list[str]:
    """One completion a prompt, as text; see ``sample_ids``."""
    ids = prompt_ids(tokenizer, prompts)
    completions = sample_ids(policy, ids, max_new_tokens, temperature, seed)
    return completion_texts(tokenizer, ids, completions)
