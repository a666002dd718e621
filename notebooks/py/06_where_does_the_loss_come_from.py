# %% [markdown]
# # 06 · Where does the DPO loss come from?
#
# So far we have a formula for how people choose (equation 1) and one for the best policy (equation 4), which can be
# turned around to tell which reward a policy is best *for* (equation 5). Put that reward into the first formula and
# something falls out that needs no reward model, no sampling and no Z: a loss of the policy alone. This chapter does it
# in six lines, takes the gradient by hand, breaks the implementation on purpose where real code breaks, writes the whole
# of DPO training in one cell, and takes its most important part away to see what it was for.
#
# **Write down a prediction first.** Training starts with the policy equal to the reference. It then prefers neither
# response of any pair more than the reference does, and the loss is $\ln 2$ for every pair. Is the gradient zero as well?
#
# | after this chapter you can | |
# |---|---|
# | derive the DPO loss from equations 1 and 5 | 9&nbsp;min |
# | take its gradient by hand, and say what its weight does and what happens without it | 14&nbsp;min |
# | tell a sum from a mean of token log-probabilities, and what a missing reference does | 9&nbsp;min |
# | read the whole of DPO training, line by line, and say which lines are DPO's own | 6&nbsp;min |
# | find a missing end, counted padding and a wrong template in a log | 6&nbsp;min |
# | write `dpo_loss`, its weight and the log-probabilities it needs yourself | 25&nbsp;min |
#
# You need chapters 01, 04 and 05, or their three results, which the derivation recalls. Symbols: prompt $x$, winner
# $y_w$, loser $y_l$, policy $\pi_\theta$ with weights $\theta$, reference $\pi_{\text{ref}}$, price of straying $\beta$,
# logistic function $\sigma(z) = 1/(1 + e^{-z})$. Rewards and log-probabilities are in **nats**, the unit of the natural
# logarithm; a **log-ratio** is $\log(\pi_\theta/\pi_{\text{ref}})$, how much likelier the policy makes a response than
# the reference.

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
from itertools import product

import pandas as pd
import torch
import torch.nn.functional as F

from dpo_book import *
from dpo_book import plots, widgets
from dpo_book.checks.dpo import *
from dpo_book.data.batches import batches_by_length
from dpo_book.data.pairs import pair_lengths
from dpo_book.models.sampling import sample_ids
from dpo_book.quizzes import quiz
from dpo_book.worlds import references, tiny_reviews, verdicts as source

setup(seed=0)

# %% [markdown]
# ## The smallest example
#
# Three responses to one prompt, a reference, a reward. Everything below runs on these six numbers first.

# %%
ref = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64).log()  # log π_ref
reward = torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64)  # r*
beta = 0.5
star = optimal_logp(ref, reward, beta)  # log π*, equation 4
pd.DataFrame({"π_ref": ref.exp(), "r*": reward, "π*": star.exp()}).round(4)

# %% [markdown]
# ## The derivation
#
# 1. How likely is $y_w$ to be preferred? $p^*(y_w \succ y_l \mid x) = \sigma(r^*(x, y_w) - r^*(x, y_l))$. *(Equation 1.)*
# 2. Which reward is $\pi^*$ best for? $r^*(x, y) = \beta \log \frac{\pi^*(y \mid x)}{\pi_{\text{ref}}(y \mid x)} + \beta
#    \log Z(x)$. *(Equation 5: equation 4 solved for the reward.)*
# 3. Their difference: $r^*(x, y_w) - r^*(x, y_l) = \beta \log \frac{\pi^*(y_w \mid x)}{\pi_{\text{ref}}(y_w \mid x)} -
#    \beta \log \frac{\pi^*(y_l \mid x)}{\pi_{\text{ref}}(y_l \mid x)}$. *(One prompt, one $Z(x)$: chapter 05.)*
# 4. Put 3 into 1: $p^*(y_w \succ y_l \mid x) = \sigma\left(\beta \log \frac{\pi^*(y_w \mid x)}{\pi_{\text{ref}}(y_w \mid
#    x)} - \beta \log \frac{\pi^*(y_l \mid x)}{\pi_{\text{ref}}(y_l \mid x)}\right)$. *(Equation 6; chapter 05 wrote σ
#    out.)*
# 5. We do not have $\pi^*$, but we can ask for a policy $\pi_\theta$ under which the observed preferences are likely: put
#    $\pi_\theta$ in its place and maximise the likelihood. *(Maximum likelihood, as in chapter 01. With comparisons
#    without end, of all pairs, and among all distributions, $\pi^*$ alone has the smallest loss: chapter 07 proves it.)*
# 6. The likelihood of a pair is $\sigma(\cdot)$ of the difference; its negative logarithm, averaged over the pairs, is
#
# $$\begin{aligned}\mathcal{L}_{\text{DPO}}(\pi_\theta; \pi_{\text{ref}}) = -\,\mathbb{E}_{(x, y_w, y_l)}\biggl[\log \sigma\biggl(
# &\beta \log \frac{\pi_\theta(y_w \mid x)}{\pi_{\text{ref}}(y_w \mid x)} \\
# {} - {} &\beta \log \frac{\pi_\theta(y_l \mid x)}{\pi_{\text{ref}}(y_l \mid x)}\biggr)\biggr]\end{aligned} \tag{7}$$
#
# It is the reward-model loss (equation 2) with the reward replaced by the **implicit reward** $\hat r(x, y) = \beta \log
# \frac{\pi_\theta(y \mid x)}{\pi_{\text{ref}}(y \mid x)}$. The policy *is* the reward model.
#
# Steps 3 and 4 in numbers, for winner 2 and loser 0. Look for two pairs of equal numbers.

