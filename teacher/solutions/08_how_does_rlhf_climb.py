# %%
def penalized_reward(reward, logp, ref_logp, beta):
    """R(y) of every response, from its reward and its log-probabilities: shape (B,)."""
    ### BEGIN SOLUTION
    return reward - beta * (logp - ref_logp)
    ### END SOLUTION


# %%
check_penalized_reward(penalized_reward)
### BEGIN HIDDEN TESTS
from dpo_book.checks import marking


def hidden_answer(reward, logp, ref_logp, beta):
    """What it earned, less β for each nat that π has put on it."""
    rows = zip(reward.tolist(), logp.tolist(), ref_logp.tolist())
    return [r - beta * p + beta * q for r, p, q in rows]


def hidden_responses(seed, count, beta):
    return *marking.normal(seed, (count,), (count,), (count,), offset=-3.0), beta


hidden_trials = [hidden_responses(901, 6, 0.25), hidden_responses(902, 1, 1.5), hidden_responses(903, 11, 3.0)]
marking.mark("penalized_reward", penalized_reward, hidden_answer, hidden_trials)
### END HIDDEN TESTS


# %%
def k3_estimate(logp, ref_logp):
    """u − 1 − log u with u = π_ref(y|x)/π(y|x), for samples y ~ π: shape (B,)."""
    ### BEGIN SOLUTION
    log_u = ref_logp - logp
    return log_u.exp() - 1 - log_u
    ### END SOLUTION


# %%
check_k3_estimate(k3_estimate)
### BEGIN HIDDEN TESTS
import math

from dpo_book.checks import marking


def hidden_answer(logp, ref_logp):
    """u − 1 − log u, with u as a ratio of two probabilities."""
    ratios = [math.exp(q) / math.exp(p) for p, q in zip(logp.tolist(), ref_logp.tolist())]
    return [u - 1 - math.log(u) for u in ratios]


hidden_trials = [
    marking.normal(904, (5,), (5,), offset=-7.0),
    marking.normal(905, (1,), (1,), offset=-3.0),
    marking.normal(906, (12,), (12,), offset=-4.0, scale=1.5),
]
marking.mark("k3_estimate", k3_estimate, hidden_answer, hidden_trials)
### END HIDDEN TESTS


# %%
def token_advantages(rewards, values, gae_lambda):
    """A_t of every token by GAE, from R_t and V_t: shape (B, T)."""
    ### BEGIN SOLUTION
    following = torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], dim=1)
    delta = rewards + following - values
    result = delta.clone()
    for t in reversed(range(delta.shape[1] - 1)):
        result[:, t] += gae_lambda * result[:, t + 1]
    return result
    ### END SOLUTION


# %%
check_token_advantages(token_advantages)
### BEGIN HIDDEN TESTS
from dpo_book.checks import marking


def hidden_answer(rewards, values, gae_lambda):
    """Every δ from a token on, each decayed by λ for every token between."""
    rows = []
    for gains, guesses in zip(rewards.tolist(), values.tolist()):
        ahead = [*guesses[1:], 0.0]
        deltas = [gain + after - guess for gain, after, guess in zip(gains, ahead, guesses)]
        row = []
        for t in range(len(deltas)):
            row.append(sum(gae_lambda ** (s - t) * deltas[s] for s in range(t, len(deltas))))
        rows.append(row)
    return rows


def hidden_tokens(seed, responses, tokens, gae_lambda):
    return *marking.normal(seed, (responses, tokens), (responses, tokens)), gae_lambda


hidden_trials = [hidden_tokens(907, 3, 5, 0.7), hidden_tokens(908, 1, 8, 0.9), hidden_tokens(909, 5, 70, 0.95)]
marking.mark("token_advantages", token_advantages, hidden_answer, hidden_trials)
### END HIDDEN TESTS


# %%
def clipped_loss(logp, old_logp, advantages, clip):
    """PPO's loss, to be minimised, averaged over all tokens: a number."""
    ### BEGIN SOLUTION
    ratio = (logp - old_logp).exp()
    clipped = ratio.clamp(1 - clip, 1 + clip)
    return -torch.minimum(ratio * advantages, clipped * advantages).mean()
    ### END SOLUTION


# %%
check_clipped_loss(clipped_loss)
### BEGIN HIDDEN TESTS
import math

from dpo_book.checks import marking


def hidden_answer(logp, old_logp, advantages, clip):
    """Token by token: the smaller promise of the two; the mean of all, with a minus."""
    promises = []
    for row, old_row, gains in zip(logp.tolist(), old_logp.tolist(), advantages.tolist()):
        for p, q, gain in zip(row, old_row, gains):
            ratio = math.exp(p) / math.exp(q)
            promises.append(min(ratio * gain, max(1 - clip, min(1 + clip, ratio)) * gain))
    return -sum(promises) / len(promises)


def hidden_updates(seed, responses, tokens, clip):
    shape = (responses, tokens)
    step, old_logp, gains = marking.normal(seed, shape, shape, shape)
    return old_logp - 5 + 0.4 * step, old_logp - 5, gains, clip


hidden_trials = [hidden_updates(910, 3, 5, 0.2), hidden_updates(911, 1, 8, 0.15), hidden_updates(912, 5, 2, 0.35)]
marking.mark("clipped_loss", clipped_loss, hidden_answer, hidden_trials)
### END HIDDEN TESTS


# %% [markdown]
# ### In your own words
#
# PPO uses a value model, and clips. Which trouble of the plain policy gradient does each of the two mend, and what
# does each cost? Three to five sentences.
#
# ### BEGIN SOLUTION
# The plain gradient weighs every token by the whole return, which is mostly luck. A value model says what was to be
# expected, so that only the surprise is left: less variance, at the price of a second model and of bias where its
# guesses are wrong and λ < 1. Clipping lets one batch of samples serve several updates: where the ratio has moved
# too far in the direction that its advantage asks for, the gradient stops. Its price is that those tokens teach
# nothing more, and that the bound is on single ratios, not on the KL.
#
# Marks:
#
# - 1: variance, and how a value lowers it
# - 1: reuse of samples, and how clipping limits it
# - 1: a cost of each
# - 1: clear, and nothing false
# ### END SOLUTION
