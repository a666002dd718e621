"""The stored runs behind chapter 11's comparison: what is measured, on which labels, and that nothing runs twice."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch

from dpo_book.maths.relatives.named import LOSSES
from dpo_book.worlds.verdicts import verdicts
from tools import after_dpo
from tools.record import NOTEBOOKS

STORED = after_dpo.table_in(NOTEBOOKS / "results")


@pytest.fixture(scope="module")
def ref_logp():
    """A made-up reference: any distribution will do to draw comparisons from."""
    world = verdicts()
    logits = torch.randn(world.rewards.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return logits.log_softmax(-1)


def reward_gaps(pairs):
    """r*(chosen) − r*(rejected) of each pair."""
    world = verdicts()
    gaps = []
    for pair in pairs:
        rewards = world.rewards[world.prompt_ids.index(pair.prompt)]
        gaps.append((rewards[world.index(pair.chosen)] - rewards[world.index(pair.rejected)]).item())
    return torch.tensor(gaps)


def test_each_condition_has_the_labels_that_its_name_says(ref_logp, monkeypatch):
    monkeypatch.setattr(after_dpo, "STEPS", 20)
    fresh, fresh_logps = after_dpo.comparisons(verdicts(), ref_logp, "fresh", 0)
    noisy, noisy_logps = after_dpo.comparisons(verdicts(), ref_logp, "noisy", 0)
    turned = torch.tensor([one.chosen == other.rejected for one, other in zip(fresh, noisy, strict=True)])
    assert abs(turned.double().mean() - 0.2) < 0.03  # 2,560 coins: a standard deviation is 0.008
    for one, other in zip(fresh_logps, reversed(noisy_logps), strict=True):
        torch.testing.assert_close(one[turned], other[turned])

    sure, _ = after_dpo.comparisons(verdicts(), ref_logp, "sure", 0)
    label, gaps = torch.tensor([pair.chosen_probability for pair in sure]), reward_gaps(sure)
    assert torch.equal(label == 1, gaps > 1e-9) and (gaps >= 0).all()
    assert set(label.tolist()) == {0.5, 1.0}

    few, _ = after_dpo.comparisons(verdicts(), ref_logp, "few", 0)
    assert len(few) == 500 and {pair.chosen_probability for pair in few} == {1.0}
    assert (reward_gaps(few) < 0).any()  # one voter may err


def test_every_loss_but_one_is_compared_and_noise_is_told_to_those_who_ask():
    assert set(after_dpo.BETAS) == set(LOSSES) - {"apo_down", "dpo_norm", "rdpo"}  # the last two need lengths
    assert after_dpo.settings_of("robust", "noisy") == {"label_smoothing": 0.2}
    assert after_dpo.settings_of("robust", "fresh") == {"label_smoothing": 0.1}
    assert after_dpo.settings_of("dpo", "noisy") == {}


def test_a_run_is_measured_along_its_way(monkeypatch):
    monkeypatch.setattr(after_dpo, "STEPS", 40)
    trial = after_dpo.Trial("few", "ipo", 0.25, 2e-3, 0)
    first, last = after_dpo.rows_of(*trial)
    assert (first["step"], last["step"]) == (20, 40)
    assert after_dpo.Trial(*[last[name] for name in after_dpo.Trial._fields]) == trial
    assert 0 < first["kl_to_reference"] < 2 and last["reward"] > 0.2  # the reference earns about 0
    assert last["date"] and last["hardware"] and last["versions"]


def test_rows_stand_in_the_order_of_the_trials_and_nothing_else_does():
    trials = after_dpo.trials()
    assert len(set(trials)) == len(trials)
    strange = after_dpo.Trial("few", "ipo", 7.0, 2e-3, 0)
    rows = pd.DataFrame([trial._asdict() | {"step": 20} for trial in [*reversed(trials), strange]])
    arranged = after_dpo.in_turn(rows)[list(after_dpo.Trial._fields)]
    assert list(arranged.itertuples(index=False, name=None)) == trials


def test_what_is_finished_is_not_run_again(tmp_path, capsys):
    path = Path(shutil.copy(STORED.path, tmp_path))
    written = path.stat()
    after_dpo.after_dpo(tmp_path)
    assert path.stat().st_mtime_ns == written.st_mtime_ns
    assert "kl_to_reference" in capsys.readouterr().out


def test_the_stored_table_holds_every_run_and_is_as_it_would_be_written_again():
    assert STORED.missing(after_dpo.trials()) == []
    assert STORED.text(STORED.read().to_dict("records")) == STORED.path.read_text()
