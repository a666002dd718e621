"""A ``Pair`` is a preference as token ids, the only form that training reads: made of texts, or of judged samples."""

import datetime
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from dpo_book.data.preferences import Preference
from dpo_book.data.tokenization import PairError, tokenized
from dpo_book.maths.bradley_terry import preference_probability
from dpo_book.maths.require import require_seed
from dpo_book.maths.shapes import require_no_nan, require_one_shape


class Pair(NamedTuple):
    """Token ids of a prompt x and of its two completions, y_w and y_l; no padding.

    chosen_probability is p*(y_w ≻ y_l | x): 1 for a hard label, anything in [0, 1] for a soft one.
    """

    prompt: list[int]
    chosen: list[int]
    rejected: list[int]
    chosen_probability: float = 1.0


def tokenize_pairs(
    preferences: Sequence[Preference],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int | None = None,
    drop_long: bool = False,
    date: datetime.date | None = None,
) -> list[Pair]:
    """Tokenise preferences: prompt and completion as they are in their one text, parted where the second begins.

    A completion of text ends with the tokenizer's EOS, if it has one; an answer in a conversation with the mark that
    the chat template puts there, or else with EOS. Where the prompt's last token has grown into the completion, or a
    template writes the prompt differently alone, the completion begins where the two part, as in TRL; one warning
    names these rows. date: what a template that asks for today's date is told, by default today.

    max_length: the most tokens that prompt + completion may have, such as the model's context. A longer
    completion is cut at its end and then gets no EOS, so that nobody learns to stop in mid-sentence. A
    prompt is never cut: one that leaves no room for a completion raises PairError naming its row, or is
    dropped, counted and warned of with ``drop_long``.

    Pairs whose completions are the same tokens, also after cutting, carry no preference: they are dropped,
    counted and warned of. PairError if nothing is left, or for a row that cannot be tokenised.
    """
    pairs, identical, long, grown = [], [], [], []
    rows = tokenized(preferences, tokenizer, date)
    for preference, tokens in zip(preferences, rows, strict=True):
        prompt, chosen, rejected = tokens.prompt, tokens.chosen, tokens.rejected
        room = len(prompt) + max(len(chosen), len(rejected)) if max_length is None else max_length - len(prompt)
        if room < 1:
            if not drop_long:
                raise PairError(
                    f"{tokens.where}: the prompt has {len(prompt)} tokens, so nothing of a completion is left within "
                    f"max_length = {max_length}. Shorten the prompt, raise max_length (no further than the model's "
                    "context), or leave such rows out with drop_long"
                )
            long.append(tokens.where)
        elif chosen[:room] == rejected[:room]:
            identical.append(tokens.where)
        else:
            pairs.append(Pair(prompt, chosen[:room], rejected[:room], preference.chosen_probability))
            if tokens.grown:
                grown.append(tokens.where)

    total = len(preferences)
    cut = "" if max_length is None else f", once cut to {max_length} tokens"
    _report("dropped", identical, total, f"chosen and rejected are the same{cut}")
    _report("dropped", long, total, f"the prompt alone fills {max_length} tokens")
    _report(
        "in", grown, total, "the prompt's end is written differently before its completion, and is scored with it"
    )
    if not pairs:
        raise PairError(
            f"none of the {total} pairs can be trained on: {len(identical)} have the same chosen and "
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


def _report(done: str, places: list[str], total: int, why: str) -> None:
    if places:
        named = "; ".join(places[:5]) + ("; ..." if len(places) > 5 else "")
        warnings.warn(f"{done} {len(places)} of {total} pairs: {why} ({named})", stacklevel=3)


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
    answers to the same question would tell. "sure": the higher reward always wins, as in the paper's experiment on
    IMDb, and pairs of equal rewards are left out too. Pairs of equal completions are left out.
    """
    if labels not in ("hard", "soft", "sure"):
        raise ValueError(f'labels must be "hard", "soft" or "sure", got {labels!r}')
    require_one_shape(reward_a=reward_a, reward_b=reward_b)
    require_no_nan(reward_a=reward_a, reward_b=reward_b)
    require_seed("seed", seed)
    probability = preference_probability(reward_a.double(), reward_b.double())
    if labels == "hard":
        coin = torch.rand(len(probability), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        a_wins = coin < probability
        probability = torch.ones_like(probability)
    elif labels == "soft":
        a_wins = probability >= 0.5
        probability = torch.maximum(probability, 1 - probability)
    else:
        a_wins = reward_a > reward_b
        probability = torch.ones_like(probability)
    ties = (reward_a == reward_b).tolist()
    rows = zip(prompts, completions_a, completions_b, a_wins.tolist(), probability.tolist(), ties, strict=True)
    pairs = []
    for prompt, a, b, a_won, p, tie in rows:
        if a == b or (tie and labels == "sure"):
            continue
        pairs.append(Pair(prompt, a, b, p) if a_won else Pair(prompt, b, a, p))
    return pairs
