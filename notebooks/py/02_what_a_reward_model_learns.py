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
# | derive the loss of a reward model (equation 2) and its gradient | 13&nbsp;min |
# | train a GPT-2 with a scalar head, and judge its accuracy | 10&nbsp;min |
# | say what agreement between raters tells about that best possible | 7&nbsp;min |
# | say which part of the reward no comparison can teach | 5&nbsp;min |
# | compute what flipped labels do to the margins | 7&nbsp;min |
# | show over-optimisation exactly | 5&nbsp;min |
# | write the loss, the ceiling and the noisy margin yourself | 20&nbsp;min |
#
# You need equation 1 from chapter 01. Equation 4, the policy that is best for a reward, is used once as a tool;
# chapter 04 derives it.

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
import pandas as pd
import torch

from dpo_book import *
from dpo_book import plots, widgets
from dpo_book.checks.reward import (
    check_accuracy_ceiling,
    check_noisy_margin,
    check_pair_loss,
)
from dpo_book.models.reward_model import rewards_of
from dpo_book.quizzes import quiz
from dpo_book.worlds.references import verdicts_reference
from dpo_book.worlds.verdicts import draw_comparisons, verdicts

setup(seed=0)

# %% [markdown]
# ## Three comparisons
#
# $x$ is a prompt, $y_w$ the response that won (**chosen**), $y_l$ the one that lost (**rejected**). A reward model
# $r_\phi$ with weights $\phi$ gives each a number, in nats. The difference $r_\phi(x, y_w) - r_\phi(x, y_l)$ is the
# **margin**. Look at the last column: what does the third pair cost?

# %%
float64 = {"dtype": torch.float64}
chosen = torch.tensor([1.5, 0.2, -1.0], **float64)
rejected = torch.tensor([-0.5, 0.2, 1.0], **float64)
margin = chosen - rejected
p_win = preference_probability(chosen, rejected)
columns = {"r_w": chosen, "r_l": rejected, "margin": margin, "σ(margin)": p_win}
table = pd.DataFrame(columns | {"−log σ(margin)": -p_win.log()})
assert torch.allclose(-p_win.log(), reward_model_loss(chosen, rejected), atol=1e-12)
table.round(4)

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
# 4. For each pair only one of the two terms is there, and it is $-\log \sigma(r_\phi(x, y_w) - r_\phi(x, y_l))$. *($y_w = y_1$ if $z = 1$; $y_w = y_2$ if $z = 0,$ and the sign of $m$ turns)*
# 5. Divide by the number of pairs: *(a constant factor moves no minimum)*
#
# $$\mathcal{L}_R(r_\phi) = -\mathbb{E}\left[\log \sigma\left(r_\phi(x, y_w) - r_\phi(x, y_l)\right)\right] \tag{2}$$
#
# Line 3 is the cross-entropy of logistic regression, with the margin as its logit. So PyTorch's ready-made
# classification loss must agree with equation 2. Look for two equal numbers.

# %% tags=["eq-2"]
generator = torch.Generator().manual_seed(0)
r1, r2 = torch.randn(2, 1000, generator=generator, **float64)
z = torch.bernoulli(preference_probability(r1, r2), generator=generator)
cross_entropy = torch.nn.functional.binary_cross_entropy_with_logits(r1 - r2, z)
y_w, y_l = torch.where(z == 1, r1, r2), torch.where(z == 1, r2, r1)  # line 4
equation_2 = reward_model_loss(y_w, y_l).mean()
print(f"cross-entropy with logit m: {cross_entropy:.4f}   equation 2: {equation_2:.4f}")
assert torch.isclose(cross_entropy, equation_2, rtol=0, atol=1e-12)

