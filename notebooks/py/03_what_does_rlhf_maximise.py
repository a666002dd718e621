# %% [markdown]
# # 03 · What does RLHF maximise?
#
# Ask for the film verdict with the highest score, and you get "but great great great". VADER, the sentiment analyser
# whose opinion is the true reward of this book's world, gives it 1.93, more than any other of 14,641 responses. No
# critic writes like that. So RLHF does not maximise the reward alone: it also pays a price for every step away from a
# reference policy that writes as critics do. This chapter computes reward and price exactly, climbs to the top, and then
# tries the price that one might have chosen instead.
#
# **Write down a prediction first.** You may choose any probabilities for the 14,641 responses. A response that you make
# $e \approx 2.7$ times as likely as the critics do is one **nat** away from them, one that you make $e^2$ times as
# likely two nats, and so on. Your reward is the average reward, minus half of the average distance. How probable do you
# make "but great great great": nearly 1, about a half, or less than one in a thousand? And if the average distance is
# taken over *the critics'* responses, and not over yours?
#
# | after this chapter you can | |
# |---|---|
# | compute the RLHF objective of a policy by hand and over 14,641 responses | 9&nbsp;min |
# | say why there is a KL in it, and why in this direction | 14&nbsp;min |
# | derive its gradient, and climb it | 11&nbsp;min |
# | find the optimum under the other KL, and say what it breaks | 14&nbsp;min |
# | write KL, objective and gradient yourself | 25&nbsp;min |
#
# You need expectation, logarithms, softmax, and from chapter 00 the verdict world.

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
import math

import pandas as pd
import torch

from dpo_book import *
from dpo_book import plots, widgets
from dpo_book.checks.objective import (
    check_kl_to_reference,
    check_objective,
    check_objective_gradient,
)
from dpo_book.quizzes import quiz

setup(seed=0)


# %% [markdown]
# ## Five responses
#
# A **policy** $\pi(y \mid x)$ gives every response $y$ to a prompt $x$ a probability. Here is a world with one prompt and
# five responses, its numbers made up so that you can do the sums by hand: a **reference policy** $\pi_{\text{ref}}$, a
# **reward** $r$, and a policy $\pi$ that has moved probability to where the reward is. The last column is the
# **log-ratio**, in nats: how far $\pi$ has moved this response.

# %%
def vector(*values):
    """These numbers in double precision."""
    return torch.tensor(values, dtype=torch.float64)


five = ["dull plot", "not bad", "good plot", "very good", "great great"]
p_ref = vector(0.40, 0.30, 0.20, 0.08, 0.02)
r = vector(-1.0, 0.0, 0.5, 1.0, 2.0)
p = vector(0.20, 0.20, 0.20, 0.15, 0.25)
columns = {"π_ref": p_ref, "π": p, "r": r, "log(π/π_ref)": (p / p_ref).log()}
pd.DataFrame(columns, index=five).round(4)

# %% [markdown]
# Two numbers describe what the policy has done.
#
# - **Expected reward**: $\mathbb{E}_{y \sim \pi}[r(x, y)] = \sum_y \pi(y \mid x)\, r(x, y)$. The reward is measured in
#   nats, because its differences are log-odds of being preferred (chapter 01).
# - **Kullback–Leibler divergence** from the reference: $\mathrm{KL}[\pi \Vert \pi_{\text{ref}}] = \sum_y \pi(y \mid x)
#   \log \frac{\pi(y \mid x)}{\pi_{\text{ref}}(y \mid x)}$. It is the average of the last column, weighted by $\pi$.

# %%
reward, kl = (p * r).sum(), (p * (p / p_ref).log()).sum()
print(f"E[r] under π_ref = {(p_ref * r).sum():.4f}     E[r] under π = {reward:.4f}")
print(f"KL[π‖π_ref] = {kl:.4f} nats")
assert torch.isclose(kl, kl_divergence(p.log(), p_ref.log()), atol=1e-12)

