# %%
def loss_of_ratios(chosen_ratio, rejected_ratio, beta):
    """−log σ of the margin, from the ratios π_θ/π_ref of winner and loser: (B,)."""
    ### BEGIN SOLUTION
    margin = beta * chosen_ratio.log() - beta * rejected_ratio.log()
    return -torch.nn.functional.logsigmoid(margin)
    ### END SOLUTION
