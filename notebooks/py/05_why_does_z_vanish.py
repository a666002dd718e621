# %% [markdown]
# # 05 · Why does Z vanish?
#
# Chapter 04 found the best policy, and it has $Z(x)$ in it: a sum over every response there is. For a language model
# with 50,257 tokens and answers of 100 tokens that sum has more than $10^{470}$ terms. Nobody will ever compute it. Yet
# DPO trains towards exactly that policy on a laptop. This chapter shows where $Z(x)$ goes: it is not estimated and not
# left out, it cancels.
#
# **Write down a prediction first.** We will train a GPT-2 on comparisons and never show it a reward. Call it $\pi_\theta$, and the GPT-2 it started from $\pi_{\text{ref}}$. Then we take
# $\beta \log(\pi_\theta(y \mid x)/\pi_{\text{ref}}(y \mid x))$ of all 14,641 responses and draw it against the true
# reward: one picture a prompt, three prompts. Will there be a line? With which slope? Through zero? And will the three
# pictures be the same?
#
# | after this chapter you can | |
# |---|---|
# | turn the optimal policy around and read a reward off it (equation 5) | 5 min |
# | show why two responses to one prompt need no $Z(x)$ (equation 6) | 5 min |
# | say which rewards are the same reward to preferences and to π*, and prove it | 15 min |
# | read the reward back off a trained GPT-2, and say what may not be compared | 10 min |
#
# You need chapter 01 (Bradley–Terry, equation 1) and chapter 04 (the optimal policy, equation 4). Symbols as there:
# prompt $x$, response $y$, reward $r(x, y)$ in nats, true reward $r^*$, policy $\pi$, reference policy
# $\pi_{\text{ref}}$, price of straying $\beta > 0$, logistic function $\sigma$; $a \succ b$ reads "a is preferred to
# b".

# %%
import math

import ipywidgets
import torch

from dpo_book import *
from dpo_book import plots, widgets
from dpo_book.checks.implicit import (
    check_canonical_reward,
    check_preference_of_policy,
    check_reward_of_policy,
)
from dpo_book.worlds.references import verdicts_reference
from dpo_book.worlds.verdicts import draw_comparisons, verdicts

setup(seed=0)
world, reference = verdicts(), verdicts_reference()
with torch.no_grad():
    ref_logp = world.logp(reference).double()  # log π_ref(y|x), (3, 14641)

# %%
print(f"responses of 100 tokens: 50257^100 = 10^{100 * math.log10(50257):.1f}")
assert 100 * math.log10(50257) > 470

# %% [markdown]
# ## Three responses, by hand
#
# One prompt, three responses, $\beta = 1$. The reference says them with probabilities 1/2, 1/4, 1/4. Their rewards are
# $0$, $\ln 2$ and $\ln 4$, so that $e^{r}$ is 1, 2, 4. Equation 4 multiplies: $1/2 \cdot 1$, $1/4 \cdot 2$,
# $1/4 \cdot 4$. These sum to $Z = 2$, and dividing by it gives $\pi^* = (1/4, 1/4, 1/2)$.
#
# Now go backwards, from the two policies alone. Look at the last column: it is the reward, too low by the same number
# everywhere.

# %%
r = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64).log()
p_ref = torch.tensor([1 / 2, 1 / 4, 1 / 4], dtype=torch.float64)
weights = p_ref * r.exp()  # β = 1
z = weights.sum()
p_star = weights / z
print("  r      π_ref    π*     log(π*/π_ref)")
for row in zip(r, p_ref, p_star, (p_star / p_ref).log()):
    print("{:.4f}   {:.2f}    {:.2f}    {:7.4f}".format(*row))
print(f"log Z = {z.log():.4f}")
assert torch.allclose((p_star / p_ref).log(), r - math.log(2), atol=1e-12)

# %% [markdown]
# The difference is $\log Z = \ln 2$. Two policies that you can look at, and one number that you cannot, make up the
# reward.
#
# ## Equation 5: turn the optimal policy around
#
# Let $\pi_r$ be the optimal policy for a reward $r$. Equation 4 says
#
# $$\pi_r(y \mid x) = \frac{1}{Z(x)}\, \pi_{\text{ref}}(y \mid x)\, e^{r(x, y)/\beta}, \qquad
# Z(x) = \sum_{y} \pi_{\text{ref}}(y \mid x)\, e^{r(x, y)/\beta}. \tag{4}$$
#
# Solve it for $r$:
#
# 1. $\log \pi_r(y \mid x) = \log \pi_{\text{ref}}(y \mid x) + r(x, y)/\beta - \log Z(x)$: take logarithms. That is
#    allowed because $\pi_{\text{ref}}(y \mid x) > 0$ for every $y$.
# 2. $r(x, y)/\beta = \log \pi_r(y \mid x) - \log \pi_{\text{ref}}(y \mid x) + \log Z(x)$: move two terms to the other
#    side.
# 3. $r(x, y) = \beta \log \dfrac{\pi_r(y \mid x)}{\pi_{\text{ref}}(y \mid x)} + \beta \log Z(x)$: multiply by β; a
#    difference of logarithms is the logarithm of the ratio. **This is equation 5.**
#
# The first term is the **implicit reward** $\hat r(x, y)$. The second depends on $x$ only. We check it in the world of
# film verdicts: three prompts, all 14,641 responses to each, three values of β. `world.rewards` holds $r^*$.

