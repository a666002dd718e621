"""Where methods compete: one world, one reference, the same comparisons and reward model, one yardstick.

An arena knows how good a policy is and where comparisons come from; it knows no method.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from dpo_book.data.batches import in_parts
from dpo_book.data.pairs import Pair, bradley_terry_pairs
from dpo_book.maths.estimates import estimate
from dpo_book.maths.exact import best_of_n_logp, expected_reward, kl_divergence
from dpo_book.models.logprobs import collate
from dpo_book.models.policy import sample, sample_ids
from dpo_book.models.reward_model import Reward
from dpo_book.models.scoring import row_scorer
from dpo_book.worlds.open_text import OpenText
from dpo_book.worlds.references import (
    tiny_dialogues_reference,
    tiny_reviews_reference,
    tiny_summaries_reference,
    verdicts_reference,
)
from dpo_book.worlds.tiny_dialogues import tiny_dialogues
from dpo_book.worlds.tiny_reviews import tiny_reviews
from dpo_book.worlds.tiny_summaries import tiny_summaries
from dpo_book.worlds.verdicts import draw_comparisons, verdicts


@dataclass(frozen=True)
class Cost:
    """What was spent. passes: sequences run forward and backward, through any model. generated_tokens: sampled to
    learn from. judgements: asked of whoever knows the true reward. seconds: of one thread's work."""

    passes: int = 0
    generated_tokens: int = 0
    judgements: int = 0
    seconds: float = 0.0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            passes=self.passes + other.passes,
            generated_tokens=self.generated_tokens + other.generated_tokens,
            judgements=self.judgements + other.judgements,
            seconds=self.seconds + other.seconds,
        )


class Standing(NamedTuple):
    """A policy's place in the arena, in nats; an error is a standard error, 0 where the number is exact."""

    reward: float  # E[r*]
    reward_error: float
    kl: float  # KL[π ‖ π_ref]
    kl_error: float
    learned_reward: float  # E[r_φ], of the reward model that was fitted to the comparisons
    samples: list[tuple[str, str]]  # a few prompts and responses


class EnumeratedArena:
    """The verdict world: every number is a sum over all responses."""

    name = "verdicts"

    def __init__(self) -> None:
        self.world = verdicts()
        self.reference = verdicts_reference()
        with torch.no_grad():
            self.ref_logp = self.world.logp(self.reference).double()
        self._learned: dict[Reward, Tensor] = {}

    def comparisons(self, size: int, seed: int) -> tuple[list[Pair], int]:
        """Hard-labelled pairs, and how many tokens it took to sample them. See ``draw_comparisons`` for whose."""
        pairs, _ = draw_comparisons(self.world, self.ref_logp, size, "hard", seed)
        return pairs, 2 * size * self.world.max_new_tokens

    def measure(self, policy: PreTrainedModel, learned: Reward) -> Standing:
        with torch.no_grad():
            logp = self.world.logp(policy).double()
        shown = sample(policy, self.world.tokenizer, self.world.prompts, self.world.max_new_tokens)
        return self._measured(logp, learned, list(zip(self.world.prompts, shown, strict=True)))

    def best_of(self, n: int, learned: Reward, seed: int) -> Standing:
        """The best of n of the reference's responses by the learned reward. Exact, so ``seed`` changes nothing."""
        return self._measured(best_of_n_logp(self.ref_logp, self._all(learned), n), learned, [])

    def _measured(self, logp: Tensor, learned: Reward, samples: list[tuple[str, str]]) -> Standing:
        return Standing(
            reward=expected_reward(logp, self.world.rewards).mean().item(),
            reward_error=0.0,
            kl=kl_divergence(logp, self.ref_logp).mean().item(),
            kl_error=0.0,
            learned_reward=expected_reward(logp, self._all(learned)).mean().item(),
            samples=samples,
        )

    def _all(self, learned: Reward) -> Tensor:
        """The learned reward of every response, (P, N), looked up once."""
        if learned not in self._learned:
            responses = self.world.response_ids.tolist()
            rewards = [learned([prompt] * len(responses), responses) for prompt in self.world.prompt_ids]
            self._learned[learned] = torch.stack(rewards).double()
        return self._learned[learned]


