# %%
def reward_of_policy(logp, ref_logp, beta):
    """log π(y|x), log π_ref(y|x), both (N,) → implicit rewards (N,)."""
    ### BEGIN SOLUTION
    return beta * (logp - ref_logp)
    ### END SOLUTION


# %%
check_reward_of_policy(reward_of_policy)
### BEGIN HIDDEN TESTS
import math

from dpo_book.checks import marking


def hidden_answer(logp, ref_logp, beta):
    """β times the logarithm of the ratio of two probabilities."""
    return [beta * math.log(math.exp(p) / math.exp(q)) for p, q in zip(logp.tolist(), ref_logp.tolist())]


def hidden_policy(seed, responses, beta):
    return *marking.normal(seed, (responses,), (responses,), offset=-5.0), beta


hidden_trials = [hidden_policy(901, 6, 0.2), hidden_policy(902, 1, 1.5), hidden_policy(903, 11, 3.0)]
marking.mark("reward_of_policy", reward_of_policy, hidden_answer, hidden_trials)
### END HIDDEN TESTS


# %%
def preference_of_policy(logp_a, logp_b, ref_logp_a, ref_logp_b, beta):
    """log π and log π_ref of responses a and b, all (B,) → p(a ≻ b), (B,)."""
    ### BEGIN SOLUTION
    return torch.sigmoid(beta * (logp_a - ref_logp_a) - beta * (logp_b - ref_logp_b))
    ### END SOLUTION


# %%
check_preference_of_policy(preference_of_policy)
### BEGIN HIDDEN TESTS
import math

from dpo_book.checks import marking


def hidden_answer(logp_a, logp_b, ref_logp_a, ref_logp_b, beta):
    """One over one plus the ratio of the two ratios, to the power of β."""
    rows = zip(logp_a.tolist(), logp_b.tolist(), ref_logp_a.tolist(), ref_logp_b.tolist())
    return [1 / (1 + math.exp((b - ref_b) - (a - ref_a)) ** beta) for a, b, ref_a, ref_b in rows]


def hidden_pairs(seed, count, beta):
    return *marking.normal(seed, *[(count,)] * 4, offset=-5.0), beta


hidden_trials = [hidden_pairs(904, 6, 0.2), hidden_pairs(905, 1, 1.5), hidden_pairs(906, 9, 0.9)]
marking.mark("preference_of_policy", preference_of_policy, hidden_answer, hidden_trials)
### END HIDDEN TESTS


# %%
def canonical_reward(reward, ref_logp, beta):
    """Rewards and log π_ref(y|x), both (P, N) → the member β log(π/π_ref), (P, N)."""
    ### BEGIN SOLUTION
    log_z = torch.logsumexp(ref_logp + reward / beta, dim=-1, keepdim=True)
    return reward - beta * log_z
    ### END SOLUTION


# %%
check_canonical_reward(canonical_reward)
### BEGIN HIDDEN TESTS
import math

from dpo_book.checks import marking


def hidden_answer(reward, ref_logp, beta):
    """Each reward less β times the logarithm of its prompt's Z."""
    rows = []
    for rewards, row in zip(reward.tolist(), ref_logp.tolist()):
        z = sum(math.exp(q) * math.exp(r / beta) for q, r in zip(row, rewards))
        rows.append([r - beta * math.log(z) for r in rewards])
    return rows


def hidden_world(seed, prompts, responses, beta):
    reward, ref_logits = marking.normal(seed, (prompts, responses), (prompts, responses))
    return reward, ref_logits.log_softmax(-1), beta


hidden_trials = [hidden_world(907, 2, 5, 0.4), hidden_world(908, 1, 9, 1.3), hidden_world(909, 6, 3, 3.0)]
marking.mark("canonical_reward", canonical_reward, hidden_answer, hidden_trials)
### END HIDDEN TESTS


# %% [markdown]
# ### In your own words
#
# Two rewards differ by a function f(x) of the prompt. Why can no comparison, no optimal policy and no DPO run tell
# them apart, and when would the difference matter all the same? Three to five sentences.
#
# ### BEGIN SOLUTION
# A comparison is between two responses to one prompt, so f(x) drops out of the difference in equation 1. In
# equation 4 it leaves the sum as a factor and is divided out again. The DPO loss has differences only. It matters
# where rewards of different prompts are compared: in a mean reward over prompts, in a threshold, or when one
# chooses which prompts to answer.
#
# Marks:
#
# - 1: it cancels in a difference
# - 1: it cancels against Z(x)
# - 1: a use in which it matters
# - 1: clear, and nothing false
# ### END SOLUTION
