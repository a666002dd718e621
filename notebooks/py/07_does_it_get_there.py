# %% [markdown]
# # 07 · Does a GPT-2 get there?
#
# The DPO loss is built so that its minimum is the optimal policy π*. That is a statement about a formula. A GPT-2
# has to *find* that minimum: with gradient steps, with weights that all responses share, from pairs. Does it?
#
# **Write down a prediction first.** A GPT-2 of 100,000 parameters faces 14,641 responses to each of three prompts. It
# starts 0.2 to 3.6 nats from π*, depending on β. After half a minute of training on comparisons, how far is it?
# And if it could only ever see 500 comparisons?
#
# | after this chapter you can | |
# |---|---|
# | show why soft labels make π* the only minimum | 5 min |
# | read every curve that TRL logs for a DPO run | 10 min |
# | say why finite data and hard labels end elsewhere | 10 min |
# | explain how the chosen response can become *less* likely, and where its probability goes | 10 min |
#
# You need chapter 00. Symbols as there: policy $\pi_\theta$, reference $\pi_{\text{ref}}$, true reward $r^*$, price of
# straying $\beta$, winner $y_w$, loser $y_l$.

# %%
import ipywidgets
import torch

from dpo_book import *
from dpo_book import plots, widgets
from dpo_book.checks.training import (
    check_best_margin,
    check_shift_at_optimum,
    check_soft_loss,
)
from dpo_book.maths.exact import expected_reward
from dpo_book.worlds.references import verdicts_reference
from dpo_book.worlds.verdicts import draw_comparisons, verdicts

setup(seed=0)
world, reference = verdicts(), verdicts_reference()
with torch.no_grad():
    ref_logp = world.logp(reference).double()  # log π_ref(y|x), (3, 14641)

# %% [markdown]
# ## Where is "there"?
#
# Equation 4 gives the goal for every $\beta$. A small $\beta$ puts it far from the reference: look at the last column.

# %%
optima = {beta: optimal_logp(ref_logp, world.rewards, beta) for beta in (0.3, 1.0, 2.0)}
print("  β    E[r] of π*   KL(π*‖π_ref)   KL(π_ref‖π*)")
for beta, star in optima.items():
    reward = expected_reward(star, world.rewards).mean()
    print(
        f"{beta:4}      ≈ {reward:.2f}         ≈ {kl_divergence(star, ref_logp).mean():.2f}"
        f"         ≈ {kl_divergence(ref_logp, star).mean():.2f}"
    )
assert torch.allclose(optima[1.0].exp().sum(dim=1), torch.ones(3, dtype=torch.float64), atol=1e-5)

# %% [markdown]
# ## Soft labels: the loss without its noise
#
# Ask infinitely many people about one pair and you learn the probability $p = p^*(y_w \succ y_l \mid x)$ itself. That
# number is a **soft label**. The expected loss of the pair, with $m = \hat r(x, y_w) - \hat r(x, y_l)$ for the policy's
# margin, is
#
# $$\ell(m) = -p \log \sigma(m) - (1 - p) \log \sigma(-m).$$
#
# 1. $\frac{d}{dm} \log \sigma(m) = 1 - \sigma(m)$ and $\frac{d}{dm} \log \sigma(-m) = -\sigma(m)$, so $\ell'(m) = -p\,(1 -
#    \sigma(m)) + (1 - p)\,\sigma(m) = \sigma(m) - p$.
# 2. It is zero exactly where $\sigma(m) = p$. Since $\sigma$ rises, so does $\ell'$: for $0 < p < 1$ there is one such $m$,
#    and it is the minimum.
# 3. By equation 1, $p = \sigma(r^*(x, y_w) - r^*(x, y_l))$. So the best margin is the true difference of rewards.
# 4. Let that hold for every pair of responses and fix one response $y_0$. Then $\hat r(x, y) - r^*(x, y) = \hat r(x, y_0) -
#    r^*(x, y_0) =: f(x)$, the same for every $y$.
# 5. So $\pi_\theta = \pi_{\text{ref}}\, e^{(r^* + f(x))/\beta}$, and because it sums to 1 it is equation 4. Among all
#    distributions, only π* has the smallest loss, provided that every response can turn up in a pair. Whether a GPT-2
#    can *be* that distribution, and whether training finds it, is the question of this chapter.
#
# Steps 1 to 3 in numbers, for a pair with $p = 0.8$. Look for the gradient that vanishes.

