"""Judges of pairs of texts: what one is shown, what it answers, and in which order it is asked.

A comparison has two texts, a and b. A judge does not know these names: it is shown one text first, the other second,
and answers by place. So what the place alone does to a judgement can be seen: ask in both orders, and compare.
"""

import random
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, get_args

from dpo_book.maths.require import require_seed

Place = Literal["first", "second", "tie", "unparsable", "refused"]
Outcome = Literal["a", "b", "tie", "unparsable", "refused"]
PLACES = get_args(Place)


class JudgeError(RuntimeError):
    """A judge cannot go on, or did not answer as judges do; the message says why, in one line, and what to do."""


class Comparison(NamedTuple):
    """Two responses to one prompt, to be compared."""

    prompt: str
    a: str
    b: str


class Shown(NamedTuple):
    """What a judge is shown: a comparison in one of its two orders."""

    prompt: str
    first: str
    second: str


class Answer(NamedTuple):
    """What a judge says of the better text's place.

    "unparsable": it said something that names no place; "refused": it would not say. Neither is a tie.
    explanation: why, in its words.
    """

    place: Place
    explanation: str = ""


class Judgement(NamedTuple):
    """What a judge says of a comparison, by name: a or b won, or a tie; or "unparsable" or "refused", as it was.

    a_first: the order in which it was asked.
    """

    outcome: Outcome
    a_first: bool
    explanation: str = ""


Judge = Callable[[Sequence[Shown]], list[Answer]]  # an answer to each, in order
BothOrders = tuple[Judgement, Judgement]  # of one comparison: with a shown first, with b shown first


def ask(judge: Judge, comparisons: Sequence[Comparison], a_first: Sequence[bool]) -> list[Judgement]:
    """Its judgement on each comparison, of which it is shown a first where ``a_first`` says so.

    ValueError unless there are as many orders as comparisons; JudgeError for a judge that answers otherwise than in
    ``Answer``s, one each.
    """
    shown = []
    for comparison, order in zip(comparisons, a_first, strict=True):
        shown.append(shown_in_order(comparison, order))
    answers = list(judge(shown))
    if len(answers) != len(shown):
        raise JudgeError(f"the judge was shown {len(shown)} comparisons and gave {len(answers)} answers")
    judgements = []
    for number, (answer, order) in enumerate(zip(answers, a_first, strict=True), start=1):
        if not isinstance(answer, Answer) or answer.place not in PLACES:
            raise JudgeError(f"answer {number} must be an Answer with a place of {', '.join(PLACES)}; got {answer!r}")
        judgements.append(Judgement(outcome_of(answer.place, order), bool(order), answer.explanation))
    return judgements


def in_random_order(judge: Judge, comparisons: Sequence[Comparison], seed: int = 0) -> list[Judgement]:
    """A judgement on each comparison, with a shown first or second by a coin.

    So the place favours neither text on average, at one answer a comparison; it adds noise all the same.
    """
    require_seed("seed", seed)
    coins = random.Random(seed)
    a_first = [coins.random() < 0.5 for _ in comparisons]
    return ask(judge, comparisons, a_first)


def in_both_orders(judge: Judge, comparisons: Sequence[Comparison]) -> list[BothOrders]:
    """Two judgements on each comparison, one in each order: the swap test."""
    n = len(comparisons)
    judgements = ask(judge, [*comparisons, *comparisons], [True] * n + [False] * n)
    return list(zip(judgements[:n], judgements[n:], strict=True))


def shown_in_order(comparison: Comparison, a_first: bool) -> Shown:
    """What a judge sees of a comparison in one of its orders."""
    prompt, a, b = comparison
    return Shown(prompt, a, b) if a_first else Shown(prompt, b, a)


def outcome_of(place: Place, a_first: bool) -> Outcome:
    """The name of the text at the place that was said to be better; what names no place is itself."""
    if place == "first":
        return "a" if a_first else "b"
    if place == "second":
        return "b" if a_first else "a"
    return place