# %% [markdown]
# ### The gradient
#
# 6. $\frac{d}{dm} \left[-\log \sigma(m)\right] = -(1 - \sigma(m)) = -\sigma(-m)$. *(chapter 01, fitting, line 3)*
# 7. $\frac{\partial}{\partial r_w} = -\sigma(r_l - r_w)$ and $\frac{\partial}{\partial r_l} = +\sigma(r_l - r_w)$, with $r_w, r_l$ short for the two rewards. *(the margin is $r_w - r_l$)*
# 8. $\nabla_\phi \mathcal{L}_R = -\mathbb{E}\left[\sigma(r_l - r_w)\, (\nabla_\phi r_w - \nabla_\phi r_l)\right]$. *(chain rule, for the weights)*
#
# The winner is pushed up and the loser down, equally, and by the probability that the model gave to the wrong outcome.

# %% tags=["eq-2"]
leaves = chosen.clone().requires_grad_(), rejected.clone().requires_grad_()
up, down = torch.autograd.grad(reward_model_loss(*leaves).sum(), leaves)
by_hand = (rejected - chosen).sigmoid()  # line 7
assert torch.allclose(up, -by_hand, rtol=0, atol=1e-12)
assert torch.allclose(up + down, torch.zeros(3, **float64), rtol=0, atol=1e-12)
columns = {"autograd, r_w": up, "autograd, r_l": down, "σ(r_l − r_w)": by_hand}
pd.DataFrame(columns, index=[f"margin {m:g}" for m in margin.tolist()]).round(4)

# %% [markdown]
# The last assert says that the two pushes cancel. Keep it in mind: the loss never asks a chosen and a rejected response to move
# *together*. (Both rewards come from the same weights, so they may still drift together, unasked.)
#
# ### What would be the best margin?
#
# Let the judge see the same pair for ever, and let $y_1$ win with probability $p$.
#
# 9. The average loss is $-p \log \sigma(m) - (1 - p) \log \sigma(-m)$. *(line 2, with $p$ as the average of $z$)*
# 10. It is least where $\sigma(m) = p$, and there alone, so the best margin is $m = \log \frac{p}{1 - p}$. By equation 1 this is $r^*(x, y_1) - r^*(x, y_2)$. *(chapter 07 proves it; $r^*$ is the true reward)*
# 11. There the loss is $-p \log p - (1 - p) \log (1 - p)$, the entropy of the coin, which is not zero. *(line 10 put into line 9)*
#
# So with endless labels the best that a model can do, if it is able to, is to say the true margin of every pair, and the
# loss has a **floor**. A search on a fine grid agrees:

# %%
grid = torch.linspace(-6, 6, 120_001, **float64)
zero = torch.zeros_like(grid)
rows = {}
for true_margin in torch.tensor([0.5, 1.0, 3.0], **float64):
    p = true_margin.sigmoid()
    wins, loses = reward_model_loss(grid, zero), reward_model_loss(zero, grid)
    average = p * wins + (1 - p) * loses  # line 9
    entropy = -(p * p.log() + (1 - p) * (1 - p).log())
    found, least = grid[average.argmin()], average.min()
    rows[f"true margin {true_margin:g}"] = found.item(), least.item(), entropy.item()
    assert abs(found - true_margin) < 1.1e-4 and abs(least - entropy) < 1e-8
pd.DataFrame(rows, index=["best margin", "loss there", "entropy"]).T.round(4)

# %% [markdown]
# ## Train one
#
# The world is that of chapter 00: three prompts, 14,641 four-word verdicts to each, and VADER's score as true reward
# $r^*$, from −2 to 2. The reference policy $\pi_{\text{ref}}$ writes like the critics. In this chapter it alone proposes:
# both responses of a pair are its samples. A judge decides each pair once, by equation 1: a coin with
# $p = \sigma(r^*(x, y_1) - r^*(x, y_2))$. Such a label is called **hard**.

# %% tags=["nbval-ignore-output"]
world, reference = verdicts(), verdicts_reference()
with torch.no_grad():
    ref_logp = world.logp(reference).double()
p_ref = ref_logp.exp()
pairs, _ = draw_comparisons(world, ref_logp, 10_000, "hard", seed=0, proposal=p_ref)
held_out, _ = draw_comparisons(world, ref_logp, 5_000, "hard", seed=99, proposal=p_ref)
for name, ids in zip(("prompt", "chosen", "rejected"), pairs[0][:3]):
    print(f"{name:9} {world.tokenizer.decode(ids)}")
