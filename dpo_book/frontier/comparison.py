"""What a frontier's table says: the objective of every run, what a goal cost, methods side by side at one KL.

Tables are ``dpo_book.frontier.table``'s: one row a measurement, ``last`` where a run ended.
"""

import math

import numpy as np
import pandas as pd

__all__ = ["CLIMBERS", "CURRENCIES", "at_kl", "cost_of_goal", "gains", "objectives", "side_by_side", "tidy"]

CLIMBERS = ("dpo", "ppo", "ppo-gt")  # whose strength is β, and who have equation 3 to maximise
CURRENCIES = ("seconds", "passes", "generated_tokens", "judgements")


def objectives(table: pd.DataFrame) -> pd.DataFrame:
    """J = E[r*] − β KL of every finished policy (eq. 3, nats): a row a β and seed, a column a method.

    NaN where a method did not run. PPO's too is with the true reward: it was told r_φ, and is judged by r*.
    """
    runs = table[table["last"] & table["method"].isin(CLIMBERS)]
    runs = runs.assign(objective=runs["reward"] - runs["strength"] * runs["kl"])
    return runs.pivot(index=["strength", "seed"], columns="method", values="objective")


def gains(table: pd.DataFrame, method: str, strength: float) -> pd.DataFrame:
    """Gain over the reference in nats, a row a seed: of the learned reward, and of the true one."""
    names = ["learned_reward", "reward"]
    start = table[table["method"] == "sft"].set_index("seed")[names]
    runs = table[table["last"] & (table["method"] == method) & (table["strength"] == strength)]
    return runs.set_index("seed")[names] - start


def cost_of_goal(table: pd.DataFrame, beta: float, goal: float) -> pd.DataFrame:
    """What an expected reward of ``goal`` had cost DPO, PPO and PPO-GT: a row a method, seed and currency.

    below: when it was last measured below the goal before it was first measured above. above: that measurement.
    between: on the straight line from one to the other. Infinite, above and between, for a run that never is above.
    """
    rows = []
    at_beta = table[(table["strength"] == beta) & table["method"].isin(CLIMBERS)]
    for (method, seed), run in at_beta.groupby(["method", "seed"]):
        for currency in CURRENCIES:
            below, between, above = _crossing(run["reward"].to_numpy(), run[currency].to_numpy(float), goal)
            row = {"method": method, "seed": seed, "currency": currency}
            rows.append(row | {"below": below, "between": between, "above": above})
    return pd.DataFrame(rows)


def _crossing(reward: np.ndarray, cost: np.ndarray, goal: float) -> tuple[float, float, float]:
    """Cost when last below the goal, on the line, and when first at it. reward, cost: by measurement, in turn."""
    reached = np.flatnonzero(reward >= goal)
    if reached.size == 0:
        return cost[-1], np.inf, np.inf
    first = int(reached[0])
    if first == 0:  # nothing was measured below
        return cost[0], cost[0], cost[0]
    reward_below, reward_above = reward[first - 1], reward[first]
    cost_below, cost_above = cost[first - 1], cost[first]
    way = (goal - reward_below) / (reward_above - reward_below)
    between = cost_below + way * (cost_above - cost_below)
    return cost_below, between, cost_above


def at_kl(ends: pd.DataFrame, kl: float, column: str) -> float:
    """A column of one method's finished policies at this KL, on the straight line between two of them.

    NaN beyond the KLs that the method has: nothing is continued.
    """
    curve = ends.sort_values("kl")
    return float(np.interp(kl, curve["kl"], curve[column], left=np.nan, right=np.nan))


def side_by_side(ends: pd.DataFrame, method: str, others: list[str], column: str) -> pd.DataFrame:
    """A column at the KLs where ``method`` ended (a row each), beside that of other methods at the same KL.

    All are means over seeds of each strength.
    """
    means = ends.groupby(["method", "strength"])[["kl", column]].mean()
    own = means.loc[method].sort_values("kl")
    table = pd.DataFrame({"KL": own["kl"], method: own[column]})
    for other in others:
        table[other] = [at_kl(means.loc[other], kl, column) for kl in own["kl"]]
    return table


def tidy(value: float) -> str:
    """A number as a page's table shows it: two decimals, none from 20 up, a dash for NaN."""
    if math.isnan(value):
        return "–"
    return f"{value:.2f}" if abs(value) < 20 else f"{value:,.0f}"
