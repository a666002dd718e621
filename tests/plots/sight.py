"""What a reader sees of a figure: the marks that carry data, how they differ in grey and to a deuteranope, its texts.

Colours are sRGB triples from 0 to 1, seen on white paper.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import Collection, LineCollection, PathCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text

WHITE = np.ones(3)
NARROWEST = 592  # pixels: a page beside JupyterLab's file browser
# Machado, Oliveira and Fernandes 2009, "A physiologically-based model for simulation of color vision deficiency",
# deuteranomaly of severity 1.0, for linear RGB.
DEUTERANOPE = np.array(
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
)
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def linear(colour: np.ndarray) -> np.ndarray:
    return np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)


def contrast(one: np.ndarray, other: np.ndarray) -> float:
    """Of luminances, as WCAG 2 defines it: from 1 for the same to 21 for black on white."""
    darker, lighter = sorted(TO_XYZ[1] @ linear(colour) for colour in (one, other))
    return (lighter + 0.05) / (darker + 0.05)


def lab(colour: np.ndarray) -> np.ndarray:
    """CIELAB as a deuteranope sees it, for white D65."""
    seen = np.clip(DEUTERANOPE @ linear(colour), 0, 1)
    x, y, z = np.cbrt(TO_XYZ @ seen / (TO_XYZ @ WHITE))  # the straight piece near black is left out: it has no hue
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """ΔE of 1976 between two colours as a deuteranope sees them."""
    return float(np.linalg.norm(lab(one) - lab(other)))


def on_white(colour, alpha: float | None = None, below: np.ndarray = WHITE) -> np.ndarray:
    *rgb, opacity = to_rgba(colour, alpha)
    return opacity * np.array(rgb) + (1 - opacity) * below


@dataclass(frozen=True)
class Mark:
    """What stands for one thing in a panel: its colour, its shape, and what the legend calls it."""

    colour: tuple[float, ...]
    shape: tuple
    label: str

    def looks_like(self, other: "Mark") -> bool:
        if self.shape != other.shape:
            return False
        one, two = np.array(self.colour), np.array(other.colour)
        # 1.3 is 8 of L*'s 100 steps and more; a ΔE of 10 is seen at a glance by those who see colours.
        return contrast(one, two) < 1.3 or difference(one, two) < 10


def marks(axes: Axes) -> list[Mark]:
    """All of a panel's, one for those that look the same and are called the same."""
    lines = [_of_line(line) for line in axes.lines if line.get_visible() and not _is_nothing(line)]
    colours = {mark.colour for mark in lines}
    found = list(lines)
    bars = {bar: container for container in axes.containers for bar in container if isinstance(bar, Patch)}
    for artist in [*axes.collections, *axes.patches]:
        mark = _of_area(artist, axes, _name(bars.get(artist, artist)))
        own_line = isinstance(artist, LineCollection) or not isinstance(artist, PathCollection | Patch)
        if mark and not (own_line and _solid(artist) in colours):  # a band, or a cross, of the line in its colour
            found.append(mark)
    return list(dict.fromkeys(found))


def _is_nothing(line: Line2D) -> bool:
    return line.get_linestyle() == "None" and line.get_marker() in ("None", "", None)


def _name(artist) -> str:
    """What the legend calls it; empty for what is not in it."""
    label = str(artist.get_label())
    return "" if label.startswith("_") else label


def _of_line(line: Line2D) -> Mark:
    drawn = line.get_linestyle() != "None"
    dashes = str(line._unscaled_dash_pattern) if drawn else "no line"
    marker = str(line.get_marker())
    if marker in "|_":  # the cap of an error bar
        marker = "None"
    filled = marker != "None" and on_white(line.get_markerfacecolor()).min() < 0.99
    return Mark(tuple(on_white(line.get_color(), line.get_alpha())), ("line", dashes, marker, filled), _name(line))


def _solid(artist) -> tuple[float, ...]:
    """Its colour without transparency."""
    colours = artist.get_facecolor() if len(artist.get_facecolor()) else artist.get_edgecolor()
    return tuple(np.atleast_2d(colours)[0][:3])


