"""Exercises: a file a chapter, and ``judge``, which tries a reader's answers and says what is wrong with them."""

import importlib
import pkgutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dpo_book.checks.judge import Exercise


def exercises() -> dict[str, "Exercise"]:
    """All exercises of all chapters, each by its check's name without check_."""
    from dpo_book.checks.judge import Exercise

    found = {}
    for module in pkgutil.iter_modules(__path__):
        for name, value in vars(importlib.import_module(f"{__name__}.{module.name}")).items():
            if isinstance(value, Exercise):
                found[name.removeprefix("check_")] = value
    return found