# %%
p = torch.tensor(0.8, dtype=torch.float64)
best = torch.log(p / (1 - p))  # σ⁻¹(p)
for m in (0.0, best.item(), 4.0):
    margin = torch.tensor(m, dtype=torch.float64, requires_grad=True)
    loss = -p * torch.sigmoid(margin).log() - (1 - p) * torch.sigmoid(-margin).log()
    loss.backward()
    print(
        f"m = {m:.4f}   loss = {loss:.4f}   dloss/dm = {margin.grad:8.4f}   σ(m) − p = {torch.sigmoid(margin) - p:8.4f}"
    )
    assert torch.isclose(margin.grad, torch.sigmoid(margin) - p)

# %% [markdown]
# And for steps 4 and 5: feed the loss the log-probabilities of π* itself, for a thousand pairs. Its gradient should be
# zero for each of them.

# %%
pairs, _ = draw_comparisons(world, ref_logp, 1000, labels="soft", seed=1)
prompt = [world.prompt_ids.index(pair.prompt) for pair in pairs]
w = [world.index(pair.chosen) for pair in pairs]
l = [world.index(pair.rejected) for pair in pairs]  # noqa: E741
y_w = optima[1.0][prompt, w].requires_grad_()
y_l = optima[1.0][prompt, l].requires_grad_()
label = torch.tensor([pair.chosen_probability for pair in pairs], dtype=torch.float64)
losses, *_ = soft_dpo_loss(y_w, y_l, ref_logp[prompt, w], ref_logp[prompt, l], 1.0, label)
losses.sum().backward()
largest = torch.maximum(y_w.grad.abs(), y_l.grad.abs()).max()
print(f"gradient below 10^-12 for all {len(pairs)} pairs:", bool(largest < 1e-12))
assert largest < 1e-12


# %% [markdown]
# ## Training
#
# The package's `train_dpo` trains while one iterates over it, and yields one record of metrics a step. `measured` passes
# the records on, and every 50 steps it lists all responses and adds the exact numbers. No real run can do that.

# %%
def measured(run, policy, beta, every=50):
    """Pass the records of a run on, every 50th with exact numbers averaged over the three prompts."""
    star = optimal_logp(ref_logp, world.rewards, beta)

    def exact():
        with torch.no_grad():
            logp = world.logp(policy).double()
        return {
            "kl_to_optimum": kl_divergence(logp, star).mean().item(),
            "kl_to_reference": kl_divergence(logp, ref_logp).mean().item(),
            "reward": expected_reward(logp, world.rewards).mean().item(),
        }

    start = exact()  # step 1 reports the policy before its update
    for record in run:
        if record["step"] == 1 or record["step"] % every == 0:
            record |= start if record["step"] == 1 else exact()
        yield record


# %%
def train(beta, steps, pairs, ref_logps):
    policy = copy_policy(reference)
    config = DPOConfig(beta=beta, learning_rate=2e-3, batch_size=128, steps=steps)
    return list(measured(train_dpo(policy, reference, pairs, config, ref_logps), policy, beta))


runs = {}
for beta, steps in ((0.3, 1000), (1.0, 400), (2.0, 300)):
    pairs, ref_logps = draw_comparisons(world, ref_logp, 128 * steps, labels="soft", seed=0)
    runs[f"β = {beta}"] = train(beta, steps, pairs, ref_logps)

