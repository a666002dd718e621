"""What a run trains on, in numbers: how many rows, how long they are, how many of them are cut."""

from collections.abc import Sequence

import numpy as np

from dpo_book.data.pairs import Pair

QUANTILES = {"least": 0.0, "5 %": 0.05, "median": 0.5, "95 %": 0.95, "most": 1.0}
Facts = dict[str, object]


def pair_facts(pairs: Sequence[Pair], most_tokens: int | None, eos: int | None) -> Facts:
    """Of pairs; lengths in tokens, EOS among them.

    most_tokens: what prompt and completion were cut to, None where nothing was. A completion counts as cut where it
    fills that and does not end with ``eos``. Each pair has two, also where other pairs have the same ones.
    """
    chosen = [len(pair.chosen) for pair in pairs]
    rejected = [len(pair.rejected) for pair in pairs]
    cut = 0
    for pair in pairs:
        for completion in (pair.chosen, pair.rejected):
            cut += _is_cut(pair.prompt, completion, most_tokens, eos)
    longer = [len(pair.chosen) - len(pair.rejected) for pair in pairs]
    return {
        **_of_prompts([pair.prompt for pair in pairs]),
        "chosen_tokens": _lengths(chosen),
        "rejected_tokens": _lengths(rejected),
        "chosen_longer": sum(by > 0 for by in longer),
        "same_length": sum(by == 0 for by in longer),
        "soft_labels": sum(pair.chosen_probability != 1 for pair in pairs),
        "most_tokens": most_tokens,
        "completions": 2 * len(pairs),
        "cut": cut,
    }


def example_facts(examples: Sequence[tuple[list[int], list[int]]], most_tokens: int | None, eos: int | None) -> Facts:
    """The same of (prompt, completion) token ids."""
    return {
        **_of_prompts([prompt for prompt, _ in examples]),
        "completion_tokens": _lengths([len(completion) for _, completion in examples]),
        "most_tokens": most_tokens,
        "completions": len(examples),
        "cut": sum(_is_cut(prompt, completion, most_tokens, eos) for prompt, completion in examples),
    }


def _of_prompts(prompts: Sequence[list[int]]) -> Facts:
    return {
        "rows": len(prompts),
        "prompts": len({tuple(prompt) for prompt in prompts}),
        "prompt_tokens": _lengths([len(prompt) for prompt in prompts]),
    }


def _lengths(lengths: Sequence[int]) -> dict[str, float]:
    quantiles = np.quantile(lengths, list(QUANTILES.values()))
    named = {name: float(value) for name, value in zip(QUANTILES, quantiles, strict=True)}
    return {"mean": float(np.mean(lengths)), **named}


def _is_cut(prompt: Sequence[int], completion: Sequence[int], most_tokens: int | None, eos: int | None) -> bool:
    fills = most_tokens is not None and len(prompt) + len(completion) >= most_tokens
    return fills and completion[-1] != eos
