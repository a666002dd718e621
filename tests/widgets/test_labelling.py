"""Labelling without a browser: what a key or click does, by the messages that the page sends."""

import re

import pytest

from dpo_book.evaluation.judges import Comparison
from dpo_book.evaluation.labelling import LabellingSession
from dpo_book.evaluation.quality_judges import exact_judge
from dpo_book.widgets import Labelling

COMPARISONS = [Comparison(f"Why {i}?", "<script>alert(1)</script>", "b & $x$\nc") for i in range(3)]


@pytest.fixture
def session(tmp_path):
    return LabellingSession(COMPARISONS, tmp_path / "labels.jsonl")


def say(widget, place, number=None):
    """As the page does: for the pair that it shows, unless another number is given."""
    widget._handle_custom_msg({"place": place, "number": widget.state["number"] if number is None else number}, [])


def test_answers_go_to_the_session_and_the_next_pair_is_shown(session):
    widget = Labelling(session)
    assert widget.state["says"] == "Pair 1 of 4."
    for number, (place, last) in enumerate([("first", "left is better"), ("tie", "as good")], start=1):
        say(widget, place)
        assert session.answered == number and session.last == place
        prompt, left, right = session.shown(number)
        assert [widget.state[name] for name in ("prompt", "left", "right")] == [prompt, left, right]
        assert widget.state["says"] == f"Pair {number + 1} of 4. Last answer: {last}."
    say(widget, "back")
    assert session.answered == 1 and widget.state["says"] == "Pair 2 of 4. Last answer: left is better."
    assert Labelling(session).state["says"] == widget.state["says"]  # the cell is run again


def test_at_the_end_stands_the_report_and_one_can_still_go_back(session):
    length = exact_judge(lambda _prompt, text: len(text))
    widget = Labelling(session, {"length": length})
    for _ in range(4):
        say(widget, "second")
    assert widget.state["finished"] and widget.state["report"] == str(session.report({"length": length})).splitlines()
    assert widget.state["says"] == "All 4 labelled. Last answer: right is better."
    say(widget, "first")
    assert "4 answers are given" in widget.state["error"]
    say(widget, "back")
    assert (session.answered, widget.state["finished"], widget.state["report"]) == (3, False, [])


def test_a_key_pressed_twice_answers_no_pair_unseen(session):
    widget = Labelling(session)
    for place in ("first", "second", "back"):
        say(widget, place, number=0)
    assert (session.answered, session.last) == (1, "first")


def test_what_goes_wrong_is_shown_in_a_line_and_is_news_each_time(session):
    widget = Labelling(session)
    say(widget, "first")
    session.path.write_text("spoilt\n")
    turns = []
    for _ in range(2):
        say(widget, "first")
        assert re.match(r"LabelsError: .*labels\.jsonl was changed by another session", widget.state["error"])
        assert session.answered == widget.state["number"] == 1
        turns.append(widget.state["turn"])
    assert turns[0] != turns[1]


def test_a_report_that_fails_is_a_line(session):
    def broken(_shown):
        raise ValueError("no judge\nhere")

    widget = Labelling(session, {"it": broken})
    for _ in range(4):
        say(widget, "tie")
    assert widget.state["report"] == ["ValueError: no judge here"]


def test_without_a_kernel_the_first_pair_stands_there_as_text(session):
    session.answer("first")
    shown, _ = Labelling(session)._repr_mimebundle_()
    page, words = shown["text/html"], shown["text/plain"]
    assert "<script>" not in page and "&lt;script&gt;alert(1)&lt;/script&gt;" in page and "b &amp; $x$\nc" in page
    prompt, left, right = session.shown(0)
    assert f"Prompt: {prompt}\nLeft: {left}\nRight: {right}\nRun the cell in JupyterLab" in words
    assert page.startswith("<p>4 pairs of texts to label; the first of them:</p>")
    assert "application/vnd.jupyter.widget-view+json" in shown
