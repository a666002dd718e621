# %% [markdown]
# # 04 · Who is the winner?
#
# A critic describes films with one of five words. Most often she says "fine"; "superb" she says once in twenty. A reader
# would rather hear "superb". How far should she go to please him? Chapter 03 turned that into an objective in which
# every way of speaking has a value. This chapter finds the one way that has the greatest, and it needs no search: the
# winner is a formula.
#
# **Write down a prediction first.** The words "superb", "good", "fine", "dull", "awful" have rewards 2, 1, 0, −1, −2. The
# critic says them with probability 0.05, 0.15, 0.40, 0.25, 0.15. Take the price of straying $\beta = 1$. With what
# probability does the best policy say "superb": 0.05, 0.29, 0.64 or 1? And is "superb" the word that it says most often?
#
# | after this chapter you can | |
# |---|---|
# | derive the optimal policy and say why there is no other | 12&nbsp;min |
# | check it against gradient ascent, on 5 responses and on 14,641 | 11&nbsp;min |
# | say what $Z(x)$ is, and why nobody computes it for a real model | 6&nbsp;min |
# | read the reward–KL curve, whose slope is $\beta$ | 13&nbsp;min |
# | say in which sense $\beta$ is a temperature | 4&nbsp;min |
# | write $\log Z$ and $\pi^*$ yourself, and find the $\beta$ for a budget of KL | 20&nbsp;min |
#
# You need chapter 03's objective, which is recalled below, logarithms, and what a gradient is.

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
import ipywidgets
import pandas as pd
import torch

from dpo_book import *
from dpo_book import plots, widgets
from dpo_book.checks.optimum import (
    check_beta_for_kl,
    check_log_partition,
    check_optimal_logp,
)
from dpo_book.maths.exact import expected_reward
from dpo_book.quizzes import quiz
from dpo_book.worlds.references import verdicts_reference
from dpo_book.worlds.verdicts import verdicts

setup(seed=0)

# %% [markdown]
# ## Five words
#
# There is one prompt $x$, "the film is ...". The five words are its **responses** $y$. The critic's habit is the
# **reference policy** $\pi_{\text{ref}}(y \mid x)$, and the reader's taste is the **reward** $r(x, y)$.

# %%
words = ("superb", "good", "fine", "dull", "awful")
p_ref = torch.tensor([0.05, 0.15, 0.40, 0.25, 0.15], dtype=torch.float64)
ref = p_ref.log()  # log π_ref(y|x)
reward = torch.tensor([2.0, 1.0, 0.0, -1.0, -2.0], dtype=torch.float64)  # r(x, y)
beta = 1.0

# %% [markdown]
# Chapter 03 in two sentences. A policy $\pi$ earns the **expected reward** $\mathbb{E}_{y \sim \pi}[r(x, y)] = \sum_y
# \pi(y \mid x)\, r(x, y)$ and pays $\beta$ for every nat of the **Kullback–Leibler divergence** $\mathrm{KL}[\pi \Vert
# \pi_{\text{ref}}] = \sum_y \pi(y \mid x) \log\left(\pi(y \mid x)/\pi_{\text{ref}}(y \mid x)\right)$, which is 0 for
# $\pi = \pi_{\text{ref}}$ and grows as it strays. What is left is the **objective** (equation 3):
#
# $$J_\beta(\pi) = \mathbb{E}_{y \sim \pi}[r(x, y)] - \beta\, \mathrm{KL}[\pi(y \mid x) \,\Vert\, \pi_{\text{ref}}(y \mid x)]$$
#
# Let four policies compete. Look at the last column.

# %%
mixed = ((ref.exp() + reward.softmax(0)) / 2).log()
candidates = {
    "stay with π_ref": ref,
    "only 'superb'": torch.tensor([1.0, 0, 0, 0, 0], dtype=torch.float64).log(),
    "softmax(r)": reward.log_softmax(0),
    "half π_ref, half softmax(r)": mixed,
}
rows = {}
for name, logp in candidates.items():
    J = kl_regularized_objective(logp, ref, reward, beta)
    rows[name] = [expected_reward(logp, reward), kl_divergence(logp, ref), J]
columns = ["E[r]", "KL, nats", "J = E[r] − β KL"]
pd.DataFrame.from_dict(rows, orient="index", columns=columns).astype(float).round(2)

# %% [markdown]
# Staying costs nothing and earns little. Always "superb" earns most and pays more than it earns. Something in between is
# better, but what is the best? Try this recipe: multiply every probability by $e^{r/\beta}$, then divide by the sum.
# Look at the sum, and at "superb".

# %% tags=["eq-4"]
weight = ref.exp() * (reward / beta).exp()  # π_ref(y) e^{r(y)/β}
Z = weight.sum()
star = weight / Z
assert torch.allclose(star.log(), optimal_logp(ref, reward, beta), atol=1e-12)
best = kl_regularized_objective(star.log(), ref, reward, beta)
print(f"Z = {Z:.4f}, log Z = {Z.log():.4f}, J of the recipe = {best:.4f}")
for logp in candidates.values():
    assert kl_regularized_objective(logp, ref, reward, beta) < best
