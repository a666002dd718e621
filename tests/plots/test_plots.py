"""Every figure draws from plain data, says what it shows in words, and fits its labels into the picture."""

import io

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib import cbook, rcParams
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from dpo_book import plots
from dpo_book.plots import style
from dpo_book.plots.style import MARKERS, SHADES, with_looks

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
EVALUATIONS = [
    {
        "step": step, "loss": 0.69 - step / 200, "loss_low": 0.6 - step / 200, "loss_high": 0.8,
        "margin": step / 9, "margin_low": step / 9, "margin_high": step / 9 - 1e-17,
        "accuracy": 0.5 + step / 100, "accuracy_low": 0.4, "accuracy_high": 0.95,
        "kl": step / 40, "kl_low": step / 50, "kl_high": step / 30,
    }
    for step in (0, 10, 20, 31)
]  # fmt: skip
FATES = pd.DataFrame(
    {"whole": [0.0, 0.5, 1.0], "cut": [0.1, 0.4, 0.0], "the same": [0.6, 0.1, 0.0], "no room": [0.3, 0.0, 0.0]},
    index=[2, 8, 40],
)
SWEEP = pd.DataFrame(
    {"beta": beta, "kl": 0.2 * 3**i, "loss": 0.69 - 0.01 * i, "error": 0.01, "gain": 0.5 + i, "gain_error": 0.1}
    for beta in (0.03, 0.1, 0.3)
    for i in range(3)
)
CURVES = pd.DataFrame(
    {f"{part} {name}": [0.7, 0.6, 0.5] for part in ("training", "held-out") for name in ("loss", "margin")},
    index=[1, 10, 20],
)


def two_penalties(name):
    rewards, ratios = [-1.0, 0.0, 2.0], {"a": [-1.0, 0.0, 1.0], name: [-0.5, -0.2, 3.0]}
    shares = {"a": [1e-3, 1e-4, 1e-5], name: [0.9, 0.4, 1e-4]}
    return plots.two_penalties(rewards, ratios, 2.05, [0.1, 0.5, 2.0], shares, 0.5)


RESPONSES = [f"a verdict of number {i}" for i in range(30)]
P = np.arange(1, 31) / 465

BENCH = pd.DataFrame(  # as ``make bench`` writes it
    [
        {"table": "levers", "case": case, "what": lever, "pairs_per_cpu_second": 5.0 + i, "peak_mb": 900.0 - 50 * i}
        for case in ("mini, TL;DR-like", "mini with GPT-2's vocabulary, short pairs")
        for i, lever in enumerate(["textbook", "+ batches by length", "+ logits of completions only"])
    ]
    + [
        {
            "table": "growth", "case": f"by {axis}", "what": what, axis: value,
            "pairs_per_cpu_second": (200 if what == "TRL" else 900) / 10**i,
        }
        for axis, values in {
            "prompt": [16, 64, 256], "completion": [8, 32, 128], "batch": [2, 8, 32],
            "vocabulary": [2048, 8192, 50257], "size": ["nano", "mini", "small"],
        }.items()
        for i, value in enumerate(values)
        for what in ("dpo_book", "TRL")
    ]
)  # fmt: skip
LOSSES = pd.DataFrame(
    {"case": case, "step": step, "relative_difference": 1e-6 * (step - 1)}
    for case in ("mini, short pairs", "124M, TL;DR-like")
    for step in (1, 2, 3)
)

MARGINS = np.linspace(-2, 6, 81)
FOUR_LOSSES = {name: (MARGINS - place) ** 2 for place, name in enumerate(("DPO", "IPO", "cDPO", "hinge"))}
BEST_MARGINS = {name: np.append(np.linspace(0, place + 1, 50), np.inf) for place, name in enumerate(FOUR_LOSSES)}
BY_TEMPERATURE = {
    "DPO": {0.0: (0.6, 0.5, 0.7), 0.5: (0.55, 0.45, 0.65), 1.0: (0.4, 0.3, 0.5)},
    "SFT": {0.0: (0.4, 0.3, 0.5), 1.0: (0.2, 0.1, 0.35)},
}
AHEAD = pd.DataFrame(
    {"condition": condition, "loss": loss, "seed": seed, "ahead": 0.1 * place + 0.02 * seed}
    for condition in ("fresh", "few")
    for place, loss in enumerate(("ipo", "kto", "rpo", "simpo", "chi_po"), start=-4)
    for seed in (0, 1)
    if (condition, loss) != ("few", "kto")  # a loss may lack a condition
)

