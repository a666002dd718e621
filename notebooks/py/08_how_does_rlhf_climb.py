# %% [markdown]
# # 08 · How does RLHF climb?
#
# Chapter 03 climbed equation 3 with all 14,641 responses at hand. A real language model has more than anybody can list. One
# can sample some and have them scored, that is all. RLHF's way up from samples alone is **PPO**, Proximal Policy
# Optimization. This chapter derives it step by step, holds each step against enumeration, lets it run, and reads the
# logs that every such run writes.
#
# **Write down two predictions first.** (a) PPO draws 128 responses a step and is told their true rewards. After 30 steps
# it has seen 3,840 responses, some of them many times. What share of the way from the reference to the best $J$ that any
# policy can have does it go: a tenth, a half, or nine tenths? (b) Somebody estimates $\mathrm{KL}[\pi \Vert
# \pi_{\text{ref}}]$ by the mean of $\log(\pi/\pi_{\text{ref}})$ over the policy's samples, adds that to the loss and lets
# autograd make it small. Which KL does that make small: this one, the one turned around, or none?
#
# | after this chapter you can | |
# |---|---|
# | derive the policy gradient, and say what a baseline changes and what not | 12&nbsp;min |
# | derive PPO from it, and say what each of its parts is for | 17&nbsp;min |
# | name the four models of RLHF, and read PPO's log | 9&nbsp;min |
# | estimate a KL from samples, and name the traps | 12&nbsp;min |
# | write $R$, $k_3$, advantages and the clipped loss yourself | 30&nbsp;min |
#
# You need chapters 02 (reward model), 03 (equation 3, both directions of KL) and 04 (its optimum).

# %% jupyter={"source_hidden": true} tags=["install", "hide-input", "remove-cell"]
# Where the book is not installed this cell installs it. Elsewhere it does nothing.
import os
import site
from importlib.util import find_spec

if find_spec("dpo_book") is None:
    assert os.path.isdir("../dpo_book"), "Open the chapter in the book's own folder"
    print("The book is not installed here. Installing it takes some minutes.")
    get_ipython().run_line_magic("pip", "install --quiet --editable ..")
    site.main()

# %%
import numpy as np
import pandas as pd
import torch

from dpo_book import *
from dpo_book import plots, widgets
from dpo_book.checks.ppo import (
    check_clipped_loss,
    check_k3_estimate,
    check_penalized_reward,
    check_token_advantages,
)
from dpo_book.quizzes import quiz
from dpo_book.training import ppo

setup(seed=0)


# %% [markdown]
# ## Three responses
#
# A policy over three responses: the softmax of three numbers $\theta$, its logits. $R(y) = r(y) - \beta \log
# \frac{\pi_\theta(y)}{\pi_{\text{ref}}(y)}$ is the reward after its price (chapter 03); its mean is $J$, equation 3. Compare
# the last two columns.

# %%
def vector(*values):
    """These numbers in double precision."""
    return torch.tensor(values, dtype=torch.float64)


three = ["fine", "good", "great"]
p_ref, r, beta = vector(0.5, 0.3, 0.2), vector(0.0, 1.0, 2.0), 0.5
theta = vector(0.2, 0.0, -0.1).requires_grad_()
logp = theta.log_softmax(0)
J = kl_regularized_objective(logp, p_ref.log(), r, beta)
(gradient,) = torch.autograd.grad(J, theta)
p = logp.detach().exp()
R = r - beta * (p / p_ref).log()
columns = {"π_ref": p_ref, "π": p, "r": r, "R": R, "∂J/∂θ": gradient}
pd.DataFrame(columns, index=three).round(4)

# %% [markdown]
# "great" has the highest $R$, and uphill is where its logit grows. Autograd needed all three responses for that. Which
# formula can samples stand in for?
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
# 5. $\mathbb{E}_{y \sim \pi_\theta}[\nabla \log \pi_\theta(y)] = \sum_y \nabla \pi_\theta(y) = \nabla \sum_y \pi_\theta(y) = \nabla 1 = 0$: step 4, and probabilities sum to 1. So the second sum of step 2 vanishes.
# 6. $\nabla J = \mathbb{E}_{y \sim \pi_\theta}[R(y)\, \nabla \log \pi_\theta(y)]$: step 4 in what is left.
#
# $\nabla \log \pi_\theta(y)$ is the **score function** of $y$: the direction that makes $y$ more probable. For a softmax it
# is 1 at $y$'s own place and 0 elsewhere, minus the probabilities.