# %% tags=["eq-5", "eq-6"]
won, lost = 2, 0
from_reward = preference_probability(reward[won], reward[lost])
logps = star[won], star[lost], ref[won], ref[lost]
from_policies = policy_preference_probability(*logps, beta)
implicit = implicit_reward(star, ref, beta)
print(f"difference of rewards          {reward[won] - reward[lost]:.4f}")
print(f"difference of implicit rewards {implicit[won] - implicit[lost]:.4f}")
print(f"p* from equation 1 {from_reward:.4f}   from equation 6 {from_policies:.4f}")
log_z = log_partition(ref, reward, beta)
assert torch.allclose(implicit + beta * log_z, reward, atol=1e-10)
assert torch.allclose(from_reward, from_policies, atol=1e-10)

# %% [markdown]
# And step 6: equation 7 written out with the numbers, against the package's `dpo_loss`. The policy here is some policy,
# not the best one.

# %% tags=["eq-7"]
pi = torch.tensor([0.4, 0.3, 0.3], dtype=torch.float64).log()  # log π_θ
m = beta * (pi[won] - ref[won]) - beta * (pi[lost] - ref[lost])
by_hand = -torch.log(torch.sigmoid(m))
four = pi[[won]], pi[[lost]], ref[[won]], ref[[lost]]
loss, chosen_reward, rejected_reward = dpo_loss(*four, beta)
print(f"by hand {by_hand:.4f}   dpo_loss {loss.item():.4f}")
print(f"r̂(y_w) = {chosen_reward.item():.4f}   r̂(y_l) = {rejected_reward.item():.4f}")
assert torch.allclose(loss, by_hand, atol=1e-10)
equation_2 = reward_model_loss(chosen_reward, rejected_reward)
assert torch.allclose(loss, equation_2, atol=1e-10)


# %% [markdown]
# ## The gradient
#
# Write $m = \hat r(x, y_w) - \hat r(x, y_l)$ for the margin.
#
# 1. $\frac{d}{dm}(-\log \sigma(m)) = -(1 - \sigma(m)) = -\sigma(-m)$. *(Because $\sigma' = \sigma(1 - \sigma)$.)*
# 2. $\nabla_\theta m = \beta\,(\nabla_\theta \log \pi_\theta(y_w \mid x) - \nabla_\theta \log \pi_\theta(y_l \mid x))$. *(The
#    reference does not depend on $\theta$.)*
# 3. Chain rule:
#
# $$\begin{aligned}\nabla_\theta \mathcal{L}_{\text{DPO}} = -\,\mathbb{E}\Bigl[\;\underbrace{\beta\,\sigma(\hat r(x, y_l) -
# \hat r(x, y_w))}_{\text{weight}}\;\Bigl(&\underbrace{\nabla_\theta \log \pi_\theta(y_w \mid x)}_{\text{make likelier}} \\
# {} - {} &\underbrace{\nabla_\theta \log \pi_\theta(y_l \mid x)}_{\text{make less likely}}\Bigr)\Bigr]\end{aligned}$$
#
# Three ways to the same gradient, for logits $\theta$ of the three responses ($\nabla_\theta \log \pi_\theta(i)$ is the
# $i$-th unit vector minus $\pi_\theta$): by hand, by autograd, by finite differences. Look for three equal rows. The
# fourth has the other sign inside σ.

# %%
def loss_at(logits):
    logp = logits.log_softmax(0)
    return dpo_loss(logp[[won]], logp[[lost]], *four[2:], beta)[0].sum()


logits = pi.clone().requires_grad_()
(by_autograd,) = torch.autograd.grad(loss_at(logits), logits)
unit = torch.eye(3, dtype=torch.float64)
contrast = (unit[won] - pi.exp()) - (unit[lost] - pi.exp())
by_hand = -beta * torch.sigmoid(rejected_reward - chosen_reward) * contrast
flipped = -beta * torch.sigmoid(chosen_reward - rejected_reward) * contrast

# %%
h = 1e-6
differences = [loss_at(pi + e) - loss_at(pi - e) for e in h * unit]
rows = {
    "by hand": by_hand,
    "autograd": by_autograd,
    "differences": torch.stack(differences) / (2 * h),
    "by hand, σ(r̂_w − r̂_l)": flipped,
}
assert torch.allclose(by_hand, by_autograd, atol=1e-10)
assert torch.allclose(rows["differences"], by_autograd, atol=1e-8)  # error of order h²
assert (flipped - by_autograd).abs().max() > 0.05
pd.DataFrame(rows).T.round(4) + 0.0

