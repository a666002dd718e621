"""Every pattern by its name: where it is looked for, what shows it, and what to do.

A pattern is looked for only where it follows. Of most relatives of DPO fewer are, for their losses and rewards are
others.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from dpo_book.evaluation.patterns import in_measures, in_training
from dpo_book.evaluation.patterns.run_log import LEAST_STEPS, RunLog


class Finding(NamedTuple):
    """A pattern that a run has. is_alarm: unlike what is worth knowing and no fault."""

    name: str
    evidence: str
    advice: str
    is_alarm: bool


class Pattern(NamedTuple):
    """applies: whether a run's log can show it. evidence: the numbers that show it, None where they do not."""

    name: str
    applies: Callable[[RunLog], bool]
    evidence: Callable[[RunLog], str | None]
    advice: str
    is_alarm: bool = True


class Watched(NamedTuple):
    """What was found in a log, alarms first, and by name what was looked for and what could not be."""

    findings: list[Finding]
    looked_for: list[str]
    not_looked_for: list[str]


def watch(log: RunLog) -> Watched:
    """Every pattern that the log has."""
    findings, looked_for, not_looked_for = [], [], []
    for pattern in PATTERNS:
        if not pattern.applies(log):
            not_looked_for.append(pattern.name)
            continue
        looked_for.append(pattern.name)
        evidence = pattern.evidence(log)
        if evidence is not None:
            findings.append(Finding(pattern.name, evidence, pattern.advice, pattern.is_alarm))
    findings.sort(key=_is_no_alarm)
    return Watched(findings, looked_for, not_looked_for)


def _is_no_alarm(finding: Finding) -> bool:
    return not finding.is_alarm


def _is_long(log: RunLog) -> bool:
    return len(log.records) >= LEAST_STEPS


def _is_long_with_log_ratios(log: RunLog) -> bool:
    return _is_long(log) and log.has_log_ratios


def _is_long_without_log_ratios(log: RunLog) -> bool:
    return _is_long(log) and not log.has_log_ratios


def _is_long_of_a_margin(log: RunLog) -> bool:
    return _is_long(log) and log.is_of_a_margin


def _is_long_and_may_fall_to_zero(log: RunLog) -> bool:
    return _is_long(log) and (log.method == "reward" or log.loss == "dpo") and log.passes is not None


def _has_log_ratios(log: RunLog) -> bool:
    return log.has_log_ratios


def _was_cut(log: RunLog) -> bool:
    return log.data.get("most_tokens") is not None


def _compares(log: RunLog) -> bool:
    return "chosen_longer" in log.data


def _has_held_out(name: str) -> Callable[[RunLog], bool]:
    def has(log: RunLog) -> bool:
        return bool(log.evaluations) and name in log.evaluations[-1]

    return has


PATTERNS: Sequence[Pattern] = (
    Pattern(
        "the learning rate is far too high",
        _is_long,
        in_training.loss_rises,
        "Take a third or a tenth of the rate; a longer warm-up helps where only the first steps are wild.",
    ),
    Pattern(
        "the learning rate is far too low",
        _is_long_with_log_ratios,
        in_training.nothing_moves,
        "Take ten times the rate; more steps alone would take as many times longer.",
    ),
    Pattern(
        "the loss does not fall",
        _is_long_without_log_ratios,
        in_training.loss_does_not_fall,
        "Try a higher rate. If nothing changes, there may be nothing left to learn here: look at held-out data.",
    ),
    Pattern(
        "β is far too small",
        _is_long_of_a_margin,
        in_training.moves_for_nothing,
        "Make β ten or a hundred times as large: hardly anything holds the policy to its reference.",
    ),
    Pattern(
        "the labels are coin flips",
        _is_long_of_a_margin,
        in_training.says_nothing,
        "Label some pairs twice and see how often two answers agree (the command label does); look for rows whose "
        "chosen and rejected were mixed up.",
    ),
    Pattern(
        "the policy did not start from the reference",
        _has_log_ratios,
        in_training.starts_elsewhere,
        "Give both the same model, or leave --reference out. If it was meant: rewards and KL count from the "
        "reference, not from where training began.",
    ),
    Pattern(
        "a few pairs are seen again and again",
        _is_long_and_may_fall_to_zero,
        in_training.by_heart,
        "The pairs are learned by heart. Take more pairs or fewer steps; hold some out, and stop at their best loss.",
    ),
    Pattern(
        "every pair is told apart",
        _is_long_and_may_fall_to_zero,
        in_training.too_easy,
        "Something easy may tell chosen from rejected, such as a mark, a format or the length: read some pairs. "
        "Margins of sure labels grow without an end, so stop early; for DPO there are --loss ipo and cdpo.",
    ),
    Pattern(
        "most completions are cut",
        _was_cut,
        in_measures.most_are_cut,
        "Nobody learns from them where to stop. Raise --max-length as far as the model allows; shorten prompts.",
    ),
    Pattern(
        "chosen completions are much longer",
        _compares,
        in_measures.chosen_is_longer,
        "Length may be what is learned. Compare the lengths of samples before and after; balance it in the file; for "
        "DPO there are losses that count it (--loss rdpo, simpo).",
    ),
    Pattern(
        "held-out labels are the other way round",
        _has_held_out("accuracy"),
        in_measures.held_out_is_reversed,
        "What the run learns ranks held-out pairs the wrong way. Chosen and rejected may be swapped in one of the "
        "two sets: read some rows of both.",
    ),
    Pattern(
        "held-out loss rises while training loss falls",
        _has_held_out("loss"),
        in_measures.held_out_loss_rises,
        "Take the model of the lowest held-out loss (best/, unless --best-by says otherwise). Next time stop there "
        "(--patience), or take fewer epochs or more pairs.",
    ),
    Pattern(
        "the policy is very far from its reference",
        _has_held_out("kl"),
        in_measures.is_far,
        "Read the samples before you believe the other measures. A larger β, a lower rate or fewer steps keep it "
        "nearer.",
    ),
    Pattern(
        "chosen completions become less likely too",
        _has_log_ratios,
        in_training.chosen_falls,
        "No fault by itself: DPO asks for the difference alone, and both may fall (chapter 07). Where the "
        "probability goes, samples and held-out measures tell.",
        is_alarm=False,
    ),
)
