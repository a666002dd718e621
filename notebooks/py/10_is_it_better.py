# %% [markdown]
# # 10 · How do we know it is better?
#
# So far a true reward said how good a policy is. Nobody has that for real summaries and answers. There two answers are shown
# to a judge, a person or a language model, and what is reported is a **win rate**. DPO's paper does so twice: for summaries,
# against summaries that people wrote, and for dialogues, against the answers that people chose. This chapter does both, in two small
# worlds in which the quality of any text is known, so that judges can be judged as well.
#
# **Write down a prediction first.** (1) In the paper's figure DPO wins about 158 of 256 comparisons, PPO about 146. How many
# comparisons does it take to tell such rates apart? (2) A policy's answer is always shown first. The judge says "the first" in 60 % of
# cases. What would the judge say without a taste for the first? (3) In dialogues a policy trained by DPO beats the chosen answers at
# temperature 0. Does it at temperature 1?
#
# | after this chapter you can | |
# |---|---|
# | say what a win rate measures, and give it an interval that holds | 9&nbsp;min |
# | say how many comparisons a claim needs | 5&nbsp;min |
# | find a judge's taste for a place and for length, and take it out | 9&nbsp;min |
# | say how far judges can agree, and judge yourself | 5&nbsp;min |
# | read win rates by temperature and over training, and rank more than two | 9&nbsp;min |
# | write an interval, a sample size and two corrections | 35&nbsp;min |
#
# You need chapters 01 (Bradley–Terry) and 09 (the methods). Symbols as there. New: $\hat p$ is a measured win rate, $n$ the
# number of comparisons, $z = 1.96$: 95 % of a normal distribution lie within $\pm z$ standard deviations.

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
import math
from functools import partial

import pandas as pd
import torch

from dpo_book import *
from dpo_book import plots, widgets
from dpo_book.checks.win_rates import *
from dpo_book.frontier import win_rate_figures
from dpo_book.frontier.arena import ARENAS
from dpo_book.frontier.by_temperature import PEOPLE, sampled_answers, written_answers
from dpo_book.frontier.win_rates import outcomes, rates_by, read_answers, wins_between
from dpo_book.notebook import stored
from dpo_book.quizzes import quiz
from dpo_book.worlds.tiny_summaries import tiny_summaries

setup(seed=0)

# %% [markdown]
# ## One post, four summaries
#
# A post tells of a problem in five or six sentences. Four of its facts are important, the rest is not. The quality of a summary is
# $r^*(x, y)$: 0.75 nats for every important fact it keeps, as much less for each it misses, 1 less for each it invents, 0.25 less for each
# side remark, 0.05 less for each word beyond five a kept fact. Four writers summarise the same post:

# %%
world = tiny_summaries()
posts = world.prompts  # 256 of them
many = world.tokenizer.batch_decode(world.draw_prompts(4000, seed=5))
post = posts[0]
print(post, "\n")
rows = {}
for writer in ("careful", "hasty", "chatty", "careless"):
    y = world.summary_by(writer, post)
    rows[writer] = [y.strip(), *world.account(post, y), world.reward(post, y)]
columns = ["summary", "kept", "missed", "invented", "side", "needless", "r*"]
pd.set_option("display.max_colwidth", None)
pd.DataFrame.from_dict(rows, orient="index", columns=columns).round(2)


# %% [markdown]
# Take the chatty one: three facts kept and one missed is $0.75 \cdot 2 = 1.5$; the weather was not sunny, $-1$; the city is a
# side remark, $-0.25$; 24 needless words, $-1.2$. Together $-0.95$.
#
# ## What a win rate is
#
# The **win rate** of $a$ against $b$ is the chance that $a$'s answer is better than $b$'s on a prompt by lot, a tie counting half:
# $\mathbb{E}[\mathbb{1}(r^*_a > r^*_b) + \frac12 \mathbb{1}(r^*_a = r^*_b)]$. Here we can have it as exactly as we like. Look at how far 256 posts are from 4,000.

# %%
def quality(writer, prompts):
    """r* of a writer's summary of every prompt: (P,) nats."""
    return torch.tensor([world.reward(x, world.summary_by(writer, x)) for x in prompts])


rows = {}
for a, b in (("careful", "chatty"), ("chatty", "hasty"), ("careless", "hasty")):
    wins, wins_of_many = (
        outcomes(quality(a, prompts), quality(b, prompts)) for prompts in (posts, many)
    )
    mean = (quality(a, many) - quality(b, many)).mean()
    rows[f"{a} against {b}"] = *win_rate_interval(wins), wins_of_many.mean(), mean
columns = ["256 posts", "low", "high", "4,000 posts", "mean difference of r*"]
rates = pd.DataFrame.from_dict(rows, orient="index", columns=columns).astype(float)
rates.round(3)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
held = (rates["low"] < rates["4,000 posts"]) & (rates["4,000 posts"] < rates["high"])
assert held.all()

