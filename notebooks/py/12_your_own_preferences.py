# %% [markdown]
# # 12 · How do I run it on my own preferences?
#
# You have a file with a prompt, a chosen and a rejected response in every line, and a language model. Which numbers do
# you look at, in which order, and what do you decide by them? This page goes the whole way on a CPU, from a file to a
# policy that was chosen by a rule, and says at each step what changes for `gpt2`. Last, it trains a model on
# your own taste.
#
# **Write down a prediction first.** (a) A model that never stops is trained by DPO on responses that all stop. Does it
# learn to stop? (b) A run sees every pair once. Is its training loss lower than its loss on pairs that nobody trained on?
# And if it sees every pair eight times? (c) Your raters like long responses a little. Do the policy's own get longer?
#
# | after this chapter you can | |
# |---|---|
# | find what is wrong with a file before it is trained on | 10&nbsp;min |
# | say what a template, EOS and `max_length` make of a row | 10&nbsp;min |
# | decide whether SFT comes first, and choose β and learning rate by a rule | 10&nbsp;min |
# | read a log, stop in time, and keep length in check | 10&nbsp;min |
# | write those looks and that rule yourself, and diagnose three broken logs | 35&nbsp;min |
#
# You need chapters 06 (the loss) and 07 (its curves, and where pairs come from). Symbols as there.

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
import json
import math
import random

import pandas as pd
import torch

from dpo_book import *
from dpo_book import plots, widgets
from dpo_book.checks.own_preferences import (
    check_choose,
    check_diagnosis,
    check_leaked_prompts,
    check_longer_share,
)
from dpo_book.quizzes import quiz

setup(seed=0)

# %% [markdown]
# ## A file
#
# Ours is made here, so that we know what is in it: short film reviews (the open world of chapter 09). Two that begin
# alike are one prompt with two responses. A rater compares them by equation 1, with a reward $r$ of two parts: the true
# reward $r^*$, VADER's opinion between −2 and 2, and a weakness, 0.1 nats for every word.
#
# Files have faults. Two go in on purpose: 60 lines exported twice, and 40 pairs asked again and answered the other way
# round. From the second cell's end on we know nothing but the file.

# %%
from dpo_book.worlds.tiny_reviews import tiny_reviews

world = tiny_reviews()
tokenizer = world.tokenizer
rng = random.Random(0)
answers = {}
for x, y in world.corpus(6000, seed=3):
    answers.setdefault(x, []).append(y)
couples = [(x, *two) for x, ys in answers.items() for two in zip(ys[::2], ys[1::2])]


def rated(x, a, b):
    """One line of the file: who wins is a coin with the probability of equation 1."""
    more_words = len(a.split()) - len(b.split())
    margin = world.reward(x, a) - world.reward(x, b) + 0.1 * more_words
    a_wins = rng.random() < 1 / (1 + math.exp(-margin))
    return {"prompt": x, "chosen": a if a_wins else b, "rejected": b if a_wins else a}


# %%
import tempfile
from pathlib import Path

rows = [rated(*couple) for couple in couples]
again = rng.sample(rows, 40)
rows += rng.sample(rows, 60)
rows += [row | {"chosen": row["rejected"], "rejected": row["chosen"]} for row in again]
rng.shuffle(rows)
folder = tempfile.TemporaryDirectory()


def written(name, rows):
    """The path of a file that has a row a line."""
    path = Path(folder.name) / name
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


path = written("my_pairs.jsonl", rows)
print(json.dumps(rows[0], indent=1))

# %% [markdown]
# The package reads it, and says what it did not like. For your own file, `load_preferences("my_pairs.jsonl")` is all of
# this cell; a CSV, Parquet or a name on the hub works as well.

# %%
import warnings
from textwrap import fill


def told(function, *arguments, **settings):
    """Call it; print its warnings and refusal, without the temporary folder's name."""
    result, where, said = None, str(path.parent / "_")[:-1], []
    with warnings.catch_warnings(record=True, action="always") as caught:
        try:
            result = function(*arguments, **settings)
        except ValueError as error:
            said.append(f"{type(error).__name__}: {error}")
    for message in [*said, *(str(warning.message) for warning in caught)]:
        print(fill(message.replace(where, "")))
    return result


preferences = told(load_preferences, path)
print(f"{len(rows)} lines, {len(preferences)} preferences")

# %% [markdown]
# ## Look at the data first
#
# Count before you train. First rows that are there twice, and pairs that have both labels:

# %%
winners_of, repeated = {}, 0
for p in preferences:
    winners = winners_of.setdefault((p.prompt, *sorted((p.chosen, p.rejected))), set())
    repeated += p.chosen in winners
    winners.add(p.chosen)
clean = []
for (x, a, b), winners in winners_of.items():
    chosen, rejected = (a, b) if a in winners else (b, a)
    clean.append(Preference(x, chosen, rejected, chosen_probability=1 / len(winners)))
both = sum(p.chosen_probability == 0.5 for p in clean)
print(f"repeated rows: {repeated}, pairs with both labels: {both}, left: {len(clean)}")
assert repeated + both + len(clean) == len(preferences)

# %% [markdown]
# A repeated row is one opinion that counts twice: out with it (unless rows are votes: then their share is the label). Two
# contrary answers are what a coin does: together the soft label 1/2 (chapter 07), and `chosen_probability` in a row says
# so. Thrown out, they would leave the labels surer than the raters were. (If *most* pairs have both labels, two columns
# were swapped somewhere.)
#
# Now **length**, the bias that most files have. How often is the chosen one longer, ties counting half, and how strongly
# does the label go with the difference? With a fair label, its correlation is zero.

# %%
from dpo_book.maths.estimates import estimate, share_interval


def tokens_of(text):
    return len(tokenizer(text).input_ids)


