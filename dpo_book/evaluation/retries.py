"""When a request that got no answer is tried again: exponential back-off with jitter, or when the server says."""

import email.utils
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from dpo_book.maths.require import require_count, require_positive


def _jitter() -> float:
    return random.uniform(0.5, 1.0)


@dataclass(frozen=True, kw_only=True)
class Retries:
    """How often one request is tried, and how long is waited before the next try.

    Seconds: first_wait, then twice as long each time up to longest_wait, less up to half by lot, so that many do not
    come back at once; or what the server asks for (Retry-After), if that is at most longest_asked. sleep, clock (Unix
    time) and jitter are those of the machine; a test has its own.
    """

    tries: int = 6
    first_wait: float = 1.0
    longest_wait: float = 60.0
    longest_asked: float = 600.0
    sleep: Callable[[threading.Event, float], object] = threading.Event.wait  # ends early when the event is set
    clock: Callable[[], float] = time.time
    jitter: Callable[[], float] = _jitter

    def __post_init__(self) -> None:
        require_count("tries", self.tries)
        for name in ("first_wait", "longest_wait", "longest_asked"):
            require_positive(name, getattr(self, name))

    def wait_after(self, tried: int) -> float:
        """Seconds before the next try, after so many without an answer."""
        return min(self.longest_wait, self.first_wait * 2 ** (tried - 1)) * self.jitter()

    def asked_for(self, retry_after: str | None) -> float | None:
        """The seconds that a Retry-After header asks for, as a number or as a date; None for any other text."""
        if retry_after is None:
            return None
        try:
            return max(0.0, float(retry_after))
        except ValueError:
            date = email.utils.parsedate_tz(retry_after)
        try:
            return None if date is None else max(0.0, email.utils.mktime_tz(date) - self.clock())
        except (ValueError, OverflowError):  # a date that no calendar has
            return None


class Stopped(Exception):
    """Another one of several who ask has failed: nothing new is begun."""


class NoAnswer(Exception):
    """A try without an answer, after which another one may do; asked_for: the seconds that the server wants."""

    def __init__(self, why: str, asked_for: float | None = None):
        super().__init__(why)
        self.asked_for = asked_for
