"""The stored runs behind chapter 07's coverage: what is measured, and that nothing is run twice."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from tools import coverage
from tools.record import NOTEBOOKS

STORED = coverage.table_in(NOTEBOOKS / "results")
TINY = coverage.Trial("policy", "soft", 0.3, steps=4, pairs=64, rounds=2, seed=0)


def test_a_run_is_measured_with_what_it_was_and_where():
    (row,) = coverage.rows_of(*TINY)
    assert coverage.Trial(*[row[name] for name in coverage.Trial._fields]) == TINY
    assert 3 < row["kl_to_optimum"] < 4  # after four steps about where it began
    assert 0 < row["kl_to_reference"] < 1
    assert 0.5 < row["optimum_unseen"] < 1 and 0.3 < row["policy_unseen"] < 1
    assert row["date"] and row["hardware"] and row["versions"]


def test_runs_are_one_trial_each():
    trials = coverage.trials()
    assert len(set(trials)) == len(trials)
    assert all(trial.steps % trial.rounds == trial.pairs % trial.rounds == 0 for trial in trials)


def test_rows_stand_in_the_order_of_the_trials_and_nothing_else_does():
    trials = coverage.trials()
    rows = pd.DataFrame([trial._asdict() for trial in [*reversed(trials), TINY]])
    arranged = coverage.in_turn(rows)
    assert list(arranged.itertuples(index=False, name=None)) == trials


def test_what_is_finished_is_not_run_again(tmp_path, capsys):
    path = Path(shutil.copy(STORED.path, tmp_path))
    written = path.stat()
    coverage.coverage(tmp_path)
    assert path.stat().st_mtime_ns == written.st_mtime_ns
    assert "kl_to_optimum" in capsys.readouterr().out


@pytest.mark.parametrize("trial", coverage.trials(), ids=str)
def test_the_stored_table_holds_every_run(trial):
    assert not STORED.missing([trial])


def test_the_stored_table_is_as_it_would_be_written_again():
    assert STORED.text(STORED.read().to_dict("records")) == STORED.path.read_text()
