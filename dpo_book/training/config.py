"""What a training run is told: a frozen dataclass a method, checked when it is made. The command line reads it.

DPO's, with a setting for every relative, is in ``dpo_config.py``.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal, Self, get_args

from dpo_book.maths.require import (
    SettingError,
    require_at_least_zero,
    require_beta,
    require_choice,
    require_count,
    require_flag,
    require_positive,
    require_seed,
    require_share,
)

ScheduleName = Literal["cosine", "linear", "constant"]
OptimizerName = Literal["adamw", "rmsprop"]

STEPS, WARMUP_STEPS = 300, 20  # where nobody says otherwise
# Learning rates where nobody says otherwise, see ``TrainConfig.resolved``.
LARGE = 100_000_000  # parameters from which a model takes the rates of large ones
HIGHEST_RATE = 1e-3
OF_AN_ADAPTER = 10  # times the rate of a whole model


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """What every method needs to know. The text under a field is also its help on the command line."""

    large_model_rate = 1e-5  # no setting: without an annotation it is no field

    learning_rate: float | None = None
    """of which warm-up and schedule give each update a share. By default, for a model of 100 million parameters or
    more, 1e-6 (DPO, unlikelihood, PPO) or 1e-5 (SFT, reward model); a smaller one takes as many times more as it is
    smaller, to 1e-3 at most; an adapter takes ten times what its model would"""
    schedule: ScheduleName = "cosine"
    """how the learning rate falls. linear: from the end of the warm-up to zero in a line. cosine: over all steps, and
    the warm-up multiplies it, so that with one the full rate is not quite reached. constant: it does not, as in the
    code of DPO's authors"""
    optimizer: OptimizerName = "adamw"
    """AdamW, or RMSprop, the paper's; either with torch's own settings but for rate and weight decay. The default
    rates are AdamW's"""
    weight_decay: float = 0.0
    """with AdamW every update takes this share of each weight off, times the learning rate; with RMSprop this share
    of the weight is added to its gradient"""
    batch_size: int = 64
    """examples (pairs, for methods that compare) behind each update, all processes together"""
    micro_batch_size: int | None = None
    """how many of them a process computes at once, by default its whole part; fewer need less memory"""
    steps: int = STEPS
    """updates; the data is gone through as often as they need"""
    warmup_steps: int | None = None
    """updates in which a factor of the learning rate rises to 1 in a line, by default 20, and no more than half of a
    short run"""
    max_grad_norm: float = 10.0
    """gradients longer than this are scaled down to it"""
    seed: int = 0
    """of the order of the data, the only chance left in training"""

    def __post_init__(self) -> None:
        if self.learning_rate is not None:
            require_positive("learning_rate", self.learning_rate)
        require_choice("schedule", self.schedule, get_args(ScheduleName))
        require_choice("optimizer", self.optimizer, get_args(OptimizerName))
        require_at_least_zero("weight_decay", self.weight_decay)
        require_count("batch_size", self.batch_size)
        if self.micro_batch_size is not None:
            require_count("micro_batch_size", self.micro_batch_size)
        require_count("steps", self.steps)
        require_positive("max_grad_norm", self.max_grad_norm)
        require_seed("seed", self.seed)
        if self.warmup_steps is not None:
            require_count("warmup_steps", self.warmup_steps, least=0)
            self._check_warmup(self.warmup_steps)

    def resolved(self, parameters: int, adapter: bool = False) -> Self:
        """These settings with a learning rate: their own, or by default one for a model of so many parameters.

        parameters: all of the model's, an adapter's left out. adapter: whether LoRA's matrices are what is trained.
        Large models take the paper's rate, or a usual one; below them it grows as the model shrinks, so that ``mini``
        and ``nano`` come near the rates that were best for them in this book's runs (``frontier/plans.py``, chapter
        13). Rounded to one digit, for no more of it is known.
        """
        if self.learning_rate is not None:
            return self
        rate = min(HIGHEST_RATE, self.large_model_rate * max(1.0, LARGE / parameters))
        rate *= OF_AN_ADAPTER if adapter else 1
        return replace(self, learning_rate=float(f"{rate:.0e}"))

    @property
    def updates(self) -> int:
        """How many updates there are in the run, over which the learning rate rises and falls."""
        return self.steps

    @property
    def warmup_updates(self) -> int:
        """In how many of them it rises."""
        if self.warmup_steps is None:
            return min(WARMUP_STEPS, self.updates // 2)
        return self.warmup_steps

    def _check_warmup(self, warmup_steps: int) -> None:
        """SettingError for a warm-up that no update of the run comes after."""
        if warmup_steps >= self.updates:
            raise SettingError(
                f"warmup_steps = {warmup_steps} leaves no update after it in a run of {self.updates}. Take "
                f"fewer, or leave it out for {WARMUP_STEPS} and at most half of the run"
            )


@dataclass(frozen=True, kw_only=True)
class OfflineConfig(TrainConfig):
    """What every method needs to know that learns from rows that are given: all but PPO."""

    epochs: int | None = None
    """how often the data is gone through, in place of steps; steps of 300 count as not given, for that is the
    default"""
    gradient_checkpointing: bool = False
    """for small cards: keep what a block was given and not what is computed in it, which is then computed a second
    time. The same numbers, for one more forward pass a step"""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_flag("gradient_checkpointing", self.gradient_checkpointing)
        if self.epochs is None:
            return
        require_count("epochs", self.epochs)
        if self.steps != STEPS:
            raise SettingError("epochs and steps both say how long to train: leave one of them out")

    def counted(self, rows: int) -> Self:
        """These settings with their length in steps, where they have it in epochs of so many rows.

        The last batch of an epoch may be smaller, so an epoch is ⌈rows / batch_size⌉ steps. SettingError for a
        warm-up that is then as long as the run.
        """
        if self.epochs is None:
            return self
        return replace(self, steps=self.epochs * math.ceil(rows / self.batch_size), epochs=None)

    def _check_warmup(self, warmup_steps: int) -> None:
        if self.epochs is None:  # else only ``counted`` knows how long the run is
            super()._check_warmup(warmup_steps)


@dataclass(frozen=True, kw_only=True)
class SFTConfig(OfflineConfig):
    """Supervised fine-tuning: imitate given completions."""


@dataclass(frozen=True, kw_only=True)
class PairConfig(OfflineConfig):
    """What every method needs to know that learns from pairs."""

    group_by_prompt: bool = False
    """put the pairs of one prompt into the same batch where it has room: it changes which pairs share a batch, and so
    their order, and nothing else. Then the prompt and each distinct completion of it are run once for all of them,
    which is faster where prompts have several pairs; a batch says less, for it has fewer prompts"""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_flag("group_by_prompt", self.group_by_prompt)


@dataclass(frozen=True, kw_only=True)
class RewardConfig(PairConfig):
    """A reward model (eq. 2), fitted to pairs."""


@dataclass(frozen=True, kw_only=True)
class UnlikelihoodConfig(PairConfig):
    """Unlikelihood, a baseline of DPO's paper (§6)."""

    large_model_rate = 1e-6  # it starts where DPO does, from a policy that must not lose what it can

    alpha: float = 0.1
    """the weight of pushing y_l down"""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive("alpha", self.alpha)


@dataclass(frozen=True, kw_only=True)
class PPOConfig(TrainConfig):
    """PPO as in RLHF. steps: batches of rollouts; batch_size: rollouts in each; warmup_steps: of the updates.

    beta: as DPO's, the price of a nat of KL; with ``target_kl`` (nats) it is only where the controller starts.
    epochs, minibatch_size: how often, and in which parts, a batch of rollouts is learned from. clip: ε of the
    clipped objective. gae_lambda: λ of the advantages, in [0, 1]. max_new_tokens: where a rollout is cut.
    """

    large_model_rate = 1e-6  # as DPO's, and for the same reason

    beta: float = 0.1
    target_kl: float | None = None
    epochs: int = 4
    minibatch_size: int = 64
    clip: float = 0.2
    gae_lambda: float = 0.95
    value_learning_rate: float = 1e-4
    max_new_tokens: int = 64

    def __post_init__(self) -> None:
        require_count("epochs", self.epochs)
        require_count("minibatch_size", self.minibatch_size)
        super().__post_init__()
        require_beta(self.beta)
        if self.micro_batch_size is not None:
            raise SettingError("micro_batch_size is not PPO's: its minibatch_size says how many are computed at once")
        if self.batch_size < 2:
            raise SettingError("batch_size must be at least 2: one rollout has nothing to be compared with")
        if self.target_kl is not None:
            require_positive("target_kl", self.target_kl)
        require_positive("clip", self.clip)
        require_share("gae_lambda", self.gae_lambda)
        require_positive("value_learning_rate", self.value_learning_rate)
        require_count("max_new_tokens", self.max_new_tokens)

    @property
    def updates(self) -> int:
        """How many updates there are in the run: some in every step."""
        return self.steps * self.epochs * math.ceil(self.batch_size / self.minibatch_size)
