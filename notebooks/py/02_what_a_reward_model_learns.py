# %% [markdown]
# # 02 · What does a reward model learn?
#
# Chapter 01 gave every word a number of its own, and nineteen words needed nineteen numbers. Texts cannot be treated like
# that: almost every text is seen once. So RLHF lets a language model read the text and say the number. That is a
# **reward model**. It learns from nothing but winners and losers, and afterwards a policy is trained to please it.
# In this chapter we know the true reward of all 14,641 responses, so we can see what the model has learned, and what it only
# pretends to know.
#
# **Write down a prediction first.** (a) A judge who follows equation 1 labels 10,000 pairs, and a model learns from
# them. On new pairs by the same judge, how often can it be right at best: about 75 %, 90 % or 100 %? (b) A second
# model sees only 500 pairs. We search for the policy that pleases it most, harder and harder. The model promises more and more
# reward. Does the *true* reward rise with it, level off, or fall?
#
# | after this chapter you can | |
# |---|---|
# | derive the loss of a reward model (equation 2) and its gradient | 10 min |
# | train a GPT-2 with a scalar head, and judge its accuracy against the best possible | 10 min |
# | say which part of the reward no comparison can teach | 5 min |
# | compute what flipped labels do to the margins | 8 min |
# | show over-optimisation exactly | 10 min |
# | write the loss, the ceiling and the noisy margin yourself | 20 min |
#
# You need equation 1 from chapter 01. Equation 4, the policy that is best for a reward, is used once as a tool;
# chapter 04 derives it.

# %%
import math

import ipywidgets
import torch
import torch.nn.functional as F

from dpo_book import *
from dpo_book import plots, widgets
from dpo_book.checks.reward import (
    check_accuracy_ceiling,
    check_noisy_margin,
    check_pair_loss,
)
from dpo_book.maths.exact import expected_reward
from dpo_book.models.reward_model import rewards_of
from dpo_book.worlds.references import verdicts_reference
from dpo_book.worlds.verdicts import draw_comparisons, verdicts

setup(seed=0)


def vector(*values):
    return torch.tensor(values, dtype=torch.float64)


# %% [markdown]
# ## Three comparisons
#
# $x$ is a prompt, $y_w$ the response that won (**chosen**), $y_l$ the one that lost (**rejected**). A reward model
# $r_\phi$ with weights $\phi$ gives each a number, in nats. The difference $r_\phi(x, y_w) - r_\phi(x, y_l)$ is the
# **margin**. Look at the last column: what does the third pair cost?

# %%
chosen, rejected = vector(1.5, 0.2, -1.0), vector(-0.5, 0.2, 1.0)
margin = chosen - rejected
p_win = preference_probability(chosen, rejected)
print(" r_w    r_l   margin   σ(margin)   −log σ(margin)")
for row in zip(chosen, rejected, margin, p_win, -p_win.log()):
    print("{:4.1f}   {:4.1f}    {:4.1f}      {:.4f}        {:.4f}".format(*row))
assert torch.allclose(-p_win.log(), reward_model_loss(chosen, rejected), atol=1e-12)

# %% [markdown]
# A model that finds the winner better pays little. One that cannot decide pays $\ln 2 = 0.6931$. One that is wrong pays
# about as much as its margin is wrong.
#
# ## The loss is binary classification
#
# Show the judge two responses $y_1, y_2$ and let $z = 1$ if $y_1$ wins and $z = 0$ if $y_2$ wins. Write
# $m = r_\phi(x, y_1) - r_\phi(x, y_2)$.
#
# 1. $P(z) = \sigma(m)^z\, (1 - \sigma(m))^{1 - z}$. *(one throw of a coin, Bernoulli; its probability is equation 1)*
# 2. $\log P(z) = z \log \sigma(m) + (1 - z) \log \sigma(-m)$. *(logarithm; $1 - \sigma(m) = \sigma(-m)$)*
# 3. $-\sum_i \left[z_i \log \sigma(m_i) + (1 - z_i) \log \sigma(-m_i)\right]$ is to be small. *(maximum likelihood: independent pairs multiply, their logarithms add)*
# 4. For each pair only one of the two terms is there, and it is $-\log \sigma(r_\phi(x, y_w) - r_\phi(x, y_l))$. *($z = 1$: $y_w = y_1$; $z = 0$: $y_w = y_2$, and the sign of $m$ turns)*
# 5. Divide by the number of pairs: *(a constant factor moves no minimum)*
#
# $$\mathcal{L}_R(r_\phi) = -\mathbb{E}\left[\log \sigma\left(r_\phi(x, y_w) - r_\phi(x, y_l)\right)\right] \tag{2}$$
#
# Line 3 is the cross-entropy of logistic regression, with the margin as its logit. So PyTorch's ready-made
# classification loss must agree with equation 2. Look for two equal numbers.