def length_bias(pairs):
    """Share in which the chosen is longer, its 95 % interval, and a correlation."""
    more = [tokens_of(p.chosen) - tokens_of(p.rejected) for p in pairs]
    more = torch.tensor(more, dtype=torch.float64)
    longer = share_interval(float((more.sign() + 1).mean() / 2), len(more))
    # Every pair both ways round, as (more, 1) and (−more, −1): both means are then 0.
    correlation = float(more.mean() / more.square().mean().sqrt())
    return {"chosen is longer": longer, "correlation": round(correlation, 3)}


sure = [p for p in clean if p.chosen_probability == 1]
same = sum(p.chosen.split()[0] == p.rejected.split()[0] for p in sure) / len(sure)
pd.Series(length_bias(sure) | {"same first word": round(same, 3)}).map(str).to_frame("")

# %% jupyter={"source_hidden": true} tags=["hide-input"]
assert length_bias(sure)["chosen is longer"].low > 0.5
assert 0.1 < length_bias(sure)["correlation"] < 0.4 and 0.4 < same < 0.6


# %% [markdown]
# The interval leaves out 1/2: these raters pay for length. Below we see what that does. The last line counts shared
# openings, which are in both log-probabilities and cancel in the margin: such pairs teach from where they part.
#
# **Split by prompt, not by row.** Held-out pairs have to be about prompts that training never saw. How many are, if rows
# are split by lot?

# %%
def in_three(items):
    """60, 20 and 20 % of them, by lot."""
    order = random.Random(1).sample(items, len(items))
    a, b = int(0.6 * len(order)), int(0.8 * len(order))
    return order[:a], order[a:b], order[b:]


train_rows, held_rows, _ = in_three(clean)
known = {p.prompt for p in train_rows}
leaked = sum(p.prompt in known for p in held_rows) / len(held_rows)
print(f"split by row: {leaked:.2f} of the held-out rows have a prompt of training")
parts = in_three(sorted({p.prompt for p in clean}))
training, held, final = ([p for p in clean if p.prompt in part] for part in parts)
print("by prompt, to train, choose and report:", *map(len, (training, held, final)))

# %% [markdown]
# Three parts, because whatever you *choose by* is used up: the best of six runs on the held-out pairs is partly the
# luckiest. The last part is looked at once, at the end. (At the terminal `--eval-share` holds rows out by prompt.)
#
# ## Templates, EOS, truncation
#
# Training reads token ids: a row of text is prompt, response and the tokenizer's EOS. A conversational row goes through the
# tokenizer's **chat template**, a small program that writes messages as one text. Look at where the prompt ends and at the
# last token:

# %%
TURNS = "{% for m in messages %}{{ m.role + ': ' + m.content + eos_token }}{% endfor %}"
OPEN = "{% if add_generation_prompt %}assistant:{% endif %}"
talk = Preference(
    [{"role": "user", "content": "How was it?"}],
    [{"role": "assistant", "content": "It is a joy."}],
    [{"role": "assistant", "content": "It is a mess."}],
)
for template in (TURNS + OPEN, TURNS + OPEN.replace("assistant:", "assistant: ")):
    tokenizer.chat_template = template
    (pair,) = told(tokenize_pairs, [talk], tokenizer)
    for part in (pair.prompt, pair.chosen):
        print(repr(tokenizer.decode(part)))
tokenizer.chat_template = None
assert pair.chosen[-1] == tokenizer.eos_token_id

# %% [markdown]
# The second template ends its prompt with a space. A byte-level tokenizer puts a space into the word that follows it, so
# the prompt alone has a token that the whole text has not. The package warns, and begins the completion where the two
# part. Use the template that your model was trained with. An instruct model brings it along; for `gpt2`,
# messages become lines `role: content`. Keep EOS a token of its own: where padding and EOS are masked as one, nobody
# learns to stop. (This book masks by position, so they may be the same id.)
#
# **`max_length`** cuts a completion at its end, and what is cut gets no EOS. Below it are three things that the package
# says. First, pairs that differ only behind the cut are dropped: their margin is 0 whatever the policy is, so the loss is
# $\ln 2$ and its gradient zero. (A trainer that keeps them holds the loss up.) Then a prompt that fills everything:
# prompts are never cut. Last a column that would not be read. And move the cut: from where on is every pair whole? For
# `gpt2` the most is 1,024, and memory grows with what you allow.

# %%
longest = max(clean, key=lambda p: tokens_of(p.chosen))
for max_length in (64, 14):
    (pair,) = tokenize_pairs([longest], tokenizer, max_length=max_length)
    print(f"{max_length}: ... {tokenizer.decode(pair.chosen[-6:])!r}\n")

told(tokenize_pairs, clean, tokenizer, max_length=8, drop_long=True)
print()
told(tokenize_pairs, clean, tokenizer, max_length=6)
print()
unread = {"system": "Be brief.", "prompt": "It", "chosen": " sags.", "rejected": " is."}
told(load_preferences, written("system.jsonl", [unread]))

# %% jupyter={"source_hidden": true} tags=["hide-input"]
assert pair.chosen[-1] != tokenizer.eos_token_id
model = build_policy("mini", tokenizer)
ids = tokenizer("The plot is dull.").input_ids
logps = sequence_logp(model, collate([ids[:2]] * 2, [ids[2:]] * 2))  # chosen = rejected
loss, *_ = dpo_loss(logps[:1], logps[1:], torch.zeros(1), torch.zeros(1), beta=0.1)
loss.sum().backward()
steepest = max(p.grad.abs().max() for p in model.parameters() if p.grad is not None)
assert abs(loss.item() - math.log(2)) < 1e-6 and steepest < 1e-7

# %%
from functools import partial


