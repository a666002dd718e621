"""What a person's labels say: about the texts, about the person, and beside other judges."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch

from dpo_book.data.columns import has_words
from dpo_book.evaluation.judges import Comparison, Judge, Judgement, ask
from dpo_book.evaluation.win_rates import SCORES
from dpo_book.maths.agreement import agreement, agreement_ceiling, cohen_kappa
from dpo_book.maths.estimates import Estimate, Interval, share_interval, win_rate_interval
from dpo_book.maths.swaps import SwapTest, swap_test

Judgements = Mapping[int, Sequence[Judgement]]  # by the comparison's row, from 0: one, or two in both orders


class AgreementWith(NamedTuple):
    """How far another judge says the same, on the comparisons that both decide.

    left_out: those that are as good to one of the two, or of which the other says nothing. same: None where all are.
    kappa: Cohen's, of judgements by place, first or second, for a and b are mere names (a may be the better one
    everywhere); None where one of the two names the same place everywhere, or fewer than two comparisons are left.
    """

    same: Interval | None
    decided: int
    left_out: int
    kappa: Estimate | None

    def __str__(self) -> str:
        counted = f"decided by both: {self.decided}, left out: {self.left_out}"
        if self.same is None:
            return counted
        beyond = "" if self.kappa is None else f", κ {self.kappa}"
        return f"{counted}; the same in {_per_cent(self.same)}{beyond}"


class LabellingReport(NamedTuple):
    """What the answers say, each share with its 95 % interval. ``str()`` has it in words, a line a statement.

    pairs: comparisons with an answer. answers: to them, those that came again included.
    ties, first_place: shares of the first answers, of which each comparison has one: "as good", and for the text that
    was shown first, a tie half. As the order is by lot, 1/2 is no bias.
    swaps: both answers to the comparisons that came again; None if none did yet.
    ceiling: see ``agreement_ceiling``, by those of them that were decided both times; None where none was, and where
    fewer than half of them were decided alike, as chance alone would not do it.
    others: by name.
    """

    pairs: int
    answers: int
    ties: Interval
    first_place: Interval
    swaps: SwapTest | None
    came_twice: int
    ceiling: Interval | None
    others: dict[str, AgreementWith]

    def __str__(self) -> str:
        lines = [
            f"Pairs: {self.pairs}, answers: {self.answers}. As good: {_per_cent(self.ties)} of the pairs.",
            f"For the text that came first: {_per_cent(self.first_place)}. The order is by lot: 50 % is no bias.",
            self._about_repeats(),
        ]
        if self.ceiling is not None:
            lines.append(self._about_ceiling(self.ceiling))
        for name, found in self.others.items():
            lines.append(f"You and {name}: {found}.")
        return "\n".join(lines)

    def _about_repeats(self) -> str:
        if self.swaps is None:
            return "You and yourself: no pair came twice yet."
        same = _per_cent(self.swaps.consistent)
        return (
            f"You and yourself: the same answer to {same} of pairs that came again, swapped; {self.came_twice} did."
        )

    def _about_ceiling(self, ceiling: Interval) -> str:
        turned_over = Interval(1 - ceiling.value, 1 - ceiling.high, 1 - ceiling.low)
        return (
            f"If chance alone turns over a share e of your answers, e is {_per_cent(turned_over)}, and you agree "
            f"with the truth in at most {_per_cent(ceiling)}."
        )


def labelling_report(
    judgements: Judgements, comparisons: Sequence[Comparison], others: Mapping[str, Judge]
) -> LabellingReport:
    """What the judgements on these comparisons say; ``others`` are shown them in the order that the person first saw.

    ValueError for no judgement at all; JudgeError of another judge.
    """
    if not judgements:
        raise ValueError("no pair is labelled yet: there is nothing to report")
    firsts = {row: said[0] for row, said in judgements.items()}
    outcomes = [judgement.outcome for judgement in firsts.values()]
    for_first = [_for_first_place(judgement) for judgement in firsts.values()]
    twice = [_scores(said) for said in judgements.values() if len(said) == 2]
    return LabellingReport(
        pairs=len(firsts),
        answers=sum(map(len, judgements.values())),
        ties=share_interval(outcomes.count("tie") / len(outcomes), len(outcomes)),
        first_place=win_rate_interval(torch.tensor(for_first, dtype=torch.float64)),
        swaps=swap_test(*torch.tensor(twice, dtype=torch.float64).T) if twice else None,
        came_twice=len(twice),
        ceiling=_ceiling(twice),
        others={name: agreement_with(judge, firsts, comparisons) for name, judge in others.items()},
    )


def agreement_with(
    judge: Judge, judgements: Mapping[int, Judgement], comparisons: Sequence[Comparison]
) -> AgreementWith:
    """How far a judge says what the judgements say, by row from 0, of these comparisons."""
    shown = [comparisons[row] for row in judgements]
    theirs = ask(judge, shown, [judgement.a_first for judgement in judgements.values()])
    pairs = []
    for ours, other in zip(judgements.values(), theirs, strict=True):
        if {ours.outcome, other.outcome} <= {"a", "b"}:
            pairs.append((_for_first_place(ours), _for_first_place(other)))
    if not pairs:
        return AgreementWith(None, 0, len(judgements), None)
    both = torch.tensor(pairs, dtype=torch.float64).T
    try:
        kappa = cohen_kappa(*both)
    except ValueError:
        kappa = None
    return AgreementWith(agreement(*both), len(pairs), len(judgements) - len(pairs), kappa)


def preference_rows(judgements: Judgements, comparisons: Sequence[Comparison]) -> list[dict]:
    """Rows that ``load_preferences`` reads: see ``LabellingSession.preferences``."""
    rows = []
    for row, said in sorted(judgements.items()):
        prompt, a, b = comparisons[row]
        if a == b or not (has_words(a) and has_words(b)):
            continue
        scores = [SCORES[judgement.outcome] for judgement in said]
        of_a = sum(scores) / len(scores)
        chosen, rejected = (a, b) if of_a >= 0.5 else (b, a)
        probability = max(of_a, 1 - of_a)
        rows.append({"prompt": prompt, "chosen": chosen, "rejected": rejected, "chosen_probability": probability})
    return rows


def _scores(both: Sequence[Judgement]) -> tuple[float, float]:
    """What a got, shown first and shown second."""
    first, second = sorted(both, key=_is_second)
    return SCORES[first.outcome], SCORES[second.outcome]


def _is_second(judgement: Judgement) -> bool:
    return not judgement.a_first


def _for_first_place(judgement: Judgement) -> float:
    of_a = SCORES[judgement.outcome]
    return of_a if judgement.a_first else 1 - of_a


def _ceiling(twice: Sequence[tuple[float, float]]) -> Interval | None:
    decided = [one == other for one, other in twice if 0.5 not in (one, other)]
    if not decided:
        return None
    share = sum(decided) / len(decided)
    return agreement_ceiling(share_interval(share, len(decided))) if share >= 0.5 else None


def _per_cent(share: Interval) -> str:
    value, low, high = (f"{100 * end:.0f}" for end in share)
    return f"{value} % ({low} to {high})"
