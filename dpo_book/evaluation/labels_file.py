"""A person's answers, one a line in a file of JSON: written as they are given, taken back, kept after a kill."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from dpo_book.data.preferences import common_prefix_length
from dpo_book.data.rows import show
from dpo_book.evaluation.judges import Place
from dpo_book.system.files import make_folder

PLACES: tuple[Place, ...] = ("first", "second", "tie")  # what a person can say
WAIT = 2.0  # seconds, for another session to write its line


class LabelsError(RuntimeError):
    """Answers cannot be read or written; the message names the file, the line, and what to do."""


class Question(NamedTuple):
    """What a person is asked: which text is better. row: which comparison it is, from 1."""

    row: int
    a_first: bool
    prompt: str
    first: str
    second: str


class LabelsFile:
    """The answers to a list of questions, in their order: ``places``, as many as were given.

    To open it writes nothing: there is no file before the first answer, and a last line that was not finished is cut
    off with the next one. LabelsError for a file with a line that is no answer to the question there.
    """

    def __init__(self, path: Path, questions: Sequence[Question]):
        self.path, self._questions = path, questions
        self._lock = FileLock(path.with_name(f"{path.name}.lock"))
        self._lines: list[bytes] = []
        self.places: list[Place] = []
        self._found = _content(path)  # what is on the disk, as far as this object knows
        for number, line in enumerate(self._found.splitlines(keepends=True), start=1):
            self._take(number, line)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """For this process alone. LabelsError if another one has the file, or has changed it."""
        with self._locked(0):
            self._check_unchanged()
            yield

    def add(self, place: Place) -> None:
        """Write the answer to the next question, and wait until it is on the disk."""
        line = _line(self._questions[len(self.places)], place)
        self._write([*self._lines, line])
        self.places.append(place)

    def take_back(self) -> None:
        """Cut off the last answer."""
        self._write(self._lines[:-1])
        self.places.pop()

    def _take(self, number: int, line: bytes) -> None:
        """Read a line. One without an end is an answer if that is all that it lacks, and else no more than begun."""
        possible = self._possible(number)
        whole = line if line.endswith(b"\n") else line + b"\n"
        if whole in possible:
            self._lines.append(whole)
            self.places.append(possible[whole])
        elif whole is line or not any(answer.startswith(line) for answer in possible):
            said = show(line[:80].decode(errors="replace"))
            raise LabelsError(
                f"{self.path}, line {number}: {said} is no answer to the pair that is shown there: put the file back "
                "as it was, take the same comparisons and seed, or begin anew in another file"
            )

    def _possible(self, number: int) -> dict[bytes, Place]:
        """The lines that can stand there, and the answers that they are."""
        if number > len(self._questions):
            return {}
        return {_line(self._questions[number - 1], place): place for place in PLACES}

    def _write(self, lines: list[bytes]) -> None:
        """Have the file hold these lines: cut off what is too much, add what is missing."""
        wanted = b"".join(lines)
        kept = common_prefix_length(self._found, wanted)
        with self._locked(WAIT):
            self._check_unchanged()
            try:
                with open(self.path, "ab") as file:
                    file.truncate(kept)
                    file.write(wanted[kept:])
                    file.flush()
                    os.fsync(file.fileno())
            except OSError as error:
                with suppress(OSError):
                    os.truncate(self.path, kept)  # half a line is none
                    self._found = wanted[:kept]
                raise LabelsError(f"{self.path} cannot be written: {error.strerror or error}") from None
        self._lines, self._found = lines, wanted

    def _check_unchanged(self) -> None:
        if _content(self.path) != self._found:
            raise LabelsError(
                f"{self.path} was changed by another session: open this one anew, and it goes on from there"
            )

    @contextmanager
    def _locked(self, timeout: float) -> Iterator[None]:
        try:
            make_folder(self.path.parent)
            self._lock.acquire(timeout=timeout)
        except Timeout:
            raise LabelsError(f"{self.path} is being labelled by another process: finish there first") from None
        except OSError as error:
            raise LabelsError(f"{error.filename or self.path}: {error.strerror or error}") from None
        try:
            yield
        finally:
            self._lock.release()


def _line(question: Question, place: Place) -> bytes:
    return f"{json.dumps({**question._asdict(), 'place': place})}\n".encode()


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise LabelsError(f"{path}: {error.strerror or error}") from None
