"""Figures of the RLHF objective (eq. 3): its two pulls, ascents on it, the other penalty, and what samples say."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from dpo_book.plots.style import (
    EXACT,
    LINES,
    POLICY,
    REFERENCE,
    SHADES,
    column,
    exact_line,
    literally,
    new_figure,
    styled,
    with_looks,
)

KL_TO_REFERENCE = r"KL($\pi \Vert \pi_{ref}$), nats"
# Estimators are no policies, so not green. Dark, middle and light also in grey; the first is drawn wide and the rest
# narrow, for lines that lie on each other have to be seen both.
ESTIMATORS = (
    {"color": "#332288", "marker": "o", "markersize": 8, "markerfacecolor": "white", "linewidth": 3.5},
    {"color": "#806600", "marker": "s", "markersize": 5, "linestyle": "-.", "linewidth": 1.8},
    {"color": "#B98A28", "marker": "^", "markersize": 5, "markeredgecolor": "black", "linewidth": 1.8},
)


@styled
def reward_against_kl(reward: Sequence[float], kl: Sequence[float], beta: float) -> Figure:
    """E[r] and β·KL (left) and the objective, their difference (right), along a path of policies.

    reward, kl: expected reward and KL(π‖π_ref) of every policy on the path, which starts at π_ref.
    """
    reward, kl = np.asarray(reward), np.asarray(kl)
    objective = reward - beta * kl
    best = int(objective.argmax())
    alt = (
        f"Along a path away from the reference at β = {beta:.2f}. Left: expected reward rises ever more slowly with "
        f"KL, the penalty β·KL rises in a straight line. Right: the objective has its maximum {objective[best]:.2f} "
        f"at a KL of {kl[best]:.2f} nats."
    )
    figure, (pulls, gap) = new_figure(3.4, 2, alt)
    pulls.plot(kl, reward, color=POLICY, label="expected reward E[r]")
    pulls.plot(kl, beta * kl, "-.", color=REFERENCE, label=rf"penalty $\beta\cdot$KL, $\beta$ = {beta:.2f}")
    pulls.plot([kl[best]] * 2, [beta * kl[best], reward[best]], color=EXACT, linestyle="--", linewidth=1.2)
    pulls.set(ylim=(-0.1, 3.3), ylabel="nats", title="reward and penalty")
    pulls.legend(loc="upper left")
    gap.plot(kl, objective, color=POLICY)
    gap.axvline(kl[best], color=EXACT, linestyle="--", linewidth=1.2)
    gap.plot(kl[best], objective[best], "o", color=EXACT)
    gap.axhline(objective[0], color=REFERENCE, linewidth=0.8)
    gap.set(
        ylim=(-2.0, 2.0),
        ylabel="objective J, nats",
        title=f"highest: J = {objective[best]:.2f} at {kl[best]:.2f} nats",
    )
    for axes in (pulls, gap):
        axes.set(xlabel=KL_TO_REFERENCE, xlim=(-0.05, None))
    return figure


@styled
def ascents(runs: Mapping[str, Sequence[Mapping[str, float]]], exact: Mapping[str, float]) -> Figure:
    """Objective, KL to the reference and probability of the likeliest response by step, one green a run.

    runs: label → records with ``step``, ``objective``, ``kl`` and ``likeliest``. exact: label → a value of the
    objective known in advance, dashed black.
    """
    alt = f"By step of gradient ascent, for {', '.join(runs)}: objective, KL to the reference, highest probability."
    figure, (objective, kl, likeliest) = new_figure(3.1, 3, alt)
    for (label, records), colour, line in with_looks(runs.items(), SHADES, LINES):
        look = {"color": colour, "linestyle": line, "label": literally(label)}
        for axes, name in ((objective, "objective"), (kl, "kl"), (likeliest, "likeliest")):
            axes.plot(column(records, "step"), column(records, name), **look)
        if label in exact:
            exact_line(objective, exact[label])
    objective.set(xlabel="step", ylabel="objective J, nats", title="objective")
    kl.set(xlabel="step", ylabel=KL_TO_REFERENCE, title="distance moved")
    likeliest.set(xlabel="step", ylabel="probability", title="the likeliest response", ylim=(-0.02, 1.04))
    likeliest.legend(loc="center right")
    return figure


@styled
def two_penalties(
    reward: Sequence[float], log_ratios: Mapping[str, Sequence[float]], pole: float,
    betas: Sequence[float], taken: Mapping[str, Sequence[float]], beta: float,
) -> Figure:  # fmt: skip
    """What the best policies under two penalties do: π/π_ref by reward, and the best response's share by β.

    reward (N,): of every response. log_ratios: penalty → log(π/π_ref) (N,) of the best policy at ``beta``. pole: the
    reward at which the second penalty's factor would be infinite. taken: penalty → probability of the response with
    the most reward, under the best policy at each of ``betas``.
    """
    ordered, order = np.unique(np.asarray(reward), return_index=True)  # equal rewards change alike
    nearest = int(np.abs(np.log(betas) - np.log(beta)).argmin())
    now = {name: shares[nearest] for name, shares in taken.items()}
    shares = " and ".join(f"{share:.5f} under {name}" for name, share in now.items())
    alt = (
        f"Best policies under two penalties at β = {beta:.2f}. Left: the factor by which a response's probability "
        "changes, by its reward; one is a straight line on a logarithmic axis, the other shoots up at the highest "
        f"reward. Right: probability of the best response by β, at {betas[nearest]:.2f} {shares}."
    )
    figure, (factor, share) = new_figure(3.4, 2, alt)
    drawn = zip(log_ratios.items(), (SHADES[0], SHADES[2]), ("-", "-."), strict=True)
    for (name, log_ratio), colour, dashes in drawn:
        style = {"color": colour, "linestyle": dashes, "linewidth": 2.2, "label": literally(name)}
        factor.plot(ordered, np.exp(np.asarray(log_ratio)[order]), **style)
        share.plot(betas, taken[name], **style)
    factor.axvline(pole, color=EXACT, linestyle=":", linewidth=1.2, label=r"$\lambda$")
    factor.set(yscale="log", ylim=(1e-3, 1e6), xlabel="reward r, nats", ylabel=r"$\pi / \pi_{ref}$")
    factor.set_title("change of a response's probability")
    factor.legend(loc="upper left")
    share.axvline(beta, color=EXACT, linestyle="--", linewidth=1.2)
    share.set(xscale="log", yscale="log", ylim=(3e-6, 2), xlabel=r"price of a nat $\beta$", ylabel="probability")
    share.set_title("the best response")
    for axes in (factor, share):
        axes.minorticks_off()  # a slider redraws this: minor ticks take as long as all the rest
    return figure


@styled
def gradient_estimates(
    names: Sequence[str],
    exact: Sequence[float],
    estimates: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    title: str = "",
    limit: float | None = None,
) -> Figure:
    """Sampled gradients as points with two standard errors to either side, the exact one as dashed black lines.

    names: what each component of the gradient belongs to. estimates: label → (means, standard errors). limit: the
    axis runs from −limit to limit, the same for every figure that is to be compared.
    """
    alt = (
        f"{title}: for each of {', '.join(names)}, the derivative estimated {' and '.join(estimates)}, "
        "with error bars; the exact one is a dashed line."
    )
    figure, (axes,) = new_figure(3.6, 1, alt)
    place = np.arange(len(names))
    for i, ((label, (mean, error)), colour) in enumerate(with_looks(estimates.items(), SHADES[1::-1])):
        shift = 0.3 * (i + 0.5) / len(estimates) - 0.15
        axes.errorbar(
            np.asarray(mean), place + 1.4 * shift, xerr=2 * np.asarray(error), fmt="os"[i % 2], color=colour,
            label=literally(label), capsize=3, markersize=5,
        )  # fmt: skip
    axes.vlines(exact, place - 0.35, place + 0.35, color=EXACT, linestyle="--", label="exact")
    if limit is not None:
        axes.set_xlim(-limit, limit)
    axes.set_yticks(place, [literally(name) for name in names])
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set(xlabel=r"derivative of J by the response's logit $\theta_y$, nats", title=literally(title))
    figure.legend(loc="outside right upper")
    return figure


@styled
def kl_estimators(
    kl: Sequence[float], means: Mapping[str, Sequence[float]], deviations: Mapping[str, Sequence[float]]
) -> Figure:
    """Mean and standard deviation of one sample's estimate, as multiples of the true KL, by the true KL.

    means, deviations: label → a value for each of ``kl``.
    """
    said = [f"{label} {values[0] / kl[0]:.2f} to {values[-1] / kl[-1]:.2f}" for label, values in means.items()]
    alt = (
        "By the true KL. Left: mean over true value, from the smallest KL to the largest: "
        f"{', '.join(said)}. Right: standard deviation over true value."
    )
    figure, (bias, spread) = new_figure(3.4, 2, alt)
    kl = np.asarray(kl)
    exact_line(bias, 1.0, "true value (exact)")
    for label, look in with_looks(means, ESTIMATORS):
        style = look | {"label": literally(label)}
        bias.plot(kl, np.asarray(means[label]) / kl, **style)
        spread.plot(kl, np.asarray(deviations[label]) / kl, **style)
    for axes in (bias, spread):
        axes.set(xscale="log", xlabel="true " + KL_TO_REFERENCE)
    bias.set(ylabel="mean of an estimate / true KL", title="bias", ylim=(0.5, 1.5))
    spread.set(ylabel="standard deviation / true KL", title="noise of one sample", yscale="log")
    bias.legend(loc="upper left")
    return figure
