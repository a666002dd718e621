# %% [markdown]
# # 01 · What can comparisons tell us?
#
# Ten people were asked how "great" feels, on a scale from −4 to 4. Ten people were asked the same about "good". Put
# one rating of each side by side: "great" is usually higher, but not always. This chapter turns such wins and losses
# into one number for each word, its **reward**. DPO, the method of this book, learns from nothing but comparisons, so
# all that it can ever know is what comparisons can tell.
#
# **Write down a prediction first.** "great" beats "good" in 83 of 100 comparisons, and "good" beats "okay" in 80
# of 100. Nobody has told you about "great" and "okay". In how many of 100 does "great" win? Write a number.
#
# | after this chapter you can | |
# |---|---|
# | turn a share of wins into a difference of rewards, and back | 7&nbsp;min |
# | derive the Bradley–Terry model (equation 1) in two ways | 20&nbsp;min |
# | fit rewards to comparisons, and say when there is no fit | 25&nbsp;min |
# | say how far the fit can be trusted about new people | 10&nbsp;min |
# | write the likelihood of a whole ranking | 14&nbsp;min |
#
# You need a little probability and PyTorch. Chapter 00 is not required.

# %% jupyter={"source_hidden": true} tags=["install", "hide-input", "remove-cell"]
# Where the book is not installed this cell installs it. Elsewhere it does nothing.
import os
import site
from importlib.util import find_spec

if find_spec("dpo_book") is None:
    assert os.path.isdir("../dpo_book"), "Open the chapter in the book's own folder"
    print("The book is not installed here. Installing it takes some minutes.")
    get_ipython().run_line_magic("pip", "install --quiet --editable ..")
    site.main()

# %%
import itertools

import pandas as pd
import torch

from dpo_book import *
from dpo_book import plots, widgets
from dpo_book.checks.comparisons import (
    check_ranking_logp,
    check_reward_gradient,
    check_win_probability,
)
from dpo_book.quizzes import quiz
from dpo_book.worlds.ratings import load_ratings, rankings, wins

setup(seed=0)
torch.set_default_dtype(torch.float64)  # 64 bits, so that exact means 1e-12

# %% [markdown]
# ## Two words
#
# The ratings come from VADER, a sentiment lexicon ([Hutto and Gilbert
# 2014](https://ojs.aaai.org/index.php/ICWSM/article/view/14550)). $a \succ b$ reads "$a$ was preferred to $b$". Nobody
# compared the words; we do, and count as a comparison one rating of each. Each of ten meets each of ten, which makes 100.
# The higher rating wins, a tie counts half to each.
#
# The **odds** of $a$ over $b$ are wins against losses. Their natural logarithm is called the **log-odds**. From it the
# **logistic function** $\sigma(z) = 1/(1 + e^{-z})$ gives the share of wins back. Look at how much the two rows overlap,
# and for the 83.

# %%
w = wins(["great", "good"])  # w[i, j]: how often word i beat word j
difference = (w[0, 1] / w[1, 0]).log()
print(f"great ≻ good: {w[0, 1]:.0f} of 100, odds {w[0, 1] / w[1, 0]:.4f}")
print(f"log-odds {difference:.4f} nats   σ(log-odds) = {difference.sigmoid():.4f}")
assert w[0, 1] == 83 and abs(difference.sigmoid() - 0.83) < 1e-12
ratings = pd.DataFrame(dict(load_ratings())).T.rename_axis(columns="rater")
ratings.loc[["great", "good"]]

# %% [markdown]
# A **nat** is the unit of natural logarithms: one nat more multiplies the odds by $e \approx 2.72$. We say: the reward
# of "great" is 1.59 nats above that of "good". So far this is another way to write 83 %. It says more once
# there is a third word.
#
# ## Where equation 1 comes from: odds along a chain
#
# Write $y_1, y_2$ for two responses to a prompt $x$. Here the prompt is always the same question, "how does this word
# feel?", and the responses are words; we leave $x$ out until the result. Let $p^*(y_1 \succ y_2)$ be the
# probability that $y_1$ is preferred (the star marks what is true, not estimated). The odds are
# $o(y_1, y_2) = p^*(y_1 \succ y_2) / p^*(y_2 \succ y_1)$.
#
# **Assumption.** No probability is 0 or 1, and odds multiply along a chain: $o(y_1, y_3) = o(y_1, y_2) \cdot o(y_2, y_3)$
# for any three responses. If $y_1$ beats $y_2$ at 3 : 1 and $y_2$ beats $y_3$ at 2 : 1, then $y_1$ beats $y_3$
# at 6 : 1.
#
# 1. Choose one response $y_0$ as the zero, and define $r^*(y) = \ln o(y, y_0)$ for every $y$. *(a name, nothing assumed)*
# 2. $o(y_0, y_2) = 1 / o(y_2, y_0) = e^{-r^*(y_2)}$. *(odds seen from the other side; step 1)*
# 3. $o(y_1, y_2) = o(y_1, y_0) \cdot o(y_0, y_2)$. *(the assumption, with $y_0$ in the middle)*
# 4. $\phantom{o(y_1, y_2)} = e^{r^*(y_1) - r^*(y_2)}$. *(steps 1 and 2)*
# 5. $p^*(y_1 \succ y_2) = o(y_1, y_2) / (1 + o(y_1, y_2))$. *(one of the two wins: the probabilities add up to 1)*
# 6. Put 4 into 5, multiply above and below by $e^{r^*(y_2)}$, and write the prompt again:
#
# $$p^*(y_1 \succ y_2 \mid x) = \frac{\exp r^*(x, y_1)}{\exp r^*(x, y_1) + \exp r^*(x, y_2)} \tag{1}$$
#
# 7. $\phantom{p^*} = \sigma\left(r^*(x, y_1) - r^*(x, y_2)\right)$. *(divide above and below by $\exp r^*(x, y_1)$)*
#
# This is the **Bradley–Terry model** ([1952](https://doi.org/10.2307/2334029)). Now in numbers: four responses with odds
# that multiply. Look for three columns that agree: the share from the odds, equation 1 as it stands, and the package's
# one-liner.

