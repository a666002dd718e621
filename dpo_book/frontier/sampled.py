"""The arena of open text, where nobody can list the responses: every number is a mean over samples."""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dpo_book.data.batches import in_parts
from dpo_book.data.pairs import Pair, bradley_terry_pairs
from dpo_book.frontier.standing import Standing
from dpo_book.maths.estimates import estimate
from dpo_book.models.logprobs import collate
from dpo_book.models.policy import sample_ids
from dpo_book.models.reward_model import Reward
from dpo_book.models.scoring import row_scorer


class SampledWorld(Protocol):
    """What a ``SampledArena`` needs to know of its world: the book's worlds of open text, or IMDb."""

    tokenizer: PreTrainedTokenizerBase
    prompts: Sequence[str]  # to measure on
    prompt_ids: Sequence[list[int]]  # the same as token ids
    max_new_tokens: int

    def draw_prompts(self, size: int, seed: int) -> list[list[int]]:
        """Token ids of prompts to learn from."""

    def rewards_of(self, prompts: Sequence[list[int]], completions: Sequence[list[int]]) -> Tensor:
        """r*(x, y) of token ids: (B,)."""


class SampledArena:
    """A world of open text: every number is a mean over samples, with its standard error.

    completions: how many the reference writes to a prompt; every two of them are compared. labels: as in
    ``bradley_terry_pairs``. samples_a_prompt: on how many completions of each of the world's prompts a policy is
    measured; with more than one, standard errors take those of one prompt as independent. depends_on: what the
    material depends on besides the name and the reference, as JSON can write it.
    """

    shown = 16

    def __init__(
        self,
        name: str,
        world: SampledWorld,
        reference: PreTrainedModel,
        *,
        completions: int = 2,
        labels: str = "hard",
        samples_a_prompt: int = 2,
        depends_on: Mapping[str, object] | None = None,
    ) -> None:
        self.name, self.world, self.reference = name, world, reference
        self.prompts = list(world.prompt_ids)
        self.depends_on = dict(depends_on or {})
        self._labels, self._samples_a_prompt = labels, samples_a_prompt
        self._compared = list(combinations(range(completions), 2))
        self._completions = completions

    def comparisons(self, size: int, seed: int) -> tuple[list[Pair], int]:
        """Pairs of the reference's own samples, at most ``size``, and how many tokens were sampled for them.

        A prompt's completions are all compared with each other; two of the same text are no pair.
        """
        prompts = self.world.draw_prompts(size // len(self._compared), seed)
        drawn, rewards, tokens = [], [], 0
        for place in range(self._completions):
            responses = self.sample(self.reference, prompts, self._completions * seed + place)
            drawn.append(responses)
            rewards.append(self.world.rewards_of(prompts, responses))
            tokens += sum(len(response) for response in responses)
        pairs = []
        for place, (a, b) in enumerate(self._compared):
            coin = len(self._compared) * seed + place
            pairs += bradley_terry_pairs(prompts, drawn[a], drawn[b], rewards[a], rewards[b], self._labels, coin)
        return pairs, tokens

    @torch.no_grad()
    def measure(self, policy: PreTrainedModel, learned: Reward) -> Standing:
        prompts = self.prompts * self._samples_a_prompt
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
