"""What policies answer at several temperatures, and what it is worth: the paper's experiments of §6.2 and §6.3.

Where there is no list of responses, a policy is known by what it says. Here that is one answer to each of a world's
prompts, its exact quality and its length. ``win_rates.py`` compares two such lists, prompt by prompt.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from dpo_book.frontier.arena import SampledArena
from dpo_book.frontier.material import draw_material
from dpo_book.frontier.methods import METHODS, Plan, training
from dpo_book.worlds.tiny_dialogues import TinyDialogues
from dpo_book.worlds.tiny_reviews import TinyReviews
from dpo_book.worlds.tiny_summaries import TinySummaries

TEMPERATURES = (0.0, 0.25, 0.5, 0.75, 1.0)  # the paper's
PEOPLE = "written"  # in place of a method
SHOWN = 4  # answers that are kept as texts
# Who answers for people: what the paper's judges compared with, the reference summary and the chosen answer; of a
# review, how it really went on.
WRITTEN: Mapping[str, Callable[..., str]] = {
    "tiny-reviews": TinyReviews.written_ending,
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
    """What people wrote: the world's reference summary, chosen answer or ending of each prompt, without temperature.

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