# %% tags=["eq-1"]
odds_to_zero = torch.tensor([4.0, 1.5, 1.0, 0.2])  # o(y, y_0); y_0 is the third
o = odds_to_zero[:, None] / odds_to_zero[None, :]  # steps 2 and 3: o(y_i, y_j)
r = odds_to_zero.log()  # step 1
share = o / (1 + o)  # step 5
equation_1 = r.exp()[:, None] / (r.exp()[:, None] + r.exp()[None, :])  # step 6
sigma = preference_probability(r[:, None], r[None, :])  # step 7
assert torch.allclose(o[0, 3], o[0, 1] * o[1, 3], rtol=0, atol=1e-12)  # the chain
assert torch.allclose(share, equation_1, rtol=0, atol=1e-12)
assert torch.allclose(share, sigma, rtol=0, atol=1e-12)
i, j = torch.tensor([[0, 1, 0], [1, 3, 3]])
three = {"odds": share[i, j], "equation 1": equation_1[i, j], "package": sigma[i, j]}
pd.DataFrame(three, index=["y_1 ≻ y_2", "y_2 ≻ y_4", "y_1 ≻ y_4"]).round(4)

# %% [markdown]
# ### Your prediction, and the people
#
# The chain says: odds 83 : 17 times odds 80 : 20. Look at the first row for "great" and "okay", then at what people
# did with other triples.

# %%
triples = ["great good okay", "good nice okay", "okay silly strange"]
triples += ["strange boring horrible", "okay intense silly"]
rows = {}
for triple in triples:
    w = wins(triple.split())
    odds = (w[0, 1] / w[1, 0]) * (w[1, 2] / w[2, 1])
    first, middle, last = triple.split()
    chain, people = 100 * odds / (1 + odds), w[0, 2]
    rows[f"{first} ≻ {last}"] = {"by way of": middle, "chain": chain, "people": people}
    assert abs(chain - people) < 7
pd.DataFrame(rows).T.astype({"chain": float, "people": float}).round(1)

# %% [markdown]
# The chain predicts 95, people said 99. If you wrote something near 95, you think in odds. The other triples are
# off by up to six points, in both directions. So the assumption is an approximation of people, and a useful one: with
# $n$ words there are $n(n-1)/2$ pairs, and the chain leaves only $n - 1$ numbers to find, since one word may be the zero.
#
# ## The same formula from noise
#
# A second road to equation 1. Each time a person meets response $y$, they feel $r^*(y) + \varepsilon$: its reward plus
# fresh, independent noise. They prefer what feels better. Let the noise be **Gumbel** distributed,
# $P(\varepsilon \le t) = e^{-e^{-t}}$, whose density is the derivative, $e^{-t} e^{-e^{-t}}$. (It is
# the limit law of the largest of many independent normal numbers, shifted and scaled.) Write $d = r^*(y_1) - r^*(y_2)$.
#
# 1. $p^*(y_1 \succ y_2) = P(\varepsilon_2 \le d + \varepsilon_1)$. *($y_1$ feels better)*
# 2. $= \int e^{-t} e^{-e^{-t}} \cdot e^{-e^{-(t + d)}}\, dt$. *(all values $t$ of $\varepsilon_1$, times the chance that $\varepsilon_2 \le t + d$)*
# 3. $= \int e^{-t} \exp\left(-e^{-t}(1 + e^{-d})\right) dt$. *($e^{-(t+d)} = e^{-t} e^{-d}$; exponents add)*
# 4. $= \int_0^\infty \exp\left(-u (1 + e^{-d})\right) du$. *(substitute $u = e^{-t}$, $du = -e^{-t} dt$; the minus turns the limits round)*
# 5. $= 1 / (1 + e^{-d}) = \sigma(d)$. *(integral of an exponential)*
#
# First the integral of step 2, summed over a fine grid, beside $\sigma(d)$. Then dice: 100,000 simulated people, asked
# about each difference, whose shares should lie within four standard errors. In the figure $a$ and $b$ stand for $y_1$ and
# $y_2$. Look left at the overlap of the two curves: the more they overlap, the more often the lower reward wins.

