# %% [markdown]
# # 05 · Why does Z vanish?
#
# Chapter 04 found the best policy, and it has $Z(x)$ in it: a sum over every response there is. For a language model
# with 50,257 tokens and answers of 100 tokens that sum has more than $10^{470}$ terms. Nobody will ever compute it. Yet
# DPO trains towards exactly that policy on a laptop. This chapter shows where $Z(x)$ goes: it is not estimated and not
# left out, it cancels.
#
# **Write down a prediction first.** We will train a GPT-2 on comparisons and never show it a reward. Call it
# $\pi_\theta$, and the GPT-2 it started from $\pi_{\text{ref}}$. Then we take
# $\beta \log(\pi_\theta(y \mid x)/\pi_{\text{ref}}(y \mid x))$ of all 14,641 responses and draw it against the true
# reward: one picture a prompt, three prompts. Will there be a line? With which slope? Through zero? And will the three
# pictures be the same?
#
# | after this chapter you can | |
# |---|---|
# | turn the optimal policy around and read a reward off it (equation 5) | 7&nbsp;min |
# | show why two responses to one prompt need no $Z(x)$ (equation 6) | 9&nbsp;min |
# | say which rewards are the same reward to preferences and to π*, and prove it | 18&nbsp;min |
# | read the reward back off a trained GPT-2, and say what may not be compared | 10&nbsp;min |
# | *optional:* say what the sums of a policy's token log-ratios mean | 9&nbsp;min |
# | write equations 5 and 6 and Theorem 1 as functions | 20&nbsp;min |
#
# You need chapter 01 (Bradley–Terry, equation 1) and chapter 04 (the optimal policy, equation 4). Symbols as there:
# prompt $x$, response $y$, reward $r(x, y)$, true reward $r^*$, policy $\pi$, reference policy $\pi_{\text{ref}}$,
# price of straying $\beta > 0$, logistic function $\sigma$; $a \succ b$ reads "a is preferred to b". Rewards and
# logarithms of probabilities are in **nats**: one nat more is a factor $e$ in the odds.

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
from dpo_book.checks.implicit import *
from dpo_book.quizzes import quiz
from dpo_book.worlds.references import verdicts_reference
from dpo_book.worlds.verdicts import draw_comparisons, verdicts

setup(seed=0)
world, reference = verdicts(), verdicts_reference()
with torch.no_grad():
    ref_logp = world.logp(reference).double()  # log π_ref(y|x), (3, 14641)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
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
log_ratio = (p_star / p_ref).log()
print(f"log Z = {z.log():.4f}")
assert torch.allclose(log_ratio, r - math.log(2), atol=1e-12)
columns = {"r": r, "π_ref": p_ref, "π*": p_star, "log(π*/π_ref)": log_ratio}
pd.DataFrame(columns).round(4)

# %% [markdown]
# The difference is $\log Z = \ln 2$. Two policies that you can look at, and one number that a real model never shows, make up the
# reward.
#
# ## Equation 5: turn the optimal policy around
#
# Let $\pi_r$ be the optimal policy for a reward $r$. Equation 4 says
#
# $$\begin{aligned}
# \pi_r(y \mid x) &= \frac{1}{Z(x)}\, \pi_{\text{ref}}(y \mid x)\, e^{r(x, y)/\beta}, \\
# Z(x) &= \sum_{y} \pi_{\text{ref}}(y \mid x)\, e^{r(x, y)/\beta}.
# \end{aligned} \tag{4}$$
#
# Solve it for $r$:
#
# 1. $\log \pi_r(y \mid x) = \log \pi_{\text{ref}}(y \mid x) + r(x, y)/\beta - \log Z(x)$: take logarithms. That is
#    allowed because $\pi_{\text{ref}}(y \mid x) > 0$ for every $y$.
# 2. $r(x, y)/\beta = \log \pi_r(y \mid x) - \log \pi_{\text{ref}}(y \mid x) + \log Z(x)$: move two terms to the other
#    side.
# 3. $r(x, y) = \beta \log \dfrac{\pi_r(y \mid x)}{\pi_{\text{ref}}(y \mid x)} + \beta \log Z(x)$: multiply by β; a
#    difference of logarithms is the logarithm of the ratio, the **log-ratio**. **This is equation 5.**
#
# The first term is the **implicit reward** $\hat r(x, y)$. The second depends on $x$ only. We check it in the world of
# film verdicts: three prompts, all 14,641 responses to each, three values of β. `world.rewards` holds $r^*$.