# %% tags=["eq-2"]
generator = torch.Generator().manual_seed(0)
r1, r2 = torch.randn(2, 1000, generator=generator, dtype=torch.float64)
z = torch.bernoulli(preference_probability(r1, r2), generator=generator)
cross_entropy = F.binary_cross_entropy_with_logits(r1 - r2, z)  # line 3, averaged
y_w, y_l = torch.where(z == 1, r1, r2), torch.where(z == 1, r2, r1)  # line 4
equation_2 = reward_model_loss(y_w, y_l).mean()
print(f"cross-entropy with logit m: {cross_entropy:.4f}    equation 2: {equation_2:.4f}")
assert torch.isclose(cross_entropy, equation_2, rtol=0, atol=1e-12)

# %% [markdown]
# ### The gradient
#
# 6. $\frac{d}{dm} \left[-\log \sigma(m)\right] = -(1 - \sigma(m)) = -\sigma(-m)$. *(chain rule, $\sigma' = \sigma(1 - \sigma)$)*
# 7. $\frac{\partial}{\partial r_w} = -\sigma(r_l - r_w)$ and $\frac{\partial}{\partial r_l} = +\sigma(r_l - r_w)$, with $r_w, r_l$ short for the two rewards. *(the margin is $r_w - r_l$)*
# 8. $\nabla_\phi \mathcal{L}_R = -\mathbb{E}\left[\sigma(r_l - r_w)\, (\nabla_\phi r_w - \nabla_\phi r_l)\right]$. *(chain rule again, for the weights)*
#
# The winner is pushed up and the loser down, equally, and by the probability that the model gave to the wrong outcome.

# %% tags=["eq-2"]
leaves = chosen.clone().requires_grad_(), rejected.clone().requires_grad_()
up, down = torch.autograd.grad(reward_model_loss(*leaves).sum(), leaves)
by_hand = (rejected - chosen).sigmoid()  # line 7
for m, a, b, h in zip(margin, up, down, by_hand):
    print(f"margin {m:4.1f}: autograd {a:7.4f} and {b:6.4f}   σ(r_l − r_w) = {h:.4f}")
assert torch.allclose(up, -by_hand, rtol=0, atol=1e-12)
assert torch.allclose(up + down, torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-12)

# %% [markdown]
# The last assert says that the two pushes cancel. Keep it in mind: the loss never asks a chosen and a rejected response to move
# *together*. (Both rewards come from the same weights, so they may still drift together, unasked.)
#
# ### What would be the best margin?
#
# Let the judge see the same pair for ever, and let $y_1$ win with probability $p$.
#
# 9. The average loss is $-p \log \sigma(m) - (1 - p) \log \sigma(-m)$. *(line 2, with $p$ as the average of $z$)*
# 10. Its derivative is $-p\, \sigma(-m) + (1 - p)\, \sigma(m) = \sigma(m) - p$. *(line 6, then $\sigma(-m) = 1 - \sigma(m)$)*
# 11. It is zero where $\sigma(m) = p$, negative to the left of it and positive to the right ($\sigma$ rises), so this is the minimum: $m = \log \frac{p}{1 - p}$, and by equation 1 this is $r^*(x, y_1) - r^*(x, y_2)$. *($r^*$ is the true reward)*
# 12. There the loss is $-p \log p - (1 - p) \log (1 - p)$, the entropy of the coin, which is not zero. *(line 11 put into line 9)*
#
# So with endless data the best that a model can do, if it is able to, is to say the true margin of every pair, and the loss
# has a **floor**. A search on a fine grid:

