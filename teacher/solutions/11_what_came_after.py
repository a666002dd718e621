# %%
def ipo(logp_w, logp_l, ref_logp_w, ref_logp_l, tau):
    """log π, log π_ref of winners and losers, (B,) each → IPO's loss: (B,)."""
    ### BEGIN SOLUTION
    rho = (logp_w - ref_logp_w) - (logp_l - ref_logp_l)
    return (rho - 1 / (2 * tau)) ** 2
    ### END SOLUTION


# %%
check_ipo(ipo)
### BEGIN HIDDEN TESTS
import math

from dpo_book.checks import marking


def hidden_answer(logp_w, logp_l, ref_logp_w, ref_logp_l, tau):
    """How far the logarithm of a ratio of ratios is from its goal, squared, pair by pair."""
    losses = []
    for w, lost, rw, rl in zip(logp_w.tolist(), logp_l.tolist(), ref_logp_w.tolist(), ref_logp_l.tolist()):
        ratio = math.exp(w - rw) / math.exp(lost - rl)
        losses.append(math.pow(math.log(ratio) - 0.5 / tau, 2))
    return losses


def hidden_pairs(seed, count, tau):
    return *marking.normal(seed, *[(count,)] * 4, offset=-12.0), tau


hidden_trials = [hidden_pairs(901, 4, 0.25), hidden_pairs(902, 1, 1.5), hidden_pairs(903, 11, 0.05)]
marking.mark("ipo", ipo, hidden_answer, hidden_trials)
### END HIDDEN TESTS


# %%
def robust_dpo(margin, epsilon):
    """Margins β(h_w − h_l), (B,), and the rate of turned labels → losses (B,)."""
    ### BEGIN SOLUTION
    as_labelled = -F.logsigmoid(margin)
    turned = -F.logsigmoid(-margin)
    return ((1 - epsilon) * as_labelled - epsilon * turned) / (1 - 2 * epsilon)
    ### END SOLUTION


# %%
check_robust_dpo(robust_dpo)
### BEGIN HIDDEN TESTS
import math

from dpo_book.checks import marking


def hidden_answer(margin, epsilon):
    """Two losses, of a pair as it is and turned round, whose means over the turns are the clean ones: solved for one.

    (1 − ε) R(m) + ε R(−m) = L(m), and the same with −m.
    """
    losses = []
    for m in margin.tolist():
        clean, clean_turned = math.log1p(math.exp(-m)), math.log1p(math.exp(m))
        determinant = (1 - epsilon) ** 2 - epsilon**2
        losses.append((clean * (1 - epsilon) - clean_turned * epsilon) / determinant)
    return losses


def hidden_margins(seed, count, epsilon):
    return *marking.normal(seed, (count,), scale=1.5), epsilon


hidden_trials = [hidden_margins(904, 5, 0.15), hidden_margins(905, 1, 0.35), hidden_margins(906, 12, 0.05)]
marking.mark("robust_dpo", robust_dpo, hidden_answer, hidden_trials)
### END HIDDEN TESTS


# %%
def ipo_optimum(ref_logp, p, mu, tau):
    """log π_ref (N,), p(y_i ≻ y_j) (N, N), μ (N,), τ → log π of IPO's minimum (N,)."""
    ### BEGIN SOLUTION
    wins = p @ mu
    return torch.log_softmax(ref_logp + wins / tau, dim=-1)
    ### END SOLUTION


# %%
check_ipo_optimum(ipo_optimum)
### BEGIN HIDDEN TESTS
import math

from dpo_book.checks import marking


def hidden_answer(ref_logp, p, mu, tau):
    """Response by response: its chance to win against a draw from μ, the tilt, and the share of all tilts."""
    tilted = []
    for logp, row in zip(ref_logp.tolist(), p.tolist()):
        wins = math.fsum(chance * weight for chance, weight in zip(row, mu.tolist()))
        tilted.append(math.exp(logp) * math.exp(wins / tau))
    return [math.log(weight / math.fsum(tilted)) for weight in tilted]


def hidden_world(seed, responses, tau):
    ref_logits, mu_logits, log_odds = marking.normal(seed, (responses,), (responses,), (responses, responses))
    p = torch.sigmoid(log_odds - log_odds.T)
    return ref_logits.log_softmax(-1), p, mu_logits.softmax(-1), tau


hidden_trials = [hidden_world(907, 6, 0.15), hidden_world(908, 1, 0.4), hidden_world(909, 9, 0.8)]
marking.mark("ipo_optimum", ipo_optimum, hidden_answer, hidden_trials)
### END HIDDEN TESTS


# %% [markdown]
# ### In your own words
#
# A judge is sure of every pair: the better response always wins. Why has DPO's loss no minimum on such labels,
# whatever β is, and why has IPO's one? What holds a DPO run on them all the same? Three to five sentences.
#
# ### BEGIN SOLUTION
# DPO's −log σ(β(h_w − h_l)) falls with every nat of margin and reaches 0 nowhere, so on sure labels every margin
# can grow and lower the loss: there is no minimum, and on the way to infinity the best response takes all
# probability. β only sets how fast. IPO's square is smallest at a margin of 1/(2τ) and rises again beyond it, so a
# margin that is too large is pulled back. Over all pairs from a proposal μ its optimum is π_ref exp(p(y ≻ μ)/τ)/Z,
# and since p lies between 0 and 1 no log-odds move by more than 1/τ. A DPO run ends where it is stopped: the number
# of steps and the learning rate do what β was to do.
#
# Marks:
#
# - 1: −log σ falls for ever, at every β
# - 1: the square has a lowest point, at a finite margin
# - 1: DPO is held by stopping, or by another bound on training
# - 1: clear, and nothing false
# ### END SOLUTION
