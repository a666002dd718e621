# %% [markdown]
# # 06 · Where does the DPO loss come from?
#
# So far we have a formula for how people choose (equation 1) and a formula for the best policy (equation 4). The second
# can be turned around: it tells which reward a policy is best *for* (equation 5). Put that reward into the first
# formula and something falls out that needs no reward model, no sampling and no Z: a loss of the policy alone. This
# chapter does it in six lines, takes the gradient by hand, breaks the implementation on purpose in the four places where
# real code breaks, and ends with the whole of DPO training in one cell.
#
# **Write down a prediction first.** Training starts with the policy equal to the reference. It then prefers neither response of any
# pair more than the reference does, and the loss is $\ln 2$ for every pair. Is the gradient zero as well?
#
# | after this chapter you can | |
# |---|---|
# | derive the DPO loss from equations 1 and 5 | 8 min |
# | take its gradient by hand and say what its weight does | 12 min |
# | tell a sum from a mean of token log-probabilities by their margins | 12 min |
# | read the whole of DPO training, line by line, and say which lines are DPO's own | 12 min |
# | write `dpo_loss`, its weight and the log-probabilities it needs yourself | 30 min |
#
# You need chapters 01, 04 and 05, or their three results, which the derivation recalls. Symbols: prompt $x$, winner $y_w$,
# loser $y_l$, policy $\pi_\theta$ with weights $\theta$, reference $\pi_{\text{ref}}$, price of straying $\beta$, logistic
# function $\sigma(z) = 1/(1 + e^{-z})$.

# %%
import math

import ipywidgets
import torch
import torch.nn.functional as F

from dpo_book import *
from dpo_book import plots, widgets
from dpo_book.checks.dpo import (
    check_completion_logp,
    check_dpo_loss,
    check_gradient_weight,
    check_margin,
)
from dpo_book.data.batches import batches_by_length
from dpo_book.data.pairs import pair_lengths
from dpo_book.worlds.references import verdicts_reference
from dpo_book.worlds.verdicts import draw_comparisons, verdicts

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
for i in range(3):
    print(f"response {i}: π_ref {ref[i].exp():.2f}   r* {reward[i]:.0f}   π* {star[i].exp():.4f}")

# %% [markdown]
# ## The derivation
#
# 1. How likely is $y_w$ to be preferred? $p^*(y_w \succ y_l \mid x) = \sigma(r^*(x, y_w) - r^*(x, y_l))$. *(Equation 1.)*
# 2. Which reward is $\pi^*$ best for? $r^*(x, y) = \beta \log \frac{\pi^*(y \mid x)}{\pi_{\text{ref}}(y \mid x)} + \beta
#    \log Z(x)$. *(Equation 5: equation 4 solved for the reward.)*
# 3. Their difference: $r^*(x, y_w) - r^*(x, y_l) = \beta \log \frac{\pi^*(y_w \mid x)}{\pi_{\text{ref}}(y_w \mid x)} -
#    \beta \log \frac{\pi^*(y_l \mid x)}{\pi_{\text{ref}}(y_l \mid x)}$. *($Z(x)$ depends on the prompt alone, and both
#    responses have the same prompt.)*
# 4. Put 3 into 1: $p^*(y_w \succ y_l \mid x) = \sigma\left(\beta \log \frac{\pi^*(y_w \mid x)}{\pi_{\text{ref}}(y_w \mid x)} - \beta \log \frac{\pi^*(y_l \mid x)}{\pi_{\text{ref}}(y_l \mid x)}\right)$. *(Equation 6; chapter 05 wrote σ out.)*
# 5. We do not have $\pi^*$, but we can ask for a policy $\pi_\theta$ under which the observed preferences are likely:
#    put $\pi_\theta$ in its place and maximise the likelihood. *(Maximum likelihood, as in chapter 01. With enough comparisons of all pairs, $\pi^*$ is the only policy with the smallest loss: chapter 07 proves it.)*
# 6. The likelihood of a pair is $\sigma(\cdot)$ of the difference; its negative logarithm, averaged over the pairs, is
#
# $$\mathcal{L}_{\text{DPO}}(\pi_\theta; \pi_{\text{ref}}) = -\,\mathbb{E}_{(x, y_w, y_l)}\left[\log \sigma\left(
# \beta \log \frac{\pi_\theta(y_w \mid x)}{\pi_{\text{ref}}(y_w \mid x)}
# - \beta \log \frac{\pi_\theta(y_l \mid x)}{\pi_{\text{ref}}(y_l \mid x)}\right)\right] \tag{7}$$
#
# It is the reward-model loss (equation 2) with the reward replaced by the **implicit reward** $\hat r(x, y) = \beta \log
# \frac{\pi_\theta(y \mid x)}{\pi_{\text{ref}}(y \mid x)}$. The policy *is* the reward model.
#
# Steps 3 and 4 in numbers, for winner 2 and loser 0. Look for two pairs of equal numbers.

