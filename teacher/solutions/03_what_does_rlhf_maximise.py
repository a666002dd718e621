# %%
def kl_to_reference(logp, ref_logp):
    """KL[π‖π_ref] in nats: shape (P,)."""
    ### BEGIN SOLUTION
    return (logp.exp() * (logp - ref_logp)).sum(dim=-1)
    ### END SOLUTION


# %%
check_kl_to_reference(kl_to_reference)
### BEGIN HIDDEN TESTS
import math

from dpo_book.checks import marking


def hidden_answer(logp, ref_logp):
    """Σ p log(p / q), prompt by prompt, response by response."""
    total = []
    for row, ref_row in zip(logp.tolist(), ref_logp.tolist()):
        total.append(sum(math.exp(p) * (p - q) for p, q in zip(row, ref_row)))
    return total


def hidden_policies(seed, prompts, responses):
    logits, ref_logits = marking.normal(seed, (prompts, responses), (prompts, responses))
    return logits.log_softmax(-1), ref_logits.log_softmax(-1)


hidden_trials = [hidden_policies(901, 2, 5), hidden_policies(902, 1, 9), hidden_policies(903, 6, 3)]
marking.mark("kl_to_reference", kl_to_reference, hidden_answer, hidden_trials)
### END HIDDEN TESTS


# %%
def objective(logp, ref_logp, reward, beta):
    """E_π[r] − β KL[π‖π_ref]: shape (P,)."""
    ### BEGIN SOLUTION
    return (logp.exp() * reward).sum(dim=-1) - beta * kl_to_reference(logp, ref_logp)
    ### END SOLUTION


# %%
check_objective(objective)
### BEGIN HIDDEN TESTS
import math

from dpo_book.checks import marking


def hidden_answer(logp, ref_logp, reward, beta):
    """The mean under π of what a response earns after its price."""
    total = []
    for row, ref_row, rewards in zip(logp.tolist(), ref_logp.tolist(), reward.tolist()):
        total.append(sum(math.exp(p) * (r - beta * (p - q)) for p, q, r in zip(row, ref_row, rewards)))
    return total


def hidden_rewards(seed, prompts, responses, beta):
    shape = (prompts, responses)
    logits, ref_logits, reward = marking.normal(seed, shape, shape, shape)
    return logits.log_softmax(-1), ref_logits.log_softmax(-1), reward, beta


hidden_trials = [hidden_rewards(904, 2, 5, 0.4), hidden_rewards(905, 1, 9, 1.3), hidden_rewards(906, 6, 3, 3.0)]
marking.mark("objective", objective, hidden_answer, hidden_trials)
### END HIDDEN TESTS


# %%
def objective_gradient(logits, ref_logp, reward, beta):
    """∂J/∂θ for π = softmax(θ), one value a logit: shape (P, N)."""
    ### BEGIN SOLUTION
    logp = logits.log_softmax(dim=-1)
    priced = reward - beta * (logp - ref_logp)  # R(y)
    average = (logp.exp() * priced).sum(dim=-1, keepdim=True)
    return logp.exp() * (priced - average)
    ### END SOLUTION


# %%
check_objective_gradient(objective_gradient)
### BEGIN HIDDEN TESTS
import math

from dpo_book.checks import marking


def hidden_answer(logits, ref_logp, reward, beta):
    """Central differences of J by every logit."""

    def value(row, ref_row, rewards):
        log_total = math.log(sum(math.exp(logit) for logit in row))
        logp = [logit - log_total for logit in row]
        return sum(math.exp(p) * (r - beta * (p - q)) for p, q, r in zip(logp, ref_row, rewards))

    gradient = []
    for row, ref_row, rewards in zip(logits.tolist(), ref_logp.tolist(), reward.tolist()):
        slopes = []
        for place in range(len(row)):
            up, down = list(row), list(row)
            up[place] += 1e-5
            down[place] -= 1e-5
            slopes.append((value(up, ref_row, rewards) - value(down, ref_row, rewards)) / 2e-5)
        gradient.append(slopes)
    return gradient


def hidden_tables(seed, prompts, responses, beta):
    shape = (prompts, responses)
    logits, ref_logits, reward = marking.normal(seed, shape, shape, shape)
    return logits + 0.7, ref_logits.log_softmax(-1), reward, beta


hidden_trials = [hidden_tables(907, 2, 5, 0.4), hidden_tables(908, 1, 9, 1.3), hidden_tables(909, 6, 3, 3.0)]
marking.mark("objective_gradient", objective_gradient, hidden_answer, hidden_trials)
### END HIDDEN TESTS


# %% [markdown]
# ### In your own words
#
# Why does equation 3 measure KL[π‖π_ref] and not KL[π_ref‖π]? Say what the other direction would make a policy do.
# Three to five sentences.
#
# ### BEGIN SOLUTION
# KL[π‖π_ref] is a mean over the policy's own responses, so it can be estimated from its samples, and it punishes
# what the policy does and the reference would not. It lets the policy give up responses. KL[π_ref‖π] is a mean over
# the reference's responses: it punishes giving any of them up, without end where π is 0, and hardly sees a new
# response that the reference finds impossible.
#
# Marks:
#
# - 1: an average over the policy's responses against one over the reference's
# - 1: what each direction punishes
# - 1: one consequence for training or for the optimum
# - 1: clear, and nothing false
# ### END SOLUTION