# %% tags=["eq-3"]
score = torch.eye(3, dtype=torch.float64) - p  # row y: ∇ log π(y)
of_score, by_hand = p @ score, (p * R) @ score
print(f"step 5: |E[∇ log π]| = {of_score.norm():.4f}")
print(f"step 6: |E[R ∇ log π] − ∇J| = {(by_hand - gradient).norm():.4f}")
assert torch.isclose((p * R).sum(), J, atol=1e-12)
assert of_score.abs().max() < 1e-12
assert torch.allclose(by_hand, gradient, atol=1e-12)


# %% [markdown]
# Step 6 is a mean over the policy's own responses. So each sample $y$ gives an estimate, $R(y)\, \nabla \log
# \pi_\theta(y)$, with the right mean. This is the engine of RLHF: sample, score, step, again.
#
# ### A baseline
#
# 7. $\mathbb{E}[b\, \nabla \log \pi_\theta(y)] = b \cdot 0 = 0$ for every number $b$: step 5.
# 8. $\nabla J = \mathbb{E}[(R(y) - b)\, \nabla \log \pi_\theta(y)]$: step 7 subtracted from step 6.
#
# So $b$, the **baseline**, changes no mean. It changes how far off a single sample is. The $b$ with the least variance
# is a mean of $R$ in which each response counts by its chance times $\lVert \nabla \log \pi_\theta(y) \rVert^2$ (set the
# derivative by $b$ to zero). In the last two rows all rewards are 10 higher. Look at the last column.

# %%
def mean_and_variance(estimates, p):
    """Of a gradient estimate, one row a response: mean, and variance summed over θ."""
    mean = p @ estimates
    return mean, (p @ (estimates - mean).square().sum(dim=1)).item()


weight = p * score.square().sum(dim=1)
best = (weight @ R / weight.sum()).item()
rows = {}
for raised, b in ((0, 0.0), (0, J.item()), (0, best), (10, 0.0), (10, J.item() + 10)):
    mean, variance = mean_and_variance((R + raised - b)[:, None] * score, p)
    assert torch.allclose(mean, gradient, atol=1e-12)
    rows[f"R + {raised}, b = {b:.4f}"] = {"variance of one sample": variance}
pd.DataFrame(rows).T.round(4)

# %% [markdown]
# Without a baseline every sample says "more of me", and only the mean sorts it out. With $b = J$, the mean of $R$, a
# sample says "more of me" if it was better than expected; the best $b$, in the third row, gains little on that. Ten more
# for every response changes no gradient and makes the variance a hundredfold; the baseline takes that away.
#
# Now draw samples, with all rewards raised by 1. The figure shows the mean of 300, with two standard errors to either
# side. The dashed lines are exact.

# %%
generator = torch.Generator().manual_seed(0)
draws = torch.multinomial(p, 30_000, replacement=True, generator=generator)
baselines = {"without baseline": 0.0, "with baseline J": J.item() + 1}
drawn = {name: ((R + 1 - b)[:, None] * score)[draws] for name, b in baselines.items()}


def estimated(n):
    """Both estimates from the first n samples."""
    found = {name: (g[:n].mean(0), g[:n].std(0) / n**0.5) for name, g in drawn.items()}
    return plots.gradient_estimates(three, gradient, found, f"{n:,} samples", limit=0.8)


estimated(300)

# %%
counts = [30, 100, 300, 1000, 3000, 10_000, 30_000]
samples = widgets.SelectionSlider(options=counts, value=300, description="samples")
widgets.slider_figure(estimated, n=samples)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
for g in drawn.values():
    off = (g.mean(0) - gradient) / (g.std(0) / len(g) ** 0.5)  # in standard errors
    assert off.abs().max() < 4
assert (drawn["with baseline J"].std(0) < drawn["without baseline"].std(0) / 1.5).all()

# %% [markdown]
# Both kinds scatter around the dashed lines, and the baseline makes every bar shorter. A hundred times the samples give a
# tenth of the error: the noise goes away slowly, and with each step of the policy the samples go stale.
#
# ### The reward, dealt out to tokens
#
# A language model makes many small decisions, one a token. Which of them was good?
#
# 9. $\log \frac{\pi_\theta(y)}{\pi_{\text{ref}}(y)} = \sum_t \log \frac{\pi_\theta(y_t \mid y_{<t})}{\pi_{\text{ref}}(y_t \mid y_{<t})}$: the chain rule of probabilities; $y_{<t}$ is what was said before token $t$.
# 10. $R(y) = \sum_t R_t$, where token $t$ has $R_t = -\beta \log \frac{\pi_\theta(y_t \mid y_{<t})}{\pi_{\text{ref}}(y_t \mid y_{<t})}$, and the last one has $r(y)$ on top: step 9 in $R$.
#
# To check this and what follows, take responses of two words out of three: nine of them. $\theta$ holds 12 numbers, three
# logits for the first word and three for the second word after each first. The reference says everything alike.