# %% tags=["eq-1"]
t = torch.linspace(-10, 50, 600_001)
density = torch.exp(-t - torch.exp(-t))
rows = {}
for d in torch.tensor([-2.0, 0.0, 1.0, difference]):
    integral = torch.trapezoid(density * torch.exp(-torch.exp(-(t + d))), t)
    rows[f"d = {d:.4f}"] = {"integral": integral.item(), "σ(d)": d.sigmoid().item()}
    assert torch.isclose(integral, d.sigmoid(), rtol=0, atol=1e-9)
pd.DataFrame(rows).T.round(4)


# %%
def gumbel(*shape, generator):
    return -torch.log(-torch.log(torch.rand(shape, generator=generator)))


generator = torch.Generator().manual_seed(1)
people, differences = 100_000, torch.linspace(-4, 4, 17)
first, second = gumbel(2, people, 1, generator=generator)
shares = (differences + first > second).double().mean(dim=0)
exact = differences.sigmoid()
standard_errors = (shares - exact).abs() / (exact * (1 - exact) / people).sqrt()
print(f"largest deviation: {standard_errors.max():.1f} standard errors")
assert (standard_errors < 4).all()
plots.noisy_rewards(differences.tolist(), shares.tolist())

# %% [markdown]
# The simulated shares (grey) lie on the dashed line. Equation 1 is what you get if taste is a reward plus Gumbel noise.
#
# ## Only differences count
#
# Step 1 chose a zero. Had we chosen another one, every reward would have moved by the same constant, since
# $\ln o(y, y_0') = \ln o(y, y_0) + \ln o(y_0, y_0')$. Equation 1 reads a difference, so the constant cancels.
# We take $y_4$ as zero now, and then add 100 to everything. Look for what stays.

# %% tags=["eq-1"]
r_other = o[:, 3].log()  # the zero is the fourth response
table = {}
lists = {"zero at y_3": r, "zero at y_4": r_other, "plus 100": r + 100}
for name, rewards in lists.items():
    p = preference_probability(rewards[:, None], rewards[None, :])
    table[name] = [*rewards.tolist(), p[0, 1].item()]
    assert torch.allclose(p, share, rtol=0, atol=1e-12)
columns = ["r(y_1)", "r(y_2)", "r(y_3)", "r(y_4)", "p(y_1 ≻ y_2)"]
pd.DataFrame.from_dict(table, orient="index", columns=columns).round(4)

# %% [markdown]
# No comparison, however often repeated, can tell these three lists of rewards apart. "The reward is 7" means nothing;
# "the reward is 1.6 higher" does. With prompts, this holds for each prompt on its own, and chapter 05 shows what
# DPO makes of that freedom.
#
# ## Fitting rewards
#
# Now nineteen words at once. We do not know $r^*$. We look for rewards $r_\phi$ ($\phi$ stands for
# what is fitted, here simply the nineteen numbers) that make the observed wins as likely as possible. Let $w_{ij}$
# be the wins of word $i$ over word $j$, and $p_{ij} = \sigma(r_i - r_j)$, where $r_i$ is short for $r_\phi(y_i)$.
#
# 1. The likelihood of all comparisons is $\prod_{ij} p_{ij}^{w_{ij}}$. *(as if all comparisons were independent: probabilities multiply. Ours are not quite; see "What could go wrong")*
# 2. $L = -\sum_{ij} w_{ij} \log \sigma(r_i - r_j)$. *(minus its logarithm, the negative log-likelihood; log is always natural in this book, the same as ln)*
#
# Divide $L$ by the number of comparisons and it is an average over pairs of a winner $y_w$ and a loser $y_l$. That is
# the loss of a reward model, the subject of chapter 02:
#
# $$\mathcal{L}_R(r_\phi) = -\mathbb{E}\left[\log \sigma\left(r_\phi(x, y_w) - r_\phi(x, y_l)\right)\right] \tag{2}$$
#
# Where is $L$ smallest? Where its gradient is zero.
#
# 3. $\frac{d}{dz} \log \sigma(z) = 1 - \sigma(z)$. *(chain rule, $\sigma' = \sigma(1 - \sigma)$)*
# 4. $\frac{\partial L}{\partial r_i} = -\sum_j w_{ij} (1 - p_{ij}) + \sum_j w_{ji} (1 - p_{ji})$. *($r_i$ stands first where $i$ won, second where it lost)*
# 5. $\phantom{\frac{\partial L}{\partial r_i}} = -\sum_j w_{ij} (1 - p_{ij}) + \sum_j w_{ji}\, p_{ij}$. *($1 - p_{ji} = p_{ij}$)*
# 6. $\phantom{\frac{\partial L}{\partial r_i}} = \sum_j \underbrace{(w_{ij} + w_{ji})\, p_{ij}}_{\text{expected wins}} - \sum_j \underbrace{w_{ij}}_{\text{observed wins}}$. *(collect)*
#
# So at the fit **every word is expected to win exactly as often as it did**. At random rewards, first $L$ from the table of
# wins beside equation 2 over a list of winners and losers, then line 6 against PyTorch's automatic derivative:

# %% tags=["eq-2"]
words = "best great excellent funny good nice interesting okay intense silly strange"
words = [*words.split(), "odd", "crazy", "boring", "dull", "bad", "terrible"]
words += ["horrible", "worst"]
w = wins(words)
r = torch.randn(len(words), generator=generator, requires_grad=True)
p = preference_probability(r[:, None], r[None, :])
L = -(w * p.log()).sum()  # line 2
winner, loser = w.nonzero(as_tuple=True)
losses = reward_model_loss(r[winner], r[loser])
L_R = (losses * w[winner, loser]).sum() / w.sum()  # equation 2
print(f"{len(words)} words, {w.sum():.0f} comparisons:", end=" ")
print(f"L / comparisons = {L / w.sum():.4f}, equation 2 = {L_R:.4f}")
assert torch.isclose(L / w.sum(), L_R, rtol=0, atol=1e-12)


# %%
def expected_wins(rewards, w):
    p = preference_probability(rewards[:, None], rewards[None, :])
    return ((w + w.T) * p).sum(dim=1)  # the diagonal of w is zero


(gradient,) = torch.autograd.grad(L, r)
by_hand = (expected_wins(r, w) - w.sum(dim=1)).detach()  # line 6
assert torch.allclose(gradient, by_hand, rtol=0, atol=1e-9)
assert abs(gradient.sum()) < 1e-9  # no pull along the constant
both = pd.DataFrame({"autograd": gradient, "line 6": by_hand}, index=words)
both.loc[["great", "good", "worst"]].round(4)

# %% [markdown]
# The entries of the gradient add up to zero: nothing pulls at the constant, as the section before said. `fit_rewards` finds
# the minimum with Newton's method and sets the mean to zero, because something has to be chosen. There is no second
# minimum: $-\log\sigma(z)$ has the second derivative $\sigma(z)(1 - \sigma(z)) > 0$, so $L$ curves upwards in every
# direction that changes a difference of two compared words. Here every pair was compared, so only the constant is left.
#
# Green is fitted, dashed black is exact. Look left for the step from "good" to "great", right for points that leave the
# line.

# %%
fitted = fit_rewards(w)
expected, observed = expected_wins(fitted, w), w.sum(dim=1)
assert torch.allclose(expected, observed, rtol=0, atol=1e-5)
great, good = words.index("great"), words.index("good")
step = fitted[great] - fitted[good]
print(f"great − good: fitted {step:.4f}, σ of it {step.sigmoid():.4f}, people 0.83")
assert abs(step - 1.92) < 0.005
plots.fitted_words(words, fitted.tolist(), expected.tolist(), observed.tolist())

# %% [markdown]
# No point leaves it. From "good" to "great" the fit climbs 1.92 nats, while the two words alone gave 1.59: now all the
# other words have a say.
#
# ## Words that are not connected
#
# Take two words that everybody likes and two that nobody likes, and ask for the fit.

# %%
import textwrap

four = ["great", "nice", "dull", "horrible"]
try:
    fit_rewards(wins(four))
except ValueError as error:
    print(textwrap.fill(str(error)))

# %% [markdown]
# Items 2 and 0 are "dull" and "great". No rating of a bad word is as high as one of a good word. Every comparison between
# the two groups went one way, and $-\log \sigma(z)$ falls for as long as $z$ grows: the likelihood asks for an infinite
# gap. A finite fit exists exactly when from every word a **chain of wins** leads to every other one ([Ford
# 1957](https://www.jstor.org/stable/2308513)). So we look for a word that loses to a bad one and beats a good one, if
# only once. Who can be the bridge, alone? In the figure, look for the orange zeros: on the left they fill a whole corner. On
# the right, follow "dull" ≻ "silly" ≻ "nice".

# %%
rows = {}
for bridge in ("intense", "silly", "strange", "odd", "crazy", "okay"):
    w5 = wins([*four, bridge])
    try:
        reward = f"{fit_rewards(w5)[4]:.2f}"
    except ValueError:
        reward = "no finite fit"
    beaten, lost_to = w5[4, :2].sum().item(), w5[2:4, 4].sum().item()
    rated = " ".join(map(str, load_ratings()[bridge]))
    rows[bridge] = [rated, beaten, lost_to, reward]
