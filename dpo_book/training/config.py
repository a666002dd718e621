"""What a training run is told: one frozen dataclass a method, checked when it is made."""

import math
from dataclasses import dataclass
from numbers import Real

from dpo_book.maths.objective import require_beta


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """What every method needs to know. The text under a field is also its help on the command line."""

    learning_rate: float = 1e-5
    """of AdamW, the peak after the warm-up; from there a cosine leads down to zero"""
    batch_size: int = 64
    """examples (pairs, for methods that compare) behind each update, all processes together"""
    micro_batch_size: int | None = None
    """how many of them a process computes at once, by default its whole part; fewer need less memory"""
    steps: int = 300
    """updates; the data is gone through as often as they need"""
    warmup_steps: int = 20
    """updates in which the learning rate rises in a line"""
    max_grad_norm: float = 10.0
    """gradients longer than this are scaled down to it"""
    seed: int = 0
    """of the order of the data, the only chance left in training"""

    def __post_init__(self) -> None:
        _require_counts(
            self, "batch_size", "steps", *(["micro_batch_size"] if self.micro_batch_size is not None else [])
        )
        if not isinstance(self.warmup_steps, int) or self.warmup_steps < 0:
            raise ValueError(f"warmup_steps must be a whole number of at least 0, got {self.warmup_steps!r}")
        _require_positive(self, "learning_rate", "max_grad_norm")


def _require_counts(config: "TrainConfig", *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")


def _require_positive(config: "TrainConfig", *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        if isinstance(value, bool) or not isinstance(value, Real) or not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name} must be a finite number above 0, got {value!r}")


@dataclass(frozen=True, kw_only=True)
class SFTConfig(TrainConfig):
    """Supervised fine-tuning: imitate given completions."""


@dataclass(frozen=True, kw_only=True)
class RewardConfig(TrainConfig):
    """A reward model (eq. 2), fitted to pairs."""


@dataclass(frozen=True, kw_only=True)
class DPOConfig(TrainConfig):
    """DPO (eq. 7)."""

    learning_rate: float = 1e-6
    """of AdamW, the peak after the warm-up; from there a cosine leads down to zero"""
    beta: float = 0.1
    """β, how strongly the policy is held to its reference; no unit, rewards being in nats"""
    reference_free: bool = False
    """take the reference as uniform, see ``dpo_loss``"""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_beta(self.beta)


@dataclass(frozen=True, kw_only=True)
class UnlikelihoodConfig(TrainConfig):
    """Unlikelihood, a baseline of DPO's paper (§6)."""

    alpha: float = 0.1
    """the weight of pushing y_l down"""

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_positive(self, "alpha")


@dataclass(frozen=True, kw_only=True)
class PPOConfig(TrainConfig):
    """PPO as in RLHF. steps: batches of rollouts; batch_size: rollouts in each; warmup_steps: of the updates.

    beta: as DPO's, the price of a nat of KL; with ``target_kl`` (nats) it is only where the controller starts.
    epochs, minibatch_size: how often, and in which parts, a batch of rollouts is learned from. clip: ε of the
    clipped objective. gae_lambda: λ of the advantages, in [0, 1]. max_new_tokens: where a rollout is cut.
    """

    beta: float = 0.1
    target_kl: float | None = None
    epochs: int = 4
    minibatch_size: int = 64
    clip: float = 0.2
    gae_lambda: float = 0.95
    value_learning_rate: float = 1e-4
    max_new_tokens: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        require_beta(self.beta)
        if self.micro_batch_size is not None:
            raise ValueError("micro_batch_size is not PPO's: its minibatch_size says how many are computed at once")
        _require_counts(self, "epochs", "minibatch_size", "max_new_tokens")
        _require_positive(self, "clip", "value_learning_rate")
        if self.target_kl is not None:
            _require_positive(self, "target_kl")
        if (
            isinstance(self.gae_lambda, bool)
            or not isinstance(self.gae_lambda, Real)
            or not 0 <= self.gae_lambda <= 1
        ):
            raise ValueError(f"gae_lambda must be in [0, 1], got {self.gae_lambda!r}")
        if self.batch_size < 2:
            raise ValueError("batch_size must be at least 2: one rollout has nothing to be compared with")
