"""What the commands read: the preferences that the options name, and what a method makes of them.

IMDb is the exception among the data sets: it has reviews and no comparisons. SFT imitates the reviews; for the other
methods the policy they start from completes the reviews' first words, and a judge of sentiment compares.

Reading comes without torch, so that a slip in a file is answered at once; what is made of it imports what it needs.
"""

import copy
import datetime
import json
import warnings
from typing import TYPE_CHECKING, Self

from dpo_book.cli.boundary import Refused, entering
from dpo_book.cli.options import PROMPTS, DataOptions, SourceOptions
from dpo_book.data.paper_sets import imdb_reviews
from dpo_book.data.preferences import Preference, load_preferences
from dpo_book.data.splits import split_by_prompt

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from dpo_book.data.pairs import Pair
    from dpo_book.training.offline import Example


def read_preferences(options: SourceOptions) -> list[Preference]:
    """What ``options`` name, but for imdb, which holds reviews and no preferences."""
    return load_preferences(
        options.data,
        options.split,
        options.source,
        configuration=options.configuration,
        prompt_from=options.prompt_columns(),
    )


class Data:
    """The preferences, or IMDb's reviews, that ``options`` name; read at once. Refused where they cannot be used.

    compares: what reads them, and so which of the options count: see ``DataOptions.check_used``.
    """

    def __init__(self, options: DataOptions, compares: bool = True):
        options.check_used(compares)
        self._options, self._compares = options, compares
        self._has_reviews = options.data == "imdb"
        with self._entering():
            if self._has_reviews:
                self._read = imdb_reviews(options.source, options.split, options.configuration)
            else:
                self._read = read_preferences(options)

    def split(self, share: float, seed: int) -> tuple[Self, Self]:
        """What is trained on, and this ``share`` of the rows, which is held out: see ``split_by_prompt``."""
        if self._has_reviews:
            raise Refused("--eval-share is for preferences: imdb has a split of its own, --eval-data imdb")
        prompts = [json.dumps(preference.prompt) for preference in self._read]
        with self._entering():
            kept, held_out = split_by_prompt(prompts, share, seed)
        return self._only(kept), self._only(held_out)

    def _only(self, rows: list[int]) -> Self:
        part = copy.copy(self)
        part._read = [self._read[row] for row in rows]
        return part

    def texts(self) -> list[str]:
        """All that is written there, for a tokenizer to be made from."""
        from dpo_book.data.messages import as_lines

        if self._has_reviews:
            return self._read
        texts = []
        for preference in self._read:
            for text in (preference.prompt, preference.chosen, preference.rejected):
                texts.append(text if isinstance(text, str) else as_lines(text))
        return texts

    def examples(
        self, tokenizer: "PreTrainedTokenizerBase", context: int | None, date: datetime.date
    ) -> "list[Example]":
        """What SFT imitates: the chosen completions, or IMDb's reviews.

        context: tokens that the policy has room for. date: what chat templates are told.
        """
        if not self._has_reviews:
            return [(pair.prompt, pair.chosen) for pair in self._tokenized(tokenizer, context, date)]

        from dpo_book.worlds.imdb import imdb_examples

        max_length = self._max_length(context)
        with self._entering():
            return imdb_examples(self._read, tokenizer, max_length)

    def pairs(
        self,
        policy: "PreTrainedModel",
        tokenizer: "PreTrainedTokenizerBase",
        context: int | None,
        date: datetime.date | None = None,
    ) -> "list[Pair]":
        """What the other methods learn from.

        policy: who writes the completions, where the data has none. context: tokens that all models have room for.
        date: what chat templates are told, by default today.
        """
        if not self._has_reviews:
            return self._tokenized(tokenizer, context, date)

        from dpo_book.data.pairs import longer_lengths

        with self._entering():
            pairs = self._compared(policy, tokenizer)
        longest = max(longer_lengths(pairs), default=0)
        if not pairs:
            raise Refused("imdb: the policy completed every review alike, which leaves nothing to compare")
        if context is not None and longest > context:
            raise Refused(f"imdb: a completed review has {longest} tokens, and the models' context is {context}")
        return pairs

    def most_tokens(self, context: int | None) -> int | None:
        """What prompt and completion are cut to, together; None where nothing is, as of imdb's comparisons."""
        return None if self._has_reviews and self._compares else self._max_length(context)

    def _tokenized(
        self, tokenizer: "PreTrainedTokenizerBase", context: int | None, date: datetime.date | None
    ) -> "list[Pair]":
        from dpo_book.data.pairs import tokenize_pairs

        max_length = self._max_length(context)
        with self._entering():
            return tokenize_pairs(self._read, tokenizer, max_length, self._options.drop_long, date)

    def _compared(self, policy: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> "list[Pair]":
        from dpo_book.worlds.imdb import SENTIMENT_MODEL, RewardNotFoundError, imdb_pairs

        judge, prompts = self._options.judge, self._options.prompts or PROMPTS
        try:
            return imdb_pairs(policy, tokenizer, self._read, prompts, judge or SENTIMENT_MODEL)
        except RewardNotFoundError as error:
            if judge:
                raise Refused(str(error)) from error
            warnings.warn(f"{SENTIMENT_MODEL} cannot be had (no network?): VADER judges instead", stacklevel=2)
            return imdb_pairs(policy, tokenizer, self._read, prompts, "vader")

    def _max_length(self, context: int | None) -> int | None:
        asked = self._options.max_length
        if asked is not None and context is not None and asked > context:
            raise Refused(f"--max-length {asked} is more than the models' context of {context} tokens")
        return context if asked is None else asked

    def _entering(self):
        return entering("the data", self._options.source or self._options.data)
