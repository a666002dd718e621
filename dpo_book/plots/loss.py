"""Figures of the DPO loss as a function of what the policy controls: a difference of two log-ratios (eq. 7)."""

import numpy as np
from matplotlib.figure import Figure

from dpo_book.plots.style import EXACT, POLICY, REFERENCE, new_figure, styled


@styled
def loss_and_weight(beta: float, difference: float) -> Figure:
    """Loss −log σ(m) and gradient weight β σ(−m) against m/β, with one pair marked.

    difference: m/β = log(π(y_w)/π_ref(y_w)) − log(π(y_l)/π_ref(y_l)) of that pair, in nats: the winner's log-ratio
    less the loser's.
    """
    alt = (
        f"At β = {beta:.2f}: left, the DPO loss falls with the difference of the two log-ratios and is ln 2 at zero; "
        f"right, the weight of a pair falls from β to 0. The pair with a difference of {difference:.1f} is marked."
    )
    figure, (loss, weight) = new_figure(3.2, 2, alt)
    differences = np.linspace(-20, 20, 401)
    m = beta * differences
    margin = beta * difference
    for axes, curve, at_pair in (
        (loss, np.logaddexp(0, -m), np.logaddexp(0, -margin)),
        (weight, beta / (1 + np.exp(m)), beta / (1 + np.exp(margin))),
    ):
        axes.plot(differences, curve, color=POLICY)
        axes.axvline(0, color=REFERENCE, linewidth=0.8)
        axes.plot([difference], [at_pair], "o", color=EXACT)
        axes.set(xlabel=r"difference of log-ratios $m/\beta$, nats", xlim=(-20.5, 20.5))
    loss.axhline(np.log(2), color=EXACT, linestyle="--", linewidth=1.2, label="ln 2")
    loss.legend(loc="upper right")
    loss.set(ylabel=r"$-\log\,\sigma(m)$, nats", ylim=(-0.3, None), title=f"loss at β = {beta:.2f}")
    weight.set(ylabel=r"$\beta\,\sigma(-m)$", title=f"weight; the pair has m = {margin:.2f}")
    weight.set_ylim(-0.03 * beta, 1.05 * beta)
    return figure
