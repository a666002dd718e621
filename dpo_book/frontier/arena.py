"""Where methods compete: one world, one reference, the same comparisons and reward model, one yardstick.

An arena knows how good a policy is and where comparisons come from; it knows no method.
"""

import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from dpo_book.data.batches import in_parts
from dpo_book.data.pairs import Pair, bradley_terry_pairs
from dpo_book.maths.estimates import estimate
from dpo_book.maths.exact import best_of_n_logp, expected_reward, kl_divergence
from dpo_book.models.logprobs import collate
from dpo_book.models.policy import sample, sample_ids
from dpo_book.models.reward_model import Reward, build_reward_model, rewards_of
from dpo_book.models.scoring import row_scorer, score_pairs
from dpo_book.system.cache import cached
from dpo_book.system.provenance import model_digest
from dpo_book.training.config import RewardConfig
from dpo_book.training.offline import train_reward_model
from dpo_book.worlds.references import tiny_reviews_reference, verdicts_reference
from dpo_book.worlds.tiny_reviews import tiny_reviews
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
    """TinyReviews: every number is a mean over samples, with its standard error."""

    name = "tiny-reviews"
    samples_a_prompt = 2
    shown = 16

    def __init__(self) -> None:
        self.world = tiny_reviews()
        self.reference = tiny_reviews_reference()
        self.prompts = self.world.tokenizer(list(self.world.prompts)).input_ids

    def comparisons(self, size: int, seed: int) -> tuple[list[Pair], int]:
        """Pairs of the reference's own samples, one pair a prompt, and how many tokens they have."""
        prompts = self.world.draw_prompts(size, seed)
        a = self._sample(self.reference, prompts, 2 * seed)
        b = self._sample(self.reference, prompts, 2 * seed + 1)
        reward_a = self.world.rewards_of(prompts, a)
        reward_b = self.world.rewards_of(prompts, b)
        pairs = bradley_terry_pairs(prompts, a, b, reward_a, reward_b, "hard", seed)
        tokens = sum(len(response) for response in a + b)
        return pairs, tokens

    @torch.no_grad()
    def measure(self, policy: PreTrainedModel, learned: Reward) -> Standing:
        prompts = self.prompts * self.samples_a_prompt
        completions = self._sample(policy, prompts, seed=0)
        reward = estimate(self.world.rewards_of(prompts, completions))
        kl = estimate(self._log_ratios(policy, prompts, completions))
        return Standing(
            reward=reward.mean,
            reward_error=reward.standard_error,
            kl=kl.mean,
            kl_error=kl.standard_error,
            learned_reward=learned(prompts, completions).mean().item(),
            samples=self._shown(completions),
        )

    def _log_ratios(
        self, policy: PreTrainedModel, prompts: Sequence[list[int]], completions: Sequence[list[int]]
    ) -> Tensor:
        """log π(y|x) − log π_ref(y|x) of every completion, those of like length computed together: (B,)."""
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
        pools = [self._sample(self.reference, self.prompts, seed=1000 * seed + i) for i in range(n)]
        scores = torch.stack([learned(self.prompts, pool) for pool in pools])  # (n, prompts)
        best = [pools[i][row] for row, i in enumerate(scores.argmax(dim=0).tolist())]
        reward = estimate(self.world.rewards_of(self.prompts, best))
        return Standing(
            reward=reward.mean,
            reward_error=reward.standard_error,
            kl=math.log(n) - (n - 1) / n,
            kl_error=0.0,
            learned_reward=scores.amax(dim=0).mean().item(),
            samples=self._shown(best),
        )

    def _sample(self, policy: PreTrainedModel, prompts: Sequence[list[int]], seed: int) -> list[list[int]]:
        completions = []
        for start in range(0, len(prompts), 256):
            part = prompts[start : start + 256]
            completions += sample_ids(policy, part, self.world.max_new_tokens, seed=seed * 100_003 + start)
        return completions

    def _shown(self, completions: Sequence[list[int]]) -> list[tuple[str, str]]:
        texts = self.world.tokenizer.batch_decode(list(completions[: self.shown]), skip_special_tokens=True)
        return list(zip(self.world.prompts[: self.shown], texts, strict=True))


Arena = EnumeratedArena | SampledArena
ARENAS: dict[str, type[Arena]] = {arena.name: arena for arena in (EnumeratedArena, SampledArena)}


class Material(NamedTuple):
    """What one seed gives every method: comparisons, and for those who want one a reward model fitted to them."""

    pairs: list[Pair]
    reference_logps: tuple[Tensor, Tensor]  # of chosen and rejected completions
    learned: Reward  # r_φ
    drawn: Cost  # of the comparisons
    fitted: Cost  # of the reward model
    start: Standing  # the reference, where every method begins


@lru_cache(maxsize=8)  # of several seeds, taken in turn
def draw_material(arena: Arena, comparisons: int, reward_config: RewardConfig, seed: int) -> Material:
    """The comparisons of one seed and the reward model fitted to them; made once, then kept."""

    def build(folder: Path) -> None:
        started = time.process_time()
        pairs, tokens = arena.comparisons(comparisons, seed)
        drawn = Cost(generated_tokens=tokens, judgements=len(pairs), seconds=time.process_time() - started)
        started = time.process_time()
        model = build_reward_model(arena.reference, seed)
        for _ in train_reward_model(model, pairs, reward_config):
            pass
        passes = 2 * reward_config.batch_size * reward_config.steps  # both completions of every pair
        fitted = Cost(passes=passes, seconds=time.process_time() - started)
        model.save_pretrained(folder / "reward_model")
        kept = {
            "pairs": pairs,
            "reference_logps": [logps.tolist() for logps in score_pairs(arena.reference, pairs)],
            "costs": [asdict(drawn), asdict(fitted)],
            "start": arena.measure(arena.reference, partial(rewards_of, model)),
        }
        (folder / "data.json").write_text(json.dumps(kept), encoding="utf-8")

    depends_on = {
        "reference": model_digest(arena.reference),
        "comparisons": comparisons,
        "reward_model": repr(reward_config),
        "seed": seed,
    }
    folder = cached(f"{arena.name}-comparisons", depends_on, build)
    kept = json.loads((folder / "data.json").read_text(encoding="utf-8"))
    model = AutoModelForSequenceClassification.from_pretrained(folder / "reward_model").eval()
    chosen, rejected = map(torch.tensor, kept["reference_logps"])
    return Material(
        pairs=[Pair(*pair) for pair in kept["pairs"]],
        reference_logps=(chosen, rejected),
        learned=partial(rewards_of, model),
        drawn=Cost(**kept["costs"][0]),
        fitted=Cost(**kept["costs"][1]),
        start=Standing(*kept["start"]),
    )
