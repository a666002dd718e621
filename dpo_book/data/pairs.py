"""A ``Pair`` is a preference as token ids, the only form that training reads: made of texts, or of judged samples."""

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from dpo_book.data.preferences import Preference
from dpo_book.maths.bradley_terry import preference_probability


class Pair(NamedTuple):
    """Token ids of a prompt x and of its two completions, y_w and y_l; no padding.

    chosen_probability is p*(y_w ≻ y_l | x): 1 for a hard label, anything in [0, 1] for a soft one.
    """

    prompt: list[int]
    chosen: list[int]
    rejected: list[int]
    chosen_probability: float = 1.0


class PairError(ValueError):
    """A preference cannot be made into a pair; the message names the row and says what would be right."""


def tokenize_pairs(
    preferences: Sequence[Preference],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int | None = None,
    drop_long: bool = False,
) -> list[Pair]:
    """Tokenise preferences: prompt and completions apart, the tokenizer's EOS (if it has one) after each completion.

    max_length: the most tokens that prompt + completion may have, such as the model's context. A longer
    completion is cut at its end and then gets no EOS, so that nobody learns to stop in mid-sentence. A
    prompt is never cut: one that leaves no room for a completion raises PairError naming its row (counted
    from 1), or is dropped, counted and warned of with ``drop_long=True``.

    Pairs whose completions are the same tokens, also after cutting, carry no preference: they are dropped,
    counted and warned of. PairError if nothing is left.
    """
    pairs, identical, long = [], [], []
    for row, preference in enumerate(preferences, start=1):
        if not isinstance(preference, Preference):
            raise TypeError(
                f"row {row} is a {type(preference).__name__} and no Preference: read a file with load_preferences, "
                "or make Preference(prompt, chosen, rejected)"
            )
        prompt, chosen, rejected = _encode(preference, tokenizer, row)
        room = len(prompt) + max(len(chosen), len(rejected)) if max_length is None else max_length - len(prompt)
        if room < 1:
            if not drop_long:
                raise PairError(
                    f"row {row}: the prompt has {len(prompt)} tokens, so nothing of a completion is left within "
                    f"max_length = {max_length}. Shorten the prompt, raise max_length (no further than the "
                    "model's context), or pass drop_long=True"
                )
            long.append(row)
        elif chosen[:room] == rejected[:room]:
            identical.append(row)
        else:
            pairs.append(Pair(prompt, chosen[:room], rejected[:room], preference.chosen_probability))

    cut = "" if max_length is None else f", once cut to {max_length} tokens"
    _report(identical, len(preferences), f"chosen and rejected are the same{cut}")
    _report(long, len(preferences), f"the prompt alone fills {max_length} tokens")
    if not pairs:
        raise PairError(
            f"none of the {len(preferences)} pairs can be trained on: {len(identical)} have the same chosen and "
            f"rejected completion{cut}, {len(long)} have too long a prompt"
        )
    return pairs


def check_pairs(pairs: Sequence[Pair]) -> None:
    """What training needs of pairs, also of those made by hand. TypeError or PairError naming the row, from 1."""
    for row, pair in enumerate(pairs, start=1):
        if not isinstance(pair, Pair) or isinstance(pair.prompt, str):
            raise TypeError(
                f"row {row} is no Pair of token ids but a {type(pair).__name__}: make pairs of preferences with "
                "tokenize_pairs(preferences, tokenizer)"
            )
        if pair.chosen == pair.rejected:
            raise PairError(f"row {row}: chosen and rejected are the same, which teaches nothing")
        if not 0 <= pair.chosen_probability <= 1:  # written so that NaN fails too
            raise PairError(f"row {row}: chosen_probability must be in [0, 1], not {pair.chosen_probability}")


def _report(rows: list[int], total: int, why: str) -> None:
    if rows:
        named = ", ".join(map(str, rows[:5])) + (", ..." if len(rows) > 5 else "")
        warnings.warn(f"dropped {len(rows)} of {total} pairs: {why} (rows {named})", stacklevel=3)