# %% [markdown]
# The response that is neither winner nor loser has gradient zero: its share cancels.
#
# ### What the weight does
#
# The weight is $\beta$ times the probability that the policy, read as a judge, gives to the *loser*. A pair that is
# ranked right by a wide margin hardly pulls any more; one that is ranked wrong by a wide margin pulls with nearly all of
# $\beta$. The figure draws loss and weight against $m/\beta$, the winner's log-ratio minus the loser's; the black dot is one pair, with
# $m/\beta = 2$. Look at both ends of the right panel: $\beta$ on the left, 0 on the right, and $\beta/2$ in the middle.

# %%
plots.loss_and_weight(beta=0.5, difference=2.0)

# %%
betas = {"base": 10, "min": -1, "max": 0.7, "step": 0.05}
differences = {"min": -20, "max": 20, "step": 0.5}
widgets.slider_figure(
    plots.loss_and_weight,
    beta=widgets.FloatLogSlider(value=0.5, **betas, description="β"),
    difference=widgets.FloatSlider(value=2.0, **differences, description="m/β"),
)

# %% [markdown]
# The horizontal axis, the difference of the two log-ratios, is what the policy controls. A small
# $\beta$ makes the loss flat there: the policy may stray far before the loss is satisfied. That is the sense in which β
# holds the policy back, and it is no scale of the loss: no learning rate turns one of these curves into another.
#
# ### At the start
#
# With $\pi_\theta = \pi_{\text{ref}}$ the margin is 0, so the loss is $-\log \sigma(0) = \ln 2$ and the weight is
# $\beta\,\sigma(0) = \beta/2$. The prediction at the top: what is the gradient?

# %%
logits = ref.clone().requires_grad_()
start = loss_at(logits)
(gradient,) = torch.autograd.grad(start, logits)
print(f"loss {start:.4f}, ln 2 = {math.log(2):.4f}, β/2 = {beta / 2}")
print("gradient:", "  ".join(f"{value + 0.0:.2f}" for value in gradient.tolist()))
assert abs(start - math.log(2)) < 1e-12
assert torch.allclose(gradient, -beta / 2 * (unit[won] - unit[lost]), atol=1e-12)

# %% [markdown]
# Not zero: $-\frac{\beta}{2}$ on the winner, $+\frac{\beta}{2}$ on the loser. A loss of 0.6931 at step 1 is no sign of a
# frozen model.
#
# ## From logits to log π(y|x)
#
# Equation 7 needs $\log \pi(y \mid x)$ of whole responses. A language model gives logits for one token at a time, so
# $\log \pi(y \mid x) = \sum_t \log \pi(y_t \mid x, y_{<t})$: the log-probability of each response token given all before
# it, **summed**. Here is that sum, slowly and in the open, for one pair of chapter 00's verdict world (prompts such as
# "the acting", responses of four words), each response read alone. The package's `sequence_logp` reads a batch:
# `collate` pads rows of token ids to one length, with a mask that is true on the response's tokens.

# %%
world, reference = source.verdicts(), references.verdicts_reference()
prompt = world.tokenizer("the acting").input_ids
chosen = world.tokenizer("very very good acting").input_ids
rejected = world.tokenizer("good but very dull").input_ids
batch = collate([prompt, prompt], [chosen, rejected])  # two rows


@torch.no_grad()
def slow_logp(model, prompt, response):
    ids = torch.tensor([prompt + response])
    logits = model(ids, attention_mask=torch.ones_like(ids)).logits[0]
    logp = logits.log_softmax(-1)  # (T, V): row t predicts token t + 1
    return sum(logp[t - 1, ids[0, t]] for t in range(len(prompt), ids.shape[1]))


slow = torch.stack([slow_logp(reference, prompt, y) for y in (chosen, rejected)])
assert torch.allclose(slow, sequence_logp(reference, batch), atol=1e-4)  # float32


# %% [markdown]
# Winner and loser are two *rows* of a batch, and rows do not see each other: alone or in company, the same number.
#
# ### Four ways to break it
#
# Each is easily made. Logits are of shape (B, T, V) for B rows (here the two responses), T tokens and a vocabulary of V;
# token ids and mask are (B, T). The right score drops the last row of the logits, which predicts a token that is not
# there, and the first token, which nothing predicts: after that, row and token belong together. What is wrong in each of
# the others, and what will it do to the margin?

# %%
def token_logp(logits, targets):
    """log π of each target, a token id, by the row of logits at its place: (B, T)."""
    return logits.log_softmax(-1).gather(-1, targets[..., None])[..., 0]


def scores(logits, ids, mask):
    """log π(y|x) in five ways, of which one is right: (B,) each."""
    next_logp = token_logp(logits[:, :-1], ids[:, 1:])
    right = (next_logp * mask[:, 1:]).sum(1)
    return {
        "right": right,
        "mean over tokens": right / mask.sum(1),
        "off by one": (token_logp(logits, ids) * mask).sum(1),
        "first token dropped": (next_logp * mask[:, :-1]).sum(1),
        "prompt not masked": next_logp.sum(1),
    }


# %% [markdown]
# The reference is the trained GPT-2 (`nano`: two layers, 64 wide), an untrained one plays the policy, and $\beta = 1$.
# Look for the mistake that does not show.

