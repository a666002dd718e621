"""Where a number comes from: digests of the models, tokenizers and data behind it, the machine and the versions.

Digests tell whether two runs, or kept results, were made from the same.
"""

import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # whoever has a tensor has torch; versions and cached files are asked for without
    from torch import Tensor
    from transformers import GenerationConfig, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

# Of a configuration: where its model came from, which decides nothing.
ORIGIN = ("transformers_version", "_name_or_path", "_commit_hash")


def model_digest(model: "PreTrainedModel") -> str:
    """Class, size and digests, such as "GPT2LMHeadModel of 124,439,808 parameters, weights 1f0c…, config 9b1e…".

    The weights are all that is saved of a model: its parameters and such buffers as are no function of its config.
    """
    saved = model.state_dict().keys()
    tensors = dict(model.named_parameters())  # each once, also where two names share it
    for name, buffer in model.named_buffers():
        if name in saved:
            tensors[name] = buffer
    weights = digest(type(model).__name__, tensors)[:16]
    config = config_digest(model.config)
    return f"{type(model).__name__} of {model.num_parameters():,} parameters, weights {weights}, config {config}"


def config_digest(config: "PreTrainedConfig | GenerationConfig") -> str:
    """A digest of every setting of a model, or of how it generates, but for where it came from."""
    return _digest_of(json.loads(config.to_json_string(), object_hook=_without_origin))


def _without_origin(settings: dict) -> dict:
    return {name: value for name, value in settings.items() if name not in ORIGIN}


def tokenizer_digest(tokenizer: "PreTrainedTokenizerBase") -> str:
    """Class, size and a digest: of vocabulary and rules, special tokens and chat template."""
    about = {
        "vocabulary": sorted(tokenizer.get_vocab().items()),
        "rules": _rules(tokenizer),
        "special": {name: str(token) for name, token in tokenizer.special_tokens_map.items()},
        "template": tokenizer.chat_template,
    }
    return f"{type(tokenizer).__name__} of {len(tokenizer):,} tokens, {_digest_of(about)}"


def _rules(tokenizer: "PreTrainedTokenizerBase") -> dict:
    """How text is cut into tokens, where that can be asked for: not of tokenizers in Python, whose class says it.

    Padding and truncation are not rules but what the last call happened to ask for.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return {}
    rules = json.loads(backend.to_str())
    return rules | {"padding": None, "truncation": None}


def data_digest(rows: Iterable) -> str:
    """How many rows, and a digest of them, such as "300 rows, 9b1e…". rows: anything that JSON can write."""
    rows = list(rows)
    return f"{len(rows):,} rows, {_digest_of(rows)}"


def _digest_of(content: object) -> str:
    """Sixteen hexadecimal digits that stand for what JSON can write."""
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def digest(text: str, tensors: "Mapping[str, Tensor]") -> str:
    """Of a text and of named tensors: every name, type, shape and bit of them."""
    import torch

    sha256 = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        sha256.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        sha256.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return sha256.hexdigest()


def processor() -> str:
    """The processor's name as the system gives it, such as "AMD EPYC"."""
    if Path("/proc/cpuinfo").exists():  # Linux; platform.processor() is empty there
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def versions(*packages: str) -> str:
    """Such as "Python 3.11.2, torch 2.13.0, transformers 5.23.0", and any more ``packages`` that are named."""
    installed = [f"{name} {importlib.metadata.version(name)}" for name in ("torch", "transformers", *packages)]
    return ", ".join([f"Python {platform.python_version()}", *installed])
