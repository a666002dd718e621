# %%
def my_log_partition(ref_logp, reward, beta):
    """log Z(x): (P, N) and (P, N) give (P,)."""
    ### BEGIN SOLUTION
    return torch.logsumexp(ref_logp + reward / beta, dim=-1)
    ### END SOLUTION


# %%
def my_optimal_logp(ref_logp, reward, beta):
    """log π*(y|x): (P, N) and (P, N) give (P, N)."""
    ### BEGIN SOLUTION
    return (ref_logp + reward / beta).log_softmax(dim=-1)
    ### END SOLUTION


# %%
def beta_for_kl(ref_logp, reward, target):
    """The β whose optimum has KL(π*‖π_ref) = target: (N,), (N,), number to number."""
    ### BEGIN SOLUTION
    low, high = 1e-3, 1e3
    for _ in range(60):
        middle = (low * high) ** 0.5
        star = optimal_logp(ref_logp, reward, middle)
        if kl_divergence(star, ref_logp) > target:
            low = middle
        else:
            high = middle
    return middle
    ### END SOLUTION
