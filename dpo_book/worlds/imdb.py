"""The paper's own three data sets as a world: IMDb, TL;DR, Anthropic HH, from the Hugging Face hub or a local copy.

Rafailov et al. (2023), section 6: "hh", dialogues (Bai et al. 2022), and "tldr", summaries of Reddit posts
(Stiennon et al. 2020), come with the choices of people: ``load_preferences("hh")`` reads them. "imdb" (Maas et al.
2011) comes without: there the prompts are the first words of film reviews, a policy writes the completions, and a
reward judges them, so that the truth is known. That is what lives here; ``data/paper_sets.py`` has the rows' forms.
"""

import itertools
import json
import random
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from dpo_book.data.batches import in_parts
from dpo_book.data.pairs import Pair, bradley_terry_pairs
from dpo_book.data.tokens import completion_texts, opening_ids, plain_ids
from dpo_book.models.quiet import quiet
from dpo_book.models.sampling import end_ids, sample_ids
from dpo_book.system.cache import cached
from dpo_book.system.devices import asked_or_best
from dpo_book.system.hub import first_line, hub_answers
from dpo_book.system.manifest import file_digests, files_digest
from dpo_book.system.provenance import data_digest, model_digest, tokenizer_digest

SENTIMENT_MODEL = "siebert/sentiment-roberta-large-english"  # the paper's ground truth on IMDb (section 6.1)
SENTIMENT_REVISION = "refs/pr/9"  # where its weights are safetensors; on main they are a pickle

TextReward = Callable[[str, str], float]  # r(x, y) in nats
TextScorer = Callable[[Sequence[str]], Tensor]  # r of whole texts, x + y: (B,) in nats


class RewardNotFoundError(OSError):
    """A sentiment model could not be loaded; the message names it and says what to do instead."""


def imdb_prompts(reviews: Sequence[str], tokenizer: PreTrainedTokenizerBase, seed: int = 0) -> list[list[int]]:
    """The first 2 to 8 tokens of each review (section 6.1), how many by lot, after the tokenizer's own opening."""
    beginnings = [" ".join(review.split()[:20]) for review in reviews]  # each word is a token or more
    return [prompt for prompt, _ in _begun(tokenizer, beginnings, seed)]


def imdb_examples(
    reviews: Sequence[str], tokenizer: PreTrainedTokenizerBase, max_length: int | None = None, seed: int = 0
) -> list[tuple[list[int], list[int]]]:
    """Every review as (prompt, completion) to imitate: its prompt as in ``imdb_prompts``, then the rest and EOS.

    Cut to ``max_length`` tokens in all; what is cut gets no EOS.
    """
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    examples = []
    for prompt, rest in _begun(tokenizer, reviews, seed):
        completion = [*rest, *end]
        if max_length is not None:
            completion = completion[: max(0, max_length - len(prompt))]
        if completion:
            examples.append((prompt, completion))
    if not examples:
        raise ValueError(
            f"no review has a token left to imitate within {max_length} tokens, its first words taken off"
        )
    return examples


def _begun(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], seed: int
) -> Iterator[tuple[list[int], list[int]]]:
    """The ids of each text parted after its first 2 to 8 tokens, the tokenizer's opening before them."""
    opening = opening_ids(tokenizer)  # a BOS token, where a tokenizer sets one before any text; GPT-2's does not
    rng = random.Random(seed)
    for ids in plain_ids(tokenizer, texts):
        first = rng.randint(2, 8)
        yield [*opening, *ids[:first]], ids[first:]


def sentiment_reward(name: str = SENTIMENT_MODEL) -> TextReward:
    """r(x, y), how positive the text x + y sounds, by a model (hub id or folder), or by "vader".

    A model's reward is its log-odds, log p(positive) − log p(not positive), in nats. "vader" is the analyser
    behind this book's own worlds, which has rules and a lexicon: twice its compound score, from −2 to 2. It needs
    no network and understands less, so this function does not fall back to it. RewardNotFoundError where the
    model cannot be had, ValueError where it is not one of sentiment.
    """
    score = sentiment_scorer(name)

    def reward(prompt: str, response: str) -> float:
        return score([prompt + response]).item()

    return reward


def sentiment_scorer(name: str = SENTIMENT_MODEL) -> TextScorer:
    """The reward of ``sentiment_reward`` for many whole texts at once; the same errors."""
    return _vader_score if name == "vader" else partial(_log_odds, *_sentiment_model(name))


