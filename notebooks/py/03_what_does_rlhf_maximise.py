# %% [markdown]
# # 03 · What does RLHF maximise?
#
# Ask for the film verdict with the highest score, and you get "but great great great". VADER, the sentiment analyser
# whose opinion is the true reward of this book's world, gives it 1.93, more than any other of 14,641 responses. No critic
# writes like that. So RLHF does not maximise the reward alone: it also pays a price for every step away from a
# reference policy that writes as critics do. This chapter computes reward and price exactly, and then climbs.
#
# **Write down a prediction first.** You may choose any probabilities for the 14,641 responses. Each nat away from the
# reference costs as much as one nat of reward earns ($\beta = 1$). How probable does the best-rewarded response,
# "but great great great", become under the best policy: nearly 1, about a tenth, or less than one in a thousand?
#
# | after this chapter you can | |
# |---|---|
# | compute the RLHF objective of a policy by hand and over 14,641 responses | 10 min |
# | say why there is a KL in it, and why in this direction | 10 min |
# | derive its gradient, and climb it | 15 min |
# | estimate gradient and KL from samples, and name the traps | 15 min |
#
# You need expectation, logarithms, softmax, and from chapter 00 the verdict world.

# %%
import math

import ipywidgets
import torch

from dpo_book import *
from dpo_book import plots, widgets
from dpo_book.checks.objective import (
    check_k3_estimate,
    check_kl_to_reference,
    check_objective,
    check_objective_gradient,
)
from dpo_book.maths.exact import expected_reward
from dpo_book.worlds.references import verdicts_reference
from dpo_book.worlds.verdicts import verdicts

setup(seed=0)


# %% [markdown]
# ## Five responses
#
# A **policy** $\pi(y \mid x)$ gives every response $y$ to a prompt $x$ a probability. Here is a world with one prompt and
# five responses, its numbers made up so that you can do the sums by hand: a **reference policy** $\pi_{\text{ref}}$, a
# **reward** $r$, and a policy $\pi$ that has moved probability to where the reward is.

# %%
def vector(*values):
    return torch.tensor(values, dtype=torch.float64)


def show(values):
    """Numbers in one line. Adding 0.0 makes a −0.0000 a 0.0000."""
    return " ".join(f"{round(float(v), 4) + 0.0:7.4f}" for v in values)


five = ["dull plot", "not bad", "good plot", "very good", "great great"]
p_ref = vector(0.40, 0.30, 0.20, 0.08, 0.02)
r = vector(-1.0, 0.0, 0.5, 1.0, 2.0)
p = vector(0.20, 0.20, 0.20, 0.15, 0.25)
print(f"{'response':13} π_ref     π      r   log(π/π_ref)")
for row in zip(five, p_ref, p, r, (p / p_ref).log()):
    print("{:13}  {:.2f}  {:.2f}  {:5.1f}        {:7.4f}".format(*row))

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
# $\pi_\theta$ is the policy with weights $\theta$. $r_\phi$ is the reward model of chapter 02; in this chapter we put
# the true reward $r$ in its place, so that nothing that happens can be blamed on a bad reward model. We write $J_\beta(\pi)$ for the objective, or $J$ for short. Look at the sign of the last column: where it is negative, moving did not pay.

# %%
for beta in (0.5, 1.0, 2.0):
    j, j_ref = reward - beta * kl, (p_ref * r).sum()
    print(f"β = {beta}   J(π) = {j:7.4f}   J(π_ref) = {j_ref:.4f}   gain = {j - j_ref:7.4f}")
assert reward - 2.0 * kl < (p_ref * r).sum()

# %% [markdown]
# For the reference itself the KL is 0, so $J(\pi_{\text{ref}})$ is its expected reward whatever $\beta$ is. At
# $\beta = 2$ the policy would have done better to stay at home.
#
# ### The same, one response at a time
#
# 1. $J = \sum_y \pi(y \mid x)\, r(x, y) - \beta \sum_y \pi(y \mid x) \log \frac{\pi(y \mid x)}{\pi_{\text{ref}}(y \mid x)}$: both expectations written as sums.
# 2. $J = \sum_y \pi(y \mid x) \left( r(x, y) - \beta \log \frac{\pi(y \mid x)}{\pi_{\text{ref}}(y \mid x)} \right)$: both sums have the same weights.
# 3. $J = \mathbb{E}_{y \sim \pi}[A(y)]$ with $A(y) = r(x, y) - \beta \log \frac{\pi(y \mid x)}{\pi_{\text{ref}}(y \mid x)}$: a name for the bracket.
#
# $A(y)$ is the reward after its price. This is what PPO-style RLHF feeds to its reinforcement-learning step, sample by
# sample ([Ziegler et al. 2019](https://arxiv.org/abs/1909.08593)). Its fine print: $A$ depends on $\pi$ too.

# %% tags=["eq-3"]
beta = 0.5
a = r - beta * (p / p_ref).log()  # A(y)
ways = {
    "E[r] − β KL": reward - beta * kl,
    "E[A]": (p * a).sum(),
    "the package": kl_regularized_objective(p.log(), p_ref.log(), r, beta),
}
for name, value in ways.items():
    print(f"{name:12} {value:.4f}")
    assert torch.isclose(value, ways["E[r] − β KL"], atol=1e-12)

