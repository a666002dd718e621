"""Reading preferences: every accepted form gives the same records; every fault is named with its place."""

import json
import random
from pathlib import Path

import datasets
import huggingface_hub
import pandas as pd
import pytest
from trl.data_utils import extract_prompt

from dpo_book.data.preferences import Preference, common_prefix_length, load_preferences, split_prompt
from dpo_book.data.reading import PreferenceError
from tests.data.preference_rows import CALLS, CHAT, KIND, ROW, RUDE, TOOL, USER, without, write

DATA = Path("tests/samples")


# ------------------------------------------------------------------ what is accepted


def test_fixture_in_plain_form():
    pairs = load_preferences(DATA / "trl_style.jsonl")
    assert len(pairs) == 300 and len({pair.chosen for pair in pairs}) == 300
    rows = [json.loads(line) for line in (DATA / "trl_style.jsonl").read_text().splitlines()]
    assert [(p.prompt, p.chosen, p.rejected) for p in pairs] == [tuple(row.values()) for row in rows]
    assert all(pair.chosen_probability == 1.0 for pair in pairs)


def test_fixture_in_conversational_form():
    pairs = load_preferences(str(DATA / "conversational.jsonl"))
    assert len(pairs) == 20
    for pair in pairs:
        assert pair.prompt[-1]["role"] == "user"
        assert [message["role"] for message in pair.chosen + pair.rejected] == ["assistant"] * 2


def test_fixture_with_implicit_prompt_matches_trl():
    pairs = load_preferences(DATA / "implicit.jsonl")
    rows = [json.loads(line) for line in (DATA / "implicit.jsonl").read_text().splitlines()]
    assert pairs == [Preference(**extract_prompt(row)) for row in rows]
    assert all(pair.chosen.startswith(" ") and not pair.prompt.endswith(" ") for pair in pairs)


@pytest.mark.parametrize("form", ["trl_style", "conversational", "implicit"])
@pytest.mark.parametrize("kind", ["array", "lines.json", "csv", "parquet", "disk", "dict", "folder"])
def test_every_container_gives_the_same_records(form, kind, tmp_path):
    if form == "conversational" and kind == "csv":
        pytest.skip("a CSV holds text only")
    frame = pd.read_json(DATA / f"{form}.jsonl", lines=True, dtype=False)
    rows = frame.to_dict("records")
    path = tmp_path / f"data.{'json' if kind == 'array' else kind}"
    if kind == "array":
        path.write_text(json.dumps(rows, indent=1))
    elif kind == "lines.json":
        write(path, *rows)
    elif kind == "csv":
        frame.to_csv(path, index=False)
    elif kind == "parquet":
        frame.to_parquet(path)
    elif kind == "disk":
        datasets.Dataset.from_list(rows).save_to_disk(path)
    elif kind == "dict":
        datasets.DatasetDict(train=datasets.Dataset.from_list(rows)).save_to_disk(path)
    else:
        path.mkdir()
        write(path / "train.jsonl", *rows)
        write(path / "test.jsonl", *rows[:5])
        assert load_preferences(path, split="test") == load_preferences(path)[:5]
    assert load_preferences(path) == load_preferences(DATA / f"{form}.jsonl")


def test_soft_labels_are_read_from_json_and_csv(tmp_path):
    rows = [ROW | {"chosen_probability": p} for p in (0, 0.25, 1)]
    pd.DataFrame(rows).to_csv(tmp_path / "a.csv", index=False)
    for path in (write(tmp_path / "a.jsonl", *rows), tmp_path / "a.csv"):
        assert [pair.chosen_probability for pair in load_preferences(path)] == [0.0, 0.25, 1.0]


def test_csv_text_stays_text(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('prompt,chosen,rejected\nNA,null,123\n"a,\nb",nan,1e5\n,None,007\n')
    texts = [(p.prompt, p.chosen, p.rejected) for p in load_preferences(path)]
    assert texts == [("NA", "null", "123"), ("a,\nb", "nan", "1e5"), ("", "None", "007")]


def test_spreadsheet_files_with_byte_order_mark_and_crlf(tmp_path):
    path = tmp_path / "a.CSV"
    path.write_bytes(b"\xef\xbb\xbfprompt,chosen,rejected\r\nq,yes,no\r\n")
    assert load_preferences(path) == [Preference("q", "yes", "no")]
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(ROW).encode() + b"\r\n\r\n")
    assert load_preferences(path) == [Preference(**ROW)]