# %%
words = ("good", "not", "bad")
texts = [f"{first} {second}" for first in words for second in words]
r = vector(5.0, 3.5, 2.0, 2.0, 3.0, 4.0, 3.0, 4.0, 1.0)
generator = torch.Generator().manual_seed(1)
theta = torch.randn(12, dtype=torch.float64, generator=generator).requires_grad_()


def token_logp(theta):
    """log π of both tokens of each of the nine responses: (9, 2)."""
    first, second = theta[:3].log_softmax(0), theta[3:].reshape(3, 3).log_softmax(1)
    return torch.stack([first.repeat_interleave(3), second.flatten()], dim=1)


ref = token_logp(torch.zeros(12, dtype=torch.float64))
score = torch.autograd.functional.jacobian(token_logp, theta)  # ∇ log π(y_t|y_<t)

# %% [markdown]
# The package's `penalized_rewards` deals $R$ out; `mask` says which tokens are the response's.

# %% tags=["eq-3"]
logp = token_logp(theta)
J = kl_regularized_objective(logp.sum(dim=1), ref.sum(dim=1), r, beta)
(gradient,) = torch.autograd.grad(J, theta)

logp = logp.detach()
p = logp.sum(dim=1).exp()
R = r - beta * (logp - ref).sum(dim=1)
mask = torch.ones(9, 2, dtype=torch.bool)
rewards = ppo.penalized_rewards(logp, ref, mask, r, beta)  # R_t, (9, 2)
assert torch.allclose(rewards.sum(dim=1), R, atol=1e-12)
assert torch.isclose(p @ rewards.sum(dim=1), J, atol=1e-12)
columns = {"r": r, "R_1": rewards[:, 0], "R_2": rewards[:, 1], "R": R}
pd.DataFrame(columns, index=texts).round(4).loc[["good good", "not not", "bad bad"]]

# %% [markdown]
# ### Values and advantages
#
# 11. $\mathbb{E}[R_s\, \nabla \log \pi_\theta(y_t \mid y_{<t})] = 0$ for $s < t$: given $y_{<t}$, $R_s$ is a fixed number, and step 5 holds for the next token alone. A token earns nothing for what was said before it.
# 12. The same for any $b(y_{<t})$, by the same reason. The **value** $V_t = V(y_{<t})$ is the choice $\mathbb{E}[R_t + R_{t+1} + \dots \mid y_{<t}]$: what is expected from here on.
# 13. $\nabla J = \mathbb{E}\left[\sum_t A_t \nabla \log \pi_\theta(y_t \mid y_{<t})\right]$ with the **advantage** $A_t = R_t + R_{t+1} + \dots - V_t$: steps 11 and 12 in step 6.
# 14. $A_t = \delta_t + \delta_{t+1} + \dots$ with $\delta_t = R_t + V_{t+1} - V_t$, where $V$ is 0 after the end: in the sum every $V$ but $V_t$ cancels.
# 15. Given $y_{\le t}$, the mean of each later $\delta$ is 0 if the values are exact: $V_t$ *is* the mean of $R_t + V_{t+1}$. So later ones may be weighted down: $A_t = \delta_t + \lambda \delta_{t+1} + \lambda^2 \delta_{t+2} + \dots$ for a $\lambda$ between 0 and 1. This is GAE, generalised advantage estimation ([Schulman et al. 2015](https://arxiv.org/abs/1506.02438)).
#
# $A_t$ is computed before the policy moves: a number, through which no gradient flows. In practice the values are guesses:
# another GPT-2 is trained, by squared error, to predict $A_t + V_t$. So we try both, exact values and values
# that know nothing. Look at the error of the mean (bias) and at the variance.

# %%
second = (logp[:, 1].exp() * rewards[:, 1]).reshape(3, 3).sum(dim=1)
exact_values = torch.stack([(p @ R).expand(9), second.repeat_interleave(3)], dim=1)
guesses = {"exact": exact_values, "all zero": torch.zeros_like(exact_values)}
one_number = (R - J.item())[:, None] * score.sum(dim=1)
tried = {"one number, b = J": one_number}
for name, values in guesses.items():
    for gae_lambda in (1.0, 0.95, 0.0):
        A = ppo.generalized_advantages(rewards, values, mask, gae_lambda)
        tried[f"values {name}, λ = {gae_lambda}"] = (A[:, :, None] * score).sum(dim=1)
rows = {}
for name, estimates in tried.items():
    mean, variance = mean_and_variance(estimates, p)
    rows[name] = {"bias": (mean - gradient).norm().item(), "variance": variance}