assert abs(best - beta * Z.log()) < 1e-12 and words[star.argmax()] == "good"
assert abs(reward.softmax(0)[0] - 0.64) < 0.005
columns = {"r": reward, "π_ref": ref.exp(), "π_ref·exp(r/β)": weight, "÷ Z": star}
pd.DataFrame(columns, index=words).round(4)

# %% [markdown]
# The recipe beats all four, and its value is exactly $\beta \log Z$. There is the answer to the prediction: "superb" goes
# from 0.05 to 0.29, not to 1, and the likeliest word is "good". (0.64 is softmax(r), the answer for a critic
# without habits.) Why this recipe, and is it really the best of *all* policies?
#
# ## The derivation
#
# ### One KL instead of two terms
#
# The prompt $x$ is the same everywhere, so we leave it out of the lines. $\beta > 0$, and $\pi_{\text{ref}}(y) > 0$
# for every response.
#
# 1. $J_\beta(\pi) = \sum_y \pi(y)\, r(y) - \beta \sum_y \pi(y) \log \frac{\pi(y)}{\pi_{\text{ref}}(y)}$: equation 3, both terms written as sums.
# 2. $\phantom{J_\beta(\pi)} = -\beta \sum_y \pi(y) \left[\log \frac{\pi(y)}{\pi_{\text{ref}}(y)} - \frac{r(y)}{\beta}\right]$: both sums in one, $-\beta$ taken out.
# 3. $\phantom{J_\beta(\pi)} = -\beta \sum_y \pi(y) \log \frac{\pi(y)}{\pi_{\text{ref}}(y)\, e^{r(y)/\beta}}$: because $r/\beta = \log e^{r/\beta}$, and a difference of logarithms is the logarithm of a quotient.
#
# This looks like a KL from $\pi$ to whatever stands in the denominator. But the denominators do not sum to 1. So we give
# their sum a name and divide by it:
#
# 4. $Z = \sum_y \pi_{\text{ref}}(y)\, e^{r(y)/\beta}$ and $\pi^*(y) = \pi_{\text{ref}}(y)\, e^{r(y)/\beta} / Z$: a definition; $\pi^*$ sums to 1 and is a policy.
# 5. $J_\beta(\pi) = -\beta \sum_y \pi(y) \log \frac{\pi(y)}{Z\, \pi^*(y)}$: the denominator of line 3 is $Z\, \pi^*(y)$ by line 4.
# 6. $\phantom{J_\beta(\pi)} = -\beta \sum_y \pi(y) \log \frac{\pi(y)}{\pi^*(y)} + \beta \log Z \sum_y \pi(y)$: $\log Z$ is the same for all $y$.
# 7. $J_\beta(\pi) = \beta \log Z - \beta\, \mathrm{KL}[\pi \Vert \pi^*]$: the first sum is a KL, and $\sum_y \pi(y) = 1$.
#
# Line 7 holds for *every* policy $\pi$. The next cell tries it on a thousand random ones, with line 3 on the way.

# %% tags=["eq-4"]
generator = torch.Generator().manual_seed(0)
logits = 2 * torch.randn(1000, 5, generator=generator, dtype=torch.float64)
logp = logits.log_softmax(-1)
objective = kl_regularized_objective(logp, ref, reward, beta)
line_3 = -beta * (logp.exp() * (logp - (ref + reward / beta))).sum(-1)
to_star = kl_divergence(logp, optimal_logp(ref, reward, beta))
line_7 = beta * log_partition(ref, reward, beta) - beta * to_star
assert torch.allclose(line_3, objective, atol=1e-12)
assert torch.allclose(line_7, objective, atol=1e-12)
print(f"KL(π‖π*): smallest {to_star.min():.4f}, largest {to_star.max():.4f}")
assert (to_star > 0).all() and (objective < best).all()
three = {"equation 3": objective, "line 3": line_3, "line 7": line_7}
pd.DataFrame(three).rename_axis("policy").head(6).round(4)


