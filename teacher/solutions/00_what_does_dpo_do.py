# %%
def loss_of_ratios(chosen_ratio, rejected_ratio, beta):
    """−log σ of the margin, from the ratios π_θ/π_ref of winner and loser: (B,)."""
    ### BEGIN SOLUTION
    margin = beta * chosen_ratio.log() - beta * rejected_ratio.log()
    return -torch.nn.functional.logsigmoid(margin)
    ### END SOLUTION


# %%
check_loss_of_ratios(loss_of_ratios)
### BEGIN HIDDEN TESTS
import math

from dpo_book.checks import marking


def hidden_answer(chosen_ratio, rejected_ratio, beta):
    """(chosen / rejected)^(−β), plus 1, in a logarithm: one pair at a time."""
    pairs = zip(chosen_ratio.tolist(), rejected_ratio.tolist())
    return [math.log1p((rejected / chosen) ** beta) for chosen, rejected in pairs]


def hidden_ratios(seed, count, beta):
    chosen, rejected = marking.normal(seed, (count,), (count,), scale=1.5)
    return chosen.exp(), rejected.exp(), beta


hidden_trials = [hidden_ratios(901, 7, 0.4), hidden_ratios(902, 1, 1.3), hidden_ratios(903, 3, 2.5)]
marking.mark("loss_of_ratios", loss_of_ratios, hidden_answer, hidden_trials)
### END HIDDEN TESTS


# %% [markdown]
# ### In your own words
#
# DPO trained a policy here without a reward model and without sampling from the policy. Where, then, is the reward?
# Say it in three to five sentences, and name one thing that RLHF can do with its reward model and DPO cannot do
# with its policy alone.
#
# ### BEGIN SOLUTION
# The reward is inside the policy: β log(π_θ/π_ref) is the reward for which this policy is the optimum, up to a part
# that depends on the prompt alone. The loss compares two such rewards of one prompt, so that part drops out. RLHF
# can label responses that its policy has only now drawn; DPO learns from the pairs it was given.
#
# Marks:
#
# - 1: the implicit reward β log(π_θ/π_ref), in words or as a formula
# - 1: it is a difference within one prompt that counts
# - 1: RLHF scores fresh responses, DPO does not (or another true difference)
# - 1: clear, and nothing false
# ### END SOLUTION
