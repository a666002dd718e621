# %%
def soft_loss(margin, p):
    """Expected loss of a label that falls "winner" with probability p: shape (B,)."""
    ### BEGIN SOLUTION
    logsigmoid = torch.nn.functional.logsigmoid
    return -p * logsigmoid(margin) - (1 - p) * logsigmoid(-margin)
    ### END SOLUTION


# %%
check_soft_loss(soft_loss)
### BEGIN HIDDEN TESTS
import math

from dpo_book.checks import marking


def hidden_answer(margin, p):
    """The loss of each label, weighted by how often it falls so."""
    losses = []
    for m, q in zip(margin.tolist(), p.tolist()):
        losses.append(q * math.log1p(math.exp(-m)) + (1 - q) * math.log1p(math.exp(m)))
    return losses


def hidden_labels(seed, count):
    margin, log_odds = marking.normal(seed, (count,), (count,), scale=1.5)
    return margin, log_odds.sigmoid()


hidden_trials = [hidden_labels(901, 6), hidden_labels(902, 1), hidden_labels(903, 10)]
marking.mark("soft_loss", soft_loss, hidden_answer, hidden_trials)
### END HIDDEN TESTS


# %%
def unseen_mass(optimum_logp, proposal, draws):
    """Expected probability of π* on what is never drawn: shape (P,)."""
    ### BEGIN SOLUTION
    missed = (1 - proposal) ** draws
    return (optimum_logp.exp() * missed).sum(dim=-1)
    ### END SOLUTION


# %%
check_unseen_mass(unseen_mass)
### BEGIN HIDDEN TESTS
import math

from dpo_book.checks import marking


def hidden_answer(optimum_logp, proposal, draws):
    """Response by response: its probability, times the chance that every draw is another one."""
    total = []
    for row, chances in zip(optimum_logp.tolist(), proposal.tolist()):
        total.append(sum(math.exp(p) * math.prod([1 - q] * draws) for p, q in zip(row, chances)))
    return total


def hidden_proposal(seed, prompts, responses, draws):
    optimum, proposal = marking.normal(seed, (prompts, responses), (prompts, responses))
    return optimum.log_softmax(-1), proposal.softmax(-1), draws


hidden_trials = [hidden_proposal(904, 3, 5, 4), hidden_proposal(905, 1, 9, 20), hidden_proposal(906, 5, 2, 2)]
marking.mark("unseen_mass", unseen_mass, hidden_answer, hidden_trials)
### END HIDDEN TESTS


# %%
def shift_at_optimum(ref_logp, reward, beta):
    """log(π*(y|x)/π_ref(y|x)) of every response: shape (P, N)."""
    ### BEGIN SOLUTION
    log_z = torch.logsumexp(ref_logp + reward / beta, dim=-1, keepdim=True)
    return reward / beta - log_z
    ### END SOLUTION


# %%
check_shift_at_optimum(shift_at_optimum)
### BEGIN HIDDEN TESTS
import math

from dpo_book.checks import marking


def hidden_answer(ref_logp, reward, beta):
    """The logarithm of exp(r/β) over its mean under π_ref."""
    rows = []
    for row, rewards in zip(ref_logp.tolist(), reward.tolist()):
        tilts = [math.exp(r / beta) for r in rewards]
        mean = sum(math.exp(q) * tilt for q, tilt in zip(row, tilts))
        rows.append([math.log(tilt / mean) for tilt in tilts])
    return rows


def hidden_world(seed, prompts, responses, beta):
    ref_logits, reward = marking.normal(seed, (prompts, responses), (prompts, responses))
    return ref_logits.log_softmax(-1), reward, beta


hidden_trials = [hidden_world(907, 3, 5, 0.4), hidden_world(908, 1, 9, 1.3), hidden_world(909, 5, 2, 3.0)]
marking.mark("shift_at_optimum", shift_at_optimum, hidden_answer, hidden_trials)
### END HIDDEN TESTS


# %% [markdown]
# ### In your own words
#
# During a DPO run the log-probability of the chosen responses falls. Your team wants to stop the run. Which two
# things do you look at before you agree, and what would each of them tell? Three to five sentences.
#
# ### BEGIN SOLUTION
# Chosen responses may be responses that the optimum lowers as well: what counts is r/β − log Z(x), and a winner of
# a poor pair can have a low reward. So look at what happens to other good responses, in samples or in the mass
# outside of the pairs: if they rise, all is well. And look at where the probability goes: if it goes to texts that
# no pair holds and no one wants, the pairs do not cover what the policy now says. The margin alone tells neither.
#
# Marks:
#
# - 1: falling can be what the optimum wants
# - 1: a first thing to look at, and what it tells
# - 1: a second one
# - 1: clear, and nothing false
# ### END SOLUTION
