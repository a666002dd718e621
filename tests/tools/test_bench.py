"""The benchmark, on models so small that only its numbers' form and the equality of losses can be checked."""

import json

import pandas as pd
import pytest

from tools import bench

pytest.importorskip("trl")

TINY = {"size": "nano", "vocabulary": 50, "prompt": 6, "completion": 4, "batch": 2, "steps": 2}


@pytest.fixture
def tiny(monkeypatch):
    """One tiny case in every table."""
    case = bench.Case("tiny", **TINY)
    for name in ("CASES", "MEMORY_CASES", "LEVER_CASES"):
        monkeypatch.setattr(bench, name, [case])
    monkeypatch.setattr(bench, "GROWTH", {"batch": [1]})
    return case


def test_both_trainers_have_the_same_losses_on_the_same_batches(tiny):
    lines, losses = bench.compare(tiny, seed=0)
    assert [line["what"] for line in lines] == ["dpo_book", "TRL"]
    assert [line["step"] for line in losses] == [1, 2, 3]
    assert all(line["relative_difference"] < 1e-5 for line in losses)
    assert len({line["TRL"] for line in losses}) == 3
    assert all(line["pairs_per_second"] > 0 for line in lines)
    assert lines[1]["times_trl"] == 1


def test_the_files_hold_every_table(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "peak_memory", lambda case, what, seed: {"peak_mb": 1.0, "state_mb": 0.5})
    bench.main(["--out", str(tmp_path / "results")])
    table = pd.read_csv(tmp_path / "results" / "bench-cpu.csv")
    assert set(table["table"]) == {"compare", "memory", "levers", "growth"}
    for name in ("case", "what", *TINY, "pairs_per_second", "pairs_per_cpu_second", "times_trl", "peak_mb"):
        assert name in table.columns, name
    assert list(table[table["table"] == "levers"]["what"]) == list(bench.LEVERS)
    losses = pd.read_csv(tmp_path / "results" / "bench-cpu-losses.csv")
    assert {"case", "step", "dpo_book", "TRL", "relative_difference"} == set(losses.columns)
    about = json.loads((tmp_path / "results" / "bench-cpu.json").read_text())
    assert {"date", "processor", "cores", "threads", "torch", "transformers", "trl", "seed"} <= set(about)
    assert not list(tmp_path.rglob("*.writing"))


@pytest.mark.parametrize("what", ["dpo_book", "TRL"])
def test_peak_memory_is_that_of_a_process_of_its_own(what):
    measured = bench.peak_memory(bench.Case("tiny", **TINY), what, seed=0)
    assert 0 < measured["state_mb"] < measured["peak_mb"] < 1000


def test_a_folder_that_cannot_be_is_named(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit):
        bench.main(["--out", str(tmp_path / "file" / "results")])
    assert "cannot write to" in capsys.readouterr().err