JUDGES = {
    "exact quality": ((0.57, 0.51, 0.63), (0.57, 0.51, 0.63)),
    "prefers the first": ((0.7, 0.64, 0.75), (0.58, 0.54, 0.62)),
}

ENDS = pd.DataFrame(
    {
        "who": ["online", "online", "online", "offline", "offline", "offline"],
        "setting": [1.0, 1.0, 0.5, 1.0, 1.0, 0.5],
        "kl": [0.5, 0.7, 1.5, 0.4, 0.6, 2.0],
        "value": [0.6, 0.8, 1.2, 0.5, 0.5, 0.9],
    }
)
WATCHED = {
    "responses": pd.DataFrame(
        {"reference": [0.3, 0.1, 0.05], "policy": [0.2, 0.2, 0.1], "optimum": [0.1, 0.3, 0.2]},
        index=["very good but great", "not bad", "very very very wonderful"],
    ),
    "distances": {0: 3.5, 10: 1.2, 20: 0.06},
    "records": RECORDS,
    "samples": [("very good", 1.5), ("not very great acting", -2.25), ("very very wonderful acting", 0.0), ("so", 1)],
    "best_margin": 1.3,
    "limits": {"probability": (0, 0.35), "step": (-1, 32), "kl": (0.03, 4), "reward": (-7, 10)},
}


def watched(prompt="the acting", **other):
    return plots.watched_training(prompt=prompt, **WATCHED | other)