found = pd.DataFrame(rows).T
found.round(4)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
biased = ["values all zero, λ = 0.95", "values all zero, λ = 0.0"]
assert found["bias"].drop(biased).max() < 1e-12
assert found["bias"][biased[1]] > 0.4 > found["bias"][biased[0]] > 0.01
spread = found["variance"]
assert spread["values exact, λ = 0.0"] < spread["values exact, λ = 0.95"]
assert spread["values exact, λ = 0.95"] < spread["values exact, λ = 1.0"]
assert spread["values exact, λ = 1.0"] < spread["values all zero, λ = 1.0"] / 2
assert spread["values exact, λ = 1.0"] > spread["one number, b = J"]
assert spread["values exact, λ = 0.95"] > spread["one number, b = J"]

# %% [markdown]
# With exact values every $\lambda$ is right, and a small one has less noise. With useless values only $\lambda = 1$ is
# right. (Mind the first rows: a value is the best guess of what is to come, and that is not the baseline of least
# variance.) PPO uses 0.95 as a rule: most of the trust goes to what really came in.
#
# ### Old samples, used several times
#
# Sampling is slow, so PPO makes several updates on one batch. After the first, the batch is from an *old* policy.
#
# 16. $\nabla \log \pi_\theta(y_t) = \nabla \rho_t$ where $\rho_t = \pi_\theta(y_t \mid y_{<t}) / \pi_{\text{old}}(y_t \mid y_{<t})$ is 1: $\nabla \rho = \rho \nabla \log \pi_\theta$. So $\rho_t A_t$ has the right gradient where $\theta$ is still old.
# 17. A step further away $\rho_t$ corrects for the token having been drawn by the old policy. It does not correct $y_{<t}$ and $A_t,$ which are old too. That is an approximation, good only while the $\rho$ are near 1.
# 18. So the objective stops paying beyond $1 \pm \epsilon$: $\min\left(\rho_t A_t,\ \mathrm{clip}(\rho_t, 1 - \epsilon, 1 + \epsilon)\, A_t\right)$. That is PPO's equation 7 ([Schulman et al. 2017](https://arxiv.org/abs/1707.06347)). The min keeps the gradient alive where the policy moved the *wrong* way.
#
# Look at which of the five gradients are zero.

# %%
ratio = vector(1.0, 1.3, 0.7, 1.3, 0.7)
A = vector(2.0, 2.0, -2.0, -2.0, 2.0)
now = ratio.log().requires_grad_()  # log π, the old one being 0
objective = ppo.clipped_objective(now, torch.zeros(5), A, clip=0.2)
(slope,) = torch.autograd.grad(objective.sum(), now)
assert torch.allclose(slope, vector(2.0, 0.0, 0.0, -2.6, 1.4), atol=1e-12)
notes = ["start: A itself", "far enough", "far enough", "wrong way", "wrong way"]
pd.DataFrame({"ρ": ratio, "A": A, "gradient": slope.round(decimals=4), "": notes})

# %% [markdown]
# And step 16 for the nine responses: at $\rho = 1$, the gradient of the clipped objective is the gradient of equation 3.

# %% tags=["eq-3"]
A = ppo.generalized_advantages(rewards, exact_values, mask, gae_lambda=0.95)
surrogate = ppo.clipped_objective(token_logp(theta), logp, A, clip=0.2)  # (9, 2)
(of_surrogate,) = torch.autograd.grad(p @ surrogate.sum(dim=1), theta)
print(f"|gradient of PPO's objective − ∇J| = {(of_surrogate - gradient).norm():.4f}")
assert torch.allclose(of_surrogate, gradient, atol=1e-12)

# %% [markdown]
# ## Four models and a loop
#
# `train_ppo` puts these pieces together. One step of it:
#
# - `roll_out`: sample a batch of responses from the policy (the **rollouts**), and score them.
# - `penalized_rewards`: $R_t$, with $\log \pi_{\text{ref}}$ from the reference.
# - `generalized_advantages`: $A_t$, with the value model's guesses; then shifted and scaled to mean 0 and variance 1.
# - Four times over the batch: `policy_loss` moves the policy, `value_loss` the value model.
#
# | model | PPO | PPO-GT | DPO |
# |---|---|---|---|
# | policy | trained | trained | trained |
# | reference | asked at every step | asked at every step | asked once a pair, before training |
# | reward model | trained before, asked at every step | – (somebody who knows $r$) | – |
# | value model | trained along | trained along | – |
# | in memory while the policy trains | 4 | 3 | 1 |
# | samples while the policy trains | yes | yes | no |
#
# GT stands for ground truth: this PPO asks for the true reward, so that no reward model is to blame. (DPO has one model in
# memory if the reference's log-probabilities are kept, as this package does; else two.)
#
# Now PPO-GT, live: 30 steps of 128 samples in the verdict world. Each step estimates its own objective from its samples.
# `standing` computes the same number exactly, by listing all responses, and the standard error that 128 samples should
# have.

