"""ipywidgets' choice among answers, drawn as a question with its answers below it.

What ipywidgets draws ties no question to its answers, cuts long ones, and JupyterLab takes its arrow keys.
"""

from pathlib import Path

import anywidget
import ipywidgets

HERE = Path(__file__).parent


class Choices(anywidget.AnyWidget, ipywidgets.RadioButtons):
    """One of ``options``, or none yet; ``description`` is the question."""

    _esm = HERE / "choices.js"
    _css = HERE / "choices.css"
