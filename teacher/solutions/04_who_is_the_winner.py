# %%
def my_log_partition(ref_logp, reward, beta):
    """log Z(x): (P, N) and (P, N) give (P,)."""
    ### BEGIN SOLUTION
    return torch.logsumexp(ref_logp + reward / beta, dim=-1)
    ### END SOLUTION


# %%
check_log_partition(my_log_partition)
### BEGIN HIDDEN TESTS
import math

from dpo_book.checks import marking


def hidden_answer(ref_logp, reward, beta):
    """The logarithm of Σ π_ref exp(r/β), prompt by prompt."""
    total = []
    for row, rewards in zip(ref_logp.tolist(), reward.tolist()):
        total.append(math.log(sum(math.exp(q) * math.exp(r / beta) for q, r in zip(row, rewards))))
    return total


def hidden_prompts(seed, prompts, responses, beta):
    ref_logits, reward = marking.normal(seed, (prompts, responses), (prompts, responses))
    return ref_logits.log_softmax(-1), reward, beta


hidden_trials = [hidden_prompts(901, 2, 5, 0.3), hidden_prompts(902, 1, 9, 1.4), hidden_prompts(903, 6, 3, 0.9)]
marking.mark("log_partition", my_log_partition, hidden_answer, hidden_trials)
### END HIDDEN TESTS


# %%
def my_optimal_logp(ref_logp, reward, beta):
    """log π*(y|x): (P, N) and (P, N) give (P, N)."""
    ### BEGIN SOLUTION
    return (ref_logp + reward / beta).log_softmax(dim=-1)
    ### END SOLUTION


# %%
check_optimal_logp(my_optimal_logp)
### BEGIN HIDDEN TESTS
import math

from dpo_book.checks import marking


def hidden_answer(ref_logp, reward, beta):
    """Weights π_ref exp(r/β), each divided by their sum, then the logarithm."""
    rows = []
    for row, rewards in zip(ref_logp.tolist(), reward.tolist()):
        weights = [math.exp(q) * math.exp(r / beta) for q, r in zip(row, rewards)]
        rows.append([math.log(weight / sum(weights)) for weight in weights])
    return rows


def hidden_prompts(seed, prompts, responses, beta):
    ref_logits, reward = marking.normal(seed, (prompts, responses), (prompts, responses))
    return ref_logits.log_softmax(-1), reward, beta


hidden_trials = [hidden_prompts(904, 2, 5, 0.3), hidden_prompts(905, 1, 9, 1.4), hidden_prompts(906, 6, 3, 0.9)]
marking.mark("optimal_logp", my_optimal_logp, hidden_answer, hidden_trials)
### END HIDDEN TESTS


# %%
def beta_for_kl(ref_logp, reward, target):
    """The β whose optimum has KL(π*‖π_ref) = target: (N,), (N,), number to number."""
    ### BEGIN SOLUTION
    low, high = 1e-3, 1e3
    for _ in range(60):
        middle = (low * high) ** 0.5
        star = optimal_logp(ref_logp, reward, middle)
        if kl_divergence(star, ref_logp) > target:
            low = middle
        else:
            high = middle
    return middle
    ### END SOLUTION


# %%
check_beta_for_kl(beta_for_kl)
### BEGIN HIDDEN TESTS
import math

from dpo_book.checks import marking


def hidden_answer(ref_logp, reward, target):
    """Halving of log β, with the KL written out."""

    def kl(beta):
        weights = [math.exp(q) * math.exp(r / beta) for q, r in zip(ref_logp.tolist(), reward.tolist())]
        shares = [weight / sum(weights) for weight in weights]
        return sum(p * (math.log(p) - q) for p, q in zip(shares, ref_logp.tolist()))

    low, high = math.log(0.02), math.log(1000)
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if kl(math.exp(middle)) > target else (low, middle)
    return math.exp(middle)


def hidden_budget(seed, responses, target):
    ref_logits, reward = marking.normal(seed, (responses,), (responses,))
    return ref_logits.log_softmax(-1), reward, target


hidden_trials = [hidden_budget(907, 6, 0.2), hidden_budget(908, 12, 0.35), hidden_budget(909, 4, 0.03)]
marking.mark("beta_for_kl", beta_for_kl, hidden_answer, hidden_trials)
### END HIDDEN TESTS


# %% [markdown]
# ### In your own words
#
# Two teams train with the same reward and reference, one at β = 0.1 and one at β = 1. Without any training, what
# can you say about their optimal policies: reward, KL, and which responses lead? Three to five sentences.
#
# ### BEGIN SOLUTION
# Both tilt π_ref by exp(r/β), so the order of the ratios π*/π_ref is the order of the rewards for both. The smaller
# β tilts more: its expected reward is at least as large, and so is its KL. Its likeliest response need not be the
# best: the reference counts, too, but less at β = 0.1. As β → 0 all probability goes to the best response, as β → ∞
# back to π_ref.
#
# Marks:
#
# - 1: exp(r/β) tilts the reference
# - 1: a smaller β has more reward and more KL
# - 1: what the reference still does, or the two limits
# - 1: clear, and nothing false
# ### END SOLUTION