# %%
from dpo_book.worlds.references import verdicts_reference
from dpo_book.worlds.verdicts import verdicts

world, reference = verdicts(), verdicts_reference()
with torch.no_grad():
    ref_logp = world.logp(reference).double().log_softmax(-1)  # (3, 14641)


def standing(policy, beta, size=128):
    """Exact J (eq. 3), and the standard error of its estimate from `size` samples."""
    with torch.no_grad():
        logp = world.logp(policy).double()
    R = world.rewards - beta * (logp - ref_logp)
    J = (logp.exp() * R).sum(dim=1).mean()
    variance = (logp.exp() * (R - J).square()).sum(dim=1).mean()
    return J.item(), (variance / size).sqrt().item()


# %%
rates = {"learning_rate": 1e-3, "value_learning_rate": 1e-3, "warmup_steps": 5}
sizes = {"steps": 30, "batch_size": 128, "minibatch_size": 128, "max_new_tokens": 4}
config = PPOConfig(beta=0.3, **rates, **sizes)
policy, scorer = copy_policy(reference), world.rewards_of
exact, records = [standing(policy, config.beta)], []
for record in train_ppo(policy, reference, world.prompt_ids, scorer, config):
    records.append(record)
    exact.append(standing(policy, config.beta))

# %%
from dpo_book.frontier.on_the_way import sampled_objective

log_z = log_partition(ref_logp, world.rewards, config.beta)
highest = (config.beta * log_z).mean().item()  # J of the optimum (chapter 04)
# A step's samples are drawn before its updates: they belong to the policy before it.
before = [list(numbers) for numbers in zip(*exact[:-1])]
sampled_objective(records, before, highest)

# %%
estimates = np.array([record["objective"] for record in records])
off = (estimates - before[0]) / before[1]  # in standard errors
near = (np.abs(off) < 2).mean()
start, end = exact[0][0], exact[-1][0]
climbed = (end - start) / (highest - start)
print(f"J from ≈ {start:.2f} to ≈ {end:.2f}, the optimum has ≈ {highest:.2f}")
print(f"share of the way ≈ {climbed:.2f}")
print(f"share of the estimates within two standard errors ≈ {near:.2f}")

# %% jupyter={"source_hidden": true} tags=["hide-input"]
assert near > 0.8 and abs(off.mean()) < 4 / len(off) ** 0.5
assert 0.8 < climbed < 1

# %% [markdown]
# That is prediction (a): about nine tenths. The estimates scatter about the exact curve as they should. So samples, reward and
# price are as equation 3 says; more this does not check. The update has three habits to know. The first two are not in
# the derivation, the third is often otherwise elsewhere:
#
# - The advantages are **whitened**: minus the batch's mean, over its standard deviation. A reward ten times as large,
#   with a price and guesses of values ten times as high, makes the same step.
# - The loss is a *mean over the tokens* of a minibatch. Step 13 sums over each response's. With responses of one length,
#   as here, that is a constant factor; else minibatches of long responses count less.
# - No discount, $\gamma = 1$: a reward counts the same whenever it comes. So it is in step 13; PPO elsewhere often has a
#   $\gamma$ below 1.
#
# RLHF in practice often fixes a KL and not a $\beta$: a controller raises $\beta$ by up to 2 % a step while the KL is above
# its target, and lowers it below ([Ziegler et al. 2019](https://arxiv.org/abs/1909.08593)). A run that starts at
# $\beta = 0.3$ and is told to stay at 1 nat; 30 steps bring it near:

# %%
from dataclasses import replace

steered = replace(config, target_kl=1.0, steps=30)
policy = copy_policy(reference)
steered_log = pd.DataFrame(
    train_ppo(policy, reference, world.prompt_ids, scorer, steered)
)
last = steered_log.tail(8).mean()
print(f"β from 0.30 to ≈ {last['beta']:.2f}, KL of the last steps ≈ {last['kl']:.2f}")

# %% jupyter={"source_hidden": true} tags=["hide-input"]
assert last["beta"] > 0.33 and abs(last["kl"] - 1.0) < 0.35


# %% [markdown]
# ## Measuring KL from samples
#
# The KL that the controller reads is an estimate; every RLHF run logs one. Draw $y \sim \pi$ and write $u =
# \pi_{\text{ref}}(y \mid x)/\pi(y \mid x)$. [John Schulman's note](http://joschu.net/blog/kl-approx.html) compares three:
#
# - $k_1 = -\log u$. Its mean is the KL, by definition. A single one can be negative.
# - $k_2 = \frac12 (\log u)^2$. Never negative, and biased: its mean is something else.
# - $k_3 = u - 1 - \log u$. Never negative, as $\log u \le u - 1$, and unbiased: $\mathbb{E}_\pi[u] = \sum_y \pi(y) \frac{\pi_{\text{ref}}(y)}{\pi(y)} = 1$, so $u - 1$ adds zero on average. (This needs $\pi(y) > 0$ wherever $\pi_{\text{ref}}(y) > 0$, as a softmax of finite logits gives.)
#
# Three responses again, and two policies, one near the reference, one far. Enumeration gives mean and standard deviation
# of one sample exactly.

