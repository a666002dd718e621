"""Pairs of texts that a reader labels by key or click."""

from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path
from typing import Any, Protocol

import anywidget
import traitlets

from dpo_book.widgets.parts import in_a_line

HERE = Path(__file__).parent
SAID = {"first": "left is better", "second": "right is better", "tie": "as good"}
HOW_TO_ANSWER = "Run the cell in JupyterLab to label the pairs."


class Session(Protocol):
    """What is labelled, as ``evaluation.labelling`` has it."""

    total: int
    answered: int
    finished: bool
    last: str | None
    shown: Callable[[int], tuple[str, str, str]]  # a prompt, and the texts on the left and on the right
    answer: Callable[[str], None]
    back: Callable[[], None]
    report: Callable[[Mapping[str, Any]], object]


class Labelling(anywidget.AnyWidget):
    """The pairs of a labelling session, one after the other, and at the end its report.

    others: judges by name, with whom the report compares. What the session raises stands below the buttons, in a
    line. ``state`` is all that the page shows. Without a kernel, on a static page, the first pair stands there.
    """

    _esm = HERE / "labelling.js"
    _css = HERE / "labelling.css"
    state = traitlets.Dict().tag(sync=True)

    def __init__(self, session: Session, others: Mapping[str, Any] | None = None):
        super().__init__()
        self._session, self._others = session, others or {}
        self.on_msg(self._hear)
        self._show(f"Pair 1 of {session.total}." if not session.answered else self._where())

    def _hear(self, _widget: object, said: dict, _buffers: list) -> None:
        """An answer, or "back", to the pair with this number. One that is gone by now was a key pressed twice."""
        if said["number"] != self._session.answered:
            return
        try:
            if said["place"] == "back":
                self._session.back()
            else:
                self._session.answer(said["place"])
        except Exception as error:  # a kernel would write it where nobody looks
            self._show(self._where(), in_a_line(error))
        else:
            self._show(self._where())

    def _where(self) -> str:
        """Which pair comes next, and what was said last."""
        answered, total = self._session.answered, self._session.total
        now = f"All {total} labelled." if self._session.finished else f"Pair {answered + 1} of {total}."
        return now if self._session.last is None else f"{now} Last answer: {SAID[self._session.last]}."

    def _show(self, says: str, error: str = "") -> None:
        number = self._session.answered
        prompt, left, right = ("", "", "") if self._session.finished else self._session.shown(number)
        self.state = {
            "turn": self.state.get("turn", 0) + 1,  # else the same error twice would be no news
            "number": number,
            "finished": self._session.finished,
            "says": says,
            "error": error,
            "prompt": prompt,
            "left": left,
            "right": right,
            "report": self._report() if self._session.finished else [],
        }

    def _report(self) -> list[str]:
        """A line a statement; of what goes wrong, one."""
        try:
            return str(self._session.report(self._others)).splitlines()
        except Exception as error:
            return [in_a_line(error)]

    def _repr_mimebundle_(self, **kwargs: object) -> tuple[dict, dict]:
        total = self._session.total
        parts = dict(zip(("Prompt", "Left", "Right"), self._session.shown(0), strict=True))
        page = [f"<p>{total} pairs of texts to label; the first of them:</p>"]
        words = [f"{total} pairs of texts to label; the first of them:"]
        for name, text in parts.items():
            # MathJax leaves a <pre> as it is.
            page.append(f'<p><b>{name}</b></p><pre dir="auto" style="white-space: pre-wrap">{escape(text)}</pre>')
            words += [f"{name}: {text}"]
        page.append(f"<p>{HOW_TO_ANSWER}</p>")
        words.append(HOW_TO_ANSWER)
        shown, metadata = super()._repr_mimebundle_(**kwargs)
        return shown | {"text/html": "".join(page), "text/plain": "\n".join(words)}, metadata