def fate(pair, max_length):
    """What a cut makes of a pair. 64 tokens have room for all."""
    room = max_length - len(pair.prompt)
    if room < 1:
        return "no room"
    if pair.chosen[:room] == pair.rejected[:room]:
        return "the same"
    return "whole" if max(len(pair.chosen), len(pair.rejected)) <= room else "cut"


pairs = tokenize_pairs(clean, tokenizer, max_length=64)
fates = {n: pd.Series([fate(pair, n) for pair in pairs]) for n in range(2, 41)}
shares = pd.DataFrame({n: f.value_counts(normalize=True) for n, f in fates.items()})
cut = widgets.IntSlider(value=14, min=2, max=40, description="max_length")
widgets.slider_figure(partial(plots.cut_pairs, shares.T.fillna(0)), max_length=cut)

# %% [markdown]
# ## SFT on the chosen first, or not?
#
# Now a model. It stands for `gpt2`: it has read much of the right language and never an end. Here that is a stream of other
# reviews without EOS, in rows of 48 tokens, and a GPT-2 of two layers. With the real one the first cell is
# `raw, tokenizer = load_policy("gpt2")`. In the second, SFT (supervised fine-tuning) on the chosen makes another model of it.
# Both are then starting points, and references, for the same DPO.

# %%
from transformers import GPT2Config, GPT2LMHeadModel

texts = " ".join(x + y for x, y in world.corpus(8000, seed=4))
stream = tokenizer(texts).input_ids
start = [tokenizer.bos_token_id]
read = [(start, stream[i : i + 47]) for i in range(0, len(stream) - 47, 47)]
small = {"n_layer": 2, "n_head": 4, "n_embd": 64, "n_positions": 64}
off = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
ends = {"bos_token_id": start[0], "eos_token_id": start[0], "pad_token_id": start[0]}
config = GPT2Config(vocab_size=len(tokenizer), **small, **off, **ends)
raw = GPT2LMHeadModel(config).eval()
settings = SFTConfig(learning_rate=4e-3, batch_size=16, steps=320)
log = list(train_sft(raw, read, settings))
print(f"loss from ≈ {log[0]['loss']:.1f} to ≈ {log[-1]['loss']:.1f} nats a token")
assert log[-1]["loss"] < 2.2

# %%
by_part = (training, held, final)
train, tune, test = (tokenize_pairs(part, tokenizer, 64) for part in by_part)
examples = [(pair.prompt, pair.chosen) for pair in train]
sft, config = copy_policy(raw), SFTConfig(learning_rate=1e-3, batch_size=16, steps=130)
for _ in train_sft(sft, examples, config):
    pass


def preferred(reference, beta=0.1, rate=3e-4, pairs=train, known=None, steps=36):
    """A copy of the reference after DPO, and the run's records."""
    policy = copy_policy(reference)
    config = DPOConfig(beta=beta, learning_rate=rate, batch_size=32, steps=steps)
    return policy, list(train_dpo(policy, reference, pairs, config, known))


dpo_on_raw, _ = preferred(raw)
dpo_on_sft, first_log = preferred(sft)

# %% [markdown]
# What to measure: loss and accuracy on held-out pairs, which need no samples; and on fresh samples the KL from the
# reference, length, and how many stop. The last column only a world like this can have: the true reward.
#
# Prompts are unlike each other, but two policies answer the *same* ones. A **paired** comparison goes prompt by prompt: the
# mean of the differences, with *their* standard error. The second table has it, for what DPO changed.

# %%
from dpo_book.models.scoring import score_pairs


def on_pairs(policy, beta, pairs, ref_logps):
    """Loss of every pair, accuracy, mean margin. ref_logps: (B,) twice."""
    scores = (*score_pairs(policy, pairs), *ref_logps)
    label = torch.tensor([pair.chosen_probability for pair in pairs])
    losses, chosen, rejected = soft_dpo_loss(*scores, beta, label)
    margins = chosen - rejected
    accuracy = float((margins.sign() + 1).mean() / 2)
    return losses, accuracy, margins.mean().item()


# %%
from dpo_book.models.sampling import sample_ids


@torch.no_grad()
def on_samples(policy, reference, n=100):
    """A row a prompt: of its sample the log-ratio (its mean is the KL), tokens, ..."""
    asked = [pair.prompt for pair in tune[:n]]
    drawn = sample_ids(policy, asked, max_new_tokens=40, seed=1)
    batch = collate(asked, drawn)
    kl = sequence_logp(policy, batch) - sequence_logp(reference, batch)
    rows = {"KL": kl, "tokens": [len(y) for y in drawn]}
    rows["stop"] = [y[-1] == tokenizer.eos_token_id for y in drawn]
    return pd.DataFrame(rows | {"reward": world.rewards_of(asked, drawn)}).astype(float)


def with_error(values):
    """Mean ± standard error."""
    return str(estimate(torch.tensor(values.to_numpy())))


# %% tags=["nbval-ignore-output"]
table, samples, changed = {}, {}, {}
four = {"raw": (raw, raw), "raw, then DPO": (dpo_on_raw, raw)}
four |= {"SFT": (sft, sft), "SFT, then DPO": (dpo_on_sft, sft)}
for name, (policy, reference) in four.items():
    losses, accuracy, _ = on_pairs(policy, 0.1, tune, score_pairs(reference, tune))
    samples[name] = on_samples(policy, reference)
    seen = {"held-out loss": losses.mean().item(), "accuracy": accuracy}
    table[name] = seen | samples[name].mean().to_dict()
for start in ("raw", "SFT"):
    change = samples[f"{start}, then DPO"] - samples[start]  # prompt by prompt
    changed[f"DPO on {start}"] = change.apply(with_error)