# %%
grid = torch.linspace(-6, 6, 120_001, dtype=torch.float64)
for true_margin in (0.5, 1.0, 3.0):
    p = vector(true_margin).sigmoid()
    average = p * -F.logsigmoid(grid) + (1 - p) * -F.logsigmoid(-grid)  # line 9
    entropy = -(p * p.log() + (1 - p) * (1 - p).log()).item()
    found = grid[average.argmin()].item()
    print(
        f"true margin {true_margin}: best {found:.4f}, loss there {average.min():.4f} = {entropy:.4f}"
    )
    assert abs(found - true_margin) < 1.1e-4 and abs(average.min() - entropy) < 1e-8

# %% [markdown]
# ## Train one
#
# The world is that of chapter 00: three prompts, 14,641 four-word verdicts to each, and VADER's score as true reward
# $r^*$, from −2 to 2. The reference policy $\pi_{\text{ref}}$ writes like the critics. We draw pairs of its responses,
# and a judge decides each by equation 1: a coin with $p = \sigma(r^*(x, y_1) - r^*(x, y_2))$.

# %% tags=["nbval-ignore-output"]
world, reference = verdicts(), verdicts_reference()
with torch.no_grad():
    ref_logp = world.logp(reference).double()
p_ref = ref_logp.exp()
pairs, _ = draw_comparisons(world, ref_logp, 10_000, "hard", seed=0, proposal=p_ref)
held_out, _ = draw_comparisons(world, ref_logp, 5_000, "hard", seed=99, proposal=p_ref)
pair = pairs[0]
for name, ids in zip(("prompt", "chosen", "rejected"), pair[:3]):
    print(f"{name:9} {world.tokenizer.decode(ids)}")
assert len(pairs) == 10_000 and pair.chosen_probability == 1.0

# %% [markdown]
# The model is a GPT-2 that starts from the body of the reference. Its last layer, which gave one number for each
# word of the vocabulary, is replaced by a **scalar head**: one number, read at the last token, the only place that has
# seen the whole response.

# %%
names = {0: "10,000 pairs", 1: "10,000 pairs, once more"}
OPTIONS = dict(learning_rate=1e-3, batch_size=64, steps=300)


def learn(pairs, seed=0):
    """A trained reward model: its rewards of all responses (P, N), and its last 30 losses."""
    model = build_reward_model(reference, seed)
    records = list(train_reward_model(model, pairs, RewardConfig(**OPTIONS, seed=seed)))
    responses = world.response_ids.tolist()
    rewards = torch.stack(
        [rewards_of(model, [prompt] * len(responses), responses) for prompt in world.prompt_ids]
    )
    return rewards.double(), sum(record["loss"] for record in records[-30:]) / 30


# %%
learned, losses = {}, {}
for seed, name in names.items():
    learned[name], losses[name] = learn(pairs, seed)
learned["500 pairs"], losses["500 pairs"] = learn(pairs[:500])


# %% [markdown]
# Three models: one; the same once more, with another random start of the head and the same pairs in another order; and one
# that sees only the first 500 pairs, in as many steps. Before we ask how good they are, we ask what "good" can mean.
#
# ## The Bayes ceiling
#
# The judge throws coins. Even someone who knows $r^*$ and always names the likelier winner is right only with
# probability $\max(p, 1 - p)$. The average of that over pairs is the **Bayes ceiling**: no model can be expected to do better. We
# compute it over *all* pairs, and the floor of line 12 with it.

# %%
def over_all_pairs(f):
    """The exact mean of f(p) over the pairs drawn: y_1 ~ π_ref, then y_2 ~ π_ref until it differs."""
    means = []
    for q, reward in zip(p_ref, world.rewards):
        level, of = reward.unique(return_inverse=True)  # few different rewards: 932
        mass = torch.zeros_like(level).index_add(0, of, q)
        value = f(preference_probability(level[:, None], level[None, :])) @ mass
        itself = f(vector(0.5)) * q  # y_2 = y_1 must not count
        means.append((q * (value[of] - itself) / (1 - q)).sum())
    return torch.stack(means).mean().item()


