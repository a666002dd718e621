# %% [markdown]
# # 08 · RLHF or DPO?
#
# Two ways lead from comparisons to a policy. RLHF fits a reward model to them and then climbs its reward with PPO
# (Proximal Policy Optimization), which samples all along. DPO goes from the pairs to the policy with one loss. Chapters 04 and
# 06 proved that both have the same optimum. The proof does not say who comes nearer with finite data, who is there first, and what it costs. Here both
# run, with five other methods, from the same reference, on the same comparisons, with the same budget.
#
# **Write down a prediction first.** Three runs at $\beta = 0.3$: DPO, PPO on a learned reward, and PPO that may ask for the
# *true* reward of every sample it draws. Call **attainable** what the exact optimum of this $\beta$ earns more than the
# reference does. Who has 90 % of it first, counted in seconds? And counted in sampled tokens?
#
# | after this chapter you can | |
# |---|---|
# | derive PPO from equation 3, and say what each of its parts is for | 25 min |
# | name the four models of RLHF and the two of DPO | 5 min |
# | read a reward–KL frontier, and see where a learned reward stops leading to the true one | 15 min |
# | say what DPO saves, what it does not, and at which $\beta$ it comes nearer to the optimum than PPO | 15 min |
#
# You need chapters 02 (reward model), 03 (equation 3), 04 (its optimum) and 07. Symbols as there: policy $\pi_\theta$,
# reference $\pi_{\text{ref}}$, true reward $r^*$, learned reward $r_\phi$, price of straying $\beta$.

# %%
from dataclasses import replace

import ipywidgets
import numpy as np
import torch

from dpo_book import *
from dpo_book import widgets
from dpo_book.checks.ppo import (
    check_advantages,
    check_clipped_loss,
    check_penalized_reward,
    check_shortfall,
)
from dpo_book.frontier import figures
from dpo_book.frontier.arena import EnumeratedArena, SampledArena, draw_material
from dpo_book.frontier.plans import PLANS
from dpo_book.frontier.table import measure_run, read, runs_of, table
from dpo_book.notebook import stored
from dpo_book.training import ppo
from dpo_book.worlds.references import verdicts_reference
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
def vector(*values):
    """These numbers in double precision."""
    return torch.tensor(values, dtype=torch.float64)


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
assert torch.isclose(J, (p * R).sum(), atol=1e-12)
assert torch.allclose(by_hand, autograd, atol=1e-12)

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
# $\mathbb{E}\left[\lVert (R - b) \nabla \log \pi_\theta - \nabla J \rVert^2\right]$. The $b$ with the least variance is a mean of $R$
# in which each response counts by $\lVert \nabla \log \pi_\theta(y) \rVert^2$ (set the derivative by $b$ to zero). Look at the last column.

# %%
def mean_and_variance(estimates):
    """Of a gradient estimate (9, 12), one a response: its mean, and its variance summed over θ. Exact."""
    mean = p @ estimates
    return mean, (p @ (estimates - mean).square().sum(dim=1)).item()


variances, expected = {}, (p @ R).item()
squared = p * whole.square().sum(dim=1)
best_b = ((squared @ R) / squared.sum()).item()
for name, b in (("0", 0.0), ("E[R]", expected), ("best", best_b), ("2 E[R]", 2 * expected)):
    mean, variances[name] = mean_and_variance((R - b)[:, None] * whole)
    print(
        f"b = {name:6}  error of the mean {(mean - gradient).norm():.4f}   variance {variances[name]:8.4f}"
    )
    assert torch.allclose(mean, gradient, atol=1e-12)
assert variances["best"] < variances["E[R]"] < variances["0"] / 5

# %% [markdown]
# All rewards are above zero here. Without a baseline every sample says "more of me", and only the mean sorts it
# out. With $b = \mathbb{E}[R]$ a sample says "more of me" if it was better than expected. The best $b$ gains a little on that. A
# bad baseline is worse than none.
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
# 15. Given $y_{\le t}$, the mean of each later $\delta$ is 0 if the values are exact: $V_t$ *is* the mean of $R_t + V_{t+1}$. So later ones may be weighted down: $A_t = \delta_t + \lambda \delta_{t+1} + \lambda^2 \delta_{t+2} + \dots$ for a $\lambda$ between 0 and 1. This is GAE, generalised advantage estimation ([Schulman et al. 2015](https://arxiv.org/abs/1506.02438)).
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
assert variances["E[R]"] < spread["exact", 1.0]