# %% tags=["eq-5", "eq-6"]
won, lost = 2, 0
from_reward = preference_probability(reward[won], reward[lost])
from_policies = policy_preference_probability(star[won], star[lost], ref[won], ref[lost], beta)
implicit = implicit_reward(star, ref, beta)
print(f"difference of rewards          {reward[won] - reward[lost]:.4f}")
print(f"difference of implicit rewards {implicit[won] - implicit[lost]:.4f}")
print(f"p* from equation 1 {from_reward:.4f}   from equation 6 {from_policies:.4f}")
log_z = log_partition(ref, reward, beta)
assert torch.allclose(implicit + beta * log_z, reward, atol=1e-10)
assert torch.allclose(from_reward, from_policies, atol=1e-10)

# %% [markdown]
# And step 6: equation 7 written out with the numbers, against the package's `dpo_loss`. The policy here is some policy, not
# the best one.

# %% tags=["eq-7"]
pi = torch.tensor([0.4, 0.3, 0.3], dtype=torch.float64).log()  # log π_θ
m = beta * (pi[won] - ref[won]) - beta * (pi[lost] - ref[lost])
by_hand = -torch.log(torch.sigmoid(m))
loss, chosen_reward, rejected_reward = dpo_loss(
    pi[[won]], pi[[lost]], ref[[won]], ref[[lost]], beta
)
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
# $$\nabla_\theta \mathcal{L}_{\text{DPO}} = -\,\mathbb{E}\left[\;\underbrace{\beta\,\sigma(\hat r(x, y_l) - \hat r(x,
# y_w))}_{\text{weight}}\;\left(\underbrace{\nabla_\theta \log \pi_\theta(y_w \mid x)}_{\text{make likelier}} -
# \underbrace{\nabla_\theta \log \pi_\theta(y_l \mid x)}_{\text{make less likely}}\right)\right]$$
#
# Three ways to the same gradient, for logits $\theta$ of the three responses ($\nabla_\theta \log \pi_\theta(i)$ is the $i$-th
# unit vector minus $\pi_\theta$): by hand, by autograd, by finite differences. Look for three equal rows.

# %%
def loss_at(logits):
    logp = logits.log_softmax(0)
    return dpo_loss(logp[[won]], logp[[lost]], ref[[won]], ref[[lost]], beta)[0].sum()


logits = pi.clone().requires_grad_()
(by_autograd,) = torch.autograd.grad(loss_at(logits), logits)

weight = beta * torch.sigmoid(rejected_reward - chosen_reward)
unit = torch.eye(3, dtype=torch.float64)
by_hand = -weight * ((unit[won] - pi.exp()) - (unit[lost] - pi.exp()))

# %% [markdown]
# And by finite differences: move each logit a little both ways.

# %%
h = 1e-6
differences = [loss_at(pi + e) - loss_at(pi - e) for e in h * unit]
by_differences = torch.stack(differences) / (2 * h)
for name, gradient in (
    ("hand", by_hand),
    ("autograd", by_autograd),
    ("differences", by_differences),
):
    values = [f"{round(value, 4) + 0.0:8.4f}" for value in gradient.tolist()]
    print(f"{name:12}", "  ".join(values))
assert torch.allclose(by_hand, by_autograd, atol=1e-10)
assert torch.allclose(by_differences, by_autograd, atol=1e-8)  # error of order h²

# %% [markdown]
# The response that is neither winner nor loser has gradient zero: its share cancels.
#
# ### What the weight does
#
# The weight is $\beta$ times the probability that the policy, read as a judge, gets the pair *wrong*. A pair that is ranked
# right by a wide margin hardly pulls any more; one that is ranked wrong by a wide margin pulls with nearly all of $\beta$. In the figure the black dot is one pair, with
# log-ratio $m/\beta = 2$. Look at both ends of the right panel: $\beta$ on the left, 0 on the right, and $\beta/2$ in the
# middle.

