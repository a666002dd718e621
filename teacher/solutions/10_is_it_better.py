# %%
def wilson(wins, n):
    """Counts (B,) out of n → low and high ends of Wilson's interval, (B,) each."""
    ### BEGIN SOLUTION
    z = 1.96
    p = wins / n
    middle = p + z**2 / (2 * n)
    half = z * torch.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    scale = 1 + z**2 / n
    return (middle - half) / scale, (middle + half) / scale
    ### END SOLUTION


# %%
check_wilson(wilson)
### BEGIN HIDDEN TESTS
import math

from dpo_book.checks import marking


def hidden_answer(wins, n):
    """The true shares at which the measured one is just 1.96 standard errors off, found by halving what is left."""

    def within(share, true):
        return (share - true) ** 2 <= 1.96**2 * true * (1 - true) / n

    ends = []
    for beyond in (0.0, 1.0):
        row = []
        for count in wins.tolist():
            share = count / n
            near, far = share, beyond
            for _ in range(80):
                true = (near + far) / 2
                near, far = (true, far) if within(share, true) else (near, true)
            row.append(far)
        ends.append(row)
    return ends


hidden_trials = [
    (marking.vector(12.0, 0.0, 17.0, 4.0), 17),
    (marking.vector(3.0), 9),
    (torch.tensor([61, 100, 1, 48, 0]), 100),
]
marking.mark("wilson", wilson, hidden_answer, hidden_trials)
### END HIDDEN TESTS


# %%
def comparisons_needed(p_a, p_b):
    """True win rates (B,), (B,) → comparisons a side, (B,), not rounded."""
    ### BEGIN SOLUTION
    p = (p_a + p_b) / 2
    by_level = 1.96 * torch.sqrt(2 * p * (1 - p))
    by_power = 0.8416 * torch.sqrt(p_a * (1 - p_a) + p_b * (1 - p_b))
    return ((by_level + by_power) / (p_a - p_b)) ** 2
    ### END SOLUTION


# %%
check_comparisons_needed(comparisons_needed)
### BEGIN HIDDEN TESTS
import math

from dpo_book.checks import marking


def hidden_answer(p_a, p_b):
    """The n at which four studies of five find the difference, by halving what is left."""

    def beyond_the_level(a, b, n):
        mean = (a + b) / 2
        least = 1.96 * math.sqrt(2 * mean * (1 - mean) / n)
        deviation = math.sqrt(a * (1 - a) / n + b * (1 - b) / n)
        return (abs(a - b) - least) / deviation

    numbers = []
    for a, b in zip(p_a.tolist(), p_b.tolist()):
        too_few, enough = 0.0, 1e7
        for _ in range(100):
            n = (too_few + enough) / 2
            found = beyond_the_level(a, b, n) >= 0.8416
            too_few, enough = (too_few, n) if found else (n, enough)
        numbers.append(enough)
    return numbers


hidden_trials = [
    (marking.vector(0.66, 0.25, 0.5), marking.vector(0.5, 0.45, 0.8)),
    (marking.vector(0.44), marking.vector(0.7)),
    (marking.vector(0.85, 0.1, 0.6, 0.93, 0.35), marking.vector(0.7, 0.22, 0.2, 0.8, 0.5)),
]
marking.mark("comparisons_needed", comparisons_needed, hidden_answer, hidden_trials)
### END HIDDEN TESTS


# %%
def both_orders(shown_first, shown_second):
    """What a got in either order, (n,) each → win rate, its error, position bias."""
    ### BEGIN SOLUTION
    n = len(shown_first)
    outcome = (shown_first + shown_second) / 2
    for_first_place = (shown_first + 1 - shown_second) / 2
    return outcome.mean(), outcome.std() / n**0.5, for_first_place.mean() - 0.5
    ### END SOLUTION


# %%
check_both_orders(both_orders)
### BEGIN HIDDEN TESTS
import math

from dpo_book.checks import marking


