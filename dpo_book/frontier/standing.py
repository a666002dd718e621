"""What a policy cost, and where it stands: the two things that a measurement says."""

from dataclasses import dataclass
from typing import NamedTuple


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
