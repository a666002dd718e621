"""Trained artefacts kept between runs: atomic, locked between processes, rebuilt when damaged.

A cached artefact is a folder under ``DPO_BOOK_CACHE`` (else the user's cache folder). Its name holds a hash of
everything it depends on, so a changed ingredient is another artefact and never a stale one.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock
from platformdirs import user_cache_path

MANIFEST = "MANIFEST.json"


def cache_root() -> Path:
    """Where artefacts are kept: the folder in the environment variable DPO_BOOK_CACHE, else the user's cache."""
    return Path(os.environ.get("DPO_BOOK_CACHE") or user_cache_path("dpo_book"))


def cached(name: str, depends_on: dict, build: Callable[[Path], None]) -> Path:
    """The folder of artefact ``name``, made by ``build(folder)`` unless an undamaged one is there.

    depends_on: everything the result depends on, as JSON can write it (sizes, seeds, versions). Two
    processes that ask at once get one build. A build that is killed leaves nothing behind under the
    artefact's name; files that do not match their manifest are built anew.
    """
    key = hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()[:16]
    folder = cache_root() / f"{name}-{key}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if _intact(folder):
            return folder
        for leftover in folder.parent.glob(f"{folder.name}-building-*"):  # of builds that were killed
            shutil.rmtree(leftover, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"{folder.name}-building-") as scratch:
            built = Path(scratch) / "artefact"
            built.mkdir()
            build(built)
            manifest = {"depends_on": depends_on, "sha256": file_digests(built)}
            (built / MANIFEST).write_text(json.dumps(manifest, indent=2, sort_keys=True), encoding="utf-8")
            if folder.exists():
                shutil.rmtree(folder)
            os.replace(built, folder)
    return folder


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