# %% [markdown]
# The policy earns 0.73 more than the reference, and it has gone 0.51 nats away. Is that a good bargain? That depends on
# the price of a nat, $\beta$. The **RLHF objective** puts the two together (equation 3):
#
# $$\max_{\pi_\theta}\; \mathbb{E}_{x,\, y \sim \pi_\theta(\cdot \mid x)}\left[r_\phi(x, y)\right]
# - \beta\, \mathrm{KL}\left[\pi_\theta(y \mid x) \,\Vert\, \pi_{\text{ref}}(y \mid x)\right] \tag{3}$$
#
# $\pi_\theta$ is the policy with weights $\theta$. $r_\phi$ is the reward model of chapter 02; in this chapter the true
# reward $r$ takes its place, so that nothing that happens can be blamed on a bad reward model. We write $J_\beta(\pi)$
# for the objective, or $J$ for short. For the reference itself the KL is 0, so $J(\pi_{\text{ref}})$ is its expected
# reward whatever $\beta$ is.
#
# ### The same, one response at a time
#
# 1. $J = \sum_y \pi(y \mid x)\, r(x, y) - \beta \sum_y \pi(y \mid x) \log \frac{\pi(y \mid x)}{\pi_{\text{ref}}(y \mid x)}$: both expectations written as sums.
# 2. $J = \sum_y \pi(y \mid x) \left( r(x, y) - \beta \log \frac{\pi(y \mid x)}{\pi_{\text{ref}}(y \mid x)} \right)$: both sums have the same weights.
# 3. $J = \mathbb{E}_{y \sim \pi}[R(y)]$ with $R(y) = r(x, y) - \beta \log \frac{\pi(y \mid x)}{\pi_{\text{ref}}(y \mid x)}$: a name for the bracket.
#
# $R(y)$ is the reward after its price. RLHF as it is done feeds it to its reinforcement-learning step, sample by sample
# ([Ziegler et al. 2019](https://arxiv.org/abs/1909.08593); chapter 08). Its fine print: $R$ depends on $\pi$ too.
#
# Three prices. Look at the sign of the last column: where it is negative, moving did not pay.

# %% tags=["eq-3"]
rows = {}
for beta in (2.0, 1.0, 0.5):
    R = r - beta * (p / p_ref).log()  # step 3
    J = kl_regularized_objective(p.log(), p_ref.log(), r, beta)
    assert torch.isclose(J, reward - beta * kl, atol=1e-12)
    assert torch.isclose(J, (p * R).sum(), atol=1e-12)
    rows[f"β = {beta}"] = {"J(π)": J.item(), "J(π_ref)": (p_ref * r).sum().item()}
prices = pd.DataFrame(rows).T
prices["gain"] = prices["J(π)"] - prices["J(π_ref)"]
prices.round(4)

# %% [markdown]
# At $\beta = 2$ the policy would have done better to stay at home.
#
# ## All 14,641 responses
#
# Now the real thing: the verdict world of chapter 00, with three prompts, and a GPT-2 that imitates critics as the
# reference. Equation 3 also averages over prompts, so the mean of the last column is what counts.

# %% tags=["eq-3", "nbval-ignore-output"]
from dpo_book.worlds.references import verdicts_reference
from dpo_book.worlds.verdicts import verdicts

world, reference = verdicts(), verdicts_reference()
with torch.no_grad():
    ref_logp = world.logp(reference).double().log_softmax(-1)  # (3, 14641)
tilted = (ref_logp + world.rewards).log_softmax(-1)  # a policy: π_ref e^r, rescaled
reward, kl = expected_reward(tilted, world.rewards), kl_divergence(tilted, ref_logp)
J = kl_regularized_objective(tilted, ref_logp, world.rewards, beta=1.0)
term_by_term = tilted.exp() * (world.rewards - (tilted - ref_logp))
assert torch.allclose(J, term_by_term.sum(dim=1), atol=1e-10)
columns = {"E[r]": reward, "KL[π‖π_ref]": kl, "J, β = 1": J}
pd.DataFrame(columns, index=world.prompts).round(2)

# %% [markdown]
# No sampling, no estimate: with every response listed, equation 3 is one line of sums. A real language model has too
# many responses for that; chapter 08 is about what one does then.
#
# ## Why a penalty at all?
#
# Set $\beta = 0$. Then $J = \sum_y \pi(y \mid x)\, r(x, y)$ is a weighted mean of rewards.
#
# 1. A weighted mean is at most the largest value: $\sum_y \pi(y \mid x)\, r(x, y) \le \max_y r(x, y)$, because the weights are not negative and sum to 1.
# 2. Equality needs $\pi(y \mid x) = 0$ wherever $r(x, y) < \max_y r(x, y)$, because any such weight pulls the mean below the maximum.
# 3. So where one response has the most reward, the maximiser says that one response, always.
#
# The policy that always says one $y$ has $\mathrm{KL}[\pi \Vert \pi_{\text{ref}}] = -\log \pi_{\text{ref}}(y \mid x)$: a
# single term with weight 1. Which response is it in our world? Look at how probable the reference finds it.

# %% tags=["nbval-ignore-output"]
best = world.rewards.argmax(dim=1, keepdim=True)
top = world.rewards.amax(dim=1, keepdim=True)
always = torch.full_like(ref_logp, -torch.inf).scatter(1, best, 0.0)  # log 1 there
kl = kl_divergence(always, ref_logp)
assert torch.allclose(kl, -ref_logp.gather(1, best).squeeze(1), atol=1e-12)
columns = {
    "best response": [world.responses[i] for i in best],
    "r": top.squeeze(1),
    "as good": (world.rewards == top).sum(dim=1),
    "π_ref, %": 100 * ref_logp.gather(1, best).exp().squeeze(1),
    "KL[π‖π_ref]": kl,
}
pd.DataFrame(columns, index=world.prompts).round(4)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
assert set(best.flatten().tolist()) == {world.responses.index("but great great great")}
assert ((world.rewards == top).sum(dim=1) == 1).all()
assert (100 * ref_logp.gather(1, best).exp() < 0.01).all()
assert kl.min() > 11.5 and kl.max() < 12.5