# %% [markdown]
# A win rate says how *often* $a$ is better, not by how much: it is the share of prompts, and a summary that wins by one needless word
# wins as one that invents nothing. It is always against somebody, and it is not transitive by nature. All three measured intervals hold the value of 4,000 posts.
#
# ## An interval that holds
#
# The measured share $\hat p$ of $n$ comparisons has a standard deviation of $\sqrt{p(1-p)/n}$ around the true $p$. The **normal** interval puts $\hat p$
# in for $p$ under the root. **Wilson's** asks which $p$ are within $z$ of *their own* standard deviations:
#
# 1. $(\hat p - p)^2 \le z^2\, p(1-p)/n$: these are the $p$ that 95 % would not reject.
# 2. $(1 + \frac{z^2}{n})\,p^2 - (2 \hat p + \frac{z^2}{n})\,p + \hat p^2 \le 0$: multiply out, collect powers of $p$.
# 3. $p = \dfrac{\hat p + \frac{z^2}{2n} \pm z\sqrt{\frac{\hat p(1-\hat p)}{n} + \frac{z^2}{4n^2}}}{1 + \frac{z^2}{n}}$: the two roots of the
#    quadratic, which are the ends.
#
# We check that both ends solve step 1 with equality, for the paper's two counts.

# %%
z = 1.959964
for name, wins in (("DPO", 158), ("PPO", 146)):
    share = wins / 256
    interval, normal = share_interval(share, 256), normal_share_interval(share, 256)
    for end in interval[1:]:
        assert math.isclose((share - end) ** 2, z**2 * end * (1 - end) / 256)
    print(f"{name}: Wilson {interval}, normal {normal}")

# %% [markdown]
# Here the two hardly differ. They do where $n$ is small or $p$ is near 0 or 1. A 95 % interval should hold the truth in 95 % of all
# evaluations, whatever the truth is. With $n$ comparisons there are only $n + 1$ possible counts, so the **coverage** is a sum and needs no simulation:
# $\sum_k P(k \mid p)\, \mathbb{1}[p \text{ in the interval of } k]$.

# %%
known = torch.tensor([0.5, 0.57, 0.61, 0.9], dtype=torch.float64)
kinds = {"Wilson": share_interval, "normal": normal_share_interval}
rows = {}
for n in (50, 256):
    for name, kind in kinds.items():
        rows[f"{name}, n = {n}"] = exact_coverage(kind, known, n).tolist()
columns = [f"p = {p:g}" for p in known.tolist()]
covered = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
covered.map("{:.1%}".format)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
assert (covered.loc[["Wilson, n = 50", "Wilson, n = 256"]] > 0.93).all(axis=None)
assert covered.loc["normal, n = 50", "p = 0.9"] < 0.9

# %% [markdown]
# Now draw 1,000 evaluations of 50 comparisons at $p = 0.97$ and count. Add the **bootstrap**: it draws 50 of the measured outcomes with replacement, again
# and again, and takes the middle 95 % of their means. The last lines are an evaluation without a loss.

# %%
generator = torch.Generator().manual_seed(0)
often = torch.full((1000, 50), 0.97, dtype=torch.float64)
draws = torch.bernoulli(often, generator=generator)
by_bootstrap = partial(bootstrap_interval, resamples=300)
for name, kind in {"Wilson": win_rate_interval, "bootstrap": by_bootstrap}.items():
    print(f"{name}: {simulated_coverage(kind, draws, 0.97)} hold the truth")
for kind in (share_interval, normal_share_interval, bootstrap_share_interval):
    print(f"50 wins of 50, {kind.__name__}: {kind(1.0, 50)}")

# %% [markdown]
# The bootstrap fails as the normal interval does. Both take what was measured for the truth: at $\hat p = 1$ the root is 0, as if losing were impossible. Look at the figure:
# where does the normal interval hold least?

# %%
shares = torch.linspace(0.01, 0.99, 99, dtype=torch.float64)


def coverage_at(n):
    lines = {k: exact_coverage(kind, shares, n).numpy() for k, kind in kinds.items()}
    return plots.interval_coverage(shares, {f"n = {n}": lines})


coverage_at(50)

# %%
sizes = [10, 20, 50, 100, 256, 1000]
n = widgets.SelectionSlider(value=20, options=sizes, description="n")
widgets.slider_figure(coverage_at, n=n)

