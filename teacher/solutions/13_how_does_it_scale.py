# %%
def training_bytes(parameters, tokens, vocabulary):
    """Bytes of weights, gradients, AdamW's moments and logits: a number."""
    ### BEGIN SOLUTION
    return 4 * (4 * parameters + tokens * vocabulary)
    ### END SOLUTION


# %%
check_training_bytes(training_bytes)
### BEGIN HIDDEN TESTS
from dpo_book.checks import marking


def hidden_answer(parameters, tokens, vocabulary):
    """Weights, gradients, two moments, and one table of logits, of four bytes each."""
    numbers = parameters + parameters + 2 * parameters
    numbers += tokens * vocabulary
    return numbers * 4


hidden_trials = [(1_000, 10, 100), (355_000_000, 1_024, 50_257), (3, 2, 1)]
marking.mark("training_bytes", training_bytes, hidden_answer, hidden_trials)
### END HIDDEN TESTS


# %%
def same_run(pairs, epochs, per_device, accumulation, devices):
    """batch_size and steps: two whole numbers."""
    ### BEGIN SOLUTION
    batch_size = per_device * accumulation * devices
    return batch_size, epochs * math.ceil(pairs / batch_size)
    ### END SOLUTION


# %%
check_same_run(same_run)
### BEGIN HIDDEN TESTS
from dpo_book.checks import marking


def hidden_answer(pairs, epochs, per_device, accumulation, devices):
    """Pairs are dealt out, batch by batch, until an epoch is over."""
    batch, steps = per_device * accumulation * devices, 0
    for _ in range(epochs):
        left = pairs
        while left > 0:
            left -= batch
            steps += 1
    return [batch, steps]


hidden_trials = [(100, 2, 3, 5, 1), (999, 1, 4, 2, 4), (64, 3, 8, 2, 4), (10, 3, 4, 1, 1)]
marking.mark("same_run", same_run, hidden_answer, hidden_trials)
### END HIDDEN TESTS


# %%
def whole_gradient(gradients, sizes):
    """∇ of the mean loss over all pairs: shape (D,)."""
    ### BEGIN SOLUTION
    return (gradients * (sizes / sizes.sum()).unsqueeze(1)).sum(dim=0)
    ### END SOLUTION


# %%
check_whole_gradient(whole_gradient)
### BEGIN HIDDEN TESTS
from dpo_book.checks import marking


def hidden_answer(gradients, sizes):
    """Every part's mean back to a sum, all sums together, over all pairs."""
    total = [0.0] * gradients.shape[1]
    for row, size in zip(gradients.tolist(), sizes.tolist()):
        total = [so_far + size * value for so_far, value in zip(total, row)]
    return [value / sum(sizes.tolist()) for value in total]


def hidden_parts(seed, numbers, *sizes):
    return *marking.normal(seed, (len(sizes), numbers)), torch.tensor(sizes, dtype=torch.float64)


hidden_trials = [hidden_parts(901, 5, 3, 9), hidden_parts(902, 2, 4, 4, 1, 7), hidden_parts(903, 1, 12, 5)]
marking.mark("whole_gradient", whole_gradient, hidden_answer, hidden_trials)
### END HIDDEN TESTS


# %% [markdown]
# ### In your own words
#
# A run with GPT-2 does not fit your GPU's memory. Name two levers of this chapter, say for each what it costs and
# whether the numbers of the run stay the same, and say which you would pull first. Three to five sentences.
#
# ### BEGIN SOLUTION
# micro_batch_size splits a batch: the gradient is the same up to rounding, and time grows a little. Scoring the
# reference once beforehand removes the second model and changes nothing, but needs a pass over the data. LoRA drops
# most moments and gradients, and is another model: results change. I would begin with those that change no number.
#
# Marks:
#
# - 1: a first lever with its cost
# - 1: a second one
# - 1: says rightly whether the numbers stay
# - 1: clear, and nothing false
# ### END SOLUTION