def test_json_text_may_hold_a_line_separator(tmp_path):
    path = write(tmp_path / "a.jsonl", ROW | {"chosen": " one\u2028two\x85three"}, ROW)
    assert load_preferences(path)[0].chosen == " one\u2028two\x85three"


def test_other_columns_beside_a_prompt_are_ignored(tmp_path):
    path = write(
        tmp_path / "a.jsonl", CHAT | {"score": 3, "messages": [USER, KIND], "note": "so it is", "images": []}
    )
    assert load_preferences(path) == [Preference(**CHAT)]


# ------------------------------------------------------------------ where a record stands


def test_a_record_knows_its_row_although_others_are_dropped(tmp_path):
    path = write(tmp_path / "a.jsonl", ROW, ROW | {"rejected": ROW["chosen"]}, ROW)
    with pytest.warns(UserWarning, match="dropped 1"):
        pairs = load_preferences(path)
    assert [pair.where for pair in pairs] == [f"{path}, line 1", f"{path}, line 3"]
    assert pairs[0] == pairs[1] == Preference(**ROW) and "line" not in repr(pairs[0])
    rows = 'prompt,chosen,rejected\n"a\nb",yes,no\n\nc,yes,no\n'
    (tmp_path / "a.csv").write_text(rows)
    assert [pair.where.split(", ")[-1] for pair in load_preferences(tmp_path / "a.csv")] == [
        "row 1",
        "row 2 (line 5)",
    ]


def test_pairs_that_are_the_same_twice_are_dropped_with_one_warning(tmp_path):
    same = ROW | {"rejected": ROW["chosen"]}
    path = write(tmp_path / "a.jsonl", ROW, same, ROW, same, same, same)
    with pytest.warns(UserWarning) as warned:
        assert len(load_preferences(path)) == 2
    assert len(warned) == 1 and warned[0].filename == __file__
    message = str(warned[0].message)
    assert "dropped 4 pairs" in message and "line 2; " in message and "line 5; ..." in message
    assert "line 6" not in message
    one_word = {"chosen": "yes", "rejected": "yes"}  # there is no prompt to find here, and no need of one
    path = write(tmp_path / "b.jsonl", one_word, {"chosen": "a b", "rejected": "a c"})
    with pytest.warns(UserWarning, match="dropped 1 "):
        assert load_preferences(path) == [Preference("a", " b", " c")]


# ------------------------------------------------------------------ the implicit prompt


@pytest.mark.parametrize(
    "chosen, rejected",
    [
        ("The sky is blue.", "The sky is green."),
        ("Q: sky?\nA: blue", "Q: sky?\nA: green"),
        ("Answer:\nyes", "Answer:\nno"),
        ("two  spaces", "two  words"),
        ("x: a b", "x: a\nb"),
        ("\n\nHuman: Hi\n\nAssistant: Hello", "\n\nHuman: Hi\n\nAssistant: Go"),
        ([USER, KIND], [USER, RUDE]),
        ([USER, KIND, USER, KIND], [USER, KIND, USER, RUDE]),
        ([USER, KIND], [USER, RUDE, USER, KIND]),
        ([USER, KIND], [USER, KIND, USER, KIND]),
    ],
)
def test_split_prompt_agrees_with_trl(chosen, rejected):
    expected = extract_prompt({"chosen": chosen, "rejected": rejected})
    assert split_prompt(chosen, rejected) == tuple(expected.values())


@pytest.mark.parametrize(
    "chosen, rejected, expected",
    [
        ("It is blue", "It is black", ("It is", " blue", " black")),
        ("the cat sat", "the cats sat", ("the", " cat sat", " cats sat")),
        ("a b c", "a b", ("a", " b c", " b")),  # neither completion may be left empty
    ],
)
def test_split_prompt_never_cuts_a_word(chosen, rejected, expected):
    assert split_prompt(chosen, rejected) == expected
    assert extract_prompt({"chosen": chosen, "rejected": rejected})["prompt"] != expected[0]