# %% tags=["eq-5"]
for beta in (0.3, 1.0, 2.0):
    star = optimal_logp(ref_logp, world.rewards, beta)  # equation 4
    log_z = log_partition(ref_logp, world.rewards, beta)  # one number a prompt, (3,)
    implicit = beta * (star - ref_logp)
    error = (implicit + beta * log_z[:, None] - world.rewards).abs().max()  # equation 5
    assert error < 1e-10
    assert torch.allclose(implicit_reward(star, ref_logp, beta), implicit, atol=1e-10)
print(f"β = 0.3, 1 and 2: {implicit.numel()} rewards back, to 10^-10")

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
# 3. $r^*(x, y_2) - r^*(x, y_1) = \beta \log \dfrac{\pi^*(y_2 \mid x)}{\pi_{\text{ref}}(y_2 \mid x)} + \beta \log Z(x)$
#    ${} - \beta \log \dfrac{\pi^*(y_1 \mid x)}{\pi_{\text{ref}}(y_1 \mid x)} - \beta \log Z(x)$: equation 5, once for each
#    response, with $\pi^*$ the optimal policy for $r^*$.
# 4. $\beta \log Z(x) - \beta \log Z(x) = 0$: **both responses answer the same prompt, so it is the same $Z(x)$.**
# 5. $p^*(y_1 \succ y_2 \mid x) = \dfrac{1}{1 + \exp\left(\beta \log \dfrac{\pi^*(y_2 \mid x)}{\pi_{\text{ref}}(y_2
#    \mid x)} - \beta \log \dfrac{\pi^*(y_1 \mid x)}{\pi_{\text{ref}}(y_1 \mid x)}\right)}$: put 3 and 4 into 2. **This
#    is equation 6.**
#
# Step 4 is the whole trick of DPO. On the left stands what people do. On the right stand four log-probabilities that
# any language model can give, and no sum over responses. We draw 100,000 pairs, both responses uniformly from all
# 14,641, and compute both sides.

# %% tags=["eq-6"]
generator = torch.Generator().manual_seed(0)
x = torch.randint(3, (100_000,), generator=generator)
y1, y2 = torch.randint(len(world.responses), (2, 100_000), generator=generator)
true_p = preference_probability(world.rewards[x, y1], world.rewards[x, y2])  # eq. 1
for beta in (0.3, 1.0, 2.0):
    star = optimal_logp(ref_logp, world.rewards, beta)
    ratio_1, ratio_2 = (star - ref_logp)[x, y1], (star - ref_logp)[x, y2]
    policies_p = 1 / (1 + (beta * ratio_2 - beta * ratio_1).exp())  # equation 6
    logps = star[x, y1], star[x, y2], ref_logp[x, y1], ref_logp[x, y2]
    package = policy_preference_probability(*logps, beta)
    assert torch.allclose(package, policies_p, atol=1e-10)
    assert (policies_p - true_p).abs().max() < 1e-10
print("β = 0.3, 1 and 2: equations 1 and 6 agree for every pair, to 10^-10")


# %% [markdown]
# Both sides agree for every pair and every β. The preferences do not depend on β at all: with a smaller β the two
# log-ratios lie farther apart, and β times their difference stays the same.
#
# ## Rewards that are the same reward
#
# $Z(x)$ vanished because it adds one number to all rewards of a prompt. Nothing is special about that number. Take any
# function $f(x)$ of the prompt.
#
# **Definition** ([Rafailov et al. 2023](https://arxiv.org/abs/2305.18290), section 5.1). Two rewards $r$ and $r'$ are
# **equivalent** if $r'(x, y) - r(x, y) = f(x)$ for some $f$ of the prompt alone. All rewards that are equivalent to each
# other make a **class**. A reward is equivalent to itself ($f = 0$), the relation can be turned around ($-f$) and
# chained ($f + g$), so every reward belongs to exactly one class.
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
def random_shift(*shape):
    return 5 * torch.randn(*shape, generator=generator, dtype=torch.float64)


for _ in range(100):
    shifted = world.rewards + random_shift(3, 1)  # f(x), one number a prompt
    p = preference_probability(shifted[x, y1], shifted[x, y2])
    assert torch.allclose(p, true_p, atol=1e-10)
bent = world.rewards + random_shift(3, 14641) / 5  # depends on y as well
change = preference_probability(bent[x, y1], bent[x, y2]) - true_p
print("f(x), 100 draws: no preference moved")
print(f"f(x, y), 1 draw: preferences moved by {change.abs().mean():.2f} on average")
assert change.abs().mean() > 0.1

