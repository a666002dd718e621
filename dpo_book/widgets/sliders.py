"""ipywidgets' sliders, drawn as the browser's own: a screen reader says what each is called and where it stands.

In Python they are ipywidgets' classes, with its parameters and its checks. What ipywidgets draws of them has a handle
without a name, which no parameter gives it; so ``slider.js`` is drawn in its place, from left to right.
"""

from pathlib import Path

import anywidget
import ipywidgets

HERE = Path(__file__).parent


class _Drawn(anywidget.AnyWidget):
    """What JupyterLab shows of a slider."""

    _esm = HERE / "slider.js"
    _css = HERE / "slider.css"


class FloatSlider(_Drawn, ipywidgets.FloatSlider):
    """Every ``step`` from ``min`` to ``max``."""


class IntSlider(_Drawn, ipywidgets.IntSlider):
    """The same in whole numbers."""


class FloatLogSlider(_Drawn, ipywidgets.FloatLogSlider):
    """From base**min to base**max; ``step`` is that of the exponent."""


class SelectionSlider(_Drawn, ipywidgets.SelectionSlider):
    """One of ``options``, in their order."""