# %% tags=["eq-5"]
for beta in (0.3, 1.0, 2.0):
    star = optimal_logp(ref_logp, world.rewards, beta)  # equation 4
    log_z = log_partition(ref_logp, world.rewards, beta)  # one number a prompt, (3,)
    from_policies = beta * (star - ref_logp) + beta * log_z[:, None]  # equation 5
    error = (from_policies - world.rewards).abs().max()
    print(
        f"β = {beta}: {from_policies.numel()} rewards recovered, largest error below 10^-10: {error < 1e-10}"
    )
    assert error < 1e-10
    assert torch.allclose(implicit_reward(star, ref_logp, beta), beta * (star - ref_logp))

# %% [markdown]
# Every reward comes back, provided we know $Z(x)$. Here we do, because this world can be listed.
#
# ## Equation 6: and now Z vanishes
#
# People compare two responses $y_1$ and $y_2$ to the *same* prompt. Bradley–Terry (equation 1) gives the probability
# that they prefer the first. Put equation 5 into it:
#
# 1. $p^*(y_1 \succ y_2 \mid x) = \dfrac{e^{r^*(x, y_1)}}{e^{r^*(x, y_1)} + e^{r^*(x, y_2)}}$: equation 1.
# 2. $= \dfrac{1}{1 + e^{\,r^*(x, y_2) - r^*(x, y_1)}}$: divide top and bottom by $e^{r^*(x, y_1)}$.
# 3. $r^*(x, y_2) - r^*(x, y_1) = \beta \log \dfrac{\pi^*(y_2 \mid x)}{\pi_{\text{ref}}(y_2 \mid x)} + \beta \log Z(x) -
#    \beta \log \dfrac{\pi^*(y_1 \mid x)}{\pi_{\text{ref}}(y_1 \mid x)} - \beta \log Z(x)$: equation 5, once for each
#    response, with $\pi^*$ the optimal policy for $r^*$.
# 4. $\beta \log Z(x) - \beta \log Z(x) = 0$: **both responses answer the same prompt, so it is the same $Z(x)$.**
# 5. $p^*(y_1 \succ y_2 \mid x) = \dfrac{1}{1 + \exp\left(\beta \log \dfrac{\pi^*(y_2 \mid x)}{\pi_{\text{ref}}(y_2
#    \mid x)} - \beta \log \dfrac{\pi^*(y_1 \mid x)}{\pi_{\text{ref}}(y_1 \mid x)}\right)}$: put 3 and 4 into 2. **This
#    is equation 6.**
#
# Step 4 is the whole trick of DPO. On the left stands what people do. On the right stand four log-probabilities that
# any language model can give, and no sum over responses. We draw 100,000 pairs and compute both sides.

# %% tags=["eq-6"]
generator = torch.Generator().manual_seed(0)
x = torch.randint(3, (100_000,), generator=generator)
y1, y2 = torch.randint(len(world.responses), (2, 100_000), generator=generator)
true_p = preference_probability(world.rewards[x, y1], world.rewards[x, y2])  # equation 1
for beta in (0.3, 1.0, 2.0):
    star = optimal_logp(ref_logp, world.rewards, beta)
    ratio_1, ratio_2 = (star - ref_logp)[x, y1], (star - ref_logp)[x, y2]
    from_policies = 1 / (1 + (beta * ratio_2 - beta * ratio_1).exp())  # equation 6
    logps = star[x, y1], star[x, y2], ref_logp[x, y1], ref_logp[x, y2]
    assert torch.allclose(policy_preference_probability(*logps, beta), from_policies, atol=1e-10)
    error = (from_policies - true_p).abs().max()
    print(f"β = {beta}: largest difference to equation 1 below 10^-10: {error < 1e-10}")
    assert error < 1e-10