# %%
def estimators(logp, other_logp):
    """k1, k2, k3 with u = other/π, for every response."""
    log_u = other_logp - logp
    return {"k1": -log_u, "k2": log_u**2 / 2, "k3": log_u.exp() - 1 - log_u}


def moments(weights, values):
    """Mean and standard deviation of one sample."""
    mean = (weights * values).sum().item()
    return mean, (weights * (values - mean) ** 2).sum().sqrt().item()


# %%
far = vector(0.05, 0.15, 0.80)
near = (p_ref.log() + 0.1 * vector(0.0, 1.0, 2.0)).softmax(0)
rows = {}
for name, q in (("near", near), ("far", far)):
    true = kl_divergence(q.log(), p_ref.log()).item()
    for k, values in estimators(q.log(), p_ref.log()).items():
        mean, deviation = moments(q, values)
        below = q[values < 0].sum().item()
        of_one = {"mean": mean, "deviation": deviation, "chance < 0": below}
        rows[f"{name}, KL = {true:.4f}", k] = of_one
        assert k == "k2" or abs(mean - true) < 1e-12
pd.DataFrame(rows).T.round(4)

# %% [markdown]
# Near the reference one $k_1$ scatters some twenty-five times as wide as the value that it estimates, and is negative
# nearly every second time. $k_3$ has the same mean and a thirtieth of the noise, $k_2$ about the same noise and a mean that
# is a little off. Far away $k_3$ is the noisiest of the three.
#
# In the verdict world, along a path of policies $\pi \propto \pi_{\text{ref}}\, e^{t r}$, for one prompt. On the left,
# $k_1$, the thick line, and $k_3$, the thin one, both lie on the exact line. On the right: which estimator is quietest where?

# %%
lines = {"k1": ([], []), "k2": ([], []), "k3": ([], [])}
true_kl = []
for t in (0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0):
    logp = (ref_logp[0] + t * world.rewards[0]).log_softmax(-1)
    true_kl.append(kl_divergence(logp, ref_logp[0]).item())
    for k, values in estimators(logp, ref_logp[0]).items():
        for line, value in zip(lines[k], moments(logp.exp(), values)):
            line.append(value)
means = {k: mean for k, (mean, _) in lines.items()}
deviations = {k: deviation for k, (_, deviation) in lines.items()}
plots.kl_estimators(true_kl, means, deviations)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
noise = {k: np.array(deviation) / true_kl for k, deviation in deviations.items()}
assert noise["k3"][1] < 0.1 * noise["k1"][1] and noise["k3"][-2] > 5 * noise["k1"][-2]
assert np.allclose(means["k3"], true_kl, rtol=1e-6)
assert (noise["k3"] < noise["k1"])[: np.searchsorted(true_kl, 0.2)].all()
assert (noise["k3"] > noise["k1"])[np.searchsorted(true_kl, 0.6) :].all()
one = np.searchsorted(true_kl, 1.0)
assert 8 < noise["k3"][one] < 40 and 0.7 < means["k2"][one] / true_kl[one] < 0.9

# %% [markdown]
# $k_2$ is quietest until about 0.8 nats, and pays with its bias. At small distances $k_3$ is far quieter than $k_1$. From a few tenths of a nat on the order turns. There are responses by now
# that the policy has all but given up and the reference has not. On them $u$ is huge; they are drawn hardly ever, and
# then one sample outweighs all the others. At about one nat the noise of $k_3$ is more than ten times the KL, and $k_2$ is
# about a fifth too low. No estimator is best everywhere; in doubt, $k_1$ with many samples. `train_ppo` logs $k_1$.
#
# ### Trap: the arguments
#
# The formulas fit $y \sim \pi$ and $u = \pi_{\text{ref}}/\pi$. Turn one of the two around, or both, and they estimate
# something else. All four combinations, enumerated:

# %%
reverse = kl_divergence(far.log(), p_ref.log())
forward = kl_divergence(p_ref.log(), far.log())
print(f"KL[π‖π_ref] = {reverse:.4f}   KL[π_ref‖π] = {forward:.4f}")
rows = {}
for sampler, weights in (("π", far), ("π_ref", p_ref)):
    for ratio, pair in (("π_ref/π", (far, p_ref)), ("π/π_ref", (p_ref, far))):
        found = estimators(pair[0].log(), pair[1].log())
        means = {k: (weights * values).sum().item() for k, values in found.items()}
        rows[f"y ~ {sampler}, u = {ratio}"] = means
