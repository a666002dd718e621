"""Sliders over a figure."""

from collections.abc import Callable, Mapping
from html import escape

import ipywidgets
from matplotlib.figure import Figure

from dpo_book.widgets.parts import Picture, Words, in_a_line, in_words, side_by_side


def slider_figure(figure: Callable[..., Figure], **sliders: ipywidgets.Widget) -> "SliderFigure":
    """``figure(name=value, ...)`` redrawn whenever one of the ``sliders`` (by the same names) moves."""
    return SliderFigure(figure, sliders)


class SliderFigure(ipywidgets.VBox):
    """Sliders above the figure that they redraw. What the figure raises stands in its place, in one line.

    Without a kernel, on a static page, the figure stands there as it was when the cell was run.
    """

    def __init__(self, figure: Callable[..., Figure], sliders: Mapping[str, ipywidgets.Widget]):
        self._figure, self._sliders = figure, sliders
        self.image = Picture()
        self.error = Words()
        self._draw()  # what this raises is the cell's own error
        for slider in sliders.values():
            slider.observe(self._redraw, names="value")
        super().__init__([side_by_side(sliders), self.image])

    def _draw(self) -> None:
        settings = {name: slider.value for name, slider in self._sliders.items()}
        self.image.show(self._figure(**settings))
        self._drawn = settings

    def _redraw(self, _change: object) -> None:
        try:
            self._draw()
            below = self.image
        except (Exception, SystemExit) as error:  # a kernel would write it where nobody looks
            self.error.say(in_a_line(error))
            below = self.error
        self.children = [self.children[0], below]

    def _repr_mimebundle_(self, **kwargs: object) -> dict:
        settings = []
        for name, value in self._drawn.items():
            settings.append(f"{self._sliders[name].description} = {_short(value)}")
        drawn = escape(", ".join(settings))
        page = f"{self.image.value}<p>{drawn}. Once the cell has run in JupyterLab, sliders redraw this figure.</p>"
        words = f"{in_words(self._sliders)} Run the cell in JupyterLab to move them."
        return super()._repr_mimebundle_(**kwargs) | {"text/html": page, "text/plain": words}


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