# %% [markdown]
# The other direction holds too. If two rewards give the same preferences, then by step 3 they have the same
# differences, and $f(x) = r'(x, y_0) - r(x, y_0)$ is the same number for whichever $y_0$ you take. So preferences tell
# the class, all of it, and nothing more. Here it is read off them: compare every response with one fixed $y_0$; the
# log-odds $\log(p/(1 - p))$ undo $\sigma$ and give $r(x, y) - r(x, y_0)$, a member of the class.

# %%
y0 = world.responses.index("dull dull dull dull")
against_y0 = preference_probability(world.rewards, world.rewards[:, [y0]])  # (3, 14641)
f = torch.logit(against_y0) - world.rewards
print("r*(x, y) back for every y, up to f(x):", f[:, 0].round(decimals=4).tolist())
assert torch.allclose(f, f[:, :1].expand_as(f), atol=1e-10)

# %% [markdown]
# That $f(x)$ is $-r^*(x, y_0)$, which no comparison can tell. (The paper states Lemma 1 for rankings as well. There the
# best is picked by a softmax of the rewards, then the best of the rest, and so on; no softmax changes when all its
# inputs rise by $f(x)$.)
#
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
star = optimal_logp(ref_logp, world.rewards, beta)
log_z = log_partition(ref_logp, world.rewards, beta)
for _ in range(20):
    f = random_shift(3, 1).round(decimals=1)
    moved = log_partition(ref_logp, world.rewards + f, beta) - log_z
    assert torch.allclose(moved, f[:, 0] / beta, atol=1e-10)  # step 1
    of_shifted = optimal_logp(ref_logp, world.rewards + f, beta)
    assert torch.allclose(of_shifted, star, atol=1e-10)  # step 3
print("the last f(x):    ", f[:, 0].tolist())
print("log Z(x) moved by:", moved.round(decimals=4).tolist())
print("π* moved by 0 (to 10^-10), for each of 20 f and all 3 prompts")

# %% [markdown]
# Here, too, the other direction holds: equal optimal policies at one β mean, by equation 5, that
# $r' - r = \beta \log Z'(x) - \beta \log Z(x)$, a function of $x$ alone.
#
# So the two things that matter, what people prefer and which policy is best, are properties of the *class*. To ask for
# "the" reward behind preferences is like asking for "the" height of a mountain without saying from where.
#
# **Theorem 1.** Let $\pi_{\text{ref}}(y \mid x) > 0$ everywhere and $\beta > 0$. Then every class holds exactly one
# reward of the form $\beta \log(\pi(y \mid x)/\pi_{\text{ref}}(y \mid x))$ with a distribution $\pi$ over responses.
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
# same four times, for every prompt and response; one is printed. Then we solve $\bar r = \beta
# \log(\pi/\pi_{\text{ref}})$ for $\pi$: is it a distribution? And what is special about $\bar r$? Look at its $Z(x)$.

# %% tags=["nbval-ignore-output"]
r_bar = world.rewards - beta * log_z[:, None]
members = {"r*": world.rewards}
members |= {f"r* + f, draw {i}": world.rewards + random_shift(3, 1) for i in (1, 2, 3)}
rows = {}
for name, member in members.items():
    other = member - beta * log_partition(ref_logp, member, beta)[:, None]
    rows[name] = {"r(x, y_0)": member[0, y0].item(), "r̄(x, y_0)": other[0, y0].item()}
    assert torch.allclose(other, r_bar, atol=1e-10)
total = (ref_logp + r_bar / beta).exp().sum(dim=1)  # Σ_y π(y|x), (3,)
log_z_of_r_bar = log_partition(ref_logp, r_bar, beta)
assert torch.allclose(total, torch.ones_like(total), atol=1e-10)
assert torch.allclose(log_z_of_r_bar, torch.zeros_like(total), atol=1e-10)
print("Σ_y π(y|x) and Z(x) of r̄ are 1, to 10^-10, for each of 3 prompts")
pd.DataFrame(rows).T.round(4)

# %% [markdown]
# The same from all four, and π sums to 1. So $\bar r$ is the member of the class with $Z(x) = 1$ for every
# prompt. That is why DPO may put $\beta \log(\pi_\theta/\pi_{\text{ref}})$, with $\pi_\theta$ the model that it trains
# ($\theta$: its weights), in the place of a reward: whatever class people's preferences come from, exactly one
# *distribution* carries it, one table of a probability for each response. Whether a GPT-2 can be that table is another
# question. Its weights tie the probabilities of different responses together, and no theorem here says that they can
# take these values. We measure below how near they come.
#
# ## See it move, and not move
#
# Five responses to one prompt, small enough for one picture. Left: the rewards after a shift $f$ in pink, before it
# dashed, and the implicit reward of the optimal policy in green. Middle: the preferences. Right: the optimal policy.
# Both are computed from the *shifted* rewards.

