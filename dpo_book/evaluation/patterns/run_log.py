"""What a training run has left to be read: its records, what it was told, its data in numbers, its evaluations."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from dpo_book.maths.estimates import Interval, share_interval

LEAST_STEPS = 20  # of which a quarter is a mean that says something
LOG_RATIO_LOSSES = (  # those whose rewards are β log(π/π_ref), so that they are zero where both are one
    "dpo",
    "ipo",
    "cdpo",
    "robust",
    "hinge",
    "dpop",
    "rpo",
    "apo_zero",
    "apo_down",
    "kto",
)
MARGIN_LOSSES = ("dpo", "cdpo", "robust")  # and which are a function of the margin alone, ln 2 at zero


@dataclass(frozen=True, kw_only=True)
class RunLog:
    """A run's log. A quarter is one of all steps; means over it are of batches.

    method: sft, reward or dpo. records: one a step, from step 1. loss, beta, reference_free: dpo's. data: what
    ``data/facts.py`` counts, empty where nobody knows. evaluations: rows of evaluations.jsonl.
    """

    method: str
    records: Sequence[Mapping[str, float]]
    batch_size: int
    loss: str | None = None
    beta: float | None = None
    reference_free: bool = False
    data: Mapping = field(default_factory=dict)
    evaluations: Sequence[Mapping[str, float]] = ()

    @property
    def has_log_ratios(self) -> bool:
        """Whether rewards / β are log(π/π_ref)."""
        return self.method == "dpo" and not self.reference_free and self.loss in LOG_RATIO_LOSSES

    @property
    def starts_level(self) -> bool:
        """Whether every pair has the same loss where policy and reference are one: rpo's imitates besides."""
        return self.has_log_ratios and self.loss != "rpo"

    @property
    def is_of_a_margin(self) -> bool:
        """Whether, besides, the loss is a logistic one of the margin alone."""
        return self.has_log_ratios and self.loss in MARGIN_LOSSES

    @property
    def passes(self) -> float | None:
        """How often each row is seen; None where nobody knows how many there are."""
        rows = self.data.get("rows")
        return len(self.records) * self.batch_size / rows if rows else None

    @property
    def margin_name(self) -> str:
        return "margin" if self.method == "reward" else "rewards/margins"

    def start(self, name: str) -> float:
        """In the first batch, before any update."""
        return self.records[0][name]

    def start_error(self, name: str) -> float:
        """Of one batch, if it varies as late ones do."""
        return self.late_error(name) * math.sqrt(self._quarter)

    def early(self, name: str) -> float:
        """Over the first quarter."""
        return self._mean(name, slice(0, self._quarter))

    def early_error(self, name: str) -> float:
        return self._error(name, slice(0, self._quarter))

    def before_late(self, name: str) -> float:
        """Over the third quarter."""
        return self._mean(name, slice(-2 * self._quarter, -self._quarter))

    def late(self, name: str) -> float:
        """Over the last quarter."""
        return self._mean(name, slice(-self._quarter, None))

    def late_error(self, name: str) -> float:
        return self._error(name, slice(-self._quarter, None))

    def highest(self, name: str) -> float:
        return max(record[name] for record in self.records)

    def around(self, name: str, step: int) -> float:
        """Over a quarter's steps up to this one; at step 0, in the first batch."""
        if step == 0:
            return self.start(name)
        return self._mean(name, slice(max(0, step - self._quarter), step))

    def log_ratio(self, side: str) -> float:
        """log(π/π_ref) of chosen or rejected completions, nats, over the last quarter."""
        return self.late(f"rewards/{side}") / self.beta

    def share_moved(self, side: str) -> float:
        """The same without its sign, as a share of −log π_ref of the same completions."""
        log_ratio = self.log_ratio(side)
        reference = self.late(f"logps/{side}") - log_ratio
        return abs(log_ratio) / max(abs(reference), 1e-9)

    def accuracy(self) -> Interval:
        """The share of pairs that are ranked right, over the last quarter, with its 95 % interval."""
        name = "accuracy" if self.method == "reward" else "rewards/accuracies"
        share = min(1.0, max(0.0, self.late(name)))  # a mean may be rounded out of it
        return share_interval(share, self._quarter * self.batch_size)

    @property
    def _quarter(self) -> int:
        return max(1, len(self.records) // 4)

    def _mean(self, name: str, steps: slice) -> float:
        return float(np.mean(self._values(name, steps)))

    def _error(self, name: str, steps: slice) -> float:
        """The standard error of the mean, if batches were drawn one by one."""
        values = self._values(name, steps)
        return float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else 0.0

    def _values(self, name: str, steps: slice) -> list[float]:
        return [record[name] for record in self.records[steps]]