# %% [markdown]
# Both sides agree for every pair and every β. The preferences do not depend on β at all: with a smaller β the two log-ratios lie farther apart, and β times their difference stays the same.
#
# ## Rewards that are the same reward
#
# $Z(x)$ vanished because it adds one number to all rewards of a prompt. Nothing is special about that number. Take any
# function $f(x)$ of the prompt.
#
# **Definition** ([Rafailov et al. 2023](https://arxiv.org/abs/2305.18290), section 5.1). Two rewards $r$ and $r'$ are
# **equivalent** if $r'(x, y) - r(x, y) = f(x)$ for some $f$ of the prompt alone. All rewards that are equivalent to each
# other make a **class**.
#
# It is a class in the full sense: $r$ is equivalent to itself ($f = 0$), the relation can be turned around ($-f$), and
# it can be chained ($f + g$). So every reward belongs to exactly one class.
#
# **Lemma 1.** Equivalent rewards give the same preferences.
#
# 1. $r'(x, y_1) - r'(x, y_2) = r(x, y_1) + f(x) - r(x, y_2) - f(x)$: definition.
# 2. $= r(x, y_1) - r(x, y_2)$: $f(x)$ cancels.
# 3. Equation 1 sees $r$ only through this difference, since $p(y_1 \succ y_2 \mid x) = \sigma(r(x, y_1) - r(x, y_2))$.
#
# We draw $f$ at random, a hundred times for all three prompts. For contrast, the same with a shift that depends on the
# response.

# %%
for _ in range(100):
    f = 5 * torch.randn(3, 1, generator=generator, dtype=torch.float64)  # one number a prompt
    shifted = world.rewards + f
    p = preference_probability(shifted[x, y1], shifted[x, y2])
    assert torch.allclose(p, true_p, atol=1e-10)
bent = world.rewards + torch.randn(world.rewards.shape, generator=generator, dtype=torch.float64)
change = (preference_probability(bent[x, y1], bent[x, y2]) - true_p).abs()
print("f(x), 100 draws: no preference moved")
print(f"f(x, y), 1 draw: preferences moved by {change.mean():.2f} on average")
assert change.mean() > 0.1

# %% [markdown]
# The other direction holds too. If two rewards give the same preferences, then by step 3 they have the same
# differences, and $f(x) = r'(x, y_0) - r(x, y_0)$ is the same number for whichever $y_0$ you take. So preferences tell
# the class, all of it, and nothing more. Here it is read off them: compare every response with one fixed $y_0$; the
# log-odds $\log(p/(1 - p))$ undo $\sigma$ and give $r(x, y) - r(x, y_0)$, a member of the class.

# %%
y0 = world.responses.index("dull dull dull dull")
against_y0 = preference_probability(world.rewards, world.rewards[:, [y0]])  # p(y ≻ y_0), (3, 14641)
f = torch.logit(against_y0) - world.rewards
print("r*(x, y) recovered for every y, up to f(x) =", f[:, 0])
assert torch.allclose(f, f[:, :1].expand_as(f), atol=1e-10)


# %% [markdown]
# That $f(x)$ is $-r^*(x, y_0)$, which no comparison can tell.
#
# The paper states Lemma 1 for rankings as well (Plackett–Luce: pick the best by softmax of the rewards, then the best
# of the rest, and so on). Each pick is a softmax, and a softmax does not change when all its inputs rise by $f(x)$.

# %%
def ranking_probability(rewards):
    """Plackett–Luce: probability of the ranking 0 ≻ 1 ≻ 2 ≻ ...; rewards (..., K)."""
    picks = [rewards[..., k:].log_softmax(dim=-1)[..., 0] for k in range(rewards.shape[-1])]
    return sum(picks).exp()


four = torch.tensor([1.0, 0.5, 0.0, -1.0], dtype=torch.float64)
print(f"r: {ranking_probability(four):.4f}   r + 3: {ranking_probability(four + 3):.4f}")
assert torch.isclose(ranking_probability(four), ranking_probability(four + 3), atol=1e-12)

# %% [markdown]
# **Lemma 2.** Equivalent rewards have the same optimal policy.
#
# 1. $Z'(x) = \sum_y \pi_{\text{ref}}(y \mid x)\, e^{(r(x, y) + f(x))/\beta} = e^{f(x)/\beta} Z(x)$: the factor does not
#    depend on $y$ and leaves the sum.
# 2. $\pi_{r'}(y \mid x) = \dfrac{\pi_{\text{ref}}(y \mid x)\, e^{r(x, y)/\beta}\, e^{f(x)/\beta}}{e^{f(x)/\beta} Z(x)}$:
#    equation 4 for $r' = r + f$.
# 3. $= \pi_r(y \mid x)$: the factor cancels.
#
# Look at both halves: $\log Z(x)$ moves by exactly $f(x)/\beta$, here twice $f(x)$, and the policy not at all.

