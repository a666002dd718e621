# %%
def reward_of_policy(logp, ref_logp, beta):
    """log π(y|x), log π_ref(y|x), both (N,) → implicit rewards (N,)."""
    ### BEGIN SOLUTION
    return beta * (logp - ref_logp)
    ### END SOLUTION


# %%
def preference_of_policy(logp_a, logp_b, ref_logp_a, ref_logp_b, beta):
    """log π and log π_ref of responses a and b, all (B,) → p(a ≻ b), (B,)."""
    ### BEGIN SOLUTION
    return torch.sigmoid(beta * (logp_a - ref_logp_a) - beta * (logp_b - ref_logp_b))
    ### END SOLUTION


# %%
def canonical_reward(reward, ref_logp, beta):
    """Rewards and log π_ref(y|x), both (P, N) → the member β log(π/π_ref), (P, N)."""
    ### BEGIN SOLUTION
    log_z = torch.logsumexp(ref_logp + reward / beta, dim=-1, keepdim=True)
    return reward - beta * log_z
    ### END SOLUTION
