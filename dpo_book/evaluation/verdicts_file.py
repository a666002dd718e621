"""Verdicts as they were given, one a line in a file of JSON: added as they come, kept after a kill, replayed."""

import hashlib
import json
import os
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, get_type_hints

from filelock import FileLock, Timeout

from dpo_book.data.rows import show
from dpo_book.evaluation.instructions import Instruction, message
from dpo_book.evaluation.judges import PLACES, Answer, Judge, JudgeError, Place, Shown
from dpo_book.system.files import make_folder


class Record(NamedTuple):
    """One answer to one question. key: of model, instruction, prompt and texts in their order; see ``key_of``."""

    key: str
    model: str
    instruction: str
    prompt: str
    first: str
    second: str
    place: Place
    explanation: str
    input_tokens: int
    output_tokens: int


FIELDS = get_type_hints(Record) | {"place": str}
BEGINNING = b'{"key": "'  # of every line
NO_VERDICT = "that is no verdict as judges write them: take it out, or put the file back as it was"


def key_of(model: str, instruction: Instruction, shown: Shown) -> str:
    """The SHA-256 of who is asked, and of the whole message, in which stands what is asked."""
    content = json.dumps([model, message(instruction, shown)])
    return hashlib.sha256(content.encode()).hexdigest()


def record_of(
    model: str,
    instruction: Instruction,
    shown: Shown,
    answer: Answer,
    input_tokens: int = 0,
    output_tokens: int = 0,
) -> Record:
    """The line of an answer, whoever ``model`` is."""
    key = key_of(model, instruction, shown)
    return Record(key, model, instruction.name, *shown, *answer, input_tokens, output_tokens)


class VerdictsFile:
    """The answers in a file, by question, and those that are added. Threads may share it."""

    def __init__(self, path: Path, records: Sequence[Record], size: int = 0):
        self.path = path
        self._records: dict[str, list[Record]] = defaultdict(list)
        self._size, self._writing = size, threading.Lock()
        for record in records:
            self._records[record.key].append(record)

    def of_model(self, model: str) -> list[Record]:
        """All answers of a model, each of which was paid for."""
        return [record for records in self._records.values() for record in records if record.model == model]

    def times_asked(self, key: str) -> int:
        """How many answers to a question are here."""
        return len(self._records.get(key, ()))

    def answer(self, key: str) -> Answer | None:
        """The first answer to a question that could be parsed, else the last one; None if there is none."""
        records = self._records.get(key, ())
        answers = [Answer(record.place, record.explanation) for record in records]
        for answer in answers:
            if answer.place != "unparsable":
                return answer
        return answers[-1] if answers else None

    def add(self, record: Record) -> None:
        """Write an answer's line and wait until it is on the disk; JudgeError where that is not possible."""
        line = f"{json.dumps(record._asdict())}\n".encode()
        with self._writing:
            try:
                with open(self.path, "ab") as file:
                    file.write(line)
                    file.flush()
                    os.fsync(file.fileno())
            except OSError as error:
                with suppress(OSError):
                    os.truncate(self.path, self._size)  # half a line would spoil the next one
                raise JudgeError(f"{self.path} cannot be written: {error.strerror or error}") from None
            self._size += len(line)
            self._records[record.key].append(record)


@contextmanager
def open_verdicts(path: Path | str) -> Iterator[VerdictsFile]:
    """The file of verdicts, for this process alone, new if there is none.

    Of a last line that a killed run did not finish nothing is kept. JudgeError, and nothing is touched, for a file
    that is damaged elsewhere, that cannot be read or written, or that another process has.
    """
    path = Path(path)
    lock = _locked(path)
    try:
        yield VerdictsFile(path, *_mended(path))
    finally:
        lock.release()


def recorded_judge(path: Path | str, model: str, instruction: Instruction) -> Judge:
    """The answers that ``model`` gave to ``instruction``, as ``path`` has them: no network, no key, nothing written.

    JudgeError for a comparison that it was not asked about in that order, or a file that is damaged or not there.
    """
    path = Path(path)
    verdicts = VerdictsFile(path, _records(path, _whole_lines(path, _content(path))))

    def judge(shown: Sequence[Shown]) -> list[Answer]:
        answers = []
        for one in shown:
            answer = verdicts.answer(key_of(model, instruction, one))
            if answer is None:
                raise JudgeError(
                    f"{path} has no verdict of {model} ({instruction.name}) on the texts {show(one.first)} and "
                    f"{show(one.second)}, in this order, after the prompt {show(one.prompt)}"
                )
            answers.append(answer)
        return answers

    return judge


def _locked(path: Path) -> FileLock:
    lock = FileLock(path.with_name(f"{path.name}.lock"), blocking=False)
    try:
        make_folder(path.parent)
        lock.acquire()
    except Timeout:
        raise JudgeError(f"{path} is being written by another process: wait for it, or name another file") from None
    except OSError as error:
        raise JudgeError(f"{error.filename or path}: {error.strerror or error}") from None
    return lock


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise JudgeError(f"{path}: {error.strerror or error}") from None


def _mended(path: Path) -> tuple[list[Record], int]:
    """The records of a file that ends, after this, with a whole line; and its size in bytes."""
    content = _content(path) if path.exists() else b""
    whole = _whole_lines(path, content)
    records = _records(path, whole)
    try:
        if len(whole) < len(content):
            os.truncate(path, len(whole))
        elif len(whole) > len(content):
            with open(path, "ab") as file:
                file.write(b"\n")
    except OSError as error:
        raise JudgeError(f"{path} cannot be written: {error.strerror or error}") from None
    return records, len(whole)


def _whole_lines(path: Path, content: bytes) -> bytes:
    """What a file holds without a last line that was not finished; with its end, if only that is missing."""
    before, newline, last = content.rpartition(b"\n")
    if not last:
        return content
    try:
        json.loads(last)
        return content + b"\n"
    except (ValueError, RecursionError):
        if last[: len(BEGINNING)] != BEGINNING[: len(last)]:
            raise JudgeError(f"{path} ends with {show(last[:80].decode(errors='replace'))}: {NO_VERDICT}") from None
        return before + newline


def _records(path: Path, content: bytes) -> list[Record]:
    records = []
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            records.append(_record(json.loads(line)))
        except (ValueError, RecursionError):
            raise JudgeError(f"{path}, line {number}: {NO_VERDICT}") from None
    return records


def _record(row: object) -> Record:
    """ValueError for what is no record."""
    if not isinstance(row, dict) or row.keys() != FIELDS.keys():
        raise ValueError("other fields")
    for name, kind in FIELDS.items():
        if type(row[name]) is not kind:
            raise ValueError(name)
    if row["place"] not in PLACES or min(row["input_tokens"], row["output_tokens"]) < 0:
        raise ValueError("place or tokens")
    return Record(**row)