# %% [markdown]
# Now read line 7. $\beta \log Z$ does not depend on $\pi$. All that a policy can do is make $\mathrm{KL}[\pi \Vert \pi^*]$
# small. And a KL is never below zero, and zero only for $\pi = \pi^*$: Gibbs' inequality, which chapter 03 proves.
#
# So the winner is $\pi^*$, alone, for every $\beta > 0$. With the prompt back in its place this is **equation 4**:
#
# $$\begin{aligned}
# \pi_r(y \mid x) &= \frac{1}{Z(x)}\, \pi_{\text{ref}}(y \mid x) \exp\left(\frac{r(x, y)}{\beta}\right), \\
# Z(x) &= \sum_y \pi_{\text{ref}}(y \mid x) \exp\left(\frac{r(x, y)}{\beta}\right)
# \end{aligned} \tag{4}$$
#
# The index says that every reward $r$ has a winner of its own. Where only one reward is at work, as in this chapter, we write $\pi^*$. Later
# $\pi^*$ is the winner for the true reward $r^*$, the one behind people's choices. Two results come with it. The best value is $J_\beta(\pi^*) = \beta \log Z(x)$. And every other
# policy misses it by $\beta\, \mathrm{KL}[\pi \Vert \pi^*]$, no more and no less. All this is about *any* distribution over
# the responses; a network with fewer free numbers than responses may not be able to be the winner (chapter 07).
#
# ## Does a search find the same?
#
# A derivation can have a hole. So forget the formula and climb. Give every response a free number, a **logit**
# $\theta_y$, let $\pi_\theta = \mathrm{softmax}(\theta)$, and follow the gradient of $J_\beta$ upwards.

# %%
def climb(start, ref_logp, reward, beta, rate, steps, optimizer=torch.optim.SGD):
    """Gradient ascent on equation 3 over logits: (J, KL to π*) by step, and log π."""
    logits = start.clone().requires_grad_()
    ascent = optimizer([logits], lr=rate, maximize=True)
    star, history = optimal_logp(ref_logp, reward, beta), []
    for _ in range(steps + 1):
        logp = logits.log_softmax(-1)
        objective = kl_regularized_objective(logp, ref_logp, reward, beta)
        history.append((objective.item(), kl_divergence(logp.detach(), star).item()))
        ascent.zero_grad()
        objective.backward()
        ascent.step()
    return tuple(zip(*history)), logp.detach()


# %% [markdown]
# `star` is used to measure the distance only. We start at three places: at the reference, at a uniform policy, and at one
# that says "awful" 96 times in 100. Look at where the three curves end.

# %% tags=["eq-4"]
awful = torch.tensor([0.01, 0.01, 0.01, 0.01, 0.96], dtype=torch.float64).log()
uniform = torch.zeros_like(ref).log_softmax(0)
starts = {"from π_ref": ref, "from uniform": uniform, "from 'awful'": awful}
runs, ends = {}, {}
for name, start in starts.items():
    runs[name], logp = climb(start, ref, reward, beta, rate=1.0, steps=500)
    (*_, J), (*_, distance) = runs[name]
    ends[name] = logp[0].exp().item(), logp[1].exp().item(), J
    assert distance < 1e-9 and torch.allclose(logp.exp(), star, atol=1e-5)
display(pd.DataFrame(ends, index=["superb", "good", "J"]).T.round(4))
print("KL(π_θ‖π*) ends below 10^-9 from all three")
plots.climbs(runs, beta * Z.log().item(), "five responses, β = 1")

# %% [markdown]
# Left: all three stop at the dashed line, $\beta \log Z$. (The axis is stretched over the first ten steps, where most of
# the rise is.) Right: the distance to the formula's policy becomes a straight line on a logarithmic scale, so it falls
# by the same factor every step. The search knew nothing of equation 4 and ends there.
#
# ### All responses of a GPT-2
#
# Now the verdict world of chapter 00: every four-word response over eleven words, and a small GPT-2 that imitates
# critics as the reference. The true reward $r^*$ is the opinion of a sentiment analyser. We take the prompt "the ending"
# and one logit for each of its 14,641 responses.

# %% tags=["eq-4"]
world, reference = verdicts(), verdicts_reference()
with torch.no_grad():
    ref_logp = world.logp(reference).double()  # log π_ref(y|x), (3, 14641)
x, x_ref, x_reward = "the ending", ref_logp[1], world.rewards[1]
plain, _ = climb(x_ref, x_ref, x_reward, 1.0, rate=5.0, steps=300)
adam, _ = climb(x_ref, x_ref, x_reward, 1.0, 0.1, 300, torch.optim.Adam)
value = log_partition(x_ref, x_reward, 1.0).item()
print(f"{x}: J of π_ref ≈ {plain[0][0]:.2f}, β log Z ≈ {value:.2f}")
print(f"plain: J ≈ {plain[0][-1]:.2f}, KL(π_θ‖π*) ≈ {plain[1][-1]:.3f}")
print(f"Adam:  J ≈ {adam[0][-1]:.2f}, KL(π_θ‖π*) below 10^-8: {adam[1][-1] < 1e-8}")
assert adam[1][-1] < 1e-8 and abs(adam[0][-1] - value) < 1e-8
assert 0.01 < plain[1][-1] < 0.1
plots.climbs({"plain": plain, "Adam": adam}, value, f"{x}: 14,641 responses, β = 1")


