"""What a training run is told: one frozen dataclass a method, checked when it is made."""

import math
from dataclasses import dataclass
from numbers import Real

from dpo_book.rlhf import require_beta


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """What every method needs to know.

    steps: updates of the policy; data is gone through as often as they need. learning_rate: of AdamW, the
    peak after ``warmup_steps`` of linear rise, then a cosine down to zero. max_grad_norm: gradients longer
    than this are scaled down to it. seed: of the order of the data, the only chance left in training.
    """

    learning_rate: float = 1e-5
    batch_size: int = 64
    steps: int = 300
    warmup_steps: int = 20
    max_grad_norm: float = 10.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("batch_size", "steps"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
        if not isinstance(self.warmup_steps, int) or self.warmup_steps < 0:
            raise ValueError(f"warmup_steps must be a whole number of at least 0, got {self.warmup_steps!r}")
        for name in ("learning_rate", "max_grad_norm"):
            value = getattr(self, name)
            if not isinstance(value, Real) or not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be a finite number above 0, got {value!r}")


@dataclass(frozen=True, kw_only=True)
class SFTConfig(TrainConfig):
    """Supervised fine-tuning: imitate given completions."""


@dataclass(frozen=True, kw_only=True)
class RewardConfig(TrainConfig):
    """A reward model (eq. 2), fitted to pairs."""


@dataclass(frozen=True, kw_only=True)
class DPOConfig(TrainConfig):
    """DPO (eq. 7). beta: how strongly the policy is held to its reference; no unit, reward in nats.

    reference_free: take the reference as uniform, see ``dpo_loss``.
    """

    learning_rate: float = 1e-6
    beta: float = 0.1
    reference_free: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require_beta(self.beta)
