"""The command line: real runs on small data, what they leave behind, and slips answered in one line."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from dpo_book import build_policy, train_tokenizer
from dpo_book.maths.estimates import Estimate, interval, share_interval
from tests.patience import PATIENCE
from tests.small_data import first_preferences

TINY = ("--steps=6", "--batch-size=4", "--learning-rate=1e-3", "--warmup-steps=0", "--checkpoint-every=2")


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    return first_preferences(24, tmp_path_factory.mktemp("data"))


def refused(answer: tuple[int, str, str], *words: str) -> None:
    status, printed, said = answer
    assert (status, printed) == (2, "")
    assert said.startswith("dpo_book: ") and said.count("\n") == 1
    assert all(word in said for word in words), said


def records(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


# ------------------------------------------------------------------ runs


def test_sft_then_dpo_then_evaluate_and_sample(book, few, tmp_path):
    start, trained = tmp_path / "start", tmp_path / "trained"
    status, printed, _ = book("sft", "--data", few, "--out", start, *TINY)
    assert (status, printed.strip()) == (0, f"the trained model is in {start / 'model'}")
    assert [record["step"] for record in records(start)] == [1, 2, 3, 4, 5, 6]
    assert book("dpo", "--policy", start / "model", "--data", few, "--out", trained, *TINY)[0] == 0
    first, *_, last = records(trained)
    assert first["rewards/margins"] == pytest.approx(0, abs=1e-4) and last["rewards/margins"] > 0.1
    assert {"metrics.jsonl", "reward_margins.png", "log_probabilities.png", "model", "run.json"} <= {
        path.name for path in trained.iterdir()
    }
    assert (trained / "reward_margins.png").read_bytes()[:4] == b"\x89PNG"
    AutoModelForCausalLM.from_pretrained(trained / "model")
    assert len(AutoTokenizer.from_pretrained(trained / "model")) > 256

    policies = ("--policy", trained / "model", "--reference", start / "model")
    status, printed, _ = book("evaluate", *policies, "--data", few, "--samples", "8", "--max-new-tokens", "6")
    assert status == 0
    assert [line.split(":")[0] for line in printed.splitlines()] == [
        "24 pairs", "accuracy", "margin, nats", "accuracy of the reference", "KL to the reference, nats"
    ]  # fmt: skip
    more = tmp_path / "prompts.txt"
    more.write_text("Three\n\nFour\n")
    status, printed, _ = book(
        "sample", "One", "Two", "--file", more, "--policy", trained / "model", "--max-new-tokens", "4"
    )
    assert status == 0
    assert [json.loads(line)["prompt"] for line in printed.splitlines()] == ["One", "Two", "Three", "Four"]


def test_a_reward_model_loads_as_a_classifier_and_logs_to_tensorboard(book, few, tmp_path):
    out = tmp_path / "run"
    extra = ("--tensorboard",) if find_spec("tensorboard") else ()
    assert book("reward", "--data", few, "--out", out, *TINY, *extra)[0] == 0
    assert {"step", "loss", "accuracy", "margin"} <= set(records(out)[0])
    model = AutoModelForSequenceClassification.from_pretrained(out / "model")
    assert model.config.num_labels == 1 and model.config.pad_token_id is not None
    assert bool(list(out.glob("tensorboard/events*"))) == bool(extra)


def test_a_finished_run_is_left_alone_and_another_one_is_not_written_over_it(book, few, tmp_path):
    out = tmp_path / "run"
    assert book("sft", "--data", few, "--out", out, *TINY)[0] == 0
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.name != ".lock"}
    status, printed, _ = book("sft", "--data", few, "--out", out, *TINY)
    assert (status, printed.strip()) == (0, f"{out} holds this run already, finished")
    refused(book("sft", "--data", few, "--out", out, *TINY, "--seed", "1"), "seed is 0 there, 1 here", "--out")
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.name != ".lock"} == before


@pytest.mark.parametrize(("method", "rate"), [("sft", 1e-3), ("reward", 1e-3), ("dpo", 1e-4)])
def test_without_a_learning_rate_it_is_the_model_s_size_that_sets_it_and_run_json_says_it(
    book, few, tmp_path, method, rate
):
    run = (method, "--policy", "mini", "--data", few, "--out", tmp_path / "run", "--steps=2", "--batch-size=2")
    assert book(*run, "--warmup-steps=0")[0] == 0
    assert json.loads((tmp_path / "run" / "run.json").read_text())["learning_rate"] == rate
    assert records(tmp_path / "run")[0]["learning_rate"] == rate
    # Given, it is the same run; the default of large models is another one.
    assert "finished" in book(*run, "--warmup-steps=0", f"--learning-rate={rate}")[1]
    refused(book(*run, "--warmup-steps=0", "--learning-rate=1e-6"), f"--learning-rate is {rate} there, 1e-06 here")


def test_an_adapter_takes_ten_times_the_rate_of_its_model(book, few, tmp_path):
    pytest.importorskip("peft")
    run = ("dpo", "--policy", "mini", "--lora-rank=2", "--data", few, "--steps=1", "--batch-size=2")
    assert book(*run, "--warmup-steps=0", "--out", tmp_path / "run")[0] == 0
    assert records(tmp_path / "run")[0]["learning_rate"] == pytest.approx(1e-3)


def test_one_bar_shows_loss_margin_accuracy_and_tokens_a_second(few, tmp_path):
    command = [sys.executable, "-m", "dpo_book", "dpo", "--policy", "mini", "--data", few, "--out", tmp_path / "run"]
    done = subprocess.run(
        [*command, *TINY],
        env={name: value for name, value in os.environ.items() if name != "TQDM_DISABLE"},
        capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 0
    last = done.stderr.split("\r")[-1]
    assert all(word in last for word in ("6/6", "loss 0.", "margin ", "accuracy ", "tokens/s")), last
    assert " 0 tokens/s" not in done.stderr  # of the first record, when nobody knows
    for bar_of_transformers in ("Loading weights", "Writing model shards"):
        assert bar_of_transformers not in done.stderr


# ------------------------------------------------------------------ help and slips


def test_help_has_every_field_of_the_configuration_with_its_text(book):
    status, printed, _ = book("dpo", "--help")
    assert status == 0
    words = " ".join(printed.replace("│", " ").split())
    for option in ("--policy", "--data", "--out", "--beta", "--learning-rate", "--batch-size", "--steps", "--seed"):
        assert option in words
    assert "how strongly the policy is held to its reference" in words and "(default: 0.1)" in words
    assert "1e-6 (DPO, unlikelihood, PPO) or 1e-5 (SFT, reward model)" in words


def test_slips_are_answered_in_one_line(book, few, tmp_path):
    out = ("--out", tmp_path / "new")
    refused(book("sft", "--data", few, *out, "--steps", "abc"), "--steps", "'abc'")
    refused(book("sft", "--data", few, *out, "--steps", "0"), "steps must be a whole number of at least 1, got 0")
    refused(book("dpo", "--policy", "mini", "--data", few, *out, "--beta", "-1"), "beta")
    refused(book("sft", "--data", few, *out, "--checkpoint-every", "0"), "checkpoint", "at least 1")
    refused(book("sft", "--data", tmp_path / "none.jsonl", *out), "none.jsonl", "no such file")
    refused(book("sft", *out), "--data")
    refused(book("frobnicate"), "frobnicate")
    refused(book("dpo", "--policy", tmp_path / "none", "--data", few, *out), "no policy could be loaded", "none")
    refused(book("sample", "--policy", "mini"), "no prompt was given")
    assert not (tmp_path / "new" / "metrics.jsonl").exists()


def test_a_bad_row_is_named(book, tmp_path):
    path = tmp_path / "bad.jsonl"
    path.write_text('{"prompt": "a", "chosen": "b", "rejected": "c"}\n{"prompt": "a", "chosen": "b"}\n')
    refused(book("sft", "--data", path, "--out", tmp_path / "new"), "line 2", "rejected")
    assert not (tmp_path / "new").exists()


def test_a_folder_with_other_content_or_a_file_is_not_written_to(book, few, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    refused(book("sft", "--data", few, "--out", mine, *TINY), "mine is not empty and holds no run")
    assert [path.name for path in mine.iterdir()] == ["thesis.txt"]
    refused(book("sft", "--data", few, "--out", mine / "thesis.txt", *TINY), "is a file")
    refused(book("sft", "--data", few, "--out", mine / "thesis.txt" / "run", *TINY), "thesis.txt")


@pytest.mark.parametrize("out", ["link", "link/run"])
def test_a_link_that_leads_nowhere_is_named(book, few, tmp_path, out):
    (tmp_path / "link").symlink_to("gone")
    said = f"{tmp_path / 'link'}: it is a link that leads nowhere, to gone"
    refused(book("sft", "--data", few, "--out", tmp_path / out, *TINY), said)
    assert [path.name for path in tmp_path.iterdir() if path.is_symlink()] == ["link"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_named(book, few, tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    refused(book("sft", "--data", few, "--out", tmp_path / "closed" / "run", *TINY), "closed", "Permission denied")


def test_a_reference_with_other_tokens_is_refused(book, few, tmp_path):
    for name, texts in (("a", ["one two three"] * 9), ("b", ["four five six"] * 9)):
        tokenizer = train_tokenizer(texts, vocab_size=262)
        build_policy("mini", tokenizer).save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
    policies = ("--policy", tmp_path / "a", "--reference", tmp_path / "b")
    refused(book("dpo", *policies, "--data", few, "--out", tmp_path / "new"), "another tokenizer")


# ------------------------------------------------------------------ intervals


def test_intervals_are_wilson_s_and_the_normal_one():
    # 8 of 10: Wilson's 95 % interval is 0.490 to 0.943 (Brown, Cai and DasGupta 2001 give its formula).
    assert share_interval(0.8, 10) == pytest.approx((0.8, 0.4902, 0.9433), abs=1e-4)
    assert share_interval(1.0, 10).low == pytest.approx(0.7225, abs=1e-4)
    assert 1 - 1e-12 < share_interval(1.0, 10).high <= 1
    assert interval(Estimate(1.0, 0.5)) == pytest.approx((1.0, 0.02, 1.98), abs=1e-3)