# %%
def accuracy_of_the_best(p):
    return torch.maximum(p, 1 - p)


def loss_of_the_best(p):
    return -(p * p.log() + (1 - p) * (1 - p).log())


ceiling = over_all_pairs(accuracy_of_the_best)
floor = over_all_pairs(loss_of_the_best)
print(f"Bayes ceiling of the accuracy ≈ {ceiling:.3f}", end="    ")
print(f"floor of the loss ≈ {floor:.3f} nats")
assert 0.72 < ceiling < 0.78 and floor < math.log(2)

# %% [markdown]
# That answers (a): about 75 %. Now the models, on 5,000 pairs that none has seen. An accuracy $a$ from $n$ pairs has the standard
# error $\sqrt{a(1-a)/n}$. Equal rewards count half. Look also at the last two columns: the loss on new pairs, and on the
# training's last ones.

# %%
place = {tuple(prompt): i for i, prompt in enumerate(world.prompt_ids)}
x = torch.tensor([place[tuple(pair.prompt)] for pair in held_out])
won = torch.tensor([world.index(pair.chosen) for pair in held_out])
lost = torch.tensor([world.index(pair.rejected) for pair in held_out])
accuracies = {}
for name, rewards in {"the true reward": world.rewards, **learned}.items():
    m = rewards[x, won] - rewards[x, lost]
    a = ((m > 0).double() + 0.5 * (m == 0).double()).mean().item()
    accuracies[name], error = a, math.sqrt(a * (1 - a) / len(m))
    seen = losses.get(name, math.nan)
    print(f"{name:25} ≈ {a:.3f} ± {error:.3f}", end="   ")
    print(
        f"loss ≈ {-F.logsigmoid(m).mean():.2f}, in training",
        f"≈ {seen:.2f}" if name in losses else "–",
    )

# %%
assert abs(accuracies["the true reward"] - ceiling) < 4 * 0.0062
assert ceiling - 0.06 < accuracies["10,000 pairs"] < ceiling + 0.03
assert accuracies["500 pairs"] < accuracies["10,000 pairs"] - 0.02
assert losses["500 pairs"] < floor < losses["10,000 pairs"] + 0.1

# %% [markdown]
# The true reward may lie on either side of the ceiling, within its error: these are 5,000 coins. With 10,000 pairs the model
# comes within a few points of the ceiling. Most of its errors are the judge's
# coins. With 500 pairs it falls clearly below. And it gives itself away: its training loss is far under the floor,
# which nobody can expect to reach on new pairs. It saw each pair some 38 times (300 steps of 64) and learned the coins by
# heart; on new pairs its loss is hardly below the 0.69 of a model that knows nothing.
#
# ## Learned against true
#
# Accuracy counts signs. What about the numbers? The picture is for the prompt "the ending". Green are responses that the reference says at least
# once in a thousand, grey all others. Learned rewards are shifted so that their mean under $\pi_{\text{ref}}$ is the true
# one; the next section says why that is allowed. Look at grey against green.

# %%
e = world.prompts.index("the ending")


def shifted(name):
    """Rewards of the ending's responses with the true mean under π_ref."""
    gap = expected_reward(ref_logp[e], world.rewards[e]) - expected_reward(
        ref_logp[e], learned[name][e]
    )
    return learned[name][e] + gap


panels = {
    n: (world.rewards[e].tolist(), shifted(n).tolist()) for n in ("10,000 pairs", "500 pairs")
}
plots.learned_rewards(panels, p_ref[e].tolist())


# %%
def correlation(a, b, weight):
    a, b = a - (weight * a).sum(), b - (weight * b).sum()
    return ((weight * a * b).sum() / ((weight * a**2).sum() * (weight * b**2).sum()).sqrt()).item()


