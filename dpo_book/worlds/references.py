"""π_ref of the worlds: a policy that imitates a world's corpus, trained the first time and then kept.

A chapter may write it out, and chapter 00 does.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from transformers import GPT2LMHeadModel, PreTrainedModel, PreTrainedTokenizerBase

from dpo_book.models.policy import SIZES, build_policy
from dpo_book.models.quiet import quiet
from dpo_book.system.cache import cached
from dpo_book.system.devices import find_device
from dpo_book.system.files import remove
from dpo_book.system.provenance import data_digest, model_digest, tokenizer_digest
from dpo_book.training.checkpoints import Checkpoints
from dpo_book.training.config import SFTConfig
from dpo_book.training.loop import Record
from dpo_book.training.offline import Example, train_sft
from dpo_book.worlds import (
    tiny_dialogues as answers,
    tiny_reviews as reviews,
    tiny_summaries as forum,
    town,
    verdicts as source,
)
from dpo_book.worlds.open_text import OpenText
from dpo_book.worlds.tiny_dialogues import tiny_dialogues
from dpo_book.worlds.tiny_reviews import tiny_reviews
from dpo_book.worlds.tiny_summaries import tiny_summaries
from dpo_book.worlds.verdicts import Verdicts, verdicts

CORPUS_SIZE = 20_000
SFT = SFTConfig(learning_rate=3e-3, batch_size=256, steps=300)
REVIEWS_CORPUS_SIZE = 32_000
REVIEWS_SFT = SFTConfig(learning_rate=2e-3, batch_size=16, steps=2000)  # every review once
SUMMARIES_SFT = SFTConfig(learning_rate=2e-3, batch_size=16, steps=1250)  # every post once
CHECKPOINT_EVERY = 100  # steps of a reference whose training may take an hour
DIALOGUES_SFT = SFTConfig(learning_rate=2e-3, batch_size=16, steps=1250)  # every request once


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
    corpus = [REVIEWS_CORPUS_SIZE, reviews.GRAMMAR, reviews.VOCAB_SIZE, reviews.TOKENIZER_SIZE]
    return _imitator("tiny-reviews-reference", tiny_reviews, "mini", corpus, REVIEWS_SFT, seed)


def tiny_summaries_reference(seed: int = 0) -> GPT2LMHeadModel:
    """π_ref of the world of summaries: a micro GPT-2 that summarises posts as people of all kinds do.

    Two minutes of one thread's work the first time, then kept. ``seed`` fixes its initial weights, its corpus and the
    order in which it reads it.
    """
    slots = [forum.IMPORTANT, forum.OPTIONAL, forum.OVERLOOKED, forum.REMARKS]
    corpus = [CORPUS_SIZE, forum.PHRASES, slots, forum.WRITERS, forum.VOCAB_SIZE, forum.TOKENIZER_SIZE]
    return _imitator("tiny-summaries-reference", tiny_summaries, "micro", corpus, SUMMARIES_SFT, seed)


def tiny_dialogues_reference(seed: int = 0) -> GPT2LMHeadModel:
    """π_ref of the world of dialogues: a micro GPT-2 that answers as people of all kinds do.

    A minute and a half of one thread's work the first time, then kept. ``seed`` fixes its initial weights, its
    corpus and the order in which it reads it.
    """
    tables = [town.TASKS, town.TROUBLES, town.TOWN, town.MISCHIEF]
    corpus = [CORPUS_SIZE, town.PHRASES, tables, answers.WRITERS, answers.VOCAB_SIZE, answers.TOKENIZER_SIZE]
    return _imitator("tiny-dialogues-reference", tiny_dialogues, "micro", corpus, DIALOGUES_SFT, seed)


def _imitator(
    name: str, world: Callable[[], Verdicts | OpenText], size: str, corpus: list, sft: SFTConfig, seed: int
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
        with quiet():
            policy.save_pretrained(folder)

    depends_on = {"seed": seed, "corpus": corpus, "sft": repr(sft), "size": SIZES[size]}
    folder = cached(name, depends_on, build)
    with quiet():
        return GPT2LMHeadModel.from_pretrained(folder).to(place).eval()


def imdb_reference(
    policy: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    sft: SFTConfig | None,
    checkpoint: Path,
    watch: Callable[[Record], object],
) -> Path:
    """π_ref of the paper's experiment on IMDb: the folder of a policy that has imitated reviews, and its tokenizer.

    examples: as ``imdb_examples`` makes them of reviews. sft: None for a policy that imitates them already.
    checkpoint: a file from which a killed training goes on; it is gone when the reference is kept. watch: told every
    step's record. Trains ``policy`` in place, unless such a reference is kept already. CheckpointError for the
    checkpoint of another training.
    """
    depends_on = {
        "policy": model_digest(policy),
        "tokenizer": tokenizer_digest(tokenizer),
        "examples": data_digest(examples),
        "sft": repr(sft),
    }

    def build(folder: Path) -> None:
        if sft is not None:
            kept = Checkpoints(checkpoint, depends_on, CHECKPOINT_EVERY)
            for record in train_sft(policy, examples, sft, kept):
                watch(record)
        with quiet():
            policy.save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    folder = cached("imdb-reference", depends_on, build)
    remove(checkpoint)
    return folder
