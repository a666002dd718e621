"""What policies answer at several temperatures, and what it is worth: the paper's experiments of §6.2 and §6.3.

Where there is no list of responses, a policy is known by what it says. Here that is one answer to each of a world's
prompts, its exact quality and its length. A win rate compares two such lists, prompt by prompt.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor
from transformers import PreTrainedModel

from dpo_book.frontier.arena import SampledArena
from dpo_book.frontier.material import draw_material
from dpo_book.frontier.methods import METHODS, Plan, training
from dpo_book.maths.estimates import Interval, win_rate_interval
from dpo_book.maths.shapes import require_one_shape
from dpo_book.worlds.tiny_dialogues import TinyDialogues
from dpo_book.worlds.tiny_summaries import TinySummaries

__all__ = [
    "PEOPLE",
    "outcomes",
    "rates_by",
    "read_answers",
    "sampled_answers",
    "win_rate_over_seeds",
    "wins_between",
    "written_answers",
]

TEMPERATURES = (0.0, 0.25, 0.5, 0.75, 1.0)  # the paper's
RUN = ["world", "method", "strength", "seed"]  # columns that tell a run
PEOPLE = "written"  # in place of a method
SHOWN = 4  # answers that are kept as texts
# Who answers for people: what the paper's judges compared with, the reference summary and the chosen answer.
WRITTEN: Mapping[str, Callable[..., str]] = {
    "tiny-summaries": TinySummaries.reference_summary,
    "tiny-dialogues": TinyDialogues.chosen_answer,
}


class Answers(NamedTuple):
    """One answer to each of P prompts. step: of the training that the policy had behind it."""

    step: int
    temperature: float
    qualities: Tensor  # (P,) r*, nats
    words: Tensor  # (P,) int64
    texts: list[str]  # the first ``SHOWN``


def written_answers(arena: SampledArena) -> Answers:
    """What people wrote: the world's reference summary, or chosen answer, of each prompt; they have no temperature.

    KeyError for a world that has none.
    """
    write = WRITTEN[arena.name]
    texts = [write(arena.world, prompt) for prompt in arena.world.prompts]
    return _rated(arena, 0, 0.0, texts)


def sampled_answers(
    arena: SampledArena, policy: PreTrainedModel, temperatures: Sequence[float], seed: int, step: int = 0
) -> Iterator[Answers]:
    """What a policy says at each temperature. Give every policy a seed of its own: a win rate is of independent
    answers."""
    for place, temperature in enumerate(temperatures):
        completions = arena.sample(policy, arena.prompts, seed + place, temperature)
        yield _rated(arena, step, temperature, _texts(arena, completions))


def method_answers(
    arena: SampledArena,
    plan: Plan,
    name: str,
    strength: float,
    seed: int,
    on_the_way: Mapping[int, Sequence[float]] | None = None,
) -> Iterator[Answers]:
    """Train by a method of ``METHODS`` and let it answer at ``TEMPERATURES``; best-of-n picks among the reference's.

    on_the_way: step → temperatures at which the policy answers too when it has had so many.
    """
    method = METHODS[name]
    own_seed = 1000 * seed + 100 + 10 * list(METHODS).index(name)  # best-of-n draws with 1000 · seed and on
    if name == "best-of-n":
        learned = draw_material(arena, plan.comparisons, replace(plan.reward_model, seed=seed), seed).learned
        for temperature in TEMPERATURES:
            n = int(strength) if temperature else 1  # at 0 all answers to a prompt are the same
            completions, _ = arena.pick_best(n, learned, seed, temperature)
            yield _rated(arena, 0, temperature, _texts(arena, completions))
        return
    if method.train is None:
        yield from sampled_answers(arena, arena.reference, TEMPERATURES, own_seed)
        return
    policy, records = training(arena, plan, name, strength, seed)
    step = 0
    for step, _ in enumerate(records, start=1):
        if on_the_way and step in on_the_way:
            yield from sampled_answers(arena, policy, on_the_way[step], own_seed, step)
    yield from sampled_answers(arena, policy, TEMPERATURES, own_seed, step)


def outcomes(qualities: Tensor, other_qualities: Tensor) -> Tensor:
    """1 where the first is better, 0 where it is worse, 0.5 for the very same quality; any one shape, float64."""
    require_one_shape(qualities=qualities, other_qualities=other_qualities)
    return ((qualities - other_qualities).sign().double() + 1) / 2


def win_rate_over_seeds(by_seed: Sequence[Tensor]) -> Interval:
    """The mean of outcomes (P,) of several seeds on the same prompts, with its 95 % interval.

    A prompt counts once, by the mean over seeds: its outcomes depend on each other. So the interval is for other
    prompts, and these seeds.
    """
    return win_rate_interval(torch.stack(list(by_seed)).double().mean(dim=0))


# ------------------------------------------------------------------ the stored table


def read_answers(path: Path) -> pd.DataFrame:
    """A table of ``tools.by_temperature``; ``qualities`` are tensors (P,) again, and so are ``words``.

    last: whether a row is of a finished policy.
    """
    answers = pd.read_csv(path)
    for column in ("qualities", "words"):
        answers[column] = answers[column].map(_numbers)
    latest = answers.groupby(RUN)["step"].transform("max")
    return answers.assign(last=answers["step"] == latest)


def rates_by(column: str, answers: pd.DataFrame, others: pd.DataFrame) -> dict[float, Interval]:
    """The win rate of ``answers`` against ``others`` at each value of ``column``, over the seeds of both.

    Rows meet at the same seed and temperature; people's, who have neither, meet all.
    """
    met = ["world", "seed", "temperature"]
    if set(others["method"]) == {PEOPLE}:
        met = ["world"]
    meetings = answers.merge(others, on=met, suffixes=("", "_of_other"))
    rates = {}
    for value, at_value in meetings.groupby(column):
        by_seed = [
            outcomes(*both) for both in zip(at_value["qualities"], at_value["qualities_of_other"], strict=True)
        ]
        rates[value] = win_rate_over_seeds(by_seed)
    return rates


def wins_between(groups: Sequence[pd.DataFrame]) -> Tensor:
    """How often each of n policies won over each other one, a tie half, over prompts and seeds: (n, n) float64.

    groups: a policy's rows, one a seed, in the order of the seeds.
    """
    qualities = [torch.stack(list(rows["qualities"])) for rows in groups]  # (seeds, P) each
    wins = torch.zeros(len(groups), len(groups), dtype=torch.float64)
    for i, ours in enumerate(qualities):
        for j, theirs in enumerate(qualities):
            if i != j:
                wins[i, j] = outcomes(ours, theirs).sum()
    return wins


def _numbers(text: str) -> Tensor:
    return torch.tensor([float(number) for number in text.split()], dtype=torch.float64)


# ------------------------------------------------------------------ what an answer is worth


def _texts(arena: SampledArena, completions: Sequence[list[int]]) -> list[str]:
    return arena.world.tokenizer.batch_decode(list(completions), skip_special_tokens=True)


def _rated(arena: SampledArena, step: int, temperature: float, texts: list[str]) -> Answers:
    qualities = [arena.world.reward(prompt, text) for prompt, text in zip(arena.world.prompts, texts, strict=True)]
    words = [len(text.split()) for text in texts]
    return Answers(
        step,
        temperature,
        torch.tensor(qualities, dtype=torch.float64),
        torch.tensor(words),
        texts[:SHOWN],
    )
