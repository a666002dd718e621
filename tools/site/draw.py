"""Draw a chapter's sliders at every place: `python -m tools.site.draw CHAPTER FOLDER`.

It runs the cells that the sliders need, in the notebooks' folder, moves the widgets as a reader would, and keeps
every picture with its alt text in FOLDER: recordings.json, and a file a picture. ``recordings`` calls it, in a
process of its own, for a chapter sets seeds, threads and precision for all.
"""

import contextlib
import importlib.metadata
import io
import json
import os
import platform
import sys
from itertools import product
from pathlib import Path

import jupytext
from IPython.core.interactiveshell import InteractiveShell

from dpo_book.plots.style import size_on_page
from dpo_book.widgets import LiveRun
from tools.chapter_widgets import NOTEBOOKS, WIDGETS, cells_up_to
from tools.record import digest_of
from tools.site.controls import Control, control_of, keep_at_most
from tools.site.pictures import as_webp, named

STEPS = 30  # at so many places a recorded run can be seen


class DrawError(RuntimeError):
    """A figure could not be drawn; the message says which, where its sliders stood, and why."""


def draw(chapter: str, folder: Path) -> None:
    """Run the cells that the chapter's widgets need, each once, and record every widget into ``folder``."""
    script = NOTEBOOKS / "py" / f"{chapter}.py"
    cells = jupytext.read(script).cells
    widgets = {cells_up_to(script, piece)[-1] for piece in WIDGETS[chapter]}
    needed = {place for piece in WIDGETS[chapter] for place in cells_up_to(script, piece)}
    shell = InteractiveShell.instance()
    recordings = {}
    for place in sorted(needed):
        with contextlib.redirect_stdout(io.StringIO()):
            done = shell.run_cell(cells[place].source)
        done.raise_error()
        if place in widgets:
            record = recorded_run if isinstance(done.result, LiveRun) else recorded_figure
            recordings[digest_of(cells[place])] = record(done.result, folder)
    write(recordings, folder)


def write(recordings: dict[str, dict], folder: Path) -> None:
    """Keep what was recorded of a chapter's cells. recordings: by the digest of the cell that shows the figure.

    A recording has its controls, its frames, and what a page says of it: ``said``, and ``with`` what it was made. One
    with an ``introduction`` comes below what its cell shows, and not in its place.
    """
    (folder / "recordings.json").write_text(json.dumps(recordings, ensure_ascii=False), encoding="utf-8")


def recorded_figure(widget, folder: Path) -> dict:
    """A SliderFigure at every combination of its sliders' places."""
    sliders = widget.children[0].children
    controls = [control_of(slider) for slider in sliders]
    keep_at_most(controls)
    frames = []
    for places in product(*(control.kept for control in controls)):
        for slider, control, place in zip(sliders, controls, places, strict=True):
            setattr(slider, control.trait, control.values[place])
        if widget.children[-1] is not widget.image:
            where = ", ".join(control.texts[place] for control, place in zip(controls, places, strict=True))
            raise DrawError(f"the figure at {where}: {widget.error.value}")
        frames.append(frame(widget.image.png, widget.image.alt, folder))
    said = f"the code of this page drew {len(frames)} pictures. In JupyterLab the sliders have places in between"
    if all(len(control.kept) == len(control.values) for control in controls):
        said = f"the code of this page drew all {len(frames)} pictures that its controls can ask for"
    described_controls = [described(control) for control in controls]
    return {"controls": described_controls, "frames": frames, "said": said, "with": versions()}


def recorded_run(widget: LiveRun, folder: Path) -> dict:
    """A LiveRun with the settings that its cell gives it: its figure as it grew, step by step."""
    settings = [control_of(slider) for slider in widget.children[0].children]
    widget.run.click()
    widget.thread.join()
    if not widget.status.value.startswith("done"):
        raise DrawError(f"the run: {widget.status.value}")
    total = len(widget.records)
    counts = sorted({max(1, round(total * part / STEPS)) for part in range(1, STEPS + 1)})
    texts, frames = [], []
    for count in counts:
        widget.draw(count)
        texts.append(f"{count}, loss {widget.records[count - 1]['loss']:.4f}")
        frames.append(frame(widget.image.png, widget.image.alt, folder))
    control = {"name": "step", "texts": texts, "start": len(texts) - 1, "list": False}
    stood = ", ".join(f"{setting.name} = {setting.texts[setting.start]}" for setting in settings)
    said = f"one run of this page's code with {stood}, as it grew. In JupyterLab you choose the settings"
    return {"controls": [control], "frames": frames, "said": said, "with": versions()}


def described(control: Control) -> dict:
    """What a page has to know of a control: the recorded places alone."""
    return {
        "name": control.name,
        "texts": [control.texts[place] for place in control.kept],
        "start": control.kept.index(control.start),
        "list": control.is_list,
    }


def frame(png: bytes, alt: str, folder: Path) -> dict:
    """One picture, kept in ``folder``: its file's name, alt text and size in CSS pixels."""
    picture = as_webp(png)
    name = named(picture, "webp")
    (folder / name).write_bytes(picture)
    width, height = size_on_page(png)
    return {"file": name, "alt": alt, "width": width, "height": height}


def versions() -> str:
    """With what it was recorded."""
    python = ".".join(platform.python_version_tuple()[:2])
    known = [f"{name} {importlib.metadata.version(name)}" for name in ("torch", "matplotlib")]
    return f"Python {python}, {' and '.join(known)}"


if __name__ == "__main__":
    chapter, folder = sys.argv[1:]
    target = Path(folder).resolve()
    os.chdir(NOTEBOOKS)
    draw(chapter, target)
