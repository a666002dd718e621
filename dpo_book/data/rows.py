"""A row of data with the place where it stands, and how its faults are told."""

import json
from collections.abc import Iterable, Iterator


def forms(first: str, second: str) -> str:
    """What a row has to be, for an error message, by the columns of its two sides."""
    return (
        f"a row is {{prompt, {first}, {second}}}, or {{{first}, {second}}} that both begin with the prompt; "
        'each is text, or a list of {"role", "content"} messages'
    )


FORMS = forms("chosen", "rejected")

Rows = Iterator[tuple[str, dict]]  # (where the row stands, for error messages; the row)


class PreferenceError(ValueError):
    """Preferences that cannot be trained on; the message says where the fault is and what would be right."""


def show(value) -> str:
    """A value for an error message, in at most 60 characters."""
    try:
        text = json.dumps(value, default=str)  # null, true, "text": as the file's writer knows them
    except (RecursionError, ValueError):  # nested without end, or a number of more digits than Python writes
        text = f"a value of type {type(value).__name__}"
    return text if len(text) <= 60 else text[:57] + "..."


def listed(names: Iterable) -> str:
    """Names for an error message, in quotes, at most twelve of them."""
    names = [_short(repr(str(name))) for name in names]
    return ", ".join([*names[:12], "..."] if len(names) > 12 else names) or "none"


def first_twice(names: Iterable[str]) -> str | None:
    """The first name that stands there a second time; None if each stands once."""
    seen = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def numbered(source, rows: Iterable) -> Rows:
    """Rows that have no line of their own, counted from 1."""
    return ((f"{source}, row {number}", row) for number, row in enumerate(rows, start=1))


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."
