"""Texts beside markers, where there is room for them.

Places are fractions of the panel, from its lower left corner: they stay when the layout gives it another size.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.path import Path
from matplotlib.transforms import Bbox


def write_beside(axes: Axes, points: np.ndarray, texts: Sequence[str], colours: Sequence[str]) -> None:
    """Write a text, or none, beside the marker at each point, where there is room for it.

    That is: inside the panel, on no marker, line or other text, and clearly nearer to its own marker than to any
    other.
    """
    axes.set(xlim=axes.get_xlim(), ylim=axes.get_ylim())  # texts are placed for these limits
    markers = (axes.transData - axes.transAxes).transform(points)
    taken = [_around(marker) for marker in markers]
    lines = _drawn_lines(axes)
    for marker, text, colour in zip(markers, texts, colours, strict=True):
        near = [box for box in _places_beside(marker, text) if _is_nearest(box, marker, markers)]
        free = [box for box in near if _is_free(box, taken, lines)]
        if text and free:
            axes.text(*free[0].min, text, color=colour, transform=axes.transAxes, va="bottom", fontsize=7.5)
            taken.append(free[0])


def _around(marker: np.ndarray) -> Bbox:
    """What a marker itself covers."""
    half_size = np.array([0.015, 0.02])
    return Bbox([marker - half_size, marker + half_size])


def _drawn_lines(axes: Axes) -> list[Path]:
    """Lines of a panel, and the crosses of its markers."""
    drawn = [(line, line.get_path()) for line in axes.lines]
    for crosses in axes.collections:
        if isinstance(crosses, LineCollection):  # the others are bands
            drawn += [(crosses, path) for path in crosses.get_paths()]
    lines = []
    for artist, path in drawn:
        to_panel = artist.get_transform() - axes.transAxes
        lines.append(to_panel.transform_path(path))
    return lines


def _places_beside(marker: np.ndarray, text: str) -> list[Bbox]:
    """Where a marker's text may stand, the best place first."""
    width, height = 0.006 + 0.016 * len(text), 0.036
    x, y = marker
    right = x + 0.02
    left = x - 0.02 - width
    centred = x - width / 2
    above = y + 0.015
    below = y - 0.015 - height
    level = y - height / 2
    lower_left = [
        (right, above),
        (left, above),
        (right, below),
        (left, below),
        (right, level),
        (left, level),
        (centred, above + 0.015),
        (centred, below - 0.015),
    ]
    return [Bbox.from_bounds(*corner, width, height) for corner in lower_left]


def _is_nearest(box: Bbox, marker: np.ndarray, markers: np.ndarray) -> bool:
    """Whether a text there is clearly nearer to its own marker than to any other."""
    middle = (box.min + box.max) / 2
    others = markers[(markers != marker).any(axis=1)]
    distances = np.linalg.norm(others - middle, axis=1)
    own = np.linalg.norm(marker - middle)
    return own < 0.7 * distances.min(initial=np.inf)


def _is_free(box: Bbox, taken: list[Bbox], lines: list[Path]) -> bool:
    """Whether a text there is inside the panel, and on nothing."""
    if box.min.min() <= 0 or box.max.max() >= 1:
        return False
    if box.count_overlaps(taken):
        return False
    return not any(line.intersects_bbox(box, filled=False) for line in lines)