def test_split_prompt_puts_back_together_and_bisection_is_the_plain_loop():
    rng = random.Random(0)
    for _ in range(500):
        a, b = ("".join(rng.choices("ab \n", [4, 1, 2, 1], k=rng.randint(1, 12))) for _ in range(2))
        b = a[: rng.randint(0, len(a))] + b
        plain = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
        assert common_prefix_length(a, b) == plain
        if a == b:
            continue
        try:
            prompt, chosen, rejected = split_prompt(a, b)
        except PreferenceError:
            continue
        assert prompt and (prompt + chosen, prompt + rejected) == (a, b)
        for completion in (chosen, rejected):
            assert prompt[-1].isspace() or completion[0].isspace()


# ------------------------------------------------------------------ what is refused, and how

BAD_SECOND_ROWS = {  # the row, and what the message must say besides file and line
    "no chosen": (without("chosen"), ["'chosen'", "columns: 'prompt', 'rejected'", "messages"]),
    "no rejected": (without("rejected"), ["'rejected'", "columns: 'prompt', 'chosen'"]),
    "null": (ROW | {"chosen": None}, ["'chosen'", "not null", "text"]),
    "null prompt": (ROW | {"prompt": None}, ["'prompt'", "not null"]),
    "number": (ROW | {"rejected": 3}, ["'rejected'", "not 3"]),
    "NaN": (ROW | {"rejected": float("nan")}, ["'rejected'", "NaN"]),
    "bool": (ROW | {"chosen": True}, ["'chosen'", "not true"]),
    "object": (ROW | {"chosen": {"a": 1}}, ["'chosen'", '{"a": 1}']),
    "list of text": (ROW | {"chosen": ["a", "b"]}, ["'chosen'", "role", '"a"']),
    "empty chosen": (ROW | {"chosen": ""}, ["'chosen' is empty"]),
    "blank rejected": (ROW | {"rejected": " \n\t"}, ["'rejected' is empty"]),
    "both empty": (ROW | {"chosen": "", "rejected": ""}, ["'chosen' is empty"]),
    "not an object": ([1, 2], ["[1, 2]", "object"]),
    "text against messages": (ROW | {"chosen": [KIND]}, ["text and messages"]),
    "messages in the prompt only": (ROW | {"prompt": [USER]}, ["text and messages"]),
    "no role": (CHAT | {"chosen": [{"content": "a"}]}, ["'chosen'", "role", '{"content": "a"}']),
    "content in parts": (
        CHAT | {"prompt": [USER | {"content": [{"type": "text", "text": "a"}]}]},
        ["'prompt'", "type"],
    ),
    "content null beside no calls": (CHAT | {"chosen": [CALLS | {"tool_calls": []}]}, ["'chosen'", "tool_calls"]),
    "messages as text": (
        ROW | {"chosen": str([KIND]), "rejected": f" [ {json.dumps(RUDE)}"},
        ["chosen and rejected are messages written as text"],
    ),
    "prompt beside others' messages": (
        {"prompt": "Ho", "chosen": [USER, KIND], "rejected": [USER, RUDE]},
        ['the prompt is text ("Ho") beside messages'],
    ),
    "prompt beside answers": (CHAT | {"prompt": "Hi"}, ['the prompt is text ("Hi") beside messages']),
    "answer empty after a shared turn": (
        {"chosen": [USER, KIND], "rejected": [USER, KIND | {"content": ""}]},
        ["'rejected' is empty after the prompt"],
    ),
    "answer blank after shared text": ({"chosen": "a ", "rejected": "a b"}, ["'chosen' is empty after the prompt"]),
    "tools beside text": (ROW | {"tools": [TOOL]}, ["tools is for conversations"]),
    "settings beside text": (ROW | {"chat_template_kwargs": {"a": 1}}, ["chat_template_kwargs is for conversations"]),
    "tools no list": (CHAT | {"tools": "none"}, ["'tools'", "no JSON"]),
    "tools no objects": (CHAT | {"tools": ["weather"]}, ["'tools'", "list of objects", "weather"]),
    "settings no object": (CHAT | {"chat_template_kwargs": ["a"]}, ["'chat_template_kwargs'", "object"]),
    "content null": (CHAT | {"prompt": [{"role": "user", "content": None}]}, ["'prompt'", "content", "null"]),
    "no messages": (CHAT | {"prompt": []}, ["'prompt' is empty"]),
    "blank message": (CHAT | {"rejected": [RUDE | {"content": " "}]}, ["'rejected' is empty"]),
    "conversation among text": (CHAT, ["messages with a prompt", "line 1 is text with a prompt"]),
    "prompt left out": ({"chosen": "a b", "rejected": "a c"}, ["without a prompt", "line 1"]),
    "nothing in common": ({"chosen": "yes", "rejected": "no"}, ["'prompt'", "same word"]),
    "other first message": ({"chosen": [USER, KIND], "rejected": [KIND]}, ["'prompt'", "message"]),
    "label above 1": (ROW | {"chosen_probability": 1.1}, ["chosen_probability", "[0, 1]", "1.1"]),
    "label below 0": (ROW | {"chosen_probability": -0.1}, ["chosen_probability", "[0, 1]"]),
    "label NaN": (ROW | {"chosen_probability": float("nan")}, ["chosen_probability", "NaN"]),
    "label null": (ROW | {"chosen_probability": None}, ["chosen_probability", "null"]),
    "label true": (ROW | {"chosen_probability": True}, ["[0, 1]", "true"]),
    "label beyond floats": (ROW | {"chosen_probability": 10**400}, ["[0, 1]", "1000"]),
    "label text": (ROW | {"chosen_probability": "high"}, ["chosen_probability", '"high"']),
}


