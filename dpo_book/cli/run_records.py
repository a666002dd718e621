"""A run's records in a file of its folder: one a line, as they come; cut at a checkpoint, and held against it."""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

from dpo_book.training.checkpoints import CheckpointError
from dpo_book.training.loop import Record


class Records:
    """The records of the first ``steps``, up to which a checkpoint goes, and those that are added.

    Later ones are cut off the file: they will be written again. CheckpointError unless the file holds them, and, if
    the checkpoint has a ``digest`` of their lines, holds them byte for byte.
    """

    def __init__(self, path: Path, steps: Sequence[int], digest: str | None):
        lines = path.read_bytes().splitlines(keepends=True)[: len(steps)] if path.exists() else []
        said = f"steps {steps[0]} to {steps[-1]}" if steps else "no step"
        self._path = path
        self._sha256 = hashlib.sha256(b"".join(lines))
        if digest not in (None, self.digest):
            raise CheckpointError(
                f"{path} has changed: its records of {said} are not those of the checkpoint beside it. "
                "Put the file back, or begin anew in a new folder"
            )
        try:
            self.all = _parsed(lines, steps)
        except (ValueError, RecursionError):
            raise CheckpointError(
                f"{path} does not hold the records of {said}, up to which the checkpoint beside it goes. "
                "Put the file back, or begin anew in a new folder"
            ) from None
        if path.exists():
            os.truncate(path, sum(map(len, lines)))

    @property
    def digest(self) -> str:
        """The SHA-256 of all lines so far."""
        return self._sha256.hexdigest()

    def add(self, record: Record, durable: bool) -> None:
        """Write a record's line; ``durable``, wait until it is on the disk: no checkpoint may outlive its records."""
        line = f"{json.dumps(record)}\n".encode()
        with open(self._path, "ab") as file:
            file.write(line)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        self._sha256.update(line)
        self.all.append(record)


def read_records(path: Path) -> list[Record]:
    """The records of every step of a run that is finished. OSError or ValueError where they cannot be read."""
    lines = path.read_bytes().splitlines()
    return _parsed(lines, range(1, len(lines) + 1))


def read_rows(path: Path) -> list[Record]:
    """The records in a file, at whatever steps they are. OSError or ValueError as above."""
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def _parsed(lines: Sequence[bytes], steps: Sequence[int]) -> list[Record]:
    """ValueError unless they are the records of these steps."""
    records = [json.loads(line) for line in lines]
    if not all(isinstance(record, dict) for record in records):
        raise ValueError("a line is no record")
    if [record.get("step") for record in records] != list(steps):
        raise ValueError("the steps are others")
    return records