# %% [markdown]
# ## All 14,641 responses
#
# Now the real thing: the verdict world of chapter 00, with three prompts, and a GPT-2 that imitates critics as the
# reference. Equation 3 also averages over prompts, so the last line is the mean of the three above it.

# %% tags=["eq-3"]
world, reference = verdicts(), verdicts_reference()
with torch.no_grad():
    ref_logp = world.logp(reference).double().log_softmax(-1)  # log π_ref(y|x), (3, 14641)
tilted = (ref_logp + world.rewards).log_softmax(-1)  # a policy: π_ref e^r, rescaled
reward, kl = expected_reward(tilted, world.rewards), kl_divergence(tilted, ref_logp)
j = kl_regularized_objective(tilted, ref_logp, world.rewards, beta=1.0)
for row in zip(world.prompts, reward, kl, j):
    print("{:10}  E[r] ≈ {:.2f}   KL ≈ {:.2f} nats   J ≈ {:.2f}".format(*row))
print(f"{'mean':10}  E[r] ≈ {reward.mean():.2f}   KL ≈ {kl.mean():.2f} nats   J ≈ {j.mean():.2f}")
by_hand = (tilted.exp() * (world.rewards - (tilted - ref_logp))).sum(dim=1)
assert torch.allclose(j, by_hand, atol=1e-10)

# %% [markdown]
# No sampling, no estimate: with every response listed, equation 3 is one line of sums. A real language model has too
# many responses for that. The last two parts of this chapter are about what one does then.
#
# ## Why a penalty at all?
#
# Set $\beta = 0$. Then $J = \sum_y \pi(y \mid x)\, r(x, y)$ is a weighted mean of rewards.
#
# 1. A weighted mean is at most the largest value: $\sum_y \pi(y \mid x)\, r(x, y) \le \max_y r(x, y)$, because the weights are not negative and sum to 1.
# 2. Equality needs $\pi(y \mid x) = 0$ wherever $r(x, y) < \max_y r(x, y)$, because any such weight pulls the mean below the maximum.
# 3. So where one response has the most reward, the maximiser says that one response, always.
#
# Which one, in our world? Look at the last column: how probable the reference finds it.

# %%
best = world.rewards.argmax(dim=1)
for i, prompt in enumerate(world.prompts):
    ties = int((world.rewards[i] == world.rewards[i].max()).sum())
    percent = 100 * ref_logp[i, best[i]].exp()
    print(
        f"{prompt}: {world.responses[best[i]]!r}  r = {world.rewards[i, best[i]]:.4f}, "
        f"{ties} response with as much, π_ref ≈ {percent:.4f} %"
    )
    assert ties == 1 and percent < 0.01

# %% [markdown]
# One response, the same to every prompt, and one the critics hardly ever produce. The policy that always says it has
# $\mathrm{KL}[\pi \Vert \pi_{\text{ref}}] = -\log \pi_{\text{ref}}(y \mid x)$, since its sum has a single term with weight 1. How
# dear is that?

# %%
always = torch.full_like(ref_logp, -torch.inf).scatter(1, best[:, None], 0.0)  # log 1 at the best
kl = kl_divergence(always, ref_logp)
assert torch.allclose(kl, -ref_logp.gather(1, best[:, None]).squeeze(1))
print(f"always the best response: E[r] = {expected_reward(always, world.rewards).mean():.4f}")
print(f"KL to the reference ≈ {kl.mean():.2f} nats")
assert 11 < kl.mean() < 13

# %% [markdown]
# Some twelve nats: the text is more than 100,000 times rarer in the reference than in this policy. Two things are lost. One is
# all variety. The other is the ground on which the reward was measured: a reward *model* (chapter 02) has learned from
# comparisons of texts that the reference writes, and nothing vouches for what it says about texts of another kind.
#
# ## Why KL, and why in this direction?
#
# A penalty should be 0 at the reference and above 0 everywhere else. KL is. For all $z > 0$, $\log z \le z - 1$ with
# equality only at $z = 1$ (the tangent of the logarithm at 1). Then:
#
# 1. $\mathrm{KL}[\pi \Vert \pi_{\text{ref}}] = \sum_y \pi(y) \left(-\log \frac{\pi_{\text{ref}}(y)}{\pi(y)}\right)$: turn the ratio over; the prompt is left out to save ink.
# 2. $\ge \sum_y \pi(y) \left(1 - \frac{\pi_{\text{ref}}(y)}{\pi(y)}\right)$: the inequality with $z = \pi_{\text{ref}}(y)/\pi(y)$, over the $y$ with $\pi(y) > 0$.
# 3. $= \sum_y \pi(y) - \sum_y \pi_{\text{ref}}(y) \ge 1 - 1 = 0$: where $\pi(y) = 0$ some of $\pi_{\text{ref}}$ may be missing from its sum, never the other way.
# 4. It is 0 only for $\pi = \pi_{\text{ref}}$: equality in 2 needs $\pi_{\text{ref}}(y) = \pi(y)$ wherever $\pi(y) > 0$; these $\pi(y)$ sum to 1, so $\pi_{\text{ref}}$ has nothing left for other $y$.

