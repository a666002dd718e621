# %%
def shortfall(reward, kl, beta, log_z):
    """β log Z − J of every method at every strength: shape (M, B)."""
    ### BEGIN SOLUTION
    return beta * log_z - (reward - beta * kl)
    ### END SOLUTION


# %%
def reward_at_kl(kl, reward, at):
    """A method's reward at each of these KLs: shape (K,)."""
    ### BEGIN SOLUTION
    order = kl.argsort()
    kl, reward = kl[order], reward[order]
    after = torch.searchsorted(kl, at).clamp(1, len(kl) - 1)
    share = (at - kl[after - 1]) / (kl[after] - kl[after - 1])
    return reward[after - 1] + share * (reward[after] - reward[after - 1])
    ### END SOLUTION


# %%
def best_of_n_kl(ref_logp, reward, n):
    """Exact KL of the best of n draws from π_ref, in nats: a number."""
    ### BEGIN SOLUTION
    order = reward.argsort()
    p = ref_logp[order].exp()
    at_most = p.cumsum(0)
    best = at_most**n - (at_most - p) ** n
    return (best * (best.log() - p.log())).sum()
    ### END SOLUTION
