"""The command label: typed answers, what they leave, and how a session ends and goes on."""

import io
import json
import subprocess
import sys
import threading

import nbformat
import pytest
from filelock import FileLock

from dpo_book import LabellingSession, load_preferences
from dpo_book.cli import label_notebook
from dpo_book.cli.label_terminal import written_out
from dpo_book.evaluation.labelling_folder import open_session
from tests.patience import PATIENCE

TEXTS = ["good", "dull", "fine", "bad", "so so", "great"]


@pytest.fixture
def data(tmp_path):
    """Six preferences, one of them twice, and once the other way round."""
    path = tmp_path / "pairs.jsonl"
    rows = [{"prompt": f"film {text}", "chosen": f" {text} indeed", "rejected": f" not {text}"} for text in TEXTS]
    twice = rows[2] | {"chosen": rows[2]["rejected"], "rejected": rows[2]["chosen"]}
    write(path, [*rows, rows[0], twice])
    return path


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def label(book, data, tmp_path, monkeypatch):
    """``label("1", "=", ...)``: the command with these lines typed, on the data, into tmp_path/labelled."""

    def run(*typed, options=(), of=data, out="labelled", stdin=None):
        lines = "".join(f"{line}\n" for line in typed).encode("latin-1")
        monkeypatch.setattr(sys, "stdin", stdin or io.TextIOWrapper(io.BytesIO(lines), encoding="utf-8"))
        return book("label", "--data", of, "--out", tmp_path / out, *options)

    return run


def refused(answer, *words):
    status, printed, said = answer
    assert (status, len(said.splitlines())) == (2, 1), said
    assert said.startswith("dpo_book: ") and all(word in said for word in words), said
    return printed


def places(folder):
    return [json.loads(line)["place"] for line in (folder / "labels.jsonl").read_text().splitlines()]


# ------------------------------------------------------------------ from the first pair to the last


def test_what_is_typed_becomes_preferences_and_a_report(label, tmp_path):
    status, printed, said = label("1", "x", "2", "b", "=", "", "1", "1", "2", "1", "2")
    assert (status, said) == (0, ""), said
    folder = tmp_path / "labelled"
    assert places(folder) == ["first", "tie", "first", "first", "second", "first", "second"]
    assert "=== pair 1 of 7\n--- prompt\nfilm " in printed and "'x' is no answer" in printed
    assert printed.count("=== pair 2 of 7") == 2 and "stopped" not in printed
    session, others = open_session(folder)
    assert str(session.report(others)) in printed
    assert list(others) == ["the data's own labels"] and "You and the data's own labels: decided by both: " in printed
    assert f"6 preferences for dpo --data {folder / 'preferences.jsonl'}" in printed
    found = load_preferences(folder / "preferences.jsonl")
    assert [(one.prompt, one.chosen, one.rejected, one.chosen_probability) for one in found] == [
        tuple(row.values()) for row in session.preferences()
    ]
    again = label()
    assert again == (0, printed[printed.index("Pairs: ") :], "")  # nothing is asked


def test_a_label_is_put_aside_and_compared(label, data, tmp_path):
    """Who says what the data says agrees with it wholly, wherever the chosen text is shown.

    What the data itself has both ways round is a tie there, and left out.
    """
    rows = [json.loads(line) for line in data.read_text().splitlines()][:6]
    chosen = {row["prompt"]: row["chosen"] for row in rows}
    label("q")
    session, _ = open_session(tmp_path / "labelled")
    shown = [session.shown(number) for number in range(session.total)]
    typed = ["1" if one.first == chosen[one.prompt] else "2" for one in shown]
    assert set(typed) == {"1", "2"}
    _, printed, _ = label(*typed)
    assert "You and the data's own labels: decided by both: 5, left out: 1; the same in 100 %" in printed
    found = load_preferences(tmp_path / "labelled" / "preferences.jsonl")
    assert {(one.prompt, one.chosen) for one in found} == set(chosen.items())


def test_texts_without_a_label_have_none_to_agree_with(label, tmp_path):
    path = tmp_path / "texts.jsonl"
    rows = [{"prompt": f"p{i}", "a": f"a {i}", "b": f"b {i}"} for i in range(4)]
    write(path, [*rows, {"prompt": "", "a": "x", "b": "x"}])
    status, printed, said = label(*"11111", of=path)
    assert (status, said) == (0, "") and "own labels" not in printed
    assert "4 preferences for dpo" in printed


def test_of_a_conversation_one_reads_what_was_said_and_keeps_the_messages(label, tmp_path):
    path = tmp_path / "chats.jsonl"
    prompt = [{"role": "system", "content": "be kind"}, {"role": "user", "content": "why?"}]
    answers = [[{"role": "assistant", "content": text}] for text in ("so", "because")]
    write(path, [{"prompt": prompt, "chosen": answers[0], "rejected": answers[1]}])
    _, printed, _ = label("1", of=path)
    assert "--- prompt\nsystem: be kind\nuser: why?\n--- 1\n" in printed
    (found,) = load_preferences(tmp_path / "labelled" / "preferences.jsonl")
    assert found.prompt == prompt and found.chosen in answers