# %% tags=["nbval-ignore-output"]
other = build_policy("nano", world.tokenizer, seed=1)
ids, mask = batch.input_ids, batch.completion_mask
with torch.no_grad():
    by_policy = scores(other(ids).logits.double(), ids, mask)
    by_reference = scores(reference(ids).logits.double(), ids, mask)
margins = {}
for name in by_policy:
    log_ratios = by_policy[name] - by_reference[name]
    margins[name] = (log_ratios[0] - log_ratios[1]).item()  # β = 1
right = margins["right"]
assert abs(margins["mean over tokens"] - right / 4) < 1e-6
assert abs(margins["prompt not masked"] - right) < 1e-6
pd.DataFrame({"margin": margins}).round(3)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
assert abs(margins["off by one"] - right) > 0.1
assert abs(margins["first token dropped"] - right) > 0.1

# %% [markdown]
# - **Off by one**: row $t$ of the logits predicts token $t + 1$, but it is asked for token $t$, which it has already
#   read. The number looks plausible and means nothing.
# - **First token dropped**: the mask was not shifted with the ids.
# - **Prompt not masked**: the same margin! Both responses carry the same prompt, so its log-probability cancels like
#   $Z(x)$ does. In the *margin*, that is. The logged log-probabilities are wrong, and the moment that one adds a loss on
#   the chosen response alone, so is the training.
# - **Mean instead of sum**: a quarter of the margin, for four tokens: equation 7 at $\beta/4$. With unequal lengths it is
#   no longer equation 7 at any β. Eight tokens, each 0.2 nats likelier than under the reference, against two tokens, each
#   0.5 likelier: which response has the higher implicit reward?

# %%
long, short = torch.full((8,), 0.2), torch.full((2,), 0.5)  # log-ratios of the tokens
of_sums = long.sum() - short.sum()
of_means = long.mean() - short.mean()
print(f"sums:  {long.sum():.1f} against {short.sum():.1f}, margin {of_sums:+.1f}")
print(f"means: {long.mean():.1f} against {short.mean():.1f}, margin {of_means:+.1f}")
assert of_sums > 0 > of_means  # no β > 0 makes one of the other

# %% [markdown]
# They disagree about who is ahead, and no β mends a sign.
#
# ### Without a reference
#
# `reference_free=True` takes all log-probabilities of the reference as equal, so that they drop out of the margin. Over a
# *fixed finite* set of responses, such as all verdicts of four words, that is a uniform reference, and equation 4 gives
# the optimum: $\pi \propto e^{r/\beta}$. We check that under it every margin is the difference of the true rewards, so
# that equation 6 gives people's own probabilities. Then look at how much of what it says stands in one of the critics'
# phrases.

# %%
free = (world.rewards / beta).log_softmax(-1)  # softmax of r/β, (3, 14641)
y1, y2 = torch.randint(14641, (2, 1000))
_, r1, r2 = dpo_loss(free[0, y1], free[0, y2], None, None, beta, reference_free=True)
gaps = world.rewards[0, y1] - world.rewards[0, y2]
assert torch.allclose(r1 - r2, gaps, atol=1e-10)
uniform = torch.full_like(free, -math.log(14641))
assert torch.allclose(free, optimal_logp(uniform, world.rewards, beta), atol=1e-10)

# %% tags=["nbval-ignore-output"]
phrased = torch.zeros_like(free)
for i, x in enumerate(world.prompts):
    for phrase, a, b in product(source.PHRASES, source.OPINIONS[x], source.OPINIONS[x]):
        verdict = phrase.format(a=a, b=b, noun=x.split()[1])
        phrased[i, world.responses.index(verdict)] = 1
with torch.no_grad():
    ref_logp = world.logp(reference).double()  # of all responses, (3, 14641)
best = optimal_logp(ref_logp, world.rewards, beta)
rows = {"π_ref": ref_logp, "π*": best, "optimum without a reference": free}
shares = {name: (p.exp() * phrased).sum(1).mean().item() for name, p in rows.items()}
pd.DataFrame({"in critics' phrases": shares}).round(2)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
assert shares["optimum without a reference"] < 0.1 and shares["π*"] > 0.8

# %% [markdown]
# Nothing keeps the language a language. And a real model stops when it likes: its responses have all lengths. Over those
# there is no uniform distribution, and the optimum itself is gone:
#
# 1. If $r \geq r_{\min}$, each response adds at least $e^{r_{\min}/\beta} > 0$ to $\sum_y e^{r(x, y)/\beta}$.
# 2. There are infinitely many responses, so the sum is infinite, and $e^{r/\beta}$ over it is no distribution.
# 3. With a reference it is finite: $\sum_y \pi_{\text{ref}}(y \mid x)\, e^{r(x, y)/\beta} \leq e^{r_{\max}/\beta}$, for
#    $\pi_{\text{ref}}$ sums to 1.
#
# Count it out: let verdicts have one to four words. Which length gets the probability?

# %%
totals = {}
for n in (1, 2, 3, 4):
    texts = [" ".join(of_n) for of_n in product(source.WORDS, repeat=n)]
    r = torch.tensor([world.reward("the acting", y) for y in texts])
    totals[n] = len(texts), (r / beta).exp().sum().item()