# %% [markdown]
# Adam, which gives every logit a step size of its own, arrives: 14,641 free numbers, and all end where the formula
# says. The plain gradient comes near and then crawls. The reason stands in the gradient, which gives a second
# derivation for free.
#
# ### The same winner by its gradient
#
# Chapter 03 found the gradient. In words: a response's logit rises if $R(y)$, its reward after its own price, is above
# the average, and that average is $J$.
#
# 8. $\frac{\partial J_\beta}{\partial \theta_y} = \pi_\theta(y) \left(R(y) - J_\beta(\pi_\theta)\right)$ with $R(y) = r(y) - \beta \log \frac{\pi_\theta(y)}{\pi_{\text{ref}}(y)}$: chapter 03.
# 9. $R(y) = J_\beta(\pi_\theta)$ for every $y$, wherever the gradient is zero: a softmax gives every response some probability, so the bracket must be zero.
# 10. $\log \pi_\theta(y) = \log \pi_{\text{ref}}(y) + \frac{r(y)}{\beta} - \frac{J_\beta(\pi_\theta)}{\beta}$: line 9 with $R$ written out, solved for $\log \pi_\theta(y)$.
#
# Line 10 is equation 4 again, and since probabilities sum to 1, $J/\beta$ can only be $\log Z$. So there is one place
# where the climb can stop. Look at $R$ there, and at a place where it goes on.

# %%
def after_price(logp):
    return reward - beta * (logp - ref)  # R(y)


logits = torch.zeros(5, dtype=torch.float64, requires_grad=True)  # the uniform policy
J = kl_regularized_objective(logits.log_softmax(0), ref, reward, beta)
(gradient,) = torch.autograd.grad(J, logits)
logp = logits.detach().log_softmax(0)
R = after_price(logp)
columns = {"gradient, uniform": gradient, "R, uniform": R}
assert torch.allclose(gradient, logp.exp() * (R - J.detach()), atol=1e-12)
assert torch.allclose(after_price(star.log()), (beta * Z.log()).expand(5), atol=1e-12)
pd.DataFrame(columns | {"R, π*": after_price(star.log())}, index=words).round(4)

# %% [markdown]
# At the optimum no response is worth more than another once its price is paid. Away from it, some are.
#
# Line 8 also says why the plain gradient crawls: the push on a response is multiplied by its probability, and nearly all
# responses are rare. Now divide the factor $\pi(y)$ away and step with rate $1/\beta$, from a uniform start. How many steps
# does that take?

# %%
rare = x_ref.exp() < 1e-4
print(f"responses with π_ref below 0.0001: ≈ {100 * rare.double().mean():.1f} % of all")
print(f"their share of π_ref: ≈ {x_ref.exp()[rare].sum():.2f}")
logp = torch.zeros_like(x_ref).log_softmax(0)
J = kl_regularized_objective(logp, x_ref, x_reward, 1.0)
R = x_reward - 1.0 * (logp - x_ref)
one_step = (logp + (R - J) / 1.0).log_softmax(0)  # rate 1/β with β = 1
distance = kl_divergence(one_step, optimal_logp(x_ref, x_reward, 1.0))
print("KL(π‖π*) after one step below 10^-10:", bool(distance < 1e-10))
assert distance < 1e-10 and rare.double().mean() > 0.9

# %% [markdown]
# One. $\log \pi + R/\beta = \log \pi + r/\beta - \log \pi + \log \pi_{\text{ref}}$: the policy we came from cancels, $J$ is the same for all and
# goes in the softmax, and equation 4 remains. Reinforcement learning knows this direction as the
# [natural policy gradient](https://papers.nips.cc/paper/2073-a-natural-policy-gradient). It arrives in one step
# because every response has a free number of its own. In a GPT-2 all responses share the weights, and nobody can list
# them, so it must learn from samples, step by step (chapter 08).
#
# ## What Z(x) is
#
# $Z(x)$ is not only "what makes it sum to 1". Read its definition again: it is the average of $e^{r/\beta}$ over responses
# of the *reference*, and $\beta \log Z(x)$ is the best value of the objective. Both differ from prompt to prompt. Look
# at whose Z is smallest.

# %% tags=["nbval-ignore-output"]
log_Z = log_partition(ref_logp, world.rewards, 1.0)
average = expected_reward(ref_logp, world.rewards)
most = world.rewards.max(dim=1).values
assert (average < log_Z).all() and (log_Z < most).all()
assert log_Z.argmin() == 1 and average.argmin() == 1
columns = {"E_ref[r*]": average, "β log Z(x)": log_Z, "largest r*": most}
pd.DataFrame({"Z(x)": log_Z.exp()} | columns, index=world.prompts).round(2)