FIGURES = {
    "watched_training": watched,
    "watched_training, at the start": lambda: watched(records=[], distances={0: 3.5}),
    "losses_by_margin": lambda: plots.losses_by_margin(MARGINS, FOUR_LOSSES, BEST_MARGINS, 0.9),
    "losses_by_margin, sure": lambda: plots.losses_by_margin(MARGINS, FOUR_LOSSES, BEST_MARGINS, 1.0),
    "ahead_of_dpo": lambda: plots.ahead_of_dpo(AHEAD),
    "ends_by_kl": lambda: plots.ends_by_kl({"reward, nats": ENDS, "tokens": ENDS}),
    "ends_by_kl, frontier": lambda: plots.ends_by_kl({"reward, nats": ENDS}, np.array([[0.0, 1, 2], [0, 1, 1.5]])),
    "levers": lambda: plots.levers(BENCH),
    "growth": lambda: plots.growth(BENCH),
    "loss_differences": lambda: plots.loss_differences(LOSSES, within=1e-5),
    "interval_coverage": lambda: plots.interval_coverage(
        [0.5, 0.7, 0.9, 0.99],
        {f"n = {n}": {"Wilson": [0.95, 0.96, 0.97, 0.91], "normal": [0.93, 0.9, 0.8, 0.3]} for n in (50, 256)},
    ),
    "power_by_comparisons": lambda: plots.power_by_comparisons(
        [30, 256, 2373, 9000], {"unpaired": [0.06, 0.15, 0.8, 1.0]}, {256: 0.151, 2373: 0.8}
    ),
    "judged_win_rates": lambda: plots.judged_win_rates(JUDGES, 0.57),
    "win_rates_by_temperature": lambda: plots.win_rates_by_temperature(BY_TEMPERATURE),
    "pipelines": lambda: plots.pipelines(),
    "top_responses": lambda: plots.top_responses(RESPONSES, {"π_ref": P[::-1], "π_θ": P}, exact=P, title="t"),
    "reward_margins": lambda: plots.reward_margins(RECORDS, ceiling=0.9),
    "loss_and_weight": lambda: plots.loss_and_weight(beta=0.1, difference=-20.0),
    "loss_and_weight, far": lambda: plots.loss_and_weight(beta=5.0, difference=20.0),
    "live_margins": lambda: plots.live_margins(RECORDS),
    "live_margins, one record": lambda: plots.live_margins(RECORDS[:1]),
    "to_the_optimum": lambda: plots.to_the_optimum({"β = 1": RECORDS}, {"β = 1": (1.5, 1.0)}),
    "cut_pairs": lambda: plots.cut_pairs(FATES, 8),
    "cut_pairs, at the end": lambda: plots.cut_pairs(FATES, 40),
    "sweep": lambda: plots.sweep(SWEEP),
    "training_and_held_out": lambda: plots.training_and_held_out(CURVES, {"loss": "nats", "margin": "nats"}, 10),
    "training_beside_held_out": lambda: plots.training_beside_held_out(RECORDS, EVALUATIONS, 31),
    "training_beside_held_out, of sft": lambda: plots.training_beside_held_out(
        RECORDS[:1], [{"step": 0, "loss": 0.7, "loss_low": 0.7, "loss_high": 0.7}], 0
    ),
    "lengths": lambda: plots.lengths({"SFT": [4, 7, 7, 20], "DPO": [9, 9, 40]}),
    "learning_curves": lambda: plots.learning_curves(
        {"a": RECORDS, "b": RECORDS}, ["loss", "kl_to_optimum"], exact={"loss": 0.4}
    ),
    "ends_by_proposal": lambda: plots.ends_by_proposal(
        {"β = 1": {"book": [0.02, 0.03], "uniform": [0.3]}, "β = 0.3": {"book": [0.02], "uniform": [0.9, 1.0]}}
    ),
    "log_probabilities": lambda: plots.log_probabilities({"one": RECORDS, "two": RECORDS}),
    "probability_mass": lambda: plots.probability_mass(["a long name for a group", "b"], [0.4, 0.6], [0.1, 0.9]),
    "noisy_rewards": lambda: plots.noisy_rewards([-2, 0, 2], [0.1, 0.5, 0.9]),
    "fitted_words": lambda: plots.fitted_words(
        ["great", "a longer word", "bad"], [2.0, 0.1, -2.1], [9, 5, 1], [9, 5, 1]
    ),
    "win_tables": lambda: plots.win_tables({"one": (["great", "interesting"], [[0, 83], [0, 0]])}),
    "calibration": lambda: plots.calibration(
        {
            "pairs too": {
                "predicted": [0.6, 0.9],
                "observed": [0.6, 0.8],
                "pairs": ([0.5, 0.9, 1.0], [0.0, 1.0, 0.9]),
            },
            "groups": {"predicted": [0.6, 0.9], "observed": [0.6, 0.8]},
        }
    ),
    "recovered_rewards": lambda: plots.recovered_rewards(
        [-2, 0, 2],
        [-1, 0, 1.2],
        noise=2.0,
        count=100,
        counts=[10, 100, 1000],
        errors=[np.nan, 0.3, 0.1],
        limits=[0.9, 0.3, 0.09],
    ),
    "recovered_rewards, no fit": lambda: plots.recovered_rewards(
        [-2, 0, 2], None, noise=0.25, count=10_000, counts=[10, 10_000], errors=[np.nan, np.nan], limits=[0.9, 0.03]
    ),
    "reward_against_kl": lambda: plots.reward_against_kl([0.0, 1.0, 1.5, 1.7], [0.0, 0.5, 2.0, 4.0], 0.5),
    "reward_against_kl, dear": lambda: plots.reward_against_kl([0.0, 1.0, 1.5, 1.7], [0.0, 0.5, 2.0, 4.0], 5.0),
    "ascents": lambda: plots.ascents(
        {"β = 0": [{"step": s, "objective": s / 9, "kl": s, "likeliest": s / 10} for s in range(9)]}, {"β = 0": 1.0}
    ),
    "two_penalties": lambda: two_penalties("b"),
    "gradient_estimates": lambda: plots.gradient_estimates(
        RESPONSES[:3], [-0.1, 0.0, 0.1], {"a": ([-0.2, 0.1, 0.1], [0.1] * 3), "b": ([-0.1, 0, 0.1], [0.05] * 3)}, "t"
    ),
    "kl_estimators": lambda: plots.kl_estimators(
        [0.01, 0.1], {"k1": [0.01, 0.1], "k3": [0.01, 0.09]}, {"k1": [0.1, 0.5], "k3": [0.1, 2.0]}
    ),
    "climbs": lambda: plots.climbs({"a": ([0.1, 0.4, 0.5], [0.5, 0.1, 0.0])}, 0.5, "five responses"),
    "optimal_curve": lambda: plots.optimal_curve(
        RESPONSES[:5], P[:5], P[4::-1], ([0, 0.1, 0.5], [-0.3, 0.2, 0.6]), (0.1, 0.2), 2.0, {"others": ([0.2], [0.1])}
    ),
    "learned_rewards": lambda: plots.learned_rewards(
        {"many pairs": ([-2, 0, 2], [-1.8, 0.2, 1.5]), "few pairs": ([-2, 0, 2], [1, -3, 2])}, [0.5, 0.4, 1e-6]
    ),
    "noisy_labels": lambda: plots.noisy_labels(noise=0.0, margin=4.0),
    "noisy_labels, a coin": lambda: plots.noisy_labels(noise=0.5, margin=-4.0),
    "promised_and_gained": lambda: plots.promised_and_gained(
        {"many": ([0, 1, 2], [0, 1.0, 1.2], [0, 1.0, 1.1]), "few": ([0, 1, 2], [0, 1.5, 2], [0, 1.0, 0.9])},
        ([0, 1, 2, 5], [0, 1.2, 1.5, 1.9]),
    ),
    "shifted_rewards": lambda: plots.shifted_rewards(
        ["good", "a but", "bad"], [2, 1, -1.5], [5, 4, 1.5], [1, 0, -2.5], [[0.5, 0.73, 0.97]] * 3, P[:3], P[27:], "t"
    ),
    "reward_read_back": lambda: plots.reward_read_back(
        {"one": ([-2, 0, 2], [-4, -0.5, 2], [0.1, 0.8, 1e-9]), "two": ([0], [0.1], [1.0])}, {"one": -0.7, "two": 0.2}
    ),
}