# %% [markdown]
# One response, the same to every prompt. In the reference it is some 100,000 times rarer than in a policy that always
# says it: twelve nats. Two things are lost. One is all variety. The other is the ground on which the reward was
# measured: a reward *model* (chapter 02) has learned from comparisons of texts that the reference writes, and nothing
# vouches for what it says about texts of another kind.
#
# ## Why KL, and why in this direction?
#
# A penalty should be 0 at the reference and above 0 everywhere else. KL is; this is **Gibbs' inequality**. For all
# $z > 0$, $\log z \le z - 1$ with equality only at $z = 1$ (the tangent of the logarithm at 1). The prompt is left out
# to save ink.
#
# 1. $\mathrm{KL}[\pi \Vert \pi_{\text{ref}}] = \sum_y \pi(y) \left(-\log \frac{\pi_{\text{ref}}(y)}{\pi(y)}\right)$: the ratio turned over.
# 2. $\ge \sum_y \pi(y) \left(1 - \frac{\pi_{\text{ref}}(y)}{\pi(y)}\right)$: the inequality with $z = \pi_{\text{ref}}(y)/\pi(y)$, over the $y$ with $\pi(y) > 0$.
# 3. $= \sum_y \pi(y) - \sum_y \pi_{\text{ref}}(y) \ge 1 - 1 = 0$: where $\pi(y) = 0$ some of $\pi_{\text{ref}}$ may be missing from its sum, never the other way.
# 4. It is 0 only for $\pi = \pi_{\text{ref}}$: equality in 2 needs $\pi_{\text{ref}}(y) = \pi(y)$ wherever $\pi(y) > 0$; these $\pi(y)$ sum to 1, so $\pi_{\text{ref}}$ has nothing left for other $y$.

# %%
z = p_ref / p
terms = z - 1 - z.log()  # never negative, by log z ≤ z − 1
print(f"least term {terms.min():.4f}, mean under π {(p * terms).sum():.4f} = KL")
assert (terms >= 0).all()
kl = kl_divergence(p.log(), p_ref.log())
assert torch.isclose((p * terms).sum(), kl, atol=1e-12)

# %% [markdown]
# KL has two directions, and they forbid different things. $\mathrm{KL}[\pi \Vert \pi_{\text{ref}}]$, the one in
# equation 3, is called **reverse**; $\mathrm{KL}[\pi_{\text{ref}} \Vert \pi]$ is **forward**. Take a reference that never
# says "great great", and two policies: one *adds* it, one *drops* "dull plot".

# %%
never = vector(0.42, 0.30, 0.20, 0.08, 0.00).log()
changed = {
    "adds 1 %": vector(0.41, 0.30, 0.20, 0.08, 0.01).log(),
    "drops 42 %": vector(0.00, 0.50, 0.30, 0.20, 0.00).log(),
}
reverse = [kl_divergence(logp, never).item() for logp in changed.values()]
forward = [kl_divergence(never, logp).item() for logp in changed.values()]
assert math.isinf(reverse[0]) and math.isinf(forward[1])
directions = {"reverse, KL[π‖π_ref]": reverse, "forward, KL[π_ref‖π]": forward}
pd.DataFrame(directions, index=list(changed)).round(4)

# %% [markdown]
# Reverse KL is infinite where the policy says what the reference never says, be it one time in a hundred. It charges a
# finite price for leaving things out, even 42 % of them. Forward KL is the other way round. RLHF *wants* to leave things
# out: the bad responses. And it wants no texts from beyond the reference, because there the reward was never measured.
#
# The same in the verdict world, where nothing has probability exactly 0. One policy drops every response with "bad" or
# "dull". The other says "but great great great" one time in ten, and else what the reference says.

# %% tags=["nbval-ignore-output"]
unkind = [("bad" in y.split()) or ("dull" in y.split()) for y in world.responses]
kept = ref_logp.masked_fill(torch.tensor(unkind), -torch.inf)
salad = torch.logaddexp(ref_logp + math.log(0.9), always + math.log(0.1))
rows = {}
for name, logp in (("drops unkind", kept.log_softmax(-1)), ("adds great", salad)):
    rows[name] = {
        "E[r]": expected_reward(logp, world.rewards).mean(),
        "reverse": kl_divergence(logp, ref_logp).mean(),
        "forward": kl_divergence(ref_logp, logp).mean(),
    }
