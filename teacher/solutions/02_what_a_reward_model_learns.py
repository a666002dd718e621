# %%
def pair_loss(reward_chosen, reward_rejected):
    """Rewards (B,) and (B,) to losses in nats, (B,)."""
    ### BEGIN SOLUTION
    return -torch.nn.functional.logsigmoid(reward_chosen - reward_rejected)
    ### END SOLUTION


# %%
check_pair_loss(pair_loss)
### BEGIN HIDDEN TESTS
import math

from dpo_book.checks import marking


def hidden_answer(reward_chosen, reward_rejected):
    """log(1 + exp(−margin)), pair by pair."""
    pairs = zip(reward_chosen.tolist(), reward_rejected.tolist())
    return [math.log1p(math.exp(rejected - chosen)) for chosen, rejected in pairs]


hidden_trials = [
    marking.normal(901, (5,), (5,), scale=2.0),
    marking.normal(902, (1,), (1,)),
    marking.normal(903, (12,), (12,), offset=-1.0),
]
marking.mark("pair_loss", pair_loss, hidden_answer, hidden_trials)
### END HIDDEN TESTS


# %%
def accuracy_ceiling(reward_a, reward_b):
    """True rewards (B,) and (B,) to one number, the best expected accuracy, ()."""
    ### BEGIN SOLUTION
    p = torch.sigmoid(reward_a - reward_b)
    return torch.maximum(p, 1 - p).mean()
    ### END SOLUTION


# %%
check_accuracy_ceiling(accuracy_ceiling)
### BEGIN HIDDEN TESTS
import math

from dpo_book.checks import marking


def hidden_answer(reward_a, reward_b):
    """The likelier one is right with the larger of the two chances."""
    chances = []
    for a, b in zip(reward_a.tolist(), reward_b.tolist()):
        chances.append(1 / (1 + math.exp(-abs(a - b))))
    return sum(chances) / len(chances)


hidden_trials = [
    marking.normal(901, (5,), (5,), scale=2.0),
    marking.normal(902, (1,), (1,)),
    marking.normal(903, (12,), (12,), offset=-1.0),
]
marking.mark("accuracy_ceiling", accuracy_ceiling, hidden_answer, hidden_trials)
### END HIDDEN TESTS


# %%
def noisy_margin(margin, noise):
    """True margins (B,) and a flip rate to the best margins under noise, (B,)."""
    ### BEGIN SOLUTION
    p = torch.sigmoid(margin)
    return torch.logit((1 - noise) * p + noise * (1 - p))
    ### END SOLUTION


# %%
check_noisy_margin(noisy_margin)
### BEGIN HIDDEN TESTS
import math

from dpo_book.checks import marking


def hidden_answer(margin, noise):
    """Log-odds of a label that says the truth with probability 1 − noise."""
    odds = []
    for m in margin.tolist():
        p = 1 / (1 + math.exp(-m))
        yes = p - 2 * noise * p + noise
        odds.append(math.log(yes) - math.log(1 - yes))
    return odds


hidden_trials = [
    (*marking.normal(901, (5,)), 0.15),
    (*marking.normal(902, (1,), offset=2.0), 0.4),
    (*marking.normal(903, (11,), scale=2.0), 0.05),
]
marking.mark("noisy_margin", noisy_margin, hidden_answer, hidden_trials)
### END HIDDEN TESTS


# %% [markdown]
# ### In your own words
#
# A reward model reaches 0.75 accuracy on held-out pairs. A colleague says that a quarter of what it says is wrong.
# When is the colleague right, and when is the model perfect? Three to five sentences.
#
# ### BEGIN SOLUTION
# If the judge decides by equation 1, even the true rewards miss whenever the worse response wins its coin. The mean
# of max(p, 1 − p) is the ceiling; at a ceiling of 0.75 the model is as good as any can be. The colleague is right
# where the ceiling is near 1. Accuracy has to be read beside the ceiling, or beside the judge's agreement with
# itself.
#
# Marks:
#
# - 1: labels are random, so the truth misses too
# - 1: the ceiling is the mean of max(p, 1 − p)
# - 1: both cases are told apart
# - 1: clear, and nothing false
# ### END SOLUTION
