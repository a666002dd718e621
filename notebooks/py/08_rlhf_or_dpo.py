# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 08 · RLHF or DPO?
#
# Two ways lead from comparisons to a policy. RLHF fits a reward model to them and then climbs its reward with PPO, which
# samples all along. DPO goes from the pairs to the policy with one loss. Chapters 04 and 06 proved that both have the same
# optimum. The proof does not say who comes nearer with finite data, who is there first, and what it costs. Here both
# run, with five other methods, from the same reference, on the same comparisons, with the same budget.
#
# **Write down a prediction first.** Three runs at $\beta = 0.3$: DPO, PPO on a learned reward, and PPO that may ask for the
# *true* reward of every sample it draws. Who has 90 % of the attainable reward first, counted in seconds? And counted in
# sampled tokens?
#
# | after this chapter you can | |
# |---|---|
# | derive PPO from equation 3, and say what each of its parts is for | 25 min |
# | name the four models of RLHF and the two of DPO | 5 min |
# | read a reward–KL frontier, and see a reward model being exploited | 15 min |
# | say what DPO saves, and what it does not | 15 min |
#
# You need chapters 02 (reward model), 03 (equation 3), 04 (its optimum) and 07. Symbols as there: policy $\pi_\theta$,
# reference $\pi_{\text{ref}}$, true reward $r^*$, learned reward $r_\phi$, price of straying $\beta$.

# %%
from dataclasses import replace

import ipywidgets
import numpy as np
import torch

from dpo_book import *
from dpo_book import plots, ppo, widgets
from dpo_book.arena import SampledArena, draw_data
from dpo_book.checks.ppo import check_advantages, check_clipped_loss, check_penalized_reward
from dpo_book.evaluate import expected_reward
from dpo_book.frontier import measure_run, read, runs_of, table
from dpo_book.notebook import stored
from dpo_book.plans import PLANS
from dpo_book.recipes import verdicts_reference
from dpo_book.worlds.verdicts import verdicts

setup(seed=0)
world, reference = verdicts(), verdicts_reference()
with torch.no_grad():
    ref_logp = world.logp(reference).double()  # log π_ref(y|x), (3, 14641)

# %% [markdown]
# ## Who takes part
#
# | method | learns from | how | its strength |
# |---|---|---|---|
# | SFT | – | it is the reference | – |
# | preferred-FT | winners | imitates them | – |
# | unlikelihood | pairs | raises $\log \pi(y_w)$, lowers $\alpha \log \pi(y_l)$, no reference | $\alpha$ |
# | DPO | pairs | equation 7 | $\beta$ |
# | best-of-n | pairs, by a reward model | draws n from the reference, keeps the best by $r_\phi$; trains no policy | $n$ |
# | PPO | pairs, by a reward model | climbs equation 3 with $r_\phi$ on its own samples | $\beta$ |
# | PPO-GT | the true reward | the same with $r^*$ | $\beta$ |
#
# GT stands for ground truth. PPO-GT is not a competitor, because nobody can ask people about every sample. It shows how good PPO
# is when the reward model is not to blame.
#
# ## Three responses
#
# PPO is built on one gradient. Here it is by hand, for a policy over three responses: the softmax of three numbers
# $\theta$ (logits). Write $R(y) = r(y) - \beta \log \frac{\pi_\theta(y)}{\pi_{\text{ref}}(y)}$ for the reward after its
# price. (Chapter 03 called it $A(y)$; here the letter $A$ is wanted for something else.) The claim:
#
# $$\nabla_\theta J = \sum_y \pi_\theta(y)\, R(y)\, \nabla_\theta \log \pi_\theta(y).$$
#
# For a softmax, $\nabla_\theta \log \pi_\theta(y)$ is 1 at $y$'s own place and 0 elsewhere, minus the probabilities.

# %% tags=["eq-3"]
vector = lambda *values: torch.tensor(values, dtype=torch.float64)
p_ref, r, beta = vector(0.5, 0.3, 0.2), vector(0.0, 1.0, 2.0), 0.5
theta = vector(0.2, 0.0, -0.1).requires_grad_()
logp = theta.log_softmax(0)
J = kl_regularized_objective(logp, p_ref.log(), r, beta)
(autograd,) = torch.autograd.grad(J, theta)

p = logp.detach().exp()
R = r - beta * (p.log() - p_ref.log())
score = torch.eye(3, dtype=torch.float64) - p  # row y: ∇ log π(y)
by_hand = (p * R) @ score
for y in range(3):
    print(f"π = {p[y]:.4f}   R = {R[y]:7.4f}   ∂J/∂θ: by hand {by_hand[y]:7.4f}")
print(f"J = {J:.4f} = Σ π R = {(p * R).sum():.4f}")
assert torch.isclose(J, (p * R).sum(), atol=1e-12) and torch.allclose(by_hand, autograd, atol=1e-12)

# %% [markdown]
# Autograd agrees. The response with the highest $R$ gains most. The sum over $y$ weighted with $\pi_\theta(y)$ is a mean
# over samples. That is why PPO can work without listing responses.
#
# ## From equation 3 to PPO
#
# ### The policy gradient
#
# The prompt is left out to save ink.
#
# 1. $J = \sum_y \pi_\theta(y) R(y)$: both parts of equation 3 are means over $y \sim \pi_\theta$.
# 2. $\nabla J = \sum_y R(y) \nabla \pi_\theta(y) + \sum_y \pi_\theta(y) \nabla R(y)$: the product rule, for $R$ holds $\pi_\theta$ too.
# 3. $\nabla R(y) = -\beta \nabla \log \pi_\theta(y)$: nothing else in $R$ depends on $\theta$.
# 4. $\pi_\theta(y) \nabla \log \pi_\theta(y) = \nabla \pi_\theta(y)$: the derivative of the logarithm.
# 5. $\sum_y \pi_\theta(y) \nabla \log \pi_\theta(y) = \nabla \sum_y \pi_\theta(y) = \nabla 1 = 0$: step 4, and probabilities sum to 1. So the second sum of step 2 vanishes.
# 6. $\nabla J = \sum_y \pi_\theta(y) R(y) \nabla \log \pi_\theta(y) = \mathbb{E}_{y \sim \pi_\theta}[R(y)\, \nabla \log \pi_\theta(y)]$: step 4 in what is left.
#
# To check this and what follows we need *tokens*. Take responses of two words out of three: nine of them. $\theta$ holds 12
# numbers: three logits for the first word, and three for the second word after each first. `score` has
# $\nabla \log \pi(y_t \mid y_{<t})$ of each token, where $y_{<t}$ is what was said before it.

