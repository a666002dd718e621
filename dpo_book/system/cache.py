"""Trained artefacts kept between runs: atomic, locked between processes, rebuilt when damaged.

A cached artefact is a folder under ``DPO_BOOK_CACHE`` (else the user's cache folder). Its name holds a hash of
everything it depends on, so a changed ingredient is another artefact and never a stale one. To read a whole one takes
no lock and no right to write, so many users can share a filled cache; what it lacks, and cannot take, is kept in a
temporary folder.
"""

import hashlib
import json
import os
import stat
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from functools import partial
from pathlib import Path

from filelock import FileLock
from platformdirs import user_cache_path

from dpo_book.system.files import FileError, remove, replace_whole, user_path
from dpo_book.system.manifest import file_digests, read_manifest, write_manifest
from dpo_book.system.provenance import versions


class CacheError(RuntimeError):
    """There is no folder in which artefacts can be kept; the message says why, and what to do."""


def cache_root() -> Path:
    """Where artefacts are kept: the folder in the environment variable DPO_BOOK_CACHE, else the user's cache.

    CacheError where that is no folder, as of a user without a home.
    """
    if chosen := os.environ.get("DPO_BOOK_CACHE"):
        try:
            return user_path(chosen)
        except FileError as error:
            raise CacheError(f"DPO_BOOK_CACHE is {error}") from None
    try:
        return user_path(str(user_cache_path("dpo_book")))
    except (FileError, RuntimeError):  # platformdirs leaves the ~ of a user without a home, or raises, by its version
        raise CacheError("this user has no home folder, and so no cache") from None


def cached(name: str, depends_on: dict, build: Callable[[Path], None]) -> Path:
    """The folder of artefact ``name``, made by ``build(folder)`` unless an undamaged one is there.

    depends_on: what the result depends on besides the versions of Python, torch and transformers, as JSON can write
    it (sizes, seeds, digests). Two processes that ask at once get one build. A build that is killed leaves nothing
    behind under the artefact's name; files that do not match their manifest are built anew. Where the cache cannot
    be written, a warning says so and a temporary folder takes its place; CacheError where there is none.
    """
    if kept := find_cached(name, depends_on):
        return kept
    depends_on = _with_versions(depends_on)
    entry = _entry(name, depends_on)
    root, locked = _lock_root(entry)
    folder = root / entry
    with locked:
        if not _intact(folder):
            remove(folder)
            replace_whole(folder, partial(_build, build, depends_on))
    return folder


def find_cached(name: str, depends_on: dict) -> Path | None:
    """The folder of artefact ``name`` if an undamaged one is there; None, and nothing is built, if not."""
    entry = _entry(name, _with_versions(depends_on))
    for root in _roots():
        if _intact(root / entry):
            return root / entry
    return None


def _with_versions(depends_on: dict) -> dict:
    return {**depends_on, "versions": versions()}


def _entry(name: str, depends_on: dict) -> str:
    key = hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()[:16]
    return f"{name}-{key}"


def _build(build: Callable[[Path], None], depends_on: dict, folder: Path) -> None:
    folder.mkdir()
    build(folder)
    write_manifest(folder, depends_on=depends_on)


def _intact(folder: Path) -> bool:
    try:
        return read_manifest(folder) == file_digests(folder)
    except (OSError, FileError):
        return False


# ------------------------------------------------------------------ where artefacts may be


def _roots() -> Iterator[Path]:
    """The folders in which an artefact may be found, the cache first."""
    with suppress(CacheError):
        yield cache_root()
    with suppress(OSError):
        spare = _spare_root()
        if _is_own(spare):
            yield spare


def _lock_root(entry: str) -> tuple[Path, AbstractContextManager]:
    """A folder in which the artefact ``entry`` may be made, and the lock on it, to be let go of."""
    try:
        root = cache_root()
        return root, _lock(root, entry)
    except (OSError, CacheError) as error:
        why = _in_words(error)
    try:
        spare = _spare_root()
        spare.mkdir(mode=0o700, exist_ok=True)
        if not _is_own(spare):
            raise OSError(f"{spare} is another user's")
        locked = _lock(spare, entry)
    except OSError as error:
        raise CacheError(
            f"nothing can be kept: {why}, and in the temporary folder, {_in_words(error)}. Set the environment "
            "variable DPO_BOOK_CACHE to a folder that can be written"
        ) from None
    warnings.warn(
        f"the cache cannot be written ({why}): what is made is kept in {spare} for now. The environment variable "
        "DPO_BOOK_CACHE names another cache",
        stacklevel=3,
    )
    return spare, locked


def _lock(root: Path, entry: str) -> AbstractContextManager:
    """OSError, at once, where nothing can be written."""
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=root):  # a lock that lies there from before would not show it
        return FileLock(root / f"{entry}.lock").acquire()


def _spare_root() -> Path:
    """A folder of this user under the system's temporary one."""
    user = os.getuid() if hasattr(os, "getuid") else "here"  # on Windows all of it is the user's
    return Path(tempfile.gettempdir()) / f"dpo_book-{user}"


def _is_own(folder: Path) -> bool:
    """Whether nobody else can have put anything there, as everybody could under the temporary folder."""
    about = folder.lstat()
    if not hasattr(os, "getuid"):
        return stat.S_ISDIR(about.st_mode)
    others_write = about.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return stat.S_ISDIR(about.st_mode) and about.st_uid == os.getuid() and not others_write


def _in_words(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)
