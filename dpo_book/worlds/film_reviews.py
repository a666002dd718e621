"""IMDb as a world of open text: the first words of film reviews, and how positive a review sounds that goes on."""

import random
from collections.abc import Sequence

from torch import Tensor
from transformers import PreTrainedTokenizerBase

from dpo_book.worlds.imdb import TextScorer


class FilmReviews:
    """The prompts of the paper's experiment on IMDb (§6.1), and a judge of sentiment.

    tokenizer: the policy's. starts: prompts to learn from, token ids. prompt_ids: prompts to measure on, of other
    reviews. prompts: the texts of these. score: r of whole texts, as ``sentiment_scorer`` gives it. max_new_tokens:
    where a completion is cut.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        starts: Sequence[list[int]],
        prompt_ids: Sequence[list[int]],
        score: TextScorer,
        max_new_tokens: int,
    ) -> None:
        self.tokenizer, self.max_new_tokens = tokenizer, max_new_tokens
        self.prompt_ids = list(prompt_ids)
        self.prompts = tuple(tokenizer.batch_decode(self.prompt_ids, skip_special_tokens=True))
        self._starts, self._score = list(starts), score

    def draw_prompts(self, size: int, seed: int = 0) -> list[list[int]]:
        """Token ids of ``size`` of the prompts to learn from, by lot, none twice. ValueError if there are fewer."""
        return random.Random(f"draw_prompts {seed}").sample(self._starts, size)

    def rewards_of(self, prompts: Sequence[list[int]], completions: Sequence[list[int]]) -> Tensor:
        """r*(x, y) of token ids: (B,) float32."""
        whole = [[*x, *y] for x, y in zip(prompts, completions, strict=True)]
        return self._score(self.tokenizer.batch_decode(whole, skip_special_tokens=True))