table = pd.DataFrame(totals, index=["responses", "Σ exp(r/β)"]).T
table["share"] = table["Σ exp(r/β)"] / table["Σ exp(r/β)"].sum()
assert (table["Σ exp(r/β)"] >= table["responses"] * math.exp(-2 / beta)).all()  # step 1
assert table["share"].iloc[-1] > 0.9
table.round(3).rename_axis("words")

# %% [markdown]
# The longest that is allowed, and so on without end: each word more is eleven times as many responses.
#
# ## The loop in the open
#
# Now everything is there for a real run. First the data: 1,280 pairs of verdicts. Of the verdicts 40 % are the
# reference's own, 40 % the best of 16 of them by the true reward, and 20 % any four words. For each pair a coin falls as
# people choose (equation 1, with the true reward). Here are three of them, the winner on the left.

# %% tags=["nbval-ignore-output"]
pairs, _ = source.draw_comparisons(world, ref_logp, 1280, labels="hard", seed=0)
for pair in pairs[:3]:
    x, y_w, y_l = (world.tokenizer.decode(ids) for ids in pair[:3])
    print(f"{x}: {y_w}  ≻  {y_l}")

# %% [markdown]
# And here is the whole of DPO training: a GPT-2, ten steps of 128 pairs. Two functions do what this chapter has derived,
# `sequence_logp` and `dpo_loss`. Two only arrange token ids: `batches_by_length` says which pairs make up the next batch
# (shuffled, those of like length together), and `collate` pads. Look for the five lines that are DPO's own, from
# `x, y_w, y_l` to `dpo_loss`. Around them stands what every training loop has, and the last line keeps a log. The
# reference stays as it is: it asks for no gradient, and the optimizer holds the policy's weights alone.

# %%
reference.requires_grad_(False)
policy = copy_policy(reference)  # π_θ starts as π_ref
optimizer = torch.optim.AdamW(policy.parameters(), weight_decay=0.0)
in_the_open = []
for step, rows in zip(range(10), batches_by_length(pair_lengths(pairs), 128)):
    x, y_w, y_l = zip(*[pairs[i][:3] for i in rows])
    both = collate(x * 2, y_w + y_l)  # 128 rows of winners, then 128 of losers
    pi_w, pi_l = sequence_logp(policy, both).chunk(2)  # log π_θ(y|x)
    ref_w, ref_l = sequence_logp(reference, both).chunk(2)  # log π_ref(y|x)
    losses, r_w, r_l = dpo_loss(pi_w, pi_l, ref_w, ref_l, beta)
    losses.mean().backward()
    torch.nn.utils.clip_grad_norm_(policy.parameters(), max_norm=1.0)
    optimizer.param_groups[0]["lr"] = 2.5e-4 * (1 + math.cos(math.pi * step / 10))
    optimizer.step(), optimizer.zero_grad()
    in_the_open.append((losses.mean().item(), (r_w - r_l).mean().item()))

# %% [markdown]
# | in the cell | on the page | equation |
# |---|---|---|
# | `pi_w`, `ref_w` | $\log \pi_\theta(y_w \mid x)$, $\log \pi_{\text{ref}}(y_w \mid x)$: sums over tokens | – |
# | `r_w`, `r_l` | $\hat r(x, y_w)$, $\hat r(x, y_l)$, without the $\beta \log Z(x)$ that cancels | 5 |
# | `losses.mean()` | $\mathcal{L}_{\text{DPO}}$, the mean over the batch in place of $\mathbb{E}$ | 7 |
# | `.backward()` | $\nabla_\theta \mathcal{L}_{\text{DPO}}$: autograd finds the weight of every pair by itself | gradient of 7 |
#
# Is that really all? The package's `train_dpo`, with which the other chapters train, gets the same pairs and settings.
# Compare the two losses, row by row.

# %% tags=["nbval-ignore-output"]
steps = dict(learning_rate=5e-4, batch_size=128, steps=10, warmup_steps=0)
config = DPOConfig(beta=beta, max_grad_norm=1.0, **steps)
records = list(train_dpo(copy_policy(reference), reference, pairs, config))
log = pd.DataFrame(in_the_open, columns=["loss in the open", "margin"])
log.insert(1, "loss of train_dpo", [record["loss"] for record in records])
# Over 20 seeds at most 2e-7 apart. AdamW's own weight decay, 0.01, makes 3e-6 or more.
apart = log["loss in the open"] - log["loss of train_dpo"]
assert (apart.abs() < 1e-6).all()
assert abs(in_the_open[0][0] - math.log(2)) < 1e-6
log.index = range(1, 11)
log.round(4).rename_axis("step")

# %% jupyter={"source_hidden": true} tags=["hide-input"]
later = log.iloc[1:]
assert (later["margin"] > 0).all()
assert (later["loss in the open"] < math.log(2)).all()