pd.DataFrame(rows).T.astype(float).round(2)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
share = kept.logsumexp(-1)  # log of the probability kept
assert 0.25 < share.exp().mean() < 0.4
assert torch.allclose(kl_divergence(kept.log_softmax(-1), ref_logp), -share, atol=1e-9)
assert torch.allclose(kl_divergence(ref_logp, salad), vector(-math.log(0.9)), atol=1e-3)
assert rows["drops unkind"]["forward"].isinf()
assert 1.0 < rows["drops unkind"]["reverse"] < 1.3
assert 0.8 < rows["adds great"]["reverse"] < 1.0


# %% [markdown]
# Reverse KL lets the policy drop two thirds of all that the critics say for little more than one nat: it is
# $-\log(\text{probability kept})$. And it takes almost a nat for one odd verdict in ten. Forward KL charges
# $-\log 0.9$, a tenth of a nat, for that oddity, and would charge no more for an odder one. The last part of this
# chapter computes what follows from that.
#
# There is a practical reason as well. $\mathrm{KL}[\pi \Vert \pi_{\text{ref}}]$ is an average over the policy's own
# responses, and those are the ones that RLHF samples anyway.
#
# ## Reward pulls, KL holds
#
# To see both at once we need policies between the reference and the reward maximiser. Here is a simple path of them:
# multiply each probability by $e^{t\, r(x, y)}$ and rescale, $\pi_t(y \mid x) \propto \pi_{\text{ref}}(y \mid x)\,
# e^{t\, r(x, y)}$. At $t = 0$ that is the reference; as $t$ grows, the response with the most reward takes all.

# %%
def along(t):
    """log π of the policy at t of the path, for all prompts."""
    return (ref_logp + t * world.rewards).log_softmax(-1)


path_t = torch.cat([torch.arange(100) / 20, torch.arange(20, 101) / 4]).double()
path = torch.stack([along(t) for t in path_t])  # (181, 3, 14641), t from 0 to 25
path_reward = expected_reward(path, world.rewards.expand_as(path)).mean(dim=1)
path_kl = kl_divergence(path, ref_logp.expand_as(path)).mean(dim=1)
assert along(3000.0).exp().gather(1, best).min() > 0.999999


# %% [markdown]
# Each point of the curves is a policy of the path, placed by its KL. On the left, look at the two shapes: the green curve
# flattens, the grey line does not. On the right is their difference.

# %%
def pull(beta):
    return plots.reward_against_kl(path_reward, path_kl, beta)


pull(0.5)

# %% [markdown]
# The first nats are a bargain, the later ones are not. As long as the reward curve is steeper than the penalty, going
# on pays. At the dashed line the two slopes are equal, and there the objective is highest. So $\beta$ is the least
# reward that one more nat must earn. Let us check that, for four prices: compare the last column with the first.

# %% tags=["nbval-ignore-output"]
slope = torch.gradient(path_reward, spacing=(path_kl,))[0]  # reward for one more nat
betas = vector(0.1, 0.5, 1.0, 2.0)
k = (path_reward - betas[:, None] * path_kl).argmax(dim=1)
columns = {"β": betas, "t": path_t[k], "KL": path_kl[k], "E[r]": path_reward[k]}
assert torch.allclose(slope[k], betas, rtol=0.02)
pd.DataFrame(columns | {"slope there": slope[k]}).round(3)

# %% [markdown]
# The slopes are the prices. (Do you see a pattern between $\beta$ and $t$? Chapter 04 explains it.) Now move $\beta$.
# Where does the maximum go when nats get cheap? When they get dear?

# %%
price = widgets.FloatLogSlider(
    value=0.5, base=10, min=-1.3, max=0.7, step=0.05, description="β"
)
widgets.slider_figure(pull, beta=price)


# %% [markdown]
# Cheap nats send the maximum to the right, towards "but great great great"; dear ones hold it near the reference.
#
# ## Climbing: the exact gradient
#
# A path is a guess. To find the maximum among *all* policies, give every response a number of its own, a **logit**
# $\theta_y$, and let $\pi = \mathrm{softmax}(\theta)$. Which way is up? $[y = k]$ is 1 if $y = k$ and else 0.
#
# 1. $\frac{\partial \pi(y)}{\partial \theta_k} = \pi(y) \left([y = k] - \pi(k)\right)$: the derivative of the softmax.
# 2. $\frac{\partial J}{\partial \theta_k} = \sum_y \frac{\partial \pi(y)}{\partial \theta_k} R(y) + \sum_y \pi(y) \frac{\partial R(y)}{\partial \theta_k}$: the product rule on $J = \sum_y \pi(y) R(y)$, where $R$ depends on $\theta$ too.
# 3. $\frac{\partial R(y)}{\partial \theta_k} = -\beta \frac{1}{\pi(y)} \frac{\partial \pi(y)}{\partial \theta_k}$: only $-\beta \log \pi(y)$ in $R$ depends on $\theta$.
# 4. So the second sum is $-\beta \sum_y \frac{\partial \pi(y)}{\partial \theta_k} = -\beta \frac{\partial}{\partial \theta_k} 1 = 0$: the probabilities always sum to 1.
# 5. Step 1 in the first sum: $\frac{\partial J}{\partial \theta_k} = \pi(k) R(k) - \pi(k) \sum_y \pi(y) R(y) = \pi(k) \left(R(k) - \mathbb{E}_\pi[R]\right)$.
#
# A response's logit should rise if its reward after the price is above the average. And the average is the objective
# itself, $\mathbb{E}_\pi[R] = J$. Three ways to the same numbers:

# %%
def exact_gradient(logits, ref_logp, reward, beta):
    """∂J/∂θ by step 5, for π = softmax(logits)."""
    logp = logits.log_softmax(-1)
    R = reward - beta * (logp - ref_logp)
    return logp.exp() * (R - (logp.exp() * R).sum(-1, keepdim=True))


def j_of(theta):
    return kl_regularized_objective(theta.log_softmax(-1), p_ref.log(), r, beta=0.5)


# %%
logits, h = p.log(), 1e-5
by_hand = exact_gradient(logits, p_ref.log(), r, beta=0.5)
by_autograd = torch.func.grad(j_of)(logits)
nudges = h * torch.eye(5, dtype=torch.float64)
differences = [j_of(logits + nudge) - j_of(logits - nudge) for nudge in nudges]
by_differences = torch.stack(differences) / (2 * h)
assert torch.allclose(by_hand, by_autograd, atol=1e-12) and by_hand.sum().abs() < 1e-12
assert torch.allclose(by_hand, by_differences, atol=1e-9)
ways = {"by hand": by_hand, "autograd": by_autograd, "differences": by_differences}
pd.DataFrame(ways, index=five).round(4)


# %% [markdown]
# Equal, and they sum to 0: the same number added to every logit changes no probability, so it cannot change $J$. Here
# "great great" has $R$ above average and rises, although it is already twelve times as probable as in the reference.
#
# Now all responses of all prompts, 43,923 logits, uphill from the reference. The optimizer is Adam, which scales each
# logit's step: rare responses have gradients near 0 because of the factor $\pi(k)$, and plain steps would leave them
# behind. Three climbs follow. In their figure, look at the dashed lines on the left: for each $\beta > 0$ the highest value on
# the path of before, for $\beta = 0$ the largest reward there is.

# %%
def climb(beta, steps=200):
    """Gradient ascent on J from the reference: records by step, and the last log π."""
    theta, records = ref_logp.clone(), []
    adam = torch.optim.Adam([theta], lr=0.3, maximize=True)
    for step in range(steps):
        logp = theta.log_softmax(-1)
        kl, likeliest = kl_divergence(logp, ref_logp).mean(), logp.exp().amax(-1).mean()
        J = expected_reward(logp, world.rewards).mean() - beta * kl
        records.append({"step": step, "objective": J, "kl": kl, "likeliest": likeliest})
        theta.grad = exact_gradient(theta, ref_logp, world.rewards, beta)
        adam.step()
    return records, theta.log_softmax(-1)


# %%
climbs = {b: climb(b) for b in (0.0, 0.1, 0.5)}
highest = {f"β = {b}": (path_reward - b * path_kl).max().item() for b in (0.1, 0.5)}
highest["β = 0.0"] = top.mean().item()
plots.ascents({f"β = {b}": records for b, (records, _) in climbs.items()}, highest)

# %% tags=["nbval-ignore-output"]
ends = pd.DataFrame({f"β = {b}": records[-1] for b, (records, _) in climbs.items()}).T
ends = ends.drop(columns="step").astype(float).assign(dashed=pd.Series(highest))
ends["but great great great, %"] = [
    100 * logp.exp().gather(1, best).mean().item() for _, logp in climbs.values()
]
ends.round(4)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
assert (ends["objective"] - ends["dashed"]).abs().max() < 0.005
percent = ends["but great great great, %"]
assert percent["β = 0.0"] > 99 and 5e-3 < percent["β = 0.5"] < 7e-3
needed = (0.1 / ref_logp.gather(1, best).exp()).log()  # log-ratio at π(y|x) = 0.1
assert needed.min() > 9 and needed.max() < 10


