# %%
def soft_loss(margin, p):
    """Expected loss of a label that falls "winner" with probability p: shape (B,)."""
    ### BEGIN SOLUTION
    logsigmoid = torch.nn.functional.logsigmoid
    return -p * logsigmoid(margin) - (1 - p) * logsigmoid(-margin)
    ### END SOLUTION


# %%
def unseen_mass(optimum_logp, proposal, draws):
    """Expected probability of π* on what is never drawn: shape (P,)."""
    ### BEGIN SOLUTION
    missed = (1 - proposal) ** draws
    return (optimum_logp.exp() * missed).sum(dim=-1)
    ### END SOLUTION


# %%
def shift_at_optimum(ref_logp, reward, beta):
    """log(π*(y|x)/π_ref(y|x)) of every response: shape (P, N)."""
    ### BEGIN SOLUTION
    log_z = torch.logsumexp(ref_logp + reward / beta, dim=-1, keepdim=True)
    return reward / beta - log_z
    ### END SOLUTION