# What a reader's style sheet, matplotlibrc or notebook may ask of all figures.
HOSTILE = {
    **{name: "white" for name in ("text.color", "axes.labelcolor", "xtick.color", "ytick.color", "axes.edgecolor")},
    **{name: "black" for name in ("figure.facecolor", "axes.facecolor", "savefig.facecolor")},
    "savefig.transparent": True,
    "savefig.bbox": "tight",
    "savefig.pad_inches": 3,
    "savefig.dpi": 300,
    "figure.dpi": 300,
    "figure.constrained_layout.w_pad": 1,
    "font.family": "monospace",
    "font.size": 23,
    "mathtext.fontset": "cm",
    "text.usetex": True,
    "text.antialiased": False,
    "text.parse_math": False,
    "lines.linewidth": 9,
    "legend.loc": "center",
    "axes.unicode_minus": False,
    "axes.prop_cycle": matplotlib.cycler(color=["white"]),
    "image.cmap": "gray",
    "path.sketch": (1, 100, 2),
}


@pytest.fixture(params=FIGURES, ids=str, scope="module")
def name(request):
    return request.param


@pytest.fixture(scope="module")
def figure(name):
    return FIGURES[name]()


@pytest.fixture(scope="module")
def picture(figure):
    return plots.png(figure)


def test_every_figure_is_drawn_here():
    public = {name: getattr(plots, name) for name in plots.__all__}
    drawing = {name for name, f in public.items() if callable(f) and f.__annotations__.get("return") is Figure}
    assert drawing == {name.partition(",")[0] for name in FIGURES}


def test_a_figure_has_alt_text_and_a_picture(figure, picture):
    assert len(figure.get_label()) > 30
    assert picture.startswith(b"\x89PNG")


def test_the_readers_own_settings_change_nothing(name, picture):
    with matplotlib.rc_context(HOSTILE):
        assert plots.png(FIGURES[name]()) == picture


def test_nothing_is_drawn_on_the_outermost_pixels(picture):
    """A label that does not fit is cut at the edge of the picture and leaves ink there."""
    pixels = np.asarray(Image.open(io.BytesIO(picture)).convert("L"))
    edges = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    assert (edges == 255).all()


