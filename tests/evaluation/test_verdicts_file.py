"""The file of verdicts: whatever happens to its writer, it holds every answer that came, and replays them."""

import json
import os

import pytest

from dpo_book.evaluation.instructions import CONCISE, PLAIN
from dpo_book.evaluation.judges import Answer, Comparison, JudgeError, Shown, in_both_orders
from dpo_book.evaluation.verdicts_file import key_of, open_verdicts, record_of, recorded_judge

SHOWN = [Shown(f"a post, {i}", f"one\n{i}", f"two é {i}") for i in range(3)]
PLACES = ["first", "unparsable", "tie"]


@pytest.fixture
def path(tmp_path):
    """A file of three answers."""
    path = tmp_path / "kept" / "verdicts.jsonl"
    with open_verdicts(path) as verdicts:
        for shown, place in zip(SHOWN, PLACES, strict=True):
            verdicts.add(record_of("m", PLAIN, shown, Answer(place, "why\nnot"), 7, 3))
    return path


def answers(path):
    """The answers that are there to the three questions; None where there is none."""
    with open_verdicts(path) as verdicts:
        return [verdicts.answer(key_of("m", PLAIN, shown)) for shown in SHOWN]


ALL = [Answer(place, "why\nnot") for place in PLACES]


def test_one_line_an_answer_with_what_was_asked(path):
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [(row["prompt"], row["first"], row["second"]) for row in rows] == SHOWN
    assert rows[0] | {"key": ""} == {
        "key": "",
        "model": "m",
        "instruction": "plain",
        **SHOWN[0]._asdict(),
        "place": "first",
        "explanation": "why\nnot",
        "input_tokens": 7,
        "output_tokens": 3,
    }
    assert answers(path) == ALL


def test_the_key_is_of_everything_that_is_asked():
    shown = Shown("x", "y", "z")
    others = [Shown("x", "z", "y"), Shown("xy", "", "z"), Shown("x", "y", "z ")]
    keys = [key_of("m", PLAIN, one) for one in (shown, *others)]
    keys += [key_of("n", PLAIN, shown), key_of("m", CONCISE, shown), key_of("m", PLAIN._replace(question="?"), shown)]
    assert len(set(keys)) == 7 and key_of("m", PLAIN, shown) == keys[0]


def test_a_last_line_that_was_torn_anywhere_is_dropped_and_the_rest_kept(path):
    content = path.read_bytes()
    start = content.rindex(b"\n", 0, -1) + 1  # of the last line
    for end in (*range(start, len(content) - 1, 9), len(content) - 2, len(content) - 1):
        path.write_bytes(content[:end])
        whole = end == len(content) - 1  # only its end is missing: the answer is there
        assert answers(path) == (ALL if whole else [*ALL[:2], None])
        assert path.read_bytes() == (content if whole else content[:start])
        path.write_bytes(content[:end])
        assert recorded_judge(path, "m", PLAIN)(SHOWN[:2]) == ALL[:2]
        assert path.read_bytes() == content[:end]  # whoever only reads leaves it


def test_after_a_torn_line_it_goes_on(path):
    path.write_bytes(path.read_bytes()[:-20])
    with open_verdicts(path) as verdicts:
        verdicts.add(record_of("m", PLAIN, SHOWN[2], Answer("second")))
    assert answers(path) == [*ALL[:2], Answer("second")]


def test_the_first_answer_that_could_be_parsed_counts(path):
    with open_verdicts(path) as verdicts:
        key = key_of("m", PLAIN, SHOWN[1])
        for place in ("unparsable", "second", "first"):
            verdicts.add(record_of("m", PLAIN, SHOWN[1], Answer(place)))
        assert verdicts.times_asked(key) == 4 and verdicts.answer(key) == Answer("second")
        assert len(verdicts.of_model("m")) == 6 and verdicts.of_model("n") == []


