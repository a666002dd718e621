# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 00 · What does DPO do, in five minutes?
#
# A language model has read film verdicts and imitates them, the unkind ones too. We have pairs of verdicts, and
# for each pair somebody said which one they prefer. **Direct Preference Optimization** (DPO, [Rafailov et al.
# 2023](https://arxiv.org/abs/2305.18290)) turns those pairs into a better model with one loss and no reward model.
#
# **Write down a prediction first.** We will train on pairs only. Nobody tells the model a score, a rule, or a
# best answer. How close can it come to the best policy there is: far off, somewhere near, or exactly there?
#
# | after this chapter you can | |
# |---|---|
# | say what goes into DPO and what comes out | 2 min |
# | compute its loss for one pair by hand | 2 min |
# | train a GPT-2 with it and read its reward margins | 3 min |
# | say what $\beta$ does, with a slider under your hand | 3 min |
#
# You need PyTorch and a little probability. All of it runs on a laptop.

# %%
import ipywidgets
import torch

from dpo_book import *
from dpo_book import plots, widgets
from dpo_book.evaluate import expected_reward
from dpo_book.recipes import draw_comparisons, verdicts_reference
from dpo_book.worlds.verdicts import verdicts

setup(seed=0)

# %% [markdown]
# ## A world small enough to list
#
# A **prompt** $x$ is one of three beginnings. A **response** $y$ is four words out of eleven. Look at how few
# responses that makes: we can hold all of them at once.

# %%
world = verdicts()
print("prompts:  ", ", ".join(world.prompts))
print("words:    ", ", ".join(world.tokenizer.convert_ids_to_tokens(range(11))))
print("responses:", len(world.responses), "=", f"11^{world.length}")

# %% [markdown]
# The **true reward** $r^*(x, y)$ is the opinion of a real sentiment analyser, VADER, stretched to run from −2 to 2.
# It stands for a reader's taste. Watch what "not" and "but" do.

# %%
for response in [
    "very good but great",
    "not very good acting",
    "good but very dull",
    "dull but very good",
]:
    print(f"{world.reward('the acting', response):6.2f}   the acting: {response}")

# %% [markdown]
# "not very good" is bad, and what follows "but" counts for more. The model will never see these numbers.
#
# ## Two ways from preferences to a policy

# %%
plots.pipelines()

# %% [markdown]
# A **policy** $\pi(y \mid x)$ is a language model seen as a distribution over responses. Both rows start from a
# **reference policy** $\pi_{\text{ref}}$ that imitates texts, and from pairs: $y_w$ was preferred (it *won*), $y_l$
# was not (it *lost*); $y_w \succ y_l$ reads "$y_w$ preferred to $y_l$". RLHF (reinforcement learning from human
# feedback) then fits a reward model and chases it with PPO, a reinforcement-learning method. DPO goes from the
# pairs to the policy in one stage. It has the same goal, which chapters 03 to 06 prove: as much reward as
# possible without straying far from $\pi_{\text{ref}}$.
#
# ### Stage 1: imitate
#
# The reference is a GPT-2 of about 100,000 parameters, trained from scratch on 20,000 verdicts (ten seconds, the
# first time; then it is kept). Here are two of its samples for each prompt.

# %%
reference = verdicts_reference()
print("parameters:", reference.num_parameters())

# %% tags=["nbval-ignore-output"]
prompts = list(world.prompts) * 2
for prompt, response in zip(
    prompts, sample(reference, world.tokenizer, prompts, world.length, seed=1)
):
    print(f"{world.reward(prompt, response):6.2f}   {prompt}: {response}")

# %% [markdown]
# It speaks the language and has mixed opinions. Because we can list every response, its probabilities are no
# estimates. Look for the sum.

# %%
with torch.no_grad():
    ref_logp = world.logp(reference).double()  # log π_ref(y|x): 3 prompts × 14,641 responses
total = ref_logp.exp().sum(dim=1)
print("Σ_y π_ref(y|x) =", total)
assert torch.allclose(total, torch.ones(3, dtype=torch.float64), atol=1e-5)

# %% [markdown]
# ### Preferences
#
# Somebody compares two responses to one prompt. How often $y_w$ wins follows the difference of rewards
# (Bradley–Terry, equation 1, chapter 01): $p^*(y_w \succ y_l \mid x) = \sigma(r^*(x, y_w) - r^*(x, y_l))$, with the
# logistic function $\sigma(z) = 1/(1 + e^{-z})$. Tastes differ, so the better one does not always win: look for a
# pair that went the other way.

# %%
steps, batch_size = 200, 256
pairs, ref_logps = draw_comparisons(world, ref_logp, steps * batch_size, labels="hard", seed=0)
print(len(pairs), "pairs of different responses, each used once")

# %% tags=["nbval-ignore-output"]
for pair in pairs[:6]:
    prompt, chosen, rejected = (world.tokenizer.decode(ids) for ids in pair[:3])
    gap = world.reward(prompt, chosen) - world.reward(prompt, rejected)
    print(f"{gap:6.2f}   {prompt}: {chosen}  ≻  {rejected}")

