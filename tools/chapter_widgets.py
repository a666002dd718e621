"""Where the sliders of the chapters are, and the least that has to run before each of them can be moved.

To add a slider, add a line to WIDGETS: a piece of its cell's source, and a piece of each cell that it needs.
"""

from pathlib import Path

import jupytext

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
SETUP = "setup(seed=0)"

# chapter → its cells with sliders → the cells that they need, in the chapter's order
WIDGETS = {
    "00_what_does_dpo_do": {
        "slider_figure(": [SETUP, "world = verdicts()", "reference = ver", "ref_logp = ", "def optimum_at("],
    },
    "01_what_comparisons_tell": {
        "slider_figure(": [SETUP, "def gumbel(", "def fit_draw(", "def theory(", "def recovered_at("],
    },
    "02_what_a_reward_model_learns": {
        "slider_figure(": [SETUP],
    },
    "03_what_does_rlhf_maximise": {
        "slider_figure(pull,": [SETUP, "def vector(", "ref_logp = ", "best = ", "def along(", "def pull("],
        "slider_figure(penalties,": [
            *(SETUP, "def vector(", "ref_logp = ", "best = ", "def along("),
            *("def forward_optimum(", "def penalties("),
        ],
    },
    "04_who_is_the_winner": {
        "slider_figure(": [
            *(SETUP, "words = (", "def climb(", "ref_logp = world.logp(", "average = "),
            *("def trace(", "def winner_at(", "tempered = "),
        ],
    },
    "05_why_does_z_vanish": {
        "slider_figure(": [SETUP, "labels = ["],
    },
    "06_where_does_the_loss_come_from": {
        "slider_figure(": [SETUP],
    },
    "07_does_it_get_there": {
        "LiveRun(": [SETUP, "def exact_logp(", "def measured("],
    },
    "08_how_does_rlhf_climb": {
        "slider_figure(estimated,": [SETUP, "def vector(", "of_score, by_hand", "def estimated("],
    },
    "09_rlhf_or_dpo": {
        "slider_figure(": ["import json", SETUP, "def log_z(", "def limit(", "strengths = {"],
    },
    "10_is_it_better": {
        "slider_figure(": [SETUP, "kinds = {", "def coverage_at("],
    },
    "11_what_came_after": {
        "slider_figure(": ["import math", SETUP, "def margin_losses(", "def margins_at("],
    },
    "12_your_own_preferences": {
        "slider_figure(": [
            *(SETUP, "def rated(", "rows = [rated(", "def told(", "winners_of, repeated = "),
        ],
    },
}


def cells_with(notebook: Path, *sources: str) -> list[int]:
    """Places of the code cells that hold these pieces of source: one cell each, counted from 0."""
    return [_the_cell_with(source, jupytext.read(notebook).cells, notebook.stem) for source in sources]


def _the_cell_with(source: str, cells: list, name: str) -> int:
    found = [i for i, cell in enumerate(cells) if cell.cell_type == "code" and source in cell.source]
    assert len(found) == 1, f"{name}: {source!r} is in {len(found)} code cells, and has to be in one"
    return found[0]


def cells_up_to(notebook: Path, widget: str) -> list[int]:
    """Places of the cells that a widget of WIDGETS needs, and its own last."""
    return cells_with(notebook, *WIDGETS[notebook.stem][widget], widget)
