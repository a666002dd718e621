# %%
def longer_share(chosen, rejected):
    """Share of pairs whose chosen is longer, ties half: a number."""
    ### BEGIN SOLUTION
    longer = (chosen > rejected).double() + 0.5 * (chosen == rejected).double()
    return longer.mean()
    ### END SOLUTION


# %%
def leaked_prompts(train, held_out):
    """1 for every held-out row whose prompt is in train, else 0: a list or tensor."""
    ### BEGIN SOLUTION
    known = set(train)
    return [int(prompt in known) for prompt in held_out]
    ### END SOLUTION


# %%
def choose(loss, error, kl):
    """The place of the run that the rule takes, counted from 0."""
    ### BEGIN SOLUTION
    best = loss.argmin()
    allowed = loss <= loss[best] + error[best]
    return kl.where(allowed, torch.inf).argmin()
    ### END SOLUTION


# %%
def diagnosis():
    """The numbers of the causes of logs A, B and C: a list such as [1, 2, 3]."""
    ### BEGIN SOLUTION
    # A: the rewards are not 0 at step 1. B: log-probabilities move by nats, rewards hardly.
    # C: accuracy stays near a half, and the loss near ln 2.
    return [5, 3, 4]
    ### END SOLUTION
