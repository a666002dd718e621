"""Long DPO runs: what a row says, and that finished runs are not run again."""

import pandas as pd

from tools import overoptimisation as tool
from tools.record import NOTEBOOKS


def test_a_run_is_measured_on_its_way_and_at_its_end(monkeypatch):
    monkeypatch.setattr(tool, "SETTINGS", tool.SETTINGS | {"steps": 6, "batch_size": 4})
    monkeypatch.setattr(tool, "MEASUREMENTS", 2)
    rows = tool.long_run("500 pairs", seed=0)
    assert [row["step"] for row in rows] == [5, 6]
    assert all(row["kl"] > 0 and row["pairs"] == 500 and row["beta"] == tool.BETA for row in rows)


def test_finished_runs_are_not_run_again(tmp_path):
    done = pd.DataFrame(tool.runs(), columns=tool.RUN)
    path = tmp_path / "overoptimisation.csv"
    done.to_csv(path, index=False)
    written = path.read_bytes()
    tool.overoptimisation(out=tmp_path, processes=1)
    assert path.read_bytes() == written


def test_the_stored_table_holds_every_run_and_is_as_it_would_be_written_again():
    stored = tool.table_in(NOTEBOOKS / "results")
    assert not stored.missing(tool.runs())
    assert stored.text(stored.read().to_dict("records")) == stored.path.read_text()