columns = ["ratings", "beats good", "loses to bad", "its reward"]
pd.DataFrame.from_dict(rows, orient="index", columns=columns)

# %%
five = ["great", "nice", "silly", "dull", "horrible"]
tables = {"not connected": four, "connected by silly": five}
plots.win_tables({title: (them, wins(them).tolist()) for title, them in tables.items()})

# %% [markdown]
# Only words on which people disagree strongly connect: "silly" (rated from −2 to 2) and "crazy" (−3 to 2). The others
# reach one shore each.
#
# What if there is no bridge? Three ways out: ask for more comparisons; fit the groups apart and do not compare
# across; or add a few invented wins, $\alpha$ to each side of every pair. The last one always gives a number. Look at
# where the number comes from.

# %%
gaps = {}
for alpha in ("1", "0.1", "0.01", "0.001"):
    invented = fit_rewards(wins(four) + float(alpha))
    gaps[f"α = {alpha}"] = (invented[1] - invented[2]).item()
last = gaps["α = 0.001"] - gaps["α = 0.01"]
print(f"the last step adds {last:.2f} = ln 10")
assert abs(last - 2.302585) < 0.01
pd.DataFrame({"nice − dull, in nats": gaps}).round(2)


# %% [markdown]
# Divide $\alpha$ by ten and the gap grows by $\ln 10$: it is a statement about $\alpha$, not about people. Keep this in
# mind for DPO. A pair of long texts is usually compared once, so it stands in the data as 1 : 0. If each text
# had a number of its own, that would ask for an infinite difference too. Chapter 07 shows the consequence.
#
# ## Does the fit hold for people it has not seen?
#
# A fit can always describe the people it was fitted to. So we fit on raters 0 to 4 and compare with raters 5 to 9.
# The model is **calibrated** if, among pairs for which it says 0.85, the first word wins in 85 %. So we average in groups
# by the predicted probability. (Above one half only: each pair occurs in both orders, so the rest is the mirror image.)
# And because five raters may be unlike five others, we try all 252 ways to choose five of ten.

# %%
def predict(train):
    """All ordered pairs of words: predicted; won among the five others; the same."""
    test = [rater for rater in range(10) if rater not in train]
    seen, pairs = wins(words, train), ~torch.eye(len(words), dtype=torch.bool)
    rewards = fit_rewards(seen)
    p = preference_probability(rewards[:, None], rewards[None, :])
    return p[pairs], wins(words, test)[pairs] / 25, seen[pairs] / 25


def grouped(predicted, **columns):
    """The means of all columns in groups of pairs, by predicted probability."""
    edges = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
    groups = [(predicted > a) & (predicted <= b) for a, b in itertools.pairwise(edges)]
    columns = {"predicted": predicted, **columns}
    return {name: [c[g].mean().item() for g in groups] for name, c in columns.items()}


# %%
one = predict(range(5))
one_split = grouped(one[0], observed=one[1])
one_split["pairs"] = [values[one[0] > 0.5].tolist() for values in one[:2]]
splits = [predict(train) for train in itertools.combinations(range(10), 5)]
p, others, same = map(torch.cat, zip(*splits))
all_splits = grouped(p, observed=others, same=same)
off, coin = (p - others).abs().mean(), (0.5 - others).abs().mean()
print(f"mean |predicted − observed|: {off:.3f}, of a coin: {coin:.3f}")
table = pd.DataFrame(all_splits)
over, fair = (table["predicted"] - table[of] for of in ("observed", "same"))
print(f"overconfident about the others by up to {over.max():.3f}")
print(f"off about the same five by up to {fair.abs().max():.3f}")
assert over.min() > 0 and fair.abs().max() < 0.015
panels = {"raters 0 to 4 foretell 5 to 9": one_split, "all 252 ways": all_splits}
plots.calibration(panels)

# %% [markdown]
# The fit misses other people's shares by eight points on average, where a coin is off by 40. The left picture, one draw,
# exaggerates. But on the right every group still lies below the dashed line: the fit **is** overconfident, by up to five
# points. About the five raters whom it has seen it is right to within about a point, so on average the formula is not to
# blame: with five ratings a word, part of what looks like a difference between words is luck of the draw, and the fit
# takes it for real.
#
# ### Where Bradley–Terry misfits real people
#
# More raters cure luck. They do not cure a wrong assumption. Here are the six pairs that the fit to *all ten* raters
# gets most wrong; look for a word that occurs again and again. Below them are three words with a **circle**: each beats
# the next. Look for the win that the fit turns into a loss.

# %%
p = preference_probability(fitted[:, None], fitted[None, :])
off = (p - w / 100).fill_diagonal_(0).round(decimals=6)
rows = {}
for k in off.flatten().argsort(descending=True, stable=True)[:6].tolist():
    i, j = divmod(k, len(words))
    people = w[i, j].item() / 100
    rows[f"{words[i]} ≻ {words[j]}"] = {"fit": p[i, j].item(), "people": people}