# %%
beta = 0.5
star, log_z = (
    optimal_logp(ref_logp, world.rewards, beta),
    log_partition(ref_logp, world.rewards, beta),
)
for _ in range(20):
    f = (5 * torch.randn(3, 1, generator=generator, dtype=torch.float64)).round(decimals=1)
    moved = log_partition(ref_logp, world.rewards + f, beta) - log_z
    assert torch.allclose(moved, f[:, 0] / beta, atol=1e-10)  # step 1
    assert torch.allclose(optimal_logp(ref_logp, world.rewards + f, beta), star, atol=1e-10)  # 3
print("the last f(x):        ", f[:, 0])
print("log Z(x) moved by:    ", moved)
print("π* moved by:           0 (to 10^-10), for each of 20 f and all 3 prompts")

# %% [markdown]
# Here, too, the other direction holds: equal optimal policies at one β mean, by equation 5, that
# $r' - r = \beta \log Z'(x) - \beta \log Z(x)$, a function of $x$ alone.
#
# So the two things that matter, what people prefer and which policy is best, are properties of the *class*. To ask for
# "the" reward behind preferences is like asking for "the" height of a mountain without saying from where.
#
# **Theorem 1.** Let $\pi_{\text{ref}}(y \mid x) > 0$ everywhere and $\beta > 0$. Then every class holds exactly one
# reward of the form $\beta \log(\pi(y \mid x)/\pi_{\text{ref}}(y \mid x))$ with a policy $\pi$.
#
# *At least one.* Take any $r$ of the class.
#
# 1. $\bar r(x, y) = r(x, y) - \beta \log Z(x)$ is in the same class: the difference is a function of $x$.
# 2. $\bar r(x, y) = \beta \log(\pi_r(y \mid x)/\pi_{\text{ref}}(y \mid x))$: equation 5.
#
# *At most one.* Let $\beta \log(\pi/\pi_{\text{ref}})$ and $\beta \log(\pi'/\pi_{\text{ref}})$ be in the same class.
#
# 3. $\beta \log \pi'(y \mid x) - \beta \log \pi(y \mid x) = f(x)$: their difference; $\pi_{\text{ref}}$ cancels.
# 4. $\pi'(y \mid x) = \pi(y \mid x)\, e^{f(x)/\beta}$: divide by β, take the exponential.
# 5. $1 = 1 \cdot e^{f(x)/\beta}$: sum over all $y$; both are probabilities.
# 6. $f(x) = 0$, so the two are one. ∎
#
# The theorem in numbers. We start at four very different members of one class and take $\bar r$ of each: it must be the
# same four times, for every prompt and response. One of them is printed.

# %%
beta = 0.5
shifts = [0.0] + [torch.randn(3, 1, generator=generator, dtype=torch.float64) for _ in range(3)]
members = [world.rewards + 5 * f for f in shifts]
representatives = [r - beta * log_partition(ref_logp, r, beta)[:, None] for r in members]
r_bar = representatives[0]
for member, other in zip(members, representatives):
    print(
        f"r(x, y_0) = {member[0, y0]:7.4f}   r̄(x, y_0) ≈ {other[0, y0]:.2f}   for x = {world.prompts[0]}"
    )
    assert torch.allclose(other, r_bar, atol=1e-10)

# %% [markdown]
# The same from all four. Now solve $\bar r = \beta \log(\pi/\pi_{\text{ref}})$ for $\pi$: is it a policy? And what is
# special about $\bar r$ among the members? Look at its $Z(x)$.

# %%
pi = (ref_logp + r_bar / beta).exp()
for name, sums in (
    ("Σ_y π(y|x)", pi.sum(dim=1)),
    ("Z(x) of r̄", log_partition(ref_logp, r_bar, beta).exp()),
):
    print(f"{name:10} =", "  ".join(f"{value:.4f}" for value in sums))
assert torch.allclose(pi.sum(dim=1), torch.ones(3, dtype=torch.float64), atol=1e-10)
assert log_partition(ref_logp, r_bar, beta).abs().max() < 1e-10

# %% [markdown]
# π sums to 1, and the representative is the member of the class with $Z(x) = 1$ for every prompt. That is why DPO may
# put $\beta \log(\pi_\theta/\pi_{\text{ref}})$, with $\pi_\theta$ the model that it trains ($\theta$: its weights), in
# the place of a reward and lose nothing: whatever class people's preferences come from, exactly one policy carries it.
#
# ## See it move, and not move
#
# A small example that fits into one picture: five responses to one prompt.

