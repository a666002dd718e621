# %%
def win_probability(reward_a, reward_b):
    """Rewards (B,) and (B,) to the probability that a is preferred, (B,)."""
    ### BEGIN SOLUTION
    return torch.sigmoid(reward_a - reward_b)
    ### END SOLUTION


# %%
def reward_gradient(rewards, winners, losers):
    """Rewards (n,), winners (B,), losers (B,) to the summed loss's gradient, (n,)."""
    ### BEGIN SOLUTION
    weight = torch.sigmoid(rewards[losers] - rewards[winners])  # 1 − p: how surprising the win was
    gradient = torch.zeros_like(rewards)
    gradient.index_add_(0, winners, -weight)  # adds up repeated items; gradient[winners] -= weight would not
    gradient.index_add_(0, losers, weight)
    return gradient
    ### END SOLUTION


# %%
def ranking_logp(rewards, rankings):
    """Rewards (n,) and rankings (B, K), best first, to log-probabilities (B,)."""
    ### BEGIN SOLUTION
    ranked = rewards[rankings]
    remaining = ranked.flip(1).logcumsumexp(dim=1).flip(1)  # log of the sum over an item and all below it
    return (ranked - remaining).sum(dim=1)
    ### END SOLUTION