def _sentiment_model(name: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, Tensor]:
    """A classifier, its tokenizer, and which of its labels is the positive one (labels,)."""
    where = {"trust_remote_code": False, "local_files_only": not hub_answers(str(name))}
    if name == SENTIMENT_MODEL:
        where["revision"] = SENTIMENT_REVISION
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, **where)
        with quiet():
            model = AutoModelForSequenceClassification.from_pretrained(name, use_safetensors=True, **where)
        model = model.float().eval()
    except (OSError, ValueError, SafetensorError) as error:
        raise RewardNotFoundError(
            f"no sentiment model could be loaded from {str(name)!r}: give a local copy's folder, or, without a "
            f'network, judge with VADER: sentiment_reward("vader") (transformers said: {first_line(error)})'
        ) from error
    labels = [model.config.id2label[place].lower() for place in range(model.config.num_labels)]
    positive = torch.tensor([label.startswith("pos") for label in labels])
    if positive.sum() != 1:
        raise ValueError(f"{name}: one of its labels must be positive, and they are: {', '.join(labels)}")
    return model.to(asked_or_best()), tokenizer, positive


@torch.no_grad()
def _log_odds(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, positive: Tensor, texts: Sequence[str]
) -> Tensor:
    """log p(positive) − log p(not positive) of each text, at most 512 tokens of it: (B,) float32, on the CPU."""
    can_be_padded = tokenizer.pad_token_id is not None and tokenizer.pad_token_id == model.config.pad_token_id
    rewards = []
    for rows in in_parts(list(texts), 64 if can_be_padded else 1):
        inputs = tokenizer(rows, truncation=True, max_length=512, padding=can_be_padded, return_tensors="pt")
        logits = model(**inputs.to(model.device)).logits.cpu()
        rewards.append(logits[:, positive].squeeze(1) - logits[:, ~positive].logsumexp(dim=1))
    return torch.cat(rewards)


@lru_cache(maxsize=1)
def _vader() -> SentimentIntensityAnalyzer:
    """The analyser, whose lexicon takes a moment to read."""
    return SentimentIntensityAnalyzer()


def _vader_score(texts: Sequence[str]) -> Tensor:
    return torch.tensor([2 * _vader().polarity_scores(text)["compound"] for text in texts])


def sentiment_pairs(
    policy: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[list[int]],
    reward: TextReward,
    completions: int = 4,
    max_new_tokens: int = 48,
    labels: str = "hard",
    seed: int = 0,
) -> list[Pair]:
    """Let ``policy`` complete each prompt several times, and Bradley–Terry judge every two of them by ``reward``.

    Four completions make six pairs a prompt, as in the paper (appendix C.1); there the higher reward always wins,
    here with the probability of eq. 1 (``labels`` as in ``bradley_terry_pairs``).
    """
    rng = random.Random(seed)
    texts = tokenizer.batch_decode(prompts, skip_special_tokens=True)
    drawn, rewards = [], []
    for _ in range(completions):
        batches = [prompts[start : start + 64] for start in range(0, len(prompts), 64)]
        ids = [y for batch in batches for y in sample_ids(policy, batch, max_new_tokens, seed=rng.getrandbits(31))]
        responses = completion_texts(tokenizer, prompts, ids)
        drawn.append(ids)
        rewards.append(torch.tensor([reward(x, y) for x, y in zip(texts, responses, strict=True)]))
    pairs = []
    for a, b in itertools.combinations(range(completions), 2):
        coin = rng.getrandbits(31)
        pairs += bradley_terry_pairs(prompts, drawn[a], drawn[b], rewards[a], rewards[b], labels, coin)
    return pairs


def judge_identity(judge: str) -> str:
    """What tells a sentiment judge from another: a digest of a folder's files, or a name."""
    return files_digest(file_digests(Path(judge))) if Path(judge).is_dir() else judge


def imdb_pairs(
    policy: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, reviews: Sequence[str], prompts: int, judge: str
) -> list[Pair]:
    """Comparisons as in the paper's section 6.1: ``policy`` completes the first words of ``prompts`` of the reviews,
    four times each, and ``judge`` (see ``sentiment_reward``) compares. Sampled once, then kept.
    """
    drawn = random.Random(0).sample(list(reviews), min(prompts, len(reviews)))  # their order is by sentiment
    starts = imdb_prompts(drawn, tokenizer)

    def build(folder: Path) -> None:
        pairs = sentiment_pairs(policy, tokenizer, starts, sentiment_reward(judge))
        pairs = [pair for pair in pairs if pair.chosen != pair.rejected]  # nobody is asked to compare those
        (folder / "pairs.json").write_text(json.dumps(pairs), encoding="utf-8")

    depends_on = {
        "model": model_digest(policy),
        "ends": sorted(end_ids(policy)),
        "prompts": data_digest(starts),
        "tokenizer": tokenizer_digest(tokenizer),
        "judge": judge_identity(judge),
    }
    kept = json.loads((cached("imdb-pairs", depends_on, build) / "pairs.json").read_text(encoding="utf-8"))
    return [Pair(*pair) for pair in kept]
