"""Whatever files, folders and options hold: right, or one line that says what is wrong, and nothing is lost.

Fifteen hundred cases, drawn by hypothesis, the same in every run; more with the environment variable HOSTILE_INPUTS.
"""

import gzip
import inspect
import io
import json
import os
import shutil
import warnings
from dataclasses import fields, is_dataclass

import pandas as pd
import pytest
from hypothesis import HealthCheck, event, given, settings, strategies as st

from dpo_book import build_policy, load_preferences, tokenize_pairs, train_tokenizer
from dpo_book.cli.commands import COMMANDS
from dpo_book.data.pairs import PairError
from dpo_book.data.reading import PreferenceError
from tests.data.chat_templates import TEMPLATES, tokenizer_with

CASES = int(os.environ.get("HOSTILE_INPUTS", 1500))


def cases(share):
    """So many of all cases, the same each time, however long one takes."""
    quiet = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(
        max_examples=int(share * CASES), derandomize=True, deadline=None, database=None, suppress_health_check=quiet
    )


# ------------------------------------------------------------------ preference files

TEXTS = st.sampled_from(["The film was", " good", " bad", "yes\n", "no", "好 很好", "x" * 50, "two  spaces "])


def message(role):
    return st.fixed_dictionaries({"role": st.just(role), "content": TEXTS})


QUESTION = st.lists(st.sampled_from(["system", "user", "assistant", "user"]).flatmap(message), min_size=1, max_size=3)
ANSWER = st.lists(message("assistant"), min_size=1, max_size=1)
COLUMNS = {
    "text": {"prompt": TEXTS, "chosen": TEXTS, "rejected": TEXTS},
    "messages": {"prompt": QUESTION, "chosen": ANSWER, "rejected": ANSWER},
}
LABELS = {"chosen_probability": st.sampled_from([0.5, 0.9, 1.0])}


def rows_of(form):
    row = st.fixed_dictionaries(COLUMNS[form], optional=LABELS)
    return st.lists(row, min_size=1, max_size=4)


ROWS = st.sampled_from(list(COLUMNS)).flatmap(rows_of)

WORDS = st.sampled_from(["", " ", "\ud800", "\x00", "</s>", "x" * 300, "much", "0.7"])
NUMBERS = st.sampled_from([0, -1, 2.0, float("nan"), float("inf"), 10**400, True])
LEAVES = st.one_of(WORDS, NUMBERS, st.none())
CALLS = st.sampled_from([[], [{"name": "look"}], {"enable_thinking": True}, {"tokenize": 1}])
ODD_MESSAGES = st.lists(
    st.fixed_dictionaries({}, optional={"role": LEAVES, "content": LEAVES, "tool_calls": CALLS, "thinking": WORDS}),
    max_size=2,
)
NESTED = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(WORDS, inner, max_size=2))
VALUES = st.one_of(LEAVES, CALLS, ODD_MESSAGES, NESTED, TEXTS)
NAMES = st.sampled_from(
    [
        "prompt",
        "chosen",
        "rejected",
        "chosen_probability",
        "tools",
        "chat_template_kwargs",
        "instruction",
        "id",
        "Prompt",
    ]
)


@st.composite
def files_of_rows(draw):
    """Rows as they should be, and in two of three files one cell that should not be so, or one that is missing."""
    rows = draw(ROWS)
    if draw(st.integers(0, 2)):
        row, name = draw(st.sampled_from(rows)), draw(NAMES)
        if draw(st.booleans()):
            row[name] = draw(VALUES)
        else:
            row.pop(name, None)
    return rows


def json_lines(rows):
    return "\n".join(map(json.dumps, rows)).encode()


def json_array(rows):
    return json.dumps(rows, indent=1).encode()


def csv(rows):
    return pd.DataFrame(rows).to_csv(index=False).encode("utf-8", "replace")


def parquet(rows):
    buffer = io.BytesIO()
    pd.DataFrame(rows).to_parquet(buffer)
    return buffer.getvalue()


def zipped(rows):
    return gzip.compress(json_lines(rows))


FORMS = {"a.jsonl": json_lines, "a.json": json_array, "a.csv": csv, "a.parquet": parquet, "a.jsonl.gz": zipped}


def unharmed(data, place):
    return data


def cut(data, place):
    return data[:place]


def flipped(data, place):
    return data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :] if data else data


def with_mark(data, place):
    return b"\xef\xbb\xbf" + data


def with_carriage_returns(data, place):
    return data.replace(b"\n", b"\r\n")


def twice(data, place):
    return data + b"\n" + data


HARMS = [unharmed, unharmed, unharmed, cut, flipped, with_mark, with_carriage_returns, twice]

TOKENIZERS = [train_tokenizer([], vocab_size=257), *(tokenizer_with(t.source, t.marks) for t in TEMPLATES.values())]


def one_line(error, *words):
    said = str(error)
    assert len(said.splitlines()) == 1 and len(said) < 2000, said
    assert any(word in said for word in words), said


@cases(0.93)
@given(rows=files_of_rows(), form=st.sampled_from(list(FORMS)), harm=st.sampled_from(HARMS), data=st.data())
def test_a_file_of_preferences(rows, form, harm, data, tmp_path):
    try:
        written = FORMS[form](rows)
    except Exception:  # what pandas and pyarrow cannot write, nobody has in a file
        return
    place = data.draw(st.integers(0, max(0, len(written) - 1)))
    path = tmp_path / form
    path.write_bytes(harm(written, place))
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        try:
            preferences = load_preferences(path)
        except PreferenceError as error:
            event("the file is refused")
            return one_line(error, str(path))
        if harm is unharmed:
            assert len(preferences) == sum(row["chosen"] != row["rejected"] for row in rows)
        tokenizer = data.draw(st.sampled_from(TOKENIZERS))
        try:
            pairs = tokenize_pairs(preferences, tokenizer)
        except PairError as error:
            event("a row cannot be tokenised")
            return one_line(error, str(path), "none of the")
    event("pairs")
    assert len(pairs) <= len(preferences)
    assert all(pair.prompt and pair.chosen and pair.rejected for pair in pairs)