# %% [markdown]
# Without a price, the climb ends twelve nats away with all probability on one response. With a price it stops, and keeps
# many responses alive. And here is the answer to the first prediction: at $\beta = 0.5$ "but great great great" gets
# some six chances in 100,000. To be said one time in ten, it would have to be some 10,000 times likelier than in the
# reference, more than nine nats. At half a nat of reward each, that is more than its reward of 1.93.
#
# (The bumps are Adam's: it overshoots a little, and at $\beta = 0$ one favourite is overthrown by the next.)
#
# The climb was free to go anywhere, and yet it did not get above the path. Chapter 04 proves that it cannot.
#
# All this needs every response. Where they cannot be listed, RLHF climbs the same hill from samples (chapter 08). DPO
# does not climb it. It minimises another loss, on pairs. With exact preference probabilities, all pairs covered, without
# end, and a policy free to take any form, that loss is least at the same policy. With real data it has noise of its own:
# labels are coin flips, and pairs are few (chapters 06 and 07).
#
# ## What the other KL would break
#
# Suppose we turn the penalty around: maximise $F(\pi) = \mathbb{E}_{y \sim \pi}[r(y)] - \beta\,
# \mathrm{KL}[\pi_{\text{ref}} \Vert \pi]$. All $\pi_{\text{ref}}(y) > 0$ and $\beta > 0$.
#
# 1. $F(\pi) = \sum_y \pi(y)\, r(y) + \beta \sum_y \pi_{\text{ref}}(y) \log \pi(y) + \text{constant}$: $\pi_{\text{ref}} \log \pi_{\text{ref}}$ does not depend on $\pi$.
# 2. $F$ has one maximum, and there all $\pi(y) > 0$: a linear function plus logarithms is strictly concave, and $F = -\infty$ where some $\pi(y) = 0$.
# 3. There $r(y) + \beta \frac{\pi_{\text{ref}}(y)}{\pi(y)} = \lambda$ for every $y$, with one number $\lambda$: the left side is $\partial F/\partial \pi(y)$, and where two of them differed, moving probability from the lower to the higher would pay. ($\lambda$ is the Lagrange multiplier of $\sum_y \pi(y) = 1$.)
# 4. $\pi(y) = \frac{\beta\, \pi_{\text{ref}}(y)}{\lambda - r(y)}$ with $\lambda > \max_y r(y)$: step 3 solved for $\pi(y)$, which is above 0.
# 5. $\sum_y \frac{\beta\, \pi_{\text{ref}}(y)}{\lambda - r(y)} = 1$ fixes $\lambda$: as $\lambda$ grows from $\max_y r(y)$, the sum falls from $\infty$ towards 0. It is at most 1 at $\lambda = \max_y r(y) + \beta$, where no denominator is below $\beta$.
#
# No formula gives $\lambda$. It has to be searched, by **bisection**: halve the interval, keep the half that holds it.
#
# Then the five responses, $\beta = 0.5$: is it the top of $F$? Gradient ascent, which knows nothing of steps 3 to 5,
# should end there. Beside it stands the best policy under equation 3, which is the path's at $t = 1/\beta$ (chapter 04
# proves it).

# %%
def forward_optimum(ref_logp, reward, beta):
    """log π that maximises F, shape (..., N), and its λ, shape (..., 1)."""
    top = reward.amax(-1, keepdim=True)
    low, high = torch.zeros_like(top), torch.full_like(top, beta)  # λ − max r
    for _ in range(100):
        gap = (low + high) / 2
        total = (beta * ref_logp.exp() / (top - reward + gap)).sum(-1, keepdim=True)
        low = gap.where(total > 1, low)  # too much probability: λ is larger
        high = high.where(total > 1, gap)
    return ref_logp + math.log(beta) - (top - reward + gap).log(), top + gap


def f_of(theta):
    logp = theta.log_softmax(-1)
    return expected_reward(logp, r) - 0.5 * kl_divergence(p_ref.log(), logp)


# %%
optimum, multiplier = forward_optimum(p_ref.log(), r, beta=0.5)
theta = p_ref.log()
for _ in range(3000):
    theta = theta + torch.func.grad(f_of)(theta)
usual = (p_ref.log() + r / 0.5).log_softmax(-1)
print(f"λ = {multiplier.item():.4f}")
assert torch.allclose(theta.softmax(-1), optimum.exp(), atol=1e-8)
columns = {"π_ref": p_ref, "r": r, "best, reverse KL": usual.exp()}
columns |= {"best, forward KL": optimum.exp(), "by ascent": theta.softmax(-1)}
pd.DataFrame(columns, index=five).round(4)

# %% [markdown]
# The search is right. And the forward optimum gives three quarters to "great great", which the reference says once in
# fifty. Why so much?
#
# 6. Every other response gets at most $\frac{\beta\, \pi_{\text{ref}}(y)}{\max r - r(y)}$: $\lambda > \max r$ in step 4.
# 7. So the best response $y^+$ gets at least $1 - \sum_{y \ne y^+} \frac{\beta\, \pi_{\text{ref}}(y)}{\max r - r(y)}$: what the others leave over.
#
# $\pi_{\text{ref}}(y^+)$ is not in there. Where this bound is above 0, the best response gets that much *however rare* it is.
# Now the 14,641. Look at "but great great great", in per cent.

