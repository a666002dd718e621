# %%
def penalized_reward(reward, logp, ref_logp, beta):
    """R(y) of every response, from its reward and its log-probabilities: shape (B,)."""
    ### BEGIN SOLUTION
    return reward - beta * (logp - ref_logp)
    ### END SOLUTION


# %%
def advantages(rewards, values, gae_lambda):
    """A_t of every token by GAE, from R_t and V_t: shape (B, K)."""
    ### BEGIN SOLUTION
    following = torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], dim=1)
    delta = rewards + following - values
    result = delta.clone()
    for t in reversed(range(delta.shape[1] - 1)):
        result[:, t] += gae_lambda * result[:, t + 1]
    return result
    ### END SOLUTION


# %%
def clipped_loss(logp, old_logp, advantages, clip):
    """PPO's loss, to be minimised, averaged over all tokens: a number."""
    ### BEGIN SOLUTION
    ratio = (logp - old_logp).exp()
    clipped = ratio.clamp(1 - clip, 1 + clip)
    return -torch.minimum(ratio * advantages, clipped * advantages).mean()
    ### END SOLUTION


# %%
def shortfall(reward, kl, beta, log_z):
    """β log Z − J of every method at every strength: shape (M, B)."""
    ### BEGIN SOLUTION
    return beta * log_z - (reward - beta * kl)
    ### END SOLUTION