# %% [markdown]
# With exact values every $\lambda$ is right, and a small one has less noise. With useless values only $\lambda = 1$ is right.
# Mind the first row: exact values with $\lambda = 1$ have *more* noise (1.59) than the one number $b = \mathbb{E}[R]$ had (1.47). A
# value is the best guess of what is to come, and that is not the baseline of least variance. Here the gain comes with a smaller $\lambda$.
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
figures.sampled_objective(records, before, highest)

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
# The estimates scatter about the exact curve as they should. So samples, reward and price are as equation 3 says; more this
# cell does not check. In 30 steps PPO-GT has most of what is to be had. The update itself has three habits to know. The first two
# are not in the derivation:
#
# - The advantages are *whitened*: minus the batch's mean, over its standard deviation. A reward ten times as large, with a price
#   ten times as high, makes the same step.
# - The loss is a *mean over the tokens* of a minibatch. Step 13 sums over each response's. With responses of one length, as here, that is a
#   constant factor; else minibatches of long responses count less.
# - No discount: $\gamma = 1$. So it is in step 13; PPO elsewhere often has one.
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
# **The rules.** One reference. Each seed draws its own comparisons and fits its own reward model, and all methods get the same
# ones. The **budget** is counted in *passes*: one sequence run forward and backward through any model. A reward model's passes
# are paid by those who use it, a value model's too.
#
# **What was tuned.** On verdicts the learning rates of DPO, PPO and PPO-GT were chosen among three to five values by the
# objective at $\beta = 0.3$, with a seed that is not in the tables. For PPO-GT the minibatch, the epochs, the value model's
# learning rate and $\lambda$ were varied as well, and PPO took them over. On TinyReviews fewer values were tried. Preferred-FT and
# unlikelihood were not tuned. How PPO's budget is split between reward model and policy was not tuned either. `dpo_book/frontier/plans.py` has the numbers.
#
# **What no bill holds.** Neither passes nor seconds have $\log \pi_{\text{ref}}$ of the pairs, which DPO needs: two forward passes a
# pair. Passes leave out all work that is forward only, such as PPO's sampling; its seconds have that. The verdicts of the
# comparisons are drawn from a table of all responses, which costs next to nothing; TinyReviews' are generated. And the true reward is cheap in
# both worlds, so PPO-GT's seconds have no people in them.
#
# **What favours whom.** In verdicts 40 % of the compared responses are best-of-16 *by the true reward*, 40 % are the
# reference's, 20 % are uniform draws (chapter 07). So good responses are in the pairs from the start. That helps all who learn from
# pairs, DPO and the reward model alike. TinyReviews' pairs are the reference's own samples.

# %%
tables = {name: read(stored(f"{name}.csv")) for name in ("verdicts", "tiny-reviews")}
for name, rows in tables.items():
    plan, finished = PLANS["full"][name], rows[rows["last"]]
    seeds = finished["seed"].nunique()
    starts = rows[(rows["method"] == "dpo") & (rows["step"] == 0)]
    drawn = starts["seconds"].median()
    share = plan.reward_passes() / plan.budget
    fitted, trained = plan.reward_passes() // 2, plan.budget // 2  # pairs
    print(f"{name}: {seeds} seeds, {len(finished)} runs of {plan.budget:,} passes")
    print(f"   a seed: {plan.comparisons:,} comparisons", end=", ")
    print(f"drawn in {drawn:.2f} seconds (median)")
    print(f"   r_φ: {share:.1%} of PPO's passes, sees {fitted:,} pairs", end=" ")
    print(f"({fitted / plan.comparisons:.1f} times each)")
    print(f"   DPO sees {trained:,} pairs", end=" ")
    print(f"({trained / plan.comparisons:.1f} times each)")
print("seconds are of", " / ".join(sorted(set(tables["verdicts"]["hardware"]))))

# %% [markdown]
# DPO reads each pair 2.6 times, the reward model about once: PPO needs the rest of the budget for its policy.
#
# ## Where a learned reward stops leading
#
# PPO and best-of-n see $r_\phi$, not $r^*$. How good is it? In the verdict world we can fit seed 0's reward model as the full
# plan does, in seconds, and ask: of two responses whose true rewards differ, does $r_\phi$ put the right one first? Look at how
# that share changes when both responses come from better and better sources.

# %%
plan = PLANS["full"]["verdicts"]
fit = replace(plan.reward_model, seed=0)
learned = draw_material(EnumeratedArena(), plan.comparisons, fit, 0).learned
answers = world.response_ids.tolist()
r_phi = torch.stack([learned([x] * len(answers), answers) for x in world.prompt_ids]).double()


def ordered_right(logp, size=20_000):
    """Of pairs drawn from π with different r*: the share that r_φ orders as r* does."""
    generator = torch.Generator().manual_seed(1)
    a, b = torch.multinomial(logp.exp(), 2 * size, True, generator=generator).chunk(2, dim=1)
    true, guess = (r.gather(1, a) - r.gather(1, b) for r in (world.rewards, r_phi))
    return (true * guess > 0)[true != 0].double().mean().item()


# %%
right = {}
for n in (1, 16, 256):
    right[n] = ordered_right(best_of_n_logp(ref_logp, world.rewards, n))
    print(f"two responses, each the best of {n:3} by r*: ordered right ≈ {right[n]:.2f}")
assert right[1] > right[16] > right[256] and right[1] > 0.7 and right[256] < 0.5
favourite = world.rewards.gather(1, r_phi.argmax(dim=1, keepdim=True)).mean().item()
top = world.rewards.max().item()
print(f"r* of the response that r_φ likes best ≈ {favourite:.2f}; the highest r* is {top:.2f}")
assert favourite < top - 0.05

# %% [markdown]
# Among the reference's responses $r_\phi$ is right three times in four. Among the best few it is worse than a coin. A policy that
# climbs $r_\phi$ is helped for most of its way. Then the learned reward can rise while the true one stands still or falls. That is
# **reward over-optimisation** or reward hacking ([Gao et al. 2022](https://arxiv.org/abs/2210.10760)). Both panels have the same runs, as gains
# over the reference. Left is what PPO and best-of-n were told to maximise, right what we wanted. Follow best-of-n from 64 to 256.

# %%
figures.maximised_and_wanted(tables["verdicts"], "verdicts")


# %%
def gains(rows, method, strength):
    """Gain over the reference, a row a seed: of the learned reward, and of the true one."""
    start = rows[rows["method"] == "sft"].set_index("seed")
    runs = rows[rows["last"] & (rows["method"] == method) & (rows["strength"] == strength)]
    names = ["learned_reward", "reward"]
    return runs.set_index("seed")[names] - start[names]