display(pd.DataFrame(rows).T.round(2))
ratings.loc[["crazy", "intense"]]

# %%
circle = ["dull", "shocking", "waste"]
w3 = wins(circle)
r3 = fit_rewards(w3)
i, j = torch.tensor([[0, 1, 2], [1, 2, 0]])
people, fit = w3[i, j] / 100, preference_probability(r3[i], r3[j])
assert fit.min() < 0.5 < people.min()
beats = ["dull ≻ shocking", "shocking ≻ waste", "waste ≻ dull"]
pd.DataFrame({"people": people, "fit": fit}, index=beats).round(3)

# %% [markdown]
# - **One noise for all.** For "crazy" one rater said 2 and two said −3, for "intense" all said 0 or 1. Bradley–Terry gives
#   every word noise of the same size. With "crazy", people are closer to a coin than the fit says; with "intense", further
#   from it.
# - **One taste for all.** If half of the people love musicals and half hate them, the fit says 50 : 50 against an
#   average film. It cannot say "divided".
# - **No circles.** Rewards are numbers, and numbers have an order. Where people go round in circles no rewards can be right.
#   This circle is so weak that it may be chance. The point is that the model could not say so if it were strong.
#
# DPO inherits all three: equation 1 is its only picture of people.
#
# ## How many comparisons, how much noise?
#
# To see whether the fit finds the truth, we need a truth. Six responses get known rewards $r^*$ from −2 to 2. A
# person feels $r^*(y) + s\,\varepsilon$ with Gumbel noise $\varepsilon$ of size $s$. Dividing by $s$ changes no winner,
# so this is Bradley–Terry with rewards $r^*/s$, and **that** is what a fit can find: comparisons measure rewards in
# units of the noise. We draw 10,000 comparisons once; a slider will use the first so many of them.
#
# How wrong should the fit be? For many comparisons, theory gives its covariance: the inverse of $L$'s second
# derivatives, which are sums of $p_{ij}(1 - p_{ij})$. We state the error relative to the spread of $r^*/s$, so that 0.1
# means "off by a tenth of what there is to see", and hold the formula against 200 simulated fits.

# %%
true = torch.linspace(-2, 2, 6)
counts = [20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000]
noises = [0.25, 0.5, 1.0, 2.0, 4.0, 8.0]


def draw(count, generator):
    """Random pairs of different responses, and the differences of their noises."""
    i = torch.randint(6, (count,), generator=generator)
    j = (i + torch.randint(1, 6, (count,), generator=generator)) % 6
    return i, j, gumbel(count, generator=generator) - gumbel(count, generator=generator)


def fit_draw(i, j, noise_difference, s):
    i_wins = true[i] - true[j] + s * noise_difference > 0
    table = torch.where(i_wins, 6 * i + j, 6 * j + i).bincount(minlength=36).view(6, 6)
    try:
        return fit_rewards(table)
    except ValueError:  # no chain of wins to everybody
        return None


# %%
def rms(values):
    return values.square().mean().sqrt().item()


def theory(count, s):
    """Relative root-mean-square error of the fit to many random comparisons."""
    p = preference_probability(true[:, None] / s, true[None, :] / s)
    information = -(count / 15 * p * (1 - p)).fill_diagonal_(0)  # 15 pairs, alike often
    information -= torch.diag(information.sum(dim=1))
    covariance = torch.linalg.pinv(information, hermitian=True)  # none on the constant
    return (covariance.trace() / 6).sqrt().item() / rms(true / s)


repeats = [fit_draw(*draw(2000, generator), s=1.0) - true for _ in range(200)]
simulated = rms(torch.stack(repeats)) / rms(true)
print(f"2,000 comparisons, s = 1: theory {theory(2000, 1.0):.3f}, fits {simulated:.3f}")
assert abs(simulated / theory(2000, 1.0) - 1) < 0.1

# %% [markdown]
# They agree. In the figure, look left at how close the points come to the dashed line, and right for the slope of the
# dashed line: a hundred times the comparisons, a tenth of the error. Green is a single draw, and a lucky one from 2,000
# comparisons on; the dashed line is what to expect.

# %%
drawn = draw(max(counts), generator)
fits = {(n, s): fit_draw(*(x[:n] for x in drawn), s) for n in counts for s in noises}


def error(fit, s):
    return float("nan") if fit is None else rms(fit - true / s) / rms(true / s)


def recovered_at(comparisons, noise):
    fit = fits[comparisons, noise]
    fit = None if fit is None else fit.tolist()
    errors = [error(fits[n, noise], noise) for n in counts]
    limits = [theory(n, noise) for n in counts]
    return plots.recovered_rewards(
        true.tolist(), fit, noise, comparisons, counts, errors, limits
    )