def test_a_picture_has_two_dots_a_pixel_of_the_page(figure, picture):
    size = style.size_on_page(picture)
    assert size == tuple(np.round(100 * figure.get_size_inches()).astype(int))
    assert Image.open(io.BytesIO(picture)).size == (2 * size[0], 2 * size[1])
    place = 'width="{}" height="{}" style="max-width: 100%; height: auto"'.format(*size)
    assert place in plots.html_image(picture, "alt text")


def test_a_picture_of_few_colours_looks_like_one_of_all(figure):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=200)
    picture = Image.open(buffer).convert("RGB")
    few = style.in_few_colours(picture)
    # Four bits a channel: shades are 16 apart. One pixel in ten thousand may share a shade with farther neighbours.
    off = np.abs(np.asarray(few.convert("RGB"), int) - np.asarray(picture, int))
    assert np.quantile(off, 0.9999) <= 16
    assert len(few.getcolors()) <= 256


def test_drawing_a_picture_leaves_the_readers_figure_as_it_was():
    figure = Figure(figsize=(3, 2), dpi=72)
    canvas = figure.canvas
    plots.png(figure)
    assert (figure.dpi, figure.canvas) == (72, canvas)


def test_axes_are_named(figure):
    for axes in figure.axes:
        assert not axes.axison or axes.get_xlabel()


def test_the_readers_own_style_is_left_alone():
    with matplotlib.rc_context(HOSTILE):
        before = dict(rcParams)
        plots.png(plots.reward_margins(RECORDS))
        assert dict(rcParams) == before


# Names that a reader gives to runs, prompts, responses and words; matplotlib would read them in its own way.
ODD = "_costs $$, $5 or $x_"
NAMED = {
    "two_penalties": lambda: two_penalties(ODD),
    "ends_by_proposal": lambda: plots.ends_by_proposal({ODD: {ODD: [0.1]}}),
    "learning_curves": lambda: plots.learning_curves({ODD: RECORDS, "b": RECORDS}, ["loss"]),
    "to_the_optimum": lambda: plots.to_the_optimum({ODD: RECORDS}, {ODD: (1.5, 1.0)}),
    "log_probabilities": lambda: plots.log_probabilities({ODD: RECORDS}),
    "lengths": lambda: plots.lengths({ODD: [4, 7], "b": [9]}),
    "training_and_held_out": lambda: plots.training_and_held_out(
        CURVES.rename(columns={f"{part} loss": f"{part} {ODD}" for part in ("training", "held-out")}),
        {ODD: "nats"},
        10,
    ),
    "top_responses": lambda: plots.top_responses([ODD] * 10, {ODD: P[:10]}, title=ODD),
    "watched_training": lambda: watched(
        ODD, responses=WATCHED["responses"].rename(index={"not bad": ODD}), samples=[(ODD, 1.0)]
    ),
    "probability_mass": lambda: plots.probability_mass([ODD], [0.4], [0.1]),
    "fitted_words": lambda: plots.fitted_words([ODD, "b"], [1.0, -1.0], [2, 1], [2, 1]),
    "win_tables": lambda: plots.win_tables({ODD: ([ODD, "b"], [[0, 1], [0, 0]])}),
    "calibration": lambda: plots.calibration({ODD: {"predicted": [0.6], "observed": [0.6]}}),
    "ascents": lambda: plots.ascents({ODD: [{"step": 0, "objective": 0, "kl": 0, "likeliest": 0.1}]}, {}),
    "gradient_estimates": lambda: plots.gradient_estimates([ODD], [0.1], {ODD: ([0.1], [0.1])}, ODD),
    "kl_estimators": lambda: plots.kl_estimators([0.1, 0.2], {ODD: [0.1, 0.2]}, {ODD: [0.5, 0.6]}),
    "climbs": lambda: plots.climbs({ODD: ([0.1, 0.4], [0.5, 0.1])}, 0.5, ODD),
    "optimal_curve": lambda: plots.optimal_curve(
        [ODD], [1.0], [1.0], ([0, 0.1], [0, 0.2]), (0.1, 0.2), 2.0, {ODD: ([0.2], [0.1])}
    ),
    "learned_rewards": lambda: plots.learned_rewards({ODD: ([-2, 2], [-1.8, 1.5])}, [0.5, 1e-6]),
    "promised_and_gained": lambda: plots.promised_and_gained({ODD: ([0, 1], [0, 1.0], [0, 0.9])}, ([0, 1], [0, 1.2])),
    "shifted_rewards": lambda: plots.shifted_rewards([ODD], [2], [5], [1], [[0.5]], [1.0], [1.0], ODD),
    "reward_read_back": lambda: plots.reward_read_back({ODD: ([0], [0.1], [1.0])}, {ODD: -0.7}),
    "interval_coverage": lambda: plots.interval_coverage([0.1, 0.9], {ODD: {ODD: [0.9, 0.8]}}),
    "power_by_comparisons": lambda: plots.power_by_comparisons([30, 300], {ODD: [0.1, 0.4]}, {100: 0.2}),
    "judged_win_rates": lambda: plots.judged_win_rates({ODD: ((0.6, 0.5, 0.7), (0.5, 0.4, 0.6))}, 0.57),
    "win_rates_by_temperature": lambda: plots.win_rates_by_temperature({ODD: BY_TEMPERATURE["DPO"]}),
    "levers": lambda: plots.levers(BENCH.replace({"mini, TL;DR-like": ODD, "textbook": ODD})),
    "loss_differences": lambda: plots.loss_differences(LOSSES.replace({"mini, short pairs": ODD}), within=1e-5),
}