# %%
labels = ["great", "good", "not bad", "dull", "bad"]
five = torch.tensor([2.0, 1.0, 0.5, -1.0, -1.5], dtype=torch.float64)
five_ref = torch.tensor([0.1, 0.3, 0.3, 0.2, 0.1], dtype=torch.float64)


def shifted_by(f, beta):
    reward = five + f  # all that follows is computed from this
    star = optimal_logp(five_ref.log(), reward, beta)
    p = preference_probability(reward[:, None], reward[None, :])
    constant = beta * log_partition(five_ref.log(), reward, beta)
    title = f"f(x) = {f:.1f}, β = {beta:.2f}: β log Z(x) = {constant:.2f}"
    r_hat = implicit_reward(star, five_ref.log(), beta)
    return plots.shifted_rewards(
        labels, five, reward, r_hat, p, five_ref, star.exp(), title
    )


# %%
shifted_by(2.0, 1.0)

# %% [markdown]
# The pink bars stand 2 nats above the dashed ones. Middle and right know nothing of it. Before you move the sliders:
# which of the three panels, and which of the marks on the left, will react to $f$? Which to β?

# %%
betas = {"base": 10, "min": -0.7, "max": 0.7, "step": 0.05}
widgets.slider_figure(
    shifted_by,
    f=widgets.FloatSlider(value=2, min=-3, max=3, step=0.1, description="f(x)"),
    beta=widgets.FloatLogSlider(value=1, **betas, description="β"),
)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
for f in (-3.0, 3.0):  # what the next text says, at the ends of both sliders
    for beta in (0.2, 5.0):
        star = optimal_logp(five_ref.log(), five + f, beta)
        r_hat = implicit_reward(star, five_ref.log(), beta)
        without = optimal_logp(five_ref.log(), five, beta)
        assert torch.allclose(star, without, atol=1e-10)
        assert torch.allclose(r_hat - r_hat[0], five - five[0], atol=1e-10)

# %% [markdown]
# $f$ moves the pink bars and the number $\beta \log Z(x)$ in the title, by the same amount, and nothing else. β moves
# the policy, and with it the green diamonds: but all of them together, by one number. They stay in the class. The
# preferences do not move at all.
#
# ## Read the reward off a trained GPT-2
#
# So far π* came from its formula. Now a GPT-2 gets there by training. Who proposes what is compared? Of the responses
# 40 % are the reference's own, 40 % the best of 16 of them by $r^*$, and 20 % any four words. The labels are **soft**:
# of each pair the response with more reward is called chosen, and with it comes the probability
# $p^* \geq 1/2$ that people prefer it, as if very many had been asked. The policy sees pairs and these probabilities, no
# reward, no $Z$.

# %%
beta, steps, batch_size = 1.0, 300, 128
number = steps * batch_size
pairs, ref_logps = draw_comparisons(world, ref_logp, number, labels="soft", seed=0)
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
panels, offsets = {}, {}
for i, prompt in enumerate(world.prompts):
    panels[prompt] = (world.rewards[i], implicit[i], ref_logp[i].exp())
    offsets[prompt] = -beta * log_z[i].item()
plots.reward_read_back(panels, offsets)


# %% [markdown]
# Compare with your prediction. There is a line, its slope is about 1, it misses zero, and it misses it by another amount
# for every prompt. In numbers: a straight line fitted to the dots, each counting by its probability, and the distance
# between $\hat r$ and $r^*$ averaged in the same way. The last column lets all 14,641 count equally.

# %% tags=["nbval-ignore-output"]
def slope_of(true, implicit, p):
    """Slope of the least-squares line, each response weighted by its probability."""
    centred = true - (p * true).sum()
    return ((p * centred * implicit).sum() / (p * centred**2).sum()).item()


even = torch.full_like(ref_logp[0], 1 / len(world.responses))
rows = {}
for i, prompt in enumerate(world.prompts):
    r, r_hat, p = world.rewards[i], implicit[i], ref_logp[i].exp()
    offset = (p * (r_hat - r)).sum().item()
    slopes = slope_of(r, r_hat, p), slope_of(r, r_hat, even)
    rows[prompt] = slopes[0], offset, offsets[prompt], slopes[1]
