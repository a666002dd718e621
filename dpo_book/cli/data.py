"""What the commands read: the preferences that the options name, and what a method makes of them.

IMDb is the exception among the data sets: it has reviews and no comparisons. SFT imitates the reviews; for the other
methods the policy they start from completes the reviews' first words, and a judge of sentiment compares.

Reading comes without torch, so that a slip in a file is answered at once; what is made of it imports what it needs.
"""

import json
import warnings
from typing import TYPE_CHECKING

from dpo_book.cli.options import DataOptions
from dpo_book.data.paper_sets import imdb_reviews
from dpo_book.data.preferences import load_preferences

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from dpo_book.data.pairs import Pair
    from dpo_book.training.offline import Example


class Data:
    """The preferences, or IMDb's reviews, that ``options`` name; read at once."""

    def __init__(self, options: DataOptions):
        self._options = options
        self._has_reviews = options.data == "imdb"
        if self._has_reviews:
            self._read = imdb_reviews(options.source, options.split)
        else:
            self._read = load_preferences(options.data, options.split, options.source)

    def texts(self) -> list[str]:
        """All that is written there, for a tokenizer to be made from."""
        if self._has_reviews:
            return self._read
        texts = []
        for preference in self._read:
            for text in (preference.prompt, preference.chosen, preference.rejected):
                texts.append(json.dumps(text) if isinstance(text, list) else text)
        return texts

    def examples(self, policy: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> "list[Example]":
        """What SFT imitates: the chosen completions, or IMDb's reviews."""
        if self._has_reviews:
            from dpo_book.worlds.imdb import imdb_examples

            return imdb_examples(self._read, tokenizer, self._max_length(policy))
        return [(pair.prompt, pair.chosen) for pair in self.pairs(policy, tokenizer)]

    def pairs(self, policy: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> "list[Pair]":
        """What the other methods learn from. policy: who writes the completions, where the data has none."""
        from dpo_book.data.pairs import tokenize_pairs

        if self._has_reviews:
            return self._compared(policy, tokenizer)
        return tokenize_pairs(self._read, tokenizer, self._max_length(policy), self._options.drop_long)

    def _compared(self, policy: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> "list[Pair]":
        from dpo_book.worlds.imdb import SENTIMENT_MODEL, RewardNotFoundError, imdb_pairs

        judge, prompts = self._options.judge, self._options.prompts
        try:
            return imdb_pairs(policy, tokenizer, self._read, prompts, judge or SENTIMENT_MODEL)
        except RewardNotFoundError:
            if judge:
                raise
            warnings.warn(f"{SENTIMENT_MODEL} cannot be had (no network?): VADER judges instead", stacklevel=2)
            return imdb_pairs(policy, tokenizer, self._read, prompts, "vader")

    def _max_length(self, policy: "PreTrainedModel") -> int | None:
        from dpo_book.models.policy import context_of

        return self._options.max_length or context_of(policy)
