# %%
def kl_to_reference(logp, ref_logp):
    """KL[π‖π_ref] in nats: shape (P,)."""
    ### BEGIN SOLUTION
    return (logp.exp() * (logp - ref_logp)).sum(dim=-1)
    ### END SOLUTION


# %%
def objective(logp, ref_logp, reward, beta):
    """E_π[r] − β KL[π‖π_ref]: shape (P,)."""
    ### BEGIN SOLUTION
    return (logp.exp() * reward).sum(dim=-1) - beta * kl_to_reference(logp, ref_logp)
    ### END SOLUTION


# %%
def objective_gradient(logits, ref_logp, reward, beta):
    """∂J/∂θ for π = softmax(θ), one value a logit: shape (P, N)."""
    ### BEGIN SOLUTION
    logp = logits.log_softmax(dim=-1)
    priced = reward - beta * (logp - ref_logp)  # R(y)
    average = (logp.exp() * priced).sum(dim=-1, keepdim=True)
    return logp.exp() * (priced - average)
    ### END SOLUTION