# %% [markdown]
# The same, step by step, to within a millionth, though a last printed digit may round the other way: both compute in
# float32, and `train_dpo` adds up in another order, for it runs each prompt once for both responses (chapter 13 shows it). The first loss is $\ln 2$ and
# the first margin 0, as they must be at the start. Then every margin is above 0 and every loss below $\ln 2$, both
# unevenly: each batch has pairs that were not seen before, and some coins have fallen against the better response.
#
# ## Without the weight
#
# Why not simply make winners likelier and losers less likely? Fix the weight at its first value, $\beta/2$: the loss is
# then $-m/2$, with the same first gradient. Take one pair, whose first response wins with probability $p$, and look at
# the weight on average over the label:
#
# 1. With the weight: $p\,\beta\,\sigma(-m) - (1 - p)\,\beta\,\sigma(m) = \beta\,(p - \sigma(m))$, since $\sigma(-m) = 1 -
#    \sigma(m)$. It pulls until $\sigma(m) = p$, then it stops, and beyond it pulls back.
# 2. Without it: $p\,\frac{\beta}{2} - (1 - p)\,\frac{\beta}{2} = \beta\,(p - \frac{1}{2})$, whatever $m$ is. It never stops.
#
# Both on the three responses, as a table of logits, all pairs, their exact $p^*$:

# %%
better = preference_probability(reward[:, None], reward[None, :])  # p*, (3, 3)


def descend(loss_of, steps=1000):
    logits = ref.clone().requires_grad_()
    for _ in range(steps):
        r_hat = beta * (logits.log_softmax(0) - ref)
        losses = better * loss_of(r_hat[:, None] - r_hat[None, :])
        (gradient,) = torch.autograd.grad(losses.sum(), logits)
        logits.data -= gradient
    return logits.detach().softmax(0)


kinds = {"with the weight": lambda m: -F.logsigmoid(m), "without it": lambda m: -m / 2}
rows = {name: descend(loss_of) for name, loss_of in kinds.items()}
assert torch.allclose(rows["with the weight"], star.exp(), atol=1e-6)
pd.DataFrame({"π*": star.exp()} | rows).T.round(4)

# %% [markdown]
# With the weight: π*. Without it all probability runs to one response, though people would choose another quite often;
# twice the steps move its logits twice as far. Now a GPT-2 in chapter 00's verdict world, still at $\beta = 0.5$, both
# ways from the same start, a reference that imitates critics, on the same 10,240 new pairs. As in "The loop in the open", 40 %
# of their verdicts are the reference's own, 40 % the best of 16 of these by the true reward, and 20 % any four words; a coin
# by equation 1 says who wins. In the table, look at how far each goes. "In critics' phrases" is the probability of all
# verdicts of a form that critics use, such as "very good but dull"; the likeliest verdict is the first prompt's.

# %%
more, _ = source.draw_comparisons(world, ref_logp, 80 * 128, labels="hard", seed=1)


def train(loss_of):
    policy, margins = copy_policy(reference), []
    optimizer = torch.optim.AdamW(policy.parameters(), lr=5e-4, weight_decay=0.0)
    for _, rows in zip(range(80), batches_by_length(pair_lengths(more), 128)):
        x, y_w, y_l = zip(*[more[i][:3] for i in rows])
        both = collate(x * 2, y_w + y_l)
        log_ratio = sequence_logp(policy, both) - sequence_logp(reference, both)
        m = beta * (log_ratio[:128] - log_ratio[128:])
        loss_of(m).mean().backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), max_norm=1.0)
        optimizer.step(), optimizer.zero_grad()
        margins.append(m.mean().item())
    return policy, margins


# %% tags=["nbval-ignore-output"]
runs = {name: train(loss_of) for name, loss_of in kinds.items()}
tables, rows = {"π_ref": ref_logp, "π*": best}, {}
for name, (policy, margins) in runs.items():
    print(f"{name}: margin of the last ten batches ≈ {sum(margins[-10:]) / 10:.2f}")
    with torch.no_grad():
        tables[name] = world.logp(policy).double()
for name, logp in tables.items():
    kl_ref, kl_star = (kl_divergence(logp, to).mean().item() for to in (ref_logp, best))
    share = (logp.exp() * phrased).sum(1).mean().item()
    top = logp[0].argmax()
    likeliest = world.responses[top], logp[0, top].exp().item()
    rows[name] = kl_ref, kl_star, share, *likeliest
columns = ["KL to π_ref", "KL to π*", "in critics' phrases", "likeliest", "probability"]
results = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
results.round(2)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
with_it, without = results.loc["with the weight"], results.loc["without it"]
assert with_it["KL to π*"] < results.loc["π_ref", "KL to π*"]
assert without["KL to π*"] > 1.5 * results.loc["π_ref", "KL to π*"]
assert without["KL to π_ref"] > 2.5 * results.loc["π*", "KL to π_ref"]
phrases = "in critics' phrases"
assert without[phrases] < min(with_it[phrases], results.loc["π*", phrases] - 0.1)
assert without["probability"] > 1.5 * with_it["probability"]
last = {name: sum(margins[-10:]) / 10 for name, (_, margins) in runs.items()}
assert last["without it"] > 2 * last["with the weight"]

# %% [markdown]
# The paper (section 4) warns that a language model can degenerate without the weight. Here, measured over all responses:
# the margins run away, the policy goes several times as far from the reference as π* and ends farther from π* than it
# started, and its likeliest verdict takes a multiple of the probability. Less of what it says is in a critic's phrase.
# (That falls with the weight too, if less: these are single coins, and one pass over the pairs.)
#
# ## The end, the padding, the template
#
# Verdicts have no end mark and one length. Real responses end with a token of their own, EOS, and in a batch the shorter
# ones are padded. We turn to the film reviews of `TinyReviews`. Their tokenizer, like many a GPT-2's, pads with EOS.
# First mistake: somebody hides padding from the loss by *hiding every token that is the pad token*. Two GPT-2s (`mini`: four
# layers) imitate 960 reviews for a moment, one with the true end, one with it hidden. Then each continues 100 prompts, up
# to 40 tokens. Look at what the log says, and at what they do.

