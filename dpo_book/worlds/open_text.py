"""What the worlds of open text have in common: nobody can list their responses, a tokenizer of their own reads them.

Such a world draws (prompt, response) texts and knows the true reward of any response; the rest is here.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from dpo_book.models.policy import train_tokenizer


class OpenText(ABC):
    """A world of open text.

    tokenizer: byte-level BPE learned from the world's texts. prompts: texts to evaluate on, drawn with a seed that no
    corpus has. max_new_tokens: room for nearly every response.
    """

    tokenizer: PreTrainedTokenizerBase
    prompts: tuple[str, ...]
    max_new_tokens: int

    @abstractmethod
    def reward(self, prompt: str, response: str) -> float:
        """r*(x, y) in nats, of any text as a response."""

    @abstractmethod
    def grammatical(self, text: str) -> bool:
        """Whether prompt and response together are a text that this world can write."""

    @abstractmethod
    def _draw(self, size: int, stream: str) -> list[tuple[str, str]]:
        """``size`` (prompt, response) texts; ``stream`` names the random numbers."""

    def _settle(self, vocab_size: int, texts: int, prompts: int) -> None:
        """Learn the tokenizer from so many texts, and draw the prompts to evaluate on."""
        self.tokenizer = train_tokenizer((x + y for x, y in self._draw(texts, "tokenizer")), vocab_size)
        self.prompts = tuple(x for x, _ in self._draw(prompts, "prompts"))

    @property
    def prompt_ids(self) -> list[list[int]]:
        """The prompts to evaluate on as token ids."""
        return self.tokenizer(list(self.prompts)).input_ids

    def corpus(self, size: int, seed: int = 0) -> list[tuple[str, str]]:
        """``size`` (prompt, response) texts to imitate."""
        return self._draw(size, f"corpus {seed}")

    def draw_prompts(self, size: int, seed: int = 0) -> list[list[int]]:
        """Token ids of ``size`` prompts, to be continued or compared, drawn with seeds that no corpus has."""
        return self.tokenizer([x for x, _ in self._draw(size, f"draw_prompts {seed}")]).input_ids

    def rewards_of(self, prompts: Sequence[list[int]], completions: Sequence[list[int]]) -> Tensor:
        """r*(x, y) of token ids: (B,) float32."""
        texts = (self.tokenizer.batch_decode(list(ids), skip_special_tokens=True) for ids in (prompts, completions))
        return torch.tensor([self.reward(x, y) for x, y in zip(*texts, strict=True)])

    def tokenize(self, texts: Iterable[tuple[str, str]]) -> list[tuple[list[int], list[int]]]:
        """(prompt, response) texts as token ids, EOS after the response: the form that ``train_sft`` reads."""
        prompts, responses = zip(*texts, strict=True)
        prompt_ids = self.tokenizer(list(prompts)).input_ids
        response_ids = self.tokenizer(list(responses)).input_ids
        end = self.tokenizer.eos_token_id
        return [(x, [*y, end]) for x, y in zip(prompt_ids, response_ids, strict=True)]