# %%
more = gains(tables["verdicts"], "best-of-n", 256) - gains(tables["verdicts"], "best-of-n", 64)
for seed, (told, wanted) in more.iterrows():
    print(f"seed {seed}: from best-of-64 to best-of-256 r_φ {told:+.3f}, r* {wanted:+.3f}")
told, wanted = more.mean()
print(f"mean:   r_φ {told:+.3f}, r* {wanted:+.3f}")
assert (more["learned_reward"] > 0).all() and told > 0.04 and abs(wanted) < 0.01
assert more["reward"].idxmin() == 2 and more["reward"].min() < -0.05
by_truth = [best_of_n_logp(ref_logp, world.rewards, n) for n in (64, 256)]
few, many = (expected_reward(logp, world.rewards).mean().item() for logp in by_truth)
print(f"best-of-n by r* itself: r* ≈ {many - few:.3f} more")
assert many - few > 0.03

# %% [markdown]
# In every seed four times as many draws find responses that $r_\phi$ likes better. In seed 2 the learned reward rises by 0.10 and the true one
# falls by as much: that is exploitation. In the other seeds both rise by a few hundredths. On average the true reward stands still, where
# a choice by $r^*$ itself would have gained: the last line.
#
# Now TinyReviews, and PPO beside PPO-GT, which never saw $r_\phi$: who is above whom, left and right?

# %%
figures.maximised_and_wanted(tables["tiny-reviews"], "TinyReviews")

# %%
promise = {}
for name, rows in tables.items():
    ran = rows.groupby("method")["strength"].min()
    lowest = max(ran["ppo"], ran["ppo-gt"])
    for method in ("ppo", "ppo-gt"):
        told, wanted = promise[name, method] = gains(rows, method, lowest).mean()
        print(
            f"{name:13} {method:6} β = {lowest:g}   gain by r_φ {told:.2f}, by r* {wanted:.2f}: "
            f"{told / wanted:.2f} promised for each nat earned"
        )
        assert told < wanted
    (told, wanted), (told_gt, wanted_gt) = promise[name, "ppo"], promise[name, "ppo-gt"]
    assert told > told_gt and wanted < wanted_gt

# %% [markdown]
# Every promise is less than 1 a nat: $r_\phi$ is too *flat*, for everybody, and the true gain is larger than the learned one. A
# reward model need not promise too much to mislead. What counts is the comparison: at the lowest $\beta$ that both ran, PPO has more of the
# learned reward than PPO-GT and less of the true one, in both worlds. It went where $r_\phi$ is relatively generous. DPO has no
# reward model to mislead it, but it learns from the same pairs, and its implicit reward has errors of its own.
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
figures.reward_kl_frontier(small, optimum)

# %%
below = limit(small["kl"].to_list()).numpy() - small["reward"].to_numpy()
worst = {m: below[(small["method"] == m) & small["last"]].max() for m in small["method"].unique()}
for method, gap in worst.items():
    print(f"{method:13} at its worst strength ≈ {gap:.2f} nats below the optimum of its own KL")
print(f"{len(small)} policies measured, above the frontier: {(below < -1e-5).sum()}")
assert (below > -1e-5).all()
assert worst["ppo-gt"] < worst["dpo"] < min(worst["ppo"], worst["best-of-n"])

# %% [markdown]
# Every policy that was measured, also half-trained ones, lies below the dashed line. It is a bound, not a fit.
# The reward model of this small run has seen few pairs for few steps. At their worst strengths PPO and best-of-n, which follow it, end
# farther below than DPO and PPO-GT at theirs. That is no order at every KL. The full run fits a better reward model.
#
# ## The frontier, in full
#
# Markers are means over seeds. Crosses run from the lowest seed to the highest; bands too, at the KLs that all seeds
# reach. The right panel magnifies: how far below the optimum *of its own KL* each method ends. The numbers beside markers are
# strengths, where there is room.

# %%
full = tables["verdicts"]
figures.reward_kl_frontier(full, optimum)

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
assert by_strength["preferred-ft"].item() > by_method.loc["dpo", "max"]


# %% [markdown]
# What stands asserted above:
#
# - No policy, finished or not, is above the line.
# - At every $\beta$, DPO ends within 5 % of the reward range of it, mean over seeds. Single seeds at $\beta = 0.05$ can be
#   farther: see the last column.
# - PPO on the true reward is nearest: within 2 % at every $\beta$. PPO itself is a good optimiser.
# - Imitating the winners (preferred-FT) ends farther away than DPO at any $\beta$. It never sees the losers.
#
# ### At the same KL
#
# And DPO against PPO? A row of the table names a $\beta$, and at the same $\beta$ the two are at different KLs: at 0.1 DPO sits at 8.05
# nats, PPO at 2.37. Rewards can be compared at the same KL only. So at each KL where PPO ended, read the other methods' gaps, in
# a straight line between two of their strengths. Look for the row where DPO and PPO change places. (The last column does the same in each
# seed that reaches so far.)

# %%
def read_at(curve, kl, column):
    """A column of one method at this KL, in a straight line between two strengths; nan beyond."""
    curve = curve.sort_values("kl")
    return float(np.interp(kl, curve["kl"], curve[column], left=np.nan, right=np.nan))


def cell(value, width=8):
    """A number as the tables show it, or a dash for nan."""
    return f"≈ {value:4.2f}".rjust(width) if np.isfinite(value) else "–".rjust(width)


