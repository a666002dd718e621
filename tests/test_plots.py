"""Every figure draws from plain data, says what it shows in words, and fits its labels into the picture."""

import io

import numpy as np
import pytest
from matplotlib import rcParams
from PIL import Image

from dpo_book import plots

RECORDS = [
    {
        "step": step,
        "loss": 0.69 - step / 100,
        "rewards/chosen": step / 10,
        "rewards/rejected": -step / 5,
        "rewards/margins": step * 0.3,
        "rewards/accuracies": 0.5 + step / 100,
        "logps/chosen": -5.0 + step / 50,
        "logps/rejected": -6.0 - step / 20,
        **({"kl_to_optimum": 1 / step, "kl_to_reference": step / 30, "reward": step / 20} if step % 10 == 1 else {}),
    }
    for step in range(1, 32)
]
RESPONSES = [f"a verdict of number {i}" for i in range(30)]
P = np.arange(1, 31) / 465

FIGURES = {
    "pipelines": lambda: plots.pipelines(),
    "top_responses": lambda: plots.top_responses(RESPONSES, {"π_ref": P[::-1], "π_θ": P}, exact=P, title="t"),
    "reward_margins": lambda: plots.reward_margins(RECORDS, ceiling=0.9),
    "live_margins": lambda: plots.live_margins(RECORDS),
    "live_margins, one record": lambda: plots.live_margins(RECORDS[:1]),
    "to_the_optimum": lambda: plots.to_the_optimum({"β = 1": RECORDS}, {"β = 1": (1.5, 1.0)}),
    "learning_curves": lambda: plots.learning_curves(
        {"a": RECORDS, "b": RECORDS}, ["loss", "kl_to_optimum"], exact={"loss": 0.4}
    ),
    "log_probabilities": lambda: plots.log_probabilities({"one": RECORDS, "two": RECORDS}),
    "probability_mass": lambda: plots.probability_mass(["a long name for a group", "b"], [0.4, 0.6], [0.1, 0.9]),
}


@pytest.fixture(params=FIGURES, ids=str)
def figure(request):
    return FIGURES[request.param]()


def test_a_figure_has_alt_text_and_a_picture(figure):
    assert len(figure.get_label()) > 30
    assert plots.png(figure).startswith(b"\x89PNG")


def test_nothing_is_drawn_on_the_outermost_pixels(figure):
    """A label that does not fit is cut at the edge of the picture and leaves ink there."""
    pixels = np.asarray(Image.open(io.BytesIO(plots.png(figure))).convert("L"))
    edges = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    assert (edges == 255).all()


def test_axes_are_named(figure):
    for axes in figure.axes:
        assert not axes.axison or axes.get_xlabel()


def test_the_readers_own_style_is_left_alone():
    before = dict(rcParams)
    plots.reward_margins(RECORDS)
    assert dict(rcParams) == before


def test_exact_values_are_dashed_black_and_chosen_and_rejected_keep_their_colours():
    left, right = plots.reward_margins(RECORDS, ceiling=0.9).axes
    colours = {line.get_label(): line.get_color() for line in left.lines}
    assert (colours["chosen"], colours["rejected"], colours["margin"]) == (plots.CHOSEN, plots.REJECTED, plots.POLICY)
    (ceiling,) = (line for line in right.lines if line.get_linestyle() == "--")
    assert ceiling.get_color() == "black" and ceiling.get_ydata()[0] == 0.9


def test_top_responses_are_sorted_by_what_is_asked_for():
    axes = plots.top_responses(RESPONSES, {"π_ref": P[::-1], "π_θ": P}, count=3).axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == [RESPONSES[i] for i in (29, 28, 27)]
    axes = plots.top_responses(RESPONSES, {"π_θ": P}, count=2, order_by=P[::-1]).axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == [RESPONSES[i] for i in (0, 1)]


def test_metrics_of_every_step_are_smoothed_and_sparse_ones_are_not():
    loss, kl = plots.learning_curves({"a": RECORDS}, ["loss", "kl_to_optimum"]).axes
    assert loss.lines[0].get_ydata()[-1] > RECORDS[-1]["loss"]  # a mean over the steps before, of a falling loss
    assert kl.lines[0].get_ydata()[-1] == RECORDS[-1]["kl_to_optimum"]