# %%
plots.loss_and_weight(beta=0.5, log_ratio=2.0)

# %%
widgets.slider_figure(
    plots.loss_and_weight,
    beta=ipywidgets.FloatLogSlider(value=0.5, base=10, min=-1, max=0.7, step=0.05, description="β"),
    log_ratio=ipywidgets.FloatSlider(value=2.0, min=-20, max=20, step=0.5, description="log-ratio"),
)

# %% [markdown]
# In terms of the log-ratio $\log \frac{\pi_\theta(y_w)\,\pi_{\text{ref}}(y_l)}{\pi_{\text{ref}}(y_w)\,\pi_\theta(y_l)} =
# m/\beta$, on the horizontal axis, a small $\beta$ makes the loss flat: the policy may stray far before the loss is
# satisfied. That is the sense in which β holds the policy back, and it is no scale of the loss: no learning rate turns one
# of these curves into another.
#
# ### At the start
#
# With $\pi_\theta = \pi_{\text{ref}}$ the margin is 0, so the loss is $-\log \sigma(0) = \ln 2$ and the weight is
# $\beta\,\sigma(0) = \beta/2$. The prediction at the top: what is the gradient? Look at both numbers.

# %%
logits = ref.clone().requires_grad_()
start = loss_at(logits)
(gradient,) = torch.autograd.grad(start, logits)
print(f"loss {start:.4f}, ln 2 = {torch.tensor(2.0).log():.4f}")
print(
    "gradient",
    "  ".join(f"{round(value, 4) + 0.0:.4f}" for value in gradient.tolist()),
    f"  β/2 = {beta / 2}",
)
assert torch.isclose(start, torch.tensor(2.0, dtype=torch.float64).log(), atol=1e-12)
assert torch.allclose(gradient, -beta / 2 * (unit[won] - unit[lost]), atol=1e-12)

# %% [markdown]
# Not zero: $-\frac{\beta}{2}$ on the winner, $+\frac{\beta}{2}$ on the loser. A loss of 0.6931 at step 1 is no sign of a
# frozen model.
#
# ## From logits to log π(y|x)
#
# Equation 7 needs $\log \pi(y \mid x)$ of whole responses. A language model gives logits for one token at a time, so
# $\log \pi(y \mid x) = \sum_t \log \pi(y_t \mid x, y_{<t})$: the log-probability of each response token given all before
# it, **summed**. Here is that sum, slowly and in the open, for one pair of chapter 00's verdict world (prompts such as "the acting",
# responses of four words), beside the package's
# `sequence_logp`.

# %%
world, reference = verdicts(), verdicts_reference()
prompt = world.tokenizer("the acting").input_ids
chosen = world.tokenizer("very very good acting").input_ids
rejected = world.tokenizer("good but very dull").input_ids


def slow_logp(model, prompt, response):
    ids = torch.tensor([prompt + response])
    logp = model(ids).logits[0].log_softmax(-1)  # (T, V): row t predicts token t + 1
    return sum(logp[t - 1, ids[0, t]] for t in range(len(prompt), ids.shape[1]))


with torch.no_grad():
    slow = torch.stack([slow_logp(reference, prompt, y) for y in (chosen, rejected)])
    fast = sequence_logp(reference, collate([prompt, prompt], [chosen, rejected]))
print("slow and fast agree:", torch.allclose(slow, fast, atol=1e-4))
assert torch.allclose(slow, fast, atol=1e-4)  # float32, sums of about ten nats

# %% [markdown]
# ### Four ways to break it
#
# Each is easily made. The reference is the trained GPT-2, an untrained one plays the policy, $\beta = 1$, and the pair is
# the same. `margin_by` takes it with any `score`: a function that gives each of B
# rows, here the two responses, its log-probability (B,), from logits (B, T, V), token ids (B, T) and the mask (B, T)
# that is true on the response's tokens.

# %%
other = build_policy("nano", world.tokenizer, seed=1)
batch = collate([prompt, prompt], [chosen, rejected])  # two rows


@torch.no_grad()
def margin_by(score):
    """The margin of the pair at β = 1, with both responses scored by ``score``."""
    ids, mask = batch.input_ids, batch.completion_mask
    pi = score(other(ids).logits.double(), ids, mask)
    ref = score(reference(ids).logits.double(), ids, mask)
    return ((pi[0] - ref[0]) - (pi[1] - ref[1])).item()


# %% [markdown]
# The right score drops the last row of the logits, which predicts a token that is not there, and the first token, which
# nothing predicts. After that, row and token belong together:

# %%
def token_logp(logits, targets):
    """log π of each target, a token id, by the row of logits at its place: (B, T)."""
    return logits.log_softmax(-1).gather(-1, targets[..., None])[..., 0]


def right(logits, ids, mask):
    logp = token_logp(logits[:, :-1], ids[:, 1:])
    return (logp * mask[:, 1:]).sum(1)


# %% [markdown]
# And the four mistakes. What is wrong in each, and what will it do to the margin?

# %%
def mean_over_tokens(logits, ids, mask):
    logp = token_logp(logits[:, :-1], ids[:, 1:])
    return (logp * mask[:, 1:]).sum(1) / mask.sum(1)


def off_by_one(logits, ids, mask):
    logp = token_logp(logits, ids)
    return (logp * mask).sum(1)


def first_token_dropped(logits, ids, mask):
    logp = token_logp(logits[:, :-1], ids[:, 1:])
    return (logp * mask[:, :-1]).sum(1)


def prompt_not_masked(logits, ids, mask):
    logp = token_logp(logits[:, :-1], ids[:, 1:])
    return logp.sum(1)


# %% [markdown]
# The right margin first, then the four mistakes. Look for the one that does not show.

# %%
margins = {
    "right": margin_by(right),
    "mean over tokens": margin_by(mean_over_tokens),
    "off by one": margin_by(off_by_one),
    "first token dropped": margin_by(first_token_dropped),
    "prompt not masked": margin_by(prompt_not_masked),
}
for name, value in margins.items():
    print(f"{name:20} margin ≈ {value:.3f}")
assert abs(margins["mean over tokens"] - margins["right"] / 4) < 1e-6
assert abs(margins["prompt not masked"] - margins["right"]) < 1e-6
assert abs(margins["off by one"] - margins["right"]) > 0.1
assert abs(margins["first token dropped"] - margins["right"]) > 0.1

# %% [markdown]
# - **Mean instead of sum**: a quarter of the margin, for four tokens. With 100 tokens it takes a hundred times the β to
#   have the same loss, and responses of different lengths are no longer treated as equation 7 says.
# - **Off by one**: row $t$ of the logits predicts token $t + 1$, but it is asked for token $t$, which it has already read. The
#   number looks plausible and means nothing.
# - **First token dropped**: the mask was not shifted with the ids.
# - **Prompt not masked**: the same margin! Both responses carry the same prompt, so its log-probability cancels like $Z(x)$
#   does. In the *margin*, that is. The logged log-probabilities are wrong, and the moment that a prompt is tokenised
#   differently beside its two responses, or that one adds a loss on the chosen response alone, so is the training.
#
# ### Without a reference
#
# `reference_free=True` takes the reference to be uniform over all responses. Its log-probabilities are then equal
# and drop out of the margin.
# Look at which arguments do not matter any more.

# %%
pi_w, pi_l = pi[[won]], pi[[lost]]
free_loss, free_reward, _ = dpo_loss(pi_w, pi_l, None, None, beta, reference_free=True)
expected = -F.logsigmoid(beta * (pi_w - pi_l))
print(f"loss {free_loss.item():.4f}   β log π(y_w) = {free_reward.item():.4f}")
assert torch.allclose(free_loss, expected, atol=1e-12)
assert torch.allclose(free_reward, beta * pi_w, atol=1e-12)

# %% [markdown]
# What it aims at is equation 4 with a uniform $\pi_{\text{ref}}$: $\pi \propto e^{r/\beta}$, with nothing that keeps the
# language a language.
#
# ## The loop in the open
#
# Now everything is there for a real run. First the data: 1,280 pairs of verdicts. Of the verdicts 40 % are the reference's
# own, 40 % the best of 16 of them by the true reward, and 20 % any four words. For each pair a coin falls as people choose
# (equation 1, with the true reward). Here are three of them, the winner on the left.

# %% tags=["nbval-ignore-output"]
with torch.no_grad():
    ref_logp = world.logp(reference)  # of all responses to all prompts: (3, 14641)
pairs, _ = draw_comparisons(world, ref_logp, 1280, labels="hard", seed=0)
for pair in pairs[:3]:
    x, y_w, y_l = (world.tokenizer.decode(ids) for ids in pair[:3])
    print(f"{x}: {y_w}  ≻  {y_l}")