def _of_area(artist: Collection | Patch, axes: Axes, name: str) -> Mark | None:
    if not artist.get_visible() or (isinstance(artist, Patch) and _text_on(artist, axes)):
        return None  # what a number or word stands on says itself what it is
    if isinstance(artist, LineCollection):
        return Mark(tuple(on_white(artist.get_edgecolor()[0])), ("line", str(artist.get_linestyle())), name)
    if isinstance(artist, PathCollection):
        path = artist.get_paths()[0]
        return Mark(tuple(on_white(artist.get_facecolor()[0])), ("dots", len(path.vertices)), name)
    face = np.atleast_2d(artist.get_facecolor())
    edge = np.atleast_2d(artist.get_edgecolor())
    faces = [on_white(colour) for colour in face if colour[3] > 0]
    edges = [on_white(colour) for colour in edge if colour[3] > 0 and np.max(artist.get_linewidth()) > 0]
    outlined = bool(edges) and (not faces or contrast(faces[0], WHITE) < 3)
    colour = edges[0] if outlined else faces[0]
    return Mark(tuple(colour), ("area", artist.get_hatch(), outlined, str(artist.get_linestyle())), name)


def _text_on(patch: Patch, axes: Axes) -> bool:
    box = patch.get_window_extent()
    return any(box.contains(*_middle(text)) for text in axes.texts if text.get_text())


def _middle(text: Text) -> np.ndarray:
    box = text.get_window_extent()
    return (box.min + box.max) / 2


def texts(figure: Figure) -> list[Text]:
    shown = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip("\u200b ")]
    inside = [text for text in shown if not (text.axes and not text.axes.axison and text not in text.axes.texts)]
    return [text for text in inside if text.get_window_extent().width > 0]


def background(text: Text) -> np.ndarray:
    """The colour on which a text stands."""
    axes = text.axes
    if axes is None or text not in axes.texts:
        return WHITE
    middle = _middle(text)
    for image in axes.images:
        column, row = axes.transData.inverted().transform(middle)
        values = image.get_array()
        shade = image.to_rgba(values[round(row), round(column)])
        return on_white(shade)
    for patch in axes.patches:
        if patch.get_window_extent().contains(*middle):
            return on_white(patch.get_facecolor())
    return WHITE


def pixels(text: Text, figure: Figure) -> float:
    """How high its letters' line is on the narrowest page; pictures are never shown larger than 100 dots an inch."""
    dots_an_inch = min(100, NARROWEST / figure.get_figwidth())
    return text.get_fontsize() / 72 * dots_an_inch


def side_by_side(figure: Figure) -> int:
    """The most panels that stand in one row."""
    boxes = [axes.get_window_extent() for axes in figure.axes]
    heights = [(box.y0 + box.y1) / 2 for box in boxes]
    return max(sum(box.y0 < height < box.y1 for box in boxes) for height in heights)


def slips(figure: Figure) -> list[str]:
    """Everything in a figure that some readers could not read, in words; the figure is laid out for it."""
    figure.draw_without_rendering()
    found = []
    for text in texts(figure):
        said = repr(text.get_text())
        if pixels(text, figure) < 9:
            found.append(f"{said} is {pixels(text, figure):.1f} px")
        ground = background(text)
        if contrast(on_white(text.get_color(), text.get_alpha(), ground), ground) < 4.5:
            found.append(f"{said} is pale")
    for axes in figure.axes:
        seen = marks(axes)
        for mark in seen:
            if contrast(np.array(mark.colour), WHITE) < 3:
                found.append(f"{mark.label or mark.shape} is pale")
        for one, other in combinations(seen, 2):
            same_look = (one.colour, one.shape) == (other.colour, other.shape)
            same_name = not (one.label and other.label)  # what has no name of its own goes with what has
            if one.looks_like(other) and not (same_look and same_name):
                found.append(f"{one.label or one.shape} looks like {other.label or other.shape}")
    if side_by_side(figure) > 3:
        found.append(f"{side_by_side(figure)} panels in a row")
    return found