print("95 % interval of the last accuracy: ≈", share_interval(accuracy, len(tune)))
display(pd.DataFrame(table).T.round(3))
pd.DataFrame(changed).T

# %% jupyter={"source_hidden": true} tags=["hide-input"]
assert table["raw"]["stop"] < 0.05 and table["raw, then DPO"]["stop"] < 0.05
assert table["SFT"]["stop"] > 0.85 and table["SFT, then DPO"]["stop"] > 0.5
assert table["SFT, then DPO"]["stop"] < table["SFT"]["stop"] - 0.05
assert table["SFT, then DPO"]["tokens"] > table["SFT"]["tokens"] + 3
of_sft = score_pairs(sft, tune)
losses, accuracy, _ = on_pairs(dpo_on_sft, 0.1, tune, of_sft)
from dpo_book.evaluation.held_out import held_out

assert abs(held_out(dpo_on_sft, sft, tune, 0.1)["accuracy"].value - accuracy) < 1e-6
assert accuracy > 0.52 and losses.mean() < 0.6931
interval_of_it = share_interval(accuracy, len(tune))
assert 0.045 < (interval_of_it.high - interval_of_it.low) / 2 < 0.06
for start in ("raw", "SFT"):
    gain = (samples[f"{start}, then DPO"] - samples[start])["reward"]
    assert gain.mean() > 2 * gain.sem()


# %% [markdown]
# **(a)** The column "stop" answers it. Every response of the file ends with EOS, and DPO on the raw model does not learn it:
# to make EOS likelier everywhere raises chosen *and* rejected alike, and their margin stays as it was. SFT has no margin, and
# learns it at once. For `gpt2` this is the reason to run SFT first: DPO compares, it does not teach a form. (With a file
# whose *rejected* responses alone run on, the margin would see EOS.) In reward both gain by more than two standard
# errors, the raw model in texts without an end. And after DPO the last row stops less often than SFT, with longer texts: remember the raters.
#
# ### Whose responses are these?
#
# "My pairs come from another model" is the same question. Chapter 07 shows what coverage is worth: if the pairs lie where
# the policy never goes, it is free where it does go. How to tell: score the file's responses, and the reference's own
# samples, by the reference, in nats a token. If it finds the file much less likely than what it writes itself, the pairs
# are not its own. (Here the rejected ones, which SFT has not seen either.)

# %% tags=["nbval-ignore-output"]
@torch.no_grad()
def surprise_at(model, completions):
    """−log π of a batch's completions, added up, nats."""
    return -sequence_logp(model, collate(asked, completions)).sum().item()


asked = [pair.prompt for pair in tune[:200]]
rejected = [pair.rejected for pair in tune[:200]]
surprise = {}
for name, model in (("raw", raw), ("SFT", sft)):
    own, row = sample_ids(model, asked, 40, seed=2), {}
    for whose, ys in (("own samples", own), ("the file's", rejected)):
        row[whose] = surprise_at(model, ys) / sum(map(len, ys))
    without_end = surprise_at(model, [y[:-1] for y in rejected])
    row["EOS of the file's"] = (surprise_at(model, rejected) - without_end) / len(asked)
    surprise[name] = row
pd.DataFrame(surprise).T.round(2)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
assert surprise["raw"]["the file's"] > surprise["raw"]["own samples"] + 0.3
of_end = {name: row["EOS of the file's"] for name, row in surprise.items()}
assert of_end["raw"] > 5 and of_end["SFT"] < 1.5
assert surprise["SFT"]["the file's"] < surprise["raw"]["the file's"] - 0.3
assert surprise["SFT"]["the file's"] < surprise["SFT"]["own samples"]

# %% [markdown]
# To the raw model the file is foreign, and the last column says most of why. After SFT it is likelier than what the
# model writes itself. If yours stays less likely, let the *reference* write responses and have those rated.
#
# ## Choosing β, rate, batch and epochs
#
# Two of the four are rarely moved: batches of 64, as in the paper (32 here), and one to three epochs (here a little more than
# one). β and the learning rate act together, so they are tried together, on few steps. Which of six runs would you take?
# First what pairs tell: `training` is the mean loss of the last ten steps, `loss` the held-out one, `above` how far it is
# above the lowest, pair by pair. Then what samples tell; `gain` is the true reward less that of SFT's samples, prompt by
# prompt. Every error is the standard error of the column before it.

# %%
grid = [(beta, rate) for beta in (0.1, 0.3) for rate in (3e-4, 1e-3, 3e-3)]
done = {(0.1, 3e-4): (dpo_on_sft, first_log)}  # above
swept, training, accuracy, losses, drawn, gain = {}, {}, {}, {}, {}, {}
of_sft, known = score_pairs(sft, tune), score_pairs(sft, train)  # the reference, once
for run in grid:
    swept[run], log = done.get(run) or preferred(sft, *run, train, known)
    training[run] = sum(record["loss"] for record in log[-10:]) / 10
    loss, accuracy[run], _ = on_pairs(swept[run], run[0], tune, of_sft)
    losses[run], drawn[run] = loss.double().numpy(), on_samples(swept[run], sft)
    gain[run] = drawn[run]["reward"] - samples["SFT"]["reward"]

# %% tags=["nbval-ignore-output"]
losses, gain = pd.DataFrame(losses), pd.DataFrame(gain)
above = losses.sub(losses[losses.mean().idxmin()], axis=0)
tell = {"training": pd.Series(training), "loss": losses.mean(), "error": losses.sem()}
tell |= {"above": above.mean(), "above_error": above.sem()}
pairs_tell = pd.DataFrame(tell | {"accuracy": pd.Series(accuracy)})
samples_tell = pd.DataFrame({run: rows.mean() for run, rows in drawn.items()}).T
samples_tell = samples_tell[["KL", "stop"]].rename(columns={"KL": "kl"})
samples_tell = samples_tell.assign(gain=gain.mean(), gain_error=gain.sem())
for one in (pairs_tell, samples_tell):
    one.index.names = ["beta", "rate"]
    display(one.round(3))