columns = ["slope", "offset", "−β log Z(x)", "slope, all equally"]
read_back = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
read_back.round(2)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
slopes, found, demanded, everywhere = read_back.to_numpy().T
assert (slopes > 0.85).all() and (slopes < 1.1).all()
assert (abs(found - demanded) < 0.12).all() and (everywhere < slopes - 0.05).all()

# %% [markdown]
# The policy has become a reward model, up to the one number a prompt that preferences cannot tell. The subtitle of the
# DPO paper says so: "Your Language Model is Secretly a Reward Model". It is one where it was asked: most of the 14,641
# are word salad that is seldom compared, and where they count equally the slope is farther from 1. After 300 steps it
# is a little short of 1 even where the reference speaks; set `steps = 1000` and see whether it comes closer.
#
# Equation 6 turns the same policy into a judge of pairs. We ask it about pairs drawn from the reference and compare
# with $p^*$. Look at how much better it is than saying 1/2 to everything.

# %% tags=["nbval-ignore-output"]
rows = {}
for i, prompt in enumerate(world.prompts):
    p_ref = ref_logp[i].exp()
    drawn = torch.multinomial(p_ref, 20_000, replacement=True, generator=generator)
    a, b = drawn.chunk(2)
    p = preference_probability(world.rewards[i, a], world.rewards[i, b])
    logps = logp[i, a], logp[i, b], ref_logp[i, a], ref_logp[i, b]
    judged = policy_preference_probability(*logps, beta)
    rows[prompt] = {"the GPT-2": judged - p, "always 1/2": 0.5 - p}
errors = pd.DataFrame(rows).map(lambda error: error.abs().mean().item()).T
errors.round(2).rename_axis(columns="mean |p − p*| of")

# %% jupyter={"source_hidden": true} tags=["hide-input"]
assert (errors["the GPT-2"] < 0.08).all() and (errors["always 1/2"] > 0.2).all()

# %% [markdown]
# ## Two prompts, two Z's
#
# In this world the true reward of a verdict is the same for all three prompts: VADER, the sentiment analyser whose
# opinion $r^*$ is, has none of acting or plots. So a verdict to "the acting" and the same verdict to "the ending" should
# get the same reward. Equation 5 says that the implicit rewards differ all the same:
#
# 1. $\hat r(x_1, y) = r^*(x_1, y) - \beta \log Z(x_1)$ and $\hat r(x_2, y) = r^*(x_2, y) - \beta \log Z(x_2)$: equation 5,
#    one prompt at a time.
# 2. $\hat r(x_1, y) - \hat r(x_2, y) = -\beta(\log Z(x_1) - \log Z(x_2))$ where $r^*(x_1, y) = r^*(x_2, y)$: subtract.
#
# Nothing cancels now. Look at one verdict, under the exact optimum and under the GPT-2.

# %% tags=["nbval-ignore-output"]
y = world.responses.index("very good but great")
star = optimal_logp(ref_logp, world.rewards, beta)
star_implicit = implicit_reward(star, ref_logp, beta)
columns = {"r*": world.rewards, "r̂ of π*": star_implicit, "r̂ of the GPT-2": implicit}
table = {name: values[:, y] for name, values in columns.items()}
gaps = beta * (log_z[0] - log_z)  # β(log Z(the acting) − log Z(x))
for i in range(3):
    assert torch.equal(world.rewards[0], world.rewards[i])
    step_2 = star_implicit[i] - star_implicit[0]
    assert torch.allclose(step_2, gaps[i].expand(14641), atol=1e-10)
pd.DataFrame(table | {"β log Z(x)": beta * log_z}, index=world.prompts).round(2)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
assert gaps[1] > 0.15 and implicit[1, y] > implicit[0, y]


# %% [markdown]
# The same praise earns more at "the ending". Critics in this world dislike endings, so the reference says little good
# of them, $Z$ is smaller there, and praise has farther to rise: $\beta \log Z(x)$ is the zero from which $\hat r$ counts.
#
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
    print(f"{world.prompts[i]} against {world.prompts[j]}: ≈ {wrong:.1f} % wrong")
    assert (wrong == 0) == (i == j)
    assert torch.allclose(corrected, true_gap, atol=1e-10)


