"""Where the sliders and lists of a figure can stand, and which of these places are recorded."""

import math
from dataclasses import dataclass

import ipywidgets

MOST = 100  # pictures of one figure with several sliders; a figure with one has all that it has places


@dataclass
class Control:
    """What moves a figure. values: what its ``trait`` can be, in order; start: the place that the cell gave it.

    texts: what stands beside it, a text a place. kept: the places that are recorded.
    """

    name: str
    trait: str
    values: list
    texts: list[str]
    start: int
    is_list: bool
    kept: list[int]


def control_of(widget: ipywidgets.Widget) -> Control:
    """A slider's or a list's places. TypeError for a widget that is neither."""
    if hasattr(widget, "options"):
        texts = [str(label) for label in widget._options_labels]  # ipywidgets' own names of its options
        places = list(range(len(texts)))
        is_list = isinstance(widget, ipywidgets.Dropdown)
        return Control(widget.description, "index", places, texts, widget.index, is_list, places)
    if not hasattr(widget, "step"):
        raise TypeError(f"{type(widget).__name__} is no slider and no list")
    ticks = math.floor((widget.max - widget.min) / widget.step + 1e-6)
    values = [widget.min + tick * widget.step for tick in range(ticks + 1)]
    if hasattr(widget, "base"):
        values = [widget.base**exponent for exponent in values]
    texts = [format(value, widget.readout_format) for value in values]
    start = min(range(len(values)), key=lambda place: abs(values[place] - widget.value))
    values[start], texts[start] = widget.value, format(widget.value, widget.readout_format)  # it may stand in between
    return Control(widget.description, "value", values, texts, start, False, list(range(len(values))))


def keep_at_most(controls: list[Control], most: int = MOST) -> None:
    """Leave places of sliders out, the same number between any two, until there are at most ``most`` combinations.

    A slider keeps its ends and where it stood. A list keeps all, and so does a slider that is alone.
    """
    strides = [1] * len(controls)
    while len(controls) > 1 and _combinations(controls) > most:
        lengths = [0 if control.trait == "index" else len(control.kept) for control in controls]
        longest = lengths.index(max(lengths))
        if lengths[longest] <= 3:
            return  # ends and start: there is nothing to leave out
        strides[longest] += 1
        control, stride = controls[longest], strides[longest]
        last = len(control.values) - 1
        control.kept = sorted({0, *range(control.start % stride, last, stride), last})


def _combinations(controls: list[Control]) -> int:
    product = 1
    for control in controls:
        product *= len(control.kept)
    return product
