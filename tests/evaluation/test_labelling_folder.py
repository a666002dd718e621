"""A folder in which pairs are labelled: what it is found to hold, and the data's own labels as a judge."""

import json

import pytest

from dpo_book.evaluation.judges import Answer, Shown
from dpo_book.evaluation.labelling_folder import THE_LABELS, Row, keep_session, label_judge, open_session, session_of
from dpo_book.evaluation.labels_file import LabelsError

CHAT = [{"role": "user", "content": "why?"}]
SAID = [[{"role": "assistant", "content": text}] for text in ("so", "because")]
ROWS = [Row("p", "a", "b", 1.0), Row("p", "a", "c", 0.2), Row("p", "b", "c", 0.5), Row(CHAT, *SAID, 1.0)]


@pytest.fixture
def folder(tmp_path):
    """A session that is kept, with one answer."""
    folder = tmp_path / "new"
    session, _ = session_of(folder, ROWS, seed=1)
    assert not folder.exists()
    with session.alone():
        keep_session(folder, ROWS, seed=1)
    session.answer("tie")
    return folder


def test_a_kept_session_is_opened_as_it_was(folder):
    session, others = open_session(folder)
    assert session.answered == 1 and session.showings == session_of(folder, ROWS, seed=1).session.showings
    assert [
        Row(*comparison, row.a_probability) for comparison, row in zip(session.comparisons, ROWS, strict=True)
    ] == ROWS
    assert list(others) == [THE_LABELS]


def test_the_data_s_labels_answer_by_place():
    judge = label_judge(ROWS)
    shown = [("p", "a", "b"), ("p", "b", "a"), ("p", "a", "c"), ("p", "c", "b"), ("why?", "because", "so")]
    places = [answer.place for answer in judge([Shown(*one) for one in shown])]
    assert places == ["first", "second", "second", "tie", "second"]
    assert judge([Shown("p", "a", "unknown")]) == [Answer("refused", "the data has no label")]


def test_without_a_label_there_is_nobody_to_agree_with(tmp_path):
    assert session_of(tmp_path / "new", [Row("p", "a", "b")], seed=0).others == {}


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        "{}",
        '{"seed": 1}',
        '{"seed": 1, "comparisons": 5}',
        '{"seed": 1, "comparisons": [{"prompt": "p"}]}',
        '{"seed": 1, "comparisons": [{"prompt": "p", "a": "a", "b": "b", "a_probability": "x"}]}',
    ],
)
def test_a_damaged_session_is_named(folder, content):
    (folder / "labels.jsonl").unlink()
    (folder / "session.json").write_text(content)
    with pytest.raises(LabelsError, match=r"session\.json is not as a session wrote it"):
        open_session(folder)
    with pytest.raises(LabelsError, match=r"session\.json is damaged|holds another session"):
        session_of(folder, ROWS, seed=1)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"seed": "one"}, "seed must be a whole number"),
        ({"comparisons": []}, "comparisons is empty"),
        ({"comparisons": [Row("p", 1, "b")._asdict()]}, "comparison 1 must have a prompt, a and b"),
    ],
)
def test_a_session_that_cannot_be_is_refused_by_its_file_s_name(folder, changed, words):
    (folder / "labels.jsonl").unlink()
    content = json.loads((folder / "session.json").read_text())
    (folder / "session.json").write_text(json.dumps(content | changed))
    with pytest.raises(LabelsError, match=rf"session\.json is not as a session wrote it \({words}"):
        open_session(folder)


def test_where_there_is_no_session_none_is_opened(tmp_path):
    with pytest.raises(LabelsError, match="No such file"):
        open_session(tmp_path)