# %% tags=["nbval-ignore-output"]
optimum, multiplier = forward_optimum(ref_logp, world.rewards, beta=0.5)
logits = optimum.clone().requires_grad_()
logp = logits.log_softmax(-1)
F = expected_reward(logp, world.rewards) - 0.5 * kl_divergence(ref_logp, logp)
(slope,) = torch.autograd.grad(F.sum(), logits)
assert slope.abs().max() < 1e-8  # no way up, in any of 43,923 directions
others = (0.5 * ref_logp.exp() / (top - world.rewards)).masked_fill(always == 0, 0)
columns = {
    "π_ref": ref_logp.exp().gather(1, best).flatten(),
    "best, reverse KL": along(1 / 0.5).exp().gather(1, best).flatten(),
    "best, forward KL": optimum.exp().gather(1, best).flatten(),
    "bound of step 7": 1 - others.sum(dim=1),
}
(100 * pd.DataFrame(columns, index=world.prompts)).round(4)  # in %

# %% jupyter={"source_hidden": true} tags=["hide-input"]
assert (columns["best, forward KL"] >= columns["bound of step 7"] - 1e-12).all()
assert (columns["best, forward KL"] - 0.5).abs().max() < 0.15
assert (columns["best, reverse KL"] < 1e-4).all()
assert torch.allclose(optimum.exp().sum(dim=1), vector(1.0), atol=1e-12)

# %% [markdown]
# About one answer in two is "but great great great". That is the second prediction: forward KL asks only that what the
# reference says remains possible. What the policy says besides is nearly free.
#
# On the left, what the two optima do to a response of a given reward: an exponential tilt, a straight line on this axis,
# against a pole at $\lambda$. On the right, for the first prompt, what becomes of the best response as nats get cheap.

# %%
scan = torch.logspace(-1, 0.5, 36, dtype=torch.float64)
one_ref, one_reward = ref_logp[0], world.rewards[0]
taken = {"reverse KL": [], "forward KL": []}
for b in scan.tolist():
    winners = (along(1 / b)[0], forward_optimum(one_ref, one_reward, b)[0])
    for name, logp in zip(taken, winners):
        taken[name].append(logp[best[0]].exp().item())


def penalties(beta):
    forward, multiplier = forward_optimum(one_ref, one_reward, beta)
    reverse = along(1 / beta)[0]
    ratios = {"reverse KL": reverse - one_ref, "forward KL": forward - one_ref}
    return plots.two_penalties(one_reward, ratios, multiplier.item(), scan, taken, beta)


# %%
penalties(0.5)

# %%
price = widgets.FloatLogSlider(
    value=0.5, base=10, min=-1, max=0.5, step=0.05, description="β"
)
widgets.slider_figure(penalties, beta=price)

# %% [markdown]
# With dear nats the two hardly differ. Then, within a small change of $\beta$, the forward optimum puts a large part of all its
# probability on one response, and equation 3's does not.
#
# ### No equation 5
#
# The reverse optimum is a tilt, $\beta \log(\pi/\pi_{\text{ref}}) = r - \text{constant}$. So the reward can be read off the
# policy; that is equation 5 (chapter 05), and DPO lives on it. Under forward KL that is lost. Step 3 says instead
# $r = \lambda - \beta\, \pi_{\text{ref}}/\pi$. Which columns are constant?

# %%
optimum, multiplier = forward_optimum(p_ref.log(), r, beta=0.5)
ratio = (p_ref.log() - optimum).exp()  # π_ref/π
columns = {
    "reverse: r − β log(π/π_ref)": r - 0.5 * (usual - p_ref.log()),
    "forward: r − β log(π/π_ref)": r - 0.5 * (optimum - p_ref.log()),
    "forward: r + β π_ref/π": r + 0.5 * ratio,
}
chance = torch.sigmoid(0.5 * (ratio[None, :] - ratio[:, None]))  # row before column
bradley_terry = preference_probability(r[:, None], r[None, :])
assert torch.allclose(chance, bradley_terry, atol=1e-10)
assert torch.allclose(columns["forward: r + β π_ref/π"], multiplier, atol=1e-10)
pd.DataFrame(columns, index=five).round(4)

