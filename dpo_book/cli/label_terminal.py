"""Labelling at a terminal: what is printed, and what is typed."""

import io
import sys
from collections.abc import Mapping
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

    Refused where nothing can be typed.
    """
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")  # an answer in another encoding is no answer
    heard, shown = False, None
    while not session.finished:
        if shown != session.answered:
            _show(session)
            shown = session.answered
        said = _typed()
        if not (said or heard or _is_terminal()):
            raise Refused("nobody is there to answer: label at a terminal, or with --notebook in a notebook")
        heard = True
        if said in ("", STOP):
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


def _typed() -> str:
    """What stands on the next line that is not blank; nothing at the end, or for Ctrl-C."""
    try:
        while True:
            print(QUESTION, end="", flush=True)
            line = sys.stdin.readline() if sys.stdin else ""
            if line.strip():
                return line.strip().lower()
            if not line:
                print()
                return ""
    except KeyboardInterrupt:
        print()
        return ""


def _take(session: LabellingSession, said: str) -> None:
    if said in PLACES:
        session.answer(PLACES[said])
    elif said != BACK:
        print(f"{written_out(said)!r} is no answer")
    elif session.answered:
        session.back()
    else:
        print("this is the first pair")


def _is_terminal() -> bool:
    return bool(sys.stdin) and sys.stdin.isatty()
