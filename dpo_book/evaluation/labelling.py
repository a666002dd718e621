"""You as a judge: comparisons that a person labels, one after the other. Light: torch comes with the report alone.

Each comparison is shown in an order by lot. Some come again, later, with their texts swapped: how often one then says
the same tells how sure one is.
"""

import json
import os
import random
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dpo_book.data.messages import text_of
from dpo_book.evaluation.judges import Comparison, Judge, Judgement, Place, Shown, outcome_of, shown_in_order
from dpo_book.evaluation.labels_file import PLACES, LabelsFile, Question
from dpo_book.maths.require import SettingError, require_choice, require_seed
from dpo_book.system.files import write_text

if TYPE_CHECKING:
    from dpo_book.evaluation.labelling_report import LabellingReport

MOST_REPEATED = 1 / 3


class Showing(NamedTuple):
    """One time that a comparison is shown. row: which one, from 0. a_first: in which order."""

    row: int
    a_first: bool


def plan_showings(n: int, repeated_share: float = 1 / 6, seed: int = 0) -> list[Showing]:
    """All times that n comparisons are shown: each once, and a share of them again.

    Their order, and the text that comes first, are by lot. What comes again is drawn from the first third of the
    comparisons, and comes swapped among the last half: in between are about n/6 others at least, so that one does not
    just remember. It is one comparison or more where n is 3 or more, and ``repeated_share`` above 0.

    SettingError unless the share is in [0, 1/3].
    """
    require_seed("seed", seed)
    if not 0 <= repeated_share <= MOST_REPEATED:
        raise SettingError(f"repeated_share must be in [0, 1/3], got {repeated_share!r}")
    lot = random.Random(seed)
    rows = list(range(n))
    lot.shuffle(rows)
    once = [Showing(row, lot.random() < 0.5) for row in rows]
    third, half = n // 3, n - n // 2
    repeats = min(max(1, round(repeated_share * n)), third) if repeated_share else 0
    again = [Showing(row, not a_first) for row, a_first in lot.sample(once[:third], repeats)]
    last = once[half:] + again
    lot.shuffle(last)
    return once[:half] + last


class LabellingSession:
    """Comparisons that a person labels, and the file of the answers, with which a session goes on where it stopped.

    comparisons: prompt, a and b, each text or, of a conversation, a list of messages. Texts may be empty, or the
    same. path: a file of JSON lines, made with the first answer. The same comparisons, share and seed give the same
    session.

    SettingError for nothing to compare, or what is no text; LabelsError for a file that is damaged, or another
    session's. ``showings``: all that is shown, in order.
    """

    def __init__(
        self,
        comparisons: Sequence[Comparison],
        path: Path | str,
        repeated_share: float = 1 / 6,
        seed: int = 0,
    ):
        if not comparisons:
            raise SettingError("comparisons is empty: there is nothing to label")
        self.comparisons = [Comparison(*comparison) for comparison in comparisons]
        self._texts = _as_texts(self.comparisons)
        self.showings = plan_showings(len(self.comparisons), repeated_share, seed)
        self._file = LabelsFile(Path(path), [self._question(showing) for showing in self.showings])

    @property
    def path(self) -> Path:
        """The file of the answers."""
        return self._file.path

    @property
    def total(self) -> int:
        """How many answers the session asks for: one a comparison, and one more for those that come again."""
        return len(self.showings)

    @property
    def answered(self) -> int:
        """How many of them are given."""
        return len(self._file.places)

    @property
    def finished(self) -> bool:
        """Whether all are."""
        return self.answered == self.total

    @property
    def last(self) -> Place | None:
        """The last answer, which ``back`` would undo; None before the first."""
        return self._file.places[-1] if self._file.places else None

    def shown(self, number: int) -> Shown:
        """What is shown at a time, from 0; ``shown(session.answered)`` comes next."""
        row, a_first = self.showings[number]
        return shown_in_order(self._texts[row], a_first)

    def answer(self, place: Place) -> None:
        """Say of what comes next that the "first" text is better, or the "second", or "tie": as good.

        It is on the disk before this returns. SettingError for another answer, and where all are given; LabelsError
        where it cannot be written.
        """
        require_choice("place", place, PLACES)
        if self.finished:
            raise SettingError(f"all {self.total} answers are given: there is no pair left")
        self._file.add(place)

    def back(self) -> None:
        """Undo the last answer, in the file too. SettingError where there is none."""
        if not self.answered:
            raise SettingError("there is no answer to take back")
        self._file.take_back()

    def alone(self) -> AbstractContextManager[None]:
        """In a ``with``: the file is for this process alone. LabelsError if another one has it."""
        return self._file.alone()

    def judgements(self) -> dict[int, list[Judgement]]:
        """By row, from 0, what was said of a comparison: one judgement, or two if it came again by now."""
        found: dict[int, list[Judgement]] = {}
        for showing, place in zip(self.showings, self._file.places, strict=False):
            judgement = Judgement(outcome_of(place, showing.a_first), showing.a_first)
            found.setdefault(showing.row, []).append(judgement)
        return found

    def report(self, others: Mapping[str, Judge] | None = None) -> "LabellingReport":
        """What the answers so far say, and how far they agree with ``others``, judges by name.

        An exact quality is one by ``exact_judge``. ValueError before the first answer.
        """
        from dpo_book.evaluation.labelling_report import labelling_report

        return labelling_report(self.judgements(), self._texts, others or {})

    def preferences(self) -> list[dict]:
        """The answers so far as rows of ``load_preferences``: prompt, chosen, rejected, chosen_probability.

        The probability is 1; for "as good" it is 0.5, and of a comparison that came twice it is the mean: 1 for the
        same text both times, 0.5 for one and the other. Comparisons that nothing can be learned from are left out:
        of the same text twice, or with a text without a word.
        """
        from dpo_book.evaluation.labelling_report import preference_rows

        return preference_rows(self.judgements(), self.comparisons)

    def write_preferences(self, path: Path | str) -> int:
        """``preferences`` as JSON lines, whole or not at all; how many there are."""
        rows = self.preferences()
        lines = [f"{json.dumps(row)}\n" for row in rows]
        write_text(Path(os.fspath(path)), "".join(lines))
        return len(rows)

    def _question(self, showing: Showing) -> Question:
        shown = shown_in_order(self._texts[showing.row], showing.a_first)
        return Question(showing.row + 1, showing.a_first, *shown)


def _as_texts(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """As a person reads them. SettingError, with the comparison's number, for what is no text."""
    texts = []
    for number, comparison in enumerate(comparisons, start=1):
        try:
            read = Comparison(*map(text_of, comparison))
            "".join(read).encode()
        except UnicodeEncodeError:
            raise SettingError(f"comparison {number} has half a character (a lone surrogate)") from None
        except (TypeError, KeyError, IndexError, AttributeError):
            raise SettingError(
                f"comparison {number} must have a prompt, a and b, each text or messages, got {comparison!r:.80}"
            ) from None
        texts.append(read)
    return texts