# %% [markdown]
# And here is the whole of DPO training: a GPT-2, ten steps of 128 pairs. Two functions do what this chapter has derived,
# `sequence_logp` and `dpo_loss`. Two only arrange token ids: `batches_by_length` says which pairs make up the next batch
# (shuffled, those of like length together), and `collate` pads rows to one length. Look for the six lines that are DPO's
# own, from `x, y_w, y_l` to `dpo_loss`. Around them stands what every training loop has, and the last line keeps a log.
# The reference stays as it is because the optimizer holds the policy's weights alone; `no_grad` only saves work.

# %%
policy = copy_policy(reference)  # π_θ starts as π_ref
optimizer = torch.optim.AdamW(policy.parameters(), weight_decay=0.0)
batches = batches_by_length(pair_lengths(pairs), batch_size=128)
in_the_open = []
for step in range(10):
    x, y_w, y_l = zip(*[pairs[i][:3] for i in next(batches)])
    both = collate(x * 2, y_w + y_l)  # 128 rows of winners, then 128 of losers
    pi_w, pi_l = sequence_logp(policy, both).chunk(2)  # log π_θ(y|x)
    with torch.no_grad():  # nobody asks for the reference's gradient
        ref_w, ref_l = sequence_logp(reference, both).chunk(2)  # log π_ref(y|x)
    losses, r_w, r_l = dpo_loss(pi_w, pi_l, ref_w, ref_l, beta)
    loss = losses.mean()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(policy.parameters(), max_norm=1.0)
    down = (1 + math.cos(math.pi * step / 10)) / 2  # from 1 along a cosine
    optimizer.param_groups[0]["lr"] = 5e-4 * down
    optimizer.step()
    optimizer.zero_grad()
    in_the_open.append((loss.item(), (r_w - r_l).mean().item()))

# %% [markdown]
# | in the cell | on the page | equation |
# |---|---|---|
# | `pi_w`, `ref_w` | $\log \pi_\theta(y_w \mid x)$, $\log \pi_{\text{ref}}(y_w \mid x)$: sums over tokens | – |
# | `r_w`, `r_l` | $\hat r(x, y_w)$, $\hat r(x, y_l)$, without the $\beta \log Z(x)$ that cancels | 5 |
# | `loss` | $\mathcal{L}_{\text{DPO}}$, the mean over the batch in place of $\mathbb{E}$ | 7 |
# | `loss.backward()` | $\nabla_\theta \mathcal{L}_{\text{DPO}}$: autograd finds the weight of every pair by itself | gradient of 7 |
#
# Is that really all? The package's `train_dpo`, with which the other chapters train, gets the same pairs and settings.
# Compare the two losses, row by row.

# %%
config = DPOConfig(
    beta=beta,
    learning_rate=5e-4,
    batch_size=128,
    steps=10,
    warmup_steps=0,
    max_grad_norm=1.0,
)
records = list(train_dpo(copy_policy(reference), reference, pairs, config))
print("step   loss in the open   loss of train_dpo   mean margin")
for (loss, mean_margin), record in zip(in_the_open, records):
    print(f"{record['step']:4}        ≈ {loss:.4f}", end="            ")
    print(f"≈ {record['loss']:.4f}        ≈ {mean_margin:.2f}")
    # Over 20 seeds at most 2e-7 apart. AdamW's own weight decay, 0.01, makes 3e-6 or more.
    assert abs(loss - record["loss"]) < 1e-6
print("nowhere 0.000001 apart")
assert abs(in_the_open[0][0] - math.log(2)) < 1e-6
for loss, mean_margin in in_the_open[1:]:
    assert mean_margin > 0 and loss < math.log(2)

# %% [markdown]
# The same, step by step. In the seventh digit they may differ: both compute in float32, and `train_dpo` adds up in another
# order, for it runs each prompt once for both responses, behind a mask that keeps these apart (chapter 11 shows it).
#
# The first loss is $\ln 2$ and the first margin 0, as they must be at the start. Then every margin is above 0 and every loss
# below $\ln 2$, both unevenly: each batch has pairs that were not seen before, and some coins have fallen against the
# better response. Now you have seen DPO. What `train_dpo` adds is comfort: besides the prompt, it asks the reference before
# the first step (it may, for the reference never changes), warms the learning rate up if told to, stops when a number is
# not finite, and can keep checkpoints and use several GPUs.
#
# ## What could go wrong
#
# **"Does concatenating chosen and rejected leak one into the other?"** In the loop above they are stacked on the *batch*
# axis: two rows, and rows do not see each other. The check: a row's log-probability is the same alone and beside the other.

