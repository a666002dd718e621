"""Options of evaluations: each is read, or refused by name; what goes without saying is said here."""

import dataclasses

import pytest

from dpo_book.cli.eval_options import EvalOptions
from dpo_book.cli.options import DataOptions
from dpo_book.maths.require import SettingError


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"eval_data": "a", "eval_share": 0.1}, "--eval-data and --eval-share are both given"),
        ({"eval_share": 0.0}, "eval_share must be between 0 and 1"),
        ({"eval_share": 1.0}, "eval_share must be between 0 and 1"),
        ({"eval_share": float("nan")}, "eval_share must be"),
        ({"eval_share": 0.1, "eval_pairs": 5}, "--eval-pairs is for --eval-data"),
        ({"eval_share": 0.1, "eval_split": "test"}, "--eval-split is for --eval-data"),
        ({"eval_share": 0.1, "eval_source": "x"}, "--eval-source is for --eval-data"),
        ({"eval_data": "a", "eval_source": "x"}, "--eval-source is a local copy of hh, tldr or imdb"),
        ({"eval_data": "a", "eval_every": 0}, "eval_every must be"),
        ({"eval_data": "a", "eval_pairs": 1}, "eval_pairs must be a whole number of at least 2"),
        ({"eval_data": "a", "eval_samples": -1}, "eval_samples must be"),
        ({"eval_data": "a", "eval_samples": 1}, "eval_samples must be 0 or at least 2"),
        ({"eval_data": "a", "eval_max_new_tokens": 0}, "eval_max_new_tokens must be"),
        ({"eval_data": "a", "eval_seed": -1}, "eval_seed must be"),
        ({"eval_data": "a", "patience": 0}, "patience must be"),
        *(
            ({name: value}, f"--{name.replace('_', '-')} is for a run with --eval-data or --eval-share")
            for name, value in (
                ("eval_every", 5), ("eval_samples", 0), ("eval_max_new_tokens", 5), ("eval_seed", 0),
                ("best_by", "loss"), ("patience", 2),
            )
        ),
    ],
)  # fmt: skip
def test_what_nothing_would_read_or_cannot_be_is_refused(given, word):
    with pytest.raises(SettingError, match=word):
        EvalOptions(**given)


def test_every_option_can_be_given_somewhere():
    given = EvalOptions(
        eval_data="hh", eval_split="test", eval_source="x", eval_pairs=9, eval_every=2, eval_samples=3,
        eval_max_new_tokens=4, eval_seed=5, best_by="margin", patience=6,
    )  # fmt: skip
    unused = [name for name, value in dataclasses.asdict(given).items() if value is None]
    assert unused == ["eval_share"]
    assert given.settings("dpo", 300) == (2, 3, 4, 5, "margin", 6)


def test_what_goes_without_saying():
    options = EvalOptions(eval_data="a")
    assert options.settings("dpo", 300) == (30, 64, 48, 0, "loss", None)
    assert options.settings("sft", 25) == (3, 4, 48, 0, "loss", None)
    assert options.settings("reward", 1) == (1, 0, 48, 0, "loss", None)
    assert not EvalOptions().asked and EvalOptions(eval_share=0.1).asked


def test_what_a_method_has_no_use_for_is_refused():
    for options in (EvalOptions(eval_data="a", eval_samples=4), EvalOptions(eval_data="a", eval_max_new_tokens=4)):
        with pytest.raises(SettingError, match="is for a policy"):
            options.check_used("reward")
        options.check_used("dpo")
    for by in ("accuracy", "margin"):
        with pytest.raises(SettingError, match=f"--best-by {by} is for methods that compare"):
            EvalOptions(eval_data="a", best_by=by).check_used("sft")


def test_held_out_data_are_read_as_the_others_are():
    data = DataOptions(data="o/n", configuration="c", prompt_from="a,b", max_length=9, drop_long=True)
    same = EvalOptions(eval_data="o/n").data_options(data)
    assert same == dataclasses.replace(data, split="test")
    assert EvalOptions(eval_data="o/n", eval_split="dev").data_options(data).split == "dev"
    other = EvalOptions(eval_data="b.jsonl").data_options(data)
    assert other == dataclasses.replace(data, data="b.jsonl", configuration=None)
    paper = EvalOptions(eval_data="hh", eval_source="copy").data_options(data)
    assert (paper.split, paper.source, paper.prompt_from) == ("train", "copy", None)


def test_of_the_same_set_a_local_copy_is_taken_over_too():
    data = DataOptions(data="hh", source="copy")
    assert EvalOptions(eval_data="hh").data_options(data) == dataclasses.replace(data, split="test")
    assert EvalOptions(eval_data="hh", eval_source="mine").data_options(data).source == "mine"
    assert EvalOptions(eval_data="tldr").data_options(data).source is None


def test_the_split_that_is_trained_on_is_not_measured_on():
    for data, options in (
        (DataOptions(data="o/n", split="test"), EvalOptions(eval_data="o/n")),
        (DataOptions(data="o/n"), EvalOptions(eval_data="o/n", eval_split="train")),
        (DataOptions(data="hh", source="copy"), EvalOptions(eval_data="hh", eval_split="train")),
    ):
        with pytest.raises(SettingError, match=f"split {data.split} is trained on: take another by --eval-split"):
            options.data_options(data)
    other_copy = EvalOptions(eval_data="hh", eval_split="train", eval_source="mine")
    assert other_copy.data_options(DataOptions(data="hh", source="copy")).split == "train"


def test_two_paths_to_one_file_or_folder_are_the_same_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.jsonl").write_text("")
    (tmp_path / "b.jsonl").write_text("")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link.jsonl").symlink_to("a.jsonl")
    data = DataOptions(data="a.jsonl")
    for name in ("a.jsonl", "./a.jsonl", "folder/../a.jsonl", str(tmp_path / "a.jsonl"), "link.jsonl"):
        with pytest.raises(SettingError, match=r"is the file that is trained on: take --eval-share"):
            EvalOptions(eval_data=name).data_options(data)
    assert EvalOptions(eval_data="b.jsonl").data_options(data).split == "train"
    folder = DataOptions(data="folder")
    assert EvalOptions(eval_data="./folder/").data_options(folder).split == "test"
    with pytest.raises(SettingError, match="split train is trained on"):
        EvalOptions(eval_data="./folder", eval_split="train").data_options(folder)


def test_imdb_s_comparisons_are_made_as_those_that_are_trained_on():
    data = DataOptions(data="imdb", judge="vader", prompts=7)
    held_out = EvalOptions(eval_data="imdb").data_options(data)
    assert held_out == dataclasses.replace(data, split="test")
    assert EvalOptions(eval_data="b.jsonl").data_options(data).judge is None