# %%
labels = ["great", "good", "not bad", "dull", "bad"]
five = torch.tensor([2.0, 1.0, 0.5, -1.0, -1.5], dtype=torch.float64)
five_ref = torch.tensor([0.1, 0.3, 0.3, 0.2, 0.1], dtype=torch.float64)
for label, reward, p in zip(labels, five, five_ref):
    print(f"{label:8} r = {reward:4.1f}   π_ref = {p:.1f}")


# %% [markdown]
# In the figure, left: the rewards after a shift $f$ in pink, before it dashed, and the implicit reward of the optimal
# policy in green. Middle: the preferences. Right: the optimal policy. Both are computed from the *shifted* rewards.

# %%
def shifted(f, beta):
    reward = five + f  # all that follows is computed from this
    star = optimal_logp(five_ref.log(), reward, beta)
    preferences = preference_probability(reward[:, None], reward[None, :])
    log_z = log_partition(five_ref.log(), reward, beta)
    title = f"f(x) = {f:.1f}, β = {beta:.2f}: β log Z(x) = {beta * log_z:.2f}"
    implicit = implicit_reward(star, five_ref.log(), beta)
    policies = five_ref, star.exp()
    return plots.shifted_rewards(labels, five, reward, implicit, preferences, *policies, title)


shifted(2.0, 1.0)

# %% [markdown]
# The pink bars stand 2 nats above the dashed ones. Middle and right know nothing of it. Before you move the sliders:
# which of the three panels, and which of the marks on the left, will react to $f$? Which to β?

# %%
widgets.slider_figure(
    shifted,
    f=ipywidgets.FloatSlider(value=2.0, min=-3, max=3, step=0.1, description="f(x)"),
    beta=ipywidgets.FloatLogSlider(
        value=1.0, base=10, min=-0.7, max=0.7, step=0.05, description="β"
    ),
)

# %% [markdown]
# $f$ moves the pink bars and the number $\beta \log Z(x)$ in the title, by the same amount, and nothing else. β moves the
# policy, and with it the green diamonds: but all of them together, by one number. They stay in the class. The
# preferences do not move at all. In numbers, at the ends of both sliders:

# %%
differences = five - five[0]
for f in (-3.0, 3.0):
    for beta in (0.2, 5.0):
        star = optimal_logp(five_ref.log(), five + f, beta)
        implicit = implicit_reward(star, five_ref.log(), beta)
        print(
            f"f = {f:4.1f}, β = {beta:.1f}: π*(great) = {star[0].exp():.4f}, r̂(great) = {implicit[0]:.4f}, "
            f"r̂(great) − r̂(bad) = {implicit[0] - implicit[4]:.4f}"
        )
        assert torch.allclose(implicit - implicit[0], differences, atol=1e-10)

# %% [markdown]
# ## Read the reward off a trained GPT-2
#
# So far π* came from its formula. Now a GPT-2 gets there by training. The comparisons are drawn from $r^*$ as in
# chapter 07, with **soft labels**: each pair comes with the probability that its first response is preferred, as if
# very many people had been asked. The policy sees pairs and these probabilities, no reward, no $Z$.

# %%
beta, steps, batch_size = 1.0, 300, 128
pairs, ref_logps = draw_comparisons(world, ref_logp, steps * batch_size, labels="soft", seed=0)
policy = copy_policy(reference)
config = DPOConfig(beta=beta, learning_rate=2e-3, batch_size=batch_size, steps=steps)
records = list(train_dpo(policy, reference, pairs, config, ref_logps))
with torch.no_grad():
    logp = world.logp(policy).double()
implicit = implicit_reward(logp, ref_logp, beta)  # r̂(x, y), (3, 14641)

# %% [markdown]
# Three prompts, one picture each, all responses in it. A dot is as large as the response is likely under the reference.
# Dashed is what equation 5 demands: slope 1, and $-\beta \log Z(x)$ where the true reward is 0.

# %%
log_z = log_partition(ref_logp, world.rewards, beta)
panels = {
    prompt: (world.rewards[i], implicit[i], ref_logp[i].exp())
    for i, prompt in enumerate(world.prompts)
}
offsets = {prompt: -beta * log_z[i].item() for i, prompt in enumerate(world.prompts)}
plots.reward_read_back(panels, offsets)


# %% [markdown]
# Compare with your prediction. There is a line, its slope is about 1, it misses zero, and it misses it by another amount
# for every prompt. In numbers: a straight line fitted to the dots, each counting by its probability, and the distance
# between $\hat r$ and $r^*$ averaged in the same way.

# %%
def fitted_slope(true, implicit, probability):
    """Slope of the least-squares line, each response weighted by its probability; (N,) each."""
    probability = probability / probability.sum()
    centred = true - (probability * true).sum()
    return (probability * centred * implicit).sum() / (probability * centred**2).sum()


