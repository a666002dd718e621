"""How many calls a judge may make and what they may cost: asked before each call, so that neither is exceeded."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from dpo_book.evaluation.judges import JudgeError
from dpo_book.maths.require import SettingError, require_at_least_zero, require_count, require_positive

MILLION = 1_000_000  # tokens, of which prices speak


class LimitReached(JudgeError):
    """A further call could exceed what the caller allows; the message says how to go on."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a judge may spend: on all answers that its file holds of its model, and on its own tries without answer.

    calls: requests, repeated ones too. cost: in the currency of the prices, which are for a million tokens of the
    message (input_price) and of the answer (output_price); None sets no limit, and asks for no prices.
    """

    calls: int = 1000
    cost: float | None = None
    input_price: float = 0.0
    output_price: float = 0.0

    def __post_init__(self) -> None:
        require_count("calls", self.calls)
        for name in ("input_price", "output_price"):
            require_at_least_zero(name, getattr(self, name))
        if self.cost is not None:
            require_positive("cost", self.cost)
            if self.input_price == self.output_price == 0:
                raise SettingError("a limit on cost needs input_price or output_price, for a million tokens")

    def price(self, input_tokens: int, output_tokens: int) -> float:
        """What so many tokens cost."""
        return (input_tokens * self.input_price + output_tokens * self.output_price) / MILLION


class Call:
    """One call, and the tokens it is charged for: all that it may use, until ``used`` says what it did use."""

    def __init__(self, most: tuple[int, int]):
        self.tokens = most

    def used(self, input_tokens: int, output_tokens: int) -> None:
        """What the server reports; nothing for a call that it turned away."""
        self.tokens = (input_tokens, output_tokens)


class Spending:
    """What was spent so far. Threads may share it."""

    def __init__(self, limits: Limits, calls: int, cost: float):
        self._limits = limits
        self._calls, self._cost = calls, cost
        self._reserved: list[float] = []  # the most that each call under way may cost
        self._changed = threading.Condition()

    @property
    def spent(self) -> tuple[int, float]:
        """Calls, and their cost."""
        return self._calls, self._cost

    @contextmanager
    def call(self, most: tuple[int, int]) -> Iterator[Call]:
        """A with block for one call that uses at most so many tokens (input, output). LimitReached if it may not be.

        A call that ends in an error, other than of the server's own words, may have been worked on: it is charged in
        full. Where only what is under way stands in the way of a call, it waits until that is charged.
        """
        price = self._limits.price(*most)
        self._reserve(price)
        call = Call(most)
        try:
            yield call
        finally:
            with self._changed:
                self._reserved.remove(price)
                self._cost += self._limits.price(*call.tokens)
                self._changed.notify_all()

    def _reserve(self, price: float) -> None:
        with self._changed:
            while self._too_dear(price) and self._reserved:
                self._changed.wait()
            if self._too_dear(price):
                raise LimitReached(
                    f"stopped at a cost of {self._cost:.4f}: the next call may cost {price:.4f}, and the limit is "
                    f"{self._limits.cost}. Every answer is kept: raise Limits(cost=...) and ask again to go on"
                )
            if self._calls >= self._limits.calls:
                raise LimitReached(
                    f"stopped after {self._calls} calls, which is the limit. Every answer is kept: raise "
                    "Limits(calls=...) and ask again to go on"
                )
            self._calls += 1
            self._reserved.append(price)

    def _too_dear(self, price: float) -> bool:
        limit = self._limits.cost
        return limit is not None and self._cost + sum(self._reserved) + price > limit


class Unanswered:
    """Calls and cost of tries that no file of answers knows of: those that got none."""

    def __init__(self) -> None:
        self.calls, self.cost = 0, 0.0

    def add(self, spending: Spending, answered: int, paid: float) -> None:
        """What was spent in all, less what is answered and paid in the file."""
        calls, cost = spending.spent
        self.calls, self.cost = calls - answered, cost - paid
