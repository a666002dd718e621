"""Recorded sliders of all chapters, drawn where they are not yet, or were drawn by other code."""

import hashlib
import importlib.metadata
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import jupytext

from dpo_book.system.files import remove, replace_whole
from tools.chapter_widgets import NOTEBOOKS, WIDGETS, cells_up_to
from tools.kernel_env import KERNEL_ENV

ROOT = NOTEBOOKS.parent
AT_ONCE = 2  # chapters; each has one thread
# What decides how a figure looks, besides the cells themselves.
CODE = ("dpo_book/**/*.py", "notebooks/results/[!.]*", "tools/site/draw.py", "tools/site/controls.py")
LIBRARIES = ("torch", "transformers", "matplotlib", "ipywidgets", "pillow")


class RecordingError(RuntimeError):
    """A chapter's sliders could not be drawn; the message says which chapter's, and its process has said why."""


def recorded(kept: Path) -> dict[str, Path]:
    """Every chapter with sliders → the folder with its recordings, all of them below ``kept``.

    A chapter is drawn once, for minutes, and again when its code changes. RecordingError where it cannot be.
    """
    code = code_digest()
    folders = {chapter: kept / f"{chapter}-{digest_of(chapter, code)}" for chapter in WIDGETS}
    missing = {chapter: folder for chapter, folder in folders.items() if not folder.exists()}
    kept.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(_draw, missing, missing.values()))
    for old in kept.iterdir():
        if old not in folders.values():
            remove(old)
    return folders


def code_digest() -> str:
    """A digest of all code and stored results that figures are drawn from, and of the libraries' versions."""
    digest = hashlib.sha256()
    for pattern in CODE:
        for path in sorted(ROOT.glob(pattern)):
            digest.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    for library in LIBRARIES:
        digest.update(importlib.metadata.version(library).encode())
    return digest.hexdigest()


def digest_of(chapter: str, code: str) -> str:
    """What a chapter's recordings are known by: a digest of ``code`` and of the cells that its widgets need."""
    script = NOTEBOOKS / "py" / f"{chapter}.py"
    cells = jupytext.read(script).cells
    places = sorted({place for piece in WIDGETS[chapter] for place in cells_up_to(script, piece)})
    sources = [f"{place}\n{cells[place].source}" for place in places]
    return hashlib.sha256("\n".join([code, *sources]).encode()).hexdigest()[:16]


def _draw(chapter: str, folder: Path) -> None:
    print(f"Drawing the sliders of {chapter}", flush=True)
    replace_whole(folder, partial(_draw_into, chapter))


def _draw_into(chapter: str, folder: Path) -> None:
    folder.mkdir()
    command = [sys.executable, "-m", "tools.site.draw", chapter, str(folder)]
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(command, cwd=ROOT, env=os.environ | KERNEL_ENV | {"PYTHONPATH": path})
    if done.returncode != 0:
        raise RecordingError(f"the sliders of {chapter} could not be drawn: its process says why, above")