assert len(pairs) == 10_000 and pairs[0].chosen_probability == 1.0

# %% [markdown]
# The model is a GPT-2 that starts from the body of the reference. Its last layer, which gave one number for each
# word of the vocabulary, is replaced by a **scalar head**: one number, read at the last token, the only place that has
# seen the whole response. We train three: one; the same once more, with another random start of the head and the same pairs
# in another order; and one that sees only the first 500 pairs, in as many steps.

# %%
OPTIONS = dict(learning_rate=1e-3, batch_size=64, steps=240)


def learn(pairs, seed=0):
    """A trained reward model: rewards of all responses (P, N), its last 30 losses."""
    model = build_reward_model(reference, seed)
    records = list(train_reward_model(model, pairs, RewardConfig(**OPTIONS, seed=seed)))
    responses, rewards = world.response_ids.tolist(), []
    for prompt in world.prompt_ids:
        rewards.append(rewards_of(model, [prompt] * len(responses), responses))
    loss = sum(record["loss"] for record in records[-30:]) / 30
    return torch.stack(rewards).double(), loss


# %%
learned, losses = {}, {}
learned["10,000 pairs"], losses["10,000 pairs"] = learn(pairs)
learned["once more"], losses["once more"] = learn(pairs, seed=1)
learned["500 pairs"], losses["500 pairs"] = learn(pairs[:500])


# %% [markdown]
# ## The Bayes ceiling
#
# Before we ask how good the three are, we ask what "good" can mean.
#
# The judge throws coins. Even someone who knows $r^*$ and always names the likelier winner is right only with
# probability $q = \max(p, 1 - p)$. The average of that over pairs is the **Bayes ceiling**: no model can be expected to do
# better against the judge's labels of new pairs. We compute it over *all* pairs, and the floor of line 11 with it.

# %%
def over_all_pairs(f):
    """The exact mean of f(p): y_1 ~ π_ref, then y_2 ~ π_ref until it differs."""
    means = []
    for share, reward in zip(p_ref, world.rewards):
        level, of = reward.unique(return_inverse=True)  # few different rewards: 932
        mass = torch.zeros_like(level).index_add(0, of, share)
        value = f(preference_probability(level[:, None], level[None, :])) @ mass
        itself = f(torch.tensor(0.5, **float64)) * share  # y_2 = y_1 must not count
        means.append((share * (value[of] - itself) / (1 - share)).sum())
    return torch.stack(means).mean().item()


def likelier(p):
    return torch.maximum(p, 1 - p)


# %%
ceiling = over_all_pairs(likelier)
floor = over_all_pairs(lambda p: -(p * p.log() + (1 - p) * (1 - p).log()))
print(f"Bayes ceiling of the accuracy ≈ {ceiling:.3f}")
print(f"floor of the loss ≈ {floor:.3f} nats")
assert abs(ceiling - 0.745) < 0.02 and floor < 0.6


# %% [markdown]
# That answers (a): about 75 %. Now the models. An **accuracy** means nothing before one has said *on which pairs* and
# *against what*. Here are three: against the labels of 5,000 new pairs, which the ceiling is about; on the same pairs against
# the *true order*, as if the judge never erred; and against the labels that the 500-pair model was trained on. From $n$ pairs
# an accuracy $a$ has the standard error $\sqrt{a(1-a)/n}$, at most 0.007 for the first. Equal rewards count half. Look
# for the numbers above the ceiling.

# %% tags=["nbval-ignore-output"]
def places(pairs):
    """Where the winners and the losers of pairs stand in a table of rewards (P, N)."""
    x = [world.prompt_ids.index(pair.prompt) for pair in pairs]
    won = [world.index(pair.chosen) for pair in pairs]
    return (x, won), (x, [world.index(pair.rejected) for pair in pairs])


def accuracy(right, m):
    return ((m * right > 0).double() + 0.5 * (m * right == 0)).mean().item()


won, lost = places(held_out)
seen_won, seen_lost = places(pairs[:500])
true_order = (world.rewards[won] - world.rewards[lost]).sign()
unequal = true_order != 0

