"""A labelling session: what is shown when, and what becomes of the answers."""

import json
import subprocess
import sys

import pytest

from dpo_book import load_preferences
from dpo_book.evaluation.judges import Comparison, Shown
from dpo_book.evaluation.labelling import LabellingSession, plan_showings
from dpo_book.evaluation.labels_file import LabelsError
from dpo_book.maths.require import SettingError

COMPARISONS = [Comparison(f"prompt {i}", f"a text, {i}", f"another, {i}") for i in range(12)]


@pytest.fixture
def session(tmp_path):
    return LabellingSession(COMPARISONS, tmp_path / "labels.jsonl", seed=2)


def answer_all(session, better):
    """Answer with the place of the text that ``better(showing, prompt, first, second)`` names, a or b, or a tie."""
    while not session.finished:
        showing = session.showings[session.answered]
        name = better(showing, *session.shown(session.answered))
        session.answer({"a": "first", "b": "second"}.get(name, name) if showing.a_first else swapped(name))


def swapped(name):
    return {"a": "second", "b": "first"}.get(name, name)


# ------------------------------------------------------------------ what is shown


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 12, 60, 61])
@pytest.mark.parametrize("share", [0, 1 / 6, 1 / 3])
def test_each_is_shown_once_and_a_share_again_later_swapped(n, share):
    for seed in range(20):
        showings = plan_showings(n, share, seed)
        places = {}
        for place, showing in enumerate(showings):
            places.setdefault(showing.row, []).append(place)
        assert sorted(places) == list(range(n))
        twice = [both for both in places.values() if len(both) == 2]
        wanted = 0 if n < 3 or share == 0 else min(max(1, round(share * n)), n // 3)
        assert len(twice) == wanted == len(showings) - n
        for early, late in twice:
            assert late - early > n // 6  # others in between
            assert showings[early].a_first is not showings[late].a_first


def test_lots_are_fair_and_the_same_for_a_seed():
    showings = [showing for seed in range(200) for showing in plan_showings(30, 0, seed)]
    assert plan_showings(30, seed=5) == plan_showings(30, seed=5) != plan_showings(30, seed=6)
    a_first = sum(showing.a_first for showing in showings) / len(showings)
    assert abs(a_first - 0.5) < 0.026  # four standard errors of 6,000 coins
    again = [0] * 30
    for seed in range(2000):
        for row in [showing.row for showing in plan_showings(30, seed=seed)]:
            again[row] += 1
    # 5 of 30 come again: 333 of 2,000 times on average, with a standard deviation of 16.7; five of these
    assert all(abs(times - 2000 - 333.3) < 84 for times in again)


@pytest.mark.parametrize("share", [-0.1, 0.34, float("nan")])
def test_a_share_that_cannot_be_is_refused(share):
    with pytest.raises(SettingError, match=r"repeated_share must be in \[0, 1/3\]"):
        plan_showings(10, share)


# ------------------------------------------------------------------ answers


def test_an_answer_names_the_text_at_its_place(session):
    showing = session.showings[0]
    prompt, a, b = COMPARISONS[showing.row]
    assert session.shown(0) == (Shown(prompt, a, b) if showing.a_first else Shown(prompt, b, a))
    session.answer("first")
    (judgement,) = session.judgements()[showing.row]
    assert judgement.outcome == ("a" if showing.a_first else "b") and session.last == "first"
    session.back()
    assert (session.answered, session.last, session.judgements()) == (0, None, {})


def test_a_session_goes_on_where_it_stopped(session):
    for place in ("first", "tie", "second"):
        session.answer(place)
    session.back()
    again = LabellingSession(COMPARISONS, session.path, seed=2)
    assert again.answered == 2 and again.judgements() == session.judgements()
    for comparisons, seed in ((COMPARISONS, 3), (COMPARISONS[::-1], 2)):
        with pytest.raises(LabelsError, match=r"labels\.jsonl, line 1"):
            LabellingSession(comparisons, session.path, seed=seed)


def test_what_cannot_be_said_is_refused(session):
    with pytest.raises(SettingError, match="place must be one of first, second, tie"):
        session.answer("unparsable")
    with pytest.raises(SettingError, match="no answer to take back"):
        session.back()
    answer_all(session, lambda *_: "tie")
    with pytest.raises(SettingError, match="all 14 answers are given"):
        session.answer("first")


@pytest.mark.parametrize(
    ("comparisons", "match"),
    [
        ([], "nothing to label"),
        ([COMPARISONS[0], Comparison("p", "a", 3)], "comparison 2 must have"),
        ([Comparison("p", None, "b")], "comparison 1 must have"),
        ([Comparison("p", "a", "\ud800")], "comparison 1 has half a character"),
    ],
)
def test_what_is_no_comparison_is_refused(tmp_path, comparisons, match):
    with pytest.raises(SettingError, match=match):
        LabellingSession(comparisons, tmp_path / "labels.jsonl")


def test_any_text_is_shown_as_it_is(tmp_path):
    long = "word " * 5000
    texts = ["", "<script>alert(1)</script>", "كلب", "\x1b[2J\x00", long, "a\r\nb\u2028c"]
    comparisons = [Comparison(text, text, text) for text in texts] * 2  # and twice the same
    session = LabellingSession(comparisons, tmp_path / "labels.jsonl")
    answer_all(session, lambda *_: "tie")
    assert LabellingSession(comparisons, session.path).finished
    assert {session.shown(number).first for number in range(session.total)} == set(texts)


def test_torch_is_not_needed_to_label():
    code = "import dpo_book.evaluation.labelling, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# ------------------------------------------------------------------ preferences


def test_preferences_are_what_was_said(session, tmp_path):
    twice = {row for row, times in counts(session).items() if times == 2}
    torn, wavering = sorted(twice)  # once a and once b; once a and once a tie
    ties, wins = {3, 5} - twice, {0, 1, 2} - twice
    seen = set()

    def better(showing, *_):
        row, again = showing.row, showing.row in seen
        seen.add(row)
        if again and row in (torn, wavering):
            return "b" if row == torn else "tie"
        return "tie" if row in ties else "a" if row in wins | twice else "b"

    answer_all(session, better)
    assert session.write_preferences(tmp_path / "p.jsonl") == len(COMPARISONS)
    found = load_preferences(tmp_path / "p.jsonl")
    for row, (comparison, preference) in enumerate(zip(COMPARISONS, found, strict=True)):
        b_won = row not in ties | wins | twice
        assert preference.prompt == comparison.prompt
        assert (preference.chosen, preference.rejected) == (comparison[2:0:-1] if b_won else comparison[1:])
        soft = {torn: 0.5, wavering: 0.75} | dict.fromkeys(ties, 0.5)
        assert preference.chosen_probability == soft.get(row, 1.0)


def counts(session):
    found = {}
    for showing in session.showings:
        found[showing.row] = found.get(showing.row, 0) + 1
    return found


def test_pairs_that_nothing_can_be_learned_from_are_left_out(tmp_path):
    comparisons = [Comparison("p", "same", "same"), Comparison("p", " \n", "b"), Comparison("", "a", "b")]
    session = LabellingSession(comparisons, tmp_path / "labels.jsonl")
    answer_all(session, lambda *_: "a")
    assert session.write_preferences(tmp_path / "p.jsonl") == 1
    (found,) = load_preferences(tmp_path / "p.jsonl")
    assert (found.prompt, found.chosen, found.chosen_probability) == ("", "a", 1.0)


def test_of_conversations_the_messages_are_kept(tmp_path):
    user = [{"role": "user", "content": "why?"}]
    one, two = ([{"role": "assistant", "content": text}] for text in ("so", "because"))
    session = LabellingSession([Comparison(user, one, two)], tmp_path / "labels.jsonl")
    assert sorted(session.shown(0)) == ["because", "so", "why?"]
    answer_all(session, lambda *_: "b")
    session.write_preferences(tmp_path / "p.jsonl")
    (found,) = load_preferences(tmp_path / "p.jsonl")
    assert (found.prompt, found.chosen, found.rejected) == (user, two, one)
    assert json.loads((tmp_path / "p.jsonl").read_text())["chosen"] == two
