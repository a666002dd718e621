"""Trained artefacts kept between runs: atomic, locked between processes, rebuilt when damaged.

A cached artefact is a folder under ``DPO_BOOK_CACHE`` (else the user's cache folder). Its name holds a hash of
everything it depends on, so a changed ingredient is another artefact and never a stale one.
"""

import hashlib
import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from filelock import FileLock
from platformdirs import user_cache_path

from dpo_book.system.files import remove, replace_whole
from dpo_book.system.provenance import versions

MANIFEST = "MANIFEST.json"


def cache_root() -> Path:
    """Where artefacts are kept: the folder in the environment variable DPO_BOOK_CACHE, else the user's cache."""
    return Path(os.environ.get("DPO_BOOK_CACHE") or user_cache_path("dpo_book"))


def cached(name: str, depends_on: dict, build: Callable[[Path], None]) -> Path:
    """The folder of artefact ``name``, made by ``build(folder)`` unless an undamaged one is there.

    depends_on: what the result depends on besides the versions of Python, torch and transformers, as JSON can write
    it (sizes, seeds, digests). Two processes that ask at once get one build. A build that is killed leaves nothing
    behind under the artefact's name; files that do not match their manifest are built anew.
    """
    depends_on = _with_versions(depends_on)
    folder = _place(name, depends_on)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not _intact(folder):
            remove(folder)
            replace_whole(folder, partial(_build, build, depends_on))
    return folder


def find_cached(name: str, depends_on: dict) -> Path | None:
    """The folder of artefact ``name`` if an undamaged one is there; None, and nothing is built, if not."""
    folder = _place(name, _with_versions(depends_on))
    return folder if _intact(folder) else None


def _with_versions(depends_on: dict) -> dict:
    return {**depends_on, "versions": versions()}


def _place(name: str, depends_on: dict) -> Path:
    key = hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()[:16]
    return cache_root() / f"{name}-{key}"


def _build(build: Callable[[Path], None], depends_on: dict, folder: Path) -> None:
    folder.mkdir()
    build(folder)
    manifest = {"depends_on": depends_on, "sha256": file_digests(folder)}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2, sort_keys=True), encoding="utf-8")


def _intact(folder: Path) -> bool:
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return manifest["sha256"] == file_digests(folder)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def file_digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file in a folder, by its path there."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