# ------------------------------------------------------------------ options


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A new small policy in a folder."""
    folder = tmp_path_factory.mktemp("start")
    tokenizer = train_tokenizer(["the film was good"] * 9, vocab_size=257)
    tokenizer.save_pretrained(folder)
    build_policy("nano", tokenizer).save_pretrained(folder)
    return folder


def options_of(command):
    """The names of all options of a command, as they are spelled on the command line."""
    names = []
    for name, parameter in inspect.signature(command, eval_str=True).parameters.items():
        inner = (
            [field.name for field in fields(parameter.annotation)] if is_dataclass(parameter.annotation) else [name]
        )
        names += [f"--{option.replace('_', '-')}" for option in inner]
    return names


HOSTILE = [
    "",
    " ",
    "-1",
    "0",
    "1.5",
    "nan",
    "inf",
    "1e400",
    "ja",
    "β",
    "--",
    "no/such/file",
    "~nobody/x",
    "true",
    "2",
]
QUICK = ["--steps=1", "--batch-size=2", "--warmup-steps=0"]
TRAINS = ["sft", "reward", "dpo"]


def plain_commands(start, few, out):
    """A command line that is right, of every command that reads a policy."""
    data = [f"--data={few}", f"--policy={start}", "--max-length=16", "--drop-long"]
    short = ["--max-new-tokens=1"]
    lines = {name: [*data, f"--out={out}", *QUICK] for name in TRAINS}
    lines["evaluate"] = [*data, f"--reference={start}", "--samples=2", *short]
    lines["sample"] = [f"--policy={start}", "a", *short]
    return lines


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    folder = tmp_path_factory.mktemp("few")
    path = folder / "few.jsonl"
    rows = [{"prompt": "a", "chosen": f" b{i}", "rejected": f" c{i}"} for i in range(4)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def said_in_one_line(answer):
    status, printed, said = answer
    assert (status, printed) == (2, ""), said
    assert said.startswith("dpo_book: ") and said.count("\n") == 1 and "Traceback" not in said, said


@pytest.mark.filterwarnings("ignore")
@cases(0.055)
@given(data=st.data())
def test_options(data, book, start, few, tmp_path, monkeypatch):
    monkeypatch.setenv("DPO_BOOK_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)  # where a relative --out leads
    out = tmp_path / "run"
    shutil.rmtree(out, ignore_errors=True)
    line = plain_commands(start, few, out)
    command = data.draw(st.sampled_from([function for function in COMMANDS if function.__name__ in line]))
    arguments = line[command.__name__]
    option, value = data.draw(st.sampled_from(options_of(command))), data.draw(st.sampled_from(HOSTILE))
    there = [place for place, argument in enumerate(arguments) if argument.startswith(option)]
    if there and data.draw(st.booleans()):
        del arguments[there[0]]
    answer = book(command.__name__, *arguments, f"{option}={value}")
    event(f"status {answer[0]}")
    if answer[0]:
        said_in_one_line(answer)
        assert not out.exists()


# ------------------------------------------------------------------ a run's folder


def deleted(path):
    path.unlink()


def emptied(path):
    path.write_bytes(b"")


def cut_in_half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def with_a_flipped_byte(path):
    data = bytearray(path.read_bytes())
    data[len(data) * 2 // 3] ^= 0x55
    path.write_bytes(data)


def a_folder_instead(path):
    path.unlink()
    path.mkdir()


def a_list_instead(path):
    path.write_text("[]")


def a_letter_beside(path):
    (path.parent / "letter.txt").write_text("mine")


DAMAGES = [deleted, emptied, cut_in_half, with_a_flipped_byte, a_folder_instead, a_list_instead, a_letter_beside]


@pytest.fixture(scope="module")
def runs(start, few, tmp_path_factory):
    """Where two runs are, one finished, the other stopped before its model was saved; and their command."""
    folder = tmp_path_factory.mktemp("runs")
    command = ["sft", *plain_commands(start, few, "")["sft"][:-4], "--steps=2", "--batch-size=2", "--warmup-steps=0"]
    return folder, command


def contents(folder):
    """Of all files but the lock."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {path.relative_to(folder): path.read_bytes() for path in files}


@pytest.mark.filterwarnings("ignore")
@cases(0.015)
@given(data=st.data())
def test_the_folder_of_a_run(data, book, runs, tmp_path):
    folder, command = runs
    whole = folder / "whole"
    if not whole.exists():
        assert book(*command, "--out", whole)[0] == 0
    weights = (whole / "model" / "model.safetensors").read_bytes()
    out = tmp_path / "run"
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(whole, out)
    if data.draw(st.booleans(), label="stopped before its model was saved"):
        shutil.rmtree(out / "model")
    files = sorted(path for path in out.rglob("*") if path.is_file() and path.name != ".lock")
    data.draw(st.sampled_from(DAMAGES))(data.draw(st.sampled_from(files)))

    before = contents(out)
    answer = book(*command, "--out", out)
    event(f"status {answer[0]}")
    if answer[0]:
        said_in_one_line(answer)
        assert contents(out) == before
    else:
        assert (out / "model" / "model.safetensors").read_bytes() == weights
        assert {path.name: data for path, data in before.items() if path.name == "letter.txt"}.items() <= {
            path.name: data for path, data in contents(out).items()
        }.items()
