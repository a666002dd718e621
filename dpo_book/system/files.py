"""Files and folders that are there whole, or not at all, whenever a run is killed or the disk is full."""

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path


class FileError(ValueError):
    """A path, or what a file holds, cannot be used; the message says why."""


def user_path(text: str) -> Path:
    """The path that a user wrote, with ~ as a home folder. FileError for an empty text, or ~ of nobody."""
    if not text.strip():
        raise FileError("a path is needed, and it is empty")
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise FileError(f"{text}: there is no such user here, or no home folder of theirs") from None


def make_folder(path: Path) -> None:
    """The folder and those above it, where they are not there yet.

    OSError as of ``mkdir``, but of a link that leads nowhere it says that, and not that a file exists.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        for link in (path, *path.parents):
            if link.is_symlink() and not link.exists():
                said = f"it is a link that leads nowhere, to {os.readlink(link)}"
                raise FileExistsError(errno.EEXIST, said, str(link)) from None
        raise


def read_object(path: Path) -> dict:
    """The one object that a file of JSON holds. FileError, which does not name the file, for anything else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(error.strerror or str(error)) from None
    except UnicodeDecodeError:
        raise FileError("it is not text in UTF-8") from None
    except RecursionError:
        raise FileError("it is nested too deeply") from None
    except ValueError as error:
        raise FileError(f"it is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise FileError(f"it holds {json.dumps(content)[:40]}, and not an object such as {{...}}")
    return content


def scratch_of(path: Path) -> Path:
    """The folder in which ``path`` is made before it gets its name. Left only by a process that was killed."""
    return path.with_name(f"{path.name}.writing")


def replace_whole(path: Path, write: Callable[[Path], None]) -> None:
    """``write(scratch)`` a file or folder that then takes ``path``'s name: at any moment it is there whole, or not.

    It is on the disk before it gets its name, and as open to others as its folder is. A folder cannot replace another
    one: then OSError.
    """
    room = scratch_of(path)  # a folder, for libraries write under names of their own beside the one they are given
    scratch = room / path.name
    try:
        remove(room)
        room.mkdir()
        write(scratch)
        for part in [*scratch.rglob("*"), scratch]:
            _open_as(part, room)
            _sync(part)
        os.replace(scratch, path)
        _sync(path.parent)
    finally:
        with contextlib.suppress(OSError):
            remove(room)  # a full disk needs it


def replace_folder(path: Path, write: Callable[[Path], None]) -> None:
    """As ``replace_whole``, for a folder that may stand where there is one already.

    No system swaps two folders in one step everywhere. So the new one is whole, under the name of
    ``waiting_of(path)``, before the old one goes; after a kill in between ``settle`` ends what was begun.
    """
    settle(path)
    replace_whole(waiting_of(path), write)
    settle(path)


def settle(path: Path) -> None:
    """Give ``path``'s name to the folder that waits for it, if there is one: it is whole, and newer."""
    waiting = waiting_of(path)
    if waiting.exists():
        remove(path)
        os.replace(waiting, path)
        _sync(path.parent)


def waiting_of(path: Path) -> Path:
    """Where a folder that is to be ``path`` waits until the old one is gone."""
    return path.with_name(f"{path.name}.new")


def remove(path: Path) -> None:
    """Delete a file, or a folder with what is in it; nothing if there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """A text file, whole or not at all: see ``replace_whole``."""
    replace_whole(path, partial(_write_text, text))


def _write_text(text: str, path: Path) -> None:
    path.write_text(text, encoding="utf-8")


def _open_as(part: Path, folder: Path) -> None:
    """A file's permissions as the user's umask has them, seen in a new folder: safetensors' own are private."""
    if part.is_file() and not part.is_symlink():
        part.chmod(folder.stat().st_mode & 0o666)


def _sync(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on the disk."""
    if os.name == "nt":  # there a folder cannot be opened, nor a file that is only read be waited for
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
