"""Options from a TOML file: which count, what is refused, and that a run's own file repeats the run."""

import json
import tomllib

import pytest

from dpo_book.cli.commands import COMMANDS
from dpo_book.cli.config_file import ConfigError, as_given, expanded, given_options, option_kinds
from dpo_book.cli.options import OutputOptions
from dpo_book.cli.parsing import Slip, parse_one_of
from dpo_book.cli.train import dpo
from dpo_book.training.dpo_config import DPOConfig
from tests.small_data import first_preferences

KINDS = option_kinds(dpo)
TINY = ("--steps=4", "--batch-size=4", "--learning-rate=1e-3", "--warmup-steps=0")


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "run.toml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def test_a_file_s_options_stand_before_those_of_the_command_line_which_count_more(file):
    path = file('policy = "gpt2"\nlearning-rate = 1e-6\nsteps = 7\ndrop_long = true\ntensorboard = false\n')
    read = expanded(["dpo", "--steps=9", "--config", path], KINDS)
    assert read.arguments == [
        "dpo", "--policy=gpt2", "--learning-rate=1e-06", "--drop-long", "--steps=9", "--config", path,
    ]  # fmt: skip
    assert read.file == path and "steps" not in read.keys
    assert expanded(["dpo", f"--config={path}", "--steps=9"], KINDS).arguments[:4] == read.arguments[:4]


def test_without_a_file_nothing_changes():
    line = ["sample", "a prompt", "--policy", "x", "--", "--config", "y"]
    assert expanded(line, KINDS) == (line, None, [])
    assert given_options(["--a-b=1", "--c", "2", "--", "--d"]) == {"a_b": "1", "c": None}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("step = 3", "step is no option of this command: is steps meant?"),
        ("quux = 3", "quux is no option of this command"),
        ("tensorboard = 'yes'", "tensorboard wants true or false, not 'yes'"),
        ("steps = true", "steps wants a value, not true"),
        ("[steps]\na = 1", "steps wants a text or a number"),
        ("date = 2026-01-31", "date is no option"),
        ("steps = 2026-01-31", "steps wants a text or a number"),
        ("steps = ", "is no TOML file: Invalid value"),
        ("config = 'other.toml'", "config is no option"),
    ],
)
def test_what_is_no_option_or_has_no_such_value_is_refused_with_file_and_key(file, text, said):
    path = file(text)
    with pytest.raises(ConfigError, match="--config") as error:
        expanded(["dpo", "--config", path], KINDS)
    assert path in str(error.value) and said in str(error.value)


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        expanded(["dpo", "--config", str(tmp_path / "none.toml")], KINDS)
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="is no TOML file"):
        expanded(["dpo", "--config", str(tmp_path / "bytes.toml")], KINDS)


@pytest.mark.parametrize("text", ['steps = "many"', "beta = -1", "loss = 'dpoo'"])
def test_a_value_that_the_option_refuses_names_the_file(file, text):
    path = file(text)
    line = ["dpo", "--policy", "mini", "--data", "x", "--out", "y", "--config", path]
    with pytest.raises(Slip) as slip:
        parse_one_of(COMMANDS, "book", "", line)
    assert str(slip.value).startswith(f"--config {path}: ")


def test_what_was_given_is_plain_values_by_option(tmp_path):
    output = OutputOptions(out=tmp_path, config=tmp_path)
    given = as_given({"output": output, "config": DPOConfig(beta=0.3), "policy": "mini", "reference": None})
    assert given["beta"] == 0.3 and given["policy"] == "mini" and given["checkpoint_every"] == 100
    assert not given.keys() & {"out", "config", "reference", "tensorboard", "epochs"}


def test_a_run_s_own_file_repeats_it(book, tmp_path):
    few = first_preferences(24, tmp_path)
    run = ("dpo", "--policy", "mini", "--data", few, "--beta", "0.3", "--eval-share", "0.3", "--eval-samples", "0")
    assert book(*run, *TINY, "--out", tmp_path / "one")[0] == 0
    kept = tomllib.loads((tmp_path / "one" / "run.toml").read_text())
    assert kept["beta"] == 0.3 and kept["data"] == str(few) and "out" not in kept
    again = ("dpo", "--config", tmp_path / "one" / "run.toml", "--out", tmp_path / "two")
    assert book(*again)[0] == 0
    for name in ("metrics.jsonl", "evaluations.jsonl", "run.toml"):
        assert (tmp_path / "two" / name).read_text() == (tmp_path / "one" / name).read_text()
    assert json.loads((tmp_path / "two" / "run.json").read_text())["beta"] == 0.3
    status, _, said = book("dpo", *again[1:3], "--out", tmp_path / "two", "--beta=0.5")
    assert status == 2 and "beta is 0.3 there, 0.5 here" in said
