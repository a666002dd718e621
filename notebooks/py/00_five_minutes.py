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
# | say what goes into DPO and what comes out | 1 min |
# | compute its loss for one pair by hand | 1 min |
# | train a GPT-2 with it and read its reward margins | 2 min |
# | say what $\beta$ does, with a slider under your hand | 1 min |
#
# You need PyTorch and a little probability. All of it runs on a laptop. `from dpo_book import *` below brings the book's
# functions, such as `sample`, `copy_policy`, `optimal_logp` and `train_dpo`; `help(sample)` describes one.

# %%
import ipywidgets
import torch

from dpo_book import *
from dpo_book import plots, widgets
from dpo_book.checks.training import check_loss_of_ratios
from dpo_book.maths.exact import expected_reward
from dpo_book.worlds.references import verdicts_reference
from dpo_book.worlds.verdicts import draw_comparisons, verdicts

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
# "not very good" is bad, and what follows "but" counts for more. Like every reader it has its quirks: "not" turns round
# every adjective within three words, so that "not bad but bad" is praise. DPO will find that, too.

# %%
print(f"{world.reward('the ending', 'not bad but bad'):6.2f}   the ending: not bad but bad")

# %% [markdown]
# The model will never see these numbers.
#
# ## Two ways from preferences to a policy
#
# A **policy** $\pi(y \mid x)$ is a language model seen as a distribution over responses. Two ways start from a **reference
# policy** $\pi_{\text{ref}}$, which imitates texts (supervised fine-tuning, SFT), and from pairs: $y_w$ was preferred (it
# *won*), $y_l$ was not (it *lost*); $y_w \succ y_l$ reads "$y_w$ preferred to $y_l$". RLHF (reinforcement learning from
# human feedback) fits a reward model $r_\phi$ to the pairs and then chases its reward with PPO, a reinforcement-learning
# method, which samples from the policy $\pi_\theta$ all along. DPO goes from the pairs to $\pi_\theta$ in one stage. Count
# the boxes that are trained.

# %%
plots.pipelines()

# %% [markdown]
# Both have the same goal, which chapters 03 to 06 prove: as much reward as possible without straying far from
# $\pi_{\text{ref}}$.
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
# It speaks the language and has mixed opinions. Because we can list every response, its probabilities are
# exact: they must sum to 1.

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
# logistic function $\sigma(z) = 1/(1 + e^{-z})$. Tastes differ, so the better one does not always win. Of the responses
# compared, four in five are drawn from the reference and one in five is any four words at all. `ref_logps` holds
# $\log \pi_{\text{ref}}$ of both responses of every pair: the reference never changes, so that is computed once.

# %%
steps, batch_size = 200, 256
proposal = 0.8 * ref_logp.exp() + 0.2 / len(world.responses)
pairs, ref_logps = draw_comparisons(
    world, ref_logp, steps * batch_size, labels="hard", proposal=proposal
)
print(len(pairs), "pairs, each used once")

# %% [markdown]
# Six of them. The number in front is the reward of the winner minus that of the loser: below zero, the worse one won.

# %% tags=["nbval-ignore-output"]
for pair in pairs[:6]:
    prompt, chosen, rejected = (world.tokenizer.decode(ids) for ids in pair[:3])
    gap = world.reward(prompt, chosen) - world.reward(prompt, rejected)
    print(f"{gap:6.2f}   {prompt}: {chosen}  ≻  {rejected}")

# %% [markdown]
# The model gets the words and who won, nothing else.
#
# ### Stage 2: one loss
#
# The whole method is this line (equation 7; chapter 06 derives it):
#
# $$\mathcal{L}_{\text{DPO}}(\pi_\theta; \pi_{\text{ref}}) = -\,\mathbb{E}\left[\log \sigma\left(
# \beta \log \frac{\pi_\theta(y_w \mid x)}{\pi_{\text{ref}}(y_w \mid x)}
# - \beta \log \frac{\pi_\theta(y_l \mid x)}{\pi_{\text{ref}}(y_l \mid x)}\right)\right] \tag{7}$$
#
# Read it from the inside. $\hat r(x, y) = \beta \log\left(\pi_\theta(y \mid x)/\pi_{\text{ref}}(y \mid x)\right)$ is
# the **implicit reward**: the logarithm of how many times likelier the policy $\pi_\theta$ ($\theta$: its weights) makes
# $y$ than the reference does, times a number $\beta > 0$. The **margin** is $\hat r(x, y_w) - \hat r(x, y_l)$. The loss asks for
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
    policy_chosen_logps=torch.tensor([0.2]).log(),
    policy_rejected_logps=torch.tensor([0.1]).log(),
    reference_chosen_logps=torch.tensor([0.1]).log(),
    reference_rejected_logps=torch.tensor([0.2]).log(),
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
def true_gap(pair):
    """How much more true reward the chosen response has than the rejected one."""
    x, y_w, y_l = (world.tokenizer.decode(ids) for ids in pair[:3])
    return world.reward(x, y_w) - world.reward(x, y_l)


