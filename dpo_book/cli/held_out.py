"""A run's held-out data: read, or taken off those that it trains on, and cut to what is measured."""

import random
import warnings
from collections.abc import Sequence
from typing import NamedTuple

from dpo_book.cli.boundary import Refused
from dpo_book.cli.data import Data
from dpo_book.cli.eval_options import PAIRS, EvalOptions, EvalSettings
from dpo_book.cli.options import DataOptions

Rows = Sequence[tuple]  # pairs, or examples of SFT; either begin with their prompt's token ids


class HeldOut(NamedTuple):
    """The rows that a run is measured on, and how. prompts: of theirs, to be completed, each once, by lot."""

    rows: Rows
    settings: EvalSettings
    prompts: list[list[int]]

    def identity(self) -> dict[str, object]:
        """What decides how the run is measured, and when it may end, by the options' names."""
        from dpo_book.system.provenance import data_digest

        identity: dict[str, object] = {"eval_data": data_digest(self.rows)}
        for name, value in self.settings._asdict().items():
            option = name if name in EvalOptions.__dataclass_fields__ else f"eval_{name}"
            identity[option] = value
        return identity


def read_both(data: DataOptions, evaluation: EvalOptions, compares: bool = True) -> tuple[Data, Data | None]:
    """What a run trains on and what it is measured on, None where nothing is; compares as of ``Data``."""
    if evaluation.eval_data is not None:
        apart = evaluation.data_options(data)  # before anything is read, for it may refuse
        return Data(data, compares), Data(apart, compares)
    preferences = Data(data, compares)
    if evaluation.eval_share is not None:
        return preferences.split(evaluation.eval_share, evaluation.eval_seed or 0)
    return preferences, None


def held_out(
    rows: Rows, trained_on: Rows, evaluation: EvalOptions, settings: EvalSettings, context: int | None
) -> HeldOut:
    """Of the held-out ``rows`` those that are measured, in their order.

    Refused if there is only one, or none of their prompts leaves room in the ``context`` for what is to be drawn; a
    warning counts those whose prompt is trained on.
    """
    from dpo_book.cli.models import with_room

    by_lot = random.Random(settings.seed)
    most = evaluation.eval_pairs or PAIRS
    if evaluation.eval_data is not None and len(rows) > most:
        rows = [rows[i] for i in sorted(by_lot.sample(range(len(rows)), most))]
    if len(rows) < 2:
        share, data = f"--eval-share {evaluation.eval_share}", f"--eval-data {evaluation.eval_data}"
        option = share if evaluation.eval_data is None else data
        raise Refused(f"{option}: one row is held out, and an interval needs two or more: hold out more")
    _warn_of_known_prompts(rows, trained_on)
    prompts: list[list[int]] = []
    if settings.samples:
        distinct = [list(prompt) for prompt in dict.fromkeys(tuple(row[0]) for row in rows)]
        by_lot.shuffle(distinct)
        prompts = with_room(distinct, context, settings.max_new_tokens, "--eval-max-new-tokens")
    return HeldOut(rows, settings, prompts)


def _warn_of_known_prompts(rows: Rows, trained_on: Rows) -> None:
    prompts = {tuple(row[0]) for row in trained_on}
    known = sum(tuple(row[0]) in prompts for row in rows)
    if known:
        warnings.warn(
            f"{known} of {len(rows)} held-out rows have a prompt that is trained on: what they say holds for known "
            "prompts",
            stacklevel=3,
        )