# %% [markdown]
# Near 0 and 1. At $n = 20$ and $p = 0.01$ it says "0, and nothing else" in $0.99^{20} = 82$ % of evaluations. Wilson's dips too, to 91 % at $n = 50$. Report Wilson's, also for a policy that never lost.
#
# Ties vary less than wins and losses: `win_rate_interval` is Wilson's with their variance. Means over seeds vary less, too; of those `rates_by`, below, makes as many comparisons as would vary so.
#
# ## How many comparisons does a claim need?
#
# Two rates $p_a, p_b$, each from $n$ comparisons of its own. To find the difference in 80 % of studies (the **power**), by a two-sided test at 5 %:
#
# 1. The test rejects where $|\hat p_a - \hat p_b| > z\,\sqrt{2 \bar p (1 - \bar p)/n}$, where $\bar p = (p_a + p_b)/2$ gives the error as if both were alike.
# 2. The measured difference has the mean $p_a - p_b$ and the variance $(p_a(1-p_a) + p_b(1-p_b))/n$: variances of independent shares add up.
# 3. It exceeds the limit in 80 % of cases if $p_a - p_b = z\sqrt{2\bar p(1-\bar p)/n} + 0.84\sqrt{(p_a(1-p_a) + p_b(1-p_b))/n}$: 80 % of a
#    normal distribution lie below 0.84 standard deviations.
# 4. $n = \dfrac{\big(z\sqrt{2 \bar p (1 - \bar p)} + 0.84 \sqrt{p_a(1-p_a) + p_b(1-p_b)}\big)^2}{(p_a - p_b)^2}$: solve for $n$. Half the difference takes four times as many.

# %%
needed = comparisons_to_tell(0.61, 0.57)
had = z_of_difference(158 / 256, 146 / 256, 256)
counts = torch.logspace(1.5, 4, 60).round().int().tolist()
power = [power_of_difference(0.61, 0.57, n) for n in counts]
marked = {n: power_of_difference(0.61, 0.57, n) for n in (256, needed)}
print(f"57 % against 61 %: {needed} comparisons a side; of the counts z = {had:.2f}")
plots.power_by_comparisons(counts, {"57 % against 61 %": power}, marked)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
assert needed == 2373 and 1.07 < had < 1.09 and 0.1 < marked[256] < 0.2

# %% [markdown]
# So prediction (1): 2,373 a side. With 256 such a difference is found in one of seven evaluations, and the paper's own is 1.08 standard errors: it does not show which of
# the two is better. (The counts were read off the figure by others: take them with "about". And the test is for separate prompts; where both answered the same ones, pairing is sharper, see below.) Nor does it show that they are alike: the difference lies between −4 and 13 points, with 95 %.
#
# ## Judges with habits
#
# Now forget $r^*$ and ask a judge. Ours prefers by Bradley–Terry, so its verdicts are noisy, and has two habits that language models were
# found to have: a taste for **what is shown first** and for **length**,
#
# $$p(\text{first wins}) = \sigma(\Delta r^* + \delta + \lambda\, \Delta\text{words}),$$
#
# Δ being the first less the second.
#
# It compares the careless writer's summaries with the hasty one's, $\delta = 0.7$ and $\lambda = 0.08$. Careless is always shown first. How often does it win?

# %%
from dpo_book.evaluation.judges import Shown, ask

some = many[:1000]
a, b = ([world.summary_by(w, x) for x in some] for w in ("careless", "hasty"))
comparisons = [Comparison(*texts) for texts in zip(some, a, b, strict=True)]
fair = SyntheticJudge(quality=world.reward, noise=1.0)
habits = {"position_bias": 0.7, "length_bias": 0.08}
judge = SyntheticJudge(quality=world.reward, noise=1.0, **habits)
first = [True] * len(comparisons)
judges = {"exact": exact_judge(world.reward), "fair": fair, "our": judge}
for name, asked in judges.items():
    said = ask(asked, comparisons, first)
    print(f"{name} judge: careless wins {judged_win_rate(said)}")

# %% [markdown]
# Careless is a little worse, 45.6 % on all 4,000 posts; the exact judge's interval holds that, and one half as well. The fair but noisy judge is nearer to one half: noise mostly pulls a win rate towards one half, and where wins are narrow and losses wide, beyond it. With both habits
# careless wins by far. A win rate is a statement about two policies *and* a judge.
#
# **A place.** Ask every comparison in both orders. What stands first wins too often by $\delta$, once $a$ and once $b$. The two verdicts on a comparison depend on each other, so
# they count as *one* outcome, their mean.

# %%
both = in_both_orders(judge, comparisons)
swaps = swap_test(*scores_in_both_orders(both))
print(f"careless wins, both orders {swaps.win_rate}")
print(f"the same verdict in both orders {swaps.consistent}")
print(f"verdicts for the first place, less one half {swaps.bias}, z = {swaps.z:.1f}")
print(f"the same in nats {swaps.bias_nats}")
for n in (30, 100):
    chance = swap_power(swaps.bias.value, swaps.consistent.value, n)
    print(f"chance that {n} comparisons find such a habit: {chance:.2f}")

# %% jupyter={"source_hidden": true} tags=["hide-input"]
assert swaps.bias_nats.low < 0.7 < swaps.bias_nats.high and chance > 0.5

