"""What columns mean: messages keep what they say, columns make the prompt, and none that speaks is dropped."""

import json

import datasets
import pandas as pd
import pytest

from dpo_book.data.preferences import Preference, load_preferences
from dpo_book.data.reading import PreferenceError
from tests.data.preference_rows import CALL, CALLS, CHAT, KIND, ROW, RUDE, TOOL, USER, without, write

# ------------------------------------------------------------------ conversations


def test_messages_keep_all_that_they_say(tmp_path):
    user = USER | {"name": "Ada"}
    answer = KIND | {"reasoning_content": "She greets."}
    result = {"role": "tool", "tool_call_id": "1", "content": "-3"}
    path = write(tmp_path / "a.jsonl", {"prompt": [user], "chosen": [CALLS, result, answer], "rejected": [KIND]})
    (pair,) = load_preferences(path)
    without_content = {"role": "assistant", "tool_calls": [CALL]}
    assert (pair.prompt, pair.chosen, pair.rejected) == ([user], [without_content, result, answer], [KIND])


@pytest.mark.parametrize("key, value", [("tool_calls", [CALL]), ("thinking", "Hm."), ("name", "Bo")])
def test_pairs_that_differ_in_a_key_only_are_not_the_same(key, value, tmp_path):
    path = write(tmp_path / "a.jsonl", CHAT | {"rejected": [KIND | {key: value}]})
    (pair,) = load_preferences(path)
    assert pair.rejected == [KIND | {key: value}] != pair.chosen == [KIND]


def test_keys_that_arrow_fills_with_null_are_as_absent(tmp_path):
    rows = [
        {"prompt": [USER], "chosen": [KIND | {"tool_calls": [CALL]}], "rejected": [RUDE], "tools": [TOOL]},
        CHAT | {"tools": None} | {"chat_template_kwargs": {"enable_thinking": False}},
    ]
    rows[0]["chat_template_kwargs"] = None  # so that Arrow has the column
    write(tmp_path / "a.jsonl", *rows)
    datasets.Dataset.from_list(rows).to_parquet(tmp_path / "a.parquet")
    datasets.Dataset.from_list(rows).save_to_disk(tmp_path / "saved")
    expected = [Preference(**row) for row in rows]
    for name in ("a.jsonl", "a.parquet", "saved"):
        assert load_preferences(tmp_path / name) == expected


def test_tools_are_a_list_or_json_text_of_one(tmp_path):
    rows = [CHAT | {"tools": tools} for tools in ([TOOL], json.dumps([TOOL]), [], None, "")]
    pairs = load_preferences(write(tmp_path / "a.jsonl", *rows))
    assert [pair.tools for pair in pairs] == [[TOOL], [TOOL], None, None, None]


def test_a_plain_prompt_beside_conversations_that_begin_with_it(tmp_path):
    system = {"role": "system", "content": "Be kind."}
    for opening in ([USER], [system, USER]):
        row = {"prompt": "Hi", "chosen": [*opening, KIND], "rejected": [*opening, RUDE]}
        assert load_preferences(write(tmp_path / "a.jsonl", row)) == [Preference(opening, [KIND], [RUDE])]


def test_a_prompt_that_both_conversations_begin_with_is_taken_off(tmp_path):
    row = {"prompt": [USER], "chosen": [USER, KIND], "rejected": [USER, RUDE]}
    assert load_preferences(write(tmp_path / "a.jsonl", row)) == [Preference([USER], [KIND], [RUDE])]


def test_a_prompt_of_text_that_both_say_again_is_warned_of(tmp_path):
    row = {"prompt": "The sky is", "chosen": "The sky is blue", "rejected": "The sky is red"}
    with pytest.warns(UserWarning, match=r"in 1 rows chosen and rejected both begin with the prompt.*line 1"):
        load_preferences(write(tmp_path / "a.jsonl", row))


@pytest.mark.parametrize("name", ["System", "HISTORY", "system_message", "chat-history", "Context", "Images"])
def test_what_would_stand_before_the_prompt_is_refused_in_any_spelling(name, tmp_path):
    path = write(tmp_path / "a.jsonl", ROW | {name: "Be kind."})
    with pytest.raises(PreferenceError, match=f"'{name}'"):
        load_preferences(path)


def test_an_answer_that_shows_messages_is_text(tmp_path):
    row = {"prompt": "Show a message.", "chosen": f"[{json.dumps(USER)}]", "rejected": "No."}
    assert load_preferences(write(tmp_path / "a.jsonl", row)) == [Preference(**row)]


@pytest.mark.parametrize("sides", [([], "a", "b"), (["a"], ["b"], ["c"]), ([USER], [KIND], [{"role": "user"}])])
def test_a_record_made_by_hand_is_text_or_messages(sides):
    with pytest.raises(PreferenceError, match=r"mixes text and messages|a message must be"):
        Preference(*sides)