class SampledArena:
    """A world of open text: every number is a mean over samples, with its standard error."""

    samples_a_prompt = 2
    shown = 16

    def __init__(self, name: str, world: OpenText, reference: PreTrainedModel) -> None:
        self.name, self.world, self.reference = name, world, reference
        self.prompts = world.tokenizer(list(world.prompts)).input_ids

    def comparisons(self, size: int, seed: int) -> tuple[list[Pair], int]:
        """Pairs of the reference's own samples, one pair a prompt, and how many tokens they have."""
        prompts = self.world.draw_prompts(size, seed)
        a = self.sample(self.reference, prompts, 2 * seed)
        b = self.sample(self.reference, prompts, 2 * seed + 1)
        reward_a = self.world.rewards_of(prompts, a)
        reward_b = self.world.rewards_of(prompts, b)
        pairs = bradley_terry_pairs(prompts, a, b, reward_a, reward_b, "hard", seed)
        tokens = sum(len(response) for response in a + b)
        return pairs, tokens

    @torch.no_grad()
    def measure(self, policy: PreTrainedModel, learned: Reward) -> Standing:
        prompts = self.prompts * self.samples_a_prompt
        completions = self.sample(policy, prompts, seed=0)
        reward = estimate(self.world.rewards_of(prompts, completions))
        kl = estimate(self.log_ratios(policy, prompts, completions))
        return Standing(
            reward=reward.mean,
            reward_error=reward.standard_error,
            kl=kl.mean,
            kl_error=kl.standard_error,
            learned_reward=learned(prompts, completions).mean().item(),
            samples=self._shown(completions),
        )

    def log_ratios(
        self, policy: PreTrainedModel, prompts: Sequence[list[int]], completions: Sequence[list[int]]
    ) -> Tensor:
        """log π(y|x) − log π_ref(y|x) of every completion: (B,), by length, for those of like length go together."""
        score, score_reference = row_scorer(policy), row_scorer(self.reference)
        lengths = [len(completion) for completion in completions]
        in_order = sorted(range(len(lengths)), key=lengths.__getitem__)
        log_ratios = []
        for rows in in_parts(in_order, 128):
            batch = collate([prompts[i] for i in rows], [completions[i] for i in rows], policy.device)
            log_ratios.append(score(batch) - score_reference(batch))
        return torch.cat(log_ratios)

    def best_of(self, n: int, learned: Reward, seed: int) -> Standing:
        """The best of n of the reference's responses by the learned reward.

        Its KL is log n − (n − 1)/n, exact where no two responses are as good and no response is likely.
        """
        best, scores = self.pick_best(n, learned, seed)
        reward = estimate(self.world.rewards_of(self.prompts, best))
        return Standing(
            reward=reward.mean,
            reward_error=reward.standard_error,
            kl=math.log(n) - (n - 1) / n,
            kl_error=0.0,
            learned_reward=scores.mean().item(),
            samples=self._shown(best),
        )

    def pick_best(
        self, n: int, learned: Reward, seed: int, temperature: float = 1.0
    ) -> tuple[list[list[int]], Tensor]:
        """Of n of the reference's responses to a prompt the best by the learned reward: token ids, rewards (P,)."""
        pools = [self.sample(self.reference, self.prompts, 1000 * seed + i, temperature) for i in range(n)]
        scores = torch.stack([learned(self.prompts, pool) for pool in pools])  # (n, P)
        best = [pools[i][row] for row, i in enumerate(scores.argmax(dim=0).tolist())]
        return best, scores.amax(dim=0)

    def sample(
        self, policy: PreTrainedModel, prompts: Sequence[list[int]], seed: int, temperature: float = 1.0
    ) -> list[list[int]]:
        """One completion a prompt, token ids both, 256 prompts at once."""
        completions = []
        for start in range(0, len(prompts), 256):
            part = prompts[start : start + 256]
            drawn = sample_ids(policy, part, self.world.max_new_tokens, temperature, seed * 100_003 + start)
            completions += drawn
        return completions

    def _shown(self, completions: Sequence[list[int]]) -> list[tuple[str, str]]:
        texts = self.world.tokenizer.batch_decode(list(completions[: self.shown]), skip_special_tokens=True)
        return list(zip(self.world.prompts[: self.shown], texts, strict=True))


def tiny_reviews_arena() -> SampledArena:
    return SampledArena("tiny-reviews", tiny_reviews(), tiny_reviews_reference())


def tiny_summaries_arena() -> SampledArena:
    return SampledArena("tiny-summaries", tiny_summaries(), tiny_summaries_reference())


def tiny_dialogues_arena() -> SampledArena:
    return SampledArena("tiny-dialogues", tiny_dialogues(), tiny_dialogues_reference())


Arena = EnumeratedArena | SampledArena
ARENAS: dict[str, Callable[[], Arena]] = {
    "verdicts": EnumeratedArena,
    "tiny-reviews": tiny_reviews_arena,
    "tiny-summaries": tiny_summaries_arena,
    "tiny-dialogues": tiny_dialogues_arena,
}
