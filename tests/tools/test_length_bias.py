"""The stored runs behind chapter 11's judge who loves length: the labels, what is measured, nothing run twice."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from dpo_book import build_policy
from dpo_book.frontier.arena import SampledArena
from dpo_book.worlds.tiny_dialogues import TinyDialogues
from tools import length_bias
from tools.record import NOTEBOOKS

STORED = length_bias.table_in(NOTEBOOKS / "results")


@pytest.fixture(scope="module")
def arena():
    """The world with few prompts, short answers and a reference that has learned nothing."""
    world = TinyDialogues()
    world.prompts, world.max_new_tokens = world.prompts[:16], 12
    return SampledArena("tiny-dialogues", world, build_policy("micro", world.tokenizer))


def test_the_judge_who_loves_length_pays_for_every_token():
    """Answers of 5 and of 25 tokens, all as good: 20 tokens are 2 nats, so the longer is chosen σ(2) of the time."""
    world = SimpleNamespace(
        draw_prompts=lambda size, seed: [[0]] * size,
        rewards_of=lambda prompts, answers: torch.zeros(len(answers)),
    )
    made = SimpleNamespace(world=world, reference=None)
    made.sample = lambda policy, prompts, seed: [[1] * (25 if seed % 2 else 5)] * len(prompts)
    share = {}
    for judge in ("quality", "length"):
        pairs = length_bias.comparisons(made, judge, 4000, 0)
        share[judge] = sum(len(pair.chosen) == 25 for pair in pairs) / len(pairs)
    assert share["quality"] == pytest.approx(0.5, abs=0.04)  # a standard deviation is at most 0.008
    assert share["length"] == pytest.approx(0.881, abs=0.04)


def test_only_rdpo_is_told_and_all_have_as_many_runs():
    assert length_bias.SETTINGS == {"rdpo": {"length_penalty": length_bias.TASTE}}
    trials = length_bias.trials()
    assert len(set(trials)) == len(trials)
    runs = pd.DataFrame(trials).groupby(["judge", "loss"]).size()
    assert runs.nunique() == 1 and runs.index.tolist() == [
        ("length", "dpo"),
        ("length", "dpo_norm"),
        ("length", "rdpo"),
        ("length", "simpo"),
        ("quality", "dpo"),
    ]


def test_a_run_is_measured_with_what_it_was_and_where(arena, monkeypatch):
    monkeypatch.setattr(length_bias, "_arena", lambda: arena)
    for name, value in {"COMPARISONS": 16, "BATCH": 8, "STEPS": 2, "SAMPLES_A_PROMPT": 1}.items():
        monkeypatch.setattr(length_bias, name, value)
    trial = length_bias.Trial("length", "rdpo", 0.2, 3e-4, 0)
    (row,) = length_bias.rows_of(*trial)
    assert length_bias.Trial(*[row[name] for name in length_bias.Trial._fields]) == trial
    assert 1 <= row["tokens"] <= 12 and -5 <= row["reward"] <= 3
    assert row["kl_error"] > 0 and row["date"] and row["hardware"] and row["versions"]


def test_the_reference_is_at_no_kl(arena, monkeypatch):
    monkeypatch.setattr(length_bias, "SAMPLES_A_PROMPT", 1)
    assert length_bias.standing(arena, arena.reference)["kl"] == pytest.approx(0, abs=1e-5)
    assert torch.equal(length_bias._tokens([[1, 2], [3]]), torch.tensor([2.0, 1.0]))


def test_what_is_finished_is_not_run_again(tmp_path, capsys):
    path = Path(shutil.copy(STORED.path, tmp_path))
    written = path.stat()
    length_bias.length_bias(tmp_path)
    assert path.stat().st_mtime_ns == written.st_mtime_ns
    assert "tokens" in capsys.readouterr().out


def test_the_stored_table_holds_every_run_and_is_as_it_would_be_written_again():
    assert STORED.missing(length_bias.trials()) == []
    assert STORED.text(STORED.read().to_dict("records")) == STORED.path.read_text()
