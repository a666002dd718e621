"""Answers at several temperatures, and win rates: on a small world of dialogues and a model that knows nothing."""

from dataclasses import replace

import pandas as pd
import pytest
import torch

from dpo_book import build_policy
from dpo_book.frontier import by_temperature
from dpo_book.frontier.arena import SampledArena
from dpo_book.frontier.by_temperature import PEOPLE, method_answers, written_answers
from dpo_book.frontier.material import draw_material
from dpo_book.frontier.plans import TINY_DIALOGUES
from dpo_book.frontier.win_rates import outcomes, rates_by, read_answers
from dpo_book.training.config import RewardConfig
from dpo_book.worlds.tiny_dialogues import TinyDialogues
from tools.by_temperature import Run, rows_of, runs, table_in

PROMPTS = 16  # as many as a measured policy shows
SHORT = 6  # new tokens
TEMPERATURES = (0.0, 1.0)
PLAN = replace(
    TINY_DIALOGUES,
    comparisons=40,
    budget=320,
    batch_size=8,
    reward_model=RewardConfig(learning_rate=1e-3, batch_size=8, steps=2),
    ppo=replace(TINY_DIALOGUES.ppo, minibatch_size=8, epochs=1),
)


@pytest.fixture(scope="module")
def arena():
    world = TinyDialogues()
    world.prompts, world.max_new_tokens = world.prompts[:PROMPTS], SHORT
    return SampledArena("tiny-dialogues", world, build_policy("micro", world.tokenizer))


@pytest.fixture(autouse=True)
def fewer_temperatures(monkeypatch):
    monkeypatch.setattr(by_temperature, "TEMPERATURES", TEMPERATURES)


def float64(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_people_answer_every_prompt_and_are_rated_as_the_world_rates(arena):
    people = written_answers(arena)
    said = [arena.world.chosen_answer(prompt) for prompt in arena.world.prompts]
    rated = [arena.world.reward(x, y) for x, y in zip(arena.world.prompts, said, strict=True)]
    assert people.qualities.tolist() == rated
    assert people.words.tolist() == [len(text.split()) for text in said]
    assert people.texts == said[: by_temperature.SHOWN]


@pytest.mark.parametrize("name", ["sft", "preferred-ft", "dpo", "ppo"])
def test_every_method_answers_at_every_temperature_and_on_its_way(arena, name):
    trained = name != "sft"
    on_the_way = {2: (1.0,)} if trained else None
    answers = list(method_answers(arena, PLAN, name, 0.1, 0, on_the_way))
    at_the_end = answers[1:] if trained else answers
    assert [one.temperature for one in at_the_end] == list(TEMPERATURES)
    assert all(one.qualities.shape == one.words.shape == (PROMPTS,) for one in answers)
    if trained:
        assert (answers[0].step, answers[0].temperature) == (2, 1.0) and answers[1].step > 2


def test_looking_on_the_way_does_not_change_the_training(arena):
    looked = list(method_answers(arena, PLAN, "ppo", 0.1, 0, {1: (1.0,), 3: (0.5,)}))
    not_looked = list(method_answers(arena, PLAN, "ppo", 0.1, 0))
    for one, other in zip(looked[2:], not_looked, strict=True):
        assert one.texts == other.texts and torch.equal(one.qualities, other.qualities)


def test_methods_answer_independently_of_each_other(arena):
    """The same model under another name draws other answers, and greedily the same."""
    plan = replace(PLAN, learning_rates=dict.fromkeys(PLAN.learning_rates, 1e-12))
    sft = list(method_answers(arena, plan, "sft", 0.0, 0))
    dpo = list(method_answers(arena, plan, "dpo", 0.1, 0))
    assert sft[0].texts == dpo[0].texts
    assert sft[-1].texts != dpo[-1].texts


def test_best_of_n_has_the_highest_learned_reward_of_its_pool(arena):
    learned = draw_material(arena, PLAN.comparisons, replace(PLAN.reward_model, seed=0), 0).learned
    best, scores = arena.pick_best(4, learned, seed=0, temperature=1.0)
    pools = [arena.sample(arena.reference, arena.prompts, i, 1.0) for i in range(4)]
    of_all = torch.stack([learned(arena.prompts, pool) for pool in pools])
    torch.testing.assert_close(scores, of_all.amax(dim=0))
    torch.testing.assert_close(learned(arena.prompts, best), scores)
    answers = list(method_answers(arena, PLAN, "best-of-n", 4, 0))
    assert [one.temperature for one in answers] == list(TEMPERATURES)
    texts = arena.world.tokenizer.batch_decode(best, skip_special_tokens=True)
    assert answers[-1].texts == texts[: by_temperature.SHOWN]


def test_the_stored_table_gives_back_what_was_measured(arena, tmp_path, monkeypatch):
    monkeypatch.setattr("tools.by_temperature._arena", {"tiny-dialogues": arena}.__getitem__)
    monkeypatch.setattr("tools.by_temperature.PLANS", {"full": {"tiny-dialogues": PLAN}})
    wanted = [run for run in runs() if run.world == "tiny-dialogues" and run.method in (PEOPLE, "sft")]
    assert Run("tiny-dialogues", "sft", 0.0, 1) in wanted
    table = table_in(tmp_path)
    rows = [row for run in wanted for row in rows_of(*run)]
    table.path.write_text(table.text(rows), encoding="utf-8")
    assert not set(table.missing(wanted))
    answers = read_answers(table.path)
    sft, people = (answers[answers["method"] == name] for name in ("sft", PEOPLE))
    drawn = list(method_answers(arena, PLAN, "sft", 0.0, 1))
    last = sft[(sft["seed"] == 1) & (sft["temperature"] == 1.0)].iloc[0]
    torch.testing.assert_close(last["qualities"], drawn[-1].qualities)
    rates = rates_by("temperature", sft, people)
    assert list(rates) == list(TEMPERATURES)
    by_seed = [list(method_answers(arena, PLAN, "sft", 0.0, seed))[-1] for seed in range(3)]
    chosen = written_answers(arena).qualities
    expected = torch.stack([outcomes(one.qualities, chosen) for one in by_seed]).mean().item()
    assert rates[1.0].value == pytest.approx(expected)
    against_itself = rates_by("temperature", sft, sft)
    assert {rate.value for rate in against_itself.values()} == {0.5}
    assert isinstance(answers, pd.DataFrame) and answers["last"].all()