# %%
ends["gap"] = 100 * ends["below"] / span
means = ends.groupby(["method", "strength"])[["kl", "gap"]].mean()
others, same_kl = ("dpo", "unlikelihood", "best-of-n", "ppo-gt"), {}
print(
    "below the optimum, in % of the range\nPPO's KL     PPO     DPO   unlik.  best-n  PPO-GT   DPO nearer"
)
for kl, gap in means.loc["ppo"].sort_values("kl").to_numpy():
    at_kl = {method: read_at(means.loc[method], kl, "gap") for method in others}
    runs = [seed_runs for _, seed_runs in ends[ends["method"].isin(["dpo", "ppo"])].groupby("seed")]
    by_seed = [[read_at(r[r["method"] == m], kl, "gap") for m in ("dpo", "ppo")] for r in runs]
    by_seed = np.array([gaps for gaps in by_seed if np.isfinite(gaps).all()]).reshape(-1, 2)
    ahead = (by_seed[:, 0] < by_seed[:, 1]).sum()
    same_kl[kl] = gap, at_kl["dpo"], at_kl["ppo-gt"], ahead, len(by_seed)
    seeds = f"{ahead:5} of {len(by_seed)} seeds" if len(by_seed) else f"{'–':>5}"
    print(f"{kl:8.2f}", cell(gap), *map(cell, at_kl.values()), seeds)

# %%
compared = {kl: row for kl, row in same_kl.items() if np.isfinite(row[1])}
assert len(compared) == 5
for kl, (gap, dpo, gt, ahead, seeds) in compared.items():
    assert gt < min(gap, dpo)
    assert kl > 2 or (dpo < gap - 0.5 and ahead == seeds == 5)
    assert kl < 2 or (dpo > gap + 0.3 and ahead == 0 and seeds >= 3)
line_ends = means.loc["dpo", "gap"][[0.05, 0.3]]
assert max(row[0] for kl, row in compared.items() if kl > 2) < line_ends.min() - 0.2
assert (
    means.loc[("unlikelihood", 0.5), "gap"] < 2 < means.loc["unlikelihood", "gap"].drop(0.5).min()
)


# %% [markdown]
# Up to about 2 nats DPO is nearer to the line at the same KL, in every seed. At 2.4 and 3.0 nats PPO is, in every seed that
# can be compared. DPO has no run between 1.8 and 6.2 nats, so the last two rows read a long straight line. But PPO's gap there
# is less than DPO's at *both* ends of that line (3.3 % and 4.1 %). Farther out than 3 nats PPO has no run. PPO-GT is nearest wherever it is
# compared. And around 2 nats unlikelihood, which nobody tuned, is nearer than both DPO and PPO: 1.5 % at its one good strength,
# $\alpha = 0.5$. At the others it is far off.
#
# ### By equation 3 itself
#
# DPO, PPO and PPO-GT all have one number to maximise, $J = \mathbb{E}[r^*] - \beta\, \mathrm{KL}$ (PPO with $r_\phi$ in the place of $r^*$). So the
# plainest question is: who has most of it in the end? The most there is is $\beta \log Z$ (mean over prompts). Look at where
# DPO and PPO change places.

# %%
def objectives(rows):
    """J of the final policies (eq. 3, with r*): a row for each β and seed, a column a method."""
    runs = rows[rows["last"] & rows["method"].isin(["dpo", "ppo", "ppo-gt"])]
    runs = runs.assign(J=runs["reward"] - runs["strength"] * runs["kl"])
    return runs.pivot(index=["strength", "seed"], columns="method", values="J")


def log_z(b):
    """The mean over prompts of log Z at this β."""
    return log_partition(ref_logp, world.rewards, float(b)).mean().item()


# %%
J = objectives(full)
mean_J, ahead = J.groupby("strength").mean(), (J["dpo"] > J["ppo"]).groupby("strength").sum()
most = {b: b * log_z(b) for b in mean_J.index}
print("   β    β log Z     DPO     PPO   PPO-GT   DPO ahead of PPO")
for b, row in mean_J.iterrows():
    print(
        f"{b:4g}    ≈ {most[b]:.3f}   {row['dpo']:.3f}   {row['ppo']:.3f}   {row['ppo-gt']:.3f}    {ahead[b]} of 5 seeds"
    )
missed = mean_J.rsub(list(most.values()), axis=0)
assert missed.shape == (6, 3) and (missed > -0.01).all(axis=None)
assert (missed["ppo-gt"] < missed[["dpo", "ppo"]].min(axis=1)).all()
assert missed["ppo-gt"].max() < 0.05
assert (ahead[:0.1] == 0).all() and (ahead[0.5:] == 5).all()
assert abs(mean_J.loc[0.3, "dpo"] - mean_J.loc[0.3, "ppo"]) < 0.02
highest = ends.groupby(["method", "strength"])["reward"].mean()
assert highest.idxmax() == ("dpo", 0.1) and missed["dpo"].idxmax() == 0.1

# %% [markdown]
# At $\beta$ of 0.1 and less PPO is ahead, in every seed. From 0.5 up DPO is, in every seed. At 0.3 they are even: half a hundredth of a nat
# apart. PPO-GT misses least at every $\beta$, a few hundredths of a nat. DPO's worst place is $\beta = 0.1$: it has the highest reward of
# the whole table there, 1.84, and pays for 8 nats to get it.
#
# ### How far each $\beta$ lets them go
#
# So look at the KLs themselves, beside that of the optimum.