# %% [markdown]
# Within one prompt: none. Across prompts: a part of them, with a policy that is *exactly* optimal. Adding the two
# $\beta \log Z$ back mends it, and nobody has them for a real model.
#
# ## Optional: word by word
#
# $\hat r$ is a sum over words: $\log \pi(y \mid x) = \sum_t \log \pi(y_t \mid x, y_{<t})$, with $y_{<t}$ the words before
# $y_t$. Does one summand mean anything? For π* it does ([Rafailov et al. 2024](https://arxiv.org/abs/2404.12358)). Give
# every beginning $y_{\leq t}$ a number, its **soft value**: high if the reference is likely to go on from there to a high reward:
# $v(y_{\leq t}) = \beta \log \sum_c \pi_{\text{ref}}(c \mid x, y_{\leq t})\, e^{r(x, y_{\leq t}c)/\beta}$, the sum over
# all continuations $c$. At the end nothing is left to say and $v = r$; before the first word $v = \beta \log Z(x).$
#
# 1. $\pi^*(y_{\leq t} \mid x) = \sum_c \pi_{\text{ref}}(y_{\leq t}c \mid x)\, e^{r(x, y_{\leq t}c)/\beta}/Z(x)$: a
#    beginning is as likely as all its continuations together; equation 4.
# 2. $= \pi_{\text{ref}}(y_{\leq t} \mid x)\, e^{v(y_{\leq t})/\beta}/Z(x)$: $\pi_{\text{ref}}(y_{\leq t}c) =
#    \pi_{\text{ref}}(y_{\leq t})\, \pi_{\text{ref}}(c \mid y_{\leq t})$, and the definition of $v$.
# 3. $\beta \log \dfrac{\pi^*(y_t \mid x, y_{<t})}{\pi_{\text{ref}}(y_t \mid x, y_{<t})} = v(y_{\leq t}) - v(y_{<t})$: step
#    2 for $y_{\leq t}$ divided by step 2 for $y_{<t}$; $Z(x)$ cancels.
# 4. $\sum_{s \leq t} \beta \log \dfrac{\pi^*(y_s \mid x, y_{<s})}{\pi_{\text{ref}}(y_s \mid x, y_{<s})} = v(y_{\leq t}) -
#    \beta \log Z(x)$: every value but the last and the first comes once with plus and once with minus. Over the whole
#    response that is $r - \beta \log Z(x)$: equation 5.
#
# We check it on the whole tree. $v$ is computed backwards from the rewards, without π*: grouping the continuations by
# their first word $w$, $v(y_{<t}) = \beta \log \sum_w \pi_{\text{ref}}(w \mid x, y_{<t})\, e^{v(y_{<t}w)/\beta}$.

# %%
def beginnings(logp):
    """log π(y_≤t | x) of all beginnings of t = 0 to 4 words: five tensors (3, 11^t)."""
    return [logp.reshape(3, 11**t, -1).logsumexp(-1) for t in range(5)]


def words(logp):
    """log π(y_t | x, y_<t) for t = 1 to 4: four tensors (3, 11^(t-1), 11)."""
    log_p = beginnings(logp)
    return [log_p[t + 1].reshape(3, -1, 11) - log_p[t][..., None] for t in range(4)]


value = [world.rewards]
for of_words in reversed(words(ref_logp)):
    after = value[0].reshape(of_words.shape)
    value.insert(0, beta * (of_words + after / beta).logsumexp(-1))

# %%
ratios = [beta * (a - b) for a, b in zip(words(star), words(ref_logp))]
whole = beginnings(ref_logp + world.rewards / beta)  # the definition's sums
said = beginnings(ref_logp)
so_far = torch.zeros(3, 1, dtype=torch.float64)
assert torch.allclose(value[0][:, 0], beta * log_z, atol=1e-10)
for t in range(4):
    defined = beta * (whole[t] - said[t])
    assert torch.allclose(value[t], defined, atol=1e-10)
    gain = value[t + 1].reshape(ratios[t].shape) - value[t][..., None]
    assert torch.allclose(ratios[t], gain, atol=1e-10)  # step 3
    so_far = (so_far[..., None] + ratios[t]).reshape(3, -1)
    assert torch.allclose(so_far, value[t + 1] - value[0], atol=1e-10)  # step 4
print("beginnings checked:", sum(each.numel() for each in value))

# %% [markdown]
# All beginnings, to $10^{-10}$. Now one verdict about "the acting", word by word; the first row is $\beta \log Z(x)$. At
# which word does the value move?

