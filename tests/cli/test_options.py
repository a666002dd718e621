"""Options as they are typed: ~ is the home, nothing is empty, nothing is given twice, and none is read in silence."""

from pathlib import Path

import pytest

from dpo_book.cli import commands
from dpo_book.cli.options import DataOptions
from dpo_book.cli.parsing import Slip, option_names, parse
from dpo_book.maths.require import SettingError

NEEDED = ("--policy=a", "--data=x.jsonl", "--out=run")


def read(command, *arguments: str) -> dict:
    """What the command would be called with."""
    return parse(command, "dpo_book", arguments).keywords


def test_a_tilde_is_the_home_in_every_option_that_may_be_a_path(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    given = ("--policy=~/p", "--reference", "~/r", "--data=~/hh", "--out=~/run")
    dpo = read(commands.dpo, *given)
    assert (dpo["policy"], dpo["reference"]) == (str(tmp_path / "p"), str(tmp_path / "r"))
    assert (dpo["data"].data, dpo["output"].out) == (str(tmp_path / "hh"), tmp_path / "run")
    imdb = read(commands.dpo, "--policy=p", "--data=imdb", "--source=~/imdb", "--judge=~/j", "--out=~")
    assert (imdb["data"].source, imdb["data"].judge) == (str(tmp_path / "imdb"), str(tmp_path / "j"))
    assert imdb["output"].out == tmp_path
    assert read(commands.sample, "One", "--policy=p", "--file=~/more")["file"] == tmp_path / "more"
    assert read(commands.frontier, "verdicts", "--out=~/f")["out"] == tmp_path / "f"


def test_names_of_the_hub_stay_as_they_are():
    dpo = read(commands.dpo, "--policy=owner/name", "--data=./a b/../c.jsonl", "--out=a/../b")
    assert (dpo["policy"], dpo["data"].data, dpo["output"].out) == ("owner/name", "./a b/../c.jsonl", Path("a/../b"))
    assert dpo["reference"] is None and dpo["data"].prompts is None


@pytest.mark.parametrize("option", ["policy", "reference", "data", "source", "split", "judge", "out"])
@pytest.mark.parametrize("value", ["", " ", "~nobody-of-this-name/x"])
def test_an_empty_name_and_an_unknown_home_are_refused_by_option(option, value):
    others = [argument for argument in NEEDED if not argument.startswith(f"--{option}=")]
    with pytest.raises(Slip, match=rf"--{option}: .*(empty|home)"):
        read(commands.dpo, *others, f"--{option}={value}")


@pytest.mark.parametrize(
    "twice",
    [
        ("--steps=5", "--steps=5"),
        ("--steps", "5", "--steps=6"),
        ("--max-length=5", "--max_length=6"),
        ("--drop-long", "--drop-long"),
        ("--out=other",),
    ],
)
def test_an_option_that_is_given_twice_is_refused(twice):
    with pytest.raises(Slip, match=r"^--[a-z-]+ is given 2 times"):
        read(commands.dpo, *NEEDED, *twice)


def test_what_follows_two_dashes_is_no_option():
    asked = parse(commands.sample, "dpo_book", ("--policy=p", "--", "--seed", "--seed"))
    assert asked.keywords.get("prompts", asked.args and asked.args[0]) == ("--seed", "--seed")


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"data": "x.jsonl", "source": "y"}, "--source is a local copy of hh, tldr or imdb"),
        ({"data": "owner/name", "source": "y"}, "--source"),
        ({"data": "hh", "judge": "vader"}, "--judge is for --data imdb"),
        ({"data": "x.jsonl", "prompts": 1000}, "--prompts is for --data imdb"),
        ({"data": "imdb", "prompts": 0}, "prompts must be"),
        ({"data": "imdb", "max_length": 0}, "max_length must be"),
    ],
)
def test_an_option_that_nothing_would_read_is_refused(given, word):
    with pytest.raises(SettingError, match=word):
        DataOptions(**given)


def test_every_option_has_its_name_in_messages():
    names = option_names([commands.dpo, commands.sample])
    assert {"max_length", "drop_long", "lora_rank", "reference_free", "checkpoint_every", "max_new_tokens"} <= names
    assert not {"data_options", "output", "evaluation", "prompts_"} & names
