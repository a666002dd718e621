"""Which rows are held out of training: drawn by prompt, so that no prompt is both trained on and measured."""

import random
from collections.abc import Hashable, Sequence

from dpo_book.maths.require import SettingError, require_finite, require_seed


def split_by_prompt(prompts: Sequence[Hashable], share: float, seed: int = 0) -> tuple[list[int], list[int]]:
    """Which rows (from 0, in order) are trained on, and which are held out: a prompt has all its rows on one side.

    prompts: the prompt of each row. Prompts are taken in an order by lot, and held out while that is at most
    ``share`` of the rows; where every prompt has more rows than that, the one with the fewest is.

    SettingError for a share that is not between 0 and 1; ValueError where there are not two prompts.
    """
    require_finite("share", share)
    if not 0 < share < 1:
        raise SettingError(f"share must be between 0 and 1, such as 0.1; got {share!r}")
    require_seed("seed", seed)
    rows_of: dict[Hashable, list[int]] = {}
    for row, prompt in enumerate(prompts):
        rows_of.setdefault(prompt, []).append(row)
    if len(rows_of) < 2:
        raise ValueError(
            f"there are {len(prompts)} rows of {len(rows_of)} prompt: to hold some out that are not trained on "
            "there have to be two prompts or more"
        )

    by_lot = list(rows_of.values())
    random.Random(seed).shuffle(by_lot)
    held_out: list[int] = []
    for rows in by_lot:
        if len(held_out) + len(rows) <= share * len(prompts):
            held_out += rows
    held_out = sorted(held_out or min(by_lot, key=len))
    apart = set(held_out)
    return [row for row in range(len(prompts)) if row not in apart], held_out