# %% [markdown]
# Look at the left panel first: the scale is logarithmic, and the grey line is at 0.05 nats.

# %%
targets = {
    f"β = {beta}": (
        expected_reward(star, world.rewards).mean().item(),
        kl_divergence(star, ref_logp).mean().item(),
    )
    for beta, star in optima.items()
}
plots.to_the_optimum(runs, targets)

# %%
for label, records in runs.items():
    print(
        f"{label}: KL(π_θ‖π*) from ≈ {records[0]['kl_to_optimum']:.2f} to ≈ {records[-1]['kl_to_optimum']:.3f} nats, "
        f"reward ≈ {records[-1]['reward']:.2f} of ≈ {targets[label][0]:.2f}"
    )
    assert records[-1]["kl_to_optimum"] < 0.05
    assert abs(records[-1]["reward"] - targets[label][0]) < 0.05

# %% [markdown]
# You wrote down a number; here are the answers. All three runs end within 0.05 nats of the exact optimum, and within
# 0.05 of its reward. Nobody computed $Z(x)$. At $\beta = 0.3$ the way is longest, and not straight: look at the first points
# of the drift. The policy shoots past its goal and has to come back.
#
# The rewards appear in one place only, the labels. And nothing depends on who proposes the responses, as long as every
# response can be proposed: `draw_comparisons` takes 40 % of them from the reference, 40 % as the best of 16 of its samples
# and 20 % from all responses alike, because then there are comparisons where π* has its probability.
#
# ## The curves that TRL logs
#
# These names are the ones in the logs of Hugging Face's TRL, so you can read a real run with the same eyes. Dashed:
# the lowest loss that any policy can have on these pairs, the entropy of their labels.

# %%
pairs, ref_logps = draw_comparisons(world, ref_logp, 128 * 400, labels="soft", seed=0)
label = torch.tensor([pair.chosen_probability for pair in pairs], dtype=torch.float64)
floor = -(label * label.log() + (1 - label) * (1 - label).log()).nan_to_num().mean().item()
names = ["loss", "rewards/margins", "rewards/accuracies"]
plots.learning_curves({"β = 1, soft labels": runs["β = 1.0"]}, names, exact={"loss": floor})

# %%
end = runs["β = 1.0"][-50:]
loss = sum(record["loss"] for record in end) / len(end)
print(f"loss over the last 50 steps ≈ {loss:.3f}, lowest possible ≈ {floor:.3f}")
assert floor - 0.02 < loss < floor + 0.03

# %% [markdown]
# The loss ends just above its floor, which is far from zero. A DPO loss that "stays high" can be a loss that is finished.
#
# ## Hard labels, then finite data
#
# In practice a pair has one label, from one person: **hard**. And there are only so many pairs. We change one thing at
# a time. First, hard labels, but every pair fresh. Then 500 hard pairs, gone through again and again: each of them comes
# back every fourth step.

# %%
beta, steps = 1.0, 400
fresh, fresh_logps = draw_comparisons(world, ref_logp, 128 * steps, labels="hard", seed=0)
few, few_logps = draw_comparisons(world, ref_logp, 500, labels="hard", seed=0)
compare = {
    "soft labels": runs["β = 1.0"],
    "hard, fresh": train(beta, steps, fresh, fresh_logps),
    "hard, 500 pairs": train(beta, steps, few, few_logps),
}

# %%
plots.learning_curves(compare, ["loss", "rewards/margins", "rewards/accuracies", "kl_to_optimum"])


# %%
def true_margin(pairs):
    """Mean difference of true rewards of the pairs: the margin that π* itself has on them."""
    rows = [world.rewards[world.prompt_ids.index(q.prompt)] for q in pairs[:5000]]
    gaps = [r[world.index(q.chosen)] - r[world.index(q.rejected)] for r, q in zip(rows, pairs)]
    return torch.stack(gaps)