# %%
with torch.no_grad():
    alone = sequence_logp(reference, collate([prompt], [chosen]))
print("the same alone and in company:", torch.allclose(alone[0], fast[0], atol=1e-5))
assert torch.allclose(alone[0], fast[0], atol=1e-5)

# %% [markdown]
# **"The loss is NaN."** A response whose mask is empty after truncation has an empty sum for its log-probability; averaged
# over its zero tokens it is 0/0. The package refuses such a row by name. Or `log(sigmoid(m))` has met a very negative margin: the loss is then infinite, its
# gradient is NaN, and after one step so is every weight. Look at the second number.

# %%
m = torch.tensor(-200.0)
print(
    "F.logsigmoid(−200) =",
    F.logsigmoid(m).item(),
    "  log(sigmoid(−200)) =",
    torch.sigmoid(m).log().item(),
)
assert F.logsigmoid(m) == -200 and torch.sigmoid(m).log() == float("-inf")
m.requires_grad_()
torch.sigmoid(m).log().backward()
assert m.grad.isnan()


# %% [markdown]
# **"Which log-probability is right: tokenising prompt and response together, or apart?"** A tokenizer of Llama 2's kind puts a
# space before every text that it is given. Apart, an answer `yes` right behind a line break becomes `␣yes`, which the model
# has never read there and finds very unlikely. So this book tokenises the one text, as TRL does, and the response begins
# where its ids part from those of the prompt alone. The authors' code tokenises apart; with GPT-2's tokenizer, a prompt that
# does not end in white space and a response that begins with one space, the ids are the same.
#
# ## Exercises
#
# ### Exercise ★ · margin
#
# The margin of each pair from four log-probabilities, each of shape (B,) for B pairs, and β. (5 minutes)

# %%
def margin(policy_chosen, policy_rejected, reference_chosen, reference_rejected, beta):
    """r̂(x, y_w) − r̂(x, y_l): shape (B,)."""
    # YOUR CODE HERE
    raise NotImplementedError()


# %%
check_margin(margin)


# %% [markdown]
# ### Exercise ★★ · dpo_loss
#
# Equation 7, one value a pair. You may use your `margin`. (5 minutes)

# %%
def my_dpo_loss(policy_chosen, policy_rejected, reference_chosen, reference_rejected, beta):
    """Equation 7 before the mean: shape (B,)."""
    # YOUR CODE HERE
    raise NotImplementedError()


# %%
check_dpo_loss(my_dpo_loss)


# %% [markdown]
# ### Exercise ★★ · gradient_weight
#
# The weight in front of the bracket of the gradient, for each pair. (5 minutes)

# %%
def gradient_weight(policy_chosen, policy_rejected, reference_chosen, reference_rejected, beta):
    """The weight of each pair, β included: shape (B,)."""
    # YOUR CODE HERE
    raise NotImplementedError()


# %%
check_gradient_weight(gradient_weight)


# %% [markdown]
# ### Exercise ★★★ · completion_logp
#
# From logits of shape (B, T, V), with B rows, T tokens and a vocabulary of V, token ids (B, T) and a mask (B, T) that is true on the response's tokens: the
# log-probability of each response. Remember what row $t$ of the logits predicts. `right`, before the four
# mistakes, is one answer: write it without looking back. (15 minutes)

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
widgets.Quiz(
    "Why is there no Z(x) in the DPO loss?",
    {
        "It is 1 for every prompt.": "It may be any number above 0. In each class of rewards one member has Z(x) = 1 (chapter 05, Theorem 1).",
        "Both responses of a pair answer the same prompt, so it cancels.": "Step 3: β log Z(x) stands in both rewards.",
        "The optimizer ignores constants.": "True of constants, but Z(x) depends on the prompt; it never enters.",
    },
    right="Both responses of a pair answer the same prompt, so it cancels.",
)

# %%
widgets.Quiz(
    "A pair has a margin of +8. What does one more step do to it?",
    {
        "Next to nothing: its weight is β σ(−8).": "σ(−8) is about 0.0003: the pair is ranked right by a wide margin.",
        "It is pushed hardest, because it is the clearest pair.": "The weight is large for pairs that are ranked wrong.",
        "Nothing at all: the loss is zero.": "The loss is about 0.0003. It is small at +8, and zero at no margin.",
    },
    right="Next to nothing: its weight is β σ(−8).",
)

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