# %% tags=["nbval-ignore-output"]
gpt2_ratios = [beta * (a - b) for a, b in zip(words(logp), words(ref_logp))]
place, rows = 0, [[value[0][0, 0].item(), math.nan, math.nan]]
for t, word in enumerate(world.tokenizer("very good but dull").input_ids):
    exact, trained = ratios[t][0, place, word], gpt2_ratios[t][0, place, word]
    place = 11 * place + word
    rows.append([value[t + 1][0, place].item(), exact.item(), trained.item()])
columns = ["v so far", "β log(π*/π_ref)", "of the GPT-2"]
said_so_far = ["(no word yet)", "very", "good", "but", "dull"]
table = pd.DataFrame(rows, index=said_so_far, columns=columns)
table.round(2).astype(object).where(table.notna(), "–")

# %% jupyter={"source_hidden": true} tags=["hide-input"]
steps_of_v = table["β log(π*/π_ref)"].to_numpy()[1:]
assert abs(table["v so far"].iloc[0] - beta * log_z[0]) < 1e-6
assert (steps_of_v[:2] > 0.1).all() and abs(steps_of_v[2]) < 0.1
assert steps_of_v[3] < -1.5
assert (abs(table.iloc[1:, 2] - steps_of_v) < 0.6).all()

# %% [markdown]
# "very good" raises it, "but" tells nothing new, and "dull" takes more than all. How near do the summands of the trained GPT-2
# come, over all words that the reference says?

# %% tags=["nbval-ignore-output"]
rows = []
for t in range(4):
    p = (said[t + 1].exp() / 3).reshape(ratios[t].shape)  # each prompt a third
    off = gpt2_ratios[t] - ratios[t]
    both = torch.stack([ratios[t].flatten(), gpt2_ratios[t].flatten()])
    cov = torch.cov(both, aweights=p.flatten())
    correlation = cov[0, 1] / (cov[0, 0] * cov[1, 1]).sqrt()
    mean = [(p * ratios[t].abs()).sum(), (p * off.abs()).sum(), off.abs().mean()]
    rows.append([number.item() for number in (*mean, correlation)])
columns = ["mean |v moves|", "GPT-2 off by", "off by, all words equally", "correlation"]
near = pd.DataFrame(rows, index=range(1, 5), columns=columns).rename_axis("word")
near.round(2)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
assert (near["GPT-2 off by"] < near["mean |v moves|"] / 3).all()
assert (near["correlation"] > 0.9).all()
assert near["off by, all words equally"][4] > 2 * near["GPT-2 off by"][4]

# %% [markdown]
# Near, where the reference speaks: an error of about a quarter of what there is to see, or less. What this is *not*: the loss
# never saw a word, only sums over whole responses; a word's $v$ says what the *reference* would go on to say, not what the
# word is worth by itself. Whether another trained GPT-2 comes as near is for you to measure. Any policy's summands are,
# by steps 1 to 4, exact gains of value for the reward that *it* carries. Whether that is people's reward is the question.
#
# ## What could go wrong
#
# **"The implicit reward of my answer is 3.1 here and 1.2 there, so the first answer is better."** Only if both answer the
# same prompt. Differences within a prompt are safe; sorting a data set by $\hat r$ across prompts is not. The same holds
# if chosen and rejected were written for different prompts, for instance under two system messages: then step 4 of
# equation 6 fails, and the loss compares two numbers with different zeros.
#
# **"Some responses have $\pi_{\text{ref}} = 0$."** Then step 1 of equation 5 takes the logarithm of zero. Whatever the
# reward there, the optimal policy gives it nothing, so two rewards from different classes share one optimal policy and
# the theorem fails. In practice this happens when tokens are masked out of the reference (top-k, banned words), with
# log-probabilities of minus infinity:

# %%
banned = torch.tensor([0.5, 0.5, 0.0], dtype=torch.float64).log()  # the third: never
one, other = (torch.tensor([0.0, 1.0, r], dtype=torch.float64) for r in (100, -100))
star, star_of_other = (optimal_logp(banned, r, beta=1.0) for r in (one, other))
assert torch.equal(star, star_of_other)  # two classes, one optimal policy
assert implicit_reward(star, banned, 1.0)[2].isnan()
rows = {"r": one, "its π*": star.exp(), "r'": other, "π* of r'": star_of_other.exp()}
pd.DataFrame(rows, index=["first", "second", "banned"]).round(4)