equal = torch.full_like(p_ref[e], 1 / p_ref.shape[1])
for name in panels:
    by_ref, by_all = (correlation(world.rewards[e], learned[name][e], q) for q in (p_ref[e], equal))
    print(
        f"{name:12}: correlation ≈ {by_ref:.2f} weighted by π_ref, ≈ {by_all:.2f} over all responses"
    )
    assert by_ref > by_all + 0.1

# %% [markdown]
# Where the reference speaks, the good model follows the dashed line, with flatter ends. The grey cloud is the rest: responses that were almost
# never compared. There the model guesses. **A reward model is known to be right only where its comparisons came from.**
#
# ## The constant that cannot be learned
#
# Add any number $f(x)$ to all rewards of a prompt:
#
# 13. $(r_\phi(x, y_w) + f(x)) - (r_\phi(x, y_l) + f(x)) = r_\phi(x, y_w) - r_\phi(x, y_l)$. *(both responses have the same prompt)*
# 14. So loss, gradient and accuracy stay the same. *(equation 2 reads only the margin)*
#
# The cell adds 7, −50 and 1000 to the three prompts.

# %% tags=["eq-2"]
rewards = learned["10,000 pairs"]
moved = rewards + vector(7.0, -50.0, 1000.0)[:, None]
before = reward_model_loss(rewards[x, won], rewards[x, lost])
after = reward_model_loss(moved[x, won], moved[x, lost])
print(f"largest change of the loss of any pair: {(before - after).abs().max():.4f}")
assert torch.allclose(before, after, rtol=0, atol=1e-10)

# %% [markdown]
# The data do not determine the constant. But the network must say *some* number. The **offset** is the mean of learned minus true
# reward under $\pi_{\text{ref}}$. Compare the three models; the first two saw the same pairs.

# %%
first, second = (learned[name] for name in names.values())
for i, prompt in enumerate(world.prompts):
    offsets = [(p_ref[i] * (r[i] - world.rewards[i])).sum().item() for r in learned.values()]
    agree = correlation(first[i], second[i], p_ref[i])
    print(f"{prompt:10}: offsets", ", ".join(f"≈ {offset:.2f}" for offset in offsets), end="   ")
    print(f"correlation of the first two ≈ {agree:.2f}")
    assert max(offsets) - min(offsets) > 0.05 and agree > 0.9

# %% [markdown]
# The first two agree about which response is better, to a correlation above 0.9; their constants differ by a few hundredths. The third
# lies half a nat or more above them. Nothing in the data says who is right: the constant is whatever the start and the
# way of the training left there. A learned reward of 1.3 means nothing on its own. Chapter 05 shows that no policy cares.
#
# ## What label noise does
#
# A tired judge sometimes clicks the wrong button. Let a share $\varepsilon$ of all labels be **flipped**.
#
# 15. $p' = (1 - \varepsilon)\, p + \varepsilon\, (1 - p)$. *($y_1$ is labelled winner: it won and the label was kept, or it lost and the label was flipped)*
# 16. The best margin is now $m' = \log \frac{p'}{1 - p'}$. *(line 11 with $p'$)*
# 17. $m' \to \log \frac{1 - \varepsilon}{\varepsilon}$ as the true margin goes to infinity. *($p \to 1$, so $p' \to 1 - \varepsilon$)*
# 18. The slope of $m'$ at true margin 0 is $1 - 2\varepsilon$. *(let $m$ be the true margin: $\frac{dm'}{dm} = \frac{dm'}{dp'} \cdot \frac{dp'}{dp} \cdot \frac{dp}{dm}$; at $p = p' = \frac{1}{2}$ these are $4$, $1 - 2\varepsilon$ and $\frac{1}{4}$)*

# %%
true_margins = vector(0.001, 1.0, 2.0, 4.0, 20.0)


def with_flips(margin, noise):
    p = margin.sigmoid()
    return ((1 - noise) * p + noise * (1 - p)).logit()  # lines 15 and 16


for noise in (0.0, 0.1, 0.3):
    m = with_flips(true_margins, noise)
    print(f"ε = {noise}: ", "  ".join(f"{t:g} → {v:.4f}" for t, v in zip(true_margins[1:], m[1:])))
    assert abs(m[0] / 0.001 - (1 - 2 * noise)) < 1e-5  # line 18
    if noise:
        assert abs(m[-1] - math.log((1 - noise) / noise)) < 1e-5  # line 17

