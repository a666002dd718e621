"""The benchmark of a GPU, without one: on a tiny model, so that its tables, losses and refusals can be checked."""

import json

import pandas as pd
import pytest
import torch

from tools import bench, bench_gpu

pytest.importorskip("trl")

TINY = {"size": "nano", "vocabulary": 50, "prompt": 6, "completion": 4, "batch": 2, "steps": 4}


@pytest.fixture
def tiny(monkeypatch):
    """The CPU in the GPU's place, and one tiny case in every table."""
    for name in ("synchronize", "empty_cache", "reset_peak_memory_stats"):
        monkeypatch.setattr(torch.cuda, name, lambda: None)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: 0)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 3_000_000)
    monkeypatch.setattr(bench_gpu, "TRL_ON_GPU", bench.TRL_SETTINGS)
    monkeypatch.setattr(bench_gpu, "best_device", lambda: torch.device("cpu"))
    case = bench.Case("tiny", **TINY)
    monkeypatch.setattr(bench_gpu, "CASES", [case, case])
    return case


def test_both_trainers_have_the_same_losses_on_the_same_batches(tiny, monkeypatch):
    monkeypatch.setattr(bench_gpu.GpuClock, "counted", lambda clock: 2.0)
    lines, losses = bench_gpu.compare(tiny, 0, matrix_rate=1e12)
    assert [line["what"] for line in lines] == ["dpo_book", "TRL"]
    assert [line["step"] for line in losses] == [1, 2, 3, 4, 5]
    assert all(line["relative_difference"] < 1e-5 for line in losses)
    assert lines[1]["times_trl"] == 1 and lines[0]["peak_mb"] == 3
    # two steps of the five, in two seconds, beside the rate that was given
    counted = bench.timed_operations(tiny, 0, "meta")
    assert len(counted) == tiny.steps + 1 and min(counted) > 0
    assert lines[0]["tflops"] == pytest.approx(sum(counted[3:]) / 2 / 1e12)
    assert lines[0]["share_of_matrix_rate"] == pytest.approx(sum(counted[3:]) / 2 / 1e12)
    assert lines[0]["pairs_per_second"] == 2 * 2 / 2


def test_the_first_steps_are_not_counted():
    clock = bench_gpu.GpuClock.__new__(bench_gpu.GpuClock)
    clock.wall, clock.cpu = [9.0, 9.0, 9.0, 1.0, 2.0], [8.0, 8.0, 8.0, 0.5, 0.25]
    assert clock.counted() == 3.0


def test_the_files_hold_every_table(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(bench_gpu, "gpu_is_here", lambda: True)
    monkeypatch.setattr(bench_gpu, "measured_matrix_rate", lambda: 5e13)
    monkeypatch.setattr(bench_gpu, "circumstances", lambda seed, rate: {"seed": seed, "matrix_tflops": rate / 1e12})
    monkeypatch.setattr(bench_gpu, "attention", lambda case, seed: [{"what": "dense mask", "milliseconds": 1.0}])
    monkeypatch.setattr(bench_gpu, "head_products", lambda: [{"what": "50304 rows", "tflops": 1.0}])
    monkeypatch.setattr(bench_gpu, "optimum", lambda beta, steps, seed: {"what": f"beta {beta}", "seconds": 1.0})
    bench_gpu.main(["--out", str(tmp_path / "results")])
    table = pd.read_csv(tmp_path / "results" / "bench-gpu.csv")
    assert set(table["table"]) == {"compare", "head", "attention", "optimum"}
    assert list(table[table["table"] == "compare"]["what"]) == ["dpo_book", "TRL"] * 2
    losses = pd.read_csv(tmp_path / "results" / "bench-gpu-losses.csv")
    assert list(losses["step"]) == [1, 2, 3, 4, 5] * 2
    assert json.loads((tmp_path / "results" / "bench-gpu.json").read_text()) == {"seed": 0, "matrix_tflops": 50}


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
def test_without_a_gpu_it_says_so_in_one_line(capsys):
    with pytest.raises(SystemExit) as stop:
        bench_gpu.main([])
    assert stop.value.code == 2
    said = "this measures a CUDA GPU, and this machine has none; make bench measures a CPU\n"
    assert capsys.readouterr().err == said