# %% [markdown]
# ### Where others err, checked
#
# - **"DPO ignores Z, so it is an approximation."** $\beta \log Z(x) - \beta \log Z(x)$ is zero exactly: the assertions to
#   $10^{-10}$ above would fail for an approximation.
# - **"The larger β, the stronger the alignment, and the farther from the reference."** It is the other way round: β is
#   the price. $\text{KL}[\pi^* \| \pi_{\text{ref}}]$, how far π* strays, falls at every step of the table below.
# - **Rewards logged without β.** Some code logs $\log(\pi_\theta/\pi_{\text{ref}})$ under that name. It is $\hat r/\beta$,
#   and at $\beta = 0.1$ ten times too large. Look at its two last columns: one slope is always 1.

# %% tags=["nbval-ignore-output"]
rows = {}
for beta in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0):
    star = optimal_logp(ref_logp, world.rewards, beta)
    kl, r, p = kl_divergence(star, ref_logp).mean(), world.rewards[0], ref_logp[0].exp()
    with_beta = slope_of(r, beta * (star - ref_logp)[0], p)
    without = slope_of(r, (star - ref_logp)[0], p)
    assert abs(with_beta - 1) < 1e-6 and abs(without * beta - 1) < 1e-6
    rows[beta] = kl.item(), with_beta, without
columns = ["KL(π*‖π_ref), nats", "slope with β", "slope without β"]
table = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
assert table.iloc[:, 0].is_monotonic_decreasing
table.round(2).rename_axis("β")


# %% [markdown]
# ## Exercises
#
# Replace the line that raises an error, run the cell, then run the check below it. The check tells you what it sees.

# %% [markdown]
# ### Exercise · reward_of_policy
#
# Difficulty ★☆☆ · importance ●●● · 5 minutes
#
# Write the implicit reward $\hat r(x, y) = \beta \log(\pi(y \mid x)/\pi_{\text{ref}}(y \mid x))$, the part of equation 5
# that needs no $Z$. `logp` and `ref_logp` are log-probabilities of N responses to one prompt, shape (N,); `beta` is a
# number. Return shape (N,).

# %%
def reward_of_policy(logp, ref_logp, beta):
    """log π(y|x), log π_ref(y|x), both (N,) → implicit rewards (N,)."""
    # YOUR CODE HERE
    raise NotImplementedError()


# %%
check_reward_of_policy(reward_of_policy)


# %% [markdown]
# ### Exercise · preference_of_policy
#
# Difficulty ★★☆ · importance ●●● · 5 minutes
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
# ### Exercise · canonical_reward
#
# Difficulty ★★★ · importance ●○○ · 10 minutes
#
# Theorem 1 as a function. Given some reward of a class, return the one member that has the form
# $\beta \log(\pi/\pi_{\text{ref}})$. `reward` and `ref_logp` hold all N responses to each of P prompts, shape (P, N);
# `beta` is a number. Return shape (P, N). Write the sum over responses yourself, without `log_partition` or
# `optimal_logp`, in a way that survives rewards of ±1000: `torch.logsumexp` does.

# %%
def canonical_reward(reward, ref_logp, beta):
    """Rewards and log π_ref(y|x), both (P, N) → the member β log(π/π_ref), (P, N)."""
    # YOUR CODE HERE
    raise NotImplementedError()


# %%
check_canonical_reward(canonical_reward)

# %% [markdown]
# ## Quiz

# %%
quiz("05", 1)

# %%
quiz("05", 2)

# %%
quiz("05", 3)

# %% [markdown]
# ## Recap
#
# | symbol | in code | shape | equation |
# |---|---|---|---|
# | $p^*(y_1 \succ y_2)$ | `preference_probability(reward_a, reward_b)` | (B,) | 1 |
# | $\pi_r$, $\pi^*$ | `optimal_logp(ref_logp, reward, beta)` | (P, N) | 4 |
# | $\log Z(x)$ | `log_partition(ref_logp, reward, beta)` | (P,) | 4, 5 |
# | $\hat r(x, y)$ | `implicit_reward(logp, ref_logp, beta)` | (P, N) | 5 |
# | $p^*$ from policies | `policy_preference_probability(logp_a, logp_b, ref_logp_a, ref_logp_b, beta)` | (B,) | 6 |
# | $f(x)$ | `random_shift(3, 1)` | (P, 1) | Lemmas 1, 2 |
# | $\bar r$ | `r_bar` | (P, N) | Theorem 1 |
# | $v(y_{\leq t})$ | `value[t]` | (P, $V^t$), a vocabulary of $V$ | optional |
#
# Preferences and π* belong to a class of rewards, each class has one member that is a distribution in disguise, and
# within a prompt its $Z$ is never needed.
#
# Next: chapter 06 asks people's choices to be as likely as possible under equation 6, and that is the DPO loss.
