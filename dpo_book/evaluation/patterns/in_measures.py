"""What the data and held-out measures of a run show: functions as those of ``in_training``."""

from collections.abc import Mapping

from dpo_book.evaluation.patterns.run_log import RunLog
from dpo_book.maths.estimates import share_interval

FAR = 20.0  # nats of KL. Best of n costs log n − (n − 1)/n of them at most: so far is the best of 10⁹


def most_are_cut(log: RunLog) -> str | None:
    cut, completions = log.data["cut"], log.data["completions"]
    if cut > completions / 2:
        return (
            f"{cut:,} of {completions:,} completions fill the {log.data['most_tokens']} tokens that a row may have, "
            "and do not end with the end-of-sequence token"
        )
    return None


def chosen_is_longer(log: RunLog) -> str | None:
    """A quarter longer on average, and in more than half of the pairs beyond chance."""
    chosen, rejected = log.data["chosen_tokens"]["mean"], log.data["rejected_tokens"]["mean"]
    share = share_interval(log.data["chosen_longer"] / log.data["rows"], log.data["rows"])
    if chosen >= 1.25 * rejected and share.low > 0.5:
        return (
            f"a chosen completion has {chosen:.1f} tokens on average, a rejected one {rejected:.1f}; it is the "
            f"longer one in {share.value:.0%} of the pairs"
        )
    return None


def held_out_is_reversed(log: RunLog) -> str | None:
    last = log.evaluations[-1]
    if last["accuracy_high"] < 0.5 and last["step"] > 0:
        return (
            f"held-out accuracy at step {last['step']} is {last['accuracy']:.3f}, 95 % interval "
            f"{last['accuracy_low']:.3f} to {last['accuracy_high']:.3f}"
        )
    return None


def held_out_loss_rises(log: RunLog) -> str | None:
    """From its best by more than an interval reaches, which is wide for a difference on the same rows."""
    last = log.evaluations[-1]
    best = min(log.evaluations, key=_loss)
    rise = last["loss"] - best["loss"]
    if rise <= last["loss"] - last["loss_low"]:
        return None
    then, now = log.around("loss", best["step"]), log.around("loss", last["step"])
    if now < then:
        return (
            f"held-out loss is {best['loss']:.4g} at step {best['step']} and {last['loss']:.4g} at step "
            f"{last['step']}, while the training loss goes from {then:.4g} to {now:.4g}"
        )
    return None


def _loss(row: Mapping[str, float]) -> float:
    return row["loss"]


def is_far(log: RunLog) -> str | None:
    last = log.evaluations[-1]
    if last["kl_low"] > FAR:
        return (
            f"KL to the reference is {last['kl']:.1f} nats a completion, 95 % interval {last['kl_low']:.1f} to "
            f"{last['kl_high']:.1f}; always to take the best of 10⁹ samples goes no further than {FAR:.0f}"
        )
    return None
