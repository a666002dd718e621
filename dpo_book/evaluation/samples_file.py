"""Completions as they were drawn, one a line in a file of JSON: added part by part, kept after a kill."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from dpo_book.data.rows import show


class SamplesError(RuntimeError):
    """A file of samples cannot be gone on with; the message names it, the line, and what to do."""


class Sample(NamedTuple):
    """A completion of one prompt. side: whose it is, by name. row: which prompt, from 1."""

    temperature: float
    side: str
    row: int
    prompt: str
    completion: str


class Wanted(NamedTuple):
    """A sample that a run draws, all but what it says."""

    temperature: float
    side: str
    row: int
    prompt: str


def read_samples(path: Path, wanted: Sequence[Wanted]) -> list[Sample]:
    """The samples in the file, which are the first of those ``wanted``, in their order; none if there is no file.

    A last line that a killed run did not finish does not count. SamplesError for any other line that is not the
    sample wanted there.
    """
    samples = []
    for number, line in enumerate(_whole_lines(path), start=1):
        sample = _sample(line)
        if sample is None or number > len(wanted) or sample[:-1] != wanted[number - 1]:
            said = show(line[:80].decode(errors="replace"))
            raise SamplesError(
                f"{path}, line {number}: {said} is not the completion that this run draws there: put the file back "
                "as it was, or begin anew in another folder"
            )
        samples.append(sample)
    return samples


def keep_samples(path: Path, count: int) -> None:
    """Cut the file behind its first ``count`` lines."""
    if path.exists():
        os.truncate(path, sum(map(len, _whole_lines(path)[:count])))


def add_samples(path: Path, samples: Sequence[Sample]) -> None:
    """Write their lines, and wait until they are on the disk."""
    lines = [f"{json.dumps(sample._asdict())}\n" for sample in samples]
    with open(path, "ab") as file:
        file.write("".join(lines).encode())
        file.flush()
        os.fsync(file.fileno())


def _whole_lines(path: Path) -> list[bytes]:
    """With their ends; a line ends at a line feed alone."""
    if not path.exists():
        return []
    lines = path.read_bytes().splitlines(keepends=True)
    return lines if not lines or lines[-1].endswith(b"\n") else lines[:-1]


def _sample(line: bytes) -> Sample | None:
    """None for what is no sample."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict) or tuple(row) != Sample._fields or not isinstance(row["completion"], str):
        return None
    return Sample(**row)
