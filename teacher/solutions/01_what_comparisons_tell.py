# %%
def win_probability(reward_a, reward_b):
    """Rewards (B,) and (B,) to the probability that a is preferred, (B,)."""
    ### BEGIN SOLUTION
    return torch.sigmoid(reward_a - reward_b)
    ### END SOLUTION


# %%
check_win_probability(win_probability)
### BEGIN HIDDEN TESTS
import math

from dpo_book.checks import marking


def hidden_answer(reward_a, reward_b):
    """Equation 1 with its exponentials, one comparison at a time."""
    pairs = zip(reward_a.tolist(), reward_b.tolist())
    return [math.exp(a) / (math.exp(a) + math.exp(b)) for a, b in pairs]


hidden_trials = [
    marking.normal(901, (5,), (5,), scale=2.0),
    marking.normal(902, (1,), (1,)),
    marking.normal(903, (11,), (11,), offset=3.0),
]
marking.mark("win_probability", win_probability, hidden_answer, hidden_trials)
### END HIDDEN TESTS


# %%
def reward_gradient(rewards, winners, losers):
    """Rewards (n,), winners (B,), losers (B,) to the summed loss's gradient, (n,)."""
    ### BEGIN SOLUTION
    weight = torch.sigmoid(rewards[losers] - rewards[winners])  # 1 − p: how surprising the win was
    gradient = torch.zeros_like(rewards)
    gradient.index_add_(0, winners, -weight)  # adds up repeated items; gradient[winners] -= weight would not
    gradient.index_add_(0, losers, weight)
    return gradient
    ### END SOLUTION


# %%
check_reward_gradient(reward_gradient)
### BEGIN HIDDEN TESTS
import math

from dpo_book.checks import marking


def hidden_answer(rewards, winners, losers):
    """Comparison by comparison: the winner is pulled up by 1 − p, the loser down by as much."""
    gradient = [0.0] * len(rewards)
    for winner, loser in zip(winners.tolist(), losers.tolist()):
        surprise = 1 / (1 + math.exp(rewards[winner].item() - rewards[loser].item()))
        gradient[winner] -= surprise
        gradient[loser] += surprise
    return gradient


def hidden_comparisons(seed, items, *pairs):
    winners, losers = torch.tensor(pairs).T
    return *marking.normal(seed, (items,)), winners, losers


hidden_trials = [
    hidden_comparisons(901, 3, (0, 1), (0, 1), (2, 0), (1, 0)),
    hidden_comparisons(902, 6, (5, 2)),
    hidden_comparisons(903, 4, (3, 0), (3, 1), (3, 2), (0, 3), (3, 0), (1, 2), (2, 1)),
]
marking.mark("reward_gradient", reward_gradient, hidden_answer, hidden_trials)
### END HIDDEN TESTS


# %%
def ranking_logp(rewards, rankings):
    """Rewards (n,) and rankings (B, K), best first, to log-probabilities (B,)."""
    ### BEGIN SOLUTION
    ranked = rewards[rankings]
    remaining = ranked.flip(1).logcumsumexp(dim=1).flip(1)  # log of the sum over an item and all below it
    return (ranked - remaining).sum(dim=1)
    ### END SOLUTION


# %%
check_ranking_logp(ranking_logp)
### BEGIN HIDDEN TESTS
import math

from dpo_book.checks import marking


def hidden_answer(rewards, rankings):
    """Choice by choice: who is best of those that are left."""
    total = []
    for ranking in rankings.tolist():
        weights = [math.exp(rewards[item].item()) for item in ranking]
        choices = [math.log(weight / sum(weights[place:])) for place, weight in enumerate(weights)]
        total.append(sum(choices))
    return total


hidden_trials = [
    (*marking.normal(901, (5,)), torch.tensor([[4, 0, 2], [1, 3, 0], [2, 4, 3]])),
    (*marking.normal(902, (3,)), torch.tensor([[2, 0, 1]])),
    (*marking.normal(903, (8,)), torch.tensor([[7, 1], [0, 6], [3, 2], [5, 4], [1, 0]])),
]
marking.mark("ranking_logp", ranking_logp, hidden_answer, hidden_trials)
### END HIDDEN TESTS


# %% [markdown]
# ### In your own words
#
# Two items were compared ten times and the first won every time. What does maximum likelihood say of their rewards,
# why is that no good estimate, and what would you do? Three to five sentences.
#
# ### BEGIN SOLUTION
# The likelihood grows without end as the difference grows, so the estimate is infinite. Ten wins are as well
# explained by a large difference as by a larger one; the data do not say where to stop. Comparisons through which
# the loser wins, be it by a chain over other items, or a penalty on large rewards (a prior), make it finite; ten
# more wins would not.
#
# Marks:
#
# - 1: the difference goes to infinity
# - 1: because the likelihood has no largest value there
# - 1: a remedy that works
# - 1: clear, and nothing false
# ### END SOLUTION
