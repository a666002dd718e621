"""What a setting has to be, checked in one place and said in one way. No torch: the command line reads it at once."""

import math
from collections.abc import Sequence
from importlib.util import find_spec
from numbers import Real

MOST = 10**9  # of anything that is counted: more never ends, or fits into no memory
SEEDS = 2**32  # as NumPy has it; torch's own end at int64, and some are multiplied on the way


class SettingError(ValueError):
    """A setting, an option or an argument cannot be used; the message names it and says what it has to be."""


def require_beta(beta: float) -> float:
    """beta itself if it is a finite number above zero; TypeError or ValueError otherwise.

    At beta = 0 the optimal policy (eq. 4) divides by zero and the DPO loss (eq. 7) is ln 2 everywhere.
    """
    if not _is_number(beta):
        raise TypeError(f"beta must be a number above 0, such as 0.1; got {beta!r}")
    if not (_is_finite(beta) and beta > 0):
        raise SettingError(f"beta must be a finite number above 0, such as 0.1; got {beta!r}")
    return float(beta)


def require_count(name: str, value: int, least: int = 1, most: int = MOST) -> None:
    """ValueError unless ``value`` is a whole number from ``least`` to ``most``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise SettingError(f"{name} must be a whole number of at least {least}, got {value!r}")
    if value > most:
        raise SettingError(f"{name} must be a whole number of at most {most:,}, got {value!r}")


def require_seed(name: str, value: int) -> None:
    """ValueError unless ``value`` is a whole number from 0 that every generator takes."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < SEEDS:
        raise SettingError(f"{name} must be a whole number from 0 to {SEEDS - 1} (2^32 - 1), got {value!r}")


def require_positive(name: str, value: float) -> None:
    """ValueError unless ``value`` is a finite number above zero."""
    if not (_is_number(value) and _is_finite(value) and value > 0):
        raise SettingError(f"{name} must be a finite number above 0, got {value!r}")


def require_finite(name: str, value: float) -> None:
    """ValueError unless ``value`` is a finite number."""
    if not (_is_number(value) and _is_finite(value)):
        raise SettingError(f"{name} must be a finite number, got {value!r}")


def require_at_least_zero(name: str, value: float) -> None:
    """SettingError unless ``value`` is a finite number of at least 0."""
    if not (_is_number(value) and _is_finite(value) and value >= 0):
        raise SettingError(f"{name} must be a finite number of at least 0, got {value!r}")


def require_share(name: str, value: float) -> None:
    """ValueError unless ``value`` is a number from 0 to 1."""
    if not (_is_number(value) and 0 <= value <= 1):
        raise SettingError(f"{name} must be in [0, 1], got {value!r}")


def require_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """SettingError unless ``value`` is one of ``choices``."""
    if value not in choices:
        raise SettingError(f"{name} must be one of {', '.join(choices)}; got {value!r}")


def require_flag(name: str, value: bool) -> None:
    """ValueError unless ``value`` is True or False: the text "no" would count as true."""
    if not isinstance(value, bool):
        raise SettingError(f"{name} must be True or False, got {value!r}")


def require_temperature(value: float) -> None:
    """ValueError unless ``value`` is a finite number of at least 0, where 0 takes the likeliest token."""
    require_at_least_zero("temperature", value)


def require_extra(package: str, extra: str, option: str) -> None:
    """SettingError, before anything is read or written, where the package that an option needs is not installed."""
    if find_spec(package) is None:
        raise SettingError(f'{option} needs an extra package: pip install "dpo-book[{extra}]"')


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _is_finite(value: Real) -> bool:
    """Also of a whole number or fraction that no float can hold, which isfinite does not take."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
