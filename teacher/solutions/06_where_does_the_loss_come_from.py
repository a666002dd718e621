# %%
def my_dpo_loss(pi_w, pi_l, ref_w, ref_l, beta):
    """log π, log π_ref of winners and losers, (B,) each → equation 7, no mean: (B,)."""
    ### BEGIN SOLUTION
    margin = beta * (pi_w - ref_w) - beta * (pi_l - ref_l)
    return -F.logsigmoid(margin)
    ### END SOLUTION


# %%
check_dpo_loss(my_dpo_loss)
### BEGIN HIDDEN TESTS
import math

from dpo_book.checks import marking


def hidden_answer(pi_w, pi_l, ref_w, ref_l, beta):
    """log(1 + exp(−margin)), pair by pair."""
    losses = []
    for w, lost, rw, rl in zip(pi_w.tolist(), pi_l.tolist(), ref_w.tolist(), ref_l.tolist()):
        losses.append(math.log1p(math.exp(beta * (lost - rl) - beta * (w - rw))))
    return losses


def hidden_pairs(seed, count, beta):
    return *marking.normal(seed, *[(count,)] * 4, offset=-12.0), beta


hidden_trials = [hidden_pairs(901, 4, 0.25), hidden_pairs(902, 1, 1.5), hidden_pairs(903, 11, 0.8)]
marking.mark("dpo_loss", my_dpo_loss, hidden_answer, hidden_trials)
### END HIDDEN TESTS


# %%
def gradient_weight(pi_w, pi_l, ref_w, ref_l, beta):
    """The weight of each pair, β included: shape (B,)."""
    ### BEGIN SOLUTION
    margin = beta * (pi_w - ref_w) - beta * (pi_l - ref_l)
    return beta * torch.sigmoid(-margin)
    ### END SOLUTION


# %%
check_gradient_weight(gradient_weight)
### BEGIN HIDDEN TESTS
import math

from dpo_book.checks import marking


def hidden_answer(pi_w, pi_l, ref_w, ref_l, beta):
    """β times the chance that the margin gives to the loser, pair by pair."""
    weights = []
    for w, lost, rw, rl in zip(pi_w.tolist(), pi_l.tolist(), ref_w.tolist(), ref_l.tolist()):
        weights.append(beta / (1 + math.exp(beta * (w - rw) - beta * (lost - rl))))
    return weights


def hidden_pairs(seed, count, beta):
    return *marking.normal(seed, *[(count,)] * 4, offset=-12.0), beta


hidden_trials = [hidden_pairs(904, 4, 0.25), hidden_pairs(905, 1, 1.5), hidden_pairs(906, 11, 0.8)]
marking.mark("gradient_weight", gradient_weight, hidden_answer, hidden_trials)
### END HIDDEN TESTS


# %%
def completion_logp(logits, input_ids, completion_mask):
    """Σ_t log π(y_t | x, y_<t) over completion tokens: shape (B,)."""
    ### BEGIN SOLUTION
    token_logp = logits[:, :-1].log_softmax(-1).gather(-1, input_ids[:, 1:, None]).squeeze(-1)
    return (token_logp * completion_mask[:, 1:]).sum(dim=1)
    ### END SOLUTION


# %%
check_completion_logp(completion_logp)
### BEGIN HIDDEN TESTS
import math

from dpo_book.checks import marking


def hidden_answer(logits, input_ids, completion_mask):
    """Token by token: the row before it, its exponentials, the share of its own."""
    total = []
    for rows, ids, mask in zip(logits.tolist(), input_ids.tolist(), completion_mask.tolist()):
        logp = 0.0
        for t in range(1, len(ids)):
            if mask[t]:
                weights = [math.exp(logit) for logit in rows[t - 1]]
                logp += math.log(weights[ids[t]] / sum(weights))
        total.append(logp)
    return total


def hidden_rows(seed, vocabulary, *mask):
    shape = (len(mask), len(mask[0]))
    ids = torch.randint(vocabulary, shape, generator=torch.Generator().manual_seed(seed))
    return *marking.normal(seed, (*shape, vocabulary)), ids, torch.tensor(mask, dtype=torch.bool)


hidden_trials = [
    hidden_rows(907, 6, (0, 0, 1, 1, 0), (0, 1, 1, 1, 1), (0, 0, 0, 1, 1)),
    hidden_rows(908, 3, (0, 0, 0, 1)),
    hidden_rows(909, 8, (0, 1), (0, 1), (0, 1)),
]
marking.mark("completion_logp", completion_logp, hidden_answer, hidden_trials)
### END HIDDEN TESTS


# %% [markdown]
# ### In your own words
#
# In the gradient of the DPO loss each pair has the weight β σ(−margin). What would training do without that weight,
# and what does the weight do to a pair with a wrong label? Three to five sentences.
#
# ### BEGIN SOLUTION
# Without it every pair pulls as hard for ever, also one that is ranked right with a huge margin: the log-ratios
# grow without end, and the chapter's run shows what becomes of the text. With it, a pair that is ranked right fades
# out. A pair with a wrong label is ranked wrong by a good policy, so its weight is large, up to β where the margin
# is very wrong: noise pulls hardest of all.
#
# Marks:
#
# - 1: the pull never ends without the weight
# - 1: the weight fades as a pair is ranked right
# - 1: a wrong label keeps a large weight
# - 1: clear, and nothing false
# ### END SOLUTION