table = pd.DataFrame(rows).T
table.round(4)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
first, second, third, fourth = table.to_numpy()
assert np.allclose(first[[0, 2]], reverse) and np.allclose(fourth[[0, 2]], forward)
assert np.isclose(second[0], -reverse) and np.isclose(third[0], -forward)
assert np.isclose(second[2], (far * far / p_ref).sum() - 1 - reverse)

# %% [markdown]
# - **First row**, as it should be: $k_1$ and $k_3$ give $\mathrm{KL}[\pi \Vert \pi_{\text{ref}}]$.
# - **Second row**, the ratio upside down: $k_1$ has the wrong sign, which one notices. $k_3$ is positive, looks like a KL,
#   and is none: its mean is $\mathbb{E}_\pi[\pi/\pi_{\text{ref}}] - 1 - \mathrm{KL}[\pi \Vert \pi_{\text{ref}}]$. $k_2$
#   cannot tell, a square has no sign.
# - **Third row**, samples of the reference with the ratio of the first row: $k_1$ gives minus the *other* KL, $k_3$
#   neither.
# - **Last row**, both turned around: a correct estimate, of the other direction.
#
# The rule: in $u$, the distribution that you sample from is the denominator.
#
# ### Trap: the KL estimate in the loss
#
# An unbiased *value* does not give an unbiased *gradient*: autograd differentiates $k$ and does not see that the samples
# depend on $\pi$ as well. The mean of what it returns, for each estimator, above the two true gradients:

# %%
logits = far.log().requires_grad_()
logp = logits.log_softmax(0)
losses = {f"mean of {k}": far @ v for k, v in estimators(logp, p_ref.log()).items()}
losses["KL[π‖π_ref]"] = kl_divergence(logp, p_ref.log())
losses["KL[π_ref‖π]"] = kl_divergence(p_ref.log(), logp)
slopes = {}
for name, loss in losses.items():
    (slopes[name],) = torch.autograd.grad(loss, logits, retain_graph=True)
assert slopes["mean of k1"].abs().max() < 1e-12
assert torch.allclose(slopes["mean of k2"], slopes["KL[π‖π_ref]"], atol=1e-12)
assert torch.allclose(slopes["mean of k3"], slopes["KL[π_ref‖π]"], atol=1e-12)
table = pd.DataFrame(slopes, index=three).T.astype(float)
table.round(4) + 0.0

# %% [markdown]
# That is prediction (b): none. The gradient of $k_1$ is the score function, whose mean is zero (step 5). $k_3$ follows the
# *forward* KL, whose optimum is another one (chapter 03); GRPO puts it into its loss, token by token ([Shao et al.
# 2024](https://arxiv.org/abs/2402.03300)). Only the biased $k_2$ has the right gradient. That is why PPO has the KL inside
# $R$, as a number that multiplies $\nabla \log \pi$. ([Tang and Munos 2025](https://arxiv.org/abs/2506.09477) treat this
# trap at length.)
#
# With several tokens there is a second one: $k_2$ of each token, summed, misses that a token also decides what comes after
# it.

# %%
log_ratio = token_logp(theta) - ref  # (9, 2): of the nine responses
losses = {
    "k2 of the whole response": p @ log_ratio.sum(dim=1) ** 2 / 2,
    "k2 of each token, summed": p @ (log_ratio**2).sum(dim=1) / 2,
}
true = kl_divergence(token_logp(theta).sum(dim=1), ref.sum(dim=1))
(true_slope,) = torch.autograd.grad(true, theta, retain_graph=True)
errors = {}
for name, loss in losses.items():
    (slope,) = torch.autograd.grad(loss, theta, retain_graph=True)
    errors[name] = (slope - true_slope).norm().item()
    print(f"{name}: off by {errors[name]:.4f}, of {true_slope.norm():.4f}")
assert errors["k2 of the whole response"] < 1e-12

# %% [markdown]
# ## What could go wrong
#
# **"The KL in my log is negative."** For one batch and $k_1$ that can be chance: near the reference a single $k_1$ is
# negative nearly every second time (table above). If it stays negative over many batches, the ratio is upside down, or
# the samples are not the policy's own (second and third row of the first trap's table).
#
# **"My PPO does not learn, so I make the learning rate larger."** Look at `explained_variance` and `clip_fraction` first.
# The former is 1 minus the variance of what the values missed, over the variance of what came in: 1 is perfect, 0 is no
# better than a constant. The latter is the share of tokens whose $\rho$ left $1 \pm \epsilon$. If values explain nothing, the
# advantages are noisy; if most tokens are clipped, updates are already too large. For the steered run:

# %% tags=["nbval-ignore-output"]
names = ["explained_variance", "clip_fraction", "kl", "beta"]
parts = {"first 5 steps": steered_log.head(5), "last 5 steps": steered_log.tail(5)}
pd.DataFrame({name: part[names].mean() for name, part in parts.items()}).round(2)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
early, late = (part[names].mean() for part in parts.values())
assert early["explained_variance"] < 0.15
assert late["explained_variance"] > early["explained_variance"] + 0.1
assert late["clip_fraction"] < 0.05 and 0.05 < early["clip_fraction"] < 0.5


# %% [markdown]
# At first the values explain next to nothing, so a single response's luck decides. Later they explain more.
# Clipping fades as the learning rate goes to zero.
#
# **"The reward goes up, so it works."** Which reward? A learned one can rise while the true one falls (chapters 02 and
# 09). And at which KL? Read both, and samples.
#
# **"DPO climbs the same hill without the noise."** DPO does not climb it: it minimises another loss, on pairs. In the limit
# of exact preference probabilities, all pairs covered, and an unrestricted policy, that loss is least at the same policy.
# It draws no samples while it trains, and has noise of another kind: labels are coin flips, and pairs are few. Chapter 09 puts
# the two side by side.
#
# ## Exercises
#
# ### Exercise · penalized_reward
#
# Difficulty ★☆☆ · importance ●●○ · 5 minutes
#
# $R(y)$ of every response. `reward`, `logp`, `ref_logp` have shape (B,), the log-probabilities are of whole responses.

# %%
def penalized_reward(reward, logp, ref_logp, beta):
    """R(y) of every response, from its reward and its log-probabilities: shape (B,)."""
    # YOUR CODE HERE
    raise NotImplementedError()


# %%
check_penalized_reward(penalized_reward)


# %% [markdown]
# ### Exercise · k3_estimate
#
# Difficulty ★★☆ · importance ●●○ · 5 minutes
#
# $k_3$ for each of B samples drawn from $\pi$. `logp` and `ref_logp` are $\log \pi(y \mid x)$ and
# $\log \pi_{\text{ref}}(y \mid x)$ of the samples, each of shape (B,). Return shape (B,).

# %%
def k3_estimate(logp, ref_logp):
    """u − 1 − log u with u = π_ref(y|x)/π(y|x), for samples y ~ π: shape (B,)."""
    # YOUR CODE HERE
    raise NotImplementedError()


# %%
check_k3_estimate(k3_estimate)


# %% [markdown]
# ### Exercise · token_advantages
#
# Difficulty ★★☆ · importance ●●○ · 10 minutes
#
# $A_t$ of steps 14 and 15. `rewards` has $R_t$, `values` has $V_t$, both (B, T): T tokens a response, and $V$ is 0 after
# the last. Return shape (B, T).

# %%
def token_advantages(rewards, values, gae_lambda):
    """A_t of every token by GAE, from R_t and V_t: shape (B, T)."""
    # YOUR CODE HERE
    raise NotImplementedError()


# %%
check_token_advantages(token_advantages)


# %% [markdown]
# ### Exercise · clipped_loss
#
# Difficulty ★★★ · importance ●●○ · 10 minutes
#
# Step 18 as a loss to be *minimised*, averaged over all tokens. `logp`, `old_logp` (log-probabilities of the tokens) and
# `advantages` have shape (B, T); `clip` is $\epsilon$. It must carry gradients.

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
quiz("08", 1)

# %%
quiz("08", 2)

# %%
quiz("08", 3)

# %% [markdown]
# ## Recap
#
# | symbol | in code | shape | equation |
# |---|---|---|---|
# | $R(y)$ | `reward - beta * (logp - ref_logp)` | (B,) | 3 |
# | $R_t$ | `penalized_rewards(logp, ref_logp, mask, reward, beta)` | (B, T) | 3 |
# | $V_t$ | `rollouts.values`, of the value model | (B, T) | – |
# | $A_t$, $\lambda$ | `generalized_advantages(rewards, values, mask, gae_lambda)` | (B, T) | – |
# | $\rho_t$, $\epsilon$ | `clipped_objective(logp, old_logp, advantages, clip)` | (B, T) | PPO's 7 |
# | $J$, estimated | `record["objective"]`, of a step's own samples | by step | 3 |
# | $k_1, k_2, k_3$ with $u = \pi_{\text{ref}}/\pi$ | `estimators(logp, ref_logp)` | (N,) | – |
#
# PPO climbs equation 3 from samples, with four models in memory. Chapter 09 runs it beside DPO, from the same reference, on
# the same comparisons, with the same budget.
