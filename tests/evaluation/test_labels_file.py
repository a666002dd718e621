"""The file of a person's answers: every answer that was given is in it, whatever happens to who wrote it."""

import os
import subprocess
import sys

import pytest
from filelock import FileLock

from dpo_book.evaluation import labels_file
from dpo_book.evaluation.labels_file import LabelsError, LabelsFile, Question
from tests.patience import PATIENCE, next_line

QUESTIONS = [Question(row, row % 2 == 0, f"a post\u2028{row}", f"one\n{row}", "zwei é") for row in (1, 2, 3)]
PLACES = ["second", "tie", "first"]


@pytest.fixture
def path(tmp_path):
    """Two answers."""
    file = LabelsFile(tmp_path / "new" / "labels.jsonl", QUESTIONS)
    for place in PLACES[:2]:
        file.add(place)
    return file.path


def opened(path):
    return LabelsFile(path, QUESTIONS)


def test_answers_are_read_back_and_taken_back(path):
    file = opened(path)
    assert file.places == PLACES[:2] and len(path.read_bytes().splitlines()) == 2
    file.add("first")
    assert opened(path).places == PLACES
    for left in (2, 1, 0):
        file.take_back()
        assert opened(path).places == file.places == PLACES[:left]
    assert path.read_bytes() == b""


def test_to_open_writes_nothing(tmp_path, path):
    assert opened(tmp_path / "none" / "labels.jsonl").places == []
    path.write_bytes(path.read_bytes()[:-9])
    before = path.read_bytes()
    assert opened(path).places == PLACES[:1]
    assert path.read_bytes() == before and not (tmp_path / "none").exists()


@pytest.mark.parametrize("change", ["add", "take_back"])
def test_wherever_a_kill_cuts_the_last_line_the_session_goes_on(path, change):
    whole = path.read_bytes()
    first = whole.splitlines(keepends=True)[0]
    for end in range(len(first), len(whole) + 1):
        path.write_bytes(whole[:end])
        file = opened(path)
        had = 2 if end >= len(whole) - 1 else 1  # only the line's end may be missing
        assert file.places == PLACES[:had]
        if change == "add":
            file.add("first")
            assert opened(path).places == [*PLACES[:had], "first"]
        else:
            file.take_back()
            assert opened(path).places == PLACES[: had - 1]


@pytest.mark.parametrize(
    ("spoilt", "line"),
    [
        (b'{"row": 1}\n', 1),
        (b"years of work", 1),
        (b"\n", 1),
        (b"\xff\xfe", 1),
        (b"[" * 100_000 + b"\n", 1),
    ],
)
def test_what_is_no_answer_is_refused_by_its_line_and_kept(path, spoilt, line):
    answers = path.read_bytes().splitlines(keepends=True)
    for content, place in ((spoilt, line), (answers[0] + spoilt, line + 1), (spoilt + b"\n" + answers[1], line)):
        path.write_bytes(content)
        with pytest.raises(LabelsError, match=rf"labels\.jsonl, line {place}: .* is no answer to the pair"):
            opened(path)
        assert path.read_bytes() == content


def test_answers_to_other_questions_are_refused(path):
    for questions in (QUESTIONS[::-1], QUESTIONS[1:], [QUESTIONS[0], QUESTIONS[1]._replace(a_first=False)]):
        with pytest.raises(LabelsError, match=r"line [12]: .* take the same comparisons and seed"):
            LabelsFile(path, questions)
    with pytest.raises(LabelsError, match="line 2"):
        LabelsFile(path, QUESTIONS[:1])


def test_of_two_sessions_the_second_writes_nothing(path):
    one, other = opened(path), opened(path)
    one.take_back()
    one.add("first")  # as long a file as before, or nearly
    before = path.read_bytes()
    for change in (other.take_back, lambda: other.add("tie")):
        with pytest.raises(LabelsError, match="changed by another session"):
            change()
    with pytest.raises(LabelsError, match="changed by another session"), other.alone():
        pass
    assert path.read_bytes() == before and other.places == PLACES[:2]


def test_alone_means_that_nobody_else_writes(path, monkeypatch):
    monkeypatch.setattr(labels_file, "WAIT", 0)
    file, other = opened(path), opened(path)
    with file.alone():
        file.add("first")  # oneself may
        with pytest.raises(LabelsError, match="being labelled by another process"):
            other.add("first")
    with FileLock(f"{path}.lock"), pytest.raises(LabelsError, match="another process"), file.alone():
        pass


def test_a_full_disk_leaves_the_answers_as_they_were(path, monkeypatch):
    file, before = opened(path), path.read_bytes()

    def full(_handle):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(LabelsError, match=r"labels\.jsonl cannot be written: No space"):
            file.add("first")
    assert path.read_bytes() == before and file.places == PLACES[:2]
    file.add("first")
    assert opened(path).places == PLACES


def test_a_path_that_cannot_be_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(LabelsError, match="file"):
        LabelsFile(tmp_path / "file" / "labels.jsonl", QUESTIONS).add("tie")
    with pytest.raises(LabelsError, match="Is a directory"):
        LabelsFile(tmp_path, QUESTIONS)


ANSWER_AND_WAIT = """
import sys, time
from pathlib import Path
from dpo_book.evaluation.labels_file import LabelsFile, Question
file = LabelsFile(Path(sys.argv[1]), [Question(row, True, "p", "a", "b") for row in (1, 2)])
with file.alone():
    file.add("tie")
    print("answered", flush=True)
    time.sleep(10_000)
"""


def test_a_kill_loses_no_answer_and_leaves_no_lock(tmp_path):
    path = tmp_path / "labels.jsonl"
    command = [sys.executable, "-c", ANSWER_AND_WAIT, path]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert next_line(process) == "answered\n"
    process.kill()
    process.wait(PATIENCE)
    process.stdout.close()
    file = LabelsFile(path, [Question(row, True, "p", "a", "b") for row in (1, 2)])
    file.add("first")
    assert file.places == ["tie", "first"]