# %% tags=["nbval-ignore-output"]
rows = {}
for name, r in {"the true reward": world.rewards, **learned}.items():
    m = r[won] - r[lost]
    rows[name] = {
        "new labels": accuracy(torch.ones_like(m), m),
        "true order": accuracy(true_order[unequal], m[unequal]),
        "500 training labels": accuracy(1.0, r[seen_won] - r[seen_lost]),
        "loss, new": reward_model_loss(r[won], r[lost]).mean().item(),
        "loss, training": losses.get(name),
    }
results = pd.DataFrame(rows).T
results.round(3)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
many, few = results.loc["10,000 pairs"], results.loc["500 pairs"]
assert abs(results.loc["the true reward", "new labels"] - ceiling) < 4 * 0.0062
assert results.loc["the true reward", "true order"] == 1
assert ceiling - 0.06 < many["new labels"] < ceiling + 0.03
assert few["new labels"] < many["new labels"] - 0.02
assert few["500 training labels"] > ceiling + 0.05
assert many["true order"] > ceiling + 0.05
assert few["loss, training"] < floor - 0.1 and few["loss, new"] > floor + 0.08
assert many["loss, training"] > floor - 0.1

# %% [markdown]
# Against new labels the true reward may lie on either side of the ceiling, within its error: these are 5,000 coins. With
# 10,000 pairs the model comes within six points of the ceiling, and most of what it misses there are the judge's coins:
# against the true order it is right far more often. With 500 pairs it falls clearly below.
#
# And that model gives itself away. On its own training pairs it is right more often than the ceiling allows, and its training
# loss is far under the floor: nobody can expect either on new pairs. It saw each pair some 31 times (240 steps of 64) and
# learned the coins by heart. So when you meet an accuracy near 1 in a log, as in chapter 07, ask first: on pairs that the
# model was trained on?
#
# ### What agreement between raters tells
#
# With people nobody knows $p$, so nobody knows the ceiling. What one can measure is how often two raters agree. If they are
# independent draws with the same $p$, they agree on a pair with probability $p^2 + (1 - p)^2$, which is $q^2 + (1 - q)^2$.
# It is tempting to solve $q^2 + (1 - q)^2 = A$ for "the" $q$, with $A$ the mean agreement. But $q$ differs from pair to pair:
#
# 12. $q^2 + (1 - q)^2 = \frac12 + 2\left(q - \frac12\right)^2$. *(multiply out both sides)*
# 13. $A = \frac12 + 2\, \mathbb{E}\left[\left(q - \frac12\right)^2\right] \ge \frac12 + 2 \left(\mathbb{E}[q] - \frac12\right)^2$. *(the mean of a square is at least the square of the mean: Jensen; the rest is the variance of $q$)*
# 14. So the ceiling $\mathbb{E}[q]$ is at most $\frac12 + \sqrt{(A - \frac12)/2}$, the solution with one $q$ for all. *(line 13 solved for $\mathbb{E}[q]$, which is at least ½)*
# 15. And it is at least $A$. *(naming what another rater said is right with probability $A$; naming the likelier is never worse)*

# %%
agreement = over_all_pairs(lambda p: p**2 + (1 - p) ** 2)
one_q = 0.5 + ((agreement - 0.5) / 2) ** 0.5
print(f"two judges agree ≈ {agreement:.3f}")
print(f"ceiling ≈ {ceiling:.3f}, one q for all ≈ {one_q:.3f}")
line_13 = 0.5 + 2 * over_all_pairs(lambda p: (likelier(p) - 0.5) ** 2)
assert abs(agreement - line_13) < 1e-5
assert agreement < ceiling < one_q
assert abs(one_q - 0.79) < 0.01 and abs(ceiling - 0.745) < 0.01

