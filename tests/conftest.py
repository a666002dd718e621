"""What several test files stand on: a small reference policy, and the command line in this process."""

import sys

import pytest
import torch

from dpo_book import build_policy
from dpo_book.cli import app
from dpo_book.worlds.verdicts import verdicts

# Files with a minute of work or more. Each is one process's; begun last, one would keep the other process waiting.
LONGEST = (
    ".ipynb",
    "test_families.py",
    "test_course.py",
    "test_browser.py",
    "test_reaches_optimum.py",
    "test_frontier.py",
    "test_sliders.py",
    "test_processes.py",
    "test_checkpoints.py",
    "test_start.py",
)


def pytest_collection_modifyitems(items):
    """The longest files first; and what is marked ``gpu`` is skipped by name where there is no GPU."""
    items.sort(key=_turn)
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs a CUDA GPU"))


def _turn(item):
    """The place of a test's file among the longest, or behind them all."""
    turns = [turn for turn, name in enumerate(LONGEST) if item.path.name.endswith(name)]
    return turns[0] if turns else len(LONGEST)


@pytest.fixture
def reference():
    """A nano GPT-2 over the verdicts' words, with fresh weights."""
    return build_policy("nano", verdicts().tokenizer, seed=3)


@pytest.fixture
def book(monkeypatch, capsys):
    """``book("dpo", ...)`` runs a command in this process: (exit status, what it printed, what it said on stderr)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["dpo_book", *map(str, arguments)])
        try:
            app.main()
            status = 0
        except SystemExit as stop:
            status = stop.code or 0
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run