# %% [markdown]
# So prediction (2) cannot be answered: from one order alone nobody knows how much of 60 % is the place. Both orders tell. Let $m$ be a comparison's margin. Both verdicts fall on the first place with the chance $\sigma(m + \delta)\,\sigma(\delta - m)$, both
# on the second with $\sigma(-m - \delta)\,\sigma(m - \delta)$. The ratio is $e^{2\delta}$, whatever $m$: $\sigma(x)/\sigma(-x) = e^x$, and $m$ cancels. Half the log of the measured ratio is 0.80 (0.65 to 0.95), and 0.7 was put in.
#
# Averaging balances the habit, it does not undo it: a strong one pulls the rate towards one half. A random order costs half as many questions and favours nobody on average, too. And inconsistency alone is no bias: MT-Bench found GPT-4 consistent in about 65 % of its
# pairs ([2306.05685](https://arxiv.org/abs/2306.05685)); a fair judge with this noise would agree with itself in 71 %.
#
# **Length.** Both orders do not help here: careless is longer in either. If verdicts follow $\sigma(w_0 + w_1 \Delta\text{words} + w_2\,\text{place})$, place being ±1, logistic regression finds the
# weights, and $\sigma(w_0)$ is the win rate at equal length and in no place.

# %%
extra = torch.tensor([len(c.a.split()) - len(c.b.split()) for c in comparisons])


def at_equal_length(judge):
    """The win rate of careless at equal length and in no place."""
    said = [verdict for pair in in_both_orders(judge, comparisons) for verdict in pair]
    wins = torch.tensor([verdict.outcome == "a" for verdict in said])
    a_first = torch.tensor([verdict.a_first for verdict in said])
    controlled = length_control(wins.double(), extra.repeat_interleave(2), a_first)
    return controlled.win_rate


by_ours, by_fair = at_equal_length(judge), at_equal_length(fair)
fairly = fair.first_probability(comparisons)  # (1000,)
print(f"careless is longer by {extra.double().mean():.1f} words")
print(f"at equal length careless wins {by_ours}, by the fair judge {by_fair}")
print(f"in all comparisons, by the fair judge: {fairly.mean():.4f}")

# %% jupyter={"source_hidden": true} tags=["hide-input"]
assert by_ours.low < by_fair.value < by_ours.high < fairly.mean()


# %% [markdown]
# Corrected, our judge says what the fair one says of summaries of equal length. It is *not* what the fair one says of all: some of the longer one's words are facts, and a fact is worth
# having. Length control takes out whatever goes with length, good or bad. It answers "would it win at equal length?", so report it beside the plain rate, not in its place; where lengths never meet, it extrapolates.
#
# ## How far can judges agree?
#
# People are noisy, too. Let $p$ be the chance that one of them says $a$. Two who do not know of each other say the same with the probability $s = \mathbb{E}[p^2 + (1-p)^2]$ on average. A judge who always
# says the likelier thing agrees with one of them in $\mathbb{E}[\max(p, 1-p)]$, and nobody in more.
#
# 1. $p^2 + (1-p)^2 = \frac12 + 2 (p - \frac12)^2$ and $\max(p, 1 - p) = \frac12 + |p - \frac12|$: write $p$ as $\frac12$ and a rest.
# 2. $(\mathbb{E}|p - \frac12|)^2 \le \mathbb{E}(p - \frac12)^2 = (s - \frac12)/2$: a variance is not negative.
# 3. So no judge agrees with one person in more than $\frac12 + \sqrt{(s - \frac12)/2}$.

# %%
def ceiling(s):
    return 0.5 + math.sqrt((s - 0.5) / 2)


s = expected_agreement(fairly, fairly)
best = best_agreement(fairly)
print(f"two fair judges agree in {s:.4f}; ceiling {ceiling(s):.4f}, best {best:.4f}")
for s in (0.65, 0.87):
    print(f"people who agree in {s:.2f}: a judge in at most {ceiling(s):.2f}")
assert best <= ceiling(expected_agreement(fairly, fairly))

# %% [markdown]
# The last two numbers are the paper's. In its human study two people agreed in 65 % of comparisons of DPO with PPO, and in 87 % of PPO with a worse policy. GPT-4 agreed with people in 67 % and about 85 %. So "GPT-4 agrees as
# much as people do" is true, and the ceiling may be higher: at most 77 % and 93 %. (At least it is what people agree in: who are sure of some pairs and toss coins on the rest cannot be agreed with more often.) Agreement depends on how far apart the two policies are, so compare agreements on the same comparisons only.
#
# ## You as a judge
#
# Judge yourself: sixty pairs of four-word film verdicts, chapter 03's world, chosen so that the answers tell most of your taste. Click, or use ←, → and ↓ ("as good"); ⌫ takes back. Fifteen pairs come again, swapped. Answers are kept in
# `my_taste/`, so you can stop and go on. At the end you read how far you agree with yourself, with the true reward of that world (VADER's), and what the first sets as ceiling for the second.