# %%
z = p_ref / p
terms = z - 1 - z.log()  # never negative, by log z ≤ z − 1
print("z − 1 − log z:", show(terms))
print(f"weighted by π: {(p * terms).sum():.4f} = KL[π‖π_ref]")
assert (terms >= 0).all()
assert torch.isclose((p * terms).sum(), kl_divergence(p.log(), p_ref.log()), atol=1e-12)

# %% [markdown]
# Keep that expression in mind: it comes back as an estimator.
#
# KL has two directions, and they forbid different things. $\mathrm{KL}[\pi \Vert \pi_{\text{ref}}]$, the one in
# equation 3, is called **reverse**; $\mathrm{KL}[\pi_{\text{ref}} \Vert \pi]$ is **forward**. Take a reference that never
# says "great great", and two policies: one *adds* it, one *drops* "dull plot".

# %%
never = vector(0.42, 0.30, 0.20, 0.08, 0.00)
adds = vector(0.41, 0.30, 0.20, 0.08, 0.01)
drops = vector(0.00, 0.50, 0.30, 0.20, 0.00)
print("            KL[π‖π_ref] (reverse)   KL[π_ref‖π] (forward)")
for name, q in (("adds 1 %", adds), ("drops 42 %", drops)):
    reverse, forward = kl_divergence(q.log(), never.log()), kl_divergence(never.log(), q.log())
    print(f"{name:11}        {reverse:7.4f}                  {forward:7.4f}")
assert (
    kl_divergence(adds.log(), never.log()).isinf()
    and kl_divergence(never.log(), drops.log()).isinf()
)

# %% [markdown]
# Reverse KL is infinite where the policy says what the reference never says, be it one time in a hundred. It charges a
# finite price for leaving things out, even 42 % of them. Forward KL is the other way round. RLHF *wants* to leave things
# out: the bad responses. And it wants no texts from beyond the reference, because there the reward was never measured.
#
# The same in the verdict world, where nothing has probability exactly 0. One policy drops every response with "bad" or
# "dull". The other says "but great great great" one time in ten, and else what the reference says.

# %%
unkind = torch.tensor([("bad" in y.split()) or ("dull" in y.split()) for y in world.responses])
kind = ref_logp.masked_fill(unkind, -torch.inf).log_softmax(-1)
salad = torch.logaddexp(ref_logp + math.log(0.9), always + math.log(0.1))
for name, lp in (("drops unkind", kind), ("adds great", salad)):
    reverse, forward = kl_divergence(lp, ref_logp).mean(), kl_divergence(ref_logp, lp).mean()
    gain = expected_reward(lp, world.rewards).mean()
    told = f"≈ {forward:.2f}" if forward.isfinite() else "  inf"
    print(f"{name:13} E[r] ≈ {gain:.2f}   KL[π‖π_ref] ≈ {reverse:.2f}   KL[π_ref‖π] {told}")
kept = ref_logp.masked_fill(unkind, -torch.inf).logsumexp(-1)  # log of the probability kept
print(f"probability kept by dropping: ≈ {kept.exp().mean():.2f}")
assert 0.25 < kept.exp().mean() < 0.4
assert torch.allclose(kl_divergence(kind, ref_logp), -kept)
assert torch.allclose(kl_divergence(ref_logp, salad), vector(-math.log(0.9)), atol=1e-3)


# %% [markdown]
# Reverse KL lets the policy drop two thirds of all that the critics say, for $-\log(\text{probability kept})$, a little over
# one nat. And it takes almost as much for one single odd verdict in ten. Forward KL would charge $-\log 0.9$, a tenth of a nat,
# for that oddity, and never more, however improbable the text. It leaves the door to "great great great" open.
#
# There is a practical reason as well. $\mathrm{KL}[\pi \Vert \pi_{\text{ref}}]$ is an average over the policy's own
# responses, and those are the ones that training samples anyway.
#
# ## Reward pulls, KL holds
#
# To see both at once we need policies between the reference and the reward maximiser. Here is a simple path of them:
# multiply each probability by $e^{t\, r(x, y)}$ and rescale, $\pi_t(y \mid x) \propto \pi_{\text{ref}}(y \mid x)\,
# e^{t\, r(x, y)}$. At $t = 0$ that is the reference; as $t$ grows, the response with the most reward takes all.

# %%
def along(t):
    return (ref_logp + t * world.rewards).log_softmax(-1)


path_t = torch.cat([torch.arange(100) / 20, torch.arange(20, 101) / 4]).double()  # 0 to 25
path = [along(t) for t in path_t]
path_reward = torch.stack([expected_reward(lp, world.rewards).mean() for lp in path])
path_kl = torch.stack([kl_divergence(lp, ref_logp).mean() for lp in path])
assert torch.allclose(along(0.0), ref_logp)
assert along(3000.0).exp().gather(1, best[:, None]).min() > 0.999999


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
# reward that one more nat must earn. Let us check that, for four prices.

