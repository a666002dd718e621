"""Sliders over figures, and training that one can watch and stop. Thin: the figures are ``plots``' own.

A picture is an ``<img>`` that holds a PNG. The Output widget is not used: notebooks that have one hang
at random when they are executed without a browser. Every widget also has HTML for a page without a kernel.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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


def _side_by_side(widgets: Iterable[ipywidgets.Widget]) -> ipywidgets.Box:
    """Sliders side by side where the page has room, one below the other where it has not."""
    return ipywidgets.Box(list(widgets), layout=ipywidgets.Layout(flex_flow="row wrap"))


def _in_words(sliders: Mapping[str, ipywidgets.Widget]) -> str:
    """What stands on a page in place of sliders: their names."""
    names = [slider.description or name for name, slider in sliders.items()]
    return f"{'Sliders' if len(names) > 1 else 'Slider'}: {', '.join(names)}."


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _in_a_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


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
        super().__init__([_side_by_side(sliders.values()), self.image])

    def _draw(self) -> None:
        settings = {name: slider.value for name, slider in self._sliders.items()}
        self.image.show(self._figure(**settings))
        self._drawn = settings

    def _redraw(self, _change: object) -> None:
        try:
            self._draw()
            below = self.image
        except (Exception, SystemExit) as error:  # a kernel would write it where nobody looks
            self.error.say(_in_a_line(error))
            below = self.error
        self.children = [self.children[0], below]

    def _repr_mimebundle_(self, **kwargs: object) -> dict:
        settings = []
        for name, value in self._drawn.items():
            label = self._sliders[name].description or name
            settings.append(f"{label} = {_short(value)}")
        drawn = escape(", ".join(settings))
        page = f"{self.image.value}<p>{drawn}. Once the cell has run in JupyterLab, sliders redraw this figure.</p>"
        words = f"{_in_words(self._sliders)} Run the cell in JupyterLab to move them."
        return super()._repr_mimebundle_(**kwargs) | {"text/html": page, "text/plain": words}


class LiveRun(ipywidgets.VBox):
    """Training under sliders, with Run, Stop, a progress bar and a figure that grows with it.

    start(name=value, ...) gives a generator of records, such as ``train_dpo`` does; a slider named ``steps``
    says how many are to come. figure(records) draws those that have come. The run has a thread of its own,
    so that a click on Stop is heard while it computes: it ends before the next step.
    """

    current: "LiveRun | None" = None  # one run at a time: a cell that is run again must not leave its old one behind
    redraw_every = 0.4  # seconds; drawing takes about a tenth of one, and the rest is for training

    def __init__(
        self,
        start: Callable[..., Iterator[Mapping[str, float]]],
        figure: Callable[[Sequence[Mapping[str, float]]], Figure],
        **sliders: ipywidgets.Widget,
    ):
        if "steps" not in sliders:
            raise ValueError("LiveRun needs a slider named steps: it says how many records are to come")
        self._start, self._figure, self._sliders = start, figure, sliders
        self._stop = threading.Event()
        self.thread: threading.Thread | None = None
        self.records: list[Mapping[str, float]] = []
        dark_green = {"button_color": "#1b5e20", "text_color": "white"}  # button_style's green is too pale for white
        self.run = ipywidgets.Button(description="Run", icon="play", style=dark_green)
        self.stop = ipywidgets.Button(description="Stop", icon="stop", disabled=True)
        self.progress = ipywidgets.IntProgress(min=0, max=1, layout=ipywidgets.Layout(width="200px"))
        self.status = Words("Choose, then press Run.")
        self.image = Picture()
        self.run.on_click(self._begin)
        self.stop.on_click(self._request_stop)
        row = ipywidgets.HBox([self.run, self.stop, self.progress])
        super().__init__([_side_by_side(sliders.values()), row, self.status, self.image])

    def _request_stop(self, _button: ipywidgets.Button) -> None:
        self._stop.set()

    def _begin(self, _button: ipywidgets.Button) -> None:
        if self.thread is not None and self.thread.is_alive():
            return
        if LiveRun.current is not None:
            LiveRun.current._stop.set()
        LiveRun.current = self
        settings = {name: slider.value for name, slider in self._sliders.items()}
        self._stop.clear()
        self.records = []
        self.run.disabled, self.stop.disabled = True, False
        self.progress.max, self.progress.value = int(settings["steps"]), 0
        self.status.say("starting ...")
        self.thread = threading.Thread(target=self._work, args=(settings,), daemon=True)
        self.thread.start()

    def _work(self, settings: dict) -> None:
        outcome, drawn = "done", time.monotonic()
        try:
            for record in self._start(**settings):
                self.records.append(record)
                if self._stop.is_set():
                    outcome = "stopped"
                    break
                if time.monotonic() - drawn > self.redraw_every:
                    self._show("training")
                    drawn = time.monotonic()
        except BaseException as error:  # exit() too: whatever ends a thread would otherwise vanish unseen
            outcome = _in_a_line(error)
        try:
            self._show(outcome)
        except BaseException as error:  # of the figure
            self.status.say(_in_a_line(error))
        finally:
            self.run.disabled, self.stop.disabled = False, True

    def _show(self, state: str) -> None:
        self.progress.value = len(self.records)
        if self.records:
            self.image.show(self._figure(self.records))  # before the words that speak of it
            last = self.records[-1]
            self.status.say(f"{state}: step {int(last['step'])}, loss {last['loss']:.4f}")
        else:
            self.status.say(state)

    def _repr_mimebundle_(self, **kwargs: object) -> dict:
        page = "<p>Once the cell has run in JupyterLab, Run trains here, and a figure grows with the run.</p>"
        words = f"{_in_words(self._sliders)} Run the cell in JupyterLab, then press Run to train."
        return super()._repr_mimebundle_(**kwargs) | {"text/html": page, "text/plain": words}
