# %%
def margin(policy_chosen, policy_rejected, reference_chosen, reference_rejected, beta):
    """r̂(x, y_w) − r̂(x, y_l): shape (B,)."""
    ### BEGIN SOLUTION
    chosen_reward = beta * (policy_chosen - reference_chosen)
    rejected_reward = beta * (policy_rejected - reference_rejected)
    return chosen_reward - rejected_reward
    ### END SOLUTION


# %%
def my_dpo_loss(policy_chosen, policy_rejected, reference_chosen, reference_rejected, beta):
    """Equation 7 before the mean: shape (B,)."""
    ### BEGIN SOLUTION
    return -F.logsigmoid(margin(policy_chosen, policy_rejected, reference_chosen, reference_rejected, beta))
    ### END SOLUTION


# %%
def gradient_weight(policy_chosen, policy_rejected, reference_chosen, reference_rejected, beta):
    """The weight of each pair, β included: shape (B,)."""
    ### BEGIN SOLUTION
    return beta * torch.sigmoid(-margin(policy_chosen, policy_rejected, reference_chosen, reference_rejected, beta))
    ### END SOLUTION


# %%
def completion_logp(logits, input_ids, completion_mask):
    """Σ_t log π(y_t | x, y_<t) over completion tokens: shape (B,)."""
    ### BEGIN SOLUTION
    token_logp = logits[:, :-1].log_softmax(-1).gather(-1, input_ids[:, 1:, None]).squeeze(-1)
    return (token_logp * completion_mask[:, 1:]).sum(dim=1)
    ### END SOLUTION
