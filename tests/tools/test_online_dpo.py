"""The stored runs behind chapter 11's online DPO: who proposes, what is measured, and that nothing runs twice."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from dpo_book.maths.relatives.named import LOSSES
from tools import online_dpo
from tools.record import NOTEBOOKS

STORED = online_dpo.table_in(NOTEBOOKS / "results")


@pytest.mark.parametrize("proposal", online_dpo.PROPOSALS)
def test_a_run_is_measured_with_what_it_was_and_where(proposal, monkeypatch):
    monkeypatch.setattr(online_dpo, "STEPS", 3)
    trial = online_dpo.Trial(proposal, "ipo", 0.25, 2e-3, 0)
    (row,) = online_dpo.rows_of(*trial)
    assert online_dpo.Trial(*[row[name] for name in online_dpo.Trial._fields]) == trial
    assert 0 < row["kl_to_reference"] < 5 and 0 < row["reward"] < 2  # the reference earns about 0
    assert row["date"] and row["hardware"] and row["versions"]


def test_everybody_has_the_same_settings_and_as_many_pairs(monkeypatch):
    seen = {}
    for name in ("train_dpo", "train_online_dpo"):

        def trained(policy, reference, data, *settings, name=name):
            config = next(setting for setting in settings if isinstance(setting, online_dpo.DPOConfig))
            seen.setdefault((len(data), config), set()).add(name)
            return iter(())

        monkeypatch.setattr(online_dpo, name, trained)
    for proposal in online_dpo.PROPOSALS:
        online_dpo.measure(online_dpo.Trial(proposal, "dpo", 1.0, 2e-3, 1))
    ((size, _), names), *others = seen.items()
    assert not others and names == {"train_dpo", "train_online_dpo"}
    assert size == online_dpo.BATCH * online_dpo.STEPS


def test_runs_are_one_trial_each_and_rows_stand_in_their_order():
    trials = online_dpo.trials()
    assert len(set(trials)) == len(trials) and set(online_dpo.BETAS) < set(LOSSES)
    strange = online_dpo.Trial("uniform", "dpo", 1.0, 2e-3, 0)
    rows = pd.DataFrame([trial._asdict() for trial in [*reversed(trials), strange]])
    assert list(online_dpo.in_turn(rows).itertuples(index=False, name=None)) == trials


def test_what_is_finished_is_not_run_again(tmp_path, capsys):
    path = Path(shutil.copy(STORED.path, tmp_path))
    written = path.stat()
    online_dpo.online_dpo(tmp_path)
    assert path.stat().st_mtime_ns == written.st_mtime_ns
    assert "kl_to_reference" in capsys.readouterr().out


def test_the_stored_table_holds_every_run_and_is_as_it_would_be_written_again():
    assert STORED.missing(online_dpo.trials()) == []
    assert STORED.text(STORED.read().to_dict("records")) == STORED.path.read_text()
