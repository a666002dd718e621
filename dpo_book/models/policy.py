"""Policies: building GPT-2 from scratch, loading pretrained ones, sampling from any.

A policy is always a plain causal language model of transformers and its tokenizer; nothing is wrapped.
"""

import copy
import math
import os
import struct
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from numbers import Real

import torch
from safetensors import SafetensorError
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    GgufConfig,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from dpo_book.system.hub import first_line, hub_answers

END_OF_TEXT = "<|endoftext|>"

SIZES = {
    # nano: for the enumerable world, a handful of words deep. About 0.1 million parameters.
    "nano": {"n_layer": 2, "n_head": 4, "n_embd": 64, "n_positions": 16},
    # mini: for open text. About a million parameters with a vocabulary of 2,048.
    "mini": {"n_layer": 4, "n_head": 4, "n_embd": 128, "n_positions": 256},
}


class PolicyNotFoundError(OSError):
    """A policy could not be loaded; the message names it and says what to do instead."""


def build_policy(size: str, tokenizer: PreTrainedTokenizerBase, seed: int = 0) -> GPT2LMHeadModel:
    """A freshly initialised GPT-2 of ``size`` "nano" or "mini" over the tokenizer's vocabulary.

    Dropout is off, as in DPO: the policy and its reference have to be one function, not a random one (the
    authors' code switches it off in both). Its weights depend on ``seed`` alone.
    """
    if size not in SIZES:
        raise ValueError(f"there is no policy of size {size!r}; choose one of {', '.join(SIZES)}")
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
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return GPT2LMHeadModel(config).eval()


def copy_policy(policy: PreTrainedModel) -> PreTrainedModel:
    """A second model with the same weights, to train while the first stays the reference."""
    return copy.deepcopy(policy).requires_grad_(True).eval()


def context_of(model: PreTrainedModel) -> int | None:
    """The most tokens that a row may have, by the model's configuration; None where it sets no limit."""
    return getattr(model.config, "max_position_embeddings", None)


def autocast(model: PreTrainedModel) -> AbstractContextManager:
    """bfloat16 where the device is made for it; float32 on a CPU, where results are compared with exact ones."""
    return torch.autocast("cuda", dtype=torch.bfloat16, enabled=model.device.type == "cuda")


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


def load_policy(name_or_path: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """``(model, tokenizer)`` of a causal language model: a hub id such as "gpt2", a ``save_pretrained`` folder, or
    a .gguf file, which transformers reads and turns into plain weights (with the package's extra "gguf").

    Weights come from safetensors or GGUF only (a pickle can run code), and no code is ever taken from the hub.
    The model is in float32 with dropout off. Raises PolicyNotFoundError, with what to do, when the name
    does not exist or the network cannot be reached.
    """
    where = {"trust_remote_code": False, "local_files_only": not hub_answers(str(name_or_path))}
    source, weights = name_or_path, {"use_safetensors": True, "dtype": torch.float32}
    if str(name_or_path).endswith(".gguf"):
        source, where["gguf_file"] = os.path.split(os.path.abspath(name_or_path))
        weights["quantization_config"] = GgufConfig(dequantize=True)  # blocks of 4 or 8 bits cannot be trained
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, **where)
        if len(tokenizer) <= len(tokenizer.all_special_ids):
            raise ValueError("there are no tokenizer files, or they hold no word")
        model = AutoModelForCausalLM.from_pretrained(source, **weights, **where)
    except (OSError, ValueError, SafetensorError, struct.error) as error:  # the last from a .gguf file cut short
        raise PolicyNotFoundError(
            f"no policy could be loaded from {str(name_or_path)!r}. If it is a folder, it must hold config.json, "
            "the tokenizer's files and model.safetensors, as save_pretrained writes them; a .gguf file must be whole "
            "and of a family that transformers reads. If it is a hub id, check its spelling and the network, or go "
            'on without either: build_policy("mini", train_tokenizer(texts)) needs none. '
            f"(transformers said: {first_line(error)})"
        ) from error
    if tokenizer.eos_token_id is None and model.config.eos_token_id is not None:
        tokenizer.eos_token = tokenizer.convert_ids_to_tokens(model.config.eos_token_id)
    return model.eval(), tokenizer


def sample(
    policy: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    max_new_tokens: int,
    temperature: float = 1.0,
    seed: int = 0,
) -> list[str]:
    """One completion a prompt, as text; see ``sample_ids``."""
    prompt_ids = [tokenizer(prompt).input_ids for prompt in prompts]
    completions = sample_ids(policy, prompt_ids, max_new_tokens, temperature, seed)
    return tokenizer.batch_decode(completions, skip_special_tokens=True)


@torch.no_grad()
def sample_ids(
    policy: PreTrainedModel,
    prompts: Sequence[list[int]],
    max_new_tokens: int,
    temperature: float = 1.0,
    seed: int = 0,
) -> list[list[int]]:
    """One completion a prompt as token ids, ending with EOS if it came; temperature 0 takes the likeliest token.

    Each token is drawn from softmax(logits / temperature) over the whole vocabulary: a top-k or top-p cut
    would draw from another policy than the one whose log-probabilities are trained.
    """
    if not (isinstance(temperature, Real) and math.isfinite(temperature) and temperature >= 0):
        raise ValueError(f"temperature must be a finite number of at least 0, got {temperature!r}")
    if not prompts or not all(prompts):
        raise ValueError("every prompt needs at least one token to be continued")
    width = max(len(prompt) for prompt in prompts)
    input_ids = torch.tensor([[0] * (width - len(prompt)) + list(prompt) for prompt in prompts])
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    attention_mask = (torch.arange(width) >= width - lengths[:, None]).long()

    context = context_of(policy)
    if context is not None and width + max_new_tokens - 1 > context:  # the last token is said and not read
        raise ValueError(
            f"a prompt of {width} tokens and {max_new_tokens} new ones do not fit in the policy's {context} positions"
        )

    ends = policy.generation_config.eos_token_id  # one, several (Llama 3), or none
    ends = set() if ends is None else {ends} if isinstance(ends, int) else set(ends)
    with torch.random.fork_rng(devices=[policy.device] if policy.device.type == "cuda" else []):
        torch.manual_seed(seed)
        output = policy.generate(
            input_ids=input_ids.to(policy.device),
            attention_mask=attention_mask.to(policy.device),
            generation_config=_plain_generation(max_new_tokens, float(temperature), ends),
        )
    return [_until(ends, ids) for ids in output[:, width:].tolist()]


def _plain_generation(max_new_tokens: int, temperature: float, ends: set[int]) -> GenerationConfig:
    """Draw from the softmax and nothing else.

    What is left unset here, generate fills in from the model's own file, and hub models come with a top-p or a
    repetition penalty; so the neutral values are written out.
    """
    drawn = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
    return GenerationConfig(
        max_new_tokens=max_new_tokens,
        min_new_tokens=0,
        repetition_penalty=1.0,
        no_repeat_ngram_size=0,
        eos_token_id=sorted(ends) or None,
        pad_token_id=min(ends, default=0),
        **(drawn if temperature > 0 else {"do_sample": False}),
    )


def _until(ends: set[int], ids: list[int]) -> list[int]:
    """Up to and with the first EOS; what generate padded after it is no part of the completion."""
    return next((ids[: i + 1] for i, token in enumerate(ids) if token in ends), ids)