# %%
slope = torch.gradient(path_reward, spacing=(path_kl,))[0]  # reward gained for one more nat
for beta in (0.1, 0.5, 1.0, 2.0):
    k = (path_reward - beta * path_kl).argmax()
    print(
        f"β = {beta}   highest at t = {path_t[k]:5.2f}, KL ≈ {path_kl[k]:.2f} nats, "
        f"E[r] ≈ {path_reward[k]:.2f}, slope there ≈ {slope[k]:.3f}"
    )
    assert abs(slope[k] - beta) < 0.02 * beta

# %% [markdown]
# The slopes are the prices. (Do you see a pattern between $\beta$ and $t$? Chapter 04 explains it.) Now move $\beta$.
# Where does the maximum go when nats get cheap? When they get dear?

# %%
widgets.slider_figure(
    pull,
    beta=ipywidgets.FloatLogSlider(
        value=0.5, base=10, min=-1.3, max=0.7, step=0.05, description="β"
    ),
)


# %% [markdown]
# Cheap nats send the maximum to the right, towards "but great great great"; dear ones hold it near the reference. Each
# policy of the path but the reference itself is the path's best for some price.
#
# ## Climbing: the exact gradient
#
# A path is a guess. To find the maximum among *all* policies, give every response a number of its own, a **logit**
# $\theta_y$, and let $\pi = \mathrm{softmax}(\theta)$. Which way is up? We leave the prompt out again; $[y = k]$ is 1 if
# $y = k$ and else 0.
#
# 1. $\frac{\partial \pi(y)}{\partial \theta_k} = \pi(y) \left([y = k] - \pi(k)\right)$: the derivative of the softmax.
# 2. $\frac{\partial J}{\partial \theta_k} = \sum_y \frac{\partial \pi(y)}{\partial \theta_k} A(y) + \sum_y \pi(y) \frac{\partial A(y)}{\partial \theta_k}$: the product rule on $J = \sum_y \pi(y) A(y)$, where $A$ depends on $\theta$ too.
# 3. $\frac{\partial A(y)}{\partial \theta_k} = -\beta \frac{1}{\pi(y)} \frac{\partial \pi(y)}{\partial \theta_k}$: only $-\beta \log \pi(y)$ in $A$ depends on $\theta$.
# 4. So the second sum is $-\beta \sum_y \frac{\partial \pi(y)}{\partial \theta_k} = -\beta \frac{\partial}{\partial \theta_k} 1 = 0$: the probabilities always sum to 1.
# 5. Step 1 in the first sum: $\frac{\partial J}{\partial \theta_k} = \pi(k) A(k) - \pi(k) \sum_y \pi(y) A(y) = \pi(k) \left(A(k) - \mathbb{E}_\pi[A]\right)$.
#
# A response's logit should rise if its reward after the price, $A$, is above the average. And the average is the
# objective itself, $\mathbb{E}_\pi[A] = J$. Three ways to the same numbers:

# %%
def exact_gradient(logits, ref_logp, reward, beta):
    logp = logits.log_softmax(-1)
    a = reward - beta * (logp - ref_logp)
    return logp.exp() * (a - (logp.exp() * a).sum(-1, keepdim=True))


def pi_of(theta):
    return theta.softmax(-1)


def j_of(theta):
    return kl_regularized_objective(theta.log_softmax(-1), p_ref.log(), r, beta=0.5)


# %%
logits, h = p.log(), 1e-5
by_hand_five = exact_gradient(logits, p_ref.log(), r, beta=0.5)
by_autograd = torch.func.grad(j_of)(logits)
differences = [j_of(logits + e) - j_of(logits - e) for e in h * torch.eye(5).double()]
by_differences = torch.stack(differences) / (2 * h)
print("by hand:           ", show(by_hand_five))
print("autograd:          ", show(by_autograd))
print("finite differences:", show(by_differences))
assert torch.allclose(by_hand_five, by_autograd, atol=1e-12)
assert torch.allclose(by_hand_five, by_differences, atol=1e-9)
jacobian = torch.func.jacrev(pi_of)(logits)  # ∂π(y)/∂θ_k
assert torch.allclose(jacobian, p.diag() - p.outer(p), atol=1e-12)  # step 1
assert jacobian.sum(dim=0).abs().max() < 1e-12  # step 4
assert by_hand_five.sum().abs() < 1e-12

# %% [markdown]
# Equal, and they sum to 0: the same number added to every logit changes no probability, so it cannot change $J$. Here "great great" has
# $A$ above average and rises, although it is already twelve times as probable as in the reference.
#
# Now all responses of all prompts, 43,923 logits, first against autograd and then uphill. The optimizer is Adam, which
# scales each logit's step: rare responses have gradients near 0 because of the factor $\pi(k)$, and plain steps would
# leave them behind.

# %%
theta = along(0.7).requires_grad_()
total = kl_regularized_objective(theta.log_softmax(-1), ref_logp, world.rewards, 0.5).sum()
(by_autograd,) = torch.autograd.grad(total, theta)
by_hand = exact_gradient(theta.detach(), ref_logp, world.rewards, 0.5)
print("43,923 components agree:", torch.allclose(by_hand, by_autograd, atol=1e-12))
assert torch.allclose(by_hand, by_autograd, atol=1e-12)


