"""What all figures share: colours, style, an empty figure, and the way to PNG.

One meaning a colour, from a palette that colour-blind readers can tell apart (Okabe and Ito): chosen blue,
rejected orange, reference grey, the policy green, anything exact a dashed black line. The figure's label is its
alt text. A reader's own matplotlib settings change nothing in it: on a black ground the exact line would be gone.
"""

import base64
import io
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from html import escape

import numpy as np
import pandas as pd
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

CHOSEN, REJECTED, REFERENCE, POLICY, EXACT = "#0072B2", "#D55E00", "#888888", "#009E73", "black"
SHADES = ("#00503A", "#009E73", "#66C9AB", "#B5E3D5")  # several policies in one plot: dark to light green
STYLE = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "font.size": 10,
    "axes.titlesize": 11,
}


_drawing = threading.RLock()  # matplotlib's settings belong to all threads, and a live run draws in its own


@contextmanager
def book_style() -> Iterator[None]:
    """The book's settings over matplotlib's defaults; afterwards the reader's own are back."""
    with _drawing, style.context(["default", STYLE]):
        yield


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Draw in the book's style, and leave the reader's own matplotlib settings alone."""

    @wraps(draw)
    def drawn(*args: object, **kwargs: object) -> Figure:
        with book_style():
            return draw(*args, **kwargs)

    return drawn


def png(figure: Figure, dpi: int = 100) -> bytes:
    """The figure as PNG bytes, at ``dpi`` dots an inch, whatever the reader's own settings say of saving."""
    buffer = io.BytesIO()
    with book_style():  # matplotlib asks for some settings only now: fonts of formulas, transparency, margins
        figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def html_image(picture: bytes, alt: str) -> str:
    """A PNG as an HTML ``<img>`` that holds it, with its alt text."""
    return f'<img alt="{escape(alt)}" src="data:image/png;base64,{base64.b64encode(picture).decode()}">'


def literally(text: object) -> str:
    """A caller's words so that matplotlib shows them as they are.

    It would read what stands between dollars as a formula, and leave a name that starts with _ out of a legend.
    """
    written = str(text).replace("$", r"\$")
    return "\u200b" + written if written.startswith("_") else written


def new_figure(width: float, height: float, columns: int, alt: str) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width, height), layout="constrained", label=alt)
    return figure, list(figure.subplots(1, columns, squeeze=False)[0])


def exact_line(axes: Axes, value: float, label: str | None = None) -> None:
    axes.axhline(value, color=EXACT, linestyle="--", linewidth=1.2, label=label)


def column(records: Sequence[Mapping[str, float]], name: str) -> np.ndarray:
    return np.array([record[name] for record in records])


def smooth(values: np.ndarray, window: int = 15) -> np.ndarray:
    """Running mean over the last ``window`` steps: batches are noisy, the eye wants the trend."""
    return pd.Series(values, dtype=float).rolling(window, min_periods=1).mean().to_numpy()