# %%
from dpo_book.worlds.questions import pairs_to_ask
from dpo_book.worlds.references import verdicts_reference
from dpo_book.worlds.verdicts import verdicts

films = verdicts()
with torch.no_grad():
    film_logp = films.logp(verdicts_reference())
asked = [Comparison(*pair) for pair in pairs_to_ask(films, film_logp, size=60)]
session = LabellingSession(asked, "my_taste/labels.jsonl", repeated_share=0.25)
widgets.Labelling(session, {"VADER": exact_judge(films.reward)})

# %%
if session.answered:
    count = session.write_preferences("my_taste/preferences.jsonl")
    print(f"{count} preferences of yours in my_taste/preferences.jsonl")
else:
    print("no answer yet: label some pairs above, then run this cell")

# %% [markdown]
# Chapter 12 trains a GPT-2 on that file. Texts of your own are labelled the same way, in a notebook or at the terminal: `python -m dpo_book label --data my_pairs.jsonl --out labelled`.
#
# ## Summaries, dialogues, temperatures
#
# Now policies. A second small world has dialogues: people ask how something is done, for advice, about places in one town, or for help with a little mischief, and the quality counts what is right, wrong, evasive, needless and harmful.
# Its reference is a GPT-2 of two layers that imitates helpful and less helpful people. First a small run, live: 1,200 prompts with two of the reference's answers each, compared by Bradley–Terry with $r^*$ (two equal answers make no pair), then DPO at β = 0.1. (The first run trains the reference, too, a minute or two.)

# %%
dialogues = ARENAS["tiny-dialogues"]()
pairs, _ = dialogues.comparisons(1200, seed=7)
policy = copy_policy(dialogues.reference)
config = DPOConfig(beta=0.1, learning_rate=2e-4, batch_size=32, steps=120)
log = list(train_dpo(policy, dialogues.reference, pairs, config))
print(f"{len(pairs)} pairs; margin from 0 to ≈ {log[-1]['rewards/margins']:.2f} nats")

# %% tags=["nbval-ignore-output"]
chosen = written_answers(dialogues)
print(dialogues.world.prompts[1])
live = {}
for name, model, seed in (("sft", dialogues.reference, 1), ("dpo", policy, 11)):
    live[name] = {}
    for said in sampled_answers(dialogues, model, (0.0, 0.5, 1.0), seed):
        wins = outcomes(said.qualities, chosen.qualities)
        live[name][said.temperature] = win_rate_interval(wins)
        print(f"{name}, temperature {said.temperature:g}:{said.texts[1]}")
win_rate_figures.win_rates_of_methods({"against the chosen answers, one seed": live})

# %% jupyter={"source_hidden": true} tags=["hide-input"]
assert live["dpo"][0.0].low > 0.6 and live["sft"][0.0].high < 0.6
assert live["dpo"][1.0].value < live["dpo"][0.0].value - 0.1

# %% [markdown]
# DPO beats the chosen answers, SFT does not. Read the answers, too: SFT stops before the last step, DPO says it; at temperature 1 this one loses the thread.
#
# Now the whole contest, stored: five methods, five temperatures, three seeds (`python -m tools.by_temperature`), in these two worlds and in that of the film reviews (chapter 09). Every comparison is decided by $r^*$; no judge is asked.
#
# - DPO has β = 0.1. PPO has the same β and a reward model fitted to the same comparisons; best-of-16 picks by that model. Preferred-FT imitates the chosen.
# - DPO's and PPO's learning rates are the best of the same four.
# - The opponent is what the world's writers wrote: how the review really went on; a reference summary, better than the corpus and not perfect; a chosen answer, the better of two by Bradley–Terry.

# %%
answers = read_answers(stored("by-temperature.csv"))  # a row: 256 answers, their r*
finished = answers[answers["last"]]


def rows_of(world, method):
    return finished[(finished["world"] == world) & (finished["method"] == method)]


methods = ("sft", "preferred-ft", "dpo", "ppo", "best-of-n")
panels = {"reviews": {}, "summaries": {}, "dialogues": {}}
for name in panels:
    people = rows_of(f"tiny-{name}", PEOPLE)
    for method in methods:
        rows = rows_of(f"tiny-{name}", method)
        panels[name][method] = rates_by("temperature", rows, people)
win_rate_figures.win_rates_of_methods(panels)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
said_on_the_page = {
    ("summaries", "dpo"): {0.0: 0.76, 1.0: 0.55},
    ("summaries", "ppo"): {0.0: 0.79, 1.0: 0.49},
    ("summaries", "best-of-n"): {0.5: 0.75},
    ("dialogues", "dpo"): {0.0: 0.85, 1.0: 0.65},
    ("dialogues", "best-of-n"): {0.5: 0.79},
    ("dialogues", "ppo"): {0.0: 0.92, 1.0: 0.67},
    ("reviews", "dpo"): {0.0: 0.94},
    ("reviews", "ppo"): {0.0: 0.87},
}
for (name, method), rates in said_on_the_page.items():
    for t, rate in rates.items():
        assert abs(panels[name][method][t].value - rate) < 0.0051, (name, method, t)
