"""Checkpoints: a killed run ends as if nothing had happened; damaged, foreign and unwritable ones are named."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

from dpo_book import DPOConfig, build_policy, copy_policy, train_dpo
from dpo_book.cli import app
from dpo_book.training.checkpoints import CheckpointError, Checkpoints
from dpo_book.worlds.verdicts import verdicts
from tests.patience import PATIENCE, next_line
from tests.small_data import verdict_pairs

IDENTITY = {"method": "dpo", "seed": 0}


@pytest.fixture
def pairs():
    return verdict_pairs(5)


def steps(policy, reference, pairs, path, identity=IDENTITY, stop=None, every=3):
    """Train for eight steps of four pairs, or up to ``stop``: an epoch ends in the middle of it."""
    records = []
    config = DPOConfig(beta=0.5, learning_rate=1e-3, warmup_steps=2, batch_size=4, steps=8)
    for record in train_dpo(policy, reference, pairs, config, checkpoints=Checkpoints(path, identity, every)):
        records.append(record)
        if record["step"] == stop:
            break
    return records


def same_weights(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


# ------------------------------------------------------------------ going on


@pytest.mark.parametrize("stop", [2, 3, 4, 7])
def test_a_stopped_training_goes_on_as_if_it_had_not_been(stop, reference, pairs, tmp_path):
    whole, stopped, resumed = (copy_policy(reference) for _ in range(3))
    expected = steps(whole, reference, pairs, tmp_path / "a")
    steps(stopped, reference, pairs, tmp_path / "b", stop=stop)
    kept = (stop - 1) // 3 * 3  # leaving the loop at step 3 is before its checkpoint
    assert (tmp_path / "b").exists() == (kept > 0)
    assert steps(resumed, reference, pairs, tmp_path / "b") == expected[kept:]
    assert same_weights(whole, resumed)


def test_a_finished_training_only_gets_its_weights_back(reference, pairs, tmp_path):
    whole, again = copy_policy(reference), copy_policy(reference)
    steps(whole, reference, pairs, tmp_path / "a")
    assert steps(again, reference, pairs, tmp_path / "a") == []
    assert same_weights(whole, again)


def test_checkpoints_change_no_result(reference, pairs, tmp_path):
    expected, other = (steps(copy_policy(reference), reference, pairs, tmp_path / str(n), every=n) for n in (1, 50))
    assert expected == other


# ------------------------------------------------------------------ what is refused


@pytest.fixture
def checkpoint(reference, pairs, tmp_path):
    steps(copy_policy(reference), reference, pairs, tmp_path / "kept", stop=5)
    return tmp_path / "kept"


def test_any_damage_is_noticed_and_named(checkpoint):
    whole = checkpoint.read_bytes()
    header = int.from_bytes(whole[:8], "little")
    text = whole.index(b"GPT") if b"GPT" in whole else whole.index(b"seed")
    digest = re.search(rb'"sha256":"(.)', whole).start(1)
    damaged = {place: bytearray(whole) for place in (3, text, digest, 8 + header, len(whole) // 2, len(whole) - 1)}
    for place, content in damaged.items():
        content[place] ^= 1
    for content in [*damaged.values(), whole[:-1], whole[: len(whole) // 2], b"", b"hello"]:
        checkpoint.write_bytes(content)
        with pytest.raises(CheckpointError, match=f"{checkpoint} is damaged, or no checkpoint"):
            Checkpoints(checkpoint, IDENTITY, 3)
    checkpoint.write_bytes(whole)
    assert Checkpoints(checkpoint, IDENTITY, 3).done == 3


def test_safetensors_of_something_else_are_no_checkpoint(tmp_path):
    save_file({"weight": torch.zeros(3)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged, or no checkpoint of this book"):
        Checkpoints(tmp_path / "model.safetensors", IDENTITY, 3)


def test_another_run_s_checkpoint_is_refused_with_what_differs(checkpoint):
    with pytest.raises(CheckpointError, match=r"kept is the checkpoint of another run: seed is 0 there, 1 here$"):
        Checkpoints(checkpoint, IDENTITY | {"seed": 1}, 3)
    with pytest.raises(CheckpointError, match="data is not set there, 7 rows here"):
        Checkpoints(checkpoint, IDENTITY | {"data": "7 rows"}, 3)


@pytest.mark.parametrize("every", [0, -1, 1.5, True])
def test_checkpoints_need_a_whole_number_of_steps(every, tmp_path):
    with pytest.raises(ValueError, match="at least 1"):
        Checkpoints(tmp_path / "kept", IDENTITY, every)


def test_a_key_that_one_of_two_runs_does_not_have_differs_even_from_none(checkpoint):
    with pytest.raises(CheckpointError, match="lora_rank is not set there, None here"):
        Checkpoints(checkpoint, IDENTITY | {"lora_rank": None}, 3)
    with pytest.raises(CheckpointError, match="seed is 0 there, not set here"):
        Checkpoints(checkpoint, {"method": "dpo"}, 3)


def test_a_folder_in_a_checkpoint_s_place_is_named(tmp_path):
    (tmp_path / "kept").mkdir()
    with pytest.raises(CheckpointError, match="kept cannot be read"):
        Checkpoints(tmp_path / "kept", IDENTITY, 3)


def test_a_checkpoint_keeps_the_digest_of_the_records_that_it_was_told(reference, pairs, tmp_path):
    checkpoints = Checkpoints(tmp_path / "kept", IDENTITY, 1)
    config = DPOConfig(learning_rate=1e-3, batch_size=4, steps=2)
    for record in train_dpo(copy_policy(reference), reference, pairs, config, checkpoints=checkpoints):
        checkpoints.records_digest = f"of {record['step']}"
    assert Checkpoints(tmp_path / "kept", IDENTITY, 1).records_digest == "of 2"


# ------------------------------------------------------------------ whole runs, killed or out of room

# A program of its own, so that it can be killed: it does as it is told at a step.
RUN = """
import resource, sys, time
from dpo_book.cli import app, training_run
at, what, *arguments = sys.argv[1:]
shown = training_run._shown
def then(record, rate):
    if record["step"] == int(at):
        if what == "wait":
            print("waiting", flush=True)
            time.sleep(600)
        else:  # no file may grow larger than this: what a full disk does, without one
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(what), int(what)))
    return shown(record, rate)