for i, prompt in enumerate(world.prompts):
    p = ref_logp[i].exp()
    slope = fitted_slope(world.rewards[i], implicit[i], p)
    offset = (p * (implicit[i] - world.rewards[i])).sum()
    print(
        f"{prompt:11} slope ≈ {slope:.2f}   offset ≈ {offset:5.2f}   −β log Z ≈ {-beta * log_z[i]:5.2f}"
    )
    assert 0.85 < slope < 1.1 and abs(offset + beta * log_z[i]) < 0.12

# %% [markdown]
# The policy has become a reward model, up to the one number a prompt that preferences cannot tell. The subtitle of the
# DPO paper says so: "Your Language Model is Secretly a Reward Model". The slope falls a little short of 1: 300 steps are a short training. Set
# `steps = 1000`, run the cells again, and see whether it comes closer.
#
# Equation 6 turns the same policy into a judge of pairs. We ask it about pairs drawn from the reference and compare
# with $p^*$. Look at how much better it is than saying 1/2 to everything.

# %%
for i, prompt in enumerate(world.prompts):
    a, b = torch.multinomial(
        ref_logp[i].exp(), 20_000, replacement=True, generator=generator
    ).chunk(2)
    p = preference_probability(world.rewards[i, a], world.rewards[i, b])
    judged = policy_preference_probability(
        logp[i, a], logp[i, b], ref_logp[i, a], ref_logp[i, b], beta
    )
    error, ignorance = (judged - p).abs().mean(), (0.5 - p).abs().mean()
    print(
        f"{prompt:11} mean |p̂ − p*| ≈ {error:.2f}, of a judge who always says 1/2 ≈ {ignorance:.2f}"
    )
    assert error < 0.08 < ignorance

# %% [markdown]
# ## Two prompts, two Z's
#
# In this world the true reward of a verdict is the same for all three prompts: VADER, the sentiment analyser whose opinion $r^*$ is, has none of acting or plots.
# So a verdict to "the acting" and the same verdict to "the ending" should get the same reward. Equation 5 says that the
# implicit rewards differ all the same:
#
# 1. $\hat r(x_1, y) = r^*(x_1, y) - \beta \log Z(x_1)$ and $\hat r(x_2, y) = r^*(x_2, y) - \beta \log Z(x_2)$: equation 5,
#    one prompt at a time.
# 2. $\hat r(x_1, y) - \hat r(x_2, y) = -\beta(\log Z(x_1) - \log Z(x_2))$ where $r^*(x_1, y) = r^*(x_2, y)$: subtract.
#
# Nothing cancels now. Look at the numbers for one verdict, first for the exact optimum.

# %%
verdict = world.responses.index("very good but great")
star_implicit = implicit_reward(optimal_logp(ref_logp, world.rewards, beta), ref_logp, beta)
for i, prompt in enumerate(world.prompts):
    print(
        f"{prompt + ':':12} very good but great   r* = {world.rewards[i, verdict]:.4f}   "
        f"r̂ of π* ≈ {star_implicit[i, verdict]:.2f}   r̂ of the GPT-2 ≈ {implicit[i, verdict]:.2f}"
    )
gap = beta * (log_z[0] - log_z[1])
print(f"β(log Z(the acting) − log Z(the ending)) ≈ {gap:.2f} nats")
assert torch.equal(world.rewards[0], world.rewards[1])
assert torch.allclose(star_implicit[1] - star_implicit[0], gap.expand(14641), atol=1e-10)
assert gap > 0.15

# %% [markdown]
# The same praise earns more at "the ending". Critics in this world dislike endings, so the reference says little good
# of them, $Z$ is small there, and praise has farther to rise. $\beta \log Z(x)$ is the zero from which $\hat r$ counts.
# It lies between the reference's expected reward (Jensen's inequality: the logarithm of a mean is at least the mean of
# the logarithms) and the largest reward:

# %%
mean, most = (ref_logp.exp() * world.rewards).sum(dim=1), world.rewards.max(dim=1).values
for i, prompt in enumerate(world.prompts):
    print(
        f"{prompt:11} E[r*] under π_ref ≈ {mean[i]:5.2f}   β log Z ≈ {beta * log_z[i]:.2f}   "
        f"largest r* = {most[i]:.4f}"
    )
assert (mean < beta * log_z).all() and (beta * log_z < most).all()


# %% [markdown]
# How often does that turn a ranking around? Draw one response to each of two prompts from the reference and ask which
# has more reward. Even the exact optimum gets some of them wrong.

# %%
def draw(i):
    """50,000 responses of the reference to prompt i, as indices."""
    p_ref = ref_logp[i].exp()
    return torch.multinomial(p_ref, 50_000, replacement=True, generator=generator)