def _encode(
    preference: Preference, tokenizer: PreTrainedTokenizerBase, row: int
) -> tuple[list[int], list[int], list[int]]:
    if isinstance(preference.prompt, str):
        prompt = tokenizer(preference.prompt).input_ids
        if not prompt and tokenizer.bos_token_id is not None:
            prompt = [tokenizer.bos_token_id]  # something has to predict the first token
        completions = [preference.chosen, preference.rejected]
    else:
        prompt_text = _render(preference.prompt, tokenizer, completed=False)
        # A chat template writes its own BOS token; without one the tokenizer adds it, as to any text.
        prompt = tokenizer(prompt_text, add_special_tokens=tokenizer.chat_template is None).input_ids
        whole = [
            _render([*preference.prompt, *turn], tokenizer, completed=True)
            for turn in (preference.chosen, preference.rejected)
        ]
        if not all(text.startswith(prompt_text) for text in whole):
            raise PairError(f"row {row}: the chat template does not keep the prompt's text in front of the answer")
        completions = [text[len(prompt_text) :] for text in whole]
    if not prompt:
        raise PairError(f"row {row}: the prompt has no token, and the tokenizer has no BOS token to stand for it")

    encoded = [tokenizer(text, add_special_tokens=False).input_ids for text in completions]
    for name, ids in zip(("chosen", "rejected"), encoded, strict=True):
        if not ids:
            raise PairError(f"row {row}: the {name} completion has no token")
    eos = tokenizer.eos_token_id
    if eos is not None:
        # After its end mark a chat template may write a line break, which the model never gets to say.
        encoded = [ids[: len(ids) - ids[::-1].index(eos)] if eos in ids else [*ids, eos] for ids in encoded]
    return prompt, *encoded


def _render(messages: Sequence[dict], tokenizer: PreTrainedTokenizerBase, completed: bool) -> str:
    """Messages as one text: by the tokenizer's chat template, or as "role: content" lines without one."""
    if tokenizer.chat_template is not None:
        return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=not completed)
    lines = [f"{message['role']}: {message['content']}" for message in messages]
    return "\n".join(lines) if completed else "\n".join([*lines, "assistant:"])


def pair_lengths(pairs: Sequence[Pair]) -> list[int]:
    """Tokens of each pair, its prompt once, so that pairs of like length can be put into a batch."""
    return [len(pair.prompt) + len(pair.chosen) + len(pair.rejected) for pair in pairs]


def longer_lengths(pairs: Sequence[Pair]) -> list[int]:
    """Tokens of each prompt with the longer of its two completions: what a context has to have room for."""
    return [len(pair.prompt) + max(len(pair.chosen), len(pair.rejected)) for pair in pairs]


def bradley_terry_pairs(
    prompts: Sequence[list[int]],
    completions_a: Sequence[list[int]],
    completions_b: Sequence[list[int]],
    reward_a: Tensor,
    reward_b: Tensor,
    labels: str = "hard",
    seed: int = 0,
) -> list[Pair]:
    """Let Bradley–Terry (eq. 1) judge n samples a against n samples b by their true rewards (n,).

    labels "hard": a coin with p*(a ≻ b) falls for each pair, as people answer, and the winner is chosen.
    labels "soft": the likelier completion is chosen and its probability kept, which is what infinitely many
    answers to the same question would tell. Pairs of equal completions are left out.
    """
    if labels not in ("hard", "soft"):
        raise ValueError(f'labels must be "hard" or "soft", got {labels!r}')
    probability = preference_probability(reward_a.double(), reward_b.double())
    if labels == "hard":
        coin = torch.rand(len(probability), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        a_wins = coin < probability
        probability = torch.ones_like(probability)
    else:
        a_wins = probability >= 0.5
        probability = torch.maximum(probability, 1 - probability)
    rows = zip(prompts, completions_a, completions_b, a_wins.tolist(), probability.tolist(), strict=True)
    return [Pair(x, a, b, p) if a_won else Pair(x, b, a, p) for x, a, b, a_won, p in rows if a != b]