for (name, records), data in zip(compare.items(), (pairs, fresh, few)):
    kl = {r["step"]: r["kl_to_optimum"] for r in records if "kl_to_optimum" in r}
    print(
        f"{name:16} margin ≈ {records[-1]['rewards/margins']:.2f} (π*: ≈ {true_margin(data).mean():.2f})   "
        f"KL to π* at step 50 ≈ {kl[50]:.2f}, at the end ≈ {kl[steps]:.2f}"
    )
soft, hard, finite = (records[-1] for records in compare.values())
assert soft["kl_to_optimum"] < hard["kl_to_optimum"] < 0.2
assert finite["kl_to_optimum"] > 1.0 and finite["loss"] < 0.2
assert (
    compare["hard, 500 pairs"][49]["kl_to_optimum"] > compare["hard, 500 pairs"][0]["kl_to_optimum"]
)
wrong = (true_margin(few) < 0).sum().item()
print(f"in ≈ {100 * wrong / len(few):.1f} % of the 500 pairs the worse response won")

# %% [markdown]
# Three runs, three answers, one formula:
#
# - **Soft**: the label's chance is averaged out, the minimum is π*.
# - **Hard, fresh**: the same loss on average. Each step has the noise of one coin a pair, so the end is a little farther.
#   Margin and accuracy are lower because in a quarter of the pairs the worse response won, and π* itself has no larger
#   margin on them.
# - **Hard, finite**: the best loss in the plot and by far the worst policy. A pair that is seen over and over with one
#   label counts as certain, $p = 1$, right or wrong. Then step 2 above has no solution: $\sigma(m) = 1$ only at
#   $m = \infty$. After 50 steps the policy is farther from π* than at the start. (The curves flatten only because the
#   learning rate falls to zero at the last step.) What keeps such a policy near its reference is no longer β but
#   *stopping*.
#
# How the minimum runs away, with no model at all: one number $m$, the loss of a pair with $p = 1$.

# %%
margin = torch.zeros(1, requires_grad=True)
for step in range(1, 10_001):
    (gradient,) = torch.autograd.grad(-torch.nn.functional.logsigmoid(margin).sum(), margin)
    margin.data -= gradient
    if step in (1, 10, 100, 1000, 10_000):
        print(f"after {step:6} steps: margin = {margin.item():.2f}")
assert margin.item() > 9

# %% [markdown]
# Ten times the steps add about 2.3 = ln 10. Slowly, but without end.
#
# ## When the chosen response becomes less likely
#
# Many who train with DPO see the log-probability of the *chosen* responses fall. The loss permits it: it sees the
# margin only, and a margin grows as well when both fall and the rejected one falls faster. But why would they? The
# name for it is **likelihood displacement** ([Razin et al. 2024](https://arxiv.org/abs/2410.08847)).
#
# Here is a controlled demonstration. One pair, 30 steps, the same chosen response both times. Only the rejected one
# differs: once it has no word in common with the chosen one, once it differs in one word.

# %%
chosen = "very very good acting"
rejected = {"far apart": "not bad but dull", "alike": "very very dull acting"}
config = DPOConfig(beta=0.1, learning_rate=5e-4, batch_size=1, steps=30, warmup_steps=0)


def encode(text):
    return world.tokenizer(text).input_ids


demo, after = {}, {}
for name, y_l in rejected.items():
    policy = copy_policy(reference)
    pair = Pair(encode("the acting"), encode(chosen), encode(y_l))
    demo[name] = list(train_dpo(policy, reference, [pair], config))
    with torch.no_grad():
        after[name] = world.logp(policy)[0].double()

# %%
plots.log_probabilities(demo)

# %%
for name, records in demo.items():
    print(
        f"{name:10} loss 0.6931 to ≈ {records[-1]['loss']:.2f}   "
        f"log π(y_w) from ≈ {records[0]['logps/chosen']:.2f} to ≈ {records[-1]['logps/chosen']:.2f}"
    )
    assert records[-1]["loss"] < 0.65
