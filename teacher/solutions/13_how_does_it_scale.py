# %%
def training_bytes(parameters, tokens, vocabulary):
    """Bytes of weights, gradients, AdamW's moments and logits: a number."""
    ### BEGIN SOLUTION
    return 4 * (4 * parameters + tokens * vocabulary)
    ### END SOLUTION


# %%
def same_run(pairs, epochs, per_device, accumulation, devices):
    """batch_size and steps: two whole numbers."""
    ### BEGIN SOLUTION
    batch_size = per_device * accumulation * devices
    return batch_size, epochs * math.ceil(pairs / batch_size)
    ### END SOLUTION


# %%
def whole_gradient(gradients, sizes):
    """∇ of the mean loss over all pairs: shape (D,)."""
    ### BEGIN SOLUTION
    return (gradients * (sizes / sizes.sum()).unsqueeze(1)).sum(dim=0)
    ### END SOLUTION