# %%
def climb(beta, steps=200):
    """Gradient ascent on J from the reference: records by step, and the last log π."""
    theta, records = ref_logp.clone(), []
    adam = torch.optim.Adam([theta], lr=0.3, maximize=True)
    for step in range(steps):
        logp = theta.log_softmax(-1)
        reward = expected_reward(logp, world.rewards).mean()
        kl, likeliest = kl_divergence(logp, ref_logp).mean(), logp.exp().amax(-1).mean()
        values = {"objective": reward - beta * kl, "kl": kl, "likeliest": likeliest}
        records.append({"step": step} | values)
        theta.grad = exact_gradient(theta, ref_logp, world.rewards, beta)
        adam.step()
    return records, theta.log_softmax(-1)


# %% [markdown]
# Three climbs. Look at the dashed lines on the left: for each $\beta > 0$ the highest value on the path of before, for
# $\beta = 0$ the largest reward there is.

# %%
climbs = {beta: climb(beta) for beta in (0.0, 0.1, 1.0)}
highest = {b: (path_reward - b * path_kl).max().item() for b in (0.1, 1.0)}
highest[0.0] = world.rewards.amax(-1).mean().item()
plots.ascents(
    {f"β = {b:g}": records for b, (records, _) in climbs.items()},
    {f"β = {b:g}": value for b, value in highest.items()},
)

# %%
for b, (records, _) in climbs.items():
    end = records[-1]
    print(
        f"β = {b:3}  J ≈ {end['objective']:.3f} (dashed ≈ {highest[b]:.3f})   KL ≈ {end['kl']:.2f} nats   likeliest ≈ {end['likeliest']:.2f}"
    )
    assert abs(end["objective"] - highest[b]) < 0.005
chance = climbs[1.0][1].exp().gather(1, best[:, None]).mean()
print(f"β = 1: 'but great great great' ≈ {1e5 * chance:.1f} in 100,000")
needed = (0.1 / ref_logp.gather(1, best[:, None]).exp()).log()  # log-ratio at π(y|x) = 0.1
assert needed.min() > 9 and chance < 1e-4
assert climbs[0.0][1].exp().gather(1, best[:, None]).min() > 0.99

# %% [markdown]
# Without a price, the climb ends twelve nats away with all probability on one response. With a price it stops, and keeps
# many responses alive. And here is the answer to the prediction: at $\beta = 1$ "but great great great" gets a few chances
# in 100,000. To be said one time in ten, it would have to be some 10,000 times likelier than in the reference. Its $A$ would
# be about $1.93 - 9.5$ (the KL of 11.84 above, less $\ln 10$): more than nine nats of price for less than two of reward.
#
# (The bumps are Adam's: it overshoots a little, and at $\beta = 0$ one favourite is overthrown by the next.)
#
# The climb was free to go anywhere, and yet it did not get above the path. Chapter 04 proves that it cannot.
#
# ## Climbing blind: REINFORCE
#
# A real model has too many responses to sum over. It can sample some. REINFORCE turns the gradient into an expectation
# under $\pi$, which samples estimate:
#
# 1. $\frac{\partial \pi(y)}{\partial \theta_k} = \pi(y) \frac{\partial \log \pi(y)}{\partial \theta_k}$: the derivative of a logarithm, multiplied by $\pi(y)$.
# 2. $\frac{\partial J}{\partial \theta_k} = \sum_y \pi(y) A(y) \frac{\partial \log \pi(y)}{\partial \theta_k} = \mathbb{E}_{y \sim \pi}\left[A(y) \frac{\partial \log \pi(y)}{\partial \theta_k}\right]$: steps 2 and 4 above left only the first sum.
# 3. $\frac{\partial \log \pi(y)}{\partial \theta_k} = [y = k] - \pi(k)$: the softmax again, divided by $\pi(y)$.
# 4. $\mathbb{E}_{y \sim \pi}\left[\frac{\partial \log \pi(y)}{\partial \theta_k}\right] = \sum_y \frac{\partial \pi(y)}{\partial \theta_k} = 0$: the probabilities sum to 1.
# 5. So $\frac{\partial J}{\partial \theta_k} = \mathbb{E}_{y \sim \pi}\left[(A(y) - b) \frac{\partial \log \pi(y)}{\partial \theta_k}\right]$ for every number $b$, a **baseline**: by step 4 it adds zero.
#
# The mean does not depend on $b$. The noise does. With five responses we can enumerate both: look for the equal
# gradients and the unequal variances.

# %%
score = torch.eye(5).double() - p  # row y: ∂log π(y)/∂θ
assert torch.allclose(score, jacobian / p[:, None], atol=1e-12)  # steps 1 and 3
assert (p @ score).abs().max() < 1e-12  # step 4
print("total variance of one sample's gradient:")
for name, raised, b in (
    ("b = 0", 0.0, 0.0),
    ("b = J", 0.0, (p * a).sum()),
    ("rewards + 10, b = 0", 10.0, 0.0),
    ("rewards + 10, b = J", 10.0, (p * a).sum() + 10),
):
    samples = (a + raised - b)[:, None] * score  # what a sample y would estimate
    mean = p @ samples
    variance = (p @ samples**2 - mean**2).sum()
    print(f"{name:20} {variance:8.4f}")
    assert torch.allclose(mean, by_hand_five, atol=1e-12)