# %% [markdown]
# The critics of this world pan the endings, so their praise is rare, and the best that one can do without straying far
# is least there. $\beta \log Z(x)$ always lies between two numbers: what the reference earns (its own objective, as its
# KL is 0) and the largest reward (nobody earns more).
#
# ### Why not simply compute it?
#
# Here Z is a sum of 14,641 terms. A real GPT-2 has 50,257 tokens, and 100 of them in a row make $50257^{100}$
# responses, a number of 471 digits. So it would have to be estimated: draw $n$ responses from the reference, average the
# weights $w = e^{r/\beta}$. How many draws until the relative error is 10 %? The standard error of an average is the
# standard deviation of $w$ divided by $\sqrt n$, so $n = 100\, \mathrm{Var}[w]/\mathbb{E}[w]^2$ draws. And both
# moments are known exactly: $\mathbb{E}_{\text{ref}}[w] = Z$ at $\beta$, and $\mathbb{E}_{\text{ref}}[w^2]$ is the average of
# $e^{2r/\beta}$, which is Z at $\beta/2$.

# %% tags=["nbval-ignore-output"]
draws = {}
for b in (10.0, 1.0, 0.3, 0.1, 0.05):
    log_Z1, log_Z2 = (log_partition(x_ref, x_reward, scale) for scale in (b, b / 2))
    log_ratio = log_Z2 - 2 * log_Z1  # of E[w²] to E[w]²
    draws[b] = 100 * (log_ratio.exp().item() - 1)
assert draws[10.0] < 2 and draws[1.0] < 150 and draws[0.05] > 14_641
needed = {f"β = {b:g}": n for b, n in draws.items()}
pd.DataFrame({"draws for an error of 10 % in Z": needed}).round(1)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
assert len(str(50257**100)) == 471

# %% [markdown]
# At $\beta = 10$ one or two draws do, as all weights are nearly equal. At $\beta = 0.05$ it takes more draws than there
# are responses: a few great responses carry the sum, and the reference hardly ever says them. And that is one
# prompt. DPO's trick is never to need Z at all; chapter 05 shows why.
#
# ## The two ends of β
#
# What happens at the ends follows from equation 4. Call the largest reward $r_{\max}.$
#
# 11. $\pi^*(y) = \frac{\pi_{\text{ref}}(y)\, e^{-(r_{\max} - r(y))/\beta}}{\sum_z \pi_{\text{ref}}(z)\, e^{-(r_{\max} - r(z))/\beta}}$: equation 4, numerator and denominator divided by $e^{r_{\max}/\beta}$.
# 12. $\beta \to 0$: every factor $e^{-(r_{\max} - r(y))/\beta}$ goes to 0, except for the best responses, where it is 1, so $\pi^*$ becomes $\pi_{\text{ref}}$ *among the best responses*.
# 13. $\beta \to \infty$: every factor goes to $e^0 = 1$, so $\pi^*$ becomes $\pi_{\text{ref}}$.
#
# Look at the last column: it moves between the two numbers that enclosed it above. And above the table, look at what
# happens if "good" is as good as "superb".

# %%
rows = {}
for b in (0.05, 0.2, 0.5, 1.0, 2.0, 10.0, 100.0):
    s = optimal_logp(ref, reward, b)
    e, kl = expected_reward(s, reward).item(), kl_divergence(s, ref).item()
    top = b * log_partition(ref, reward, b).item()
    rows[b] = {"π*(superb)": s[0].exp().item(), "E[r]": e, "KL": kl, "β log Z": top}
    assert abs(e - b * kl - top) < 1e-10  # J(π*) = β log Z, at every β
tie = torch.tensor([2.0, 2.0, 0.0, -1.0, -2.0], dtype=torch.float64)  # good as superb
shared = optimal_logp(ref, tie, 0.01).exp()
print(f"a tie at β = 0.01: superb {shared[0]:.2f}, good {shared[1]:.2f}")
pd.DataFrame.from_dict(rows, orient="index").rename_axis("β").round(4)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
cold, hot = optimal_logp(ref, reward, 0.01), optimal_logp(ref, reward, 1e4)
assert abs(cold[0].exp() - 1) < 1e-8 and (hot.exp() - ref.exp()).abs().max() < 1e-3
assert torch.allclose(shared[:2], ref[:2].exp() / ref[:2].exp().sum(), atol=1e-8)

