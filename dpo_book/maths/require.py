"""What a setting has to be, checked in one place and said in one way. No torch: the command line reads it at once."""

import math
from numbers import Real


def require_beta(beta: float) -> float:
    """beta itself if it is a finite number above zero; TypeError or ValueError otherwise.

    At beta = 0 the optimal policy (eq. 4) divides by zero and the DPO loss (eq. 7) is ln 2 everywhere.
    """
    if not _is_number(beta):
        raise TypeError(f"beta must be a number above 0, such as 0.1; got {beta!r}")
    if not (math.isfinite(beta) and beta > 0):
        raise ValueError(f"beta must be a finite number above 0, such as 0.1; got {beta!r}")
    return float(beta)


def require_count(name: str, value: int, least: int = 1) -> None:
    """ValueError unless ``value`` is a whole number of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")


def require_positive(name: str, value: float) -> None:
    """ValueError unless ``value`` is a finite number above zero."""
    if not (_is_number(value) and math.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be a finite number above 0, got {value!r}")


def require_share(name: str, value: float) -> None:
    """ValueError unless ``value`` is a number from 0 to 1."""
    if not (_is_number(value) and 0 <= value <= 1):
        raise ValueError(f"{name} must be in [0, 1], got {value!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
