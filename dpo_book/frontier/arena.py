"""Where methods compete: one world, one reference, the same comparisons and reward model, one yardstick.

An arena knows how good a policy is and where comparisons come from; it knows no method. Here is the enumerated one,
and the book's worlds by name; ``sampled.py`` has the one of open text.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from transformers import PreTrainedModel

from dpo_book.data.pairs import Pair
from dpo_book.frontier.sampled import SampledArena
from dpo_book.frontier.standing import Cost, Standing
from dpo_book.maths.exact import best_of_n_logp, expected_reward, kl_divergence
from dpo_book.models.policy import sample
from dpo_book.models.reward_model import Reward
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

__all__ = ["ARENAS", "Arena", "Cost", "EnumeratedArena", "SampledArena", "Standing"]


class EnumeratedArena:
    """The verdict world: every number is a sum over all responses."""

    name = "verdicts"
    depends_on: Mapping[str, object] = {}

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
