"""The benchmark, on models so small that only its numbers' form and the equality of losses can be checked."""

import dataclasses
import json
from functools import partial

import pandas as pd
import pytest
import torch

from dpo_book.system.operations import operations
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
    monkeypatch.setattr(bench, "matrix_rate", lambda: 50.0)  # which multiplies for seconds
    bench.main(["--out", str(tmp_path / "results")])
    table = pd.read_csv(tmp_path / "results" / "bench-cpu.csv")
    assert set(table["table"]) == {"compare", "memory", "levers", "growth"}
    for name in ("case", "what", *TINY, "pairs_per_second", "pairs_per_cpu_second", "times_trl", "peak_mb"):
        assert name in table.columns, name
    assert list(table[table["table"] == "levers"]["what"]) == list(bench.LEVERS)
    losses = pd.read_csv(tmp_path / "results" / "bench-cpu-losses.csv")
    assert {"case", "step", "dpo_book", "TRL", "relative_difference"} == set(losses.columns)
    about = json.loads((tmp_path / "results" / "bench-cpu.json").read_text())
    assert about["matrix_gflops"] == 50
    assert {"date", "processor", "cores", "threads", "torch", "transformers", "trl", "seed"} <= set(about)
    assert not list(tmp_path.rglob("*.writing"))


def test_peak_memory_is_that_of_a_process_of_its_own():
    measured = bench.peak_memory(bench.Case("tiny", **TINY), "TRL", seed=0)
    assert 0 < measured["state_mb"] < measured["peak_mb"] < 1000


@pytest.mark.parametrize("what", ["dpo_book", *bench.LEVERS])
def test_what_such_a_process_does_for_the_others(what, capsys):
    """In this one, whose own peak may lie before, so that no more than the form of the answer is checked."""
    case = dataclasses.asdict(bench.Case("tiny", **TINY))
    bench.print_peak(json.dumps(case), what, "0")
    measured = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(measured) == {"peak_mb", "state_mb"} and measured["state_mb"] > 0


def test_every_lever_gives_the_same_log_probabilities():
    case = bench.Case("tiny", **TINY)
    model, pairs = case.model(0), case.pairs(0)
    found = [torch.stack(lever.scorer(model)(pairs)) for lever in bench.LEVERS.values()]
    for logps in found[1:]:
        torch.testing.assert_close(logps, found[0], rtol=1e-5, atol=1e-5)


def test_levers_of_which_operations_tell_save_some():
    """All but the reference and the order of batches, which lie outside; and parts, which are for memory."""
    case = bench.Case("tiny", **(TINY | {"prompt": 20, "answers": 4, "batch": 6}))
    model, pairs = case.model(0), case.pairs(0)[:6]
    telling = ["textbook", "+ logits of completions only", "+ shared prompt", "+ last block where read"]
    counts = []
    for name in [*telling, "+ each completion once"]:
        score = bench.LEVERS[name].scorer(model)
        score(pairs)  # the first time a model is tried as well
        counts.append(operations(partial(score, pairs)))
    assert counts == sorted(counts, reverse=True) and len(set(counts)) == len(counts)


def test_a_slip_is_answered_in_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    for arguments, says in (
        (["--out", str(tmp_path / "file" / "results")], "cannot write to"),
        (["--quik"], "--quik"),
        (["--seed", "one"], "--seed"),
    ):
        with pytest.raises(SystemExit) as stop:
            bench.main(arguments)
        said = capsys.readouterr().err
        assert stop.value.code == 2 and says in said and said.count("\n") == 1, said