def damaged(content, **fields):
    first, rest = content.split(b"\n", 1)
    return json.dumps(json.loads(first) | fields).encode() + b"\n" + rest


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda content: content[:80] + content[90:], "line 1: that is no verdict"),
        (lambda content: content + b"\n", "line 4: that is no verdict"),
        (lambda content: content + b"[]", "line 4: that is no verdict"),
        (lambda content: content + b"\xff\n", "line 4: that is no verdict"),
        (lambda content: damaged(content, place="First"), "line 1: that is no verdict"),
        (lambda content: damaged(content, place=None), "line 1: that is no verdict"),
        (lambda content: damaged(content, output_tokens=-1), "line 1: that is no verdict"),
        (lambda content: damaged(content, more=1), "line 1: that is no verdict"),
        (lambda content: content + b"[" * 100_000 + b"\n", "line 4: that is no verdict"),
        (lambda content: b"my notes, in one line", 'ends with "my notes, in one line": that is no verdict'),
    ],
)
def test_what_no_kill_leaves_is_refused_in_a_line_and_not_touched(path, spoil, message):
    content = spoil(path.read_bytes())
    path.write_bytes(content)
    for read in (lambda: answers(path), lambda: recorded_judge(path, "m", PLAIN)):
        with pytest.raises(JudgeError, match=message) as error:
            read()
        assert len(str(error.value).splitlines()) == 1
    assert path.read_bytes() == content


def test_two_writers_are_told_apart(path):
    with (
        open_verdicts(path),
        pytest.raises(JudgeError, match="is being written by another process"),
        open_verdicts(path),
    ):
        pass
    assert answers(path) == ALL  # and then it is free


def test_a_disk_without_room_leaves_whole_lines(path, monkeypatch):
    content = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    with open_verdicts(path) as verdicts:
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(JudgeError, match="cannot be written: No space left on device"):
            verdicts.add(record_of("m", PLAIN, SHOWN[0], Answer("tie")))
    assert path.read_bytes() == content


def test_places_where_no_file_can_be_are_told(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(JudgeError, match=r"file: .*(exists|directory)"),
        open_verdicts(tmp_path / "file" / "verdicts.jsonl"),
    ):
        pass
    with pytest.raises(JudgeError, match="none: No such file"):
        recorded_judge(tmp_path / "none", "m", PLAIN)


# ------------------------------------------------------------------ replayed


def test_a_record_is_a_judge(tmp_path):
    comparisons = [Comparison(f"post {i}", "long text", "text") for i in range(4)]
    path = tmp_path / "verdicts.jsonl"
    with open_verdicts(path) as verdicts:
        for prompt, a, b in comparisons:
            verdicts.add(record_of("you", PLAIN, Shown(prompt, a, b), Answer("first", "longer")))
            verdicts.add(record_of("you", PLAIN, Shown(prompt, b, a), Answer("tie")))
    path.with_name("verdicts.jsonl.lock").unlink(missing_ok=True)
    both = in_both_orders(recorded_judge(path, "you", PLAIN), comparisons)
    assert [(first.outcome, second.outcome) for first, second in both] == [("a", "tie")] * 4
    assert both[0][0].explanation == "longer"
    assert [file.name for file in tmp_path.iterdir()] == ["verdicts.jsonl"]


def test_a_comparison_that_is_not_there_is_refused_with_its_texts_starts(path):
    judge = recorded_judge(path, "m", PLAIN)
    post, first, second = SHOWN[0]
    wrong = [(judge, Shown(post, second, first)), (judge, Shown(post, first, "new text " * 20))]
    wrong += [(recorded_judge(path, "n", PLAIN), SHOWN[0]), (recorded_judge(path, "m", CONCISE), SHOWN[0])]
    for judge, shown in wrong:
        with pytest.raises(JudgeError, match="has no verdict of") as error:
            judge([shown])
        assert json.dumps(shown.second)[:40] in str(error.value) and len(str(error.value).splitlines()) == 1
