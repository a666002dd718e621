"""Settings: every wrong value is refused by name, in one line, and every right one taken."""

import math
from fractions import Fraction

import numpy as np
import pytest

from dpo_book import DPOConfig, PPOConfig, RewardConfig, SFTConfig, UnlikelihoodConfig
from dpo_book.maths.relatives.settings import SETTING_NAMES
from dpo_book.maths.require import (
    SettingError,
    require_count,
    require_finite,
    require_flag,
    require_positive,
    require_seed,
    require_share,
    require_temperature,
)

HUGE = 10**400  # more than a float holds
COUNTS = (0, -1, 1.5, 2.0, True, "3", None, HUGE, math.nan)
POSITIVE = (0, -0.1, math.nan, math.inf, "0.1", None, True, HUGE)
SEEDS = (-1, 2**32, 2**64, HUGE, None, 0.0, True, "0")
FLAGS = ("no", "", 0, 1, None)
FIELDS = {
    "learning_rate": tuple(value for value in POSITIVE if value is not None),  # None: by the model's size
    "schedule": ("step", "", None, 1),
    "optimizer": ("sgd", "AdamW", "", None, 1),
    "weight_decay": (-0.1, math.nan, math.inf, "0.1", None, True, HUGE),
    "max_grad_norm": POSITIVE,
    "batch_size": COUNTS,
    "steps": (*COUNTS, 10**20),
    "seed": SEEDS,
    "warmup_steps": (-1, 1.5, True, "3", HUGE),
    "micro_batch_size": (0, -1, 1.5, True, "3", HUGE),
}
OFFLINE = FIELDS | {"epochs": (0, -1, 1.5, True, "3", HUGE), "gradient_checkpointing": FLAGS}
PAIRS = OFFLINE | {"group_by_prompt": FLAGS}
WRONG = [
    (SFTConfig, OFFLINE),
    (RewardConfig, PAIRS),
    (
        DPOConfig,
        PAIRS
        | {"beta": POSITIVE, "reference_free": FLAGS, "loss": ("sigmoid", "", None, 1)}
        # Without the loss that takes them, any value is refused; with it, tests/maths/relatives.
        | dict.fromkeys(SETTING_NAMES, (0.1,)),
    ),
    (UnlikelihoodConfig, PAIRS | {"alpha": POSITIVE}),
    (
        PPOConfig,
        FIELDS
        | dict.fromkeys(("beta", "clip", "value_learning_rate"), POSITIVE)
        | dict.fromkeys(("epochs", "minibatch_size", "max_new_tokens"), COUNTS)
        | {"gae_lambda": (-0.1, 1.1, math.nan, None), "target_kl": (0, math.nan, "1", True)},
    ),
]


@pytest.mark.parametrize(("config", "fields"), WRONG, ids=lambda value: getattr(value, "__name__", ""))
def test_every_field_of_a_configuration_is_checked(config, fields):
    assert set(fields) == set(config.__dataclass_fields__)
    for name, values in fields.items():
        for value in values:
            with pytest.raises((SettingError, TypeError), match=name):
                config(**{name: value})


@pytest.mark.parametrize(
    ("require", "right", "wrong"),
    [
        (require_count, (1, 10**9), COUNTS),
        (require_positive, (1, 1e-300, np.float32(0.5), Fraction(1, 3)), POSITIVE),
        (require_finite, (0, -1.5, np.float32(0.5)), (math.nan, math.inf, "0.5", None, True, HUGE)),
        (require_share, (0, 1, 0.5), (-1e-9, 1 + 1e-9, math.nan, "0.5", None, HUGE)),
        (require_seed, (0, 2**32 - 1), SEEDS),
        (require_flag, (True, False), FLAGS),
    ],
)
def test_a_setting_is_what_its_name_says(require, right, wrong):
    for value in right:
        require("it", value)
    for value in wrong:
        with pytest.raises(SettingError, match=r"^it must be"):
            require("it", value)


def test_a_temperature_is_from_zero_up():
    for value in (0, 1e-300, 1.0, 1e300):
        require_temperature(value)
    for value in (-1e-300, math.nan, math.inf, "1", None, True, HUGE):
        with pytest.raises(SettingError, match="temperature"):
            require_temperature(value)


# ------------------------------------------------------------------ warm-up


@pytest.mark.parametrize(("steps", "warmup"), [(1, 0), (2, 1), (6, 3), (39, 19), (40, 20), (300, 20)])
def test_the_warm_up_is_twenty_updates_or_half_of_a_short_run(steps, warmup):
    assert DPOConfig(steps=steps).warmup_updates == warmup


@pytest.mark.parametrize("warmup", [5, 6])
def test_a_warm_up_as_long_as_the_run_is_refused_with_both_numbers(warmup):
    assert DPOConfig(steps=5, warmup_steps=4).warmup_updates == 4
    with pytest.raises(SettingError, match=rf"warmup_steps = {warmup} leaves no update after it in a run of 5"):
        DPOConfig(steps=5, warmup_steps=warmup)


def test_ppo_counts_the_updates_within_its_steps():
    shape = {"steps": 3, "epochs": 2, "batch_size": 5, "minibatch_size": 2}
    assert PPOConfig(**shape).updates == 3 * 2 * 3
    assert PPOConfig(**shape, warmup_steps=17).warmup_updates == 17
    with pytest.raises(SettingError, match="18 leaves no update after it in a run of 18"):
        PPOConfig(**shape, warmup_steps=18)