# %% tags=["nbval-ignore-output"]
reviews = tiny_reviews.tiny_reviews()
eos = reviews.tokenizer.eos_token_id  # and the pad token
texts = reviews.tokenize(reviews.corpus(960))  # (prompt, response) as ids, EOS included
hidden = [(x, [token for token in y if token != eos]) for x, y in texts]
config = SFTConfig(learning_rate=3e-3, batch_size=16, steps=60)
rows, models = {}, {}
for name, data in {"true end": texts, "pad = EOS hidden": hidden}.items():
    models[name] = build_policy("mini", reviews.tokenizer)
    losses = [record["loss"] for record in train_sft(models[name], data, config)]
    said = sample_ids(models[name], reviews.draw_prompts(100), 40)
    ended = sum(y[-1] == eos for y in said) / len(said)
    length = sum(map(len, said)) / len(said)
    rows[name] = {"first loss": losses[0], "last": losses[-1], "ended": ended}
    rows[name]["mean length"] = length
pd.DataFrame(rows).T.round(2)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
assert rows["true end"]["ended"] > 0.8 and rows["pad = EOS hidden"]["ended"] < 0.05
assert all(row["last"] < row["first loss"] - 1.5 for row in rows.values())

# %% [markdown]
# Both losses fall; the second model has never seen an end and does not stop. And in DPO on responses without EOS the end
# is in no sum either.
#
# Now DPO's first step, from the first model, on 16 pairs: a review's own continuation against that of another. One thing
# is wrong in each batch: the ends are missing; padding counts as response; the prompt's last token counts as response, as
# a template's "assistant:" does when the mask starts too early; the columns are swapped. And once the reference reads
# another template, a token more in front.

# %%
own, foreign = texts[:16], texts[16:32]
x, y_w, y_l = [x for x, _ in own], [y for _, y in own], [y for _, y in foreign]
right = collate(x * 2, y_w + y_l)
counted = right.completion_mask.any(0).expand_as(right.completion_mask)
header = [p[-1:] + y for p, y in zip(x * 2, y_w + y_l)]
batches = {
    "right": right,
    "no EOS": collate(x * 2, [y[:-1] for y in y_w + y_l]),
    "padding counted": Batch(right.input_ids, right.attention_mask | counted, counted),
    "header counted": collate([p[:-1] for p in x * 2], header),
    "swapped": collate(x * 2, y_l + y_w),
}
read = {name: (batch, batch) for name, batch in batches.items()}
read["other template"] = right, collate([[eos, *p] for p in x * 2], y_w + y_l)

# %% tags=["nbval-ignore-output"]
rows, base = {}, models["true end"]
true_logp = sum(slow_logp(base, p, y) for p, y in zip(x, y_w)) / 16
for name, (ours, theirs) in read.items():
    policy = copy_policy(base)
    logps = sequence_logp(policy, ours).chunk(2)
    ref_logps = sequence_logp(base, theirs).detach().chunk(2)
    loss = dpo_loss(*logps, *ref_logps, beta)[0].mean()
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(policy.parameters(), math.inf)
    tokens = ours.completion_mask[:16].sum(1).double().mean()
    off = [each[0].mean() - true_logp for each in (logps, ref_logps)]
    rows[name] = [value.item() for value in (loss, norm, tokens, *off)]
columns = ["loss", "grad_norm", "tokens", "logps/chosen off", "reference's off"]
first = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
first.round(4)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
loss, norm, tokens = first["loss"], first["grad_norm"], first["tokens"]
off = first["logps/chosen off"].abs()
assert tokens["no EOS"] == tokens["right"] - 1
assert tokens["padding counted"] == max(map(len, y_w + y_l)) > tokens["right"]
at_ln_2 = (loss - math.log(2)).abs() < 1e-5
assert at_ln_2.drop("other template").all() and not at_ln_2["other template"]
assert off["right"] < 1e-3 and (off.drop(["right", "other template"]) > 0.05).all()
assert abs(first["reference's off"]["other template"]) > 0.05
assert abs(norm["header counted"] / norm["right"] - 1) < 1e-3
assert abs(norm["swapped"] / norm["right"] - 1) < 1e-3
assert norm["padding counted"] > 1.5 * norm["right"]
padded = batches["padding counted"]
alone = collate(x[:1], y_w[:1])
assert sequence_logp(base, padded)[0] < sequence_logp(base, alone)[0] - 1

