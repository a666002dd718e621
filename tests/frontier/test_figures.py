"""Figures of where methods end: drawn from tables alone, and their strengths stand where they can be read."""

from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import LineCollection

from dpo_book.frontier import figures
from dpo_book.frontier.sampled_figure import sampled_frontier
from dpo_book.frontier.table import read
from tests.frontier.competition import COMPETITION, OPTIMUM
from tests.plots.test_plots import (  # noqa: F401  what holds of every figure, here of this file's
    picture,
    test_a_figure_has_alt_text_and_a_picture,
    test_axes_are_named,
    test_nothing_is_drawn_on_the_outermost_pixels,
)

RESULTS = Path(__file__).parent.parent.parent / "notebooks" / "results"

FIGURES = {
    "objective_by_beta": partial(figures.objective_by_beta, COMPETITION, {0.3: 1.8, 1.0: 1.6}),
    "objective_by_beta, no optimum": partial(figures.objective_by_beta, COMPETITION),
    "reward_kl_frontier": partial(figures.reward_kl_frontier, COMPETITION, OPTIMUM),
    "reward_kl_frontier, no optimum, one seed": partial(
        figures.reward_kl_frontier, COMPETITION[COMPETITION["seed"] == 0]
    ),
    "maximised_and_wanted": partial(figures.maximised_and_wanted, COMPETITION, "a world"),
    "sampled_frontier": partial(sampled_frontier, COMPETITION, "a policy, judged"),
}


@pytest.fixture(params=FIGURES, ids=str, scope="module")
def figure(request):
    return FIGURES[request.param]()


def test_the_legend_has_the_methods_in_their_order_and_what_their_numbers_are():
    (legend,) = FIGURES["reward_kl_frontier"]().legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "optimum (exact)",
        "SFT (reference)",
        "preferred-FT",
        "unlikelihood (α)",
        "DPO (β)",
        "best-of-n (n)",
        "PPO (β)",
        "PPO-GT (β)",
    ]


@pytest.fixture(
    params=[
        partial(figures.reward_kl_frontier, read(RESULTS / "verdicts.csv"), OPTIMUM),
        partial(figures.reward_kl_frontier, read(RESULTS / "tiny-reviews.csv")),
        partial(figures.maximised_and_wanted, read(RESULTS / "verdicts.csv"), "verdicts"),
        partial(figures.maximised_and_wanted, read(RESULTS / "tiny-reviews.csv"), "TinyReviews"),
    ],
    ids=["frontier, verdicts", "frontier, TinyReviews", "maximised, verdicts", "maximised, TinyReviews"],
)
def labelled(request):
    """A figure of a stored table, laid out, so that what stands where can be asked."""
    figure = request.param()
    figure.draw_without_rendering()
    return figure


def paths_of(artist):
    return artist.get_paths() if isinstance(artist, LineCollection) else [artist.get_path()]


def test_strengths_stand_on_no_line_and_on_no_other_strength(labelled):
    labels = [text for axes in labelled.axes for text in axes.texts]
    assert len(labels) >= 6
    for axes in labelled.axes:
        boxes = [text.get_window_extent() for text in axes.texts]
        assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
        crosses = [artist for artist in axes.collections if isinstance(artist, LineCollection)]
        for artist in [*axes.lines, *crosses]:
            for path in paths_of(artist):
                line = artist.get_transform().transform_path(path)
                assert not any(line.intersects_bbox(box, filled=False) for box in boxes)


def test_a_strength_is_nearest_to_a_marker_of_its_own_colour(labelled):
    for axes in labelled.axes:
        drawn = [line for line in axes.lines if line.get_marker() != "None"]
        markers = np.concatenate([axes.transData.transform(line.get_xydata()) for line in drawn])
        colours = np.repeat([line.get_color() for line in drawn], [len(line.get_xydata()) for line in drawn])
        for text in axes.texts:
            box = text.get_window_extent()
            distances = np.linalg.norm(markers - (box.min + box.max) / 2, axis=1)
            assert colours[distances.argmin()] == text.get_color()
