"""π_ref of the built-in worlds: a GPT-2 that imitates a world's corpus, trained the first time and then kept.

A chapter may write it out, and chapter 00 does.
"""

from collections.abc import Callable
from pathlib import Path

from transformers import GPT2LMHeadModel

from dpo_book.models.policy import SIZES, build_policy
from dpo_book.system.cache import cached
from dpo_book.system.devices import find_device
from dpo_book.training.config import SFTConfig
from dpo_book.training.offline import train_sft
from dpo_book.worlds import tiny_reviews as grammar, verdicts as source
from dpo_book.worlds.tiny_reviews import TinyReviews, tiny_reviews
from dpo_book.worlds.verdicts import Verdicts, verdicts

CORPUS_SIZE = 20_000
SFT = SFTConfig(learning_rate=3e-3, batch_size=256, steps=300)
REVIEWS_CORPUS_SIZE = 32_000
REVIEWS_SFT = SFTConfig(learning_rate=2e-3, batch_size=16, steps=2000)  # every review once


def verdicts_reference(seed: int = 0) -> GPT2LMHeadModel:
    """π_ref of the verdict world: a nano GPT-2 that imitates the critics. Some ten seconds the first time, then kept.

    ``seed`` fixes its initial weights, its corpus and the order in which it reads it.
    """
    corpus = [CORPUS_SIZE, source.WORDS, source.PHRASES, source.OPINIONS, source.SLIP]
    return _imitator("verdicts-reference", verdicts, "nano", corpus, SFT, seed)


def tiny_reviews_reference(seed: int = 0) -> GPT2LMHeadModel:
    """π_ref of the open-ended world: a mini GPT-2 that writes reviews. About a minute the first time, then kept.

    ``seed`` fixes its initial weights, its corpus and the order in which it reads it.
    """
    corpus = [REVIEWS_CORPUS_SIZE, grammar.GRAMMAR, grammar.VOCAB_SIZE, grammar.TOKENIZER_SIZE]
    return _imitator("tiny-reviews-reference", tiny_reviews, "mini", corpus, REVIEWS_SFT, seed)


def _imitator(
    name: str, world: Callable[[], Verdicts | TinyReviews], size: str, corpus: list, sft: SFTConfig, seed: int
) -> GPT2LMHeadModel:
    """A policy that imitates a world's corpus, kept as ``name``. corpus: its size, and what it depends on.

    It is trained on the CPU wherever it will lie, so that every machine's has the same digits.
    """

    place = find_device()

    def build(folder: Path) -> None:
        here = world()
        policy = build_policy(size, here.tokenizer, seed, "cpu")  # the same weights whoever computes them
        for _ in train_sft(policy, here.tokenize(here.corpus(corpus[0], seed)), sft):
            pass
        policy.save_pretrained(folder)

    depends_on = {"seed": seed, "corpus": corpus, "sft": repr(sft), "size": SIZES[size]}
    return GPT2LMHeadModel.from_pretrained(cached(name, depends_on, build)).to(place).eval()