# %% [markdown]
# In the table $\beta \log Z$ falls from near the largest reward, 2, to what the reference earns, −0.30. And the tie is not
# split evenly. Equal rewards tilt equally, so two responses of equal reward keep the odds that the reference
# gave them, 0.05 to 0.15, at every $\beta$.
#
# ## The reward–KL curve
#
# Between the ends every $\beta$ has its winner, and every winner two numbers: how far it strays,
# $\mathrm{KL}[\pi^* \Vert \pi_{\text{ref}}]$, and what it earns. Together they form a curve. Its slope has a surprise.
# Write $s = 1/\beta$ and let $s$ grow:
#
# 14. $\frac{d}{ds} \log Z = \frac{1}{Z} \sum_y \pi_{\text{ref}}(y)\, e^{s r(y)}\, r(y) = \mathbb{E}_{\pi^*}[r]$: the chain rule, then equation 4.
# 15. $\frac{d \pi^*(y)}{ds} = \pi^*(y)\left(r(y) - \mathbb{E}_{\pi^*}[r]\right)$: from $\log \pi^* = \log \pi_{\text{ref}} + s r - \log Z$ and line 14.
# 16. $\frac{d}{ds} \mathbb{E}_{\pi^*}[r] = \sum_y r(y)\, \frac{d \pi^*(y)}{ds} = \mathbb{E}_{\pi^*}[r^2] - \mathbb{E}_{\pi^*}[r]^2 = \mathrm{Var}_{\pi^*}[r]$: line 15 put in.
# 17. $\mathrm{KL}[\pi^* \Vert \pi_{\text{ref}}] = s\, \mathbb{E}_{\pi^*}[r] - \log Z$: average $\log(\pi^*/\pi_{\text{ref}}) = s r - \log Z$ over $\pi^*$.
# 18. $\frac{d}{ds} \mathrm{KL}[\pi^* \Vert \pi_{\text{ref}}] = \mathbb{E}_{\pi^*}[r] + s \mathrm{Var}_{\pi^*}[r] - \mathbb{E}_{\pi^*}[r] = s \mathrm{Var}_{\pi^*}[r]$: the product rule on line 17, then lines 14 and 16.
# 19. $\frac{d\, \mathbb{E}_{\pi^*}[r]}{d\, \mathrm{KL}} = \frac{\mathrm{Var}_{\pi^*}[r]}{s \mathrm{Var}_{\pi^*}[r]} = \frac{1}{s} = \beta$: line 16 divided by line 18. (If all rewards are equal the variance is 0, and the curve is one point.)
#
# The cell lets autograd take all three derivatives, at $\beta = 0.5$.

# %%
s = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)  # 1/β
tilted = ref + s * reward
log_Z_s, p = tilted.logsumexp(0), tilted.softmax(0)
earned = (p * reward).sum()
strayed = s * earned - log_Z_s
variance = (p * (reward - earned) ** 2).sum()


def slope(q):
    return torch.autograd.grad(q, s, retain_graph=True)[0]  # dq/ds


slopes = torch.stack([slope(log_Z_s), slope(earned), slope(earned) / slope(strayed)])
values = torch.stack([earned, variance, 1 / s]).detach()
assert torch.allclose(slopes, values, rtol=0, atol=1e-10)
assert abs(strayed - kl_divergence(p.log(), ref)) < 1e-10
names = ["d log Z/ds = E[r]", "d E[r]/ds = Var[r]", "d E[r]/d KL = β"]
pd.DataFrame({"slope": slopes, "value": values}, index=names).round(4)


# %% [markdown]
# A variance is never below zero. So with falling $\beta$ reward and KL only grow, and the curve rises. Its slope at the
# winner of $\beta$ *is* $\beta$: there one more nat of straying buys $\beta$ of reward, which is its price. That is why
# one stops there.
#
# And no policy lies above the curve. By line 7, $\mathbb{E}_\pi[r] \le \beta \log Z + \beta\, \mathrm{KL}[\pi \Vert
# \pi_{\text{ref}}]$ for every policy and every $\beta$: in the plot that is a straight line of slope $\beta$, starting at
# $\beta \log Z$ on the axis. It touches the curve at the winner of $\beta$. On the left of the figure stand $\pi_{\text{ref}}$ (grey) and $\pi^*$ (dashed), on the right the curve.
# Look for the line (dotted), and for a random policy above the curve.

# %%
def trace(ref_logp, reward):
    """(KL, reward) of the reference, then of the winners of falling β."""
    betas = [10 ** (2 - i / 20) for i in range(70)]
    winners = [ref_logp, *(optimal_logp(ref_logp, reward, b) for b in betas)]
    return place(torch.stack(winners), ref_logp, reward)


def place(logp, ref_logp, reward):
    kl, earned = kl_divergence(logp, ref_logp), expected_reward(logp, reward)
    return kl.tolist(), earned.tolist()


generator = torch.Generator().manual_seed(1)
spread = 3 * torch.rand(600, 1, generator=generator, dtype=torch.float64)
noise = torch.randn(600, 5, generator=generator, dtype=torch.float64)
random = (ref + spread * noise).log_softmax(-1)
others = {"random policies": place(random, ref, reward)}
tables = {"five words": (words, ref, reward, trace(ref, reward), others)}


# %%
def winner_at(beta, of="five words"):
    responses, ref_logp, reward, curve, others = tables[of]
    star = optimal_logp(ref_logp, reward, beta)
    top = star.argsort(descending=True)[:10] if len(star) > 10 else torch.arange(5)
    before, after = ref_logp[top].exp(), star[top].exp()
    point = place(star, ref_logp, reward)
    names = [responses[i] for i in top]
    return plots.optimal_curve(names, before, after, curve, point, beta, others)


for b in (0.1, 0.3, 1.0, 3.0):
    line = b * log_partition(ref, reward, b) + b * kl_divergence(random, ref)
    assert (expected_reward(random, reward) <= line + 1e-12).all()
winner_at(1.0)