# %% [markdown]
# The number in front is the reward of the winner minus that of the loser. Where it is below zero, the worse
# response won. The model gets the words and who won, nothing else.
#
# ### Stage 2: one loss
#
# The whole method is this line (equation 7; chapter 06 derives it):
#
# $$\mathcal{L}_{\text{DPO}}(\pi_\theta; \pi_{\text{ref}}) = -\,\mathbb{E}\left[\log \sigma\left(
# \beta \log \frac{\pi_\theta(y_w \mid x)}{\pi_{\text{ref}}(y_w \mid x)}
# - \beta \log \frac{\pi_\theta(y_l \mid x)}{\pi_{\text{ref}}(y_l \mid x)}\right)\right]$$
#
# Read it from the inside. $\hat r(x, y) = \beta \log\left(\pi_\theta(y \mid x)/\pi_{\text{ref}}(y \mid x)\right)$ is
# the **implicit reward**: how much likelier the policy $\pi_\theta$ ($\theta$: its weights) makes $y$ than the
# reference does, times a number $\beta > 0$. The **margin** is $\hat r(x, y_w) - \hat r(x, y_l)$. The loss asks for
# positive margins. $\mathbb{E}$ averages over the pairs.
#
# One pair by hand: the policy has doubled the probability of the winner and halved that of the loser.

# %%
beta = 1.0
chosen_reward = beta * torch.tensor(2.0).log()  # β log(π/π_ref) with a ratio of 2
rejected_reward = beta * torch.tensor(0.5).log()
margin = chosen_reward - rejected_reward
print(f"margin = {margin:.4f}   loss = −log σ(margin) = {-torch.sigmoid(margin).log():.4f}")

losses, *_ = dpo_loss(
    torch.log(torch.tensor([0.2])),
    torch.log(torch.tensor([0.1])),  # policy
    torch.log(torch.tensor([0.1])),
    torch.log(torch.tensor([0.2])),  # reference
    beta=beta,
)
assert torch.allclose(losses, -torch.sigmoid(margin).log(), atol=1e-6)

# %% [markdown]
# The package's `dpo_loss` agrees. Before training, the policy *is* the reference: every ratio is 1, every margin 0,
# and the loss is $-\log \sigma(0) = \ln 2 \approx 0.6931$. Look for that number in the first record.

# %%
policy = copy_policy(reference)
config = DPOConfig(beta=beta, learning_rate=2e-3, batch_size=batch_size, steps=steps)
records = list(train_dpo(policy, reference, pairs, config, ref_logps))
print(f"first loss = {records[0]['loss']:.4f}")
assert abs(records[0]["loss"] - 0.693147) < 1e-4

# %% [markdown]
# ## What happened
#
# On the left, look for the two curves that part. On the right, the dashed line is how often somebody who knows the
# true rewards would name the winner: look at how near the policy comes.

# %%
text = lambda pair: [world.tokenizer.decode(ids) for ids in pair[:3]]
gaps = torch.tensor(
    [world.reward(x, y_w) - world.reward(x, y_l) for x, y_w, y_l in map(text, pairs[:5000])]
)
ceiling = (
    torch.sigmoid(gaps.abs()).mean().item()
)  # the better response wins with probability σ(|gap|)
plots.reward_margins(records, ceiling)

# %%
last = {name: sum(r[name] for r in records[-50:]) / 50 for name in records[0]}
print(
    f"margin over the last 50 steps ≈ {last['rewards/margins']:.2f}, accuracy ≈ {last['rewards/accuracies']:.2f} "
    f"of ≈ {ceiling:.2f}"
)
assert last["rewards/margins"] > 0.5 and ceiling - 0.1 < last["rewards/accuracies"] < ceiling + 0.02

# %% [markdown]
# Chosen went up, rejected went down. The accuracy does not reach 1, and cannot: tastes differ, so a part of the labels
# is beyond anybody.
#
# Same prompts as before, after training:

# %% tags=["nbval-ignore-output"]
for prompt, response in zip(
    prompts, sample(policy, world.tokenizer, prompts, world.length, seed=1)
):
    print(f"{world.reward(prompt, response):6.2f}   {prompt}: {response}")

# %% [markdown]
# ## How close to the best?
#
# "As much reward as possible without straying" has an exact solution (equation 4, chapter 04):
# $\pi^*(y \mid x) = \pi_{\text{ref}}(y \mid x)\, e^{r^*(x, y)/\beta} / Z(x)$, where $Z(x)$ makes it sum to 1. Summing
# over all responses is out of reach for a real language model. Here it is a line of code. In the figure, look at how
# well the green bars (DPO) fill the dashed outlines ($\pi^*$).

# %%
with torch.no_grad():
    logp = world.logp(policy).double()
optimum = optimal_logp(ref_logp, world.rewards, beta)
bars = {"π_ref, before": ref_logp[1].exp(), "π_θ, after DPO": logp[1].exp()}
plots.top_responses(
    world.responses,
    bars,
    exact=optimum[1].exp(),
    order_by=optimum[1],
    title="the ending: the ten likeliest responses of π*",
)