# %%
words = ("good", "not", "bad")
theta = torch.randn(12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
theta.requires_grad_()
r = vector(5.0, 3.5, 2.0, 2.0, 3.0, 4.0, 3.0, 4.0, 1.0)  # "good good", "good not", ...


def token_logp(theta):
    """log π of both tokens of each of the nine responses: (9, 2)."""
    first, second = theta[:3].log_softmax(0), theta[3:].reshape(3, 3).log_softmax(1)
    return torch.stack([first.repeat_interleave(3), second.flatten()], dim=1)


ref = token_logp(torch.zeros(12, dtype=torch.float64))  # the reference says everything alike
score = torch.autograd.functional.jacobian(token_logp, theta)  # (9, 2, 12)
print("Σ_y π_ref(y) =", f"{ref.sum(dim=1).exp().sum():.4f}")

# %% [markdown]
# Steps 5 and 6, each as a sum over all nine responses. Look for two zeros.

# %% tags=["eq-3"]
logp = token_logp(theta)
J = kl_regularized_objective(logp.sum(dim=1), ref.sum(dim=1), r, beta)
(gradient,) = torch.autograd.grad(J, theta)

logp = logp.detach()
p = logp.sum(dim=1).exp()
R = r - beta * (logp - ref).sum(dim=1)
whole = score.sum(dim=1)  # ∇ log π(y), (9, 12)
vanishing, policy_gradient = p @ whole, (p * R) @ whole
print(f"step 5: |E[∇ log π]| = {vanishing.norm():.4f}")
print(
    f"step 6: |E[R ∇ log π] − ∇J| = {(policy_gradient - gradient).norm():.4f}, |∇J| = {gradient.norm():.4f}"
)
assert vanishing.abs().max() < 1e-12
assert torch.allclose(policy_gradient, gradient, atol=1e-12)

# %% [markdown]
# ### A baseline
#
# 7. $\mathbb{E}[b\, \nabla \log \pi_\theta(y)] = b \cdot 0 = 0$ for every number $b$: step 5.
# 8. $\nabla J = \mathbb{E}[(R(y) - b)\, \nabla \log \pi_\theta(y)]$: step 7 subtracted from step 6.
#
# So $b$ changes no mean. It changes how much a single sample can be off. The variance of one sample is
# $\mathbb{E}\left[\lVert (R - b) \nabla \log \pi_\theta - \nabla J \rVert^2\right]$. Look at the last column.


# %%
def mean_and_variance(estimates):
    """Of a gradient estimate (9, 12), one a response: its mean, and its variance summed over θ. Exact."""
    mean = p @ estimates
    return mean, (p @ (estimates - mean).square().sum(dim=1)).item()


variances = {}
for name, b in (("0", 0.0), ("E[R]", (p @ R).item()), ("2 E[R]", 2 * (p @ R).item())):
    mean, variances[name] = mean_and_variance((R - b)[:, None] * whole)
    print(
        f"b = {name:6}  error of the mean {(mean - gradient).norm():.4f}   variance {variances[name]:8.4f}"
    )
    assert torch.allclose(mean, gradient, atol=1e-12)
assert variances["E[R]"] < variances["0"] / 5

# %% [markdown]
# All rewards are above zero here. Without a baseline every sample says "more of me", and only the mean sorts it
# out. With $b = \mathbb{E}[R]$ a sample says "more of me" if it was better than expected. A bad baseline is worse than none.
#
# ### The reward, dealt out to tokens
#
# A language model makes many small decisions, one a token. Which of them was good?
#
# 9. $\log \frac{\pi_\theta(y)}{\pi_{\text{ref}}(y)} = \sum_t \log \frac{\pi_\theta(y_t \mid y_{<t})}{\pi_{\text{ref}}(y_t \mid y_{<t})}$: the chain rule of probabilities.
# 10. $R(y) = \sum_t R_t$, where token $t$ has $R_t = -\beta \log \frac{\pi_\theta(y_t \mid y_{<t})}{\pi_{\text{ref}}(y_t \mid y_{<t})}$, and the last one has $r(y)$ on top: step 9 in $R$.
#
# The package's `penalized_rewards` deals them out. `mask` says which tokens are the response's.

# %% tags=["eq-3"]
mask = torch.ones(9, 2, dtype=torch.bool)
rewards = ppo.penalized_rewards(logp, ref, mask, r, beta)  # R_t, (9, 2)
for y in (0, 4, 8):
    text = f"{words[y // 3]} {words[y % 3]}"
    print(f"{text:10} R_1 = {rewards[y, 0]:7.4f}   R_2 = {rewards[y, 1]:7.4f}   R = {R[y]:7.4f}")
J = kl_regularized_objective(logp.sum(dim=1), ref.sum(dim=1), r, beta)
assert torch.allclose(rewards.sum(dim=1), R, atol=1e-12)
assert torch.isclose(p @ rewards.sum(dim=1), J, atol=1e-12)

# %% [markdown]
# ### Values and advantages
#
# 11. $\mathbb{E}[R_s\, \nabla \log \pi_\theta(y_t \mid y_{<t})] = 0$ for $s < t$: given $y_{<t}$, $R_s$ is a fixed number, and step 5 holds for the next token alone. A token earns nothing for what was said before it.
# 12. The same for any $b(y_{<t})$, by the same reason. The **value** $V_t = V(y_{<t})$ is the choice $\mathbb{E}[R_t + R_{t+1} + \dots \mid y_{<t}]$: what is expected from here on.
# 13. $\nabla J = \mathbb{E}\left[\sum_t A_t \nabla \log \pi_\theta(y_t \mid y_{<t})\right]$ with the **advantage** $A_t = R_t + R_{t+1} + \dots - V_t$: steps 11 and 12 in step 6.
# 14. $A_t = \delta_t + \delta_{t+1} + \dots$ with $\delta_t = R_t + V_{t+1} - V_t$, where $V$ is 0 after the end: in the sum every $V$ but $V_t$ cancels.
# 15. Given $y_{\le t}$, the mean of each later $\delta$ is 0 if the values are exact: $V_t$ *is* the mean of $R_t + V_{t+1}$. So later ones may be weighted down: $A_t = \delta_t + \lambda \delta_{t+1} + \lambda^2 \delta_{t+2} + \dots$ for a $\lambda$ between 0 and 1. This is GAE ([Schulman et al. 2015](https://arxiv.org/abs/1506.02438)).
#
# In practice the values are guesses: another GPT-2 is trained to predict them. So we try both, exact values and values that
# know nothing. Look at the error of the mean (bias) and at the variance.

# %%
second = (logp[:, 1].exp() * rewards[:, 1]).reshape(3, 3).sum(dim=1).repeat_interleave(3)
exact_values = torch.stack([(p @ R).expand(9), second], dim=1)  # V_1, V_2: (9, 2)
bias, spread = {}, {}
for name, values in (("exact", exact_values), ("all zero", torch.zeros(9, 2).double())):
    for gae_lambda in (1.0, 0.95, 0.0):
        advantages = ppo.generalized_advantages(rewards, values, mask, gae_lambda)
        estimates = (advantages[:, :, None] * score).sum(dim=1)
        mean, spread[name, gae_lambda] = mean_and_variance(estimates)
        bias[name, gae_lambda] = (mean - gradient).norm().item()
        print(
            f"values {name:8}  λ = {gae_lambda:.2f}   bias {bias[name, gae_lambda]:.4f}"
            f"   variance {spread[name, gae_lambda]:.4f}"
        )

# %%
right = [bias[name] for name in bias if name != ("all zero", 0.95) and name != ("all zero", 0.0)]
assert max(right) < 1e-12 and bias["all zero", 0.0] > 0.4
assert spread["exact", 0.0] < spread["exact", 1.0] < spread["all zero", 1.0] / 2

# %% [markdown]
# With exact values every $\lambda$ is right, and a small one has less noise. With useless values only $\lambda = 1$ is right.
# PPO uses 0.95 as a rule: most of the trust goes to what really came in.
#
# ### Old samples, used several times
#
# Sampling is slow, so PPO makes several updates on one batch. After the first, the batch is from an *old* policy.
#
# 16. $\nabla \log \pi_\theta(y_t) = \nabla \rho_t$ where $\rho_t = \pi_\theta(y_t \mid y_{<t}) / \pi_{\text{old}}(y_t \mid y_{<t})$ is 1: $\nabla \rho = \rho \nabla \log \pi_\theta$. So $\rho_t A_t$ has the right gradient where $\theta$ is still old.
# 17. A step further away $\rho_t$ corrects for the token having been drawn by the old policy. It does not correct $y_{<t}$ and $A_t$, which are old too. That is an approximation, good only while the $\rho$ are near 1.
# 18. So the objective stops paying beyond $1 \pm \epsilon$: $\min\left(\rho_t A_t,\ \mathrm{clip}(\rho_t, 1 - \epsilon, 1 + \epsilon)\, A_t\right)$. That is PPO's equation 7 ([Schulman et al. 2017](https://arxiv.org/abs/1707.06347)). The min keeps the gradient alive where the policy moved the *wrong* way.
#
# Look at which of the five gradients are zero.

# %%
ratio = vector(1.0, 1.3, 0.7, 1.3, 0.7)
a = vector(2.0, 2.0, -2.0, -2.0, 2.0)  # advantages
now = ratio.log().requires_grad_()  # log π, the old one being 0
(slope,) = torch.autograd.grad(ppo.clipped_objective(now, torch.zeros(5), a, clip=0.2).sum(), now)
notes = ("start: A itself", "far enough", "far enough", "wrong way", "wrong way")
for row in zip(ratio, a, slope, notes):
    print("ρ = {:.1f}   A = {:4.1f}   gradient = {:4.1f}   {}".format(*row))
assert torch.allclose(slope, vector(2.0, 0.0, 0.0, -2.6, 1.4), atol=1e-12)

# %% [markdown]
# And step 16 for the nine responses: at $\rho = 1$, the gradient of the clipped objective is the gradient of equation 3.

# %% tags=["eq-3"]
advantages = ppo.generalized_advantages(rewards, exact_values, mask, gae_lambda=0.95)
surrogate = ppo.clipped_objective(token_logp(theta), logp, advantages, clip=0.2)  # (9, 2)
(of_surrogate,) = torch.autograd.grad(p @ surrogate.sum(dim=1), theta)
print(f"|gradient of PPO's objective − ∇J| = {(of_surrogate - gradient).norm():.4f}")
assert torch.allclose(of_surrogate, gradient, atol=1e-12)

# %% [markdown]
# ## Four models and a loop
#
# `train_ppo` puts these pieces together. One step of it:
#
# 1. `roll_out`: sample a batch of responses from the policy, score them.
# 2. `penalized_rewards`: $R_t$, with $\log \pi_{\text{ref}}$ from the reference.
# 3. `generalized_advantages`: $A_t$, with the value model's guesses; then shifted and scaled to mean 0 and variance 1.
# 4. Four times over the batch: `policy_loss` moves the policy, `value_loss` the value model.
#
# | model | PPO | PPO-GT | DPO |
# |---|---|---|---|
# | policy | trained | trained | trained |
# | reference | asked at every step | asked at every step | asked once a pair, before training |
# | reward model | trained before, asked at every step | – (somebody who knows $r^*$) | – |
# | value model | trained along | trained along | – |
# | in memory while the policy trains | 4 | 3 | 1 |
# | samples while the policy trains | yes | yes | no |
#
# Now PPO on the **true** reward, live: 30 steps of 128 samples. Each step estimates its own objective from its samples.
# `standing` computes the same number exactly, by listing all responses, and the standard error that 128 samples should have.


# %%
def standing(policy, beta, size=128):
    """Exact J (eq. 3) of a policy, and the standard error of its estimate from ``size`` samples."""
    with torch.no_grad():
        logp = world.logp(policy).double()
    R = world.rewards - beta * (logp - ref_logp)
    J = (logp.exp() * R).sum(dim=1).mean()
    variance = (logp.exp() * (R - J).square()).sum(dim=1).mean()
    return J.item(), (variance / size).sqrt().item()


# %%
plan, beta = PLANS["full"]["verdicts"], 0.3
settings = {"steps": 30, "batch_size": 128, "max_new_tokens": 4, "beta": beta}
config = replace(plan.ppo, learning_rate=plan.learning_rates["ppo-gt"], **settings)
policy = copy_policy(reference)
exact, records = [standing(policy, beta)], []
for record in train_ppo(policy, reference, world.prompt_ids, world.rewards_of, config):
    records.append(record)
    exact.append(standing(policy, beta))

# %%
highest = (beta * log_partition(ref_logp, world.rewards, beta)).mean().item()
# A step's samples are drawn before its updates, so they belong to the policy before it.
before = [list(numbers) for numbers in zip(*exact[:-1])]
plots.sampled_objective(records, before, highest)

# %%
estimates = np.array([record["objective"] for record in records])
off = (estimates - before[0]) / before[1]  # in standard errors
near = (np.abs(off) < 2).mean()
start, end = exact[0][0], exact[-1][0]
print(f"J from ≈ {start:.2f} to ≈ {end:.2f}, the optimum has ≈ {highest:.2f}")
print(
    f"share of the estimates within two standard errors ≈ {near:.2f}, mean distance ≈ {off.mean():.2f}"
)
assert near > 0.8 and abs(off.mean()) < 4 / len(off) ** 0.5
assert start + 0.8 * (highest - start) < end < highest

# %% [markdown]
# The estimates scatter about the exact curve as they should: the machine does what the derivation says. In 30 steps PPO-GT
# has most of what is to be had.
#
# RLHF in practice often fixes a KL and not a $\beta$: a controller raises $\beta$ by up to 2 % a step while the KL is above its target, and lowers
# it below ([Ziegler et al. 2019](https://arxiv.org/abs/1909.08593)). A run that starts at $\beta = 0.3$ and is told to stay at 1 nat:

# %%
steered = replace(config, target_kl=1.0, steps=40)
policy = copy_policy(reference)
records = list(train_ppo(policy, reference, world.prompt_ids, world.rewards_of, steered))
last = np.mean([record["kl"] for record in records[-8:]])
print(f"β from 0.30 to ≈ {records[-1]['beta']:.2f}, KL of the last steps ≈ {last:.2f} nats")
assert records[-1]["beta"] > 0.33 and abs(last - 1.0) < 0.35

# %% [markdown]
# ## The full tables
#
# A fair comparison needs all methods, several strengths, several seeds. That takes longer than a page should, so it was
# computed before, by one command a world, which you can run, stop and go on with (`--size small` is quick):
#
# ```
# python -m dpo_book frontier verdicts --seeds 5 --out notebooks/results
# python -m dpo_book frontier tiny-reviews --seeds 3 --out notebooks/results
# ```
#
# Rules: one reference; each seed draws its own comparisons and fits its own reward model, and all methods get the same
# ones. The **budget** is counted in *passes*: one sequence run forward and backward through any model. A reward model's passes
# are paid by those who use it, a value model's too. On verdicts the learning rates of DPO, PPO and PPO-GT were chosen among
# three to five values by the objective at $\beta = 0.3$, with a seed that is not in the tables; for PPO-GT the minibatch, the
# epochs, the value model's learning rate and $\lambda$ were varied as well, and PPO took them over. On TinyReviews fewer values
# were tried. Preferred-FT and unlikelihood were not tuned. `dpo_book/plans.py` has the numbers.

# %%
tables = {name: read(stored(f"{name}.csv")) for name in ("verdicts", "tiny-reviews")}
for name, rows in tables.items():
    full = PLANS["full"][name]
    finished = rows[rows["last"]]
    print(
        f"{name:13} {finished['seed'].nunique()} seeds, {len(finished)} runs; a seed: {full.comparisons:,} comparisons;"
        f" a run: {full.budget:,} passes, of which a reward model takes {full.reward_passes:,}"
    )
print("seconds are of", " / ".join(sorted(set(tables["verdicts"]["hardware"]))))

# %% [markdown]
# ## A learned reward is exploited
#
# PPO and best-of-n see $r_\phi$, not $r^*$. They find what the reward model likes, also where it is wrong. That is **reward
# over-optimisation** or reward hacking ([Gao et al. 2022](https://arxiv.org/abs/2210.10760)). Both panels have the same
# runs. Left is what PPO was told to maximise, right what we wanted. Compare PPO with PPO-GT: who is above whom?

# %%
plots.maximised_and_wanted(tables["verdicts"], "verdicts")

# %%
plots.maximised_and_wanted(tables["tiny-reviews"], "TinyReviews")


# %%
def gains(rows, method, strength):
    """Mean gain over the reference: (of the learned reward, of the true one)."""
    ends, start = rows[rows["last"]], rows[rows["method"] == "sft"]
    runs = ends[(ends["method"] == method) & (ends["strength"] == strength)]
    return [runs[name].mean() - start[name].mean() for name in ("learned_reward", "reward")]


# %%
promise = {}
for name, rows in tables.items():
    ran = rows.groupby("method")["strength"].agg(["min", "max"])
    lowest, most = max(ran.loc[["ppo", "ppo-gt"], "min"]), ran.loc["best-of-n", "max"]
    for method, strength in (("ppo", lowest), ("ppo-gt", lowest), ("best-of-n", most)):
        learned, true = gains(rows, method, strength)
        promise[name, method] = learned, true
        print(
            f"{name:13} {method:9} {strength:6g}   gain by r_φ {learned:.2f}, by r* {true:.2f}: "
            f"{learned / true:.2f} promised for each nat earned"
        )
    (told, wanted), (told_gt, wanted_gt) = promise[name, "ppo"], promise[name, "ppo-gt"]
    assert told > told_gt and wanted < wanted_gt

# %% [markdown]
# At the lowest $\beta$ that both ran, PPO has more of the learned reward than PPO-GT, which never saw $r_\phi$, and less of
# the true one, in both worlds. That surplus is bought from the reward model's errors. DPO has no reward model to fool, but it learns from the same
# pairs, and its implicit reward has errors of its own.
#
# ## The line that nobody crosses
#
# For each KL there is a highest reward. Equation 4 gives it.
#
# 1. $\mathbb{E}_\pi[r] - \beta\, \mathrm{KL}[\pi \Vert \pi_{\text{ref}}] \le \beta \log Z$ for every $\pi$ and every $\beta$: the right side is the objective of $\pi^*$ (chapter 04).
# 2. $\mathbb{E}_\pi[r] \le \beta\, \mathrm{KL} + \beta \log Z$: one straight line for each $\beta$, and no policy is above any of them.
# 3. The lowest of these lines at each KL is the frontier. $\pi^*$ of each $\beta$ touches its own line.

# %%
betas = torch.logspace(-2, 3, 401, dtype=torch.float64)
heights = torch.stack([b * log_partition(ref_logp, world.rewards, b.item()).mean() for b in betas])


def limit(kl):
    """The highest expected reward that any policy can have at this KL (mean over prompts)."""
    kl = torch.as_tensor(kl, dtype=torch.float64)
    return (betas[:, None] * kl.flatten() + heights[:, None]).amin(dim=0).reshape(kl.shape)


# %% tags=["eq-4"]
grid = torch.linspace(0, 12, 600)
optimum = grid.tolist(), limit(grid).tolist()
star = optimal_logp(ref_logp, world.rewards, betas[120].item())
reward, kl = expected_reward(star, world.rewards).mean(), kl_divergence(star, ref_logp).mean()
print(
    f"π* at β = {betas[120]:.4f}: KL ≈ {kl:.2f}, E[r] ≈ {reward:.4f}, frontier ≈ {limit(kl).item():.4f}"
)
assert abs(limit(kl) - reward) < 1e-9

# %% [markdown]
# ## The frontier, live
#
# All seven methods, now, in small: less budget, half of the comparisons, fewer strengths, one seed. About a minute.
# Nothing here is read from a file.


# %%
def live(name):
    """Every run of the small plan of a world, as a table."""
    small = PLANS["small"][name]
    return table(row for one in runs_of(small) for row in measure_run(name, small, one))


small = live("verdicts")
plots.reward_kl_frontier(small, optimum)

# %%
below = limit(small["kl"].to_list()).numpy() - small["reward"].to_numpy()
worst = {m: below[(small["method"] == m) & small["last"]].max() for m in small["method"].unique()}
for method, gap in worst.items():
    print(f"{method:13} at most ≈ {gap:.2f} nats below the optimum of its own KL")
print(f"{len(small)} policies measured, above the frontier: {(below < -1e-5).sum()}")
assert (below > -1e-5).all()
assert worst["ppo-gt"] < worst["dpo"] < min(worst["ppo"], worst["best-of-n"])

# %% [markdown]
# Every policy that was measured, also half-trained ones, lies below the dashed line. It is a bound, not a fit.
# The reward model of this small run has seen few pairs for few steps. PPO and best-of-n, which follow it, end farther below than
# DPO and PPO-GT. The full run fits a better one.
#
# ## The frontier, in full
#
# Bands and crosses run from the lowest seed to the highest. The right panel magnifies: how far below the optimum *of its own
# KL* each method ends.

# %%
full = tables["verdicts"]
plots.reward_kl_frontier(full, optimum)

# %%
ends = full[full["last"]].copy()
ends["below"] = limit(ends["kl"].to_list()).numpy() - ends["reward"]
span = (world.rewards.max() - world.rewards.min()).item()  # of the reward
room = world.rewards.max().item() - expected_reward(ref_logp, world.rewards).mean().item()
print(f"reward range {span:.2f} nats; from the reference to the most reward ≈ {room:.2f} nats")
print(f"{'':24} KL     E[r]        below the optimum, in % of the range   of the room   worst seed")
for (method, strength), runs in ends.groupby(["method", "strength"], sort=False):
    gap = runs["below"]
    print(
        f"{method:13} {strength:6g}  {runs['kl'].mean():5.2f}   {runs['reward'].mean():5.2f}"
        f"        ≈ {100 * gap.mean() / span:4.1f}                                 ≈ {100 * gap.mean() / room:4.1f}"
        f"       ≈ {100 * gap.max() / span:4.1f}"
    )

# %%
by_strength = ends.groupby(["method", "strength"])["below"].mean() / span
by_method = by_strength.groupby("method").agg(["mean", "max"])
everywhere = limit(full["kl"].to_list()).numpy() - full["reward"].to_numpy()
print(f"policies above the frontier: {(everywhere < -0.01).sum()} of {len(full)}")
for method in ("dpo", "ppo", "ppo-gt"):
    mean, worst = 100 * by_method.loc[method]
    print(f"{method:7} ≈ {mean:.1f} % on average over strengths, ≈ {worst:.1f} % at its worst one")
assert (everywhere > -0.01).all()  # room for a reference that another machine has trained
assert by_method.loc["dpo", "max"] < 0.05 and by_method.loc["ppo-gt", "max"] < 0.02
ranking = by_method.loc[["ppo-gt", "dpo", "ppo", "preferred-ft"], "mean"]
assert ranking.is_monotonic_increasing
nearer = by_strength["ppo"] - by_strength["dpo"]  # how much nearer DPO is, by β
assert (nearer[0.1:] > 0).all() and nearer[0.05] < 0

# %% [markdown]
# What stands asserted above:
#
# - No policy, finished or not, is above the line.
# - At every $\beta$, DPO ends within 5 % of the reward range of it, mean over seeds. Single seeds at $\beta = 0.05$ can be
#   farther: see the last column.
# - PPO on the true reward is nearest: within 2 % at every $\beta$. PPO itself is a good optimiser.
# - PPO on the learned reward is farther from the line than DPO at every $\beta$ from 0.1 up. At 0.05 it is nearer.
# - Imitating the winners (preferred-FT) is farther away than DPO: it cannot know how much worse the losers were.
#
# Mind what "below the optimum of its own KL" leaves out. A method can sit near the line at another KL than the one that
# was asked for. How far do DPO and PPO stray at each $\beta$, beside the optimum of that $\beta$?

# %%
print("  β      KL of π*     DPO    PPO    PPO-GT")
drift = ends.groupby(["method", "strength"])["kl"].mean()
for b in sorted(ends.loc[ends["method"] == "dpo", "strength"].unique()):
    star = optimal_logp(ref_logp, world.rewards, float(b))
    cells = [
        f"{drift[m, b]:5.2f}" if (m, b) in drift else "    –" for m in ("dpo", "ppo", "ppo-gt")
    ]
    print(f"{b:5g}    ≈ {kl_divergence(star, ref_logp).mean():5.2f}    ", "  ".join(cells))
lowest = ends.loc[ends["method"] == "dpo", "strength"].min()
star = optimal_logp(ref_logp, world.rewards, float(lowest))
assert drift["dpo", lowest] > kl_divergence(star, ref_logp).mean() + 1

# %% [markdown]
# At small $\beta$ DPO goes farther than its optimum. It has finite pairs and hard labels, and chapter 07 showed what these do:
# margins grow on labels that are taken as certain. PPO pays for every nat at every step, and so it does not overshoot in
# this way.
#
# ## Who gets there sooner?
#
# Now time. All at $\beta = 0.3$. The **attainable** reward is that of the exact optimum of this $\beta$, minus the
# reference's. The grey line is at 90 % of it. Look at where each curve crosses it, in each currency.

# %%
star = optimal_logp(ref_logp, world.rewards, 0.3)
attainable = expected_reward(star, world.rewards).mean().item()
floor = expected_reward(ref_logp, world.rewards).mean().item()
goal = floor + 0.9 * (attainable - floor)
plots.reward_by_cost(full, 0.3, goal, attainable)


# %%
def cost_at(rows, method, goal, name, beta):
    """What the reward ``goal`` had cost, in proportion between two measurements: one number a seed, inf if never."""
    costs = []
    for _, run in rows[(rows["method"] == method) & (rows["strength"] == beta)].groupby("seed"):
        reward, cost = run["reward"].to_numpy(), run[name].to_numpy(dtype=float)
        above = reward >= goal
        i = int(above.argmax())
        share = (goal - reward[i - 1]) / (reward[i] - reward[i - 1])
        costs.append(cost[i - 1] + share * (cost[i] - cost[i - 1]) if above.any() else np.inf)
    return np.array(costs)


# %%
def sooner(rows, goal, beta=0.3):
    """Print, and give, what reaching the goal cost: (method, currency) → median over seeds."""
    medians = {}
    for method in ("dpo", "ppo", "ppo-gt"):
        for name in ("seconds", "passes", "generated_tokens", "judgements"):
            costs = cost_at(rows, method, goal, name, beta)
            medians[method, name] = np.median(costs)
            print(
                f"{method:7} {name:17} median {np.median(costs):10,.1f}   from {costs.min():10,.1f} to "
                f"{costs.max():10,.1f}   reached by {np.isfinite(costs).sum()} of {len(costs)} seeds"
            )
    return medians


# %%
print(f"90 % of the attainable: E[r] ≈ {goal:.2f}")
medians = sooner(full, goal)
for method in ("ppo", "ppo-gt"):
    print(
        f"DPO's seconds / {method}'s: {medians['dpo', 'seconds'] / medians[method, 'seconds']:.2f}, "
        f"tokens: {medians['dpo', 'generated_tokens'] / medians[method, 'generated_tokens']:.2f}"
    )
assert medians["dpo", "seconds"] < medians["ppo", "seconds"]
assert medians["dpo", "generated_tokens"] < medians["ppo", "generated_tokens"]
assert medians["ppo-gt", "generated_tokens"] < medians["dpo", "generated_tokens"] / 5
assert all(
    medians["ppo-gt", name] < medians["dpo", name] for name in ("seconds", "passes", "judgements")
)
assert medians["dpo", "passes"] < medians["ppo", "passes"]

# %% [markdown]
# Compare with your prediction.
#
# - **Of the two that anybody can run, DPO is sooner**, in seconds, in passes and (a little) in tokens. PPO cannot begin before its
#   reward model is paid for. Then it leaps, and creeps over the line: its learned reward leads it not quite there. PPO is measured at a few
#   budgets only, so read its numbers with their range over seeds.
# - **PPO-GT is first in every currency**, and in tokens by far. Its samples come from the policy as it is, and for each one it hears the
#   true reward itself: a number, where a comparison gives one noisy bit about two responses. Nobody has that in practice.
# - **In tokens, DPO and PPO are nearly equal**, for an accounting reason that you should know: the comparisons had to be
#   sampled too, and both methods pay for the same ones. In the verdict world they were even drawn well (best-of-16 and
#   uniform draws among them, chapter 07). What it cost to *find* such responses is in nobody's bill.
#
# What else each of them needs:
#
# | | DPO | PPO | PPO-GT |
# |---|---|---|---|
# | models in memory while training | 1 (2 before) | 4 | 3 |
# | to be tuned | learning rate | learning rate, value learning rate, minibatch, epochs, $\lambda$; the reward model's learning rate and steps | as PPO, without the reward model |
# | people are asked | before training | before training | at every sample |
#
# ## The open-ended world
#
# In **TinyReviews** nobody can list the responses. A grammar written for this book makes short film reviews; a GPT-2 of a million
# parameters has learned to imitate them; prompts are the first words of a review; VADER is the true reward, from −2 to 2.
# Three reviews of the grammar:

# %%
from dpo_book.worlds.tiny_reviews import tiny_reviews

reviews = tiny_reviews()
for prompt, response in reviews.corpus(3, seed=7):
    print(f"{reviews.reward(prompt, response):5.2f}   {prompt} |{response}")
    assert reviews.grammatical(prompt + response)

# %% [markdown]
# There is no dashed line here: reward and KL are means over samples, with standard errors. First the small version, live, all
# seven methods. About a minute and a half.

# %%
small_reviews = live("tiny-reviews")
plots.reward_kl_frontier(small_reviews)

# %%
ends = small_reviews[small_reviews["last"]].set_index("method")
for method, row in ends.iterrows():
    print(
        f"{method:13} {row['strength']:4g}   E[r] ≈ {row['reward']:.2f}, KL ≈ {row['kl']:.2f}"
        f"   (standard errors ≈ {row['reward_error']:.2f} and ≈ {row['kl_error']:.2f})"
    )
for method in ("preferred-ft", "unlikelihood", "dpo", "ppo-gt"):
    error = np.hypot(ends.loc[method, "reward_error"], ends.loc["sft", "reward_error"])
    assert ends.loc[method, "reward"] > ends.loc["sft", "reward"] + error

# %% [markdown]
# All that train from the first pass on earn more than the reference, by more than one standard error of the difference. PPO pays half of this
# small budget for its reward model and has ten steps left. One seed, short runs: read no order into the rest. The full version:

# %%
open_ended = tables["tiny-reviews"]
plots.reward_kl_frontier(open_ended)

# %%
summary = open_ended[open_ended["last"]].groupby(["method", "strength"], sort=False)
columns = ["kl", "reward", "reward_error"]
print(f"{'':23} KL      E[r]    over seeds       standard error of one")
for (method, strength), runs in summary:
    low, high = runs["reward"].min(), runs["reward"].max()
    kl, reward, error = (runs[name].mean() for name in columns)
    print(
        f"{method:13} {strength:6g}  {kl:5.2f}   {reward:5.2f}   {low:5.2f} to {high:5.2f}      {error:.2f}"
    )

# %% [markdown]
# Rewards can be compared at the same KL only. So at each KL where DPO ended, read the other methods' curves of means, where they
# reach so far (between two strengths in proportion).

# %%
means = open_ended[open_ended["last"]].groupby(["method", "strength"])[["kl", "reward"]].mean()
others = ("unlikelihood", "best-of-n", "ppo", "ppo-gt")
print("DPO's KL   DPO    " + "   ".join(f"{method:>12}" for method in others))
for kl, reward in means.loc["dpo"].sort_values("kl").to_numpy():
    at_kl = {}
    for method in others:
        curve = means.loc[method].sort_values("kl")
        at_kl[method] = np.interp(kl, curve["kl"], curve["reward"], left=np.nan, right=np.nan)
    cells = (f"{value:12.2f}" if value == value else f"{'–':>12}" for value in at_kl.values())
    print(f"{kl:8.2f}   {reward:.2f}   " + "   ".join(cells))
    assert not any(at_kl[method] > reward for method in ("best-of-n", "ppo"))
    assert not at_kl["ppo-gt"] < reward - 0.1

# %% [markdown]
# On this budget, at the same KL, DPO has more true reward than PPO and than best-of-n: both follow the weak reward model. PPO-GT
# has as much as DPO or more (asserted to a tenth of a nat). Unlikelihood comes near and does not go far. And PPO goes on: to the
# right of DPO's last point there is more reward, at more KL.
#
# Who is sooner here? The attainable is not known, so the goal is one that all three reach: 90 % of the way from the
# reference to the least of their mean final rewards, at $\beta = 0.1$.

# %%
at = open_ended[open_ended["last"]].groupby(["method", "strength"])["reward"].mean()
least = min(at[method, 0.1] for method in ("dpo", "ppo", "ppo-gt"))
review_goal = at["sft", 0.0] + 0.9 * (least - at["sft", 0.0])
plots.reward_by_cost(open_ended, 0.1, review_goal)

# %%
print(f"goal: E[r] = {review_goal:.2f}")
review_medians = sooner(open_ended, review_goal, beta=0.1)
assert review_medians["dpo", "seconds"] < review_medians["ppo", "seconds"]

# %% [markdown]
# Again DPO is before PPO in seconds, and again PPO-GT needs few tokens, and here the least time as well. The seconds of DPO and PPO
# count the sampling of the comparisons too. Mind that a given $\beta$ does not bring everybody to the same reward within this
# budget: DPO, at the rate that was best for it at $\beta = 0.3$, stays near the reference.
#
# ### What they say
#
# Numbers first, then text. The samples below are from the runs of seed 0 whose KL is nearest to that of PPO-GT at
# $\beta = 0.3$, so all have strayed about as far.

# %%
import json

first = open_ended[(open_ended["seed"] == 0) & open_ended["last"]]
target = first[(first["method"] == "ppo-gt") & (first["strength"] == 0.3)]["kl"].item()
for method in ("sft", "dpo", "ppo", "ppo-gt", "best-of-n"):
    runs = first[first["method"] == method]
    run = runs.loc[(runs["kl"] - target).abs().idxmin()]
    print(f"{method} {run['strength']:g}: KL {run['kl']:.2f}, E[r] {run['reward']:.2f}")
    for prompt, response in json.loads(run["samples"])[:3]:
        print(f"   {reviews.reward(prompt, response):5.2f}   {prompt} |{response}")

# %% [markdown]
# Three samples prove little. They are here so that you have seen what the numbers average. Not every sentence is whole, not even
# the reference's: the GPT-2 is small. How many are, we can count.
#
# ### Where the text falls apart
#
# VADER weighs words and knows little of grammar. A policy that strays far enough finds texts full of praise that no critic would write, and $\beta$ is
# what holds it back. Two short DPO runs on the live run's comparisons, and the share of samples that the grammar could have
# made:


# %%
def grammatical_share(policy):
    """Share of the evaluation prompts whose sampled review is grammatical, and the reviews."""
    responses = sample(policy, reviews.tokenizer, reviews.prompts, reviews.max_new_tokens, seed=1)
    texts = [prompt + response for prompt, response in zip(reviews.prompts, responses)]
    return np.mean([reviews.grammatical(text) for text in texts]), texts


# %%
small_plan = PLANS["small"]["tiny-reviews"]
arena = SampledArena()
data = draw_data(arena, small_plan.comparisons, replace(small_plan.reward_model, seed=0), 0)
shares, texts = {}, {}
shares["reference"], _ = grammatical_share(arena.reference)
for b in (1.0, 0.03):
    policy = copy_policy(arena.reference)
    options = DPOConfig(beta=b, learning_rate=1e-3, batch_size=32, steps=60, warmup_steps=5)
    list(train_dpo(policy, arena.reference, data.pairs, options, data.reference_logps))
    shares[f"β = {b}"], texts[b] = grammatical_share(policy)

# %%
for name, value in shares.items():
    print(f"{name:10} grammatical ≈ {value:.2f}")
assert shares["reference"] > 0.25 and shares["β = 0.03"] < shares["β = 1.0"]
assert shares["β = 0.03"] < 0.1

# %% [markdown]
# The reference is far from perfect itself. With $\beta = 1$ the text suffers (these runs are short and their steps large), with
# $\beta = 0.03$ next to nothing is left of the grammar. The first samples of the lowest $\beta$:

# %% tags=["nbval-ignore-output"]
for text in texts[0.03][:4]:
    print("-", text)

# %% [markdown]
# ## A budget under your hand
#
# The figure shows where every method stands after so many passes, how it came there, and what it says (seed 0; DPO, PPO and
# PPO-GT at $\beta = 0.3$, unlikelihood at $\alpha = 0.5$, best of 16). The number beside a name is its expected reward. A method that has
# not yet paid for its reward model is still the reference.

# %%
strengths = {
    "preferred-ft": 0.0,
    "unlikelihood": 0.5,
    "dpo": 0.3,
    "best-of-n": 16,
    "ppo": 0.3,
    "ppo-gt": 0.3,
}


# %%
def after(share, world, prompt=1):
    """The picture after a share of the budget, with the answer to one of the prompts."""
    bound = optimum if world == "verdicts" else None
    budget = share * PLANS["full"][world].budget
    return plots.at_budget(tables[world], strengths, budget, prompt - 1, bound)


after(0.15, "verdicts")

# %%
widgets.slider_figure(
    after,
    share=ipywidgets.FloatLogSlider(
        value=0.15, base=2, min=-6, max=0, step=0.25, description="budget", readout_format=".2f"
    ),
    world=ipywidgets.Dropdown(options=list(tables), value="tiny-reviews", description="world"),
    prompt=ipywidgets.IntSlider(value=1, min=1, max=3, description="prompt"),
)

# %% [markdown]
# Start at the left end. With little budget PPO stands at the reference while DPO is on its way. Then it jumps: with a reward model in
# hand, a few steps do much. At the right end, compare who stands how far to the right for the same reward.
#
# ## What was measured, and what was not
#
# | question | measured here | who has the advantage |
# |---|---|---|
# | distance to the frontier (verdicts) | DPO within 5 % of the reward range; nearer than PPO from β = 0.1 up, not at 0.05; PPO-GT within 2 % | PPO-GT; then DPO, but for the lowest β |
# | reward at the same KL (TinyReviews) | DPO above PPO and best-of-n wherever they meet | DPO |
# | time to 90 % of the attainable reward | medians printed above; in TinyReviews, to a goal that all three reach | DPO over PPO; PPO-GT before both |
# | sampled tokens | DPO and PPO share the comparisons' tokens; PPO adds its own | DPO, by little |
# | the KL that β asks for (verdicts) | DPO overshoots at the lowest β | PPO |
# | memory, number of settings | 1 model against 4 | DPO |
# | no training of the policy at all | best-of-n needs a reward model only; n samples for every answer, for ever | best-of-n |
# | a reward that can be asked | PPO-GT reaches the goal with a fraction of the judgements | PPO: DPO has no use for it |
#
# Would it be so at scale? Three reports, not one verdict:
#
# - DPO's paper compared the same methods on IMDb reviews with a known reward: DPO's frontier lay above PPO's, and even above that
#   of PPO with the true reward ([Rafailov et al. 2023](https://arxiv.org/abs/2305.18290), Fig. 2). Here no method can lie above the
#   exact line, and PPO-GT lies closest to it. So such a finding tells of one PPO, its tuning and its budget, not of
#   PPO as such.
# - [Xu et al. 2024](https://arxiv.org/abs/2404.10719) tuned PPO with care at larger scale and found it ahead of DPO, on code most of all. They also show
#   that DPO suffers when the pairs' responses are unlike the policy's own. Our pairs are well spread, which favours DPO.
# - [Gao et al. 2022](https://arxiv.org/abs/2210.10760): the learned reward is exploited more, the farther one goes. Larger
#   reward models and more comparisons put it off.
#
# Things that we held small and that cost more outside: sampling (long answers make PPO's rollouts dear), the reward model (it is as
# large as the policy) and the tuning (PPO has more to tune). Things that favour PPO outside: fresh samples, when pairs are old or from
# another model; and rewards that can be computed, such as tests of code.
#
# ## What could go wrong
#
# **"The reward goes up and up: it works."** Which reward? Above, PPO had more of the learned one than PPO-GT and less of the
# true one. Watch the KL, and read samples.
#
# **"DPO's β looks opposite to PPO's."** It is the same β: the price of a nat in equation 3. In both methods a smaller one lets
# the policy stray farther. See the table of KL by β.
#
# **"My PPO does not learn, so I make the learning rate larger."** Look at `clip_fraction` and `explained_variance` first. If values
# explain nothing, the advantages are noise; if most tokens are clipped, updates are already too large. For the steered run above:

# %%
for name in ("explained_variance", "clip_fraction"):
    early, late = (
        np.mean([record[name] for record in part]) for part in (records[:5], records[-5:])
    )
    print(f"{name:19} first steps ≈ {early:.2f}, last steps ≈ {late:.2f}")
assert np.mean([record["clip_fraction"] for record in records[-5:]]) < 0.5

# %% [markdown]
# **"DPO needs no samples."** It needs no samples *while it trains*. Somebody sampled its pairs.
#
# ## Exercises
#
# ### Exercise ★ · penalized_reward
#
# $R(y)$ of every response. `reward`, `logp`, `ref_logp` have shape (B,), the log-probabilities are of whole responses. (5 minutes)


# %%
def penalized_reward(reward, logp, ref_logp, beta):
    """R(y) of every response, from its reward and its log-probabilities: shape (B,)."""
    # YOUR CODE HERE
    raise NotImplementedError()


# %%
check_penalized_reward(penalized_reward)

# %% [markdown]
# ### Exercise ★★ · advantages
#
# $A_t$ of steps 14 and 15. `rewards` has $R_t$, `values` has $V_t$, both (B, K): K tokens a response, and $V$ is 0 after the last. (10
# minutes)


# %%
def advantages(rewards, values, gae_lambda):
    """A_t of every token by GAE, from R_t and V_t: shape (B, K)."""
    # YOUR CODE HERE
    raise NotImplementedError()


# %%
check_advantages(advantages)

# %% [markdown]
# ### Exercise ★★★ · clipped_loss
#
# Step 18 as a loss to be *minimised*, averaged over all tokens. `logp`, `old_logp` (log-probabilities of the tokens) and
# `advantages` have shape (B, K); `clip` is $\epsilon$. (10 minutes)


# %%
def clipped_loss(logp, old_logp, advantages, clip):
    """PPO's loss, to be minimised, averaged over all tokens: a number."""
    # YOUR CODE HERE
    raise NotImplementedError()


# %%
check_clipped_loss(clipped_loss)

# %% [markdown]
# ## Quiz

# %%
widgets.Quiz(
    "PPO's learned reward keeps rising while the KL grows. What about the true reward?",
    {
        "It rises as fast: the reward model was fitted to true comparisons.": "Only near them. Farther out it guesses.",
        "It may rise more slowly, or fall.": "The policy goes where the reward model is too generous: over-optimisation.",
        "It cannot be known whether it rises.": "Here it is measured. Elsewhere, ask people about new samples.",
    },
    right="It may rise more slowly, or fall.",
)

# %%
widgets.Quiz(
    "The value model is bad. Which λ keeps the policy gradient unbiased?",
    {
        "λ = 0, for it has the least noise.": "Least noise, but it trusts the values: its bias was the largest above.",
        "λ = 1.": "All values but V_t cancel (step 14), and V_t is a baseline, which changes no mean.",
        "None: bad values always bias it.": "A baseline changes no mean, however bad it is (step 12).",
    },
    right="λ = 1.",
)

# %%
widgets.Quiz(
    "Why can no method lie above the dashed frontier?",
    {
        "Because all were trained with too little budget.": "It holds for every policy, trained or not.",
        "Because π* was trained longest.": "π* is not trained; it is computed from equation 4.",
        "Because at each β no policy has a higher objective than β log Z.": "Each β gives a line; the lowest is the frontier.",
    },
    right="Because at each β no policy has a higher objective than β log Z.",
)

# %% [markdown]
# ## Recap
#
# | symbol | in code | shape | equation |
# |---|---|---|---|
# | $R_t$ | `penalized_rewards(logp, ref_logp, mask, reward, beta)` | (B, K) | 3 |
# | $V_t$ | `rollouts.values`, of the value model | (B, K) | – |
# | $A_t$, $\lambda$ | `generalized_advantages(rewards, values, mask, gae_lambda)` | (B, K) | – |
# | $\rho_t$, $\epsilon$ | `clipped_objective(logp, old_logp, advantages, clip)` | (B, K) | PPO's 7 |
# | $J$ | `kl_regularized_objective`; `record["objective"]` estimates it | (P,); by step | 3 |
# | frontier | `limit(kl)`, from `log_partition` | as KL | 4 |
#
# DPO is the shorter way to nearly the same place when good pairs are there; PPO is the way when a reward can be asked.
#
# In both worlds we knew the true reward. Chapter 09 takes it away: how do we know then that a policy is better?