# %% [markdown]
# One label in ten, and a true margin of 4 becomes 2. Large margins lose most. Look at the S on the left; on the right
# at the lowest points of the two curves.

# %%
plots.noisy_labels(noise=0.1, margin=4.0)

# %% [markdown]
# **Move ε and the margin.** Where is the green curve at $\varepsilon = 0.5$? Does the sign of the best margin ever
# change?

# %%
widgets.slider_figure(
    plots.noisy_labels,
    noise=ipywidgets.FloatSlider(value=0.1, min=0, max=0.5, step=0.01, description="ε"),
    margin=ipywidgets.FloatSlider(value=4.0, min=-5, max=5, step=0.25, description="margin"),
)

# %% [markdown]
# At one half the green curve lies flat on 0. Below one half the sign stays: noise makes a model timid, not wrong. But it does
# more than shrink. Bradley–Terry margins
# add up along a chain, and noisy ones do not. Here are three responses with rewards 4, 2, 0, and endlessly many labels.

# %%
r_true = vector(4.0, 2.0, 0.0)
margins = with_flips(r_true[:, None] - r_true[None, :], 0.1)
fit = fit_rewards(margins.sigmoid())  # shares of wins, as if from endlessly many labels
print(f"two steps: {margins[0, 1] + margins[1, 2]:.4f}    directly: {margins[0, 2]:.4f}")
print(f"best single rewards, first − last: {fit[0] - fit[2]:.4f}")
assert margins[0, 1] + margins[1, 2] > margins[0, 2] + 0.5
assert margins[0, 2] < fit[0] - fit[2] < margins[0, 1] + margins[1, 2]

# %% [markdown]
# No three numbers fit all three margins, and the best fit is a compromise. Does a GPT-2 feel it? We flip each of the 10,000 labels
# with probability 0.2 and train again. The slope is that of learned over true reward, weighted by $\pi_{\text{ref}}$.

# %%
flip = torch.rand(len(pairs), generator=generator) < 0.2
turned = [Pair(p.prompt, p.rejected, p.chosen) if f else p for p, f in zip(pairs, flip.tolist())]
learned["20 % flipped"], losses["20 % flipped"] = learn(turned)

# %%
slopes = {}
for name in ("10,000 pairs", "20 % flipped"):
    t = world.rewards[e] - expected_reward(ref_logp[e], world.rewards[e])
    slopes[name] = ((p_ref[e] * t * learned[name][e]).sum() / (p_ref[e] * t**2).sum()).item()
    m = learned[name][x, won] - learned[name][x, lost]
    accuracy = (m > 0).double().mean()
    print(f"{name:13} slope ≈ {slopes[name]:.2f}, accuracy on clean pairs ≈ {accuracy:.3f}")
assert slopes["20 % flipped"] < 0.6 * slopes["10,000 pairs"]
assert accuracy > 0.62

# %% [markdown]
# Line 18 foretells a factor of 0.6 for small margins and less for large ones. The slope falls to less than 0.6 of what
# it was: large margins lose more, and 300 steps may not be enough to find the best fit. The accuracy loses little, because the order survives.
#
# ## Over-optimisation, exactly
#
# Now please the model. Chapter 04 derives the policy that is best for a reward $r$ at a price $\beta$ for every nat of KL from the
# reference (equation 4): $\pi_r \propto \pi_{\text{ref}}\, e^{r/\beta}$. Small $\beta$ means hard optimisation. We put the *learned*
# reward in, for seventy values of $\beta$, and ask of each policy: what does the model promise, and what does the true
# reward say? Both are measured as gain over the reference, so that the constant drops out.

# %%
betas = torch.logspace(1.5, -2, 70).tolist()


def gains(rewards):
    """Optima of ``rewards`` for falling β: KL, promised gain, true gain, each a mean over prompts."""
    rows = [(0.0, 0.0, 0.0)]
    for beta in betas:
        logp = optimal_logp(ref_logp, rewards, beta)
        gain = [
            expected_reward(logp, r) - expected_reward(ref_logp, r)
            for r in (rewards, world.rewards)
        ]
        rows.append(tuple(v.mean().item() for v in (kl_divergence(logp, ref_logp), *gain)))
    return tuple(zip(*rows))