training_run._shown = then
sys.argv = ["dpo_book", *arguments]
app.main()
"""


@pytest.fixture(scope="module")
def arguments(tmp_path_factory):
    """A DPO run of twelve steps from a saved nano policy on forty short preferences, measured every three of them."""
    folder = tmp_path_factory.mktemp("run")
    world = verdicts()
    build_policy("nano", world.tokenizer, seed=3).save_pretrained(folder / "start")
    world.tokenizer.save_pretrained(folder / "start")
    rows = [
        {"prompt": "the acting ", "chosen": f"very good {a} but", "rejected": f"very bad {a} but"}
        for a in ("acting", "plot")
    ]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows * 20))
    held_out = [row | {"prompt": "the plot "} for row in rows]
    (folder / "held_out.jsonl").write_text("".join(json.dumps(row) + "\n" for row in held_out))
    options = "--steps 12 --batch-size 4 --learning-rate 1e-3 --warmup-steps 2 --checkpoint-every 4 --beta 0.5"
    looks = "--eval-every 3 --eval-samples 4 --eval-max-new-tokens 4"
    data = ["--data", folder / "pairs.jsonl", "--eval-data", folder / "held_out.jsonl"]
    return ["dpo", "--policy", folder / "start", *data, *options.split(), *looks.split()]


def run(arguments, out, at=0, what="wait"):
    return subprocess.Popen(
        [sys.executable, "-c", RUN, str(at), str(what), *map(str, arguments), "--out", str(out)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(arguments, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "run"
    _, said = (process := run(arguments, out)).communicate(timeout=PATIENCE)
    assert process.returncode == 0, said
    return out


def assert_same_end(out, undisturbed):
    measured = ("evaluations.jsonl", "samples.txt", "best/evaluation.json", "best/model.safetensors")
    for name in ("metrics.jsonl", "run.json", "model/model.safetensors", *measured):
        assert (out / name).read_bytes() == (undisturbed / name).read_bytes(), name


def test_a_killed_run_ends_with_the_same_metrics_and_weights_bit_for_bit(arguments, undisturbed, tmp_path):
    out = tmp_path / "run"
    for step in (2, 7):  # before the first checkpoint, and three steps after it
        process = run(arguments, out, at=step)
        assert next_line(process) == "waiting\n", process.stderr.read()
        assert len((out / "metrics.jsonl").read_text().splitlines()) == step  # as they come
        process.send_signal(signal.SIGKILL)
        process.communicate()
        with open(out / "metrics.jsonl", "a") as metrics:
            metrics.write('{"step": ')  # what a kill in the middle of a line leaves
    (out / "checkpoint.safetensors.writing").write_bytes(b"half a check")  # and one in the middle of a checkpoint
    (out / "model.writing").mkdir()
    with open(out / "evaluations.jsonl", "a") as evaluations:
        evaluations.write('{"st')
    process = run(arguments, out)
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said
    assert_same_end(out, undisturbed)
    assert not list(out.glob("*.writing"))


@pytest.mark.skipif(sys.platform == "win32", reason="needs resource limits")
def test_a_full_disk_leaves_the_last_good_checkpoint_and_says_so(arguments, undisturbed, tmp_path):
    out = tmp_path / "run"
    process = run(arguments, out, at=7, what=50_000)  # a tenth of a checkpoint
    printed, said = process.communicate(timeout=PATIENCE)
    assert (process.returncode, printed) == (2, "")
    line = said.strip().splitlines()[-1]
    assert f"{out / 'checkpoint.safetensors'}: step 8 could not be saved; the checkpoint of step 4 is kept" in line
    assert "Traceback" not in said
    assert not list(out.glob("*.writing"))

    process = run(arguments, out)  # with room again
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said
    assert_same_end(out, undisturbed)


def test_a_checkpoint_that_cannot_be_used_stops_the_command_in_one_line(
    arguments, undisturbed, tmp_path, monkeypatch, capsys
):
    for name in ("run.json", "metrics.jsonl", "evaluations.jsonl", "checkpoint.safetensors"):
        (tmp_path / name).write_bytes((undisturbed / name).read_bytes())
    with open(tmp_path / "checkpoint.safetensors", "r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x55")
    monkeypatch.setattr(sys, "argv", ["dpo_book", *map(str, arguments), "--out", str(tmp_path)])
    with pytest.raises(SystemExit, match="2"):
        app.main()
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "checkpoint.safetensors is damaged" in said
