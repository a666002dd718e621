"""A made-up competition of all methods, small enough to see what a figure has to show of it."""

import json

import pandas as pd

from dpo_book.frontier.methods import METHODS


def measurement(name, strength, seed, step):
    """A row as ``dpo_book.frontier.table`` writes it."""
    place = list(METHODS).index(name)
    answer = "a response that is long enough to be broken " * 5
    return {
        "method": name,
        "strength": strength,
        "seed": seed,
        "step": step,
        "last": step == 9,
        "passes": 100.0 * step,
        "generated_tokens": 300 + 40 * step,
        "seconds": 0.5 + step,
        "reward": step / 9 + 0.1 * place - 0.05 * seed,
        "reward_error": 0.02,
        "kl_error": 0.1,
        "kl": step / 3 * strength + 0.1 * seed,
        "learned_reward": step / 8,
        "samples": json.dumps([["the acting", answer]]),
    }


COMPETITION = pd.DataFrame(  # two strengths, two seeds, two measurements
    measurement(name, strength, seed, step)
    for name, method in METHODS.items()
    for strength in ((0.3, 1.0) if method.symbol else (0.0,))
    for seed in (0, 1)
    for step in ((0, 9) if method.train else (9,))
)
OPTIMUM = ([0, 1, 4], [0, 2, 3])