@pytest.mark.parametrize("case", BAD_SECOND_ROWS)
def test_a_bad_row_is_named(case, tmp_path):
    row, words = BAD_SECOND_ROWS[case]
    path = tmp_path / "pairs.jsonl"
    path.write_text(f"{json.dumps(ROW)}\n\n{json.dumps(row)}\n{json.dumps(ROW)}\n")  # a blank line counts
    with pytest.raises(PreferenceError) as error:
        load_preferences(path)
    for word in ["pairs.jsonl, line 3", *words]:
        assert word in str(error.value)


BAD_FILES = {  # file name, bytes, what the message must say
    "empty": ("a.jsonl", b"", ["a.jsonl", "empty"]),
    "blank": ("a.csv", b" \n\n", ["a.csv", "empty"]),
    "blank parquet": ("a.parquet", b"", ["a.parquet", "empty"]),
    "only a mark": ("a.csv", b"\xef\xbb\xbf\n", ["a.csv", "empty"]),
    "only a header": ("a.csv", b"prompt,chosen,rejected\n", ["a.csv", "no rows"]),
    "empty array": ("a.json", b"[]", ["a.json", "no rows"]),
    "broken line": (
        "a.jsonl",
        json.dumps(ROW).encode() + b'\n{"prompt": "a\n',
        ["line 2, column", "not JSON"],
    ),
    "broken array": ("a.json", b"[\n" + json.dumps(ROW).encode() + b",\n{]", ["line 3, column 2", "not JSON"]),
    "row of an array": ("a.json", json.dumps([ROW, 7]).encode(), ["a.json, row 2", "not an object"]),
    "latin 1": (
        "a.jsonl",
        json.dumps(ROW).encode() + b'\n{"prompt": "caf\xe9"}',
        ["line 2", "byte 83", "UTF-8"],
    ),
    "latin 1 csv": ("a.csv", b"prompt,chosen,rejected\ncaf\xe9,b,c\n", ["line 2", "byte 26", "UTF-8"]),
    "utf-16": ("a.csv", "prompt,chosen,rejected\na,b,c\n".encode("utf-16"), ["UTF-16", "UTF-8"]),
    "csv columns": ("a.csv", b"question,good,bad\na,b,c\n", ["row 1", "'question', 'good', 'bad'"]),
    "csv empty cell": ("a.csv", b"prompt,chosen,rejected\na,b,c\na,b,\n", ["row 2", "'rejected' is empty"]),
    "csv more cells": ("a.csv", b"prompt,chosen,rejected\na,b,c,d\n", ["row 1", "more cells"]),
    "csv fewer cells": ("a.csv", b"prompt,chosen,rejected\na,b\n", ["row 1", "fewer cells"]),
    "csv open quote": ("a.csv", b'prompt,chosen,rejected\n"a,b,c\n', ["row at line 2", "not CSV"]),
    "csv empty label": ("a.csv", b"chosen,rejected,chosen_probability\na b,a c,\n", ["row 1", "[0, 1]"]),
    "no parquet": ("a.parquet", b"PAR1 but not really", ["a.parquet", "not a whole Parquet file"]),
    "suffix": ("a.txt", b"hello", ["a.txt", ".jsonl, .json, .csv, .parquet"]),
    "no suffix": ("a", b"hello", [".jsonl, .json, .csv, .parquet"]),
    "all the same": ("a.csv", b"prompt,chosen,rejected\na,b,b\n", ["a.csv", "the same in every row"]),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_is_named(case, tmp_path):
    name, data, words = BAD_FILES[case]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(PreferenceError) as error:
        load_preferences(tmp_path / name)
    for word in words:
        assert word in str(error.value)


def test_null_in_parquet_and_on_disk_names_the_row(tmp_path):
    rows = [ROW, ROW | {"chosen": None}]
    pd.DataFrame(rows).to_parquet(tmp_path / "a.parquet")
    datasets.Dataset.from_list(rows).save_to_disk(tmp_path / "saved")
    for name in ("a.parquet", "saved"):
        with pytest.raises(PreferenceError, match=f"{name}, row 2: column 'chosen' .* not null"):
            load_preferences(tmp_path / name)


def test_folder_faults_name_folder_file_and_line(tmp_path):
    with pytest.raises(PreferenceError, match=r"no files \(.jsonl, .json, .csv, .parquet\)"):
        load_preferences(tmp_path)
    write(tmp_path / "train.jsonl", ROW, ROW | {"chosen": ""})
    with pytest.raises(PreferenceError, match=r"train.jsonl, line 2: column 'chosen' is empty"):
        load_preferences(tmp_path)
    with pytest.raises(PreferenceError, match="no split 'test'; there are: train"):
        load_preferences(tmp_path, split="test")
    with pytest.raises(PreferenceError, match="no 'test'"):
        load_preferences(tmp_path / "train.jsonl", split="test")


@pytest.mark.parametrize(
    "name",
    ["pairs.jsonl", "data/pairs.CSV", "./owner/name", "../pairs", "/no/where", "~/x", "pairs", "a/b/c"],
)
def test_a_mistyped_path_is_not_looked_up_on_the_hub(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", lambda *_, **__: pytest.fail("asked the hub"))
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        load_preferences(name)


# ------------------------------------------------------------------ the hub, without a network


def test_hub_rows_are_records(monkeypatch):
    asked = []
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", lambda *_, **__: None)
    monkeypatch.setattr(
        datasets,
        "load_dataset",
        lambda *args, **kwargs: asked.append((args, kwargs)) or datasets.Dataset.from_list([ROW]),
    )
    assert load_preferences("owner/name", split="train[:1]") == [Preference(**ROW)]
    assert asked == [(("owner/name",), {"split": "train[:1]"})]


def refuse(error, asked):
    def dataset_info(*settings, **__):
        asked.append(settings)
        raise error

    return dataset_info


@pytest.mark.parametrize("error", [OSError("no route to host"), RuntimeError("401: repository not found")])
def test_hub_failure_is_one_clear_error_at_once(error, monkeypatch):
    asked = []
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", refuse(error, asked))
    with pytest.raises(PreferenceError) as raised:
        load_preferences("no-such-owner/no-such-name")
    assert len(asked) == 1
    for words in ("'no-such-owner/no-such-name'", str(error), "HF_TOKEN", "HF_HUB_OFFLINE=1", "local file"):
        assert words in str(raised.value)


def test_offline_by_choice_uses_only_what_was_downloaded(monkeypatch):
    offline = huggingface_hub.errors.OfflineModeIsEnabled("offline")
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", refuse(offline, []))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)  # what HF_HUB_OFFLINE=1 sets at import
    with pytest.raises(PreferenceError, match=r"Couldn't reach .*HF_HUB_OFFLINE=1"):
        load_preferences("no-such-owner/no-such-name")
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: datasets.Dataset.from_list([ROW]))
    assert load_preferences("owner/name") == [Preference(**ROW)]


def test_a_record_checks_its_label():
    assert Preference("a", "b", "c", 0.0).chosen_probability == 0.0
    for label in (-0.01, 1.01, float("nan"), 10**400, 10**5000, "much", None):
        with pytest.raises(PreferenceError, match=r"\[0, 1\]"):
            Preference("a", "b", "c", label)


def test_a_record_of_text_has_no_use_for_tools():
    for inputs in ({"tools": [TOOL]}, {"chat_template_kwargs": {"a": 1}}):
        with pytest.raises(PreferenceError, match="is for conversations"):
            Preference("a", "b", "c", **inputs)
        assert Preference([USER], [KIND], [RUDE], **inputs) != Preference(**CHAT)
