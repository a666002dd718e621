"""The enumerable world: four-word film verdicts, every one of which can be listed.

Eleven words make 11⁴ = 14,641 responses to each of three prompts. The vocabulary holds nothing else, no
padding and no end mark, so a language model over it has exactly these responses and its probabilities sum to
one over them. That is what turns Z(x), KL, expected reward and π* from estimates into numbers.
"""

import itertools
import random
from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from dpo_book.data.pairs import Pair, bradley_terry_pairs
from dpo_book.maths.exact import best_of_n_logp
from dpo_book.models.logprobs import enumerate_logp

WORDS = ("the", "acting", "ending", "plot", "not", "very", "but", "good", "great", "bad", "dull")
LENGTH = 4
PROMPTS = ("the acting", "the ending", "the plot")

# What the critics of this world think: how often they use each adjective, by prompt.
OPINIONS = {
    "the acting": {"good": 0.4, "great": 0.3, "bad": 0.1, "dull": 0.2},
    "the ending": {"good": 0.2, "great": 0.1, "bad": 0.4, "dull": 0.3},
    "the plot": {"good": 0.25, "great": 0.25, "bad": 0.25, "dull": 0.25},
}
# How they put it: {a} and {b} are adjectives, {noun} is the prompt's own.
PHRASES = (
    "very {a} but {b}",
    "{a} but very {b}",
    "{a} but not {b}",
    "not {a} but {b}",
    "not very {a} {noun}",
    "very very {a} {noun}",
    "{a} {noun} but {b}",
    "{a} not {b} {noun}",
)
SLIP = 0.1  # the share of verdicts that are four words at random: no response is impossible to imitate


class Verdicts:
    """Three prompts, every four-word response to them, and VADER's opinion of each.

    tokenizer: one token a word. prompts: P = 3 texts. responses: all N = 14,641 texts, in the
    lexicographic order of their token ids.
    """

    prompts = PROMPTS
    length = LENGTH
    max_new_tokens = LENGTH

    def __init__(self) -> None:
        vocabulary = {word: i for i, word in enumerate(WORDS)}
        words = Tokenizer(models.WordLevel(vocabulary))
        words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        self.tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, clean_up_tokenization_spaces=False)
        self.responses = tuple(" ".join(words) for words in itertools.product(WORDS, repeat=LENGTH))
        self._analyzer = SentimentIntensityAnalyzer()

    def reward(self, prompt: str, response: str) -> float:
        """r*(x, y) in nats, between −2 and 2: twice the compound score that VADER's analyser gives "x y".

        The analyser knows that "not" turns a word around, that "very" strengthens it, and that what follows
        "but" counts for more: "not very good but" is bad.
        """
        return 2 * self._analyzer.polarity_scores(f"{prompt} {response}")["compound"]

    @cached_property
    def rewards(self) -> Tensor:
        """r*(x, y) of every prompt and response: (P, N) float64."""
        return torch.tensor([[self.reward(x, y) for y in self.responses] for x in self.prompts], dtype=torch.float64)

    @cached_property
    def prompt_ids(self) -> list[list[int]]:
        """Token ids of the P prompts."""
        return [self.tokenizer(prompt).input_ids for prompt in self.prompts]

    @cached_property
    def response_ids(self) -> Tensor:
        """Token ids of all responses: (N, 4)."""
        return torch.cartesian_prod(*[torch.arange(len(WORDS))] * LENGTH)

    def corpus(self, size: int, seed: int = 0) -> list[tuple[str, str]]:
        """``size`` (prompt, verdict) texts to imitate, drawn from the critics' opinions and phrases."""
        rng = random.Random(seed)
        return [self._verdict(rng.choice(self.prompts), rng) for _ in range(size)]

    def _verdict(self, prompt: str, rng: random.Random) -> tuple[str, str]:
        """A text of the corpus: a phrase with the critics' adjectives in it, or by a slip four words at random."""
        if rng.random() < SLIP:
            words = rng.choices(WORDS, k=LENGTH)
            return prompt, " ".join(words)
        opinion = OPINIONS[prompt]
        adjectives, how_often = list(opinion), list(opinion.values())
        a, b = rng.choices(adjectives, weights=how_often, k=2)
        phrase = rng.choice(PHRASES)
        noun = prompt.split()[-1]
        return prompt, phrase.format(a=a, b=b, noun=noun)

    def tokenize(self, texts: Iterable[tuple[str, str]]) -> list[tuple[list[int], list[int]]]:
        """(prompt, response) texts as token ids, the form that ``train_sft`` reads.

        Raises ValueError for a word that this world does not have.
        """
        return [(self._ids(x), self._ids(y)) for x, y in texts]

    def _ids(self, text: str) -> list[int]:
        if unknown := [word for word in text.split() if word not in WORDS]:
            raise ValueError(f"{unknown[0]!r} is not a word of this world; its words are {', '.join(WORDS)}")
        return self.tokenizer(text).input_ids

    def draw_prompts(self, size: int, seed: int = 0) -> list[list[int]]:
        """Token ids of ``size`` prompts, each as likely as the others."""
        return random.Random(seed).choices(self.prompt_ids, k=size)

    def rewards_of(self, prompts: Sequence[list[int]], completions: Sequence[list[int]]) -> Tensor:
        """r*(x, y) of B prompts and completions as token ids: (B,) float32."""
        rows = [self.prompt_ids.index(prompt) for prompt in prompts]
        return self.rewards[rows, [self.index(completion) for completion in completions]].float()

    def index(self, response_ids: Sequence[int]) -> int:
        """The place of a response in ``responses``: its token ids read as a number in base 11."""
        place = 0
        for token in response_ids:
            place = place * len(WORDS) + token
        return place

    def logp(self, policy: PreTrainedModel) -> Tensor:
        """log π(y|x) of every prompt and response: (P, N), with gradient. Exact, by enumeration.

        On the CPU, where ``rewards`` are, whatever device the policy is on.
        """
        return torch.stack([enumerate_logp(policy, prompt, LENGTH).cpu() for prompt in self.prompt_ids])