runs = pairs_tell.join(samples_tell).reset_index()
plots.sweep(runs)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
lowest = runs.loc[runs["loss"].idxmin()]
fastest, slowest = runs[runs["rate"] == 3e-3], runs[runs["rate"] == 3e-4]
at_choice = slowest[slowest["beta"] == 0.3].iloc[0]
assert at_choice["loss"] < lowest["loss"] + 2 * lowest["error"] and at_choice["kl"] < 2
assert fastest["kl"].min() > 8 and slowest["kl"].max() < 4
assert fastest["stop"].max() < 0.5 < slowest["stop"].min()
assert fastest["gain"].mean() > slowest["gain"].mean() + 0.2
assert (runs["training"] > runs["loss"] - 0.03).all()

# %% [markdown]
# **(b)** No: in no run is the training loss the lower one by more than noise. In the first epoch a batch's loss is measured
# before that batch is learned from, so it is a loss on fresh pairs, too. (The second half of the question comes below.)
# Now how to read the table:
#
# - **Held-out loss** first. It judges σ(margin) as a forecast of the label, so it can be compared between values of β, and
#   it punishes margins that are too sure. Accuracy counts signs only: its interval here is about ±5 points, which hardly
#   tells these runs apart. Both need held-out prompts and the raters' labels, nothing else.
# - **KL** is what a gain was bought with. Of two runs of equal loss, the one with less KL has lost less of what the model
#   could do before. Here the price shows: runs that strayed farthest have more reward, and most of their samples do not stop.
# - **A rule, written down before.** Lowest held-out loss; every run within one standard error of it (the `error` of
#   that lowest run) counts as equal; of these, the least KL. You write it as an exercise. How sure one *difference* is, `above_error` says.
#
# Where to begin? β = 0.1, and for `gpt2` the paper's rate, $10^{-6}$; then a few times more and less of each. A model as small
# as ours wants a rate hundreds of times as large. In our table the rule takes β = 0.3 with the lowest rate, an edge of the
# grid: in earnest, extend it. Its report, on the third part of the file, which chose nothing:

# %%
picked = swept[0.3, 3e-4]
loss, right, _ = on_pairs(picked, 0.3, test, score_pairs(sft, test))
told_by = share_interval(right, len(test))
print(f"final part: loss ≈ {loss.mean():.3f}, accuracy ≈ {told_by.value:.3f}", end=" ")
print(f"(95 %: ≈ {told_by.low:.3f} to ≈ {told_by.high:.3f})")


# %% jupyter={"source_hidden": true} tags=["hide-input"]
def rater(x, y):
    """What the raters go by."""
    return world.reward(x, y) + 0.1 * len(y.split())


sides = [(rater(p.prompt, p.chosen), rater(p.prompt, p.rejected)) for p in final]
ceiling = sum(1 / (1 + math.exp(-abs(a - b))) for a, b in sides) / len(sides)
assert 0.48 < told_by.value < 0.7 and told_by.high - told_by.low < 0.15
assert 0.7 < ceiling < 0.8

# %% [markdown]
# Less than on the pairs it was chosen by, as one must expect, and the interval comes down to about 1/2: so little can be
# said after one epoch of a thousand pairs. (Nobody can be right in more than about three of four: the raters toss coins.)
# Whether the *policy's texts* are better, new samples and a judge must say: chapter 10.
#
# ## When to stop, and which checkpoint
#
# A small file, gone through again and again: 256 pairs, 64 steps of 32, so eight epochs. Look for the step at which one of
# the two lines turns, while the other goes on.

# %%
few, kept = train[:256], copy_policy(sft)
parts = {"training": (few, score_pairs(sft, few)), "held-out": (tune, of_sft)}
curves = {}
config = DPOConfig(beta=0.1, learning_rate=1.5e-3, batch_size=32, steps=64)
for record in train_dpo(kept, sft, few, config):
    if record["step"] in (1, 8, 16, 32, 48, 64):
        row = curves.setdefault(record["step"], {})
        for part, pairs_and_reference in parts.items():
            loss, right, margin = on_pairs(kept, 0.1, *pairs_and_reference)
            found = {"loss": loss.mean().item(), "margin": margin, "accuracy": right}
            row |= {f"{part} {name}": value for name, value in found.items()}
curves = pd.DataFrame(curves).T
turn = int(curves["held-out loss"].idxmin())
units = {"loss": "nats", "margin": "nats", "accuracy": "share of pairs"}
plots.training_and_held_out(curves, units, turn)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
best, last = curves.loc[turn], curves.loc[64]
assert 1 < turn < 40
assert best["held-out loss"] < math.log(2) < last["held-out loss"] - 0.03
assert last["training loss"] < 0.35 and last["training accuracy"] > 0.9
assert last["held-out margin"] > best["held-out margin"]


# %% [markdown]
# The rest of **(b)**: after eight epochs the training loss says nothing. It falls, by heart, while the held-out loss turns
# early and climbs above the $\ln 2$ of a policy that knows nothing: this one is surer than it is right. The held-out margin
# grows on, and accuracy hardly shows it. So keep checkpoints (`--checkpoint-every`), and take the one with the lowest held-out
# **loss**. With one pass over many pairs there is often no turn: then the last is as good.
#
# ## Verbosity
#
# The raters paid for length. Has the policy learned that? And what if the file is **balanced** first: for every number of
# tokens, as many pairs with the chosen longer by it as shorter? Both with three times the rate chosen, so that it
# shows. The second table is paired, on 200 prompts.

