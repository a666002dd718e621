"""How much a sampled frontier has to compute, counted before it begins, and what that would take on one GPU.

One row is run, and its operations in matrix products are counted; the rest is multiplication. What samples is counted
in steps besides, for a step waits for memory and for Python, and hardly for arithmetic.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from transformers import PreTrainedModel

from dpo_book.frontier.methods import METHODS, Plan
from dpo_book.frontier.table import Run
from dpo_book.system.operations import operations

# One H100. Training: as this package did short pairs with a GPT-2 of 124M parameters, in bfloat16 products
# (notebooks/results/bench-gpu.csv). The other two are assumed: half of what NVIDIA states for float32 without tensor
# cores, in which samples are scored; and a step of ``generate`` for a batch.
TRAINING_RATE = 106e12
FLOAT32_RATE = 33e12
STEP_SECONDS = 0.02
AT_ONCE = 256  # prompts that an arena continues together


@dataclass(frozen=True)
class Work:
    """training: operations of passes, forward and backward. looking: of all that only runs forward. sampling: steps
    in which a batch gets one token more."""

    training: int = 0
    looking: int = 0
    sampling: int = 0

    def __add__(self, other: "Work") -> "Work":
        return Work(self.training + other.training, self.looking + other.looking, self.sampling + other.sampling)

    def __mul__(self, times: int) -> "Work":
        return Work(times * self.training, times * self.looking, times * self.sampling)

    def hours(self) -> float:
        """On one H100, see above."""
        seconds = self.training / TRAINING_RATE + self.looking / FLOAT32_RATE + self.sampling * STEP_SECONDS
        return seconds / 3600

    def __str__(self) -> str:
        return (
            f"About {self.hours():.2g} GPU hours on an H100, if training does {TRAINING_RATE / 1e12:.0f}·10¹² "
            "operations a second as in this package's benchmark of GPT-2, and, which is assumed, scoring "
            f"{FLOAT32_RATE / 1e12:.0f}·10¹² and a step of sampling takes {1000 * STEP_SECONDS:.0f} ms. Counted: "
            f"{self.training:.1e} operations of matrix products in training, {self.looking:.1e} in scoring, "
            f"{self.sampling:,} steps of sampling. No such run was timed"
        )


class Sizes:
    """What the pieces of a frontier cost for one policy, of rows of ``length`` tokens: operations.

    looked, looked_body: one row forward, through the policy, and without its head as a reward or value model has it.
    passed, passed_body: forward and backward, where every product has two more, for its two factors' gradients.
    """

    def __init__(self, policy: PreTrainedModel, length: int) -> None:
        row = torch.arange(length, device=policy.device)[None] % policy.get_input_embeddings().weight.shape[0]
        self.looked = operations(partial(_forward, policy, row))
        self.looked_body = operations(partial(_forward, policy.base_model, row))
        self.passed, self.passed_body = 3 * self.looked, 3 * self.looked_body


@torch.no_grad()
def _forward(model: PreTrainedModel, row: torch.Tensor) -> None:
    model(input_ids=row, attention_mask=torch.ones_like(row), use_cache=False)


@dataclass(frozen=True)
class Counted:
    """Counts a frontier's work, piece by piece.

    judged: operations in which the judge reads one text. max_new_tokens: steps in which a batch is completed.
    completions: to each prompt that comparisons come from. eval_prompts: in a measurement.
    """

    plan: Plan
    sizes: Sizes
    judged: int
    max_new_tokens: int
    completions: int
    eval_prompts: int

    def frontier(self, runs: Sequence[Run]) -> Work:
        """Of runs, and of the material of each of their seeds."""
        total = self._material() * len({run.seed for run in runs})
        for run in runs:
            total += self._run(run)
        return total

    def _material(self) -> Work:
        """Comparisons, the reward model fitted to them, their log-probabilities, the reference measured."""
        written = self.plan.comparisons * 2 // (self.completions - 1)  # k of them give k (k − 1) / 2 comparisons
        fitted = Work(training=self.plan.reward_passes() * self.sizes.passed_body)
        looked = Work(looking=written * (self.judged + self.sizes.looked))
        return self._drawn(written) + fitted + looked + self._measurement()

    def _run(self, run: Run) -> Work:
        method = METHODS[run.method]
        if run.method == "best-of-n":
            pool = int(run.strength) * self.eval_prompts
            scored = pool * self.sizes.looked_body + self.eval_prompts * self.judged
            return self._drawn(pool) + Work(looking=scored)
        if method.train is None:
            return Work()
        steps = method.steps(self.plan)
        passes = steps * method.passes(self.plan)
        work = self._measurement() * self.plan.measurements
        if run.method not in ("ppo", "ppo-gt"):
            return work + Work(training=passes * self.sizes.passed)
        # Of PPO's passes half are the policy's, half the value model's.
        training = passes // 2 * (self.sizes.passed + self.sizes.passed_body)
        reward = self.judged if method.asks_truth else self.sizes.looked_body
        a_rollout = 3 * self.sizes.looked + self.sizes.looked_body + reward  # drawn, scored twice, valued, judged
        rolled_out = steps * self.plan.batch_size * a_rollout
        return work + Work(training, rolled_out, steps * self.max_new_tokens)

    def _measurement(self) -> Work:
        """Samples, scored by policy and reference, by the reward model and the judge."""
        scored = 2 * self.sizes.looked + self.sizes.looked_body + self.judged
        return self._drawn(self.eval_prompts) + Work(looking=self.eval_prompts * scored)

    def _drawn(self, completions: int) -> Work:
        """Completions by the policy: each token once forward, as many batches as they need."""
        batches = math.ceil(completions / AT_ONCE)
        return Work(looking=completions * self.sizes.looked, sampling=batches * self.max_new_tokens)