assert demo["far apart"][-1]["logps/chosen"] > demo["far apart"][0]["logps/chosen"] + 1
assert demo["alike"][-1]["logps/chosen"] < demo["alike"][0]["logps/chosen"] - 0.3


# %% [markdown]
# The loss falls both times. With the rejected response that looks alike, the chosen one falls too, and only later comes
# back a part of the way.
#
# ### Where does its probability go?
#
# To other responses, and we can list them. Here they are in five groups that leave none out, the losers first:

# %%
def group(response):
    words = response.split()
    if response in (chosen, rejected["alike"]):
        return ("chosen: " if response == chosen else "rejected: ") + response
    if words[1] == "very" and words[3] == "acting":
        return "others like them: … very … acting"
    return "verdicts with a but" if "but" in words else "everything else"


mass = {}
for y, p_before, p_after in zip(
    world.responses, ref_logp[0].exp().tolist(), after["alike"].exp().tolist()
):
    total = mass.setdefault(group(y), [0.0, 0.0])
    total[0], total[1] = total[0] + p_before, total[1] + p_after
gained = {name: p_after - p_before for name, (p_before, p_after) in mass.items()}
mass = {name: mass[name] for name in sorted(gained, key=gained.get)}  # losers first
plots.probability_mass(list(mass), *zip(*mass.values()))

# %%
changes = [after_mass - before_mass for before_mass, after_mass in mass.values()]
print(f"the groups' changes add up to zero: {abs(sum(changes)) < 1e-5}")
assert (
    abs(sum(changes)) < 1e-5
    and mass["verdicts with a but"][1] > mass["verdicts with a but"][0] + 0.05
)
assert (
    mass["others like them: … very … acting"][1]
    < mass["others like them: … very … acting"][0] - 0.05
)


# %% [markdown]
# The whole family of "… very … acting" has lost, the chosen one with it. The winners are verdicts of another build, with a
# "but", which the pair never mentioned. The log-probability of a response is the sum of its words', each given the words
# before it. Here are these pieces, exactly. Look at which of them rise.

# %%
def pieces(logp, response):
    """log π of each word after those before it: from sums over all responses that start so."""
    starts = [" ".join(response.split()[:t]) for t in range(5)]
    tables = [torch.tensor([y.startswith(start) for y in world.responses]) for start in starts]
    mass = [logp[table].logsumexp(0) for table in tables]
    return torch.stack([mass[t + 1] - mass[t] for t in range(4)])


change = {}
for name, response in (("chosen", chosen), ("rejected", rejected["alike"])):
    change[name] = pieces(after["alike"], response) - pieces(ref_logp[0], response)
    cells = (f"{word} ≈ {x:.2f}" for word, x in zip(response.split(), change[name].tolist()))
    print(f"{name:9}", "   ".join(cells))
assert torch.allclose(change["chosen"][:2], change["rejected"][:2])
assert change["chosen"][2] > 0.1 and change["chosen"][[0, 1, 3]].sum() < -0.4

# %% [markdown]
# - "very very" stands in both responses, so its change cancels in the margin. Nothing holds it, and it fell.
# - "good" rose and "dull" fell, as the loss asks.
# - After "dull", even "acting" fell far, for the rejected response gets less likely by any of its words. After "good" the
#   same word is made by nearly the same weights, and fell a little too.
#
# All in all the chosen response lost more than "good" had won. A GPT-2 has no separate number for each word of each
# response. To check that sharing is the cause, take it away: a table with one free number (logit) for each of the
# 14,641 responses, the same pair, the same loss.

# %%
i, j = (world.responses.index(y) for y in (chosen, rejected["alike"]))
logits = ref_logp[0].clone().requires_grad_()
for _ in range(30):
    logp = logits.log_softmax(0)
    loss = dpo_loss(logp[[i]], logp[[j]], ref_logp[0][[i]], ref_logp[0][[j]], beta=0.1)[0].sum()
    (gradient,) = torch.autograd.grad(loss, logits)
    logits.data -= gradient
