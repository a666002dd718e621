# %%
def longer_share(chosen, rejected):
    """Share of pairs whose chosen is longer, ties half: a number."""
    ### BEGIN SOLUTION
    longer = (chosen > rejected).double() + 0.5 * (chosen == rejected).double()
    return longer.mean()
    ### END SOLUTION


# %%
check_longer_share(longer_share)
### BEGIN HIDDEN TESTS
from dpo_book.checks import marking


def hidden_answer(chosen, rejected):
    """One for a longer chosen, a half for a tie, over all pairs."""
    points = []
    for c, r in zip(chosen.tolist(), rejected.tolist()):
        points.append(0.5 if c == r else float(c > r))
    return sum(points) / len(points)


hidden_trials = [
    (torch.tensor([5, 5, 5, 5]), torch.tensor([5, 4, 6, 5])),
    (torch.tensor([31]), torch.tensor([30])),
    (torch.tensor([4, 2, 8]), torch.tensor([4, 3, 1])),
    (torch.tensor([1, 2, 3, 4, 5, 6, 7, 8, 9]), torch.tensor([9, 8, 7, 6, 5, 4, 3, 2, 9])),
]
marking.mark("longer_share", longer_share, hidden_answer, hidden_trials)
### END HIDDEN TESTS


# %%
def leaked_prompts(train, held_out):
    """1 for every held-out row whose prompt is in train, else 0: a list or tensor."""
    ### BEGIN SOLUTION
    known = set(train)
    return [int(prompt in known) for prompt in held_out]
    ### END SOLUTION


# %%
check_leaked_prompts(leaked_prompts)
### BEGIN HIDDEN TESTS
from dpo_book.checks import marking


def hidden_answer(train, held_out):
    """Each held-out prompt against each of training."""
    return [int(any(prompt == other for other in train)) for prompt in held_out]


hidden_trials = [
    (["One", "Two", "Three"], ["Three", "Four", "One", "One"]),
    (["A long walk"], ["A long", "A long walk", "long walk"]),
    (["x", "y", "y", "z"], ["q"]),
    (["A good film", "So so"], ["a good film", "A good", "So so ", "So so"]),
]
marking.mark("leaked_prompts", leaked_prompts, hidden_answer, hidden_trials)
### END HIDDEN TESTS


# %%
def choose(loss, error, kl):
    """The place of the run that the rule takes, counted from 0."""
    ### BEGIN SOLUTION
    best = loss.argmin()
    allowed = loss <= loss[best] + error[best]
    return kl.where(allowed, torch.inf).argmin()
    ### END SOLUTION


# %%
check_choose(choose)
### BEGIN HIDDEN TESTS
from dpo_book.checks import marking


def hidden_answer(loss, error, kl):
    """The runs in the order of their KL: the first that is within the best's error."""
    runs = list(zip(loss.tolist(), error.tolist(), kl.tolist()))
    best_loss, best_error, _ = min(runs)
    for place in sorted(range(len(runs)), key=kl.tolist().__getitem__):
        if runs[place][0] <= best_loss + best_error:
            return place


def hidden_sweep(*runs):
    return tuple(torch.tensor(column, dtype=torch.float64) for column in zip(*runs))


hidden_trials = [
    hidden_sweep((0.66, 0.01, 0.3), (0.62, 0.02, 4.0), (0.635, 0.05, 2.0), (0.63, 0.01, 3.0)),
    hidden_sweep((0.5, 0.1, 6.0), (0.55, 0.01, 5.0), (0.59, 0.2, 1.0), (0.61, 0.3, 0.2), (0.7, 0.1, 0.1)),
    hidden_sweep((0.69, 0.001, 0.1), (0.68, 0.001, 2.0)),
    hidden_sweep((0.5, 0.25, 3.0), (0.75, 0.125, 1.0), (0.875, 0.5, 0.5)),
]
marking.mark("choose", choose, hidden_answer, hidden_trials)
### END HIDDEN TESTS


# %%
def diagnosis():
    """The numbers of the causes of logs A, B and C: a list such as [1, 2, 3]."""
    ### BEGIN SOLUTION
    # A: the rewards are not 0 at step 1. B: log-probabilities move by nats, rewards hardly.
    # C: accuracy stays near a half, and the loss near ln 2.
    return [5, 3, 4]
    ### END SOLUTION


# %%
check_diagnosis(diagnosis)
### BEGIN HIDDEN TESTS
from dpo_book.checks import marking


def hidden_answer():
    """As the logs show: another start, β too small, coin flips."""
    return [5, 3, 4]


marking.mark("diagnosis", diagnosis, hidden_answer, [()])
### END HIDDEN TESTS


# %% [markdown]
# ### In your own words
#
# Your held-out accuracy is 0.62, with a 95 % interval from 0.57 to 0.67, and the chosen response is the longer one
# in 60 % of the pairs. Your manager asks whether DPO worked. What do you answer, and what do you measure next?
# Three to five sentences.
#
# ### BEGIN SOLUTION
# It ranks held-out pairs better than chance, the interval says. But a rule that takes the longer text gets about
# 0.60, which lies inside the interval: the policy may have learned length alone. I would measure accuracy among
# pairs of equal length or with the longer one rejected, read samples and their lengths before and after, and have
# blind comparisons against the reference.
#
# Marks:
#
# - 1: above chance, by the interval
# - 1: not above the rule of length
# - 1: a measurement that separates the two
# - 1: clear, and nothing false
# ### END SOLUTION
