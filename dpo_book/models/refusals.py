"""Why something is no policy: the errors of loading one."""

from collections.abc import Iterable


class PolicyNotFoundError(OSError):
    """A policy could not be loaded; the message names it and says what to do instead."""


class NotAPolicyError(ValueError):
    """What is there is no whole causal language model with its tokenizer; the message names it and what is wrong."""


def first_of(names: Iterable[str]) -> str:
    first, *others = sorted(names)
    return f"{first} and {len(others)} more" if others else first
