"""What labels say: counted by hand, and by persons of known noise."""

import random

import pytest
import torch

from dpo_book.evaluation.judges import Answer, Comparison
from dpo_book.evaluation.labelling import LabellingSession
from dpo_book.evaluation.quality_judges import SyntheticJudge, exact_judge
from dpo_book.maths.agreement import agreement_ceiling, cohen_kappa
from dpo_book.maths.estimates import share_interval, win_rate_interval
from dpo_book.maths.swaps import swap_test


def quality(_prompt, text):
    return len(text)


def session_of(judge, path, n=60, equal=0, **options):
    """n comparisons labelled by a judge, in ``equal`` of which both texts are as long."""
    lengths = random.Random(1)
    comparisons = []
    for i in range(n):
        short = lengths.randint(1, 9)
        longer = short if i < equal else short + lengths.randint(1, 9)
        texts = ["a" * short, "b" * longer]
        comparisons.append(Comparison(f"prompt {i}", *(texts if i % 2 else texts[::-1])))
    session = LabellingSession(comparisons, path, **options)
    while not session.finished:
        (answer,) = judge([session.shown(session.answered)])
        session.answer(answer.place)
    return session


@pytest.fixture
def path(tmp_path):
    return tmp_path / "labels.jsonl"


def test_who_always_tells_the_truth_agrees_with_it_and_with_oneself(path):
    truth = exact_judge(quality)
    session = session_of(truth, path, equal=6)
    report = session.report({"length": truth})
    assert (report.pairs, report.answers, report.came_twice) == (60, 70, 10)
    assert report.ties == share_interval(0.1, 60)
    assert report.swaps.consistent == share_interval(1.0, 10)
    ties = sum(len(said) == 2 and said[0].outcome == "tie" for said in session.judgements().values())
    assert report.ceiling == agreement_ceiling(share_interval(1.0, 10 - ties))
    found = report.others["length"]
    assert (found.same, found.decided, found.left_out) == (share_interval(1.0, 54), 54, 6)
    assert found.kappa == pytest.approx((1.0, 0.0), abs=1e-12)
    assert str(report).splitlines() == [
        "Pairs: 60, answers: 70. As good: 10 % (5 to 20) of the pairs.",
        f"For the text that came first: {share(report.first_place)}. The order is by lot: 50 % is no bias.",
        "You and yourself: the same answer to 100 % (72 to 100) of pairs that came again, swapped; 10 did.",
        "If chance alone turns over a share e of your answers, e is 0 % (0 to "
        f"{100 * (1 - report.ceiling.low):.0f}), and you agree with the truth in at most {share(report.ceiling)}.",
        "You and length: decided by both: 54, left out: 6; the same in 100 % (93 to 100), κ 1.00 ± 0.00.",
    ]


def share(interval):
    value, low, high = (f"{100 * end:.0f}" for end in interval)
    return f"{value} % ({low} to {high})"


def test_a_noisy_person_is_counted_as_by_the_statistics_themselves(path):
    noisy = SyntheticJudge(quality=quality, noise=4.0, seed=3)
    session = session_of(noisy, path, n=90, repeated_share=1 / 3)
    report = session.report({"length": exact_judge(quality)})
    first, second, ours, theirs, places, true_places = [], [], [], [], [], []
    for row, said in session.judgements().items():
        _, a, b = session.comparisons[row]
        won = [float(judgement.outcome == "a") for judgement in said]
        ours.append(won[0])
        theirs.append(float(len(a) > len(b)))
        places.append(float(won[0] == said[0].a_first))
        true_places.append(float(theirs[-1] == said[0].a_first))
        if len(said) == 2:
            first.append(won[0] if said[0].a_first else won[1])
            second.append(won[1] if said[0].a_first else won[0])
    first, second, ours, theirs, places = map(torch.tensor, (first, second, ours, theirs, places))
    assert len(first) == 30 and 0.5 < report.swaps.consistent.value < 1
    assert report.swaps == swap_test(first, second)
    assert report.ceiling == agreement_ceiling(report.swaps.consistent)
    assert report.first_place == win_rate_interval(places)
    found = report.others["length"]
    assert found.same == share_interval((ours == theirs).double().mean().item(), 90) and found.same.value < 1
    assert found.kappa == cohen_kappa(places, torch.tensor(true_places))


def test_who_looks_at_the_place_alone_has_no_ceiling(path):
    report = session_of(lambda shown: [Answer("first")] * len(shown), path).report()
    assert report.swaps.consistent.value == 0 and report.ceiling is None
    assert report.first_place == win_rate_interval(torch.ones(60)) and report.swaps.bias.value == 0.5
    assert "at most" not in str(report)


def test_where_nobody_decides_there_is_nothing_to_agree_on(path):
    report = session_of(lambda shown: [Answer("tie")] * len(shown), path, n=3).report(
        {"length": exact_judge(quality)}
    )
    assert (report.ceiling, report.came_twice, report.swaps.consistent.value) == (None, 1, 1.0)
    assert str(report).endswith("You and length: decided by both: 0, left out: 3.")


def test_another_who_says_nothing_or_always_the_same_leaves_no_kappa(path):
    session = session_of(exact_judge(quality), path, n=8)
    unsure = session.report({"it": lambda shown: [Answer("refused")] * len(shown)}).others["it"]
    assert (unsure.decided, unsure.left_out, unsure.same) == (0, 8, None)
    always = session.report({"it": lambda shown: [Answer("first")] * len(shown)}).others["it"]
    assert (always.decided, always.kappa) == (8, None)


def test_kappa_is_by_place_so_that_names_do_not_matter(path):
    """Where a is always the better one, as in preferences, judgements by name would all be the same."""
    comparisons = [Comparison(f"p{i}", "longer", "text") for i in range(20)]
    session = LabellingSession(comparisons, path)
    while not session.finished:
        session.answer("first" if session.shown(session.answered).first == "longer" else "second")
    assert session.report({"it": exact_judge(quality)}).others["it"].kappa == pytest.approx((1.0, 0.0), abs=1e-12)


def test_after_one_answer_there_is_a_report_and_before_it_none(path):
    session = LabellingSession([Comparison("p", "a", "b")] * 6, path)
    with pytest.raises(ValueError, match="no pair is labelled yet"):
        session.report()
    session.answer("second")
    assert session.report().swaps is None and "no pair came twice yet" in str(session.report())
