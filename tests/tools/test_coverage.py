"""The stored runs behind chapter 07's coverage: what is measured, and that nothing is run twice."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from tools import coverage

STORED = Path(__file__).parents[2] / "notebooks" / "results" / "coverage.csv"
TINY = coverage.Trial("policy", "soft", 0.3, steps=4, pairs=64, rounds=2, seed=0)


def test_a_run_is_measured_with_what_it_was_and_where():
    row = coverage.measure(TINY)
    assert coverage.trial_of(row) == TINY
    assert 3 < row["kl_to_optimum"] < 4  # after four steps about where it began
    assert 0 < row["kl_to_reference"] < 1
    assert 0.5 < row["optimum_unseen"] < 1 and 0.3 < row["policy_unseen"] < 1
    assert row["date"] and row["hardware"] and row["versions"]


def test_runs_are_one_trial_each():
    trials = coverage.trials()
    assert len(set(trials)) == len(trials)
    assert all(trial.steps % trial.rounds == trial.pairs % trial.rounds == 0 for trial in trials)


def test_what_is_finished_is_not_run_again(tmp_path, monkeypatch, capsys):
    ran = []

    def measured(trial):
        ran.append(trial)
        return coverage.asdict(trial) | {"kl_to_optimum": 0.1, "kl_to_reference": 0.2}

    monkeypatch.setattr(coverage, "measure", measured)
    monkeypatch.setattr(coverage, "trials", [TINY].copy)
    coverage.coverage(tmp_path)
    second = replace(TINY, seed=1)
    monkeypatch.setattr(coverage, "trials", [second, TINY].copy)
    coverage.coverage(tmp_path)
    assert ran == [TINY, second]
    assert pd.read_csv(tmp_path / "coverage.csv")["seed"].tolist() == [1, 0]
    assert "kl_to_optimum" in capsys.readouterr().out


@pytest.mark.parametrize("trial", coverage.trials(), ids=str)
def test_the_stored_table_holds_every_run(trial):
    assert trial in {coverage.trial_of(row) for row in pd.read_csv(STORED).to_dict("records")}