for name in panels:
    by_t = {t: rate.value for t, rate in panels[name]["best-of-n"].items()}
    assert max(by_t, key=by_t.get) == 0.5
    assert by_t[0.0] == panels[name]["sft"][0.0].value


def gap(name, method, other):
    """By how much a method's win rate is above another's, by temperature."""
    ours, theirs = panels[name][method], panels[name][other]
    return {t: ours[t].value - theirs[t].value for t in ours}


gained = gap("reviews", "preferred-ft", "sft").values()
assert min(gained) > 0.065 and max(gained) < 0.32
gained = gap("dialogues", "preferred-ft", "sft").values()
assert min(gained) > 0.07 and max(gained) < 0.175
gained = gap("summaries", "preferred-ft", "sft")
assert all(abs(gained[t]) < 0.025 for t in (0.0, 0.25, 0.5)) and gained[1.0] > 0.07
assert max(gap("reviews", "ppo", "dpo").values()) < -0.04
ahead = gap("dialogues", "ppo", "dpo")
assert all(0.06 < ahead[t] < 0.075 for t in (0.0, 0.25, 0.5, 0.75))
ahead = gap("summaries", "ppo", "dpo")
assert all(0.02 < ahead[t] < 0.035 for t in (0.0, 0.25, 0.5)) and ahead[1.0] < -0.065
ppo_at_1 = rows_of("tiny-summaries", "ppo")
ppo_at_1 = ppo_at_1[ppo_at_1["temperature"] == 1.0]["qualities"]
human = rows_of("tiny-summaries", PEOPLE)["qualities"].iloc[0]
spread = sorted(round(outcomes(q, human).mean().item(), 2) for q in ppo_at_1)
assert (spread[0], spread[-1]) == (0.42, 0.54)

# %% [markdown]
# So prediction (3): in dialogues DPO still wins 65 % at temperature 1, after 85 % at 0; in summaries 55 %, after 76 %.
#
# - **Best-of-16 *needs* temperature**, for at 0 its answers are all the same. It is at its best in the middle.
# - **Preferred-FT** gains 7 to 31 points on SFT in reviews and 8 to 17 in dialogues; in summaries hardly any below temperature ¾.
# - **PPO or DPO?** In reviews DPO is ahead everywhere (94 against 87 % at 0). In dialogues PPO is (92 against 85 % at 0, 67 against 65 % at 1). In summaries PPO is ahead by 2 to 3 points up to ½, in two seeds of three at 0, and at 1 DPO by 7.
#
# The intervals cover the draw of prompts, not that of seeds: PPO's three summarisers win 42, 49 and 54 % at temperature 1.
#
# | | the paper, about, as read off its figures | here |
# |---|---|---|
# | summaries at 0: DPO, PPO | 61 %, 57 % | 76 %, 79 % |
# | best of n, at its best | 57 % at ½ (n = 128) | 75 % at ½ (n = 16) |
# | dialogues: DPO at its best | 63 % at 1 | 85 % at 0 |
# | best of n, at its best | 61 % at 1 (n = 128) | 79 % at ½ (n = 16) |
#
# Compare the forms, not the sizes: other policies, opponents and judges. As in the paper, DPO's summaries lose less by temperature than PPO's. Two forms differ: there DPO leads on summaries at 0, and its dialogues are best at 1.
#
# Below, DPO against SFT at the same temperature, and against the chosen answers *over training*.

# %%
against_sft = {}
for name in panels:
    ours, theirs = (rows_of(f"tiny-{name}", method) for method in ("dpo", "sft"))
    for t, (p, low, high) in rates_by("temperature", ours, theirs).items():
        said = f"{p:.2f} ({low:.2f} to {high:.2f})"
        against_sft.setdefault(name, {})[t] = said
display(pd.DataFrame(against_sft).rename_axis("temperature"))

people, curves = rows_of("tiny-dialogues", PEOPLE), {}
of_dpo = answers[(answers["world"] == "tiny-dialogues") & (answers["method"] == "dpo")]
for t in (0.75, 1.0):
    at_t = of_dpo[of_dpo["temperature"] == t]
    curves[f"temperature {t:g}"] = rates_by("step", at_t, people)
win_rate_figures.win_rates_over_training(curves)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
for by_step in curves.values():
    rates = {step: rate.value for step, rate in by_step.items()}
    assert rates[10] < rates[25] < rates[50] < rates[100]
    assert max(abs(rates[step] - rates[100]) for step in (150, 200)) < 0.03