# %%
def balanced(pairs):
    """As many pairs with the chosen longer by n tokens as shorter by n, for every n."""
    by_difference = {}
    for pair in pairs:
        by_difference.setdefault(len(pair.chosen) - len(pair.rejected), []).append(pair)
    kept = list(by_difference.get(0, []))
    for n, longer in by_difference.items():
        shorter = by_difference.get(-n, [])
        if n > 0:
            fewest = min(len(longer), len(shorter))
            kept += longer[:fewest] + shorter[:fewest]
    return kept


# %% tags=["nbval-ignore-output"]
fair = balanced(train)
print(f"balanced: {len(fair)} of {len(train)} pairs")
policies = {"SFT": sft, "file": swept[0.3, 1e-3]}
policies["balanced"], _ = preferred(sft, 0.3, 1e-3, fair)
after = {name: on_samples(policy, sft, n=200) for name, policy in policies.items()}
display(pd.DataFrame({name: rows.mean() for name, rows in after.items()}).T.round(2))
compared = {}
for one, other in (("file", "SFT"), ("balanced", "SFT"), ("balanced", "file")):
    difference = after[one] - after[other]  # prompt by prompt
    compared[f"{one} − {other}"] = difference.apply(with_error)
display(pd.DataFrame(compared).T)
plots.lengths({name: rows["tokens"].tolist() for name, rows in after.items()})

# %% jupyter={"source_hidden": true} tags=["hide-input"]
assert 0.78 < len(fair) / len(train) < 0.88
of_three = pd.DataFrame({name: rows.mean() for name, rows in after.items()}).T
assert of_three["stop"]["balanced"] > of_three["stop"]["file"] + 0.03
tokens = of_three["tokens"]
assert tokens["file"] > 1.33 * tokens["SFT"]
assert tokens["file"] - tokens["balanced"] > 0.3 * (tokens["file"] - tokens["SFT"])
shorter = after["file"]["tokens"] - after["balanced"]["tokens"]
assert shorter.mean() > 3 * shorter.sem()

# %% [markdown]
# **(c)** Yes, by a third and more, and the longest text is the one that never stops: the EOS that SFT taught is partly
# unlearned. Balancing takes a good part of that away and costs a sixth of the pairs. Length-normalised losses are another
# remedy (chapter 11; they change the optimum, too). Report the mean length beside a win rate, for judges like length
# as well (chapter 10).
#
# ## What to watch in a log
#
# A healthy run first: the verdict world of chapter 07, hard labels, 100 steps.

# %% tags=["nbval-ignore-output"]
from dpo_book.checks.broken_runs import CAUSES, HEALTHY, broken_log
from dpo_book.worlds.references import verdicts_reference
from dpo_book.worlds.verdicts import JudgedVerdicts, draw_comparisons, verdicts

listed, reference = verdicts(), verdicts_reference()
with torch.no_grad():
    ref_logp = listed.logp(reference).double()
comparisons, _ = draw_comparisons(listed, ref_logp, 6400, "hard")
healthy = list(train_dpo(copy_policy(reference), reference, comparisons, HEALTHY))


def show(log):
    """A log at five of its steps, a column each."""
    table = pd.DataFrame([log[i] for i in (0, 1, 9, 39, 99)]).set_index("step")
    return table.drop(columns=["rewards/margins", "learning_rate"]).round(3).T


show(healthy)


# %% jupyter={"source_hidden": true} tags=["hide-input"]
def mean_of_last(log, name):
    """Over the last 20 steps."""
    return sum(record[name] for record in log[-20:]) / 20


assert abs(healthy[0]["loss"] - 0.6931) < 1e-4
assert abs(healthy[0]["rewards/chosen"]) < 1e-4
assert 0.5 < mean_of_last(healthy, "loss") < 0.65
assert 0.6 < mean_of_last(healthy, "rewards/accuracies") < 0.85

