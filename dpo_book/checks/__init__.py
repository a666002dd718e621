"""Exercises: a file a chapter, and ``judge``, which tries a reader's answers and says what is wrong with them."""

import importlib
import pkgutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dpo_book.checks.judge import Exercise


def exercises() -> dict[str, "Exercise"]:
    """All exercises of all chapters, by their names."""
    from dpo_book.checks.judge import Exercise

    found = {}
    for module in pkgutil.iter_modules(__path__):
        for value in vars(importlib.import_module(f"{__name__}.{module.name}")).values():
            if isinstance(value, Exercise):
                found[value.name] = value
    return found
