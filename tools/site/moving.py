"""A recorded figure as HTML: its sliders and lists, its first picture, and what moving.js needs for the others."""

import json
import shutil
from collections.abc import Mapping
from html import escape
from pathlib import Path

from tools.site.pictures import FOLDER


def add_frames(recording: Mapping, folder: Path, pages: Path) -> None:
    """Copy the recording's pictures from ``folder`` to where ``pages`` have their figures."""
    (pages / FOLDER).mkdir(parents=True, exist_ok=True)
    for frame in recording["frames"]:
        shutil.copyfile(folder / frame["file"], pages / FOLDER / frame["file"])


def as_html(recording: Mapping, name: str) -> str:
    """The figure with its controls. name: of this figure, different from those of all others of its page."""
    controls = [_control(control, f"{name}-{i}") for i, control in enumerate(recording["controls"])]
    first = recording["frames"][_start(recording["controls"])]
    address = f"{FOLDER}/{first['file']}"
    picture = (
        f'<img loading="lazy" src="{address}" alt="{escape(first["alt"])}" '
        f'width="{first["width"]}" height="{first["height"]}" style="max-width: 100%; height: auto">'
    )
    frames = [[frame["file"], frame["alt"]] for frame in recording["frames"]]
    texts = [control["texts"] for control in recording["controls"]]
    said = f"Recorded: {recording['said']}. With {recording['with']}."
    data = json.dumps({"texts": texts, "frames": frames}, ensure_ascii=False).replace("<", "\\u003c")
    return (
        f'<div class="recorded" role="group" aria-label="Recorded figure with controls">'
        f'<div class="controls">{"".join(controls)}</div>{picture}'
        f'<p class="said">{escape(said)}</p>'
        f'<script type="application/json">{data}</script></div>'
    )


def _start(controls: list[Mapping]) -> int:
    """Which picture shows the controls where the chapter put them; the last control moves fastest."""
    place = 0
    for control in controls:
        place = place * len(control["texts"]) + control["start"]
    return place


def _control(control: Mapping, name: str) -> str:
    label, start, texts = escape(control["name"]), control["start"], control["texts"]
    if control["list"]:
        options = []
        for place, text in enumerate(texts):
            chosen = " selected" if place == start else ""
            options.append(f'<option value="{place}"{chosen}>{escape(text)}</option>')
        return f'<label for="{name}">{label}</label><select id="{name}">{"".join(options)}</select>'
    stands = escape(texts[start])
    return (
        f'<label for="{name}">{label}</label>'
        f'<input type="range" id="{name}" min="0" max="{len(texts) - 1}" value="{start}" aria-valuetext="{stands}">'
        f'<output for="{name}" aria-live="off">{stands}</output>'
    )
