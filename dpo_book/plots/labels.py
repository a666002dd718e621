"""Texts beside markers, where there is room for them.

Places are inches from the lower left corner of a panel, which has the size that the layout gives it.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.path import Path
from matplotlib.transforms import Affine2D, Bbox, Transform

FONT_SIZE = 8
MARKER = np.array([0.04, 0.04])  # half of what a marker covers, inches
LINE_HEIGHT = 0.115
CHARACTER = 0.07  # the width of a digit


def write_beside(axes: Axes, points: np.ndarray, texts: Sequence[str], colours: Sequence[str]) -> None:
    """Write a text, or none, beside the marker at each point, where there is room for it.

    That is: inside the panel, on no marker, line or other text, and clearly nearer to its own marker than to any
    other. All else of the figure has to be there already: its layout is settled here.
    """
    axes.set(xlim=axes.get_xlim(), ylim=axes.get_ylim())  # texts are placed for these limits
    axes.figure.draw_without_rendering()
    to_inches = axes.transAxes + axes.figure.dpi_scale_trans.inverted()
    corner, opposite = to_inches.transform([(0, 0), (1, 1)])
    from_data = axes.transData + axes.figure.dpi_scale_trans.inverted() + Affine2D().translate(*-corner)
    panel = Bbox([(0, 0), opposite - corner])
    markers = from_data.transform(points)
    taken = [_around(marker) for marker in markers]
    lines = _drawn_lines(axes, from_data)
    for marker, text, colour in zip(markers, texts, colours, strict=True):
        near = [box for box in _places_beside(marker, text) if _is_nearest(box, marker, markers)]
        free = [box for box in near if _is_free(box, panel, taken, lines)]
        if text and free:
            place = free[0].min / panel.max
            axes.text(*place, text, color=colour, transform=axes.transAxes, va="bottom", fontsize=FONT_SIZE)
            taken.append(free[0])


def _around(marker: np.ndarray) -> Bbox:
    """What a marker itself covers."""
    return Bbox([marker - MARKER, marker + MARKER])


def _drawn_lines(axes: Axes, from_data: Transform) -> list[Path]:
    """Lines of a panel, and the crosses of its markers, in inches of the panel."""
    drawn = [(line, line.get_path()) for line in axes.lines]
    for crosses in axes.collections:
        if isinstance(crosses, LineCollection):  # the others are bands
            drawn += [(crosses, path) for path in crosses.get_paths()]
    from_pixels = axes.transData.inverted() + from_data
    lines = []
    for artist, path in drawn:
        to_panel = artist.get_transform() + from_pixels
        lines.append(to_panel.transform_path(path))
    return lines


def _places_beside(marker: np.ndarray, text: str) -> list[Bbox]:
    """Where a marker's text may stand, the best place first."""
    width, height = CHARACTER * len(text), LINE_HEIGHT
    x, y = marker
    right = x + 0.06
    left = x - 0.06 - width
    centred = x - width / 2
    above = y + 0.04
    below = y - 0.04 - height
    level = y - height / 2
    lower_left = [
        (right, above),
        (left, above),
        (right, below),
        (left, below),
        (right, level),
        (left, level),
        (centred, above + 0.04),
        (centred, below - 0.04),
    ]
    return [Bbox.from_bounds(*corner, width, height) for corner in lower_left]


def _is_nearest(box: Bbox, marker: np.ndarray, markers: np.ndarray) -> bool:
    """Whether a text there is clearly nearer to its own marker than to any other."""
    middle = (box.min + box.max) / 2
    others = markers[(markers != marker).any(axis=1)]
    distances = np.linalg.norm(others - middle, axis=1)
    own = np.linalg.norm(marker - middle)
    return own < 0.7 * distances.min(initial=np.inf)


def _is_free(box: Bbox, panel: Bbox, taken: list[Bbox], lines: list[Path]) -> bool:
    """Whether a text there is inside the panel, and on nothing."""
    if (box.min <= panel.min).any() or (box.max >= panel.max).any():
        return False
    if box.count_overlaps(taken):
        return False
    return not any(line.intersects_bbox(box, filled=False) for line in lines)
