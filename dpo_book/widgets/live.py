"""Training that one can watch and stop."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import ipywidgets
from matplotlib.figure import Figure

from dpo_book.widgets.parts import Picture, Words, in_a_line, in_words, side_by_side


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
        super().__init__([side_by_side(sliders), row, self.status, self.image])

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
            outcome = in_a_line(error)
        try:
            self._show(outcome)
        except BaseException as error:  # of the figure
            self.status.say(in_a_line(error))
        finally:
            self.run.disabled, self.stop.disabled = False, True

    def draw(self, count: int | None = None) -> None:
        """Draw the run as it was after its first ``count`` records, by default all that have come: one or more."""
        self.image.show(self._figure(self.records[:count]))

    def _show(self, state: str) -> None:
        self.progress.value = len(self.records)
        if self.records:
            self.draw()  # before the words that speak of it
            last = self.records[-1]
            self.status.say(f"{state}: step {int(last['step'])}, loss {last['loss']:.4f}")
        else:
            self.status.say(state)

    def _repr_mimebundle_(self, **kwargs: object) -> dict:
        page = "<p>Once the cell has run in JupyterLab, Run trains here, and a figure grows with the run.</p>"
        words = f"{in_words(self._sliders)} Run the cell in JupyterLab, then press Run to train."
        return super()._repr_mimebundle_(**kwargs) | {"text/html": page, "text/plain": words}