# %% [markdown]
# And as one number. The Kullback–Leibler divergence KL(π‖π′) = E_π[log π − log π′] measures in nats how far two
# distributions are apart; it is 0 only when they are equal.

# %%
rows = {"π_ref": ref_logp, "DPO": logp, "π*": optimum}
for name, lp in rows.items():
    reward, distance = expected_reward(lp, world.rewards).mean(), kl_divergence(lp, optimum).mean()
    print(f"{name:6} expected reward ≈ {reward:5.2f}    KL(·‖π*) ≈ {distance:.2f} nats")

before, after = kl_divergence(ref_logp, optimum).mean(), kl_divergence(logp, optimum).mean()
assert before > 0.5 and after < before / 2

# %% [markdown]
# Compare with your prediction. From who-won alone, DPO came most of the way to a policy that is defined by
# rewards it never saw. What is left is noise in the labels and training time; chapter 07 removes both and
# measures how far it goes.
#
# ## What β does
#
# $\beta$ is the price of straying. The figure shows the exact optimum for one prompt at $\beta = 1$; the slider below
# it redraws it for any other. Before you move it: which verdicts will lead at $\beta = 0.05$? And at $\beta = 10$?


# %%
def optimum_at(beta, prompt="the acting"):
    i = world.prompts.index(prompt)
    star = optimal_logp(ref_logp[i], world.rewards[i], beta)
    reward, kl = expected_reward(star, world.rewards[i]), kl_divergence(star, ref_logp[i])
    title = f"{prompt}, β = {beta:.2f}: expected reward {reward:.2f}, KL(π*‖π_ref) {kl:.2f} nats"
    return plots.top_responses(
        world.responses, {"π_ref": ref_logp[i].exp()}, exact=star.exp(), title=title, order_by=star
    )


optimum_at(1.0)

# %%
widgets.slider_figure(
    optimum_at,
    beta=ipywidgets.FloatLogSlider(value=1.0, base=10, min=-1.3, max=1, step=0.05, description="β"),
    prompt=ipywidgets.Dropdown(options=world.prompts, value="the acting", description="prompt"),
)

# %% [markdown]
# Towards small $\beta$ all probability runs to the few responses with most reward, whether critics write such things or
# not: the top of the list is all "great". Towards large $\beta$ the optimum is the reference. $\beta$ is *not* a
# scale of the loss that the learning rate could undo: it chooses which policy is the best one. The ends, in numbers:

# %%
for b in (0.05, 10.0):
    star = optimal_logp(ref_logp[0], world.rewards[0], b)
    print(f"β = {b:5.2f}: likeliest response: {world.responses[star.argmax()]!r}")
assert "great" in world.responses[optimal_logp(ref_logp[0], world.rewards[0], 0.05).argmax()]
assert kl_divergence(optimal_logp(ref_logp[0], world.rewards[0], 10.0), ref_logp[0]) < 0.01

# %% [markdown]
# ## What could go wrong
#
# **"My loss starts at 0.6931 and hardly moves."** It starts there for every DPO run, see above. The gradient there is
# not zero: the first records show it.

# %%
print(f"step 1: loss {records[0]['loss']:.4f}, gradient norm ≈ {records[0]['grad_norm']:.2f}")
assert records[0]["grad_norm"] > 0.1

# %% [markdown]
# **"The reward of the rejected one is negative, so the model got worse."** $\hat r$ is relative to the reference: below
# zero means "less likely than before", which is what was asked for.
#
# **"More training, smaller β, higher reward: better?"** Higher reward is not the goal of equation 4 alone; at
# $\beta = 0.05$ the optimum itself has little else to say than "great".
#
# ## Try it
#
# 1. ★ Set `beta = 0.2` where the pair was computed by hand and run the rest again. What happens to the margin's curve,
#    and to KL(DPO‖π*)?
# 2. ★★ Swap chosen and rejected in every pair: `[p._replace(chosen=p.rejected, rejected=p.chosen) for p in pairs]`
#    (swap `ref_logps` too). Which responses lead now?
# 3. ★★★ Give the policy 2,000 pairs instead of 51,200, for as many steps. Chapter 07 explains what you see.
#
# ## Recap
#
# | symbol | in code | shape | what it is |
# |---|---|---|---|
# | $\pi_\theta$, $\pi_{\text{ref}}$ | `policy`, `reference` | models | trained; frozen |
# | $y_w, y_l$ | `pair.chosen`, `pair.rejected` | token ids | preferred; not |
# | $\log \pi(y \mid x)$ | `sequence_logp`, `world.logp` | (B,), (P, N) | of whole responses |
# | $r^*$ | `world.rewards` | (P, N) | true reward, hidden from the model |
# | $\beta$ | `beta` | number | the price of straying |
# | $\hat r$ | `rewards/chosen`, `rewards/rejected` | by step | implicit reward |
# | $\mathcal{L}_{\text{DPO}}$ | `dpo_loss` | (B,) | equation 7 |
# | $\pi^*$ | `optimal_logp` | (P, N) | equation 4 |
#
# Next: chapter 07 asks whether a GPT-2 really *reaches* π*, and what keeps it from it.
