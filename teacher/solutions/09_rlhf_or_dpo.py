# %%
def shortfall(reward, kl, beta, log_z):
    """β log Z − J of every method at every strength: shape (M, B)."""
    ### BEGIN SOLUTION
    return beta * log_z - (reward - beta * kl)
    ### END SOLUTION


# %%
check_shortfall(shortfall)
### BEGIN HIDDEN TESTS
from dpo_book.checks import marking


def hidden_answer(reward, kl, beta, log_z):
    """Method by method, β by β: the most that J can be, less J."""
    rows = []
    for rewards, kls in zip(reward.tolist(), kl.tolist()):
        columns = zip(rewards, kls, beta.tolist(), log_z.tolist())
        rows.append([b * z - r + b * k for r, k, b, z in columns])
    return rows


def hidden_table(seed, methods, strengths):
    reward, kl = marking.normal(seed, (methods, strengths), (methods, strengths))
    beta, log_z = marking.normal(seed + 50, (strengths,), (strengths,))
    return reward, kl.abs(), beta.abs() + 0.2, log_z.abs() + 2


hidden_trials = [hidden_table(901, 4, 5), hidden_table(902, 1, 3), hidden_table(903, 6, 1)]
marking.mark("shortfall", shortfall, hidden_answer, hidden_trials)
### END HIDDEN TESTS


# %%
def reward_at_kl(kl, reward, at):
    """A method's reward at each of these KLs: shape (K,)."""
    ### BEGIN SOLUTION
    order = kl.argsort()
    kl, reward = kl[order], reward[order]
    after = torch.searchsorted(kl, at).clamp(1, len(kl) - 1)
    share = (at - kl[after - 1]) / (kl[after] - kl[after - 1])
    return reward[after - 1] + share * (reward[after] - reward[after - 1])
    ### END SOLUTION


# %%
check_reward_at_kl(reward_at_kl)
### BEGIN HIDDEN TESTS
from dpo_book.checks import marking


def hidden_answer(kl, reward, at):
    """The two runs on either side, each weighted by the distance to the other."""
    runs = sorted(zip(kl.tolist(), reward.tolist()))
    rewards = []
    for where in at.tolist():
        for (before, low), (after, high) in zip(runs, runs[1:]):
            if before <= where <= after:
                rewards.append((low * (after - where) + high * (where - before)) / (after - before))
                break
    return rewards


def hidden_runs(seed, count, *shares):
    kl, reward = marking.normal(seed, (count,), (count,))
    kl = kl.exp()
    return kl, reward, kl.min() + torch.tensor(shares, dtype=kl.dtype) * (kl.max() - kl.min())


hidden_trials = [
    hidden_runs(904, 7, 0.33, 0.05, 0.8, 0.61),
    hidden_runs(905, 2, 0.42),
    hidden_runs(906, 4, 0.9, 0.15),
]
marking.mark("reward_at_kl", reward_at_kl, hidden_answer, hidden_trials)
### END HIDDEN TESTS


# %%
def best_of_n_kl(ref_logp, reward, n):
    """Exact KL of the best of n draws from π_ref, in nats: a number."""
    ### BEGIN SOLUTION
    order = reward.argsort()
    p = ref_logp[order].exp()
    at_most = p.cumsum(0)
    best = at_most**n - (at_most - p) ** n
    return (best * (best.log() - p.log())).sum()
    ### END SOLUTION


# %%
check_best_of_n_kl(best_of_n_kl)
### BEGIN HIDDEN TESTS
import math

from dpo_book.checks import marking


def hidden_answer(ref_logp, reward, n):
    """Every possible handful of n draws, and which of it is kept."""
    import itertools

    p = [math.exp(q) for q in ref_logp.tolist()]
    kept = [0.0] * len(p)
    for handful in itertools.product(range(len(p)), repeat=n):
        best = max(handful, key=reward.tolist().__getitem__)
        kept[best] += math.prod(p[i] for i in handful)
    return sum(b * math.log(b / q) for b, q in zip(kept, p))


def hidden_pool(seed, responses, n):
    ref_logits, reward = marking.normal(seed, (responses,), (responses,))
    return ref_logits.log_softmax(0), reward, n


hidden_trials = [hidden_pool(907, 4, 3), hidden_pool(908, 3, 5), hidden_pool(909, 8, 2)]
marking.mark("best_of_n_kl", best_of_n_kl, hidden_answer, hidden_trials)
### END HIDDEN TESTS


# %% [markdown]
# ### In your own words
#
# A paper reports that its method has more reward than DPO at the same β. What do you ask before you believe that it
# is better? Three to five sentences.
#
# ### BEGIN SOLUTION
# At how many nats of KL? Reward alone can be bought by straying. Compare J at one β, or reward at one KL, on a
# frontier of several strengths for both. Were both tuned alike, with several seeds, and the same data and compute?
# And which reward: the learned one that was optimised, or one that neither method saw?
#
# Marks:
#
# - 1: KL beside reward
# - 1: equal tuning, seeds or budget
# - 1: which reward measures
# - 1: clear, and nothing false
# ### END SOLUTION