table = logits.log_softmax(0)[i].item()
print(f"table: log π(y_w) from ≈ {ref_logp[0][i]:.2f} to ≈ {table:.2f}")
assert table > ref_logp[0][i].item()

# %% [markdown]
# With one pair and no sharing the chosen response rises: raising its logit and lowering the other's is all that the
# gradient does. So here sharing was the cause. Does being alike always make the chosen one fall? Three more pairs that
# differ in one word, same settings:

# %%
for y_w, y_l in (
    ("very very good acting", "not very good acting"),
    ("good but very great", "good but very dull"),
    ("not very bad acting", "not very good acting"),
):
    pair = Pair(encode("the acting"), encode(y_w), encode(y_l))
    run = list(train_dpo(copy_policy(reference), reference, [pair], config))
    print(f"{y_w} ≻ {y_l}: ≈ {run[-1]['logps/chosen'] - run[0]['logps/chosen']:.2f}")

# %% [markdown]
# No: some fall, some rise. Alike pairs *can* make the chosen response fall; which words and weights are shared decides.
#
# ### The other cause, and no fault
#
# With many pairs, the chosen response may have to fall because π* says so. By equation 4, $\log \frac{\pi^*}{\pi_{\text{ref}}}
# = (r^* - \beta \log Z(x))/\beta$: whatever has less reward than $\beta \log Z(x)$ loses, and it may still have won its
# comparison. How many of the chosen responses of this chapter does π* itself make less likely?

# %%
prompt = [world.prompt_ids.index(pair.prompt) for pair in fresh]
winner = [world.index(pair.chosen) for pair in fresh]
for beta in (1.0, 0.3):
    falls = optima[beta][prompt, winner] < ref_logp[prompt, winner]
    print(
        f"β = {beta}: ≈ {100 * falls.double().mean():.1f} % of the chosen responses fall under π*"
    )
    assert 0.1 < falls.double().mean() < 0.5

# %% [markdown]
# So a falling curve of chosen log-probabilities proves nothing alone. Look at where the probability goes.
#
# ## Train it yourself
#
# Choose β, learning rate and steps, press **Run**, and watch the margins and the distance to π*. **Stop** ends the run
# before its next step. Three things to try, with a prediction each:
#
# - β = 2 with 100 steps: is that enough?
# - a learning rate of 0.02: the margins look fine. Where is the policy?
# - β = 0.2 with 300 steps, then with 2000.
#
# The first run is quick to arrive. The second throws the policy far from π*, and the falling learning rate brings it back
# only about to where it began. The third needs most of the 2000 steps.

# %%
pairs, ref_logps = draw_comparisons(world, ref_logp, 50_000, labels="soft", seed=0)


def start(beta, learning_rate, steps):
    """One run on 50,000 soft-labelled pairs, its distance to π* measured every ten steps."""
    policy = copy_policy(reference)
    config = DPOConfig(beta=beta, learning_rate=learning_rate, batch_size=128, steps=steps)
    return measured(train_dpo(policy, reference, pairs, config, ref_logps), policy, beta, every=10)


widgets.LiveRun(
    start,
    plots.live_margins,
    beta=ipywidgets.FloatLogSlider(value=1.0, base=10, min=-1, max=0.5, step=0.05, description="β"),
    learning_rate=ipywidgets.FloatLogSlider(
        value=2e-3, base=10, min=-4.5, max=-1.5, step=0.1, description="rate"
    ),
    steps=ipywidgets.IntSlider(value=300, min=20, max=2000, step=20, description="steps"),
)