# %% [markdown]
# Ten more for every response changes nothing in the gradient and multiplies the variance by hundreds. Subtract the average
# and that is gone. In practice $b$ is a running mean, the mean of other samples for the same prompt, or a learned
# value function.
#
# Now draw samples. The figure shows the mean of 300, with two standard errors to either side, for rewards raised by 1 (so
# that the baseline has something to do; $J$ rises by 1 as well). The dashed lines are exact.

# %%
generator = torch.Generator().manual_seed(0)
draws = torch.multinomial(p, 30_000, replacement=True, generator=generator)
kinds = {"without baseline": 0.0, "with baseline J": (p * a).sum() + 1}
sampled = {name: ((a + 1 - b)[:, None] * score)[draws] for name, b in kinds.items()}


def estimated(n):
    estimates = {name: (g[:n].mean(0), g[:n].std(0) / math.sqrt(n)) for name, g in sampled.items()}
    return plots.gradient_estimates(five, by_hand_five, estimates, f"{n:,} samples", limit=0.5)


estimated(300)

# %%
widgets.slider_figure(
    estimated,
    n=ipywidgets.SelectionSlider(
        options=[30, 100, 300, 1000, 3000, 10_000, 30_000], value=300, description="samples"
    ),
)

# %% [markdown]
# Both kinds scatter around the dashed lines. The baseline makes four of the five bars shorter, and "dull plot" pays for it:
# the average is a good baseline for the whole gradient, not the best one for each part. A hundred times the samples give a
# tenth of the error. In numbers, with all 30,000: how many standard errors is each estimate off?

# %%
for name, g in sampled.items():
    error = g.std(0) / math.sqrt(len(g))
    off = (g.mean(0) - by_hand_five) / error
    print(
        f"{name:17} off by",
        " ".join(f"{x:5.2f}" for x in off),
        f"  largest error bar {error.max():.4f}",
    )
    assert off.abs().max() < 4
shorter = sampled["with baseline J"].std(0) < sampled["without baseline"].std(0)
assert shorter.sum() == 4 and not shorter[0]


# %% [markdown]
# This is the engine of RLHF: sample, score, step, again. The samples go stale with each step, and the noise stays. DPO
# climbs the same hill without it, from pairs collected once; chapters 04 to 06 say how.
#
# ## Measuring KL from samples
#
# KL is a sum over all responses too, and every RLHF run logs an estimate of it. Draw $y \sim \pi$ and write
# $\rho = \pi_{\text{ref}}(y \mid x)/\pi(y \mid x)$. [John Schulman's note](http://joschu.net/blog/kl-approx.html) compares three:
#
# - $k_1 = -\log \rho$. Its mean is the KL, by definition. A single one can be negative.
# - $k_2 = \frac12 (\log \rho)^2$. Never negative, and biased: its mean is something else.
# - $k_3 = \rho - 1 - \log \rho$. Never negative, as $\log z \le z - 1$ told us, and unbiased: $\mathbb{E}_\pi[\rho] = \sum_y \pi(y) \frac{\pi_{\text{ref}}(y)}{\pi(y)} = 1$, so $\rho - 1$ adds zero on average. (This needs $\pi(y) > 0$ wherever $\pi_{\text{ref}}(y) > 0$, as a softmax of finite logits gives.)
#
# Enumeration gives mean and standard deviation exactly. Look at a policy near the reference, then at ours.

# %%
def estimators(logp, other_logp):
    """k1, k2, k3 with ρ = other/π, for every response."""
    log_ratio = other_logp - logp
    return {"k1": -log_ratio, "k2": log_ratio**2 / 2, "k3": log_ratio.exp() - 1 - log_ratio}


def moments(weights, values):
    mean = (weights * values).sum()
    return mean, (weights * (values - mean) ** 2).sum().sqrt()


# %%
near = (p_ref.log() + 0.2 * r).softmax(0)
for name, q in (("near", near), ("ours", p)):
    true = kl_divergence(q.log(), p_ref.log())
    print(f"{name}: true KL = {true:.4f}")
    for k, values in estimators(q.log(), p_ref.log()).items():
        mean, deviation = moments(q, values)
        print(f"   {k}: mean {mean:.4f}   standard deviation {deviation:.4f}")
        assert k == "k2" or torch.isclose(mean, true, atol=1e-12)

# %% [markdown]
# Near the reference, one $k_1$ scatters thirteen times as wide as the value that it estimates. $k_3$ has the same mean and a
# tenth of the noise, $k_2$ about the same noise and a mean that is a little off. For our policy $k_2$ is three
# quarters too high.
#
# In the verdict world, along the path, for one prompt. On the left, $k_1$ and $k_3$ lie on the exact line. On the right: which
# estimator is quietest where?

# %%
lines = {"k1": ([], []), "k2": ([], []), "k3": ([], [])}
true_kl = []
for t in (0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0):
    logp = along(t)[0]
    true_kl.append(kl_divergence(logp, ref_logp[0]))
    for k, values in estimators(logp, ref_logp[0]).items():
        for line, value in zip(lines[k], moments(logp.exp(), values)):
            line.append(value)
plots.kl_estimators(
    true_kl, {k: m for k, (m, _) in lines.items()}, {k: d for k, (_, d) in lines.items()}
)