class JudgedVerdicts(Verdicts):
    """The verdict world with another judge than VADER: the same prompts and responses, with rewards (P, N) as given.

    Whatever runs on the one world runs on the other. ValueError for rewards of another shape, or not finite.
    """

    def __init__(self, rewards: Tensor) -> None:
        super().__init__()
        expected = (len(self.prompts), len(self.responses))
        if tuple(rewards.shape) != expected or not rewards.isfinite().all():
            raise ValueError(f"rewards must be finite and of shape {expected}, got {tuple(rewards.shape)}")
        self.rewards = rewards.detach().cpu().double()  # instead of VADER's

    def reward(self, prompt: str, response: str) -> float:
        """The judge's r(x, y), in nats."""
        ids = self._ids(response)
        return self.rewards[self.prompts.index(prompt), self.index(ids)].item()


@lru_cache(maxsize=1)
def verdicts() -> Verdicts:
    """The world, made once a process."""
    return Verdicts()


def mixed_proposal(
    world: Verdicts, ref_logp: Tensor, reference: float = 0.4, best_of_16: float = 0.4, uniform: float = 0.2
) -> Tensor:
    """With which probability a response is put into a comparison: (P, N), three ways of proposing mixed.

    The shares, which have to sum to 1, are those of the reference's own samples, of the best of 16 of them by the
    *true* reward, and of responses drawn from all N alike. The book's mixture is the default: it compares much where
    the optimum has its probability, and leaves nothing out. ref_logp: (P, N), ``world.logp(reference)``.
    """
    if abs(reference + best_of_16 + uniform - 1) > 1e-9:
        raise ValueError(f"the shares must sum to 1, and {reference}, {best_of_16} and {uniform} do not")
    ref_logp = ref_logp.detach().double()
    best = best_of_n_logp(ref_logp, world.rewards, 16).exp()
    return reference * ref_logp.exp() + best_of_16 * best + uniform / len(world.responses)


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
    for comparison, by default ``mixed_proposal``; Bradley–Terry judges. For exact labels, an unrestricted policy and
    comparisons without end, every proposal that leaves nothing out has the same minimum, π*. How near a run comes
    depends on the proposal: notebooks/results/coverage.csv.
    """
    generator = torch.Generator().manual_seed(seed)
    ref_logp = ref_logp.detach().double()
    if proposal is None:
        proposal = mixed_proposal(world, ref_logp)

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
    pairs = bradley_terry_pairs(
        [world.prompt_ids[i] for i in prompt.tolist()],
        world.response_ids[a].tolist(),
        world.response_ids[b].tolist(),
        world.rewards[prompt, a],
        world.rewards[prompt, b],
        labels,
        seed,
    )
    chosen = torch.tensor([world.index(pair.chosen) for pair in pairs])
    rejected = torch.tensor([world.index(pair.rejected) for pair in pairs])
    return pairs, (ref_logp[prompt, chosen].float(), ref_logp[prompt, rejected].float())