# %%
curves = {name: gains(learned[name]) for name in panels}
frontier_kl, _, frontier_gain = gains(world.rewards)

# %% [markdown]
# The dashed line is the same with the true reward in place of the learned one: no policy gains more at its KL. Look at where the light line (the
# promise) and the green line (the truth) part.

# %%
plots.promised_and_gained(curves, (frontier_kl, frontier_gain))

# %%
for name, (kl, promise, gain) in curves.items():
    best = max(range(len(gain)), key=gain.__getitem__)
    print(
        f"{name:12}: at KL ≈ {kl[-1]:.2f} promised ≈ {promise[-1]:.2f}, gained ≈ {gain[-1]:.2f};",
        end=" ",
    )
    print(f"most gained ≈ {gain[best]:.2f}, at KL ≈ {kl[best]:.2f}")
gap = {name: promise[-1] - gain[-1] for name, (_, promise, gain) in curves.items()}
assert gap["500 pairs"] > 0.3 and gap["500 pairs"] > gap["10,000 pairs"] + 0.3
assert max(curves["500 pairs"][2]) > curves["500 pairs"][2][-1] + 0.01

# %% [markdown]
# With 10,000 pairs nothing breaks within this range: the true gain stays a little under the frontier and keeps rising. (The promise is even too low.
# This model is timid: its slope was below 1.) With 500 pairs the promise is too high from the start. The true gain rises ever more slowly, has a peak,
# and then falls, while the promise still rises. That answers (b): it rises, levels off, and then
# falls. One says that the policy **over-optimises** the learned reward. [Gao et al.
# 2022](https://arxiv.org/abs/2210.10760) saw this shape with large models, where a second, bigger reward model played
# the truth; more comparisons and more parameters for the reward model made it milder.
#
# Why does it happen? Small $\beta$ seeks the largest *learned* reward, and the largest is found where the model errs upwards. Here are the
# favourites of the 500-pair model, and what they are worth.

# %% tags=["nbval-ignore-output"]
rewards = shifted("500 pairs")
print("learned   true   how often said by the reference")
for i in rewards.argsort(descending=True)[:5].tolist():
    said = p_ref[e, i].item()
    print(f"  {rewards[i]:5.2f}  {world.rewards[e, i]:5.2f}   {said:.6f}   {world.responses[i]}")

# %% [markdown]
# Some favourites are good, all are rare, and none is worth what the model says.
#
# ## What could go wrong
#
# **"Only 72 % accuracy, the training failed."** Against which ceiling? With these judges nobody can expect more than 75 %.
# For human labels the ceiling is unknown; how often two judges agree gives a hint. If each judge is right with probability $q$, they agree in
# $q^2 + (1 - q)^2$ of pairs.
#
# **"The training loss is excellent."** The loss of a good model stays above the floor of line 12. A loss far below it, over
# many pairs, is memory, as with the 500.
#
# **"My reward model reads the padding."** In a batch, short texts are filled up with padding, and the last *column* is not the last *token*.
# The head must read the last token that is not padding. Padding must change nothing:

# %%
model = build_reward_model(reference, seed=0)
prompts, texts = [[0, 1], [0, 1]], [[7, 6, 8, 4], [7, 6]]
batched = sequence_reward(model, collate(prompts, texts))  # the second is padded
alone = sequence_reward(model, collate(prompts[1:], texts[1:]))
difference = (batched[1] - alone[0]).abs().item()
print(f"second text, padded against alone: difference {difference:.4f}")
assert difference < 1e-5


# %% [markdown]
# **"Prompt A has more reward than prompt B, so its answers are better."** Rewards of different prompts are shifted by different,
# arbitrary $f(x)$. Only differences within a prompt mean something.
#
# ## Exercises
#
# ### Exercise ★ · pair_loss
#
# Write equation 2 before its average. `reward_chosen` and `reward_rejected` have shape (B,), one entry a pair. Return
# shape (B,), in nats.