# %%
for k, (mean, deviation) in lines.items():
    ends = [(true_kl[i], mean[i] / true_kl[i], deviation[i] / true_kl[i]) for i in (1, -2)]
    print(
        k,
        "  ".join("at ≈ {:.3f} nats: mean ≈ {:.2f} KL, noise ≈ {:.1f} KL".format(*e) for e in ends),
    )
noise = {k: [d / x for d, x in zip(deviation, true_kl)] for k, (_, deviation) in lines.items()}
assert noise["k3"][1] < 0.1 * noise["k1"][1] and noise["k3"][-2] > 5 * noise["k1"][-2]
assert torch.allclose(torch.stack(lines["k3"][0]), torch.stack(true_kl), rtol=1e-6)

# %% [markdown]
# At small distances $k_3$ is far quieter than $k_1$; GRPO, for one, uses it ([Shao et al.
# 2024](https://arxiv.org/abs/2402.03300)). From a few tenths of a nat on the order turns. There are responses by now that the policy has all but given up and the reference has not. On them $\rho$ is
# huge; they are drawn hardly ever, and then one sample outweighs all the others. At one nat the noise of $k_3$ is some twenty
# times the KL, and $k_2$ is about a fifth too low. No estimator is best everywhere; in doubt, $k_1$ with many samples.
#
# ### The trap of the arguments
#
# The formulas fit $y \sim \pi$ and $\rho = \pi_{\text{ref}}/\pi$. Turn one of the two around, or both, and they estimate
# something else. All four combinations, enumerated:

# %%
reverse, forward = kl_divergence(p.log(), p_ref.log()), kl_divergence(p_ref.log(), p.log())
print(f"KL[π‖π_ref] = {reverse:.4f}   KL[π_ref‖π] = {forward:.4f}\n")
rows = []
print(f"{'samples from':12}   {'ρ':8} {'k1':>8}  {'k2':>8}  {'k3':>8}")
for sampler, weights in (("π", p), ("π_ref", p_ref)):
    for ratio, pair in (("π_ref/π", (p, p_ref)), ("π/π_ref", (p_ref, p))):
        ks = estimators(*(q.log() for q in pair))
        rows.append(torch.stack([(weights * values).sum() for values in ks.values()]))
        print(f"{sampler:12}   {ratio:8}", "  ".join(f"{mean:8.4f}" for mean in rows[-1]))
assert torch.allclose(rows[0][[0, 2]], reverse) and torch.allclose(rows[3][[0, 2]], forward)
assert torch.isclose(rows[1][0], -reverse)
assert torch.isclose(rows[1][2], (p * p / p_ref).sum() - 1 - reverse)

# %% [markdown]
# Read the table from the top.
#
# - **First row**, as it should be: $k_1$ and $k_3$ give $\mathrm{KL}[\pi \Vert \pi_{\text{ref}}]$.
# - **Second row**, the ratio upside down: $k_1$ has the wrong sign, which one notices. $k_3$ is positive, looks like a KL, and is
#   none: its mean is $\mathbb{E}_\pi[\pi/\pi_{\text{ref}}] - 1 - \mathrm{KL}[\pi \Vert \pi_{\text{ref}}]$. $k_2$ cannot tell, a square has no sign.
# - **Third row**, samples of the reference with the ratio of the first row: $k_1$ gives minus the *other* KL, $k_3$ neither.
# - **Last row**, both turned around: a correct estimate, of the other direction.
#
# The rule: in $\rho$, the distribution that you sample from is the denominator.
#
# ## What could go wrong
#
# **"Is $\beta$ not just a scale?"** Of the reward, yes: multiply reward and $\beta$ by the same number and every policy's
# objective is multiplied by it, so the best policy stays. What counts is $\beta$ *relative to* the reward's unit. Change one
# of them alone and the best policy moves, as the slider showed: a larger $\beta$ means closer to the reference.

# %%
ten_fold = kl_regularized_objective(p.log(), p_ref.log(), 10 * r, beta=5.0)
print(f"J(r, β) = {(p * a).sum():.4f}   J(10 r, 10 β) = {ten_fold:.4f}")
assert torch.isclose(ten_fold, 10 * (p * a).sum())

# %% [markdown]
# **"The KL in my log is negative."** For one batch and $k_1$ that is chance: four samples in ten here. If it stays
# negative over many batches, the ratio is upside down (second row of the table above) or the samples are not the
# policy's own (third row).

# %%
print(f"probability of a negative k1: {p[p < p_ref].sum():.2f}")
assert torch.isclose(p[p < p_ref].sum(), vector(0.4).sum())

# %% [markdown]
# **"I put the KL estimate into the loss and let autograd do the rest."** An unbiased *value* does not give an unbiased
# *gradient*: autograd differentiates $k$ and does not see that the samples depend on $\pi$ as well. The mean of what it
# returns, for each estimator:

# %%
logits = p.log().requires_grad_()
logp = logits.log_softmax(0)
gradients = []
for k, value in estimators(logp, p_ref.log()).items():
    (gradient,) = torch.autograd.grad((p * value).sum(), logits, retain_graph=True)
    gradients.append(gradient)
    print(f"mean gradient of {k}:      {show(gradient)}")