# %%
drift = ends.pivot_table(index="strength", columns="method", values="kl")[
    ["dpo", "ppo", "ppo-gt"]
].dropna()
star_kl = {
    b: kl_divergence(optimal_logp(ref_logp, world.rewards, b), ref_logp).mean().item()
    for b in drift.index
}
print("   β    KL of π*     DPO     PPO   PPO-GT")
for b, row in drift.iterrows():
    print(
        f"{b:4g}     ≈ {star_kl[b]:4.2f}    {row['dpo']:4.2f}    {row['ppo']:4.2f}    {row['ppo-gt']:4.2f}"
    )
times = drift.div(star_kl, axis=0)
assert len(times) == 6 and (times.loc[:0.5, "dpo"] > 1.1).all() and times.loc[0.1, "dpo"] > 3
assert drift.loc[0.05, "dpo"] < drift.loc[0.1, "dpo"] - 1
assert times["ppo"].between(0.55, 1.25).all() and times["ppo-gt"].between(0.9, 1.12).all()

# %% [markdown]
# DPO goes farther than its optimum from $\beta = 0.5$ down: by a seventh at 0.5, by half at 0.3, to more than three times as far at 0.1.
# And at 0.05 it goes *less* far than at 0.1. So $\beta$ alone does not decide where DPO ends; training does too. Its learning rate was
# chosen at $\beta = 0.3$, and each pair is seen 2.6 times, whatever the $\beta$. The overshooting is probably due to finite pairs with hard
# labels: chapter 07 showed margins grow on labels that are taken as certain. Nothing here tests that. PPO pays for every
# nat at every step. It has 0.6 to 1.2 times the optimum's KL, too little where $\beta$ is large (probably because its $r_\phi$ is flat). PPO-GT is right to
# a tenth.
#
# ## Who gets there sooner?
#
# Now time. All at $\beta = 0.3$. The grey line is the goal: the reference's reward plus 90 % of the attainable. The dashed line is
# the reward of $\pi^*$ at this $\beta$. It bounds $J$, not the reward: who spends more KL than $\pi^*$ can be above it. Look at where each curve crosses
# the goal.

# %%
star = optimal_logp(ref_logp, world.rewards, 0.3)
attainable = expected_reward(star, world.rewards).mean().item()
floor = expected_reward(ref_logp, world.rewards).mean().item()
goal = floor + 0.9 * (attainable - floor)
figures.reward_by_cost(full, 0.3, goal, attainable)


# %%
def cost_at(rows, method, goal, name, beta):
    """What ``goal`` had cost, a row a seed: when last measured below it, in proportion, when first above it."""
    costs = []
    for _, run in rows[(rows["method"] == method) & (rows["strength"] == beta)].groupby("seed"):
        reward, cost = run["reward"].to_numpy(), run[name].to_numpy(dtype=float)
        above = reward >= goal
        assert above.any() and not above[0]
        i = int(above.argmax())
        share = (goal - reward[i - 1]) / (reward[i] - reward[i - 1])
        costs.append([cost[i - 1], cost[i - 1] + share * (cost[i] - cost[i - 1]), cost[i]])
    return np.array(costs)


# %%
def sooner(rows, goal, beta=0.3):
    """Print what reaching the goal had cost; give (method, currency) → seeds × (below, in proportion, above)."""
    costs = {}
    print(f"{'':24} {'median':>10}   {'measured between':>23}   {'from seed to seed':>24}")
    for method in ("dpo", "ppo", "ppo-gt"):
        for name in ("seconds", "passes", "generated_tokens", "judgements"):
            costs[method, name] = cost_at(rows, method, goal, name, beta)
            low, middle, high = np.median(costs[method, name], axis=0)
            seeds = costs[method, name][:, 1]
            print(
                f"{method:7} {name:16} ≈ {middle:8.1f}   ≈ {low:8.1f} … ≈ {high:8.1f}"
                f"   ≈ {seeds.min():8.1f} to ≈ {seeds.max():8.1f}"
            )
    return costs


# %%
print(f"90 % of the attainable: E[r] ≈ {goal:.2f}")
costs = sooner(full, goal)
median = {key: np.median(rows[:, 1]) for key, rows in costs.items()}
for method in ("ppo", "ppo-gt"):
    seconds, tokens = (
        median["dpo", n] / median[method, n] for n in ("seconds", "generated_tokens")
    )
    print(f"DPO's seconds / {method}'s: ≈ {seconds:.2f}, tokens: ≈ {tokens:.2f}")
for name in ("passes", "generated_tokens"):
    assert median["dpo", name] < median["ppo", name]
assert costs["dpo", "seconds"][:, 2].max() < costs["ppo", "seconds"][:, 0].min()
assert median["ppo-gt", "generated_tokens"] < median["dpo", "generated_tokens"] / 5
for name in ("seconds", "passes", "judgements"):
    assert median["ppo-gt", name] < median["dpo", name]


# %% [markdown]
# What is in no bill: $\log \pi_{\text{ref}}$ of the pairs. An upper estimate of its seconds: two passes a pair, each as slow as one of DPO's
# with a backward. Without one it is faster.

# %%
def unbilled(name, beta):
    """Seconds that log π_ref of all pairs takes at most, at the speed of DPO's training: median over seeds."""
    rows, plan = tables[name], PLANS["full"][name]
    runs = rows[(rows["method"] == "dpo") & (rows["strength"] == beta)].groupby("seed")["seconds"]
    return 2 * plan.comparisons * ((runs.max() - runs.min()) / plan.budget).median()


extra = unbilled("verdicts", 0.3)
print(f"DPO: ≈ {median['dpo', 'seconds']:.1f} s, and at most {extra:.1f} s unbilled", end="; ")
print(f"PPO: ≈ {median['ppo', 'seconds']:.1f} s")
assert median["dpo", "seconds"] + extra < median["ppo", "seconds"]