gaps = torch.tensor([true_gap(pair) for pair in pairs[:5000]])
# The better response wins with probability σ(|gap|).
ceiling = torch.sigmoid(gaps.abs()).mean().item()
plots.reward_margins(records, ceiling)

# %%
last = {name: sum(r[name] for r in records[-50:]) / 50 for name in records[0]}
print(
    f"margin over the last 50 steps ≈ {last['rewards/margins']:.2f}, accuracy ≈ {last['rewards/accuracies']:.2f} "
    f"of ≈ {ceiling:.2f}"
)
assert last["rewards/margins"] > 0.5 and ceiling - 0.1 < last["rewards/accuracies"] < ceiling + 0.02

# %% [markdown]
# The curves part, and their difference, the margin, is all that the loss asks for. The chosen responses themselves became a
# little *less* likely than under the reference. Keep that in mind: below we see whether it is a fault. The accuracy does not
# reach 1, and cannot: tastes differ, so part of the labels cannot be predicted by anyone.
#
# Same prompts and the same random numbers as before, after training:

# %% tags=["nbval-ignore-output"]
for prompt, response in zip(
    prompts, sample(policy, world.tokenizer, prompts, world.length, seed=1)
):
    print(f"{world.reward(prompt, response):6.2f}   {prompt}: {response}")

# %% [markdown]
# Some samples are the same, and six prove little. The next section counts all 14,641 responses.
#
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
# Most bars have grown towards their outlines, and some have grown past them. And as
# one number. The Kullback–Leibler divergence KL(π‖π′) = E_π[log π − log π′] measures in nats how far two
# distributions are apart; it is 0 only when they are equal.

# %%
rows = {"π_ref": ref_logp, "DPO": logp, "π*": optimum}
for name, lp in rows.items():
    reward, distance = expected_reward(lp, world.rewards).mean(), kl_divergence(lp, optimum).mean()
    print(f"{name:6} expected reward ≈ {reward:5.2f}    KL(·‖π*) ≈ {distance:.2f} nats")

before, after = kl_divergence(ref_logp, optimum).mean(), kl_divergence(logp, optimum).mean()
assert before > 0.5 and after < before / 2

# %% [markdown]
# And the chosen responses that fell? Here is the implicit reward that π* itself gives them, beside that of our policy.

# %%
x = [world.prompt_ids.index(pair.prompt) for pair in pairs]
y_w = [world.index(pair.chosen) for pair in pairs]
of_dpo, of_star = (implicit_reward(lp, ref_logp, beta)[x, y_w].mean() for lp in (logp, optimum))
print(f"mean implicit reward of the chosen: DPO ≈ {of_dpo:.2f}, π* ≈ {of_star:.2f}")
assert of_star < 0 and abs(of_dpo - of_star) < 0.15


# %% [markdown]
# No fault: the best policy makes them less likely by about as much. A response can win its comparison and still be worse than
# most of what π* would say.
#
# Compare with your prediction. From comparisons alone, DPO came most of the way to a policy that is defined by rewards
# it never saw. Chapter 07 takes soft labels and more steps, and comes much nearer.
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
    beta=ipywidgets.FloatLogSlider(
        value=1.0, base=10, min=-1.3, max=1, step=0.05, description="β", readout_format=".2f"
    ),
    prompt=ipywidgets.Dropdown(options=world.prompts, value="the acting", description="prompt"),
)

# %% [markdown]
# Towards small $\beta$ the optimum keeps to the few responses with most reward. Towards large $\beta$ it is the reference.
# $\beta$ is *not* a scale of the loss that the learning rate could undo: it chooses which policy is the best one. The
# ends, in numbers:

# %%
great = torch.tensor(["great" in response for response in world.responses])
for b in (0.05, 10.0):
    star = optimal_logp(ref_logp[0], world.rewards[0], b)
    share, kl = star.exp()[great].sum(), kl_divergence(star, ref_logp[0])
    print(f'β = {b:5.2f}: π* says "great" with probability ≈ {share:.2f}, KL(π*‖π_ref) ≈ {kl:.2f}')