# %% [markdown]
# One $q$ for all says 0.79, and the ceiling of this world is 0.75. Agreement gives a bracket, from $A$ to line 14's
# bound, and the bracket is as wide as pairs are unlike each other: easy ones near $q = 1$, coins near ½. It says nothing
# about raters who do not share one $p$: two who copy from each other, or share a prejudice, agree more than that and teach a
# model the prejudice; two groups with opposite tastes agree less, and each could be foretold better than by the bracket.
#
# ## Learned against true
#
# Accuracy counts signs. What about the numbers? The picture is for the prompt "the ending". Green are responses that the
# reference says at least once in a thousand, grey all others. Learned rewards are shifted so that their mean under
# $\pi_{\text{ref}}$ is the true one; the next section says why that is allowed. Look at grey against green.

# %%
e = world.prompts.index("the ending")


def shifted(name):
    """Rewards of the ending's responses with the true mean under π_ref."""
    mean_error = p_ref[e] @ (learned[name][e] - world.rewards[e])
    return learned[name][e] - mean_error


shown = ("10,000 pairs", "500 pairs")
panels = {name: (world.rewards[e].tolist(), shifted(name).tolist()) for name in shown}
plots.learned_rewards(panels, p_ref[e].tolist())


# %% tags=["nbval-ignore-output"]
def correlation(a, b, weight):
    a, b = a - weight @ a, b - weight @ b
    return ((weight * a) @ b / ((weight @ a**2) * (weight @ b**2)).sqrt()).item()


equal = torch.full_like(p_ref[e], 1 / len(world.responses))
weights = {"weighted by π_ref": p_ref[e], "all alike": equal}
rows = {}
for name in shown:
    against = world.rewards[e], learned[name][e]
    rows[name] = {how: correlation(*against, weight) for how, weight in weights.items()}
correlations = pd.DataFrame(rows).T.rename_axis("correlation with r*")
correlations.round(2)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
by_ref, by_all = correlations["weighted by π_ref"], correlations["all alike"]
assert (by_ref > by_all + 0.1).all() and by_ref["10,000 pairs"] > 0.85

# %% [markdown]
# Where the reference speaks, the model from 10,000 pairs keeps close to the true order. The grey cloud is the rest: responses
# that were almost never compared. There both models are clearly worse. **A reward model is known to be right only where its
# comparisons came from.**
#
# ## The constant that cannot be learned
#
# Add any number $f(x)$ to all rewards of a prompt:
#
# 16. $(r_\phi(x, y_w) + f(x)) - (r_\phi(x, y_l) + f(x)) = r_\phi(x, y_w) - r_\phi(x, y_l)$. *(both responses have the same prompt)*
# 17. So loss, gradient and accuracy stay the same. *(equation 2 reads only the margin)*
#
# The first cell adds 7, −50 and 1000 to the three prompts. The second measures the **offset** of each model, the mean of
# learned minus true reward under $\pi_{\text{ref}}$. Compare its columns; the first two models saw the same pairs.

# %% tags=["eq-2"]
r = learned["10,000 pairs"]
moved = r + torch.tensor([[7.0], [-50.0], [1000.0]], **float64)
before = reward_model_loss(r[won], r[lost])
after = reward_model_loss(moved[won], moved[lost])
print(f"largest change of the loss of any pair: {(before - after).abs().max():.4f}")
assert torch.allclose(before, after, rtol=0, atol=1e-10)

# %% tags=["nbval-ignore-output"]
offsets = {name: (p_ref * (r - world.rewards)).sum(1) for name, r in learned.items()}
table = pd.DataFrame(offsets, index=world.prompts)
table["correlation of the first two"] = [
    correlation(learned["10,000 pairs"][i], learned["once more"][i], p_ref[i])
    for i in range(len(world.prompts))
]
table.round(2)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
spread = table[list(learned)].max(axis=1) - table[list(learned)].min(axis=1)
assert (spread > 0.05).all() and (table["correlation of the first two"] > 0.9).all()

