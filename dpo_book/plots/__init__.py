"""Every figure of the book: pure functions of data that return a ``Figure``. Nothing here trains or shows.

``style`` holds what they share; each other file, the figures of one subject.
"""

from dpo_book.plots.after import ahead_of_dpo, ends_by_kl, losses_by_margin
from dpo_book.plots.comparisons import calibration, fitted_words, noisy_rewards, recovered_rewards, win_tables
from dpo_book.plots.evaluations import training_beside_held_out
from dpo_book.plots.implicit import reward_read_back, shifted_rewards
from dpo_book.plots.judging import interval_coverage, judged_win_rates, power_by_comparisons, win_rates_by_temperature
from dpo_book.plots.loss import loss_and_weight
from dpo_book.plots.objective import ascents, gradient_estimates, kl_estimators, reward_against_kl, two_penalties
from dpo_book.plots.optimum import climbs, optimal_curve
from dpo_book.plots.preferences import cut_pairs, lengths, sweep, training_and_held_out
from dpo_book.plots.responses import pipelines, probability_mass, top_responses
from dpo_book.plots.reward import learned_rewards, noisy_labels, promised_and_gained
from dpo_book.plots.scale import growth, levers, loss_differences
from dpo_book.plots.style import CHOSEN, EXACT, POLICY, REFERENCE, REJECTED, html_image, png
from dpo_book.plots.training import (
    ends_by_proposal,
    learning_curves,
    live_margins,
    log_probabilities,
    reward_margins,
    to_the_optimum,
)
from dpo_book.plots.watched_training import watched_training

__all__ = [
    "CHOSEN",
    "EXACT",
    "POLICY",
    "REFERENCE",
    "REJECTED",
    "ahead_of_dpo",
    "ascents",
    "calibration",
    "climbs",
    "cut_pairs",
    "ends_by_kl",
    "ends_by_proposal",
    "fitted_words",
    "gradient_estimates",
    "growth",
    "html_image",
    "interval_coverage",
    "judged_win_rates",
    "kl_estimators",
    "learned_rewards",
    "learning_curves",
    "lengths",
    "levers",
    "live_margins",
    "log_probabilities",
    "loss_and_weight",
    "loss_differences",
    "losses_by_margin",
    "noisy_labels",
    "noisy_rewards",
    "optimal_curve",
    "pipelines",
    "png",
    "power_by_comparisons",
    "probability_mass",
    "promised_and_gained",
    "recovered_rewards",
    "reward_against_kl",
    "reward_margins",
    "reward_read_back",
    "shifted_rewards",
    "sweep",
    "to_the_optimum",
    "top_responses",
    "training_and_held_out",
    "training_beside_held_out",
    "two_penalties",
    "watched_training",
    "win_rates_by_temperature",
    "win_tables",
]
