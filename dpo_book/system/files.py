"""Files and folders that are there whole, or not at all, whenever a run is killed or the disk is full."""

import contextlib
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path


def replace_whole(path: Path, write: Callable[[Path], None]) -> None:
    """``write(scratch)`` a file or folder that then takes ``path``'s name: at any moment it is there whole, or not.

    It is on the disk before it gets its name. A folder cannot replace another one: then OSError.
    """
    scratch = path.with_name(f"{path.name}.writing")
    remove(scratch)  # of a try that was killed
    try:
        write(scratch)
        for part in [*scratch.rglob("*"), scratch]:
            _sync(part)
        os.replace(scratch, path)
        _sync(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            remove(scratch)  # a full disk needs the room
        raise


def remove(path: Path) -> None:
    """Delete a file, or a folder with what is in it; nothing if there is none."""
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """A text file, whole or not at all: see ``replace_whole``."""
    replace_whole(path, partial(_write_text, text))


def _write_text(text: str, path: Path) -> None:
    path.write_text(text, encoding="utf-8")


def _sync(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on the disk."""
    if os.name == "nt":  # there a folder cannot be opened, nor a file that is only read be waited for
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