# %% [markdown]
# Against SFT DPO wins everywhere, whether both speak at their likeliest or by lot. Over training the win rate rises for 100 steps of 64 pairs and then stays: in the paper's Figure 3, as others have read it, a level is reached early, too.
#
# ## More than two, and the same prompts
#
# DPO and PPO answered the same prompts. A prompt whose chosen answer is poor is easy for both, and that drops out of the difference prompt by prompt, the **paired** one:

# %%
def met(method, temperature=0.5):
    """Outcomes against the chosen answers, (256,), the mean over seeds."""
    rows = rows_of("tiny-dialogues", method)
    qualities = rows.loc[rows["temperature"] == temperature, "qualities"]
    theirs = people["qualities"].iloc[0]
    return torch.stack([outcomes(ours, theirs) for ours in qualities]).mean(dim=0)


ours, theirs = met("dpo"), met("ppo")
correlation = torch.corrcoef(torch.stack([ours, theirs]))[0, 1]
unpaired, paired = unpaired_difference(ours, theirs), paired_difference(ours, theirs)
saved = (unpaired.standard_error / paired.standard_error) ** 2
for name, (mean, error) in {"unpaired": unpaired, "paired": paired}.items():
    print(f"DPO less PPO, {name}: {mean:.3f}, standard error {error:.4f}")
print(f"correlation {correlation:.2f}: a pair tells as much as {saved:.1f} unpaired")

# %% [markdown]
# The same difference, with less error, for nothing: about $1/(1 - \text{correlation})$ unpaired comparisons a pair. Always keep the outcomes by prompt. Whoever compares more than two lets all meet all, and fits Bradley–Terry to the wins (chapter 01), with models as items. `goodness_of_fit` asks whether one scale can say it at all. Below the five, at temperature ½,
# and three made-up models of which each wins 70 of 100 against the next, in a circle. (The intervals take all comparisons as independent. Here prompts come again, which they and the test of fit ignore.)

# %%
groups = []
for method in methods:
    rows = rows_of("tiny-dialogues", method)
    groups.append(rows[rows["temperature"] == 0.5])
wins = wins_between(groups)
circle = torch.tensor([[0.0, 70, 30], [30, 0, 70], [70, 30, 0]])
for name, counted in {"the five": wins, "the circle": circle}.items():
    print(f"{name} fit one scale: p = {goodness_of_fit(counted).p_value:.4f}")
print("rewards in the circle:", leaderboard(circle).rewards.tolist())
found = dict(zip(methods, leaderboard(wins).intervals()))
pd.DataFrame.from_dict(found, orient="index", columns=["nats", "low", "high"]).round(2)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
assert goodness_of_fit(wins).p_value > 0.05 > goodness_of_fit(circle).p_value
assert leaderboard(circle).rewards.abs().max() < 1e-6

# %% [markdown]
# One number a model says all of the five's ten win rates, as far as these can tell. It says nothing of the circle: three equal rewards, where every single comparison is clear. Before you print a ranking, ask whether there is one.
#
# ## A language model as a judge
#
# In the paper GPT-4 judged. `python -m dpo_book judge` asks any endpoint that speaks OpenAI's protocol, in both orders, at several temperatures:
#
# ```
# python -m dpo_book judge --policy trained/model \
#     --data tldr --instruction concise --max-cost 5 \
#     --endpoint https://... --judge-model NAME --out judged
# ```
#
# With `--data hh --instruction dialogue` it is the paper's other experiment. Every verdict is stored as it comes, so a run that was killed asks nothing twice; the key comes from the environment and stands in no file. The judge is
# asked for reasons first and for a verdict in one of three forms. What has none of them is "unparsable", and counted as such: nobody guesses. Below is all that it is shown, in our words after the paper's concise prompt.

# %%
from dpo_book.evaluation.instructions import CONCISE, message, read_answer

print(message(CONCISE, Shown(*comparisons[0])))
for reply in ("The first invents a price.\nVerdict: 2", "Hard to say: 1 or 2."):
    print(read_answer(reply).place)


# %% [markdown]
# ## What could go wrong
#
# - **One judge.** Another may rank otherwise, and models favour what they wrote themselves ([2404.13076](https://arxiv.org/abs/2404.13076)). Ask a judge of another family, and people for some hundred pairs.
# - **The judge was trained on.** If the reward model that PPO climbed is also the judge, the win rate is part of what was maximised (chapter 02).
# - **The best of five temperatures** is partly the luckiest. Choose it on other prompts.
# - **Prompts that were seen.** Our small town has 2,688 requests, and the corpus holds nearly all. Real evaluations need prompts that nobody trained on.
# - **A weak opponent.** Against poor answers everybody wins, and differences vanish near 100 %.
#
# ## Exercises
#
# Replace the line that raises an error, run the cell, then run the check below it.

