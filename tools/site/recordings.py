"""What is recorded for all chapters, drawn where it is not yet, or was drawn by other code."""

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
AT_ONCE = 2  # processes; each has one thread
# Programs that are given a chapter and a folder: the one for sliders, and what else draws for a chapter's page.
SLIDERS = "tools.site.draw"
MORE = {"07_does_it_get_there": "tools.site.training"}
# What decides how a figure looks, besides the cells themselves.
CODE = ("dpo_book/**/*.py", "notebooks/results/[!.]*", "tools/site/draw.py", "tools/site/controls.py")
LIBRARIES = ("torch", "transformers", "matplotlib", "ipywidgets", "pillow")


class RecordingError(RuntimeError):
    """A recording could not be made; the message says which, of which chapter, and its process has said why."""


def recorded(kept: Path) -> dict[str, list[Path]]:
    """Every chapter with sliders → the folders with its recordings, all of them below ``kept``.

    Each is drawn once, for minutes, and again when its code changes. RecordingError where it cannot be.
    """
    code = code_digest()
    drawings = [(chapter, SLIDERS) for chapter in WIDGETS]
    drawings += [(chapter, module) for chapter, module in MORE.items() if chapter in WIDGETS]
    folders = {drawing: kept / f"{drawing[0]}-{digest_of(*drawing, code)}" for drawing in drawings}
    missing = [drawing for drawing in drawings if not folders[drawing].exists()]
    kept.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(_draw, missing, [folders[drawing] for drawing in missing]))
    for old in kept.iterdir():
        if old not in folders.values():
            remove(old)
    return {chapter: [folders[drawing] for drawing in drawings if drawing[0] == chapter] for chapter in WIDGETS}


def code_digest() -> str:
    """A digest of all code and stored results that figures are drawn from, and of the libraries' versions."""
    digest = hashlib.sha256()
    for pattern in CODE:
        for path in sorted(ROOT.glob(pattern)):
            digest.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    for library in LIBRARIES:
        digest.update(importlib.metadata.version(library).encode())
    return digest.hexdigest()


def digest_of(chapter: str, module: str, code: str) -> str:
    """What a recording is known by: a digest of ``code``, of the module that draws it, and of the chapter's cells.

    Of these, the ones that its widgets need.
    """
    script = NOTEBOOKS / "py" / f"{chapter}.py"
    cells = jupytext.read(script).cells
    places = sorted({place for piece in WIDGETS[chapter] for place in cells_up_to(script, piece)})
    sources = [f"{place}\n{cells[place].source}" for place in places]
    program = (ROOT / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")
    return hashlib.sha256("\n".join([code, program, *sources]).encode()).hexdigest()[:16]


def _draw(drawing: tuple[str, str], folder: Path) -> None:
    chapter, module = drawing
    print(f"Drawing for {chapter}: {module}", flush=True)
    replace_whole(folder, partial(_draw_into, chapter, module))


def _draw_into(chapter: str, module: str, folder: Path) -> None:
    folder.mkdir()
    command = [sys.executable, "-m", module, chapter, str(folder)]
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(command, cwd=ROOT, env=os.environ | KERNEL_ENV | {"PYTHONPATH": path})
    if done.returncode != 0:
        raise RecordingError(f"what {module} draws for {chapter} could not be drawn: its process says why, above")
