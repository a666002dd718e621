"""Sliders, choices, figures that sliders redraw, training to watch and stop, pairs of texts to label.

Thin: the figures are ``plots``' own. Every widget also has HTML for a page without a kernel.
"""

from dpo_book.widgets.choices import Choices
from dpo_book.widgets.figures import SliderFigure, slider_figure
from dpo_book.widgets.labelling import Labelling
from dpo_book.widgets.live import LiveRun
from dpo_book.widgets.sliders import FloatLogSlider, FloatSlider, IntSlider, SelectionSlider

__all__ = [
    "Choices",
    "FloatLogSlider",
    "FloatSlider",
    "IntSlider",
    "Labelling",
    "LiveRun",
    "SelectionSlider",
    "SliderFigure",
    "slider_figure",
]