# %% [markdown]
# Compare with your prediction.
#
# - **Of the two that anybody can run, DPO is sooner**, in seconds, in passes and (a little) in tokens. PPO cannot begin before its
#   reward model is paid for. Then it leaps, and creeps over the line: its learned reward leads it not quite there. PPO is measured
#   at a few budgets only, so read its bracket and not its median. DPO's slowest seed had been measured above the goal before
#   PPO's fastest was last measured below it. The unbilled part does not turn the medians.
# - **PPO-GT is first in every currency**, and in tokens by far. Its samples come from the policy as it is, and for each one it hears the
#   true reward itself: a number, where a comparison gives one noisy bit about two responses. Nobody has that in practice, unless
#   a program can tell the reward.
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
# seven methods. About a minute and a half. Mind DPO's learning rate: a small run has few steps and takes them five times as
# large as the full one.

# %%
plans = {size: PLANS[size]["tiny-reviews"] for size in ("small", "full")}
rates = {size: plan.learning_rates["dpo"] for size, plan in plans.items()}
print(f"DPO's learning rate: small {rates['small']:g}, full {rates['full']:g}")
small_reviews = live("tiny-reviews")
figures.reward_kl_frontier(small_reviews)

# %%
small_ends = small_reviews[small_reviews["last"]].set_index("method")
for method, row in small_ends.iterrows():
    print(
        f"{method:13} {row['strength']:4g}   E[r] ≈ {row['reward']:.2f}, KL ≈ {row['kl']:.2f}"
        f"   (standard errors ≈ {row['reward_error']:.2f} and ≈ {row['kl_error']:.2f})"
    )
for method in ("preferred-ft", "unlikelihood", "dpo", "ppo-gt"):
    error = np.hypot(small_ends.loc[method, "reward_error"], small_ends.loc["sft", "reward_error"])
    assert small_ends.loc[method, "reward"] > small_ends.loc["sft", "reward"] + error
assert small_ends.loc["dpo", "kl"] > 2

# %% [markdown]
# All that train from the first pass on earn more than the reference, by more than one standard error of the difference. PPO pays half of this
# small budget for its reward model and has ten steps left. One seed, short runs: read no order into the rest.
#
# DPO goes to about 3 nats here. In the full version, with a fifth of the rate, it stays below 1.3 at every $\beta$: its steps are probably too
# small to go farther on this budget. So the full table says how DPO does *near* the reference, and nothing about DPO at 3 nats.

# %%
open_ended = tables["tiny-reviews"]
figures.reward_kl_frontier(open_ended)

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
# Again at the same KL: at each KL where DPO ended, the other methods' rewards in a straight line between two strengths. Reward
# rises ever more slowly with KL, so a straight line runs a little *below* the curve it stands for. That favours DPO here. So look also at the last line,
# read the other way round: PPO's own point, and DPO's line.

# %%
means = open_ended[open_ended["last"]].groupby(["method", "strength"])[["kl", "reward"]].mean()
others, compared = ("unlikelihood", "best-of-n", "ppo", "ppo-gt"), []
assert means.loc["dpo", "kl"].max() < 1.3
print("DPO's KL   DPO   " + "".join(f"{method:>14}" for method in others))
for kl, reward in means.loc["dpo"].sort_values("kl").to_numpy():
    at_kl = {method: read_at(means.loc[method], kl, "reward") for method in others}
    cells = (f"{value:14.2f}" if np.isfinite(value) else f"{'–':>14}" for value in at_kl.values())
    print(f"{kl:8.2f}   {reward:.2f}  " + "".join(cells))
    compared += [(m, reward - value) for m, value in at_kl.items() if np.isfinite(value)]
ppo_kl, ppo_reward = means.loc[("ppo", 0.3)]
dpo_there = read_at(means.loc["dpo"], ppo_kl, "reward")
print(f"{ppo_kl:8.2f}   {dpo_there:.2f} (line), PPO's own point {ppo_reward:.2f}")

# %%
lead = {m: [ahead for method, ahead in compared if method == m] for m in others}
print({m: len(values) for m, values in lead.items()}, "comparisons")
assert len(lead["best-of-n"]) == 4 and len(lead["ppo"]) == 2 and len(lead["ppo-gt"]) == 3
assert min(lead["best-of-n"] + lead["ppo"]) > 0 and max(lead["ppo-gt"]) < 0.1
assert dpo_there > ppo_reward + 0.1

# %% [markdown]
# Up to the 1.2 nats where DPO's runs end, at the same KL, DPO has more true reward than PPO and than best-of-n: both follow the weak reward model.
# PPO-GT has as much as DPO or more (asserted to a tenth of a nat). Unlikelihood comes near and does not go far. Beyond, there is no DPO to compare
# with, and there is more reward, at more KL: PPO goes there.
#
# And equation 3? No $\beta \log Z$ is known here, but $J$ of the final policies is.

# %%
J = objectives(open_ended)
mean_J = J.groupby("strength").mean()
print("   β     DPO     PPO   PPO-GT   (– : not run)")
for b, row in mean_J.iterrows():
    row = [f"{value:.2f}" if np.isfinite(value) else "–" for value in row[["dpo", "ppo", "ppo-gt"]]]
    print(f"{b:4g}    {row[0]:>4}    {row[1]:>4}    {row[2]:>4}")
