# %%
def pair_loss(reward_chosen, reward_rejected):
    """Rewards (B,) and (B,) to losses in nats, (B,)."""
    ### BEGIN SOLUTION
    return -torch.nn.functional.logsigmoid(reward_chosen - reward_rejected)
    ### END SOLUTION


# %%
def accuracy_ceiling(reward_a, reward_b):
    """True rewards (B,) and (B,) to one number, the best expected accuracy, ()."""
    ### BEGIN SOLUTION
    p = torch.sigmoid(reward_a - reward_b)
    return torch.maximum(p, 1 - p).mean()
    ### END SOLUTION


# %%
def noisy_margin(margin, noise):
    """True margins (B,) and a flip rate to the best margins under noise, (B,)."""
    ### BEGIN SOLUTION
    p = torch.sigmoid(margin)
    return torch.logit((1 - noise) * p + noise * (1 - p))
    ### END SOLUTION