# %% [markdown]
# None is above. The curve is steep at first and flattens: near the reference much reward is cheap, and the last bit of it
# costs most.
#
# ## The temperature view
#
# 20. $\log \pi^*(y) = \frac{r(y) + \beta \log \pi_{\text{ref}}(y)}{\beta} - \log Z$: equation 4 in logarithms, the first two terms over a common $\beta$.
#
# That is a softmax at temperature $\beta$. Its scores are the rewards, plus $\beta$ times the reference's log-probability
# as a bonus for what is usual. Two special cases make it plain. A *uniform* reference drops out, and $\pi^* =
# \mathrm{softmax}(r/\beta)$. And if the reward is the reference's own taste, $r = c \log \pi_{\text{ref}}$ with a
# number $c > 0$, then $\pi^* \propto \pi_{\text{ref}}^{1 + c/\beta}$: the reference itself, at temperature
# $\beta/(\beta + c)$ of the whole response, not of each token.

# %%
b, c = 0.5, 0.25
temperature = b / (b + c)
own_taste, colder = optimal_logp(ref, c * ref, b), (ref / temperature).log_softmax(0)
print(f"r = {c} log π_ref, β = {b}: π* is π_ref at temperature {temperature:.4f}")
assert torch.allclose(own_taste, colder, atol=1e-12)
plain_softmax = optimal_logp(uniform, reward, b).exp()
assert torch.allclose(plain_softmax, (reward / b).softmax(0), atol=1e-12)

# %% [markdown]
# But for other rewards, lowering the temperature of the reference is *not* lowering $\beta$. Here is the ending again,
# with all 14,641 responses under the curve. The green dots are $\pi_{\text{ref}}^{1/T}$, normalised, at temperatures $T$
# from 3 to 0.3 of the whole response. Look at where they go.

# %%
tempered = "π_ref at other temperatures"
temperatures = torch.logspace(0.48, -0.52, 25, dtype=torch.float64)[:, None]  # 3 to 0.3
for prompt, its_ref, its_r in zip(world.prompts, ref_logp, world.rewards):
    dots = place((its_ref / temperatures).log_softmax(-1), its_ref, its_r)
    its_curve = trace(its_ref, its_r)
    tables[prompt] = (world.responses, its_ref, its_r, its_curve, {tempered: dots})
hot, *_, cold = tables[x][4][tempered][1]
winner = expected_reward(optimal_logp(x_ref, x_reward, 1.0), x_reward)
print(f"expected reward: T = 3 ≈ {hot:.2f}, T = 1 ≈ {average[1]:.2f}", end=", ")
print(f"T = 0.3 ≈ {cold:.2f}")
print(f"expected reward of π* at β = 1 ≈ {winner:.2f}")
assert cold < average[1] < hot < winner - 0.5
winner_at(1.0, x)

# %% [markdown]
# Neither heat nor cold brings it near the curve. A colder reference says more of what it said already, and here that is
# mostly unkind. A hotter one says anything. Neither knows the reward.
#
# **Move β.** On five words or on any prompt: where is the point at $\beta = 0.05$, and at $\beta = 10$? Watch the dotted
# line: it is flat for small $\beta$ and steep for large, and its foot is $\beta \log Z$.

# %%
widgets.slider_figure(
    winner_at,
    beta=widgets.FloatLogSlider(
        value=1.0, min=-1.3, max=1, step=0.05, description="β"
    ),
    of=ipywidgets.Dropdown(options=list(tables), description="responses"),
)

# %% [markdown]
# ## What could go wrong
#
# **"A larger β is more weight on the reward."** The other way round. $\beta$ multiplies the KL in equation 3 and so
# *divides* the reward in equation 4: large $\beta$, little change. It is not a scale of the objective either.
# Multiply the whole objective by 7 and the winner stays; multiply rewards *and* $\beta$ by 7 and it stays; multiply only
# $\beta$ and it moves.
#
# **"With enough reward it will say it."** Not if the reference never does. The tilt *multiplies*, and $0 \cdot e^{r/\beta}
# = 0$ whatever $r$ is. In the last line "superb" has reward 1000 and reference probability 0.

# %%
both = optimal_logp(ref, 7 * reward, 7 * beta).exp()
only_beta = optimal_logp(ref, reward, 7 * beta).exp()
print(f"π*(superb): {star[0]:.4f}, reward and β times 7: {both[0]:.4f}", end=", ")
print(f"only β: {only_beta[0]:.4f}")
assert torch.allclose(both, star, atol=1e-12) and (only_beta - star).abs().max() > 0.1

never = torch.tensor([0.0, 0.2, 0.4, 0.25, 0.15], dtype=torch.float64).log()
lured = torch.tensor([1000.0, 1.0, 0.0, -1.0, -2.0], dtype=torch.float64)
print(f"never said, reward 1000: {optimal_logp(never, lured, beta)[0].exp():.4f}")
assert optimal_logp(never, lured, beta)[0].exp() == 0