@pytest.mark.parametrize(
    ("given", "mean"),
    [
        ([("x", "y", 1.0), ("y", "x", 1.0)], 0.5),
        ([("x", "y", 1.0), ("x", "y", 0.0)], 0.5),
        ([("x", "y", 1.0), ("y", "x", 1.0), ("y", "x", 1.0), ("y", "x", 1.0)], 0.25),
        ([("x", "y", 0.75), ("y", "x", 0.75)], 0.5),
        ([("x", "y", 0.75), ("x", "y", 0.25), ("x", "y", 0.75), ("x", "y", 0.75)], 0.625),
    ],
)
def test_a_pair_labelled_several_times_has_the_mean_of_its_labels(label, tmp_path, given, mean):
    path = tmp_path / "several.jsonl"
    columns = ("chosen", "rejected", "chosen_probability")
    write(path, [{"prompt": "p"} | dict(zip(columns, row, strict=True)) for row in given])
    _, printed, _ = label("1", of=path)
    (row,) = json.loads((tmp_path / "labelled" / "session.json").read_text())["comparisons"]
    assert row == {"prompt": "p", "a": "x", "b": "y", "a_probability": mean}  # exact: all are sums of powers of 2
    left_out = int(mean == 0.5)
    assert f"You and the data's own labels: decided by both: {1 - left_out}, left out: {left_out}" in printed


def test_pairs_are_drawn_by_lot(label, tmp_path):
    drawn = set()
    for seed in range(5):
        label("q", options=("--pairs=2", f"--seed={seed}"), out=f"s{seed}")
        session, _ = open_session(tmp_path / f"s{seed}")
        assert session.total == 2
        drawn.add(tuple(comparison.prompt for comparison in session.comparisons))
    assert len(drawn) > 2


def test_a_text_does_not_command_the_terminal():
    assert written_out("a\x1b[2J\x07\r\nb\tc\rd\x9b") == "a\\x1b[2J\\x07\nb\tc\\x0dd\\x9b"
    assert written_out("") == "(nothing)" and written_out("كلب 👍🏽") == "كلب 👍🏽"


# ------------------------------------------------------------------ stopped, and another's folder


@pytest.mark.parametrize("stop", [["q"], []])
def test_stopped_by_q_or_the_end_of_input_the_same_command_goes_on(label, tmp_path, stop):
    status, printed, said = label("1", "2", *stop)
    assert (status, said) == (0, "")
    assert "stopped after 2 of 7 answers: the same command goes on from there\nPairs: 2, answers: 2." in printed
    _, printed, _ = label("=", "b", "b", "1", "q")
    assert "=== pair 3 of 7" in printed and places(tmp_path / "labelled") == ["first", "first"]


class Stopping(io.StringIO):
    """A terminal at which, after what was typed, Ctrl-C is pressed."""

    def readline(self):
        if line := super().readline():
            return line
        raise KeyboardInterrupt

    def isatty(self):
        return True


def test_ctrl_c_at_the_question_stops_as_q_does(label, tmp_path):
    for typed, kept in (("", None), ("1\n2\n", ["first", "second"])):
        status, printed, said = label(stdin=Stopping(typed))
        assert (status, said) == (0, "") and f"stopped after {len(kept or [])} of 7 answers" in printed
        if kept:
            assert places(tmp_path / "labelled") == kept


