"""What the commands read: the options that name preferences, and what a method makes of them.

IMDb is the exception among the data sets: it has reviews and no comparisons. SFT imitates the reviews; for the other
methods the policy they start from completes the reviews' first words, and a judge of sentiment compares.
"""

import json
import warnings
from dataclasses import dataclass
from functools import cached_property

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dpo_book.data.pairs import Pair, tokenize_pairs
from dpo_book.data.preferences import Preference, load_preferences
from dpo_book.training.offline import Example
from dpo_book.worlds.imdb import SENTIMENT_MODEL, RewardNotFoundError, imdb_examples, imdb_reviews
from dpo_book.worlds.references import imdb_pairs


@dataclass(frozen=True, kw_only=True)
class Data:
    """Preferences to read."""

    data: str
    """preferences: a file (.jsonl, .json, .csv, .parquet), a folder, owner/name of the hub, hh, tldr or imdb"""
    split: str = "train"
    """which part of a folder or data set"""
    source: str | None = None
    """a local copy of hh, tldr or imdb"""
    max_length: int | None = None
    """most tokens of prompt and completion, by default the policy's context; longer completions are cut"""
    drop_long: bool = False
    """leave out prompts that fill max-length alone, instead of stopping at the first"""
    judge: str | None = None
    """imdb only: who compares, a sentiment model's hub id or folder, or vader; by default the paper's, else vader"""
    prompts: int = 1000
    """imdb only: of how many reviews the first words are completed, by four samples that make six pairs"""

    def __post_init__(self) -> None:
        if self.prompts < 1:
            raise ValueError(f"prompts must be a whole number of at least 1, got {self.prompts}")

    def texts(self) -> list[str]:
        """All that is written there, for a tokenizer to be made from."""
        if self._has_reviews:
            return self._read
        parts = [text for p in self._read for text in (p.prompt, p.chosen, p.rejected)]
        return [json.dumps(text) if isinstance(text, list) else text for text in parts]

    def examples(self, policy: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[Example]:
        """What SFT imitates: the chosen completions, or IMDb's reviews."""
        if self._has_reviews:
            return imdb_examples(self._read, tokenizer, self._length(policy))
        return [(pair.prompt, pair.chosen) for pair in self.pairs(policy, tokenizer)]

    def pairs(self, policy: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[Pair]:
        """What the other methods learn from. policy: who writes the completions, where the data has none."""
        if self._has_reviews:
            return self._compared(policy, tokenizer)
        return tokenize_pairs(self._read, tokenizer, self._length(policy), self.drop_long)

    def _compared(self, policy: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[Pair]:
        by = lambda judge: imdb_pairs(policy, tokenizer, self._read, self.prompts, judge)
        try:
            return by(self.judge or SENTIMENT_MODEL)
        except RewardNotFoundError:
            if self.judge:
                raise
            warnings.warn(f"{SENTIMENT_MODEL} cannot be had (no network?): VADER judges instead", stacklevel=2)
            return by("vader")

    @property
    def _has_reviews(self) -> bool:
        return self.data == "imdb"

    @cached_property
    def _read(self) -> list[Preference] | list[str]:
        if self._has_reviews:
            return imdb_reviews(self.source, self.split)
        return load_preferences(self.data, self.split, self.source)

    def _length(self, policy: PreTrainedModel) -> int | None:
        return self.max_length or getattr(policy.config, "max_position_embeddings", None)
