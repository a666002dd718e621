"""What a training's own records show: each function gives the numbers of a pattern, None where they do not show it.

The thresholds were set on logs of runs whose fault is known, and of healthy ones, to which the tests hold them (they
are chapter 12's runs). How often they are wrong elsewhere was not measured.
"""

import math

from dpo_book.evaluation.patterns.run_log import RunLog

LN2 = math.log(2)
MANY_PASSES = 3  # over the rows; fewer are usual


def loss_rises(log: RunLog) -> str | None:
    """By a tenth, and by more than the noise of batches. Coin flips raise it too, but by a fiftieth."""
    start, late = log.start("loss"), log.late("loss")
    noise = log.late_error("loss")
    if not log.starts_level:
        noise = math.hypot(noise, log.start_error("loss"))
    if late - start > max(0.1 * abs(start), 3 * noise):
        return (
            f"the loss is {late:.3g} in the last quarter of the steps, above the {start:.3g} that it began with; "
            f"its highest is {log.highest('loss'):.3g}"
        )
    return None


def nothing_moves(log: RunLog) -> str | None:
    chosen, rejected = log.log_ratio("chosen"), log.log_ratio("rejected")
    start, late = log.start("loss"), log.late("loss")
    if max(abs(chosen), abs(rejected)) < 0.02 and abs(late - start) < 0.003 * abs(start):
        return (
            f"the loss is {late:.4f} in the last quarter of the steps and began with {start:.4f}; log-probabilities "
            f"have moved by {chosen:+.4f} nats (chosen) and {rejected:+.4f} (rejected)"
        )
    return None


def loss_does_not_fall(log: RunLog) -> str | None:
    if loss_rises(log):
        return None
    early, late = log.early("loss"), log.late("loss")
    if early - late < math.hypot(log.early_error("loss"), log.late_error("loss")):
        return f"the loss is {early:.4g} in the first quarter of the steps and {late:.4g} in the last"
    return None


def moves_for_nothing(log: RunLog) -> str | None:
    """log π of a completion has moved by half of what it was, and the loss has hardly seen it."""
    margin = log.late("rewards/margins")
    sides = ("chosen", "rejected")
    moved = max(sides, key=log.share_moved)
    if log.share_moved(moved) > 0.5 and abs(margin) < 0.1 and log.accuracy().low > 0.5:
        return (
            f"log-probabilities have moved by {log.log_ratio('chosen'):+.1f} nats (chosen) and "
            f"{log.log_ratio('rejected'):+.1f} (rejected), and the reward margin is {margin:.3f} nats: "
            f"at β = {log.beta:g} that costs next to nothing"
        )
    return None


def says_nothing(log: RunLog) -> str | None:
    share, low, high = log.accuracy()
    late = log.late("loss")
    if low <= 0.5 <= high and late > LN2 and not nothing_moves(log) and not loss_rises(log):
        return (
            f"accuracy is {share:.3f} in the last quarter of the steps (95 % interval {low:.3f} to {high:.3f}) and "
            f"the loss {late:.3f}, no lower than ln 2 = 0.693, though log-probabilities move"
        )
    return None


def starts_elsewhere(log: RunLog) -> str | None:
    first = log.records[0]
    chosen, rejected = first["rewards/chosen"], first["rewards/rejected"]
    if max(abs(chosen), abs(rejected)) > 0.01:
        return (
            f"at step 1 rewards are {chosen:+.4f} nats (chosen) and {rejected:+.4f} (rejected), where a policy that "
            f"starts from its reference has 0; the loss is {first['loss']:.4f}"
        )
    return None


def by_heart(log: RunLog) -> str | None:
    if log.passes < MANY_PASSES:
        return None
    return _all_right(log, f"its {log.data['rows']:,} rows are seen {log.passes:.0f} times")


def too_easy(log: RunLog) -> str | None:
    if log.passes >= MANY_PASSES:
        return None
    return _all_right(log, f"its {log.data['rows']:,} rows are seen {log.passes:.1f} times")


def _all_right(log: RunLog, passes: str) -> str | None:
    share, loss = log.accuracy().value, log.late("loss")
    if share < 0.99 or loss > 0.1:
        return None
    before, margin = log.before_late(log.margin_name), log.late(log.margin_name)
    return (
        f"accuracy is {share:.3f} and the loss {loss:.3f} in the last quarter of the steps; the margin goes from "
        f"{before:.2f} nats in the quarter before to {margin:.2f}; {passes}"
    )


def chosen_falls(log: RunLog) -> str | None:
    chosen, rejected = log.log_ratio("chosen"), log.log_ratio("rejected")
    if chosen < -0.5:
        return (
            f"log π(y|x) of a chosen completion is {chosen:+.1f} nats against the reference's in the last quarter of "
            f"the steps, of a rejected one {rejected:+.1f}"
        )
    return None