leads = (J["dpo"] - J["ppo"]).dropna().unstack("strength")
print("DPO's lead over PPO, seed by seed:", {b: leads[b].round(2).tolist() for b in leads})
assert (leads[0.03] < -0.1).all() and (leads[0.3] > 0.08).all() and abs(leads[0.1].mean()) < 0.1
assert mean_J.loc[1.0, "dpo"] > mean_J.loc[1.0, "ppo-gt"] + 0.05

# %% [markdown]
# The same order as in verdicts: PPO is ahead at the lowest $\beta$, DPO at 0.3, and in between they are even. Part of it is probably DPO's small rate: at
# $\beta = 0.03$ it stops at 1.2 nats, where a farther way would pay. At $\beta = 1$ DPO has more than even PPO-GT.
#
# Who is sooner here? The attainable is not known, so the goal is one that all three reach: 90 % of the way from the
# reference to the least of their mean final rewards, at $\beta = 0.1$.

# %%
at = open_ended[open_ended["last"]].groupby(["method", "strength"])["reward"].mean()
least = min(at[method, 0.1] for method in ("dpo", "ppo", "ppo-gt"))
review_goal = at["sft", 0.0] + 0.9 * (least - at["sft", 0.0])
figures.reward_by_cost(open_ended, 0.1, review_goal)

# %%
print(f"goal: E[r] = {review_goal:.2f}")
costs = sooner(open_ended, review_goal, beta=0.1)
median = {key: np.median(rows[:, 1]) for key, rows in costs.items()}
print(f"DPO's unbilled seconds: at most {unbilled('tiny-reviews', 0.1):.1f}")
assert (costs["dpo", "seconds"][:, 1] < costs["ppo", "seconds"][:, 0]).all()
assert median["dpo", "seconds"] + unbilled("tiny-reviews", 0.1) < median["ppo", "seconds"]
for name in ("seconds", "passes", "generated_tokens"):
    assert median["ppo-gt", name] < median["dpo", name]

# %% [markdown]
# PPO is measured after 1 and after 25 steps and at no step between. So it reached the goal somewhere between 54 and 103 seconds; its
# median is a straight line's guess. DPO, in every seed, is there before PPO's bracket opens. But that leaves out up to 14 seconds for
# $\log \pi_{\text{ref}}$ of the pairs. With them DPO is still before PPO's guess, and inside its bracket. PPO-GT is first in seconds, passes and
# tokens, as in verdicts. Most of DPO's seconds, and of PPO's, go by before the policy trains: sampling the comparisons takes 26.
#
# Mind that a given $\beta$ does not bring everybody to the same reward within this budget: DPO, at the rate that was best for it
# at $\beta = 0.3$, stays near the reference.
#
# ### What they say
#
# Numbers first, then text. The samples below are from the runs of seed 0 whose KL is nearest to that of PPO-GT at
# $\beta = 0.3$. Near is not equal: look at the KLs.

# %%
import json

first = open_ended[(open_ended["seed"] == 0) & open_ended["last"]]
target = first[(first["method"] == "ppo-gt") & (first["strength"] == 0.3)]["kl"].item()
shown, said = {}, {}
for method in ("sft", "dpo", "ppo", "ppo-gt", "best-of-n"):
    runs = first[first["method"] == method]
    run = runs.loc[(runs["kl"] - target).abs().idxmin()]
    print(f"{method} {run['strength']:g}: KL {run['kl']:.2f}, E[r] {run['reward']:.2f}")
    shown[method], said[method] = run["kl"], json.loads(run["samples"])[:3]
    for prompt, response in said[method]:
        print(f"   {reviews.reward(prompt, response):5.2f}   {prompt} |{response}")
del shown["sft"]
assert min(shown, key=shown.get) == "ppo" and max(shown.values()) > 2 * min(shown.values())
assert said["ppo"] == said["sft"]


# %% [markdown]
# The KLs run from 0.63 nats (PPO) to 1.84 (best-of-16): nobody has a run nearer to PPO-GT's 1.40. All but best-of-n were sampled with the same random
# numbers, and PPO, at 0.63 nats, still says the reference's three word for word. So compare texts and rewards with the KL in mind.
#
# Three samples prove little. They are here so that you have seen what the numbers average. Not every sentence is whole, not even
# the reference's: the GPT-2 is small. How many are, we can count.
#
# ### Where the text falls apart
#
# VADER weighs words and knows little of grammar. A policy that strays far enough finds word strings that VADER likes and nobody would write. $\beta$ is
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
fit = replace(small_plan.reward_model, seed=0)
material = draw_material(arena, small_plan.comparisons, fit, 0)
settings = {"learning_rate": 1e-3, "batch_size": 32, "steps": 60, "warmup_steps": 5}
shares, texts = {}, {}
shares["reference"], _ = grammatical_share(arena.reference)
for b in (1.0, 0.03):
    policy = copy_policy(arena.reference)
    config = DPOConfig(beta=b, **settings)
    logps = material.reference_logps
    list(train_dpo(policy, arena.reference, material.pairs, config, logps))
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
# not yet paid for its reward model is still the reference. Runs were measured now and then: each method is shown as last measured within the
# budget, and its label says after how many passes that was.

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
    """The picture after a share of the budget, with the answer to one prompt."""
    bound = optimum if world == "verdicts" else None
    budget = share * PLANS["full"][world].budget
    return figures.at_budget(tables[world], strengths, budget, prompt - 1, bound)


after(2**-2.5, "verdicts")