# %% [markdown]
# The first two agree about which response is better, to a correlation above 0.9; the constants of the three differ. Nothing
# in the data says who is right: the constant is whatever the start and the way of the training left there. A learned reward
# of 1.3 means nothing on its own. Chapter 05 shows that no policy cares.
#
# ## What label noise does
#
# A tired judge sometimes clicks the wrong button. Let a share $\varepsilon$ of all labels be **flipped**.
#
# 18. $p' = (1 - \varepsilon)\, p + \varepsilon\, (1 - p)$. *($y_1$ is labelled winner: it won and the label was kept, or it lost and the label was flipped)*
# 19. The best margin is now $m' = \log \frac{p'}{1 - p'}$. *(line 10 with $p'$)*
# 20. $m' \to \log \frac{1 - \varepsilon}{\varepsilon}$ as the true margin goes to infinity. *($p \to 1$, so $p' \to 1 - \varepsilon$)*
# 21. The slope of $m'$ at true margin 0 is $1 - 2\varepsilon$. *(let $m$ be the true margin: $\frac{dm'}{dm} = \frac{dm'}{dp'} \cdot \frac{dp'}{dp} \cdot \frac{dp}{dm}$; at $p = p' = \frac{1}{2}$ these are $4$, $1 - 2\varepsilon$ and $\frac{1}{4}$)*

# %%
true_margins = torch.tensor([0.001, 1.0, 2.0, 4.0, 20.0], **float64)


def with_flips(margin, noise):
    p = margin.sigmoid()
    return ((1 - noise) * p + noise * (1 - p)).logit()  # lines 18 and 19


table = pd.DataFrame(index=true_margins[1:].tolist()).rename_axis("true margin")
for noise in (0.0, 0.1, 0.3):
    m = with_flips(true_margins, noise)
    table[f"ε = {noise}"] = m[1:].tolist()
    assert abs(m[0] / 0.001 - (1 - 2 * noise)) < 1e-5  # line 21
    end = torch.tensor((1 - noise) / noise if noise else torch.inf).log()
    assert not noise or abs(m[-1] - end) < 1e-5  # line 20
table.round(4)

# %% [markdown]
# One label in ten, and a true margin of 4 becomes 2. Large margins lose most. In the figure, look at the S on the left; on the
# right at the lowest points of the two curves. **Then move ε and the margin.** Where is the green curve at
# $\varepsilon = 0.5$? Does the sign of the best margin ever change?

# %%
plots.noisy_labels(noise=0.1, margin=4.0)

# %%
widgets.slider_figure(
    plots.noisy_labels,
    noise=widgets.FloatSlider(value=0.1, min=0, max=0.5, step=0.01, description="ε"),
    margin=widgets.FloatSlider(
        value=4.0, min=-5, max=5, step=0.25, description="margin"
    ),
)

# %% [markdown]
# At one half the green curve lies flat on 0. Below one half the sign stays: with endless labels noise makes a model timid,
# not wrong. But it does more than shrink. Bradley–Terry margins add up along a chain, and noisy ones do not. Here are three
# responses with rewards 4, 2, 0, and endlessly many labels.

# %%
r_true = torch.tensor([4.0, 2.0, 0.0], **float64)
margins = with_flips(r_true[:, None] - r_true[None, :], 0.1)
fit = fit_rewards(margins.sigmoid())  # shares of wins, as if from endlessly many labels
chain, direct = margins[0, 1] + margins[1, 2], margins[0, 2]
print(f"two steps: {chain:.4f}    directly: {direct:.4f}")
print(f"best single rewards, first − last: {fit[0] - fit[2]:.4f}")
assert direct < fit[0] - fit[2] < chain

# %% [markdown]
# No three numbers fit all three margins, and the best fit is a compromise. Does a GPT-2 feel it? We flip each of the 10,000
# labels with probability 0.2 and train again. The slope is that of learned over true reward, weighted by $\pi_{\text{ref}}$;
# the accuracies are those of the 5,000 new pairs, whose labels are *not* flipped.

# %% tags=["nbval-ignore-output"]
flip = torch.rand(len(pairs), generator=generator) < 0.2
turned = list(pairs)
for i in flip.nonzero().flatten().tolist():
    turned[i] = Pair(pairs[i].prompt, pairs[i].rejected, pairs[i].chosen)