@pytest.mark.parametrize("named", NAMED)
def test_a_name_with_dollars_is_shown_as_it_is(named):
    figure = NAMED[named]()
    assert plots.png(figure).startswith(b"\x89PNG")
    texts = [text.get_text() for text in figure.findobj(Text)]
    shown = [text.replace(r"\$", "$") for text in texts if "costs" in text and not cbook.is_math_text(text)]
    assert shown and all(ODD in text for text in shown)
    assert len(shown) == sum("costs" in text for text in texts)


def test_a_run_whose_name_starts_with_an_underscore_is_in_the_legend():
    legend = plots.learning_curves({"_mine": RECORDS, "b": RECORDS}, ["loss"]).axes[0].get_legend()
    assert [text.get_text().lstrip("\u200b") for text in legend.get_texts()] == ["_mine", "b"]


def test_exact_values_are_dashed_black_and_chosen_and_rejected_keep_their_colours():
    left, right = plots.reward_margins(RECORDS, ceiling=0.9).axes
    colours = {line.get_label(): line.get_color() for line in left.lines}
    assert (colours["chosen"], colours["rejected"], colours["margin"]) == (plots.CHOSEN, plots.REJECTED, plots.POLICY)
    (ceiling,) = (line for line in right.lines if line.get_linestyle() == "--")
    assert ceiling.get_color() == "black" and ceiling.get_ydata()[0] == 0.9


def test_an_interval_of_a_judge_ends_where_it_was_measured():
    axes = plots.judged_win_rates(JUDGES, 0.57).axes[0]
    raw, corrected = axes.containers
    (bars,) = raw[2]
    ends = [bar[:, 0] for bar in bars.get_segments()]
    assert np.ravel(ends) == pytest.approx([0.51, 0.63, 0.64, 0.75])
    assert list(corrected[0].get_xdata()) == [0.57, 0.58]


def test_a_win_rate_stands_at_its_temperature_between_its_ends():
    axes = plots.win_rates_by_temperature(BY_TEMPERATURE).axes[0]
    dpo, _ = axes.containers
    assert list(dpo[0].get_xdata()) == [0, 0.5, 1] and list(dpo[0].get_ydata()) == [0.6, 0.55, 0.4]
    (bars,) = dpo[2]
    ends = [bar[:, 1] for bar in bars.get_segments()]
    assert np.ravel(ends) == pytest.approx([0.5, 0.7, 0.45, 0.65, 0.3, 0.5])


def test_an_interval_whose_end_is_rounded_below_its_share_is_drawn():
    below = 1 - 2**-53
    for figure in (
        plots.win_rates_by_temperature({"DPO": {0.0: (1.0, 0.6, below)}}),
        plots.judged_win_rates({"exact": ((1.0, 0.6, below), (1.0, 0.6, below))}, 1.0),
    ):
        assert plots.png(figure).startswith(b"\x89PNG")


