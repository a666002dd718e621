"""The reference's log-probabilities: kept for the next run where they can be, and a run that needs them goes on."""

import tempfile

import pytest
import torch

from dpo_book import DPOConfig
from dpo_book.training.reference import compute_reference_logps
from tests.small_data import uneven_pairs

CONFIG = DPOConfig(steps=3, batch_size=4)


def test_they_are_the_same_kept_or_not_and_another_configuration_s_are_others(reference, tmp_path, monkeypatch):
    monkeypatch.setenv("DPO_BOOK_CACHE", str(tmp_path / "cache"))
    plain = torch.stack(compute_reference_logps(reference, uneven_pairs(), CONFIG))
    for _ in range(2):  # computed and kept, then read
        kept = torch.stack(compute_reference_logps(reference, uneven_pairs(), CONFIG, keep=True))
        assert torch.equal(kept, plain)
    reference.config.activation_function = "relu"  # of the same weights
    compute_reference_logps(reference, uneven_pairs(), CONFIG, keep=True)
    assert len(list((tmp_path / "cache").glob("reference-logps-*[!k]"))) == 2


def test_where_nothing_can_be_kept_they_are_computed_all_the_same(reference, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("mine")
    monkeypatch.setenv("DPO_BOOK_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match=r"computes the reference's log-probabilities again: .*DPO_BOOK_CACHE"):
        kept = compute_reference_logps(reference, uneven_pairs(), CONFIG, keep=True)
    assert torch.equal(torch.stack(kept), torch.stack(compute_reference_logps(reference, uneven_pairs(), CONFIG)))