# %% [markdown]
# What is *not* lost: in the difference of two rewards $\lambda(x)$ cancels, as $\beta \log Z(x)$ will. So there is a DPO
# for forward KL, with $\sigma\left(\beta \frac{\pi_{\text{ref}}(y_l)}{\pi(y_l)} - \beta \frac{\pi_{\text{ref}}(y_w)}{\pi(y_w)}\right)$
# as the probability that $y_w$ is preferred to $y_l$; the cell has asserted it for all pairs. [Wang et al.
# 2023](https://arxiv.org/abs/2309.16240) do this for a whole family of divergences.
#
# What is lost: the logarithms. A log-ratio is a sum over tokens; the ratio itself is a product, and it is lopsided. A
# response ten nats more likely than in the reference counts $e^{-10} \approx 0.00005$, one ten nats less likely
# $e^{10} \approx 22{,}026$. Nothing is gained any more by raising the chosen response, and what the policy has all but given
# up rules loss and gradient: the tails dominate. It is another loss, with another optimum.
#
# ## What could go wrong
#
# **"Is $\beta$ not just a scale?"** Of the reward, yes: multiply reward and $\beta$ by the same number and every policy's
# objective is multiplied by it, so the best policy stays. What counts is $\beta$ *relative to* the reward's unit. Change
# one of them alone and the best policy moves, as the slider showed.

# %%
ten_fold = kl_regularized_objective(p.log(), p_ref.log(), 10 * r, beta=5.0)
print(f"J(r, β) = {(p * R).sum():.4f}   J(10 r, 10 β) = {ten_fold:.4f}")
assert torch.isclose(ten_fold, 10 * (p * R).sum())


# %% [markdown]
# **"The reward still rises, so training goes well."** At $\beta = 0$ it rose until one response was left. Look at KL
# beside it, and read samples.
#
# ## Exercises
#
# ### Exercise · kl_to_reference
#
# Difficulty ★☆☆ · importance ●●● · 5 minutes
#
# $\mathrm{KL}[\pi \Vert \pi_{\text{ref}}]$ for each prompt, from `logp` and `ref_logp`, the log-probabilities of all
# responses, each of shape (P, N). Return shape (P,). It must carry gradients.

# %%
def kl_to_reference(logp, ref_logp):
    """KL[π‖π_ref] in nats: shape (P,)."""
    # YOUR CODE HERE
    raise NotImplementedError()


# %%
check_kl_to_reference(kl_to_reference)


# %% [markdown]
# ### Exercise · objective
#
# Difficulty ★★☆ · importance ●●● · 5 minutes
#
# Equation 3 for each prompt, from `logp`, `ref_logp` and `reward` of shape (P, N) and a number `beta`. You may use your
# `kl_to_reference`. Return shape (P,). It must carry gradients.

# %%
def objective(logp, ref_logp, reward, beta):
    """E_π[r] − β KL[π‖π_ref]: shape (P,)."""
    # YOUR CODE HERE
    raise NotImplementedError()


# %%
check_objective(objective)


# %% [markdown]
# ### Exercise · objective_gradient
#
# Difficulty ★★★ · importance ●○○ · 15 minutes
#
# The exact gradient of equation 3 by the logits $\theta$ of a table, $\pi = \mathrm{softmax}(\theta)$, without autograd, finite
# differences, or looking up. `logits`, `ref_logp`, `reward` have shape (P, N); the logits are not normalised. Each prompt has its
# own objective. Return shape (P, N).

# %%
def objective_gradient(logits, ref_logp, reward, beta):
    """∂J/∂θ for π = softmax(θ), one value a logit: shape (P, N)."""
    # YOUR CODE HERE
    raise NotImplementedError()


# %%
check_objective_gradient(objective_gradient)

# %% [markdown]
# ## Quiz

# %%
quiz("03", 1)

# %%
quiz("03", 2)

# %%
quiz("03", 3)

# %% [markdown]
# ## Recap
#
# | symbol | in code | shape | equation |
# |---|---|---|---|
# | $\pi(y \mid x)$, $\pi_{\text{ref}}(y \mid x)$ | `logp.exp()`, `ref_logp.exp()` | (P, N) | – |
# | $r(x, y)$ | `world.rewards`, `reward` | (P, N) | 3 |
# | $\mathbb{E}_{y \sim \pi}[r(x, y)]$ | `expected_reward(logp, reward)` | (P,) | 3 |
# | $\mathrm{KL}[\pi \Vert \pi_{\text{ref}}]$ | `kl_divergence(logp, ref_logp)` | (P,) | 3 |
# | $J$ | `kl_regularized_objective(logp, ref_logp, reward, beta)` | (P,) | 3 |
# | $R(y)$ | `reward - beta * (logp - ref_logp)` | (P, N) | 3 |
# | $\partial J/\partial \theta$ | `exact_gradient(logits, ref_logp, reward, beta)` | (P, N) | – |
# | $\mathrm{KL}[\pi_{\text{ref}} \Vert \pi]$ | `kl_divergence(ref_logp, logp)` | (P,) | – |
# | its optimum, $\lambda$ | `forward_optimum(ref_logp, reward, beta)` | (P, N), (P, 1) | – |
#
# Next: chapter 04 finds the summit of this hill without a single step, for every $\beta$ at once.