def hidden_answer(shown_first, shown_second):
    """The error from what every two comparisons differ by: the mean of half their squared differences is s²."""
    of_a = list(zip(shown_first.tolist(), shown_second.tolist()))
    n = len(of_a)
    wins = math.fsum(first + second for first, second in of_a)
    differences = []
    for i, (first, second) in enumerate(of_a):
        for other_first, other_second in of_a[:i]:
            differences.append(((first + second) - (other_first + other_second)) / 2)
    variance = math.fsum(d * d for d in differences) / (n * (n - 1))
    for_first = math.fsum(first for first, _ in of_a)
    for_first += math.fsum(1 - second for _, second in of_a)
    return [wins / (2 * n), math.sqrt(variance / n), for_first / (2 * n) - 1 / 2]


def hidden_verdicts(seed, count, taste):
    merit, noise, other_noise = marking.normal(seed, (count,), (count,), (count,))
    seen = torch.stack([merit + noise + taste, merit + other_noise - taste])
    first, second = (seen.sign() * (seen.abs() > 0.4) + 1) / 2
    return first, second


hidden_trials = [hidden_verdicts(901, 9, 0.5), hidden_verdicts(902, 4, -0.3), hidden_verdicts(903, 30, 0.8)]
marking.mark("both_orders", both_orders, hidden_answer, hidden_trials)
### END HIDDEN TESTS


# %%
def length_controlled_loss(theta, lam, outcome, extra_words):
    """θ, λ a word, what a got (n,), how many words more it has (n,) → losses (n,)."""
    ### BEGIN SOLUTION
    margin = theta + lam * extra_words
    loss = torch.nn.functional.binary_cross_entropy_with_logits
    return loss(margin, outcome, reduction="none")
    ### END SOLUTION


# %%
check_length_controlled_loss(length_controlled_loss)
### BEGIN HIDDEN TESTS
import math

from dpo_book.checks import marking


def hidden_answer(theta, lam, outcome, extra_words):
    """By the odds of a win: a has odds/(1 + odds), b the rest; a tie is the root of both chances' product."""
    losses = []
    for got, words in zip(outcome.tolist(), extra_words.tolist()):
        odds = math.exp(theta.item()) * math.exp(lam.item() * words)
        chance, other_chance = odds / (1 + odds), 1 / (1 + odds)
        losses.append(-math.log(chance**got * other_chance ** (1 - got)))
    return losses


def hidden_verdicts(seed, count):
    theta, lam, merit, words = marking.normal(seed, (), (), (count,), (count,))
    outcome = (merit.sign() * (merit.abs() > 0.5) + 1) / 2
    return theta, 0.04 * lam, outcome, (20 * words - 3).round()


hidden_trials = [hidden_verdicts(904, 5), hidden_verdicts(905, 1), hidden_verdicts(906, 14)]
marking.mark("length_controlled_loss", length_controlled_loss, hidden_answer, hidden_trials)
### END HIDDEN TESTS


# %% [markdown]
# ### In your own words
#
# A paper reports: "Our policy wins 61.7 % of 256 comparisons with the references, PPO 57.0 % of 256. One language
# model was the judge, each comparison was shown once, our answer first." What may it conclude? Name four things
# that stand between these numbers and "our policy is better than PPO", and for one of them say what to do.
#
# ### BEGIN SOLUTION
# The first policy won more often in this sample, by this judge; and its rate is above one half, by that judge
# (Wilson: 55.6 to 67.5 %). That it is better than PPO does not follow.
#
# - Chance: 4.7 points at a standard error of 4.3 is z = 1.08, p = 0.28. Of two policies with just these rates 256
#   comparisons a side tell the difference in one study of five; 1,723 a side would in four of five. The same prompts
#   for both and a paired difference need fewer.
# - Place: with "our answer first" a judge's taste for the first place is in every comparison. Both rates may be above
#   one half by that alone. Ask in both orders, a comparison being one outcome, or in a random one.
# - Length and style: judges like longer answers. Report lengths, and the rate at equal length, which also takes
#   away what is better because it is longer.
# - One judge: how often does it agree with people, and these with each other? A judge of the same family as a policy
#   may like its own. Take some verdicts of people, and another judge.
# - Also right: one run of each, no seeds; one temperature; the best of several checkpoints; prompts that are no
#   sample of those that matter; both against references, never head to head.
#
# Marks:
#
# - 1: chance, with z near 1 or the overlapping intervals
# - 1: place, and that order must be random or both
# - 1: two more of the others
# - 1: what to do about one of them, clear, and nothing false
# ### END SOLUTION
