"""Human judgements: the ten ratings behind every word of VADER's lexicon, read as comparisons between words.

Hutto and Gilbert (2014) asked people how a word feels, from −4 (extremely negative) to 4 (extremely positive),
and kept ten ratings of each. Nobody was asked to compare two words; we do that here: i beats j where a rating
of i is higher than a rating of j. What that can mean, and what it cannot:

- The raters have no names, and column k of the file is not one person: whether two ratings come from one column
  says nothing of how they differ from their words' means. So each of the ten of i meets each of the ten of j.
- "i beats j in 83 of 100" estimates how often somebody who rates i gives more than somebody else who rates j.
  The 100 come from 20 ratings and are not independent: they tell less than 100 people asked once would.
- Words whose mean was 0 or whose ratings had a standard deviation above 2.5 were left out by the authors.
"""

import difflib
import importlib.resources
import json
import random
from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType

import torch
from torch import Tensor

LEXICON = "vader_lexicon.txt"
RATERS = range(10)  # the columns of ratings; hold some of them out to test what was fitted to the others
RATED = range(-4, 5)


@lru_cache(maxsize=1)
def load_ratings() -> Mapping[str, tuple[int, ...]]:
    """The ten ratings of each of the 7,506 words and emoticons in VADER's lexicon; read-only, read once.

    Fourteen of them stand in the file twice: the later line counts, as in VADER's own analyser.
    """
    text = (importlib.resources.files("vaderSentiment") / LEXICON).read_text(encoding="utf-8")
    return MappingProxyType(parse_lexicon(text))


def parse_lexicon(text: str) -> dict[str, tuple[int, ...]]:
    """The ratings in lines of "word, mean, standard deviation, [ten ratings]", parted by tabs."""
    ratings = {}
    for number, line in enumerate(text.strip("\r\n").split("\n"), start=1):
        try:
            word, _mean, _deviation, listed = line.split("\t")
            ratings[word] = tuple(json.loads(listed))
            if len(ratings[word]) != len(RATERS) or not all(rating in RATED for rating in ratings[word]):
                raise ValueError(f"not ten whole numbers from −4 to 4: {listed.strip()}")
        except (ValueError, TypeError) as error:
            raise ValueError(f"{LEXICON}, line {number}: {error}; the line is {line!r}") from None
    return ratings


def wins(words: Sequence[str], raters: Sequence[int] = RATERS) -> Tensor:
    """How often each of n words beats each other one: (n, n) float64, as ``fit_rewards`` reads it.

    ``wins[i, j]`` counts the pairs of a rating of word i and a rating of word j in which i's is higher, and half
    of those in which they are equal. With k raters, ``wins + wins.T`` is k² everywhere off the diagonal, which
    is 0. The wins of ``raters=range(5)`` and of ``raters=range(5, 10)`` have no rating in common.
    """
    ratings = _ratings_of(words, raters)  # (n, k)
    margins = ratings[:, None, :, None] - ratings[None, :, None, :]  # (n, n, k, k)
    return torch.heaviside(margins, torch.tensor(0.5, dtype=torch.float64)).sum(dim=(2, 3)).fill_diagonal_(0)


def rankings(
    words: Sequence[str], count: int, length: int = 2, seed: int = 0, raters: Sequence[int] = RATERS
) -> list[tuple[str, ...]]:
    """``count`` rankings, best first, of ``length`` different words drawn from ``words``.

    Every word in a ranking shows one of its ratings, drawn anew; equal ratings are ordered by lot. A ranking
    of two is a comparison, (winner, loser): i beats j with probability ``wins[i, j]`` / k².
    """
    if not 2 <= length <= len(words):
        raise ValueError(f"a ranking needs from 2 words to all {len(words)}, not {length}")
    shown = dict(zip(words, _ratings_of(words, raters).tolist(), strict=True))
    rng = random.Random(seed)

    def ranking() -> tuple[str, ...]:
        drawn = rng.sample(list(words), length)  # in random order, which sorting keeps among equals
        ratings = {word: rng.choice(shown[word]) for word in drawn}
        return tuple(sorted(drawn, key=ratings.__getitem__, reverse=True))

    return [ranking() for _ in range(count)]


def _ratings_of(words: Sequence[str], raters: Sequence[int]) -> Tensor:
    """The chosen columns of the words' ratings: (n, k) float64."""
    known = load_ratings()
    for word in words:
        if word not in known:
            near = difflib.get_close_matches(str(word).lower(), known)
            hint = f"near it are {', '.join(near)}" if near else "and nothing like it is"
            raise ValueError(f"{word!r} is not in VADER's lexicon; {hint}")
    if len(set(words)) < len(words):
        raise ValueError(f"a word cannot be compared with itself: {', '.join(words)} has one twice")
    if not raters or len(set(raters)) < len(raters) or not set(raters) <= set(RATERS):
        raise ValueError(f"raters must be different columns from 0 to 9, at least one, got {list(raters)}")
    return torch.tensor([[known[word][rater] for rater in raters] for word in words], dtype=torch.float64)
