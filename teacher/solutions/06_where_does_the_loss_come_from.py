# %%
def my_dpo_loss(pi_w, pi_l, ref_w, ref_l, beta):
    """log π, log π_ref of winners and losers, (B,) each → equation 7, no mean: (B,)."""
    ### BEGIN SOLUTION
    margin = beta * (pi_w - ref_w) - beta * (pi_l - ref_l)
    return -F.logsigmoid(margin)
    ### END SOLUTION


# %%
def gradient_weight(pi_w, pi_l, ref_w, ref_l, beta):
    """The weight of each pair, β included: shape (B,)."""
    ### BEGIN SOLUTION
    margin = beta * (pi_w - ref_w) - beta * (pi_l - ref_l)
    return beta * torch.sigmoid(-margin)
    ### END SOLUTION


# %%
def completion_logp(logits, input_ids, completion_mask):
    """Σ_t log π(y_t | x, y_<t) over completion tokens: shape (B,)."""
    ### BEGIN SOLUTION
    token_logp = logits[:, :-1].log_softmax(-1).gather(-1, input_ids[:, 1:, None]).squeeze(-1)
    return (token_logp * completion_mask[:, 1:]).sum(dim=1)
    ### END SOLUTION