for i, j in ((0, 0), (0, 1), (0, 2)):
    a, b = draw(i), draw(j)
    true_gap = world.rewards[i, a] - world.rewards[j, b]
    implicit_gap = star_implicit[i, a] - star_implicit[j, b]
    corrected = implicit_gap + beta * (log_z[i] - log_z[j])
    wrong = 100 * (true_gap * implicit_gap < -1e-9).double().mean()
    one, other = world.prompts[i], world.prompts[j]
    print(f"{one} against {other:11} ranked the wrong way: ≈ {wrong:.1f} %")
    assert (wrong == 0) == (i == j)
    assert torch.allclose(corrected, true_gap, atol=1e-10)

# %% [markdown]
# Within one prompt: none. Across prompts: a part of them, with a policy that is *exactly* optimal. Adding the two
# $\beta \log Z$ back mends it, and nobody has them for a real model.
#
# ## What could go wrong
#
# **"The implicit reward of my answer is 3.1 here and 1.2 there, so the first answer is better."** Only if both answer the
# same prompt. Differences within a prompt are safe; sorting a data set by $\hat r$ across prompts is not. The same holds
# if chosen and rejected were written for different prompts, for instance under two system messages: then step 4 of
# equation 6 fails, and the loss compares two numbers with different zeros.
#
# **"DPO ignores Z, so it is an approximation."** It is not: $\beta \log Z(x) - \beta \log Z(x)$ is zero exactly. The two
# assertions to $10^{-10}$ above would fail for an approximation.
#
# **"Some responses have $\pi_{\text{ref}} = 0$."** Then step 1 of equation 5 takes the logarithm of zero. Whatever the
# reward there, the optimal policy gives it nothing, so two rewards from different classes share one optimal policy and
# the theorem fails. In practice this happens when tokens are masked out of the reference (top-k, banned words), with
# log-probabilities of minus infinity:

# %%
banned = torch.tensor(
    [0.5, 0.5, 0.0], dtype=torch.float64
).log()  # the third response is masked out
optima = []
for r in (torch.tensor([0.0, 1.0, 100.0]), torch.tensor([0.0, 1.0, -100.0])):
    optima.append(optimal_logp(banned, r.double(), beta=1.0))
    print("r =", r, "  π* =", optima[-1].exp(), "  r̂ =", implicit_reward(optima[-1], banned, 1.0))
assert torch.equal(optima[0], optima[1])  # two classes, one optimal policy
assert implicit_reward(optima[0], banned, 1.0)[2].isnan()

# %% [markdown]
# **"My logged rewards are ten times too large."** Then β may be missing: some code logs $\log(\pi_\theta/\pi_{\text{ref}})$
# under the name of rewards. That is $\hat r/\beta$. At $\beta = 0.1$ it has the slope 10:

# %%
star = optimal_logp(ref_logp, world.rewards, 0.1)
p = ref_logp[0].exp()
for name, values in (
    ("β log(π*/π_ref)", 0.1 * (star - ref_logp)),
    ("log(π*/π_ref)", star - ref_logp),
):
    slope = fitted_slope(world.rewards[0], values[0], p)
    print(f"{name:16} slope against r*: {slope:.4f}")
assert abs(slope - 10) < 1e-5

# %% [markdown]
# **"I trust the implicit reward everywhere."** It is learned where comparisons are drawn, and those are mostly of
# responses that the reference says. Most of the 14,641 are word salad. Let all of them count equally and the slope is
# farther from 1:

# %%
even = torch.ones(len(world.responses), dtype=torch.float64)
for i, prompt in enumerate(world.prompts):
    slopes = [fitted_slope(world.rewards[i], implicit[i], w) for w in (ref_logp[i].exp(), even)]
    print(
        f"{prompt:11} slope where the reference speaks ≈ {slopes[0]:.2f}, everywhere ≈ {slopes[1]:.2f}"
    )
    assert slopes[1] < slopes[0] - 0.05


# %% [markdown]
# ## Exercises
#
# Replace the line that raises an error, run the cell, then run the check below it. The check tells you what it sees.
#
# ### Exercise ★ · reward_of_policy
#
# Write the implicit reward $\hat r(x, y) = \beta \log(\pi(y \mid x)/\pi_{\text{ref}}(y \mid x))$, the part of equation 5
# that needs no $Z$. `logp` and `ref_logp` are log-probabilities of N responses to one prompt, shape (N,); `beta` is a number. Return shape (N,).

# %%
def reward_of_policy(logp, ref_logp, beta):
    """log π(y|x), log π_ref(y|x), both (N,) → implicit rewards (N,)."""
    # YOUR CODE HERE
    raise NotImplementedError()