# %% [markdown]
# `rewards/accuracies` is the share of pairs whose implicit reward ranks *chosen* above rejected (chapter 07). It is no win
# rate.
#
# | look at | when | it should |
# |---|---|---|
# | loss | step 1 | be 0.6931 (in bfloat16 0.69). Anything else: policy and reference are not one function |
# | rewards | step 1 | be 0, up to rounding |
# | accuracy | step 1 | be anything: both rewards are 0 up to rounding |
# | loss | after some tens of steps | be below 0.69. How low it may go, the labels decide: coins have an entropy |
# | accuracy on hard labels | later | rise above 0.5, and stay below 1 where raters disagree. 1.0 on training pairs with 0.6 on held-out ones: learned by heart |
# | accuracy on soft labels | later | may be 1.0: there the chosen is the likelier one, and π* ranks every pair so |
# | both log-probabilities | throughout | drift slowly. They may both fall (chapter 07), but not by tens of nats in a few steps |
# | grad_norm | throughout | have no spikes of ten times its usual size |
# | held-out loss | throughout | fall with training's, and say when to stop |
#
# ## What you see, and what to do
#
# | what you see | what to do |
# |---|---|
# | repeated rows; a prompt on both sides of the split | drop the rows; split by prompt |
# | both labels on one pair | one row with `chosen_probability` |
# | pairs dropped as the same after cutting | raise `max_length`; shorten prompts, not answers |
# | the policy never stops | SFT first; look for EOS in the ids and at what is masked |
# | the reference finds the file's responses unlikely | SFT on the chosen, or better: have its own samples rated |
# | loss stays at 0.69, log-probabilities do not move | a higher rate |
# | held-out loss turns, training goes on | take the checkpoint at the turn; fewer epochs, more pairs |
# | KL large, reward of samples or their form worse | a lower rate or a larger β |
# | KL near 0, held-out loss still falling | more steps, then a higher rate or a smaller β |
# | log-probabilities move by many nats, rewards and margin stay near 0 | a β far too small: make it ten or a hundred times as large |
# | training accuracy stays near a half and loss near 0.69, though log-probabilities move | labels that are coin flips, or nearly: label some pairs twice, and see how often two answers agree |
# | rewards other than 0 at step 1 | the reference is not the model that training started from: give both the same |
# | samples get longer | count length in the file; balance it |
#
# ### The same from a terminal
#
# ```
# python -m dpo_book sft --policy gpt2 --data train.jsonl \
#     --out start --max-length 512
# python -m dpo_book dpo --policy start/model --data train.jsonl \
#     --out run_a --max-length 512 --beta 0.1 --batch-size 64 \
#     --learning-rate 1e-6 --steps 300 --checkpoint-every 50
# python -m dpo_book evaluate --policy run_a/model \
#     --reference start/model --data held_out.jsonl
# python -m dpo_book sample "The film was" --policy run_a/model
# ```
#
# Batch, rate and β are the paper's (its appendix B). Each run ends with OUT/report.html, which names such patterns where it finds them. A batch that does not fit
# memory goes with `--micro-batch-size` (chapter 13).
#
# ## A GPT-2 that says what you like
#
# Now your own taste, in chapter 07's world of verdicts. `pairs_to_ask` takes sixty pairs of likely verdicts, each chosen to
# tell most beyond those before it. Chapter 10 shows them to you and writes your answers to `my_taste/preferences.jsonl`.
#
# Without that file, as recorded here, a simulated reader answers by equation 1: one who loves bad films. `fit_taste`
# minimises equation 2 for a reward of 28 weights (what is said, denied, stressed, said after "but") with a prior, N(0, 0.5²)
# each. How much do the answers narrow it? Then our small GPT-2 learns, β = 1/2, from fresh pairs that the fit labels, and for
# contrast from the sixty alone, in eight epochs.

# %% tags=["nbval-ignore-output"]
from dpo_book.worlds.questions import pairs_to_ask
from dpo_book.worlds.taste import fit_taste, foreseen

OPPOSITE = {"good": "dull", "dull": "good", "great": "bad", "bad": "great"}


def liked(x, y):
    """What the simulated reader goes by: twice VADER's reward of the opposite."""
    turned = [OPPOSITE.get(word, word) for word in y.split()]
    return 2 * listed.reward(x, " ".join(turned))


questions = [Comparison(*pair) for pair in pairs_to_ask(listed, ref_logp)]
simulated = in_random_order(SyntheticJudge(quality=liked, noise=1), questions)
mine, own = [], Path("my_taste/preferences.jsonl")
for (x, a, b), verdict in zip(questions, simulated):
    mine.append(Preference(x, *((a, b) if verdict.outcome == "a" else (b, a))))
mine = load_preferences(own) if own.exists() else mine
print(f"{len(mine)} answers; left out in turn, foreseen: {foreseen(listed, mine)}")

# %% tags=["nbval-ignore-output"]
from dpo_book.worlds.taste import PRIOR_DEVIATION, feature_difference

taste, margins = fit_taste(listed, mine), {}
for a, b in (
    ("not very great plot", "not very dull plot"),
    ("dull but good", "good but dull"),
    ("not bad but good", "not good but bad"),
):
    margin, error = taste.margin("the plot", a, b)
    before = PRIOR_DEVIATION * feature_difference("the plot", a, b).norm().item()
    row = {"r(a) − r(b)": margin, "error": error, "error before": before}
    row["simulated reader's"] = liked("the plot", a) - liked("the plot", b)
    margins[f"{a} − {b}"] = row
pd.DataFrame(margins).T.round(2)

# %% tags=["nbval-ignore-output"]
fresh, _ = draw_comparisons(JudgedVerdicts(taste.rewards), ref_logp, 8000, "soft")
sixty = tokenize_pairs(mine, listed.tokenizer)
logps, said = {"π_ref": ref_logp, "π*": optimal_logp(ref_logp, taste.rewards, 0.5)}, {}
trained_on = {"DPO, pairs of the fit": (fresh, 250), "DPO, the sixty": (sixty, 15)}
for name, (some, steps) in trained_on.items():
    policy, _ = preferred(reference, 0.5, 2e-3, some, steps=steps)
    with torch.no_grad():
        logps[name] = listed.logp(policy).double()
for name, logp in logps.items():
    row = {"E[fit's r]": expected_reward(logp, taste.rewards).mean().item()}
    for one in ("π_ref", "π*"):
        row[f"KL to {one}"] = kl_divergence(logp, logps[one]).mean().item()
    likeliest = [listed.responses[place] for place in logp.argmax(dim=1)]
    said[name] = row | dict(zip(listed.prompts, likeliest))