# %% [markdown]
# **"I divided by Z and my policy still does not sum to 1."** Every prompt has a Z of its own. One Z for a whole batch is
# wrong for every prompt in it.
#
# **"exp(r/β) is inf."** At $\beta = 0.01$ a reward of 2 gives $e^{200}$, and single precision ends near $e^{88.7}$. Stay in
# logarithms: `torch.logsumexp` subtracts the largest exponent first, much as line 11 takes out the largest reward.

# %%
one_Z = (ref_logp + world.rewards - log_Z.mean()).exp().sum(dim=1)
print("sums with one Z for all:", " ".join(f"≈ {total:.2f}" for total in one_Z))
r32, ref32 = reward.float(), ref.float()
naive = (ref32.exp() * (r32 / 0.01).exp()).sum().log()
stable = log_partition(ref32, r32, 0.01)
print(f"log of the sum of exp: {naive:.1f}   logsumexp: {stable:.1f}")
exact = 200 + torch.tensor(0.05, dtype=torch.float64).log()
assert naive.isinf() and abs(log_partition(ref, reward, 0.01) - exact) < 1e-8
assert (one_Z - 1).abs().min() > 0.01


# %% [markdown]
# ## Exercises

# %% [markdown]
# ### Exercise · my_log_partition
#
# Difficulty ★☆☆ · importance ●●● · 4 minutes
#
# Write $\log Z(x)$ for P prompts at once. `ref_logp` is $\log \pi_{\text{ref}}(y \mid x)$, shape (P, N): P prompts, N
# responses each. `reward` has the same shape, `beta` is a number. Return shape (P,).

# %%
def my_log_partition(ref_logp, reward, beta):
    """log Z(x): (P, N) and (P, N) give (P,)."""
    # YOUR CODE HERE
    raise NotImplementedError()


# %%
check_log_partition(my_log_partition)


# %% [markdown]
# ### Exercise · my_optimal_logp
#
# Difficulty ★★☆ · importance ●●● · 4 minutes
#
# Write equation 4 in logarithms: $\log \pi^*(y \mid x)$. Arguments as before, all of shape (P, N). Return shape (P, N); every
# row's exponentials sum to 1.

# %%
def my_optimal_logp(ref_logp, reward, beta):
    """log π*(y|x): (P, N) and (P, N) give (P, N)."""
    # YOUR CODE HERE
    raise NotImplementedError()


# %%
check_optimal_logp(my_optimal_logp)


# %% [markdown]
# ### Exercise · beta_for_kl
#
# Difficulty ★★★ · importance ●○○ · 12 minutes
#
# Often it is not $\beta$ that is given but a budget: "stray by 0.5 nats, no more". Find the $\beta$ whose winner has
# $\mathrm{KL}[\pi^* \Vert \pi_{\text{ref}}]$ = `target`. There is no formula, but line 18 says that the KL only grows
# with $s = 1/\beta$, so it only falls as $\beta$ grows. So search by halving: keep `low, high = 1e-3, 1e3` around the answer, try
# `middle = (low * high) ** 0.5`, and replace one of the two, sixty times; half a per cent is near enough. `ref_logp` and `reward` have shape (N,), `target` is
# a number, and so is the result. `optimal_logp` and `kl_divergence` are there to be used.

# %%
def beta_for_kl(ref_logp, reward, target):
    """The β whose optimum has KL(π*‖π_ref) = target: (N,), (N,), number to number."""
    # YOUR CODE HERE
    raise NotImplementedError()


# %%
check_beta_for_kl(beta_for_kl)

# %% [markdown]
# ## Quiz

# %%
quiz("04", 1)

# %%
quiz("04", 2)

# %%
quiz("04", 3)

# %% [markdown]
# ## Recap
#
# | symbol | in code | shape | equation |
# |---|---|---|---|
# | $J_\beta(\pi)$ | `kl_regularized_objective(logp, ref_logp, reward, beta)` | (P,) | 3 |
# | $\log Z(x)$ | `log_partition(ref_logp, reward, beta)` | (P,) | 4 |
# | $\log \pi^*(y \mid x)$, $\log \pi_r(y \mid x)$ | `optimal_logp(ref_logp, reward, beta)` | (P, N) | 4 |
# | $\mathbb{E}_{y \sim \pi}[r]$ | `expected_reward(logp, reward)` | (P,) | 3 |
# | $\mathrm{KL}[\pi \Vert \pi^*]$ | `kl_divergence(logp, other_logp)` | (P,) | line 7 |
# | $\beta \log Z(x)$ | `beta * log_partition(ref_logp, reward, beta)` | (P,) | best value of 3 |
#
# The winner is the reference, tilted by $e^{r/\beta}$; every other policy misses its value by
# $\beta\, \mathrm{KL}[\pi \Vert \pi^*]$.
#
# Next: equation 4 can be turned around, so that a policy tells which reward it is best for; chapter 05 does it, and Z
# vanishes.