reverse_kl = kl_divergence(logp, p_ref.log())
forward_kl = kl_divergence(p_ref.log(), logp)
(of_reverse,) = torch.autograd.grad(reverse_kl, logits, retain_graph=True)
(of_forward,) = torch.autograd.grad(forward_kl, logits)
print(f"gradient of KL[π‖π_ref]:  {show(of_reverse)}")
print(f"gradient of KL[π_ref‖π]:  {show(of_forward)}")
assert gradients[0].abs().max() < 1e-12
assert torch.allclose(gradients[1], of_reverse, atol=1e-12)
assert torch.allclose(gradients[2], of_forward, atol=1e-12)


# %% [markdown]
# $k_1$ gives no signal at all, $k_3$ follows the *forward* KL, and only the biased $k_2$ has the right gradient. That is why the KL
# stood inside $A$ above, as a number that multiplies $\partial \log \pi$. ([Tang and Munos
# 2025](https://arxiv.org/abs/2506.09477) treat this trap at length.)
#
# **"The reward still rises, so training goes well."** At $\beta = 0$ it rose until one response was left. Look at KL beside it, and
# read samples.
#
# ## Exercises
#
# ### Exercise ★ · kl_to_reference
#
# $\mathrm{KL}[\pi \Vert \pi_{\text{ref}}]$ for each prompt, from `logp` and `ref_logp`, the log-probabilities of all
# responses, each of shape (P, N). Return shape (P,). (5 minutes)

# %%
def kl_to_reference(logp, ref_logp):
    """KL[π‖π_ref] in nats: shape (P,)."""
    # YOUR CODE HERE
    raise NotImplementedError()


# %%
check_kl_to_reference(kl_to_reference)


# %% [markdown]
# ### Exercise ★★ · objective
#
# Equation 3 for each prompt, from `logp`, `ref_logp` and `reward` of shape (P, N) and a number `beta`. You may use your
# `kl_to_reference`. Return shape (P,). (5 minutes)

# %%
def objective(logp, ref_logp, reward, beta):
    """E_π[r] − β KL[π‖π_ref]: shape (P,)."""
    # YOUR CODE HERE
    raise NotImplementedError()


# %%
check_objective(objective)


# %% [markdown]
# ### Exercise ★★ · k3_estimate
#
# $k_3$ for each of B samples drawn from $\pi$. `logp` and `ref_logp` are $\log \pi(y \mid x)$ and
# $\log \pi_{\text{ref}}(y \mid x)$ of the samples, each of shape (B,). Return shape (B,). (5 minutes)

# %%
def k3_estimate(logp, ref_logp):
    """ρ − 1 − log ρ with ρ = π_ref(y|x)/π(y|x), for samples y ~ π: shape (B,)."""
    # YOUR CODE HERE
    raise NotImplementedError()


# %%
check_k3_estimate(k3_estimate)


# %% [markdown]
# ### Exercise ★★★ · objective_gradient
#
# The exact gradient of equation 3 by the logits $\theta$ of a table, $\pi = \mathrm{softmax}(\theta)$, without autograd and
# without looking up. `logits`, `ref_logp`, `reward` have shape (P, N); the logits are not normalised. Each prompt has its own
# objective. Return shape (P, N). (15 minutes)

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
widgets.Quiz(
    "A policy never says some of the things that its reference says, and adds nothing new. What is KL[π‖π_ref]?",
    {
        "Infinite.": "That is the forward KL. A response with π(y|x) = 0 adds nothing to an average under π.",
        "Finite.": "An average under π does not see what π never says; if the rest is shared out alike, it is −log of the probability kept.",
        "Zero.": "Zero only when the two policies are equal. The probability that was dropped must have gone elsewhere.",
    },
    right="Finite.",
)

# %%
widgets.Quiz(
    "You double β. What happens to the policy that maximises equation 3?",
    {
        "It moves closer to the reference and earns less reward.": "A nat now costs twice as much, so only the best-paid nats are still worth it.",
        "It moves away from the reference.": "β is the price of moving away, not a licence to do so.",
        "Nothing, β is only a scale.": "Only if the reward is doubled too. Alone, β changes the exchange rate.",
    },
    right="It moves closer to the reference and earns less reward.",
)

# %%
widgets.Quiz(
    "A log shows k3 from samples of π, but with ρ = π/π_ref. What do you see?",
    {
        "Negative numbers, so you notice.": "k3 is never negative, whichever way the ratio stands. That is why nobody notices.",
        "KL[π_ref‖π].": "For that the samples would have to come from π_ref as well.",
        "Positive numbers that are not a KL.": "Their mean is E_π[π/π_ref] − 1 − KL[π‖π_ref]: neither direction of the KL.",
    },
    right="Positive numbers that are not a KL.",
)

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
# | $A(y)$ | `reward - beta * (logp - ref_logp)` | (P, N) | 3 |
# | $\partial J/\partial \theta$ | `exact_gradient(logits, ref_logp, reward, beta)` | (P, N) | – |
# | $k_1, k_2, k_3$ | `estimators(logp, ref_logp)` | (N,) | – |
#
# Next: chapter 04 finds the summit of this hill without a single step, for every $\beta$ at once.
