"""The paper's sentiment experiment (§6.1, Fig. 2 left) as an arena: a policy, film reviews, a judge of sentiment.

Rafailov et al. (2023) let a policy that has imitated reviews go on from 2 to 8 of a review's tokens, four times each;
a sentiment model judges, and the higher reward always wins. What is made once, the reference and the prompts, is
kept, and an ``ImdbSite`` tells every process where.
"""

import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from dpo_book.frontier.sampled import SampledArena
from dpo_book.models.loading import load_policy
from dpo_book.system.cache import cached
from dpo_book.system.devices import asked_or_best
from dpo_book.system.manifest import files_digest, read_manifest
from dpo_book.system.provenance import data_digest, tokenizer_digest
from dpo_book.worlds.film_reviews import FilmReviews
from dpo_book.worlds.imdb import imdb_prompts, judge_identity, sentiment_scorer


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What decides the experiment's numbers besides its plan and the texts.

    judge: see ``sentiment_scorer``. completions: that the reference writes to a prompt; every two of them are
    compared. labels: "sure", the higher reward always wins, as in the paper; or "hard", with the probability of
    eq. 1. max_new_tokens: where a completion is cut. eval_prompts: on how many prompts a policy is measured. policy,
    reviews, held_out: digests of the start, of the texts to learn from, and of those whose first words are measured
    on. sft: what the reference is made with, in words.
    """

    policy: str
    reviews: str
    held_out: str
    sft: str
    judge: str
    completions: int
    labels: str
    max_new_tokens: int
    eval_prompts: int

    def settings(self) -> dict:
        """As JSON can write it; a judge in a folder by its files."""
        return asdict(self) | {"judge": judge_identity(self.judge)}


@dataclass(frozen=True)
class ImdbSite:
    """Where the experiment's arena is made. reference, prompts: folders, see ``imdb_reference``, ``keep_prompts``."""

    terms: Terms
    reference: Path
    prompts: Path
    name: str = "imdb"

    def settings(self) -> dict:
        digests = {}
        for what in ("reference", "prompts"):
            digests[what] = files_digest(read_manifest(getattr(self, what)))
        return self.terms.settings() | digests

    def arena(self) -> SampledArena:
        """Measured on one completion of every prompt, so that the samples of a mean are independent."""
        reference, tokenizer = load_policy(self.reference, asked_or_best())
        kept = json.loads((self.prompts / "prompts.json").read_text(encoding="utf-8"))
        score = sentiment_scorer(self.terms.judge)
        world = FilmReviews(tokenizer, kept["starts"], kept["held_out"], score, self.terms.max_new_tokens)
        return SampledArena(
            self.name,
            world,
            reference,
            completions=self.terms.completions,
            labels=self.terms.labels,
            samples_a_prompt=1,
            depends_on=self.settings(),
        )


def keep_prompts(
    reviews: Sequence[str], held_out: Sequence[str], tokenizer: PreTrainedTokenizerBase, eval_prompts: int
) -> Path:
    """The folder of the prompts: of all reviews, to learn from; of so many held-out ones by lot, to measure on."""
    drawn = random.Random("held out").sample(list(held_out), eval_prompts)  # IMDb's order is by sentiment

    def build(folder: Path) -> None:
        prompts = {"starts": imdb_prompts(reviews, tokenizer), "held_out": imdb_prompts(drawn, tokenizer)}
        (folder / "prompts.json").write_text(json.dumps(prompts), encoding="utf-8")

    depends_on = {
        "reviews": data_digest(reviews),
        "held_out": data_digest(drawn),
        "tokenizer": tokenizer_digest(tokenizer),
    }
    return cached("imdb-prompts", depends_on, build)
