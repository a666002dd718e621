# %%
def training_bytes(parameters, tokens, vocabulary):
    """Bytes of weights, gradients, AdamW's moments and logits: a number."""
    ### BEGIN SOLUTION
    return 4 * (4 * parameters + tokens * vocabulary)
    ### END SOLUTION


# %%
def whole_gradient(gradients, sizes):
    """∇ of the mean loss over all pairs: shape (D,)."""
    ### BEGIN SOLUTION
    return (gradients * (sizes / sizes.sum()).unsqueeze(1)).sum(dim=0)
    ### END SOLUTION


# %%
def diagnosis():
    """The numbers of the causes of logs A, B and C: a list such as [1, 2, 3]."""
    ### BEGIN SOLUTION
    # A: rewards are not 0 at step 1. B: log-probabilities move by many nats and rewards by hundredths.
    # C: the loss stays near ln 2 and the accuracy near a half.
    return [5, 3, 4]
    ### END SOLUTION
