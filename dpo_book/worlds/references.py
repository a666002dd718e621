"""What chapters and commands share: reference policies of the worlds, and comparisons drawn in them.

Each is a few lines over the floors below; a chapter may write them out, and chapter 00 does.
"""

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import transformers
from torch import Tensor
from transformers import GPT2LMHeadModel, PreTrainedModel, PreTrainedTokenizerBase

from dpo_book.data.pairs import Pair, bradley_terry_pairs
from dpo_book.evaluation.sampled import best_of_n_logp
from dpo_book.models.policy import SIZES, build_policy
from dpo_book.system.cache import cached, file_digests
from dpo_book.system.provenance import data_digest, model_digest
from dpo_book.training.config import SFTConfig
from dpo_book.training.offline import train_sft
from dpo_book.worlds import tiny_reviews as grammar
from dpo_book.worlds import verdicts as source
from dpo_book.worlds.imdb import imdb_prompts, sentiment_pairs, sentiment_reward
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
    """A policy that imitates a world's corpus, kept as ``name``. corpus: its size, and what it depends on."""

    def build(folder: Path) -> None:
        here = world()
        policy = build_policy(size, here.tokenizer, seed)
        for _ in train_sft(policy, here.tokenize(here.corpus(corpus[0], seed)), sft):
            pass
        policy.save_pretrained(folder)

    depends_on = {
        "seed": seed,
        "corpus": corpus,
        "sft": repr(sft),
        "size": SIZES[size],
        "versions": [torch.__version__, transformers.__version__],
    }
    return GPT2LMHeadModel.from_pretrained(cached(name, depends_on, build)).eval()


def draw_comparisons(
    world: Verdicts,
    ref_logp: Tensor,
    size: int,
    labels: str = "hard",
    seed: int = 0,
    proposal: Tensor | None = None,
) -> tuple[list[Pair], tuple[Tensor, Tensor]]:
    """``size`` comparisons in an enumerable world, and the reference's log-probabilities of both completions.

    ref_logp: (P, N), ``world.logp(reference)``. proposal: (P, N), the probability with which a response is drawn
    for comparison; Bradley–Terry judges. By default 40 % are the reference's, 40 % the best of 16 of the
    reference's and 20 % any response whatever. Every proposal that leaves nothing out leads DPO to the same
    optimum; this one has comparisons where the optimum has its probability, and so needs far fewer.
    """
    generator = torch.Generator().manual_seed(seed)
    ref_logp = ref_logp.detach().double()
    if proposal is None:
        best = best_of_n_logp(ref_logp, world.rewards, 16).exp()
        proposal = 0.4 * ref_logp.exp() + 0.4 * best + 0.2 / len(world.responses)

    def draw(prompt: Tensor) -> Tensor:
        response = torch.empty_like(prompt)
        for i in prompt.unique().tolist():
            rows = (prompt == i).nonzero().flatten()
            response[rows] = torch.multinomial(proposal[i], len(rows), replacement=True, generator=generator)
        return response

    prompt = torch.randint(len(world.prompts), (size,), generator=generator)
    a, b = draw(prompt), draw(prompt)
    while (same := a == b).any():  # nobody is asked to compare a response with itself
        b[same] = draw(prompt[same])
    completions = world.response_ids.tolist()
    pairs = bradley_terry_pairs(
        [world.prompt_ids[i] for i in prompt.tolist()],
        [completions[i] for i in a.tolist()],
        [completions[i] for i in b.tolist()],
        world.rewards[prompt, a],
        world.rewards[prompt, b],
        labels,
        seed,
    )
    index = world.index
    chosen = torch.tensor([index(pair.chosen) for pair in pairs])
    rejected = torch.tensor([index(pair.rejected) for pair in pairs])
    return pairs, (ref_logp[prompt, chosen].float(), ref_logp[prompt, rejected].float())


def imdb_pairs(
    policy: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, reviews: Sequence[str], prompts: int, judge: str
) -> list[Pair]:
    """Comparisons as in the paper's section 6.1: ``policy`` completes the first words of ``prompts`` of the reviews,
    four times each, and ``judge`` (see ``sentiment_reward``) compares. Sampled once, then kept.
    """
    chosen = random.Random(0).sample(list(reviews), min(prompts, len(reviews)))  # their order is by sentiment
    starts = imdb_prompts(chosen, tokenizer)

    def build(folder: Path) -> None:
        pairs = sentiment_pairs(policy, tokenizer, starts, sentiment_reward(judge))
        pairs = [pair for pair in pairs if pair.chosen != pair.rejected]  # nobody is asked to compare those
        (folder / "pairs.json").write_text(json.dumps(pairs), encoding="utf-8")

    depends_on = {
        "model": model_digest(policy),
        "config": policy.config.to_json_string(),
        "prompts": data_digest(starts),
        "tokenizer": data_digest(sorted(tokenizer.get_vocab().items())),
        "judge": file_digests(Path(judge)) if Path(judge).is_dir() else judge,
        "versions": [torch.__version__, transformers.__version__],
    }
    kept = json.loads((cached("imdb-pairs", depends_on, build) / "pairs.json").read_text(encoding="utf-8"))
    return [Pair(*pair) for pair in kept]