# ------------------------------------------------------------------ which columns make the prompt

ALPACA = {"instruction": "Say it.", "input": "", "chosen": "He goes to town.", "rejected": "He goes to bed."}


def test_prompt_from_joins_what_is_not_empty(tmp_path):
    rows = [ALPACA, ALPACA | {"input": "in French"}, ALPACA | {"input": None}]
    pairs = load_preferences(write(tmp_path / "a.jsonl", *rows), prompt_from=["instruction", "input"])
    assert [pair.prompt for pair in pairs] == ["Say it.", "Say it.\n\nin French", "Say it."]
    assert all((pair.chosen, pair.rejected) == (ALPACA["chosen"], ALPACA["rejected"]) for pair in pairs)


def test_prompt_from_may_name_the_prompt_itself(tmp_path):
    path = write(tmp_path / "a.jsonl", ROW | {"system": "Be brief."})
    assert load_preferences(path, prompt_from=["prompt"]) == [Preference(**ROW)]
    assert load_preferences(path, prompt_from=["system", "prompt"])[0].prompt == "Be brief.\n\nThe sky is"
    path = write(tmp_path / "b.jsonl", {"messages": [USER], "chosen": [KIND], "rejected": [RUDE]})
    assert load_preferences(path, prompt_from=["messages"]) == [Preference(**CHAT)]


@pytest.mark.parametrize("names", ["instruction", [], ["chosen"], [1]])
def test_prompt_from_is_names_of_columns(names, tmp_path):
    with pytest.raises(PreferenceError, match="prompt_from must name the columns"):
        load_preferences(write(tmp_path / "a.jsonl", ALPACA), prompt_from=names)


def test_prompt_from_refuses_what_is_no_prompt(tmp_path):
    path = write(tmp_path / "a.jsonl", ALPACA, ALPACA | {"instruction": " ", "score": 3})
    for names, words in {
        ("instruction", "input"): "line 2: 'instruction', 'input': all empty",
        ("input", "query"): "line 1: no column 'query', which prompt_from names; columns: 'instruction', 'input'",
    }.items():
        with pytest.raises(PreferenceError, match=words):
            load_preferences(path, prompt_from=names)
    path = write(tmp_path / "b.jsonl", ALPACA | {"input": 3})
    with pytest.raises(PreferenceError, match="line 1: column 'input' must be text"):
        load_preferences(path, prompt_from=["input"])
    with pytest.raises(PreferenceError, match="'hh' has a form of its own"):
        load_preferences("hh", prompt_from=["chosen_prompt"])


def test_without_a_prompt_what_is_about_the_row_is_ignored(tmp_path):
    about = {"prompt_id": "a b", "source": "a set", "chosen-model": "gpt", "score_chosen": 4.5, "kept": True, "x": ""}
    row = {"chosen": "a b", "rejected": "a c"}
    assert load_preferences(write(tmp_path / "a.jsonl", row | about)) == [Preference("a", " b", " c")]
    pd.DataFrame([row | {"margin": 4.5}]).to_csv(
        tmp_path / "a.csv"
    )  # with the frame's index, a column without a name
    assert load_preferences(tmp_path / "a.csv") == [Preference("a", " b", " c")]


SPEAKING = {  # a row, and what the message must say
    "alpaca": (
        ALPACA,
        ["'instruction' would not be read", "columns: 'instruction', 'input', 'chosen'", "prompt_from"],
    ),
    "question": ({"question": "Why?", "chosen": "So a", "rejected": "So b"}, ["'question' would not be read"]),
    "messages": ({"history": [USER], "chosen": [USER, KIND], "rejected": [USER, RUDE]}, ["'history' would not"]),
    "capital prompt": ({"Prompt": "a", "chosen": "a b", "rejected": "a c"}, ["'Prompt'", "write it 'prompt'"]),
    "capital label": (ROW | {"Chosen-Probability": 0.5}, ["'Chosen-Probability'", "write it 'chosen_probability'"]),
    "capital chosen": (without("chosen") | {"Chosen": "a"}, ["no column 'chosen'", "'Chosen'"]),
    "system": (ROW | {"system": "Be kind."}, ["'system' would not be read"]),
    "history": (ROW | {"history": [["Hi", "Hello"]]}, ["'history' would not be read"]),
    "pictures": (CHAT | {"images": ["cat.png"]}, ["'images'", "cannot see"]),
    "an object around": ({"data": [ROW]}, ["no column 'chosen'; columns: 'data'", "the list in 'data' has rows"]),
}


@pytest.mark.parametrize("case", SPEAKING)
def test_a_column_that_speaks_is_not_dropped(case, tmp_path):
    row, words = SPEAKING[case]
    with pytest.raises(PreferenceError) as error:
        load_preferences(write(tmp_path / "a.jsonl", row))
    for word in ["a.jsonl, line 1", *words]:
        assert word in str(error.value)
