"""What all figures share: colours, style, an empty figure, and the way to PNG.

One meaning a colour: chosen blue, rejected orange, reference light grey, the policy dark green, anything exact a
dashed black line. Any two of these differ in lightness too, so that they are told apart in greyscale and by
colour-blind readers, and all stand out from white by 3 : 1 (tests/plots/test_colours.py holds every figure to that).
The figure's label is its alt text. A reader's own matplotlib settings change nothing in it: on a black ground the
exact line would be gone.
"""

import base64
import io
import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from html import escape

import numpy as np
import pandas as pd
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

CHOSEN, REJECTED, REFERENCE, POLICY, EXACT = "#0068A8", "#CF5A00", "#949494", "#005C42", "black"
# Several policies in one plot: dark to light green, each with a line and a marker of its own.
SHADES = ("#003A2A", "#005C42", "#1A8262", "#46A384")
LINES = ("-", ":", "-.", (0, (8, 2)))
MARKERS = ("o", "s", "^", "D")
PIXELS_AN_INCH = 100  # of a page that shows a figure in its own size
WIDTH = 7.0  # inches. A page shows it 592 to 700 pixels wide, so that 8 points, the least, are 9 pixels or more
STYLE = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,  # the grid is no stripe on a bar
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "font.size": 10,
    "axes.titlesize": 10.5,
    "legend.fontsize": 9,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "lines.linewidth": 1.6,
    "hatch.linewidth": 0.8,
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


def png(figure: Figure) -> bytes:
    """The figure as PNG bytes, whatever the reader's own settings say of saving: 200 dots an inch, 256 colours.

    Twice as many dots as a page shows pixels, for sharp screens. So few colours make it a third as large.
    """
    dots_an_inch = 2 * PIXELS_AN_INCH
    picture = in_few_colours(_drawn(figure, dots_an_inch))
    file = io.BytesIO()
    picture.save(file, format="png", dpi=(dots_an_inch, dots_an_inch))
    return file.getvalue()


def _drawn(figure: Figure, dpi: int) -> Image.Image:
    """The figure's pixels. ``savefig`` would draw it twice, the first time for its layout; a slider waits for it."""
    own_canvas, own_dpi = figure.canvas, figure.dpi
    canvas = FigureCanvasAgg(figure)
    try:
        figure.dpi = dpi
        with book_style():  # matplotlib asks for some settings only now, such as fonts of formulas
            canvas.draw()
        return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    finally:
        figure.dpi = own_dpi
        figure.set_canvas(own_canvas)


def in_few_colours(picture: Image.Image) -> Image.Image:
    """An RGB image in at most 256 colours, of which the one in the corner, the paper's, is exact."""
    few = picture.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    palette = few.getpalette()
    paper = 3 * few.getpixel((0, 0))  # now the mean of all that is nearly white
    palette[paper : paper + 3] = picture.getpixel((0, 0))
    few.putpalette(palette)
    return few


def size_on_page(picture: bytes) -> tuple[int, int]:
    """Width and height, in a page's pixels, at which a PNG is as large as its figure says in inches."""
    image = Image.open(io.BytesIO(picture))
    dots_an_inch, _ = image.info["dpi"]
    pixels_a_dot = PIXELS_AN_INCH / dots_an_inch
    return round(image.width * pixels_a_dot), round(image.height * pixels_a_dot)


def html_image(picture: bytes, alt: str) -> str:
    """A PNG as an HTML ``<img>`` that holds it, with its alt text; in its own size, or as wide as there is room."""
    width, height = size_on_page(picture)
    data = base64.b64encode(picture).decode()
    place = f'width="{width}" height="{height}" style="max-width: 100%; height: auto"'
    return f'<img alt="{escape(alt)}" {place} src="data:image/png;base64,{data}">'


def literally(text: object) -> str:
    """A caller's words so that matplotlib shows them as they are.

    It would read what stands between dollars as a formula, and leave a name that starts with _ out of a legend.
    """
    written = str(text).replace("$", r"\$")
    return "\u200b" + written if written.startswith("_") else written


def new_figure(height: float, panels: int, alt: str) -> tuple[Figure, list[Axes]]:
    """A figure as wide as a page, with its panels: at most three in a row of ``height`` inches."""
    rows = math.ceil(panels / 3)
    columns = math.ceil(panels / rows)
    figure = Figure(figsize=(WIDTH, rows * height), layout="constrained", label=alt)
    grid = figure.subplots(rows, columns, squeeze=False).flatten()
    for spare in grid[panels:]:
        spare.remove()
    return figure, list(grid[:panels])


def new_column(height: float, panels: int, alt: str) -> tuple[Figure, list[Axes]]:
    """The same with one panel below the other, each as wide as the figure: for what is crowded."""
    figure = Figure(figsize=(WIDTH, panels * height), layout="constrained", label=alt)
    return figure, list(figure.subplots(panels, squeeze=False).flatten())


def with_looks(series: Iterable, *looks: Sequence) -> Iterator[tuple]:
    """Each of the series with a colour, a line, a marker of its own, as ``looks`` list them.

    ValueError for more series than there are looks: none is left out in silence.
    """
    series, most = list(series), min(map(len, looks))
    if len(series) > most:
        raise ValueError(f"this figure tells {most} curves apart, and {len(series)} were given")
    return zip(series, *looks, strict=False)


def exact_line(axes: Axes, value: float, label: str | None = None) -> None:
    axes.axhline(value, color=EXACT, linestyle="--", linewidth=1.2, label=label)


def column(records: Sequence[Mapping[str, float]], name: str) -> np.ndarray:
    return np.array([record[name] for record in records])


def smooth(values: np.ndarray, window: int = 15) -> np.ndarray:
    """Running mean over the last ``window`` steps: batches are noisy, the eye wants the trend."""
    return pd.Series(values, dtype=float).rolling(window, min_periods=1).mean().to_numpy()


def error_bars(value: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """How far below and above each value its interval reaches: (2, n), as matplotlib's ``errorbar`` wants it.

    Rounding may put a value a little outside of its interval, as a share of 1; that is no reach below zero.
    """
    return np.maximum([value - low, high - value], 0)