# %% [markdown]
# ### Exercise · wilson
#
# Difficulty ★☆☆ · importance ●●● · 7 minutes
#
# Wilson's 95 % interval of a share $p$ of wins among $n$, with $z = 1.96$:
#
# $$\frac{p + \frac{z^2}{2n} \pm z \sqrt{\frac{p(1-p)}{n} + \frac{z^2}{4n^2}}}{1 + \frac{z^2}{n}}$$
#
# `wins` holds several counts, each out of the same `n`, shape (B,), as floating-point or whole numbers; 0 and `n` are
# among them. Return both ends, `low, high`, each of shape (B,).

# %%
def wilson(wins, n):
    """Counts (B,) out of n → low and high ends of Wilson's interval, (B,) each."""
    # YOUR CODE HERE
    raise NotImplementedError()


# %%
check_wilson(wilson)


# %% [markdown]
# ### Exercise · comparisons_needed
#
# Difficulty ★★☆ · importance ●●○ · 8 minutes
#
# Two policies have the true win rates `p_a` and `p_b` against one opponent, shape (B,) for B such questions. How many
# comparisons a side, on different prompts, tell the rates apart with a power of 80 %, two-sided at 5 %? Two
# distances have to fit between them: 1.96 standard errors of a difference between equal rates, both
# $\bar p = (p_a + p_b)/2$, and 0.8416 standard errors of the difference between the rates as they are. Solve for n.
# Return it as it comes, shape (B,), not rounded: 2372.15 for 0.57 and 0.61, so a study needs 2,373.

# %%
def comparisons_needed(p_a, p_b):
    """True win rates (B,), (B,) → comparisons a side, (B,), not rounded."""
    # YOUR CODE HERE
    raise NotImplementedError()


# %%
check_comparisons_needed(comparisons_needed)


# %% [markdown]
# ### Exercise · both_orders
#
# Difficulty ★★☆ · importance ●●● · 8 minutes
#
# The same n comparisons were judged twice, with a shown first and with a shown second. `shown_first` and
# `shown_second`, shape (n,), hold what *a* got each time: 1 for a win, 0 for a loss, 0.5 for a tie. Return three
# numbers: a's win rate, the mean of all verdicts; its standard error, from the variance of a sample, with n − 1; and
# the position bias, the share of all verdicts for what was shown first, a tie half, minus one half. Ask yourself
# first what is independent of what.

# %%
def both_orders(shown_first, shown_second):
    """What a got in either order, (n,) each → win rate, its error, position bias."""
    # YOUR CODE HERE
    raise NotImplementedError()


# %%
check_both_orders(both_orders)


# %% [markdown]
# ### Exercise · length_controlled_loss
#
# Difficulty ★★★ · importance ●●○ · 12 minutes
#
# Let a win with probability $\sigma(\theta + \lambda w)$ when its answer has $w$ words more than b's. At equal length
# it then wins with $\sigma(\theta)$, so fit θ and λ to verdicts, and you have a length-controlled win rate. `theta`
# and `lam` are tensors of shape (), `outcome` holds 1, 0 or 0.5, and `extra_words` holds $w$, both of shape (n,).
# Return every verdict's negative log-likelihood, shape (n,), a tie counting as half a win and half a loss. It must
# survive margins of ±1000, and carry gradients to θ and λ.

# %%
def length_controlled_loss(theta, lam, outcome, extra_words):
    """θ, λ a word, what a got (n,), how many words more it has (n,) → losses (n,)."""
    # YOUR CODE HERE
    raise NotImplementedError()


# %%
check_length_controlled_loss(length_controlled_loss)

# %% [markdown]
# ## Quiz

# %%
quiz("10", 1)

# %%
quiz("10", 2)

# %%
quiz("10", 3)

# %%
quiz("10", 4)

# %% [markdown]
# ## Recap
#
# | symbol | in code | shape | source |
# |---|---|---|---|
# | win rate | `outcomes`, `win_rate_interval(outcomes)` | (P,) → interval | – |
# | Wilson's interval | `share_interval(share, n)` | – | Wilson 1927 |
# | coverage | `exact_coverage(interval, shares, n)` | (S,) | – |
# | $n$ for a claim | `comparisons_to_tell(p_a, p_b)` | – | above |
# | a judge | shown texts → answers; `in_both_orders`, `in_random_order` | – | – |
# | $\delta$ | `swap_test(shown_first, shown_second)` | (n,) each | above |
# | $\sigma(w_0)$ | `length_control(wins, extra_length, a_is_first)` | (n,) each | after 2404.04475 |
# | agreement, κ, ceiling | `agreement`, `cohen_kappa`, `best_agreement` | (n,) | Cohen 1960 |
# | more than two | `leaderboard(wins)`, `goodness_of_fit(wins)` | (n, n) | eq. 1 |
#
# Next: chapter 11 has what came after DPO.
