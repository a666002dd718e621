"""Instant feedback: a check tries a reader's function, and says if it is right or which mistake it looks like."""

from dpo_book.checks.judge.exercise import Exercise
from dpo_book.checks.judge.trials import in_float32, normal, vector

__all__ = ["Exercise", "in_float32", "normal", "vector"]
