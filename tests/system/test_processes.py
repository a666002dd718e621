"""Several processes, each with the whole model (DDP) or a part of it (FSDP), compute what one computes alone."""

import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from tests.in_processes import KINDS, METHODS, train_whole
from tests.patience import PATIENCE
from tests.small_data import write_run

pytest.importorskip("peft")
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # peft's, of transformers


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder with the results of tests/in_processes.py, of both kinds."""
    folder = tmp_path_factory.mktemp("trained")
    launcher = ["torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    done = subprocess.run(
        [sys.executable, "-m", *launcher, "-m", "tests.in_processes", str(folder)],
        capture_output=True, text=True, timeout=PATIENCE, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module", params=KINDS)
def two(request, trained):
    """(kind, folder, the two processes' results) of tests/in_processes.py."""
    folder = trained / request.param
    return request.param, folder, [json.loads((folder / f"{index}.json").read_text()) for index in (0, 1)]


@pytest.mark.parametrize("method", METHODS)
def test_losses_and_weights_are_those_of_one_process(method, two, tmp_path):
    _, folder, results = two
    records, model, _ = train_whole(method, tmp_path)
    for result in results:
        for a, b in zip(result[method]["records"], records, strict=True):
            # Records are float32, which rounds at 6e-8, reference log-probabilities too; log π is about 10.
            assert a == pytest.approx(b, rel=1e-6, abs=1e-6)
    assert len({record["loss"] for record in records}) == len(records)  # it did train
    weights = load_file(folder / method / "weights")
    assert set(weights) == {name for name, _ in model.named_parameters()}
    for name, weight in model.named_parameters():
        # float64, but the reference log-probabilities came in float32; weights of 0.02 that moved by up to 0.005
        assert torch.allclose(weights[name], weight, rtol=0, atol=1e-7), name


@pytest.mark.parametrize("method", METHODS)
def test_each_process_holds_its_part(method, two, tmp_path):
    kind, _, results = two
    alone = train_whole(method, tmp_path, steps=0)[2]
    held = [result[method]["held"] for result in results]
    if kind == "ddp":
        assert held == [alone, alone]
    else:
        # Rows are dealt out whole, so that a matrix of an odd number of them is halved but for one.
        assert sum(held) == alone and max(held) < 0.51 * alone


def test_an_update_that_cannot_be_good_is_undone_in_every_process(two):
    assert all(result["comes back"] for result in two[2])


def test_a_checkpoint_of_two_processes_is_gone_on_with_by_one(two, tmp_path):
    _, folder, _ = two
    expected, whole, _ = train_whole("dpo", tmp_path)
    records, model, _ = train_whole("dpo", folder / "stopped")
    assert [record["step"] for record in records] == [4, 5, 6, 7]  # the checkpoint is of step 3
    for a, b in zip(records, expected[3:], strict=True):
        assert a == pytest.approx(b, rel=1e-6, abs=1e-6)
    for a, b in zip(model.parameters(), whole.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-7)


def test_a_checkpoint_of_two_processes_is_gone_on_with_by_two(two, tmp_path):
    expected = train_whole("dpo", tmp_path)[0]
    for result in two[2]:
        records = result["resumed"]["records"]
        assert [record["step"] for record in records] == [4, 5, 6, 7]
        for a, b in zip(records, expected[3:], strict=True):
            assert a == pytest.approx(b, rel=1e-6, abs=1e-6)


def test_a_mask_that_a_model_refuses_leaves_it_fit_for_training(two):
    assert all(result["refused"] for result in two[2])


# ------------------------------------------------------------------ the whole command, started by accelerate


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The command, and the records of one process."""
    folder = tmp_path_factory.mktemp("alone")
    # Eleven pairs in batches of five: the third, of one pair, leaves the second process without any.
    shape = ("--batch-size=5", "--steps=7", "--checkpoint-every=3", "--eval-every=3", "--eval-samples=6")
    held_out = folder / "held_out.jsonl"
    command = write_run(folder, *shape, "--eval-max-new-tokens=5", "--eval-data", held_out)
    held_out.write_text((folder / "pairs.jsonl").read_text().replace("the plot", "the acting"))
    records = launched([], command, folder / "out", folder / "cache")
    return command, records, evaluations(folder / "out")


def launched(launcher, command, out, cache):
    done = subprocess.run(
        [sys.executable, *launcher, *map(str, command), "--out", str(out)],
        capture_output=True, text=True, timeout=PATIENCE, check=False,
        env=os.environ | {"DPO_BOOK_CACHE": str(cache)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("the trained model is in") == 1
    assert (out / "model" / "model.safetensors").exists()
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def evaluations(out):
    rows = [json.loads(line) for line in (out / "evaluations.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "samples"} for row in rows]


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_of_accelerate_give_the_losses_of_one_at_the_same_global_batch(kind, alone, tmp_path):
    command, expected, measured = alone
    # --multi_gpu is accelerate's name for several processes here; without a GPU they are on the CPU (gloo).
    launcher = ["-m", "accelerate.commands.launch", "--multi_gpu" if kind == "ddp" else "--use_fsdp"]
    launcher += ["--num_processes=2", "--num_machines=1", "--mixed_precision=no", "--dynamo_backend=no"]
    records = launched([*launcher, "--main_process_port=0"], command, tmp_path / "out", tmp_path / "cache")
    assert len(expected) == 7
    expected = [dict(record) for record in expected]  # the other kind's, too
    for start in (expected[0], records[0]):  # the policy is the reference: each margin is rounding, or nothing
        assert start.pop("rewards/margins") == pytest.approx(0, abs=1e-5)
        assert 0 <= start.pop("rewards/accuracies") <= 1
    for a, b in zip(expected, records, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], abs=1e-5)
        assert a == pytest.approx(b, rel=1e-4, abs=1e-4)  # log-probabilities of about 10 nats are good to 1e-5
    assert len({record["loss"] for record in records}) == 7  # it did train
    found = evaluations(tmp_path / "out")
    assert [row["step"] for row in found] == [0, 3, 6, 7]
    for a, b in zip(measured, found, strict=True):
        assert a == pytest.approx(b, rel=1e-4, abs=1e-4)
    assert (tmp_path / "out" / "best" / "model.safetensors").exists()
    kept = list((tmp_path / "cache").glob("reference-logps-*/logps.safetensors"))
    assert len(kept) == 1  # computed by both, kept once
