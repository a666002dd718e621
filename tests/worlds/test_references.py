"""The references' names in the cache: nobody who has trained one trains it again because files have moved."""

import hashlib
import json

import pytest
import torch

from dpo_book.training.config import SFTConfig
from dpo_book.worlds import references
from dpo_book.worlds.tiny_summaries import tiny_summaries

# Digests of what the references of these worlds depend on, since training has an optimizer and a schedule to choose.
KEPT = {
    references.tiny_reviews_reference: "591f7f9bc77240ecbdf17251c1369a8258d1d5921a610e0c51ae72848769e21c",
    references.verdicts_reference: "2a6c5e86b1668cbf5f9e75c1a2edad8d17c0e5d315a2a198110b81ed12ec5910",
}


class Asked(Exception):
    """Stands for the work that the cache would have started."""


@pytest.fixture
def asked(monkeypatch):
    """What a reference asks of the cache, in order: (name, what it depends on)."""
    seen = []

    def cached(name, depends_on, build):
        seen.append((name, json.dumps(depends_on, sort_keys=True)))
        raise Asked

    monkeypatch.setattr(references, "cached", cached)
    return seen


@pytest.mark.parametrize("reference", KEPT)
def test_what_is_kept_stays_found(reference, asked):
    with pytest.raises(Asked):
        reference()
    ((_, depends_on),) = asked
    assert hashlib.sha256(depends_on.encode()).hexdigest() == KEPT[reference]


def test_every_reference_depends_on_its_world_and_seed(asked):
    for reference in (references.tiny_summaries_reference, references.tiny_dialogues_reference):
        for seed in (0, 1):
            with pytest.raises(Asked):
                reference(seed)
    assert [name for name, _ in asked] == ["tiny-summaries-reference"] * 2 + ["tiny-dialogues-reference"] * 2
    assert len({depends_on for _, depends_on in asked}) == 4
    assert "my <person> <deed> my <thing>." in asked[0][1] and "boil the water" in asked[2][1]


def test_a_reference_is_trained_once_and_speaks_its_world_s_words(monkeypatch, tmp_path):
    monkeypatch.setenv("DPO_BOOK_CACHE", str(tmp_path))
    monkeypatch.setattr(references, "CORPUS_SIZE", 16)
    monkeypatch.setattr(references, "SUMMARIES_SFT", SFTConfig(steps=1, batch_size=16))
    first = references.tiny_summaries_reference()
    monkeypatch.setattr(references, "train_sft", None)  # which it would need to train another
    again = references.tiny_summaries_reference()
    assert first.config.vocab_size == len(tiny_summaries().tokenizer) and first.config.n_layer == 2
    for one, other in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_every_text_is_read_once():
    """The steps of SFT go through each corpus once."""
    for sft in (references.SUMMARIES_SFT, references.DIALOGUES_SFT):
        assert sft.steps * sft.batch_size == references.CORPUS_SIZE
    assert references.REVIEWS_SFT.steps * references.REVIEWS_SFT.batch_size == references.REVIEWS_CORPUS_SIZE