# %% [markdown]
# ## What could go wrong
#
# **"Both log-probabilities fall."** Two causes are on this page: shared weights, and an optimum that itself takes
# probability from many winners. Look at where the probability goes, not at the chosen curve alone.
#
# **"The loss is at 0 and margins are at 20."** Either the learning rate is far too high, or few pairs have been seen
# very often: compare the third run above. Held-out pairs tell the two apart from real progress.
#
# **"My rewards are not exactly 0 at step 1."** They should be within rounding. In half precision, rounding is coarse:
# compute the reference's log-probabilities in the same precision as the policy's.

# %%
first = runs["β = 1.0"][0]
print(f"step 1: |reward| below 0.00001: {abs(first['rewards/chosen']) < 1e-5}")
assert abs(first["rewards/chosen"]) < 1e-5


# %% [markdown]
# ## Exercises
#
# ### Exercise ★ · soft_loss
#
# The loss $\ell(m)$ of each pair from its margin and its soft label, both of shape (B,). (5 minutes)

# %%
def soft_loss(margin, p):
    """Expected loss of a label that falls "winner" with probability p: shape (B,)."""
    # YOUR CODE HERE
    raise NotImplementedError()


# %%
check_soft_loss(soft_loss)


# %% [markdown]
# ### Exercise ★★ · best_margin
#
# The margin at which that loss is smallest, for soft labels p of shape (B,). (5 minutes)

# %%
def best_margin(p):
    """The margin at which the soft loss is smallest: shape (B,)."""
    # YOUR CODE HERE
    raise NotImplementedError()


# %%
check_best_margin(best_margin)


# %% [markdown]
# ### Exercise ★★★ · shift_at_optimum
#
# By how much does π* change the log-probability of every response? From $\log \pi_{\text{ref}}$ and reward of all N responses
# to P prompts, both (P, N). (10 minutes)

# %%
def shift_at_optimum(ref_logp, reward, beta):
    """log(π*(y|x)/π_ref(y|x)) of every response: shape (P, N)."""
    # YOUR CODE HERE
    raise NotImplementedError()


# %%
check_shift_at_optimum(shift_at_optimum)

# %% [markdown]
# ## Quiz

# %%
widgets.Quiz(
    "A run on soft labels has a loss of 0.51 that no longer falls. What now?",
    {
        "A lower learning rate, for it is stuck.": "Compare with the entropy of the labels first: it may be done.",
        "Nothing, if 0.51 is the entropy of the labels.": "The loss cannot go below that, and at that value π is π*.",
        "A smaller β, so that the loss can fall.": "β moves the optimum; the floor of the loss is the labels' own.",
    },
    right="Nothing, if 0.51 is the entropy of the labels.",
)

# %%
widgets.Quiz(
    "500 pairs, 100 epochs, loss near 0. How near is the policy to π*?",
    {
        "Very near: the loss says so.": "The loss is that of 500 certain labels, and its minimum is at infinity.",
        "Far: the margins grow on labels that are taken as certain.": "The third run: lowest loss, largest distance.",
        "It depends on β alone.": "β sets where π* is. What ends such a run is stopping.",
    },
    right="Far: the margins grow on labels that are taken as certain.",
)

# %% [markdown]
# ## Recap
#
# | symbol | in code | shape | equation |
# |---|---|---|---|
# | $p^*(y_w \succ y_l \mid x)$ | `pair.chosen_probability` | number | 1 |
# | $\pi^*$ | `optimal_logp(ref_logp, reward, beta)` | (P, N) | 4 |
# | $\hat r$, margin | `rewards/chosen`, `rewards/margins` | by step | 5, 7 |
# | $\mathcal{L}_{\text{DPO}}$ | `dpo_loss`, `soft_dpo_loss` | (B,) | 7 |
# | $\mathrm{KL}[\pi_\theta \Vert \pi^*]$ | `kl_divergence(logp, optimum)` | (P,) | – |
#
# With soft labels a GPT-2 reaches π* to within hundredths of a nat. Hard labels add noise; finite data moves the goal
# itself; shared weights move probability where no pair looks.