# %%
widgets.slider_figure(
    after,
    share=ipywidgets.FloatLogSlider(
        value=2**-2.5, base=2, min=-6, max=0, step=0.25, description="budget", readout_format=".2f"
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
# | equation 3's $J$ at the same $\beta$ (verdicts) | PPO ahead at $\beta \le 0.1$, even at 0.3, DPO ahead from 0.5 up; PPO-GT first everywhere | PPO-GT; then it depends on $\beta$ |
# | the same (TinyReviews) | PPO ahead at 0.03, even at 0.1, DPO ahead at 0.3; at 1 DPO ahead of PPO-GT | depends on $\beta$ |
# | distance to the frontier at the same KL (verdicts) | DPO nearer than PPO up to about 2 nats, PPO nearer at 2.4 and 3.0; PPO-GT nearest; unlikelihood at its one good $\alpha$ nearer than both | PPO-GT; then DPO near the reference, PPO farther out |
# | reward at the same KL (TinyReviews) | DPO above PPO and best-of-n up to 1.2 nats, where its runs end | DPO, as far as it was compared |
# | the KL that $\beta$ asks for (verdicts) | DPO overshoots from $\beta = 0.5$ down, up to threefold; PPO has 0.6 to 1.2 times the optimum's | PPO-GT, then PPO |
# | time to 90 % of the attainable reward | medians and brackets printed above; in TinyReviews, to a goal that all three reach | PPO-GT; then DPO before PPO |
# | sampled tokens | DPO and PPO share the comparisons' tokens; PPO adds its own | PPO-GT by far; then DPO by little |
# | memory, number of settings | 1 model against 4 | DPO |
# | no training of the policy at all | best-of-n needs a reward model only; n samples for every answer, for ever | best-of-n |
# | a reward that can be asked | PPO-GT reaches the goal with a fraction of the judgements; DPO as here, offline, cannot ask. *Online* DPO can: it has fresh pairs labelled while it trains ([Guo et al. 2024](https://arxiv.org/abs/2402.04792)); not run here | PPO, among those that ran |
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
# **"The reward goes up and up: it works."** Which reward? Above, best-of-256 had more of the learned one than best-of-64 and no more of the
# true one. Watch the KL, and read samples.
#
# **"DPO's β looks opposite to PPO's."** It is the same β: the price of a nat in equation 3. The optimum of a smaller one
# is always farther away. A trained policy need not be: DPO had 8.05 nats at 0.1 and 6.16 at 0.05. See the table of KL by β.
#
# **"My PPO does not learn, so I make the learning rate larger."** Look at `explained_variance` and `clip_fraction` first. The former
# is 1 minus the variance of what the values missed, over the variance of what came in: 1 is perfect, 0 is no better than a
# constant. The latter is the share of tokens whose $\rho$ left $1 \pm \epsilon$. If values explain nothing, the advantages are noisy; if
# most tokens are clipped, updates are already too large. For the steered run above:

# %%
for name in ("explained_variance", "clip_fraction"):
    early, late = (
        np.mean([record[name] for record in part]) for part in (records[:5], records[-5:])
    )
    print(f"{name:19} first steps ≈ {early:.2f}, last steps ≈ {late:.2f}")
    assert late > early + 0.1 if name == "explained_variance" else late < 0.1 < early


# %% [markdown]
# At first the values explain next to nothing, so a single response's luck decides. Later they explain a good part. Clipping fades as the learning rate goes to
# zero.
#
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
# ### Exercise ★★ · shortfall
#
# Who is nearer to the optimum of its own $\beta$? The shortfall is $\beta \log Z - J$. `reward` and `kl` have shape (M, B): M methods at B values of $\beta$.
# `beta` and `log_z` have shape (B,). The numbers to try it on are those of the verdict table: DPO and PPO at $\beta = 0.05$ and 1. (10 minutes)

# %%
table_of = ends.groupby(["strength", "method"])[["reward", "kl"]].mean()
two = vector(0.05, 1.0)
log_zs = vector(*map(log_z, two))
reward, kl = (
    torch.tensor([[table_of.loc[(b, m), name] for b in two.tolist()] for m in ("dpo", "ppo")])
    for name in ("reward", "kl")
)
for name, rows in zip(("DPO", "PPO"), torch.stack([reward, kl], dim=2)):
    print(f"{name}: β = 0.05: E[r] {rows[0, 0]:.2f}, KL {rows[0, 1]:.2f}", end="; ")
    print(f"β = 1: E[r] {rows[1, 0]:.2f}, KL {rows[1, 1]:.2f}")


# %%
def shortfall(reward, kl, beta, log_z):
    """β log Z − J of every method at every strength: shape (M, B)."""
    # YOUR CODE HERE
    raise NotImplementedError()


# %%
check_shortfall(shortfall)


# %% [markdown]
# Then `shortfall(reward, kl, two, log_zs)`: who is nearer at 0.05, and who at 1?
#
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
    "From best-of-64 to best-of-256 the learned reward rose in every seed. What did the true reward do (verdicts)?",
    {
        "It rose as much: the reward model was fitted to true comparisons.": "Only in places. Among the best responses it ordered pairs worse than a coin.",
        "On average it stood still; in one seed it fell.": "Far out r_φ no longer tells good from better: over-optimisation.",
        "It fell in every seed.": "In one of five. In the others it rose a little.",
    },
    right="On average it stood still; in one seed it fell.",
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
# With good pairs at hand DPO is the shorter way: sooner, with one model in memory. Where it ends depends on $\beta$. In verdicts, from 0.5 up it came nearer to the
# optimum than PPO; at 0.3 they were even; at 0.1 and below DPO strayed too far and PPO was ahead. Where a reward can be asked, PPO
# gets more from it than pairs can tell.
#
# In both worlds we knew the true reward. Chapter 09 takes it away: how do we know then that a policy is better?