# %%
def pair_loss(reward_chosen, reward_rejected):
    """Rewards (B,) and (B,) to losses in nats, (B,)."""
    # YOUR CODE HERE
    raise NotImplementedError()


# %%
check_pair_loss(pair_loss)


# %% [markdown]
# ### Exercise ★★ · accuracy_ceiling
#
# Write the Bayes ceiling of a list of pairs. `reward_a` and `reward_b` are the *true* rewards of their responses, shape
# (B,) each. A judge decides by equation 1. Return one number: the expected accuracy of someone who knows the true rewards.

# %%
def accuracy_ceiling(reward_a, reward_b):
    """True rewards (B,) and (B,) to one number, the best expected accuracy, ()."""
    # YOUR CODE HERE
    raise NotImplementedError()


# %%
check_accuracy_ceiling(accuracy_ceiling)


# %% [markdown]
# ### Exercise ★★★ · noisy_margin
#
# A share `noise` of labels is flipped. `margin` holds true margins $r^*(x, y_1) - r^*(x, y_2)$, shape (B,). Return the margins
# that minimise the expected loss under these labels, shape (B,). Try it without looking at `with_flips` above.

# %%
def noisy_margin(margin, noise):
    """True margins (B,) and a flip rate, a number, to the best margins under noise, (B,)."""
    # YOUR CODE HERE
    raise NotImplementedError()


# %%
check_noisy_margin(noisy_margin)

# %% [markdown]
# ## Quiz

# %%
widgets.Quiz(
    "A reward model has a margin of 0 on every pair, before any training. What is its loss?",
    {
        "0": "That would need σ(margin) = 1, an infinite margin on the right side.",
        "ln 2 ≈ 0.69": "σ(0) = 1/2 and −log(1/2) = ln 2: a coin, for every pair.",
        "1/2": "That is σ(0), the probability; the loss is minus its logarithm.",
    },
    right="ln 2 ≈ 0.69",
)

# %%
widgets.Quiz(
    "In each pair you add 5 to the reward of the chosen side, and nothing to the rejected side. What changes?",
    {
        "nothing: a constant cannot be seen": "Only the same constant for both responses of a prompt "
        "cancels. This one does not.",
        "every margin grows by 5": "The margin is chosen minus rejected. The loss sees this, and falls.",
        "only the offset": "An offset is added to all responses of a prompt, chosen or not.",
    },
    right="every margin grows by 5",
)

# %%
widgets.Quiz(
    "Half of the labels are flipped, at random. What does a reward model learn from endlessly many of them?",
    {
        "the true margins, only more slowly": "That is so only without noise. By line 15 every p' is now 1/2.",
        "the true margins with the opposite sign": "That would need all labels flipped, ε = 1.",
        "that all margins are 0": "p' = p/2 + (1 − p)/2 = 1/2 for every pair: the labels are coins.",
    },
    right="that all margins are 0",
)

# %% [markdown]
# ## Recap
#
# | symbol | in code | shape | equation |
# |---|---|---|---|
# | $r_\phi(x, y)$ | `sequence_reward(model, batch)`, `rewards_of(model, prompts, completions)` | (B,) | 2 |
# | $-\log \sigma(r_w - r_l)$ | `reward_model_loss(reward_chosen, reward_rejected)` | (B,) | 2 |
# | $\mathcal{L}_R$ | its `.mean()`; `train_reward_model(model, pairs, config)` makes it small | () | 2 |
# | $p^*(y_1 \succ y_2 \mid x)$ | `preference_probability(reward_a, reward_b)` | (B,) | 1 |
# | $\mathbb{E}[\max(p, 1 - p)]$ | `over_all_pairs(...)` on this page | () | Bayes ceiling |
# | $\pi_r$ | `optimal_logp(ref_logp, reward, beta)` | (P, N) | 4 |
#
# A reward model learns differences, where it has seen comparisons, in units of the judge's noise. The constant and the rare
# responses are its own invention.
#
# Next: a policy is to please a reward and yet stay near its reference; chapter 03 says what exactly is maximised.
