"""The notebook in which a folder's session is labelled, and how it is opened.

It lies beside the session's files, and names no path.
"""

import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path

from dpo_book.system.files import write_text

NAME = "label.ipynb"
HOW = """\
# Which answer is better?

Run the cell, click into its frame, and answer by key: ← left, ↓ as good, → right, Backspace back. There are {total}
questions. Every answer enters `labels.jsonl` at once; the same cell goes on where you stopped."""
LABEL = """\
from dpo_book.evaluation.labelling_folder import open_session
from dpo_book.widgets import Labelling

session, others = open_session(".")
Labelling(session, others)"""
SEE = "What the answers say so far, and what they come to, for `python -m dpo_book dpo --data preferences.jsonl`:"
REPORT = """\
if session.answered:
    written = session.write_preferences("preferences.jsonl")
    print(session.report(others))
    print(f"{written} preferences are in preferences.jsonl")"""


def write_notebook(folder: Path, total: int) -> None:
    """label.ipynb, unless it is there: it may hold what somebody added."""
    path = folder / NAME
    if not path.exists():
        cells = [_cell("markdown", HOW.format(total=total)), _cell("code", LABEL)]
        cells += [_cell("markdown", SEE), _cell("code", REPORT)]
        for number, cell in enumerate(cells):
            cell["id"] = f"label-{number}"
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        notebook = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
        write_text(path, f"{json.dumps(notebook, indent=1, ensure_ascii=False)}\n")


def open_notebook(folder: Path) -> None:
    """At a terminal this process becomes JupyterLab, with label.ipynb open; elsewhere it says how to open it."""
    path = folder / NAME
    if not _can_become_jupyterlab():
        print(f"open it with: jupyter lab {path}")
        return
    print(f"opening {path} in JupyterLab", flush=True)
    # The whole path, for a relative one that begins with "-" would be an option.
    os.execv(sys.executable, [sys.executable, "-m", "jupyterlab", str(path.absolute())])


def _can_become_jupyterlab() -> bool:
    """Not on Windows: there a process is not replaced, and the shell would ask for the next command."""
    at_terminal = sys.stdout is not None and sys.stdout.isatty()
    return at_terminal and os.name == "posix" and find_spec("jupyterlab") is not None


def _cell(kind: str, source: str) -> dict:
    cell = {"cell_type": kind, "metadata": {}, "source": source}
    return cell | {"execution_count": None, "outputs": []} if kind == "code" else cell
