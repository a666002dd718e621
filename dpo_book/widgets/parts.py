"""What sliders over a figure and a live run are made of: a picture, a line of words, and sliders in a row.

A picture is an ``<img>`` that holds a PNG. The Output widget is not used: notebooks that have one hang
at random when they are executed without a browser.
"""

from collections.abc import Mapping
from html import escape

import ipywidgets
from matplotlib.figure import Figure

from dpo_book.plots import html_image, png


class Picture(ipywidgets.HTML):
    """A figure that can be drawn anew, as an ``<img>`` with its alt text; empty at first.

    png, alt: what is there now. An Image of ipywidgets would have no alt text.
    """

    def __init__(self):
        super().__init__()
        self.png, self.alt = b"", ""

    def show(self, figure: Figure) -> None:
        """Draw ``figure`` in place of what is there."""
        self.png, self.alt = png(figure), figure.get_label()
        self.value = html_image(self.png, self.alt)


class Words(ipywidgets.HTML):
    """A line of text as it is, which wraps where a Label would be cut."""

    def say(self, text: str) -> None:
        self.value = escape(text, quote=False)


def side_by_side(sliders: Mapping[str, ipywidgets.Widget]) -> ipywidgets.Box:
    """Sliders side by side where the page has room, one below the other where it has not.

    A slider without a description gets its name as one: none stands there without a label.
    """
    for name, slider in sliders.items():
        slider.description = slider.description or name
    return ipywidgets.Box(list(sliders.values()), layout=ipywidgets.Layout(flex_flow="row wrap"))


def in_words(sliders: Mapping[str, ipywidgets.Widget]) -> str:
    """What stands on a page in place of sliders: what they are called."""
    names = [slider.description for slider in sliders.values()]
    return f"{'Sliders' if len(names) > 1 else 'Slider'}: {', '.join(names)}."


def in_a_line(error: BaseException) -> str:
    """An error's name and what it says, however many lines that has."""
    return " ".join(f"{type(error).__name__}: {error}".split())
