# %%
def penalized_reward(reward, logp, ref_logp, beta):
    """R(y) of every response, from its reward and its log-probabilities: shape (B,)."""
    ### BEGIN SOLUTION
    return reward - beta * (logp - ref_logp)
    ### END SOLUTION


# %%
def k3_estimate(logp, ref_logp):
    """u − 1 − log u with u = π_ref(y|x)/π(y|x), for samples y ~ π: shape (B,)."""
    ### BEGIN SOLUTION
    log_u = ref_logp - logp
    return log_u.exp() - 1 - log_u
    ### END SOLUTION


# %%
def advantages(rewards, values, gae_lambda):
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
def clipped_loss(logp, old_logp, advantages, clip):
    """PPO's loss, to be minimised, averaged over all tokens: a number."""
    ### BEGIN SOLUTION
    ratio = (logp - old_logp).exp()
    clipped = ratio.clamp(1 - clip, 1 + clip)
    return -torch.minimum(ratio * advantages, clipped * advantages).mean()
    ### END SOLUTION
