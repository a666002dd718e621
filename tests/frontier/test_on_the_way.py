"""Figures of runs on the way, drawn from tables alone."""

from functools import partial

import pandas as pd
import pytest

from dpo_book.frontier import on_the_way
from dpo_book.frontier.methods import METHODS
from tests.frontier.competition import COMPETITION, OPTIMUM
from tests.plots.test_plots import (  # noqa: F401  what holds of every figure, here of this file's
    picture,
    test_a_figure_has_alt_text_and_a_picture,
    test_axes_are_named,
    test_nothing_is_drawn_on_the_outermost_pixels,
)

STRENGTHS = {name: 0.3 if method.symbol else 0.0 for name, method in METHODS.items() if name != "sft"}
PPO_RECORDS = [{"step": step, "objective": step / 9} for step in range(1, 9)]
PPO_EXACT = ([step / 9 for step in range(1, 9)], [0.1] * 8)
LONG_RUNS = pd.DataFrame(
    {"label": label, "seed": seed, "step": step, "kl": step / 9 + seed, "reward": step / (9 + step**2 / 30)}
    for label in ("few", "many")
    for seed in (0, 1)
    for step in (1, 3, 9, 30, 90)
)

FIGURES = {
    "over_optimisation": partial(on_the_way.over_optimisation, LONG_RUNS, OPTIMUM),
    "over_optimisation, no optimum": partial(on_the_way.over_optimisation, LONG_RUNS),
    "reward_by_cost": partial(on_the_way.reward_by_cost, COMPETITION, 0.3, goal=0.9, best=1.0),
    "reward_by_cost, no optimum": partial(on_the_way.reward_by_cost, COMPETITION, 0.3, goal=0.9),
    "sampled_objective": partial(on_the_way.sampled_objective, PPO_RECORDS, PPO_EXACT, highest=1.0),
    "at_budget": partial(on_the_way.at_budget, COMPETITION, STRENGTHS, 900, 0, OPTIMUM),
    "at_budget, nothing yet": partial(on_the_way.at_budget, COMPETITION, {"dpo": 1.0, "best-of-n": 0.3}, 10),
}


@pytest.fixture(params=FIGURES, ids=str, scope="module")
def figure(request):
    return FIGURES[request.param]()