learned["20 % flipped"], _ = learn(turned)
rows, t = {}, world.rewards[e] - p_ref[e] @ world.rewards[e]
for name in ("10,000 pairs", "20 % flipped"):
    r = learned[name]
    m, slope = r[won] - r[lost], (p_ref[e] * t) @ r[e] / (p_ref[e] @ t**2)
    rows[name] = {"slope": slope.item(), "new labels": accuracy(1.0, m)}
flipped = pd.DataFrame(rows).T
flipped.round(3)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
clean, noisy = flipped.to_numpy()
assert noisy[0] < 0.6 * clean[0] and noisy[1] > clean[1] - 0.06 and noisy[1] > 0.62

# %% [markdown]
# Line 21 foretells a factor of 0.6 for small margins and less for large ones, and the slope falls to less than 0.6 of what
# it was. The accuracy loses a few points at most, because noise of this kind leaves the order alone.
#
# ## Over-optimisation, exactly
#
# Now please the model. Chapter 04 derives the policy that is best for a reward $r$ at a price $\beta$ for every nat of KL from the
# reference (equation 4): $\pi_r \propto \pi_{\text{ref}}\, e^{r/\beta}$. Small $\beta$ means hard optimisation. We put the *learned*
# reward in, for seventy values of $\beta$, and ask of each policy: what does the model promise, and what does the true
# reward say? Both are measured as gain over the reference, so that the constant drops out. The dashed line is the same with
# the true reward in place of the learned one: no policy gains more at its KL. Look at where promise and truth part.

# %%
betas = torch.logspace(1.5, -2, 70).tolist()


def gains(rewards):
    """Optima of ``rewards`` for falling β: their KL, promised gain and true gain."""
    rows = []
    for beta in betas:
        logp = optimal_logp(ref_logp, rewards, beta)
        row = [kl_divergence(logp, ref_logp)]
        for r in (rewards, world.rewards):
            row.append(((logp.exp() - p_ref) * r).sum(dim=1))  # E[r] less that of π_ref
        rows.append([value.mean().item() for value in row])
    return tuple(zip(*rows))


curves = {name: gains(learned[name]) for name in shown}
frontier_kl, _, frontier_gain = gains(world.rewards)
plots.promised_and_gained(curves, (frontier_kl, frontier_gain))

# %% tags=["nbval-ignore-output"]
rows = {}
for name, (kl, promise, gain) in curves.items():
    best = max(range(len(gain)), key=gain.__getitem__)
    rows[name] = {"promised": promise[-1], "gained": gain[-1], "at KL": kl[-1]}
    rows[name] |= {"most gained": gain[best], "there KL": kl[best]}
ends = pd.DataFrame(rows).T.rename_axis("β = 0.01")
ends.round(2)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
gap, fallen = ends["promised"] - ends["gained"], ends["most gained"] - ends["gained"]
assert gap["500 pairs"] > 0.3 and gap["500 pairs"] > gap["10,000 pairs"] + 0.3
assert fallen["500 pairs"] > 0.01 and fallen["10,000 pairs"] < 0.1

# %% [markdown]
# With 10,000 pairs nothing breaks within this range: the true gain stays under the frontier, as it must, and ends at or near
# its highest. With 500 pairs the model promises far more than there is. The true gain rises, has a peak, and then falls, while
# the promise still rises. That answers (b): it rises, levels off, and then falls. One says that the policy
# **over-optimises** the learned reward. [Gao et al. 2022](https://arxiv.org/abs/2210.10760) saw this shape with large
# models, where a second, bigger reward model played the truth; more comparisons and more parameters for the reward model
# made it milder. Chapter 09 shows that DPO, which has no reward model, is not spared.
#
# Why does it happen? Small $\beta$ seeks the largest *learned* reward, and the largest is found where the model errs upwards.
# Here are the favourites of the 500-pair model, and what they are worth.

# %% tags=["nbval-ignore-output"]
r = shifted("500 pairs")
top = r.argsort(descending=True)[:5]
columns = {"learned": r[top], "true": world.rewards[e, top], "π_ref": p_ref[e, top]}
favourites = pd.DataFrame(columns, index=[world.responses[i] for i in top])
favourites.round(6)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
assert favourites["π_ref"].max() < 1e-3
assert favourites["learned"].mean() > favourites["true"].mean() + 0.1