recovered_at(1000, 1.0)

# %% [markdown]
# **Move both.** Before you do: is *less* noise always better? Guess, then put the noise to 0.25 and the number of
# comparisons to 100. Watch the numbers on the left axis when you change the noise: the rewards shrink as it grows. The
# table has the answer.

# %%
widgets.slider_figure(
    recovered_at,
    comparisons=widgets.SelectionSlider(
        options=counts, value=1000, description="number"
    ),
    noise=widgets.SelectionSlider(options=noises, value=1.0, description="noise s"),
)

# %%
rows = {}
for s in noises:
    finite = [n for n in counts if fits[n, s] is not None]
    rows[s] = {"error of 1,000, in theory": theory(1000, s), "finite from": finite[0]}
table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("noise s")
best = table["error of 1,000, in theory"].idxmin()
print("least error at s =", best)
assert noises[0] < best < noises[-1] and fits[100, 0.25] is None
table.round(3)


# %% [markdown]
# Less noise is not always better. With much noise every comparison is nearly a coin. With hardly any, the better one
# always wins: you learn the order and not the distances, or have no finite fit at all. Sizes are measured by how often
# people *disagree*.
#
# ## Rankings
#
# Sometimes people rank $K$ responses, $y_1 \succ y_2 \succ \dots \succ y_K$. The **Plackett–Luce** model sees a ranking as
# $K - 1$ choices: choose the best of all with probability proportional to $e^{r^*}$, take it away, choose the best of the
# rest, and so on (appendix A.3 of the [DPO paper](https://arxiv.org/abs/2305.18290)):
#
# $$p^*(y_1 \succ \dots \succ y_K \mid x) = \prod_{k=1}^{K} \frac{\exp r^*(x, y_k)}{\sum_{j=k}^{K} \exp r^*(x, y_j)}$$
#
# The last factor is 1, since one response is left. With $K = 2$ the first factor is equation 1. And the two models fit
# together: ask only whether $a$ stands above $b$ in a ranking of three, wherever $c$ may stand, and the probability should
# be equation 1 again. Look for three equal numbers.

# %% tags=["eq-1"]
def ranking_probability(r):
    """Plackett–Luce: the probability that items with rewards r, (K,), are ranked so."""
    p = torch.ones(())
    for k in range(len(r)):
        p = p * r[k].exp() / r[k:].exp().sum()
    return p


r = torch.tensor([1.2, 0.3, -0.5])
orders = list(itertools.permutations(range(3)))
p3 = torch.stack([ranking_probability(r[list(order)]) for order in orders])
p2 = ranking_probability(r[:2])
above = p3[[order.index(0) < order.index(1) for order in orders]].sum()
sigma = preference_probability(r[0], r[1])
print(f"K = 2: {p2:.4f}   a above b of three: {above:.4f}   equation 1: {sigma:.4f}")
assert max(abs(p2 - sigma), abs(above - sigma), abs(p3.sum() - 1)) < 1e-12

# %% [markdown]
# Sorting by reward plus Gumbel noise should give these rankings too. And people? Show a rating of "great", "good" and
# "nice" each, rank them, 20,000 times. The model gets the rewards that we fitted to comparisons of nineteen words.

# %%
trio = ["great", "good", "nice"]
r = fitted[[words.index(word) for word in trio]]
felt = (r + gumbel(100_000, 3, generator=generator)).argsort(dim=1, descending=True)
ranked = rankings(trio, 20_000, length=3, seed=0)
rows = {}
for order in orders:
    named = tuple(trio[i] for i in order)
    model = ranking_probability(r[list(order)]).item()
    noisy = (felt == torch.tensor(order)).all(dim=1).double().mean().item()
    rows[" ≻ ".join(named)] = [model, noisy, ranked.count(named) / 20_000]
    assert abs(noisy - model) < 4 * (model * (1 - model) / 100_000) ** 0.5
columns = ["model", "sorted by noisy reward", "people"]
pd.DataFrame.from_dict(rows, orient="index", columns=columns).round(2)

# %% [markdown]
# The model is right about which rankings are common, and off by up to six points. It carries the same assumptions as
# equation 1.
#
# ## What could go wrong
#
# **"My reward model says 7.3. Is that good?"** Nobody can know. Add 100 to all rewards and nothing changes, see above.
# Compare rewards of responses to the same prompt, never a reward with zero.
#
# **"exp(r) / (exp(r) + exp(r')) gives nan."** Exponentials overflow: in single precision $e^{100}$ is infinite, and so is
# the sum. Differences do not. Use σ.
#
# **"Why logistic and not normal noise?"** Normal noise gives Thurstone's model
# ([1927](https://doi.org/10.1037/h0070288)). Stretched by 1.702, the two curves differ by less than one point in a hundred,
# so it takes very many comparisons to tell them apart. The logistic's log-odds are a plain difference of rewards. In
# chapter 05 exactly that removes a sum that nobody could compute.
#
# **"100 comparisons, so my 83 % is good to ±4 points."** That is the standard error of 100 *independent* comparisons.
# These come from 20 ratings. Draw the ten ratings of each word anew, with replacement, and see how far the share moves:

# %%
great, good = (torch.tensor(load_ratings()[word]) for word in ("great", "good"))
index = torch.randint(10, (2, 4000, 10), generator=generator)
margins = great[index[0]][:, :, None] - good[index[1]][:, None, :]
spread = ((margins > 0) + (margins == 0) / 2).mean(dim=(1, 2)).std()
independent = (0.83 * 0.17 / 100) ** 0.5
print(f"100 independent comparisons: ±{independent:.2f}   20 ratings: ±{spread:.2f}")
assert spread > 2 * independent

# %% jupyter={"source_hidden": true} tags=["hide-input"]
large = torch.tensor([100.0, 99.0], dtype=torch.float32)
assert (large[0].exp() / large.exp().sum()).isnan()
assert abs(preference_probability(*large) - 0.7311) < 1e-4
z = torch.linspace(-8, 8, 10_001)
assert (z.sigmoid() - torch.special.ndtr(z / 1.702)).abs().max() < 0.01


# %% [markdown]
# More than twice as uncertain. In preference data, look out for the same: ten comparisons by one person are not ten people.
#
# ## Exercises

# %% [markdown]
# ### Exercise · win_probability
#
# Difficulty ★☆☆ · importance ●●● · 3 minutes
#
# Write equation 1. `reward_a` and `reward_b` have shape (B,). Return the probability that each $a$ is preferred to its
# $b$, shape (B,). Do not call `preference_probability`.

# %%
def win_probability(reward_a, reward_b):
    """Rewards (B,) and (B,) to the probability that a is preferred, (B,)."""
    # YOUR CODE HERE
    raise NotImplementedError()


# %%
check_win_probability(win_probability)


# %% [markdown]
# ### Exercise · reward_gradient
#
# Difficulty ★★☆ · importance ●●○ · 10 minutes
#
# Training sees a list of comparisons, not a table. `rewards` has shape (n,). `winners` and `losers` are whole numbers
# of shape (B,): in comparison $b$, item `winners[b]` beat item `losers[b]`. Return the gradient of
# $-\sum_b \log \sigma(r_{\text{winner}} - r_{\text{loser}})$ with respect to `rewards`, shape (n,), by hand: no
# autograd. An item can occur in many comparisons, or in none.

# %%
def reward_gradient(rewards, winners, losers):
    """Rewards (n,), winners (B,), losers (B,) to the summed loss's gradient, (n,)."""
    # YOUR CODE HERE
    raise NotImplementedError()


# %%
check_reward_gradient(reward_gradient)


# %% [markdown]
# ### Exercise · ranking_logp
#
# Difficulty ★★★ · importance ●○○ · 12 minutes
#
# The Plackett–Luce log-likelihood of many rankings at once. `rewards` has shape (n,). `rankings` has shape (B, K):
# each row holds K different item numbers, best first; an item that is not in a row was not shown. Return the
# log-probability of each row, shape (B,). Work with logarithms throughout: it has to survive rewards of ±1000.
# (`torch.logcumsumexp` and `flip` make it two lines; a loop over K is fine.) It must carry gradients, as a likelihood
# that is maximised does.

# %%
def ranking_logp(rewards, rankings):
    """Rewards (n,) and rankings (B, K), best first, to log-probabilities (B,)."""
    # YOUR CODE HERE
    raise NotImplementedError()


# %%
check_ranking_logp(ranking_logp)

# %% [markdown]
# ## Quiz

# %%
quiz("01", 1)

# %%
quiz("01", 2)

# %%
quiz("01", 3)

# %% [markdown]
# ## Recap
#
# | symbol | in code | shape | equation |
# |---|---|---|---|
# | $p^*(y_1 \succ y_2 \mid x)$ | `preference_probability(reward_a, reward_b)` | of the rewards | 1 |
# | $\sigma(z)$ | `torch.sigmoid(z)` | of $z$ | 1 |
# | $r^*$ | `true` | (n,) | 1 |
# | $w_{ij}$ | `wins(words)` | (n, n) | – |
# | $-\log \sigma(r_w - r_l)$ | `reward_model_loss(reward_chosen, reward_rejected)` | (B,) | 2, before the mean |
# | $r_\phi$ | `fit_rewards(wins)` | (n,), mean 0 | minimum of 2 |
# | Plackett–Luce | `ranking_probability(r)` | number | 1 for $K = 2$ |
#
# Comparisons tell differences of rewards, in units of the noise, where chains of wins connect; they tell no zero.
#
# Next: nobody can keep a list with a reward for every possible text, so chapter 02 lets a GPT-2 compute
# $r_\phi(x, y)$ and asks what it learns.