pd.DataFrame.from_dict(said, orient="index").round(2)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
if not own.exists():
    words = listed.tokenizer.convert_ids_to_tokens(range(len(listed.tokenizer)))
    turned = [words.index(OPPOSITE.get(word, word)) for word in words]
    ids = torch.tensor(turned)[listed.response_ids]
    true = 2 * listed.rewards[:, [listed.index(y) for y in ids.tolist()]]
    assert abs(true[2, 5000] - liked("the plot", listed.responses[5000])) < 1e-9
    gain = {name: expected_reward(logp, true).mean() for name, logp in logps.items()}
    by_fit, by_sixty = (said[name] for name in trained_on)
    assert len(mine) == 60 and 0.7 < foreseen(listed, mine).value < 0.95
    first, second, third = margins.values()
    assert first["r(a) − r(b)"] > 1.96 * first["error"]
    assert first["error"] < 0.65 * first["error before"]
    assert second["error"] > 0.8 * second["error before"]
    for one in margins.values():
        missed = abs(one["simulated reader's"] - one["r(a) − r(b)"])
        assert missed > 2 * one["error"]
    assert by_fit["KL to π*"] < 0.5
    assert by_fit["E[fit's r]"] > 0.85 * said["π*"]["E[fit's r]"]
    assert by_sixty["KL to π*"] > 2 * by_fit["KL to π*"]
    assert abs(by_sixty["KL to π_ref"] - by_fit["KL to π_ref"]) < 0.6
    best = expected_reward(optimal_logp(ref_logp, true, 0.5), true).mean()
    told_true = [f"{name} ≈ {value:.2f}" for name, value in gain.items()]
    print("true reward, nats:", ", ".join(told_true), f"; at best ≈ {best:.2f}")
    assert abs(gain["π_ref"]) < 0.2 and 2.8 < best < 3.2
    assert 1.8 < gain["DPO, pairs of the fit"] < 2.6
    assert 1.2 < gain["DPO, the sixty"] < 1.8


# %% [markdown]
# The first difference is told best: 0.71 of 1.22 is left as error. And all errors are too small here: the prior
# expects differences near 1, this reader has 3.4. The third cannot be right: VADER lets "not" reach over "but", and no weight
# says so. DPO on the fit's pairs ends 0.2 nats from π*, and brings 2.2 of the 3.0 nats of *true* reward. The sixty
# alone bring 1.6 at about the same KL. One reason: the fit was told what a verdict is made of, and GPT-2 has to find it. Steps and labels differ, too.
#
# ## What could go wrong
#
# **"All rows were refused, or a column was ignored."** Read the message: it names the line and the columns.
#
# **"Held-out accuracy is 0.9, and samples are no better."** Leaked prompts, or pairs from a much stronger model against
# a much weaker one: the two are told apart by their form, and nothing is learned of quality.
#
# **"Loss 0, margins of 20."** ([TRL #1236](https://github.com/huggingface/trl/issues/1236)) A rate far too high, or few
# pairs and many epochs: the held-out loss above.
#
# **"It starts at 0.6931 and stays."** ([TRL #1311](https://github.com/huggingface/trl/issues/1311)) The rate is too
# low, warm-up is longer than the run, or most pairs are the same once cut.
#
# ## Exercises
#
# ### Exercise · longer_share
#
# Difficulty ★☆☆ · importance ●●● · 5 minutes
#
# How often is the chosen completion the longer one? From the numbers of tokens of chosen and rejected, both (B,). A pair of equal
# lengths counts half.

# %%
def longer_share(chosen, rejected):
    """Share of pairs whose chosen is longer, ties half: a number."""
    # YOUR CODE HERE
    raise NotImplementedError()


# %%
check_longer_share(longer_share)


# %% [markdown]
# ### Exercise · leaked_prompts
#
# Difficulty ★☆☆ · importance ●●● · 5 minutes
#
# Which held-out rows have a prompt that training has, too? From two lists of prompts, one text a row.

# %%
def leaked_prompts(train, held_out):
    """1 for every held-out row whose prompt is in train, else 0: a list or tensor."""
    # YOUR CODE HERE
    raise NotImplementedError()


# %%
check_leaked_prompts(leaked_prompts)


# %% [markdown]
# ### Exercise · choose
#
# Difficulty ★★☆ · importance ●●● · 10 minutes
#
# The rule of this page. From held-out loss, its standard error and KL of some runs, each (K,): of the runs whose loss is
# at most the lowest plus *that* run's error, the one with the least KL, counted from 0.

# %%
def choose(loss, error, kl):
    """The place of the run that the rule takes, counted from 0."""
    # YOUR CODE HERE
    raise NotImplementedError()


# %%
check_choose(choose)

# %% [markdown]
# ### Exercise · diagnosis
#
# Difficulty ★★★ · importance ●●● · 15 minutes
#
# Three runs in the world of the healthy one, each with one fault, run in the next cell. Which of these causes has each?
# Return the numbers of A, B and C.

# %% tags=["nbval-ignore-output"]
for number, cause in enumerate(CAUSES, start=1):
    print(number, cause)
logs = {name: broken_log(name, reference, comparisons) for name in "ABC"}
display(pd.concat({name: show(log) for name, log in logs.items()}))
columns = ["loss", "rewards/margins", "rewards/accuracies", "logps/chosen"]
plots.learning_curves(logs, columns, exact={"loss": math.log(2)})


# %%
def diagnosis():
    """The numbers of the causes of logs A, B and C: a list such as [1, 2, 3]."""
    # YOUR CODE HERE
    raise NotImplementedError()


# %%
check_diagnosis(diagnosis)

# %% [markdown]
# ## Quiz

# %%
quiz("12", 1)

# %%
quiz("12", 2)

# %% [markdown]
# ## Recap
#
# | symbol | in code | shape | equation |
# |---|---|---|---|
# | $(x, y_w, y_l)$ | `load_preferences(path)`, `tokenize_pairs(preferences, tokenizer, max_length)` | rows | – |
# | $p^*(y_w \succ y_l \mid x)$ | `Preference.chosen_probability` | number | 1 |
# | $\pi_{\text{ref}}$ | `train_sft` on the chosen, then `copy_policy` | – | 3 |
# | held-out $\mathcal{L}_{\text{DPO}}$ | `soft_dpo_loss(*score_pairs(...), ...)` | (B,) | 7 |
# | $\mathrm{KL}[\pi_\theta \Vert \pi_{\text{ref}}]$ | `sampled_kl`, or from samples you have | nats | 3 |
#
# Count first. Split by prompt. SFT teaches the form, DPO the preference. Choose by held-out loss and KL, by a rule
# written down before; stop at the turn; report length.