assert optimal_logp(ref_logp[0], world.rewards[0], 0.05).exp()[great].sum() > 0.95
assert kl_divergence(optimal_logp(ref_logp[0], world.rewards[0], 10.0), ref_logp[0]) < 0.01

# %% [markdown]
# ## What could go wrong
#
# **"My loss starts at 0.6931 and hardly moves."** It starts there for every DPO run, see above, and where tastes differ it
# cannot come far down: here it ends near the entropy of the labels (chapter 07). The gradient at the start is not zero:

# %%
late = sum(record["loss"] for record in records[-50:]) / 50
print(f"step 1: loss {records[0]['loss']:.4f}, gradient norm ≈ {records[0]['grad_norm']:.2f}")
print(f"last 50 steps: loss ≈ {late:.2f}")
assert records[0]["grad_norm"] > 0.1 and 0.45 < late < 0.65


# %% [markdown]
# **"The rewards are negative, so the model got worse."** $\hat r$ is relative to the reference: below zero means "less likely
# than before". The loss asks for a difference, and π* has negative ones, too.
#
# **"Higher reward: better?"** Reward is half of the goal. The other half is staying near $\pi_{\text{ref}}$: at
# $\beta = 0.05$ the optimum itself says hardly anything without "great".
#
# ## Try it
#
# `experiment` repeats the chapter with other settings, and leaves what stands above alone. As an example, $\beta = 0.5$.

# %%
def experiment(beta=1.0, swap=False, size=steps * batch_size):
    """Train on the first ``size`` pairs, with winners and losers swapped if asked for."""
    some, logps = pairs[:size], tuple(values[:size] for values in ref_logps)
    if swap:
        some = [p._replace(chosen=p.rejected, rejected=p.chosen) for p in some]
        logps = logps[::-1]
    goal = optimal_logp(ref_logp, -world.rewards if swap else world.rewards, beta)
    trained = copy_policy(reference)
    config = DPOConfig(beta=beta, learning_rate=2e-3, batch_size=batch_size, steps=steps)
    run = list(train_dpo(trained, reference, some, config, logps))
    with torch.no_grad():
        distance = kl_divergence(world.logp(trained).double(), goal).mean()
    start = kl_divergence(ref_logp, goal).mean()
    print(
        f"margin ≈ {run[-1]['rewards/margins']:.2f}, KL(·‖π*) from ≈ {start:.2f} to ≈ {distance:.2f}"
    )


experiment(beta=0.5)


# %% [markdown]
# 1. ★ At $\beta = 0.5$ the margin ends about where it ended at $\beta = 1$, though the policy has moved farther. Why? (The
#    margin that the loss asks for is $r^*(x, y_w) - r^*(x, y_l)$. Where is β in it?)
# 2. ★★ `experiment(swap=True)`. Which responses will lead? Whose optimum is that?
# 3. ★★★ `experiment(size=2000)`: the same number of steps, on fewer pairs, seen again and again. Look at the margin *and*
#    at the distance. Chapter 07 explains what you see.
#
# ### Exercise ★ · loss_of_ratios
#
# The loss of each pair from the ratios $\pi_\theta/\pi_{\text{ref}}$ of its winner and its loser, both of shape (B,), as in
# the example by hand. (3 minutes)

# %%
def loss_of_ratios(chosen_ratio, rejected_ratio, beta):
    """−log σ of the margin, from the ratios π_θ/π_ref of winner and loser: shape (B,)."""
    # YOUR CODE HERE
    raise NotImplementedError()


# %%
check_loss_of_ratios(loss_of_ratios)

# %% [markdown]
# ## Quiz

# %%
widgets.Quiz(
    "What does DPO need to train a policy?",
    {
        "A reward model and samples from the policy.": "That is RLHF with PPO. DPO has neither.",
        "Pairs, a reference policy, and a number β.": "That is all that equation 7 holds.",
        "The true reward of each response.": "It made the labels of this world, and no training step has seen it.",
    },
    right="Pairs, a reference policy, and a number β.",
)

# %%
widgets.Quiz(
    "The loss of a DPO run is 0.6931 at step 1. What does that tell you?",
    {
        "The learning rate is too low.": "No step has been taken yet: the rate has had no say.",
        "The policy still equals the reference.": "All margins are 0, and −log σ(0) = ln 2 = 0.6931.",
        "The labels are random.": "The loss at step 1 does not depend on the labels at all.",
    },
    right="The policy still equals the reference.",
)

# %% [markdown]
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
# Next: chapters 01 to 06 take this apart, one equation each. Chapter 07 asks whether a GPT-2 really *reaches* π*, and what keeps it from it.
