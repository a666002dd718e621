"""The pairs that ``label`` shows: preferences whose label is put aside, or texts that have none."""

import json
import random
from collections.abc import Iterator
from statistics import fmean

from dpo_book.cli.data import read_preferences
from dpo_book.cli.options import PAPER_SETS, SourceOptions
from dpo_book.data.columns import SIDES
from dpo_book.data.preferences import Preference, preference_of
from dpo_book.data.reading import read_rows
from dpo_book.data.rows import PreferenceError, listed, show
from dpo_book.evaluation.labelling_folder import Row

NAMES = ("a", "b")  # of the columns of two texts of which none is chosen yet


def read_pairs(options: SourceOptions, most: int, seed: int) -> list[Row]:
    """At most so many of the data's distinct pairs, drawn by lot. PreferenceError for what cannot be compared."""
    rows = _distinct(_unlabelled(options) if _has_no_labels(options) else _labelled(options))
    if not rows:
        raise PreferenceError(f"{options.data}: a and b are the same in every row")
    random.Random(seed).shuffle(rows)
    return rows[:most]


def _distinct(rows: Iterator[Row]) -> list[Row]:
    """Each pair once, as it stands first; one that is labelled several times has the mean of its labels."""
    found: dict[str, Row] = {}
    labels: dict[str, list[float]] = {}
    for row in rows:
        both = sorted(json.dumps(text) for text in (row.a, row.b))
        key = json.dumps([row.prompt, both])
        first = found.setdefault(key, row)
        if row.a_probability is not None:
            of_first = row.a_probability if row.a == first.a else 1 - row.a_probability
            labels.setdefault(key, []).append(of_first)
    for key, said in labels.items():
        found[key] = found[key]._replace(a_probability=fmean(said))
    return list(found.values())


def _has_no_labels(options: SourceOptions) -> bool:
    """Whether the first row has the columns a and b, and not chosen and rejected."""
    if options.data in PAPER_SETS:
        return False
    rows = read_rows(options.data, options.split, options.configuration)
    _, first = next(rows, ("", None))
    return isinstance(first, dict) and first.keys() >= set(NAMES) and not set(SIDES) & first.keys()


def _labelled(options: SourceOptions) -> Iterator[Row]:
    for preference in read_preferences(options):
        yield _row(preference, preference.chosen_probability)


def _unlabelled(options: SourceOptions) -> Iterator[Row]:
    """As preferences are read, with a for chosen and b for rejected, and all their checks."""
    for where, row in read_rows(options.data, options.split, options.configuration):
        if not isinstance(row, dict) or not row.keys() >= set(NAMES):
            raise PreferenceError(f"{where}: is {show(row)}, and the first row has the columns a and b")
        if labels := row.keys() & {*SIDES, "chosen_probability"}:
            raise PreferenceError(f"{where}: has {listed(sorted(labels))} beside a and b: keep to one form")
        try:
            preference = preference_of(where, row, options.prompt_columns(), NAMES)
        except PreferenceError as error:
            raise PreferenceError(f"{where}: {error}") from None
        if preference is not None:
            yield _row(preference, None)


def _row(preference: Preference, a_probability: float | None) -> Row:
    """PreferenceError for what only a chat template reads, which nobody would see and nothing would keep."""
    if preference.tools or preference.chat_template_kwargs:
        raise PreferenceError(f"{preference.where}: has tools or chat_template_kwargs, which label cannot show")
    return Row(preference.prompt, preference.chosen, preference.rejected, a_probability)