def test_between_frames_of_a_training_nothing_moves_but_the_data():
    """Samples may be of any length, and the longest of the verdicts' world is not cut off."""
    longest = [("acting acting acting ending", -1.0)] * 4
    frames = [watched(records=[], distances={0: 3.5}), watched(), watched(samples=longest)]
    for figure in frames:
        figure.draw_without_rendering()
    places = [[axes.get_window_extent().bounds for axes in figure.axes] for figure in frames]
    limits = [[(axes.get_xlim(), axes.get_ylim()) for axes in figure.axes] for figure in frames]
    assert places[0] == places[1] == places[2] and limits[0] == limits[1] == limits[2]
    said = [text for text in frames[2].axes[1].texts if "acting" in text.get_text()]
    assert len(said) == 4 and all(text.get_window_extent().x1 < frames[2].bbox.x1 for text in said)


def test_a_frame_of_a_training_shows_what_has_been_and_no_more():
    figure = watched(records=RECORDS[:20])
    bars, samples, kl, rewards = figure.axes
    likely = WATCHED["responses"]
    assert [text.get_text() for text in bars.get_yticklabels()] == list(likely.index)
    assert [list(drawn.datavalues) for drawn in bars.containers] == [likely[name].tolist() for name in likely]
    assert [text.get_text() for text in samples.texts[:4]] == ["+1.50", "very good", "−2.25", "not very great acting"]
    assert list(kl.lines[0].get_xdata()) == [0, 10, 20] and kl.get_title() == "now 0.060 nats from π*"
    assert {line.get_label(): line.get_xdata()[-1] for line in rewards.lines[:3]}["margin"] == 20
    assert figure.get_label().startswith("After 20 steps: KL to the optimum is 0.060 nats.")


def test_top_responses_are_sorted_by_what_is_asked_for():
    axes = plots.top_responses(RESPONSES, {"π_ref": P[::-1], "π_θ": P}, count=3).axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == [RESPONSES[i] for i in (29, 28, 27)]
    axes = plots.top_responses(RESPONSES, {"π_θ": P}, count=2, order_by=P[::-1]).axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == [RESPONSES[i] for i in (0, 1)]


def test_metrics_of_every_step_are_smoothed_and_sparse_ones_are_not():
    loss, kl = plots.learning_curves({"a": RECORDS}, ["loss", "kl_to_optimum"]).axes
    assert loss.lines[0].get_ydata()[-1] > RECORDS[-1]["loss"]  # a mean over the steps before, of a falling loss
    assert kl.lines[0].get_ydata()[-1] == RECORDS[-1]["kl_to_optimum"]


def test_ends_by_kl_draws_every_run_a_line_through_seeds_means_and_the_frontier():
    axes = plots.ends_by_kl({"reward": ENDS}, np.array([[0.0, 1, 9], [0, 1, 3]])).axes[0]
    frontier, online_means, online, *_ = axes.lines
    assert frontier.get_linestyle() == "--" and frontier.get_xdata().max() < 9  # no farther than the runs
    np.testing.assert_allclose(online_means.get_xydata(), [[0.6, 0.7], [1.5, 1.2]])
    assert len(online.get_xdata()) == 3
    six = pd.concat([ENDS.assign(who=name) for name in "abcdef"])
    with pytest.raises(ValueError, match="at most 5 kinds of runs, got 6"):
        plots.ends_by_kl({"reward": six})


def test_a_loss_without_a_best_margin_has_no_marker_there():
    figure = plots.losses_by_margin(MARGINS, FOUR_LOSSES, BEST_MARGINS, 1.0)  # where all four are infinite
    curves_and_the_line = 5
    assert len(figure.axes[1].lines) == curves_and_the_line
    assert "DPO none" in figure.get_label() and "inf" not in figure.get_label()
    somewhere = plots.losses_by_margin(MARGINS, FOUR_LOSSES, BEST_MARGINS, 0.9)
    assert len(somewhere.axes[1].lines) == curves_and_the_line + 4


def test_a_figure_that_cannot_tell_its_curves_apart_says_so():
    assert list(with_looks("ab", SHADES, MARKERS)) == [("a", SHADES[0], "o"), ("b", SHADES[1], "s")]
    with pytest.raises(ValueError, match="tells 4 curves apart, and 5 were given"):
        with_looks("abcde", SHADES)