# %% [markdown]
# **Five of the six start at 0.6931**, for policy and reference make the same mistake. Only the other template shows in the
# first loss, for the reference alone read it; had both, it would not. What catches the rest stands in the last columns: at step 1 `logps/chosen`, and the reference's, must equal the
# log-probability of the text that you *mean*, taken slowly with `slow_logp`. Both are 0 off in the first row alone. The
# lengths tell no EOS (one less) and padding (all alike); counted padding also makes a row's score depend on who shares its
# batch. A counted header cancels in the margin, so the gradient stays, like that of an unmasked prompt. Swapped columns
# train as smoothly as right ones, the wrong way: decode a few pairs and read them.
#
# ## What could go wrong
#
# **"The loss is NaN."** A response whose mask is empty after truncation has an empty sum for its log-probability; averaged
# over its zero tokens it is 0/0. The package refuses such a row by name. Or `log(sigmoid(m))` has met a very negative
# margin: `F.logsigmoid(-200)` is −200, `log(sigmoid(-200))` is −∞ in float32, and its gradient NaN.
#
# **"Tokenise prompt and response together, or apart?"** A tokenizer of Llama 2's kind puts a space before every text that
# it is given. Apart, an answer `yes` right behind a line break becomes `␣yes`, which the model has never read there and
# finds very unlikely. So this book tokenises the one text, as TRL does, and the response begins where its ids part from
# those of the prompt alone. The authors' code tokenises apart; with GPT-2's tokenizer, a prompt that does not end in white
# space and a response that begins with one space, the ids are the same.
#
# ### Where others err, checked
#
# - **"At the start policy and reference are equal, so the gradient is zero."** It is $\beta/2$ times the contrast of winner
#   and loser ("At the start").
# - **Equation 7 on the page, mean log-probabilities in the code.** With one length for all it is equation 7 at another β;
#   with two lengths it can rank a pair the other way ("Four ways to break it").
# - **The sign inside the weight.** One derivation in circulation ends with $\sigma(\hat r_w - \hat r_l)$. The paper's
#   section 4 has $\sigma(\hat r_l - \hat r_w)$, and that one agrees with autograd ("The gradient": fourth row).
#
# Two more, about β, stand in chapter 05.

# %% jupyter={"source_hidden": true} tags=["hide-input"]
m = torch.tensor(-200.0, requires_grad=True)
assert F.logsigmoid(m) == -200 and torch.sigmoid(m).log() == float("-inf")
torch.sigmoid(m).log().backward()
assert m.grad.isnan()


# %% [markdown]
# ## Exercises
#
# Replace the line that raises an error, run the cell, then run the check below it.

# %% [markdown]
# ### Exercise · my_dpo_loss
#
# Difficulty ★★☆ · importance ●●● · 5 minutes
#
# Equation 7, one value a pair, from four log-probabilities, each of shape (B,) for B pairs, and β. It must carry gradients.

# %%
def my_dpo_loss(pi_w, pi_l, ref_w, ref_l, beta):
    """log π, log π_ref of winners and losers, (B,) each → equation 7, no mean: (B,)."""
    # YOUR CODE HERE
    raise NotImplementedError()


# %%
check_dpo_loss(my_dpo_loss)


# %% [markdown]
# ### Exercise · gradient_weight
#
# Difficulty ★★☆ · importance ●●○ · 5 minutes
#
# The weight in front of the bracket of the gradient, for each pair.

# %%
def gradient_weight(pi_w, pi_l, ref_w, ref_l, beta):
    """The weight of each pair, β included: shape (B,)."""
    # YOUR CODE HERE
    raise NotImplementedError()


# %%
check_gradient_weight(gradient_weight)


# %% [markdown]
# ### Exercise · completion_logp
#
# Difficulty ★★★ · importance ●●● · 15 minutes
#
# From logits of shape (B, T, V), with B rows, T tokens and a vocabulary of V, token ids (B, T) and a mask (B, T) that is
# true on the response's tokens, neither on the prompt's nor on padding: the log-probability of each response. Remember what row $t$ of the logits predicts.
# `scores`, above, holds one answer: write it without looking back. It must carry gradients.

# %%
def completion_logp(logits, input_ids, completion_mask):
    """Σ_t log π(y_t | x, y_<t) over completion tokens: shape (B,)."""
    # YOUR CODE HERE
    raise NotImplementedError()


# %%
check_completion_logp(completion_logp)

# %% [markdown]
# ## Quiz

# %%
quiz("06", 1)

# %%
quiz("06", 2)

# %% [markdown]
# ## Recap
#
# | symbol | in code | shape | equation |
# |---|---|---|---|
# | $\log \pi_\theta(y_w \mid x)$, $\log \pi_{\text{ref}}(y_w \mid x)$ | `policy_chosen_logps`, `reference_chosen_logps` | (B,) | – |
# | $\hat r(x, y)$ | `implicit_reward(logp, ref_logp, beta)` | (B,) | 5 |
# | $p^*(y_w \succ y_l \mid x)$ | `policy_preference_probability` | (B,) | 6 |
# | $\mathcal{L}_{\text{DPO}}$ | `dpo_loss` | (B,) | 7 |
# | $\beta\,\sigma(\hat r_l - \hat r_w)$ | the weight | (B,) | gradient of 7 |
# | $\log \pi(y \mid x)$ | `sequence_logp(model, batch)` | (B,) | – |
# | one step down $\nabla_\theta \mathcal{L}_{\text{DPO}}$ | "The loop in the open", or `train_dpo` | – | gradient of 7 |
#
# Next: chapter 07 trains for longer and measures how near a GPT-2 comes to $\pi^*$.