def test_killed_it_goes_on_with_what_was_answered(label, data, tmp_path):
    command = [sys.executable, "-m", "dpo_book", "label", "--data", data, "--out", tmp_path / "labelled"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    watchdog = threading.Timer(PATIENCE, process.kill)
    watchdog.start()
    process.stdin.write("1\n=\n")
    process.stdin.flush()
    for line in process.stdout:
        if "pair 3 of 7" in line:
            break
    refused(label("1"), "labels.jsonl is being labelled by another process")
    process.kill()
    process.communicate()
    watchdog.cancel()
    assert places(tmp_path / "labelled") == ["first", "tie"]
    with open(tmp_path / "labelled" / "labels.jsonl", "ab") as file:
        file.write(b'{"row": ')  # as a kill in the middle of a line leaves it
    _, printed, _ = label("2", "q")
    assert "=== pair 3 of 7" in printed and places(tmp_path / "labelled") == ["first", "tie", "second"]


def test_another_session_s_folder_is_not_touched(label, data, tmp_path):
    label("1", "q")
    folder = tmp_path / "labelled"
    before = {path: path.read_bytes() for path in folder.iterdir()}
    refused(label("1", options=("--seed=1",)), "holds another session: its seed is 0, here 1", "another folder")
    refused(label("1", options=("--pairs=3",)), "holds another session, of other pairs")
    with FileLock(folder / "labels.jsonl.lock"):
        refused(label("1"), "being labelled by another process")
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    (folder / "labels.jsonl").write_text("spoilt\n")
    refused(label("1"), "labels.jsonl, line 1", "no answer to the pair")
    (folder / "session.json").write_text("{")
    refused(label("1"), "session.json is damaged", "another folder")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    refused(label("1", out="mine"), "mine is not empty and holds no session")
    refused(label("1", out="mine/thesis.txt"), "is a file")
    (tmp_path / "link").symlink_to("gone")
    refused(label("1", out="link"), "it is a link that leads nowhere, to gone")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


# ------------------------------------------------------------------ in a notebook


def test_the_notebook_opens_the_same_session(label, tmp_path, monkeypatch):
    label("1", "q")
    folder = tmp_path / "labelled"
    status, printed, said = label(options=("--notebook",))
    assert (status, said, printed) == (0, "", f"open it with: jupyter lab {folder / 'label.ipynb'}\n")
    notebook = nbformat.read(folder / "label.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert str(tmp_path) not in (folder / "label.ipynb").read_text()
    monkeypatch.chdir(folder)
    names = {}
    label_cell, report_cell = (cell.source for cell in notebook.cells if cell.cell_type == "code")
    exec(label_cell, names)
    session = names["session"]
    assert isinstance(session, LabellingSession) and (session.answered, session.total) == (1, 7)
    session.answer("second")
    exec(report_cell, names)
    assert places(folder) == ["first", "second"] and len(load_preferences(folder / "preferences.jsonl")) == 2
    (folder / "label.ipynb").write_text("somebody's own")
    label(options=("--notebook",))
    assert (folder / "label.ipynb").read_text() == "somebody's own"


def test_at_a_terminal_the_notebook_is_opened_where_jupyterlab_is_installed(label, tmp_path, monkeypatch):
    became, installed = [], {"jupyterlab": True}

    def become(path, arguments):
        with FileLock(tmp_path / "labelled" / "labels.jsonl.lock", timeout=0):  # the notebook's kernel takes it
            became.append((path, arguments))

    monkeypatch.setattr(label_notebook.os, "execv", become)
    monkeypatch.setattr(label_notebook, "find_spec", installed.get)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    notebook = tmp_path / "labelled" / "label.ipynb"
    status, printed, said = label(options=("--notebook",))
    assert (status, said, printed) == (0, "", f"opening {notebook} in JupyterLab\n") and notebook.exists()
    assert became == [(sys.executable, [sys.executable, "-m", "jupyterlab", str(notebook)])]
    installed.clear()
    status, printed, said = label(options=("--notebook",))
    assert (status, said, printed) == (0, "", f"open it with: jupyter lab {notebook}\n") and len(became) == 1


# ------------------------------------------------------------------ slips


def test_where_nobody_can_type_one_line_says_so(label):
    assert refused(label(), "nobody is there to answer", "--notebook") == ""


def test_slips_are_answered_in_one_line_and_write_nothing(label, tmp_path):
    refused(label(options=("--pairs=0",)), "pairs must be a whole number of at least 1")
    refused(label(of="imdb"), "--data imdb holds reviews")
    refused(label(of=tmp_path / "none.jsonl"), "none.jsonl", "no such file")
    row = {"prompt": "p", "a": "x", "b": "y"}
    for rows, words in (
        ([row, {"prompt": "p", "a": "x"}], ("line 2", "the first row has the columns a and b")),
        ([row, row | {"chosen": "z"}], ("line 2", "has 'chosen' beside a and b")),
        ([row | {"a": " "}], ("line 1", "column 'a' is empty")),
        ([row | {"b": "x"}], ("a and b are the same in every row",)),
        ([row | {"system": "be kind"}], ("line 1", "'system' would not be read")),
        ([{"prompt": "p", "chosen": "x"}], ("line 1", "no column 'rejected'")),
        ([row | {"prompt": {"chosen": "rejected"}}], ("line 1: column 'prompt'", 'not {"chosen": "rejected"}')),
        ([{"a": "chosen x", "b": "y"}], ("line 1", "no column 'prompt', and a and b do not begin")),
        ([{"a": "p ", "b": "p y"}], ("line 1", "column 'a' is empty after the prompt")),
        ([row | {"b": [{"role": "user", "content": "y"}]}], ("line 1", "make prompt, a and b alike")),
    ):
        write(tmp_path / "bad.jsonl", rows)
        refused(label("1", of=tmp_path / "bad.jsonl"), "bad.jsonl", *words)
    write(tmp_path / "bad.jsonl", [{"a": "x", "b": "y"}])
    twice = ("--prompt-from", "a")
    refused(label(of=tmp_path / "bad.jsonl", options=twice), "'a', which is a completion and no part of the prompt")
    chat = [{"role": "user", "content": "hi"}]
    write(tmp_path / "bad.jsonl", [{"prompt": chat, "a": chat, "b": chat * 2, "tools": [{"name": "look"}]}])
    refused(label("1", of=tmp_path / "bad.jsonl"), "bad.jsonl, line 1: has tools", "label cannot show")
    assert not (tmp_path / "labelled").exists()


def test_bytes_that_are_no_text_are_no_answer(label, tmp_path):
    status, printed, _ = label("é", "1", "q")  # typed in Latin-1
    assert status == 0 and "is no answer" in printed and places(tmp_path / "labelled") == ["first"]
