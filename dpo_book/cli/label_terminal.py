"""Labelling at a terminal: what is printed, and what is typed."""

import io
import sys
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path

from dpo_book.cli.boundary import Refused
from dpo_book.evaluation.judges import Judge
from dpo_book.evaluation.labelling import LabellingSession

PLACES = {"1": "first", "2": "second", "=": "tie"}
BACK, STOP = "b", "q"
QUESTION = "better: 1 or 2, = as good, b back, q stop: "
# A text must not move the cursor, or ring: control characters are written out.
CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


def ask(session: LabellingSession) -> None:
    """Until all is answered, or one stops: by q, Ctrl-C, or the end of what is typed.

    Refused where nobody can type.
    """
    lines = iter(()) if session.finished else _lines()
    shown = None
    while not session.finished:
        if shown != session.answered:
            _show(session)
            shown = session.answered
        said = _typed(lines)
        if said == STOP:
            return
        _take(session, said)


def end(session: LabellingSession, others: Mapping[str, Judge], preferences: Path) -> None:
    """Say how to go on, what the answers so far say, and where they are, after the preferences are written."""
    if not session.finished:
        print(f"stopped after {session.answered} of {session.total} answers: the same command goes on from there")
    if not session.answered:
        return
    print(session.report(others))
    written = session.write_preferences(preferences)
    print(f"answers in {session.path}; {written} preferences for dpo --data {preferences}")


def _show(session: LabellingSession) -> None:
    prompt, first, second = session.shown(session.answered)
    print(f"\n=== pair {session.answered + 1} of {session.total}")
    for heading, text in {"prompt": prompt, "1": first, "2": second}.items():
        print(f"--- {heading}\n{written_out(text)}")


def written_out(text: str) -> str:
    """A text as a terminal can show it."""
    return text.replace("\r\n", "\n").translate(CONTROLS) or "(nothing)"


def _lines() -> Iterator[str]:
    """What is typed, line by line. Refused, before anything is asked, where nobody can type."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")  # an answer in another encoding is no answer
    if sys.stdin is not None and sys.stdin.isatty():
        return iter(sys.stdin.readline, "")
    first = sys.stdin.readline() if sys.stdin else ""
    if not first:
        raise Refused("nobody is there to answer: label at a terminal, or with --notebook in a notebook")
    return chain([first], iter(sys.stdin.readline, ""))


def _typed(lines: Iterator[str]) -> str:
    """The next line that is not blank; at the end, and for Ctrl-C, it is STOP."""
    try:
        said = ""
        while not said:
            print(QUESTION, end="", flush=True)
            said = next(lines).strip().lower()
        return said
    except (StopIteration, KeyboardInterrupt):
        print()
        return STOP


def _take(session: LabellingSession, said: str) -> None:
    if said in PLACES:
        session.answer(PLACES[said])
    elif said != BACK:
        print(f"{said!r} is no answer")
    elif session.answered:
        session.back()
    else:
        print("this is the first pair")