# %% [markdown]
# All are rare, and on average they are worth less than the model says.
#
# ## What could go wrong
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
# **"Only 72 % accuracy, the training failed."** Against which ceiling? With these judges nobody can expect more than 75 %
# on new labels. For human labels the ceiling is unknown, and agreement brackets it.
#
# **"The training loss is excellent."** On new pairs a good model stays above the floor of line 11. A loss far below it, over
# many pairs, is memory, as with the 500.
#
# **"Prompt A has more reward than prompt B, so its answers are better."** Rewards of different prompts are shifted by different,
# arbitrary $f(x)$. Only differences within a prompt mean something.
#
# ## Exercises

# %% [markdown]
# ### Exercise · pair_loss
#
# Difficulty ★☆☆ · importance ●●● · 4 minutes
#
# Write equation 2 before its average. `reward_chosen` and `reward_rejected` have shape (B,), one entry a pair. Return
# shape (B,), in nats. It must carry gradients. Do not call `reward_model_loss`.

# %%
def pair_loss(reward_chosen, reward_rejected):
    """Rewards (B,) and (B,) to losses in nats, (B,)."""
    # YOUR CODE HERE
    raise NotImplementedError()


# %%
check_pair_loss(pair_loss)


# %% [markdown]
# ### Exercise · accuracy_ceiling
#
# Difficulty ★★☆ · importance ●●○ · 6 minutes
#
# Write the Bayes ceiling of a list of pairs. `reward_a` and `reward_b` are the *true* rewards of their responses, shape
# (B,) each. A judge decides by equation 1. Return one number: the expected accuracy, against the judge's labels, of someone
# who knows the true rewards.

# %%
def accuracy_ceiling(reward_a, reward_b):
    """True rewards (B,) and (B,) to one number, the best expected accuracy, ()."""
    # YOUR CODE HERE
    raise NotImplementedError()


# %%
check_accuracy_ceiling(accuracy_ceiling)


# %% [markdown]
# ### Exercise · noisy_margin
#
# Difficulty ★★★ · importance ●○○ · 10 minutes
#
# A share `noise` of labels is flipped. `margin` holds true margins $r^*(x, y_1) - r^*(x, y_2)$, shape (B,). Return the margins
# that minimise the expected loss under these labels, shape (B,), as a formula. Try it without `with_flips` above.

# %%
def noisy_margin(margin, noise):
    """True margins (B,) and a flip rate to the best margins under noise, (B,)."""
    # YOUR CODE HERE
    raise NotImplementedError()


# %%
check_noisy_margin(noisy_margin)

# %% [markdown]
# ## Quiz

# %%
quiz("02", 1)

# %%
quiz("02", 2)

# %%
quiz("02", 3)

# %% [markdown]
# ## Recap
#
# | symbol | in code | shape | equation |
# |---|---|---|---|
# | $r_\phi(x, y)$ | `sequence_reward(model, batch)`, `rewards_of(model, prompts, completions)` | (B,) | 2 |
# | $-\log \sigma(r_w - r_l)$ | `reward_model_loss(reward_chosen, reward_rejected)` | (B,) | 2 |
# | $\mathcal{L}_R$ | its `.mean()`; `train_reward_model(model, pairs, config)` makes it small | () | 2 |
# | $p^*(y_1 \succ y_2 \mid x)$ | `preference_probability(reward_a, reward_b)` | (B,) | 1 |
# | $\mathbb{E}[\max(p, 1 - p)]$ | `over_all_pairs(likelier)` on this page | () | Bayes ceiling |
# | $\pi_r$ | `optimal_logp(ref_logp, reward, beta)` | (P, N) | 4 |
#
# A reward model learns differences, where it has seen comparisons, in units of the judge's noise. The constant and the rare
# responses are its own invention.
#
# Next: a policy is to please a reward and yet stay near its reference; chapter 03 says what exactly is maximised.
