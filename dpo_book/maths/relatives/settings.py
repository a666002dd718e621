"""What the losses are called, and which settings each takes besides β. No torch: the command line reads it."""

from typing import Literal

from dpo_book.maths.require import SettingError, require_at_least_zero, require_positive, require_share

LossName = Literal[
    "dpo",
    "ipo",
    "cdpo",
    "robust",
    "hinge",
    "dpo_norm",
    "rdpo",
    "simpo",
    "orpo",
    "dpop",
    "rpo",
    "apo_zero",
    "apo_down",
    "kto",
    "chi_po",
]
# Each loss's settings, and their values where nobody says otherwise.
SETTINGS: dict[str, dict[str, float]] = {
    "cdpo": {"label_smoothing": 0.1},
    "robust": {"label_smoothing": 0.1},
    "rdpo": {"length_penalty": 0.01},
    "simpo": {"target_margin": 0.5},
    "dpop": {"penalty": 5.0},
    "rpo": {"nll_weight": 1.0},
    "chi_po": {"reward_bound": 10.0},
}
SETTING_NAMES = sorted({name for settings in SETTINGS.values() for name in settings})
WITHOUT_REFERENCE = ("simpo", "orpo")


def require_label_smoothing(value: float) -> None:
    """SettingError unless ε is in [0, 0.5): at one half a label says nothing."""
    require_share("label_smoothing", value)
    if value >= 0.5:
        raise SettingError(f"label_smoothing must be below 0.5, where labels say nothing; got {value!r}")


def require_setting(name: str, value: float) -> None:
    """SettingError unless a loss can take ``value`` for its setting of this name."""
    if name == "label_smoothing":
        require_label_smoothing(value)
    elif name == "reward_bound":
        require_positive(name, value)
    else:
        require_at_least_zero(name, value)