# %%
check_reward_of_policy(reward_of_policy)


# %% [markdown]
# ### Exercise ★★ · preference_of_policy
#
# Write equation 6: the probability that response a is preferred to response b, from log-probabilities alone. The first
# four arguments have shape (B,), one entry a pair; `beta` is a number. Return shape (B,).

# %%
def preference_of_policy(logp_a, logp_b, ref_logp_a, ref_logp_b, beta):
    """log π and log π_ref of responses a and b, all (B,) → p(a ≻ b), (B,)."""
    # YOUR CODE HERE
    raise NotImplementedError()


# %%
check_preference_of_policy(preference_of_policy)


# %% [markdown]
# ### Exercise ★★★ · canonical_reward
#
# Theorem 1 as a function. Given some reward of a class, return the one member that has the form
# $\beta \log(\pi/\pi_{\text{ref}})$. `reward` and `ref_logp` hold all N responses to each of P prompts, shape (P, N);
# `beta` is a number. Return shape (P, N). Write the sum over responses yourself, in a way that survives rewards of
# ±1000: `torch.logsumexp` does.

# %%
def canonical_reward(reward, ref_logp, beta):
    """Rewards (P, N), log π_ref(y|x) (P, N) → the member β log(π/π_ref) of the class, (P, N)."""
    # YOUR CODE HERE
    raise NotImplementedError()


# %%
check_canonical_reward(canonical_reward)

# %% [markdown]
# ## Quiz

# %%
widgets.Quiz(
    "Why does Z(x) not stand in equation 6?",
    {
        "It is close to 1 for a good policy.": "Z(x) belongs to the reward and the reference, and may be any number "
        "above 0. It is 1 only for the representative of Theorem 1.",
        "It cancels, because both responses answer the same prompt.": "Equation 5 adds β log Z(x) to both rewards, "
        "and Bradley–Terry sees only their difference.",
        "DPO drops it to save time.": "Dropping it would be an approximation. Equation 6 holds to 10^-10 above.",
        "It is learned along with the policy.": "There is no parameter for it. The loss never sees it.",
    },
    right="It cancels, because both responses answer the same prompt.",
)

# %%
widgets.Quiz(
    "Reward r and price β are both doubled. What stays the same?",
    {
        "The preferences.": "Differences of rewards double, so equation 1 moves: σ(2) is not σ(1).",
        "The optimal policy.": "Equation 4 sees r and β only as r/β. But 2r is not in the class of r: people with "
        "reward 2r agree with each other more.",
        "Both.": "That would need 2r − r = r to be a function of x alone, and it depends on y.",
        "Neither.": "Look at equation 4: r enters only as r/β, and that ratio has not changed.",
    },
    right="The optimal policy.",
)

# %%
widgets.Quiz(
    "You want the best of eight answers to one prompt, and have a DPO policy and its reference. May you take the one "
    "with the largest β log(π/π_ref)?",
    {
        "Yes.": "All eight share one Z(x), so the order is that of the learned reward. How good it is depends on "
        "training, not on Z.",
        "No, Z(x) is unknown.": "It is unknown and the same for all eight: it moves all of them by one number and "
        "leaves their order alone.",
        "Only if β = 1.": "Any β above 0 multiplies all eight by one positive number and keeps their order.",
    },
    right="Yes.",
)

# %% [markdown]
# ## Recap
#
# | symbol | in code | shape | equation |
# |---|---|---|---|
# | $p^*(y_1 \succ y_2 \mid x)$ | `preference_probability(reward_a, reward_b)` | (B,) | 1 |
# | $\pi_r$, $\pi^*$ | `optimal_logp(ref_logp, reward, beta)` | (P, N) | 4 |
# | $\log Z(x)$ | `log_partition(ref_logp, reward, beta)` | (P,) | 4, 5 |
# | $\hat r(x, y) = \beta \log(\pi/\pi_{\text{ref}})$ | `implicit_reward(logp, ref_logp, beta)` | (P, N) | 5 |
# | $p^*$ from policies | `policy_preference_probability(logp_a, logp_b, ref_logp_a, ref_logp_b, beta)` | (B,) | 6 |
# | $f(x)$ | `f` | (P, 1) | Lemmas 1, 2 |
# | $\bar r = r - \beta \log Z$ | `r_bar` | (P, N) | Theorem 1 |
#
# Preferences and π* belong to a class of rewards, each class has one member that is a policy in disguise, and within a
# prompt its $Z$ is never needed.
#
# Next: chapter 06 asks people's choices to be as likely as possible under equation 6, and that is the DPO loss.
