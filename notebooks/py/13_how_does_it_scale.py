# %% [markdown]
# # 13 · How does it scale?
#
# The largest policy so far, chapter 09's, had a million parameters and 1,164 tokens. GPT-2 has 124 million and 50,257.
# The loss stays equation 7. What changes is what a step costs, and which settings suit.
#
# **Write down a prediction first.** A pair has a prompt of 400 tokens and two completions of 50, as a post and two
# summaries of it have (this page calls that *TL;DR-like*). The model is GPT-2, the precision float32. Which is larger:
# all of GPT-2's weights, or the logits of eight such pairs, computed for every token? And by what factor can a step of
# the textbook's loop be made faster without changing the loss?
#
# The *body* of a GPT-2 is its embeddings and blocks: tokens go in, a hidden state a token
# comes out. The *head* is the matrix that makes of a hidden state one logit for every word of the vocabulary.
#
# | after this chapter you can | |
# |---|---|
# | go from `mini` to `gpt2` by one line, with a learning rate that fits | 10&nbsp;min |
# | say where time and memory go, and derive each of the savings | 20&nbsp;min |
# | check a fast implementation against a slow one, and against TRL; bring a run over from TRL and back | 10&nbsp;min |
# | train on batches and models that do not fit one machine | 15&nbsp;min |
# | estimate what a run will cost | 10&nbsp;min |
#
# You need chapters 06 (the loss) and 07 (its curves). Symbols as there.
#
# Every cell of this page runs without a network, TRL or a GPU. `POLICY = "gpt2"` downloads half a gigabyte once.
# `make bench` makes its tables on your machine: forty minutes, 12 GB, Linux, TRL.

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

import pandas as pd
import torch

from dpo_book import *
from dpo_book import plots
from dpo_book.checks.scale import *
from dpo_book.notebook import stored
from dpo_book.quizzes import quiz
from dpo_book.system.devices import describe
from dpo_book.worlds.tiny_reviews import tiny_reviews

setup(seed=0)

# %% [markdown]
# ## One line
#
# Here is a whole run: preferences, a policy, its copy as the reference, DPO. Which policy it is stands in the first line.
# `"gpt2"` is a name on the Hugging Face hub. A folder that `save_pretrained` wrote and a `.gguf` file work as well: any
# causal language model that transformers itself knows and whose weights are safetensors or GGUF. Each prompt has its own
# response, and one that was written for another prompt; the world's reward says which is better.

# %%
POLICY = "mini"  # or "gpt2", "gpt2-medium", a folder, a .gguf file

world = tiny_reviews()
texts = world.corpus(128)  # (prompt, response)
preferences = []
for (x, own), (_, other) in zip(texts[:64], texts[64:], strict=True):
    own_is_better = world.reward(x, own) >= world.reward(x, other)
    chosen, rejected = (own, other) if own_is_better else (other, own)
    preferences.append(Preference(x, chosen, rejected))
if POLICY == "mini":  # made here, with a tokenizer learned from the texts
    tokenizer = train_tokenizer([x + y for x, y in texts], vocab_size=512)
    policy = build_policy("mini", tokenizer)
else:
    policy, tokenizer = load_policy(POLICY)


# %%
def first_steps(learning_rate=None, steps=6):
    """The records of a few steps of DPO on the preferences."""
    pairs = tokenize_pairs(preferences, tokenizer, max_length=256)
    config = DPOConfig(
        learning_rate=learning_rate, batch_size=16, steps=steps, warmup_steps=0
    )
    return list(train_dpo(copy_policy(policy), policy, pairs, config))


records = first_steps()
for record in records[::5]:
    print(f"step {record['step']}: loss ≈ {record['loss']:.4f}")
assert abs(records[0]["loss"] - math.log(2)) < 1e-4 and records[-1]["loss"] < 0.69

# %% [markdown]
# The first loss is $\ln 2$, as it must be while policy and reference are one. From a terminal, with checkpoints, a log and
# figures in a folder of its own, that is
#
# ```
# python -m dpo_book sft --policy gpt2 --data my_pairs.jsonl \
#     --out start
# python -m dpo_book dpo --policy start/model \
#     --data my_pairs.jsonl --out trained --beta 0.1 \
#     --batch-size 16 --steps 6 --warmup-steps 0 --max-length 256
# ```
#
# The first command is new: DPO starts from a policy that already writes such texts (chapter 00), and a raw `gpt2` does
# not. `--data` also takes `hh`, `tldr` and `imdb`, the paper's own data; chapter 12 is about yours. Before its first
# step the second command lets the reference run over the pairs that the steps will come by, and keeps the result.
#
# ### A learning rate that fits
#
# No learning rate was given. AdamW divides each gradient by its own running size, so an update moves *every* weight by
# about the learning rate, however long the gradient is. Many weights make one logit: the more of them move, the further
# it goes. So small models need larger rates. See what three rates do in 12 steps.

# %% tags=["nbval-ignore-output"]
rows = {}
for rate in (1e-6, 1e-4, 1e-2):
    losses = [record["loss"] for record in first_steps(rate, steps=12)]
    rows[f"{rate:.0e}"] = {"last loss": losses[-1], "highest loss": max(losses)}
tried = pd.DataFrame(rows).T.rename_axis("learning rate")
tried.round(3)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
if POLICY == "mini":
    assert tried["last loss"].iloc[0] > 0.685 and tried["last loss"].iloc[1] < 0.6
    assert tried["highest loss"].iloc[2] > 0.75

# %% [markdown]
# With GPT-2's usual rate it stands still. With the highest it first gets worse, and then learns 64 pairs by
# heart. So where nobody gives a rate, the size of the model does. With N parameters it is
#
# $$\min\big(10^{-3},\ a \cdot \max(1,\ 10^8 / N)\big),$$
#
# rounded to one digit, where $a = 10^{-6}$ for DPO and $10^{-5}$ for SFT and reward models, which learn something new. A
# LoRA adapter takes ten times that: far fewer numbers move, and their product starts at zero.

# %%
sizes = {
    "nano": build_policy("nano", tokenizer).num_parameters(),
    "mini": build_policy("mini", tokenizer).num_parameters(),
    "gpt2": 124_439_808,
    "gpt2-xl": 1_557_611_200,
}


def default(config, adapter=False):
    """The rate of every size."""
    resolved = [config.resolved(n, adapter).learning_rate for n in sizes.values()]
    return [f"{rate:.0e}" for rate in resolved]


rates = pd.DataFrame({"parameters": sizes})
rates["DPO"] = default(DPOConfig())
rates["SFT, reward model"] = default(SFTConfig())
rates["DPO of an adapter"] = default(DPOConfig(), adapter=True)
rates

# %% [markdown]
# It is a rule of thumb that stands on three points. $10^{-6}$ is the paper's (appendix B), for 0.8 to 6 billion
# parameters. $10^{-4}$ and $3 \cdot 10^{-4}$ were the best that chapter 09 tried for `mini`, $2 \cdot 10^{-4}$ to $10^{-3}$ for
# `nano`, by β. Between a million and 100 million nothing was measured. Try a third and three times the rate before a long run.
# `run.json` and every line of `metrics.jsonl` say which it was.
#
# ## Where the memory goes
#
# GPT-2's smallest size has 124,439,808 parameters, and float32 takes 4 bytes. AdamW keeps two moments a parameter
# (running means of the gradient and of its square).

# %%
parameters, vocabulary = sizes["gpt2"], 50_257
weights = 4 * parameters
tokens = 8 * 2 * (400 + 50)  # eight pairs, each in two rows
held = {
    "weights": weights,
    "gradients": weights,
    "AdamW's two moments": 2 * weights,
    "a copy of the weights, from an update to the next loss": weights,
    "logits of every token, eight TL;DR-like pairs": 4 * tokens * vocabulary,
}
(pd.DataFrame({"MB": held}) / 1e6).round().astype(int)

# %% [markdown]
# That answers the first question: the logits of eight pairs weigh three times the weights, and a textbook
# implementation holds several tensors of their size (log-softmax, gradient). Most are never needed. The copy is
# this book's own: the way back if the next loss is not finite.
#
# ## Three savings, derived
#
# The chosen and the rejected completion share the prompt $x$ of P tokens. They have C and R tokens. A textbook
# implementation runs two rows, $x y_w$ and $x y_l$, and takes the log-softmax everywhere:

# %%
from functools import partial

from transformers import GPT2Config, GPT2LMHeadModel

from dpo_book.models.head import LOGITS_AT_ONCE
from dpo_book.models.logprobs import completion_logits, token_log_probability
from dpo_book.models.scoring import can_share_prompts, pair_scorer, row_scorer
from dpo_book.models.shared_prompt import collate_shared, pair_groups, shared_logp
from dpo_book.system.operations import operations

# %%
torch.manual_seed(0)
shape = {"n_layer": 4, "n_head": 4, "n_embd": 128, "n_positions": 512}
off = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
model = GPT2LMHeadModel(GPT2Config(vocab_size=vocabulary, **shape, **off)).eval()
P, C, R = 200, 30, 20


def ids(n):
    """n random tokens."""
    return torch.randint(vocabulary, (n,)).tolist()


pair = Pair(ids(P), ids(C), ids(R))
rows = collate([pair.prompt] * 2, [pair.chosen, pair.rejected])


def textbook(model):
    """log π(y|x) of chosen and rejected from the whole table: (2,)."""
    logits = model(rows.input_ids, attention_mask=rows.attention_mask).logits[:, :-1]
    logp = logits.log_softmax(-1).gather(-1, rows.input_ids[:, 1:, None]).squeeze(-1)
    return logp.where(rows.completion_mask[:, 1:], 0.0).sum(dim=1)


# %% [markdown]
# ### 1. Logits of the completions only
#
# 1. $\log \pi(y|x) = \sum_{t=1}^{C} \log \pi(y_t \mid x, y_{<t})$: the chain rule. Only completion tokens are in the sum.
# 2. So of P + C rows of logits C are read, and P are computed for nothing. The body still needs every token.
# 3. $\log \text{softmax}(z)_y = z_y - \log \sum_v e^{z_v}$: of each row, one entry and one sum. No second table is needed.
#
# ### 2. The vocabulary in parts
#
# 1. $\log p_y = z_y - \log \sum_v e^{z_v}$ with $z = W h$: a token's log-probability needs its own row of logits, no other.
# 2. So rows can be made for a few tokens at a time, used and forgotten. What of the gradient?
# 3. $\partial \log p_y / \partial z_v = \mathbb{1}[v = y] - e^{z_v} / \sum_u e^{z_u}$: derive step 1.
# 4. $= \mathbb{1}[v = y] - p_v$, and $p_v = e^{z_v - \log \sum_u e^{z_u}}$: with the log-sum kept, one number a token, *z* is all that is missing.
# 5. And $z = W h$ can be made again. The backward pass does so, a few tokens at a time: work for memory.
#
# `sequence_logp` does this, with at most $2^{24}$ logits at a time. Steps 3 and 4, against autograd:

# %%
z = torch.randn(7, dtype=torch.float64, requires_grad=True)
(by_autograd,) = torch.autograd.grad(z.log_softmax(-1)[2], z)
p = (z - z.logsumexp(-1)).exp()
by_hand = torch.eye(7, dtype=torch.float64)[2] - p
same = torch.allclose(by_autograd, by_hand, atol=1e-12)
print("∂ log p_y / ∂z = onehot(y) − p:", same)
assert same

# %% [markdown]
# ### 3. The prompt once
#
# 1. A token's hidden state depends on its position's number and on the tokens it attends to, and on nothing else. (So it is in GPT-2, Llama and most others. A sliding window, or ALiBi's distances, break it; `can_share_prompts` finds that out, and such a model runs two rows.)
# 2. A prompt token attends to earlier prompt tokens only. In both rows they are the same: P hidden states are computed twice.
# 3. Put both completions behind one prompt. Forbid those of $y_l$ to attend to $y_w$, and let both count positions on from P.
# 4. Then every token attends to what it did before, at the position it had: by step 1 nothing changes. 2P + C + R tokens become P + C + R.
#
# A prompt of three tokens, 1 2 3, with the completions 4 5 and 6 7 8. Their last tokens predict nothing and are left
# out. In the mask a row is a token, a dot what it must not see.

# %%
one_row = collate_shared([([1, 2, 3], [[4, 5], [6, 7, 8]])])
print("token   ", *one_row.input_ids[0].tolist())
print("position", *one_row.position_ids[0].tolist())
mask = one_row.attention_mask[0, 0]
for token, sees in zip(one_row.input_ids[0].tolist(), mask.tolist(), strict=True):
    print(f"{token} sees  ", *["x" if seen else "." for seen in sees])
assert not mask[4:, 3].any()  # nothing of the second sees the first


# %% [markdown]
# Token 6 has the position that token 4 has, and sees the prompt and itself. `shared_logp` runs such rows. In training,
# `pair_scorer(model, pairs)` gives what scores pairs in one row or in two.
#
# All three: same numbers, same gradients. In float64 rounding is no excuse:

# %%
def completions_only(model):
    """The same from the logits of completion tokens alone."""
    logp = token_log_probability(completion_logits(model, rows), rows.input_ids[:, -C:])
    return logp.where(rows.completion_mask[:, -C:], 0.0).sum(dim=1)


def in_parts(model):
    """The same with few logits at a time."""
    return sequence_logp(model, rows)


def prompt_once(model):
    """The same from one row."""
    return shared_logp(model, collate_shared(pair_groups([pair])))


ways = {"textbook": textbook, "completions only": completions_only}
ways |= {"vocabulary in parts": in_parts, "shared prompt": prompt_once}

# %%
exact = copy_policy(model).double()
assert can_share_prompts(exact, [pair])
watched = exact.transformer.h[0].attn.c_attn.weight
of_textbook = textbook(exact)
expected = torch.autograd.grad(of_textbook[0] - of_textbook[1], watched)[0]
found = {}
for name, logps in ways.items():
    values = logps(exact)
    gradient = torch.autograd.grad(values[0] - values[1], watched)[0]
    assert torch.allclose(values, of_textbook, rtol=1e-12)
    assert torch.allclose(gradient, expected, rtol=1e-9, atol=1e-12)
    found[name] = [*values.tolist(), gradient.norm().item()]
columns = ["log π(y_w|x)", "log π(y_l|x)", "gradient's norm"]
pd.DataFrame(found, index=columns).T.round(4)


# %% [markdown]
# One result, four costs. Two can be counted on any machine: the operations of the matrix
# products, attention's among them, and the bytes that the forward pass keeps for the backward pass.

# %%
def kept_bytes(logps):
    """Bytes that autograd keeps for the backward pass, weights left out."""
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:  # the tensor is held: no address comes twice
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    def hand_back(tensor):
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, hand_back):
        logps(model)
    return sum(size for size, _ in kept.values())


# %%
def step_of(logps):
    """Forward and backward pass of the margin log π(y_w|x) − log π(y_l|x)."""
    chosen, rejected = logps(model)
    (chosen - rejected).backward()


# Ways 3 and 4 keep their last part of logits themselves, unseen by autograd.
last_part = 4 * min(LOGITS_AT_ONCE, (C + R) * vocabulary)
unseen = {"vocabulary in parts": last_part, "shared prompt": last_part}
# First the bytes: the first call of `sequence_logp` also tries the model, uncounted.
kept = {name: kept_bytes(ways[name]) + unseen.get(name, 0) for name in ways}
costs = {name: operations(partial(step_of, ways[name])) for name in ways}
counted = pd.DataFrame({"10⁹ operations": costs, "MB kept": kept})
(counted / [1e9, 1e6]).loc[list(ways)].round(1)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
assert costs["textbook"] > 4 * costs["shared prompt"]
assert kept["textbook"] > 4 * kept["shared prompt"]

# %% [markdown]
# Logits of completions alone take away most of both. Parts hardly show here, for the 50 rows of one pair are a single
# part: they are for batches, where at most $2^{24}$ logits at a time are 67 MB. Their line saves another thing: the last
# block's feed-forward layer runs only where a completion is predicted. The shared prompt then lets the body run 250 tokens
# in place of 450. Over a small vocabulary the body is all there is, and the order turns: the shared prompt saves most.
#
# It has a price. In one row the tokens of $y_l$ are compared with those of $y_w$ as well, and the mask throws the result
# away. With short prompts and long completions that is more than the prompt's second run:

# %%
score_rows = row_scorer(model)  # sequence_logp; the head is tried here, and not counted


def share_of_two_rows(prompt, completion):
    """Operations of a forward pass in one row, as a share of those in two."""
    x, chosen, rejected = ids(prompt), ids(completion), ids(completion)
    one_row = collate_shared([(x, [chosen, rejected])])
    two_rows = collate([x, x], [chosen, rejected])
    one = operations(partial(shared_logp, model, one_row))
    return one / operations(partial(score_rows, two_rows))


shares = {}
for lengths in ((400, 50), (16, 24), (4, 250)):
    share = share_of_two_rows(*lengths)
    shares["prompt {}, completions {}".format(*lengths)] = share
    assert (share < 0.8) == (lengths[0] == 400) and (share > 1) == (lengths[0] == 4)
pd.DataFrame({"share of two rows' operations": shares}).round(2)

# %% [markdown]
# ### Who had these ideas
#
# None of the three is ours. What others report, with their hardware:
#
# | work | what it does | what it gets | measured on |
# |---|---|---|---|
# | [Wang & Hegde 2024](https://arxiv.org/abs/2410.20305) | the prompt once, for DPO | 1.07× (HH) to 1.47× (HelpSteer); packed rows: 1.17× to 1.57× | 8 H100, against FlashAttention-3 |
# | [flash-preference](https://github.com/li-plus/flash-preference) | the prompt once, around any model | prompt 1,024, completions 64: 1.53×; 512 and 512: 1.22×; 64 and 512 or more: at most 1.02× | A800, Qwen2.5-7B |
# | [Prefix Grouper](https://arxiv.org/abs/2506.05433) | the prompt once, for GRPO's groups | the same outputs and gradients for less work | – |
# | [Liger](https://github.com/linkedin/Liger-Kernel) | head and loss in parts, in one GPU kernel, for DPO too | ORPO, 16 rows of 4,096 tokens: 15.9 GB, not 62.5 | A100, bfloat16, vocabulary 128,256 |
# | [FlexAttention](https://pytorch.org/blog/flexattention/) | skips the blocks of a mask that are empty | the price above, mostly; Wang & Hegde use it | GPU |
#
# *Packing* puts several examples in one row, so that nothing is padded. On HH it gave Wang & Hegde more than sharing
# did: 33.7 pairs a second became 109.8. This book does not pack, but sorts by length.
#
# ## What it comes to, measured
#
# Counts are not seconds. `make bench` measures those, beside TRL's `DPOTrainer`. Both train the same model, with fresh
# weights, on the same batches of random tokens. They take turns, a step each, and each has the settings that suit it
# best. "mini" has chapter 09's shape, "124M" GPT-2's own. In a *CPU second* the processor worked for this program alone.
#
# First each saving (*lever*) on top of those before it: forward and backward pass, without the update. The textbook also
# runs the reference in every step, and takes pairs in any order, so that short ones are padded to long ones.

# %%
about = json.loads(stored("bench-cpu.json").read_text())
table = pd.read_csv(stored("bench-cpu.csv"))
losses = pd.read_csv(stored("bench-cpu-losses.csv"))
print(about["date"], about["processor"], about["threads"], "thread", about["precision"])
print(*(f"{name} {about[name]}" for name in ("torch", "transformers", "trl")))
display(plots.levers(table))
levers = table[table["table"] == "levers"].set_index(["case", "batch", "what"])
levers = levers[["pairs_per_cpu_second", "peak_mb"]]
shares = levers / levers.groupby("case", sort=False).transform("first")
gains = levers.assign(times=shares["pairs_per_cpu_second"])
gains.columns = ["pairs a CPU s", "peak MB", "times"]
for (case, batch), rows in gains.groupby(["case", "batch"], sort=False):
    print(f"{case}, batches of {batch} pairs")
    rounded = rows.round({"pairs a CPU s": 3, "peak MB": 0, "times": 2})
    display(rounded.droplevel([0, 1]))

# %% jupyter={"source_hidden": true} tags=["hide-input"]
last = shares.groupby("case").last()
assert (last["pairs_per_cpu_second"] > 1.5).all() and (last["peak_mb"] < 1 / 3).all()

# %% [markdown]
# That answers the second question: *times*, in the last line for the 124M, in batches of two pairs. (The reference's
# pass is paid once, before the steps.) With long prompts the shared prompt is the tallest step. With short ones and GPT-2's vocabulary most of the *memory* goes with the vocabulary in parts, and some time
# too: a part fits the processor's cache. With six pairs of four completions the last lever is the tallest.
#
# ## Beside TRL
#
# The TRL measured here has its own form of saving 2. On a GPU it scores completion tokens only. On a CPU it scores every position (`_use_triton` in its
# `trainer/utils.py` decides), and measures the entropy of each. It runs two rows a pair on both. So the ratios below are
# ratios *on a CPU*.
#
# Before speed comes parity. If the losses differ, the faster one computes something else. Cases end
# with their timing: one step to warm up, then 3 to 11, for long steps are few. A difference of exactly zero is drawn
# at $10^{-8}$.

# %%
ours = table[table["what"] == "dpo_book"]
far = (losses["dpo_book"] - math.log(2)).abs().groupby(losses["case"], sort=False).max()
display(far.round(4).to_frame("largest distance of a loss from ln 2"))
plots.loss_differences(losses, within=1e-5)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
assert losses["relative_difference"].max() < 1e-5 and (far < 0.05).sum() == 8
assert ours["loss_difference"].max() < 1e-5  # in all the other runs of the bench, too
timed = ours[ours["table"] == "compare"].set_index("case")["steps"]
assert (losses.groupby("case", sort=False).size() == timed + 1).all()
assert timed.tolist() == [11, 9, 3, 3, 3, 3, 5, 11, 5, 3]

# %% [markdown]
# Both add up the same numbers in another order, and each step hands its rounding to the
# next. But in eight of the ten cases the loss stayed within 0.05 of $\ln 2$, where a wrong implementation would look right as well. So the book's tests compare what the loss is made of (`pytest
# tests/training/test_trl_parity.py`): the log-probabilities, each parameter's gradient, and a loss that has left $\ln 2$.
#
# Now the time. The yardstick is the best that this processor does: one large product of two
# square matrices in float32. The last column is this book's share of it.

# %%
compare = table[table["table"] == "compare"]
speeds = compare.pivot(index="case", columns="what", values="pairs_per_cpu_second")
speeds = speeds[["dpo_book", "TRL"]].rename_axis(columns=None)
speeds["ratio"] = speeds["dpo_book"] / speeds["TRL"]
flops = ours[ours["table"] == "compare"].set_index("case")["gflops"]
speeds["share of the processor"] = flops / about["matrix_gflops"]
speeds.round({"dpo_book": 3, "TRL": 3, "ratio": 2, "share of the processor": 2})

# %% jupyter={"source_hidden": true} tags=["hide-input"]
assert (speeds["ratio"] > 1.7).all() and speeds["ratio"].max() > 8
assert (speeds["ratio"][[case for case in speeds.index if "TL;DR" in case]] > 2.9).all()
of_processor = speeds["share of the processor"]
assert of_processor.between(0.6, 1).all()
assert (of_processor[[case for case in speeds.index if "mini" not in case]] > 0.8).all()

# %% [markdown]
# What is missing to 1 is no product of large matrices: softmax, layer norms, the activation, AdamW. And the
# peak of the memory beyond the loaded weights, in MB, at GPT-2's vocabulary. *state* is gradients and AdamW's moments,
# which both hold; the last column leaves it out.

# %%
memory = table[table["table"] == "memory"]
state = memory.groupby("case")["state_mb"].first()
peaks = memory.pivot(index="case", columns="what", values="peak_mb")
peaks = peaks[["dpo_book", "TRL"]].rename_axis(columns=None)
peaks["state"] = state
peaks["ratio"] = peaks["dpo_book"] / peaks["TRL"]
peaks["stateless"] = (peaks["dpo_book"] - state) / (peaks["TRL"] - state)
peaks.index = peaks.index.str.replace("mini with GPT-2's vocabulary", "mini's body")
peaks.round({"dpo_book": 0, "TRL": 0, "state": 0, "ratio": 2, "stateless": 2})

# %% jupyter={"source_hidden": true} tags=["hide-input"]
assert (peaks["ratio"] < 0.5).all()
of_gpt2 = peaks["state"][[case for case in peaks.index if "124M" in case]]
# Gradients and two moments, as counted.
assert ((of_gpt2 - 3 * weights / 1e6).abs() < 2).all()

# %% [markdown]
# The fewer the pairs of a batch, the more of the peak is state. (LoRA, `--lora-rank`, makes that cheaper, or the split
# below.)
#
# ### How cost grows
#
# One size at a time, all else at a mini model with prompts of 64 tokens, completions of 32 and batches of 8. Look for
# the panels in which the two lines part.

# %%
plots.growth(table)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
times = ours.set_index("case")["times_trl"]
for axis in ("prompt", "vocabulary"):
    assert times[f"by {axis}"].is_monotonic_increasing
for axis in ("completion", "size"):
    assert times[f"by {axis}"].is_monotonic_decreasing

# %% [markdown]
# The longer the prompt and the larger the vocabulary, the more is saved; the longer the completions and the larger the
# body, the less.
#
# ### On a GPU
#
# `setup(device="auto")`, or `DPO_BOOK_DEVICE=auto` in the environment, puts what is made or loaded later on the best
# device; commands do so themselves. Products of a step are in bfloat16 where the card is made for it (Ampere and later),
# else in float32; weights and AdamW's state stay float32. Below, the device here, and *stored* rows of
# one card (`make bench-gpu`): the 124M beside TRL in bfloat16. Long prompts are 700 + 30 tokens, long completions 40 + 200.
# The share is of the card's own rate.

# %% tags=["nbval-ignore-output"]
print("this page ran on", policy.device.type)
print("the best here:", describe(best_device()))
about_gpu = json.loads(stored("bench-gpu.json").read_text())
print("stored:", about_gpu["date"], about_gpu["device"])
gpu = pd.read_csv(stored("bench-gpu.csv"))
race = gpu[gpu["table"] == "compare"].astype({"batch": int})
race = race.set_index(["case", "batch", "what"])
race = race[["pairs_per_second", "times_trl", "peak_mb", "share_of_matrix_rate"]]
race.columns = ["pairs a s", "times TRL's", "peak MB", "share"]
race.round({"pairs a s": 0, "times TRL's": 2, "peak MB": 0, "share": 2})

# %% jupyter={"source_hidden": true} tags=["hide-input"]
ours_there = race.xs("dpo_book", level="what")
ratios = ours_there["times TRL's"].droplevel("batch")
assert ratios.between(1, 1.7).all() and ours_there["share"].between(0.08, 0.22).all()
assert ratios[["TL;DR-like", "long prompts"]].between(1.2, 1.45).all()
assert round(ratios["six pairs of four completions"], 1) == 1.6
assert (ratios[["short pairs", "long completions"]] < 1.1).all()
held_there = ours_there["peak MB"] / race.xs("TRL", level="what")["peak MB"]
assert held_there.between(0.4, 1.02).all()
products = gpu[gpu["table"] == "head"]["tflops"].tolist()
assert [round(rate) for rate in products] == [93, 668]
layer = gpu[gpu["table"] == "attention"].set_index("what")["milliseconds"]
assert layer["dense mask"] < layer["dense mask, without cuDNN"] / 2
assert pd.read_csv(stored("bench-gpu-losses.csv"))["relative_difference"].max() < 0.002

# %% [markdown]
# Losses agree to 0.2 %. There TRL needs no table of logits either, so what this book gains is the
# prompt, 1.2 to 1.4 times where it is long, and next to nothing where it is short; six pairs of four completions, 1.6
# times. Tensor cores want sizes that are multiples of 8, and 50,257 is none: with
# rows of zeros up to 50,304 the product with the head runs at 668 · 10¹² operations a second, without at 93.
# cuDNN's attention, twice as fast as the next, plans for each width that it meets, so batches are padded to a few widths.
#
# ### From TRL to this and back
#
# The same run in the words of both (TRL 1.16; defaults in brackets):
#
# | TRL's `DPOConfig`, `DPOTrainer` | here | mind |
# |---|---|---|
# | `beta` (0.1) | `beta` (0.1) | |
# | `learning_rate` (1e-6) | `learning_rate` (by size) | give it |
# | `per_device_train_batch_size` (8) | `micro_batch_size` | |
# | that × `gradient_accumulation_steps` (1) × GPUs | `batch_size` (64) | the global batch |
# | `num_train_epochs` (3), `max_steps` | `epochs`, `steps` (300) | not both |
# | `warmup_steps` (0), `lr_scheduler_type` (linear) | `warmup_steps` (20), `schedule` (cosine) | |
# | `max_grad_norm` (1.0) | `max_grad_norm` (10.0) | |
# | `max_length` (1024) | `max_length` of `tokenize_pairs` (the context) | a prompt too long is an error here |
# | `precompute_ref_log_probs` (off) | always | |
# | `ref_model` (the start) | `--reference` (the start) | |
# | `peft_config=LoraConfig(r=8)` | `--lora-rank 8`, `Lora(policy, rank=8)` | |
# | `loss_type` (sigmoid) | equation 7 alone | |
# | `label_smoothing`, which sigmoid ignores | `Pair(..., chosen_probability=0.9)` | smoothing 0.1 (cDPO) |
# | – | `reference_free` | |
# | `padding_free`, which does nothing now | batches by length | |
# | `gradient_checkpointing` (on), `bf16` (on) | `gradient_checkpointing` (off); bfloat16 on a GPU made for it, else float32 | |
#
# Both log `loss`, `rewards/chosen`, `rewards/rejected`, `rewards/margins`, `rewards/accuracies`, `logps/chosen`,
# `logps/rejected`, `grad_norm`, `learning_rate`; TRL as means over 10 steps, and `entropy`, `logits/...` and
# `mean_token_accuracy` besides. `load_policy` takes the folder that TRL saved, and TRL takes `OUT/model`. GPU kernels,
# other losses and QLoRA are reasons to go there.
#
# ## A batch that does not fit
#
# The paper takes 64 pairs a step. Where 64 do not fit, take parts (*micro-batches*), and add up their gradients before the
# update. The loss of a batch is a mean over its B pairs:
#
# 1. $\mathcal{L} = \frac{1}{B} \sum_{i=1}^{B} \ell_i$: the definition.
# 2. $= \sum_k \frac{n_k}{B} \left( \frac{1}{n_k} \sum_{i \in k} \ell_i \right)$: the same sum, sorted into parts of $n_k$ pairs.
# 3. $\nabla \mathcal{L} = \sum_k \frac{n_k}{B} \nabla \mathcal{L}_k$: a gradient of a sum is the sum of gradients.
#
# The weight is the part's share of the pairs, not one over the number of parts. With uneven parts those differ:

# %%
pairs = tokenize_pairs(preferences, tokenizer, max_length=256)[:20]
watched = next(policy.parameters())
score = pair_scorer(policy, pairs)


def gradient_of(part):
    """∇ of the mean DPO loss of some pairs, the reference being a little elsewhere."""
    chosen, rejected = score(part)
    moved = chosen.detach() - 1, rejected.detach() + 1
    loss, *_ = dpo_loss(chosen, rejected, *moved, beta=0.1)
    return torch.autograd.grad(loss.mean(), watched)[0]


def error_of(gradient):
    """How far from that of all pairs, relative."""
    return float((gradient - whole).norm() / whole.norm())


# %%
whole = gradient_of(pairs)


def by_share(parts):
    """Step 3."""
    return sum(len(part) / len(pairs) * gradient_of(part) for part in parts)


uneven = [pairs[:16], pairs[16:]]
by_count = sum(gradient_of(part) for part in uneven) / len(uneven)
print("weighted by share, right to 5 digits:", error_of(by_share(uneven)) < 1e-5)
print(f"mean of the parts' means: off by ≈ {100 * error_of(by_count):.0f} %")
processes = [pairs[0::2], pairs[1::2]]
print("every other pair, right to 5 digits:", error_of(by_share(processes)) < 1e-5)
assert error_of(by_share(uneven)) < 1e-5 and error_of(by_share(processes)) < 1e-5

# %% [markdown]
# By the parts' number each of the four pairs in the small part weighs 1/8, and each of the sixteen 1/32, where all should
# weigh 1/20. `micro_batch_size=16` does the first.
#
# ## Several GPUs, several machines
#
# The parts may as well lie on other GPUs, each with a process of its own. Every process holds the model and AdamW's state,
# takes its rows of every batch (every other pair, in the last line) and computes their gradient; then all add up what they
# have (*all-reduce*), and each makes the same update. That is *distributed data parallel*, DDP. What has to travel is one
# gradient a step. `--batch-size` stays the size of the *global* batch, so a run on two cards is comparable with a run on one:
#
# ```
# accelerate launch --multi_gpu --num_processes 2 \
#     -m dpo_book dpo --policy gpt2 --data hh --out my_run
# ```
#
# On two machines, give each also `--num_machines 2 --num_processes 4 --machine_rank 0` (or `1`) and `--main_process_ip`;
# `OUT` has to be on a disk that both see.
#
# ### A model that does not fit
#
# GPT-2's largest size, `gpt2-xl`, has 1.56 billion parameters. In the update that is 4 + 4 + 8 + 4 bytes a parameter, 31 GB.
# *Fully sharded data parallel*, FSDP, gives each process a *shard* of every weight, some of its rows, and of its gradient
# and moments: with four, 8 GB each. It needs three facts:
#
# 1. $x W$ with $W$ in two shards: put them together (*all-gather*), multiply, forget the other's shard.
# 2. The gradient of $W$ is the sum over processes, as before. Each needs that sum for its own shard only (*reduce-scatter*).
# 3. AdamW treats every number by itself. Only clipping needs the whole gradient, and of it only the norm: $\lVert g \rVert^2 = \sum_k \lVert g_k \rVert^2$, one number from each.
#
# So the update of the shards is the update of the whole. By hand, with two processes that have five examples each:

# %%
torch.manual_seed(0)
W, x, target = torch.randn(6, 4), torch.randn(10, 6), torch.randn(10, 4)


def adamw_step(weight, gradient, norm, limit=0.5):
    """One clipped step of AdamW, whose eps = 1 lets the gradient's length count."""
    weight = weight.clone().requires_grad_(True)
    weight.grad = gradient * min(1, limit / norm)
    torch.optim.AdamW([weight], lr=0.1, weight_decay=0.0, eps=1.0).step()
    return weight.detach()


def gradient_on(rows, whole):
    """∇ of a squared error on some examples."""
    whole = whole.clone().requires_grad_(True)
    return torch.autograd.grad(((x[rows] @ whole - target[rows]) ** 2).sum(), whole)[0]


# %%
shards = [W[:3], W[3:]]  # what each process holds
gathered = torch.cat(shards)  # 1: for the forward and the backward pass
summed = gradient_on(slice(0, 5), gathered) + gradient_on(slice(5, 10), gathered)
parts = [summed[:3], summed[3:]]  # 2
own = [part.norm() for part in parts]
norm = (own[0] ** 2 + own[1] ** 2).sqrt()  # 3
gradient = gradient_on(slice(0, 10), W)
expected = adamw_step(W, gradient, gradient.norm())
for what, norms in {"by the whole norm": [norm, norm], "each by its own": own}.items():
    updated = torch.cat(list(map(adamw_step, shards, parts, norms)))
    same = torch.allclose(updated, expected, atol=1e-6)
    print(f"clipped {what}: the update of the whole: {same}")
    assert same == (norms is not own)


# %% [markdown]
# `accelerate launch --use_fsdp --num_processes 4 -m dpo_book dpo --policy gpt2-xl ...` does this block by block, with
# PyTorch's `fully_shard`: the float32 weights of one block at a time are whole. (In bfloat16 autograd also keeps a narrow
# copy of the others, 2 bytes a parameter.) Checkpoints hold whole tensors, so a run on four cards can go on with one.
#
# Both commands were run on CPUs only: the book's tests hold the losses of two processes against those of one, to 1e-5, and
# each process's share of the weights to a half.
#
# ## What a full run costs
#
# Work is tokens times weights: P + C + R tokens go through GPT-2's body, 85 million weights in products, and C + R through
# its head, 38.6 million. A rate measured on one kind of pairs then tells the time of another kind. First see whether that is
# so, on two kinds that were both measured. Then HH, the paper's dialogues, in its batches of 64. The lengths are an
# *assumption*: prompts of 180 tokens, completions of 80. Count yours.

# %%
def work(prompt, completion):
    """Weights × tokens of a pair: body and head."""
    return 85e6 * (prompt + 2 * completion) + 38.6e6 * 2 * completion


rate = speeds["dpo_book"]["124M, TL;DR-like"] * work(400, 50)
predicted, measured = rate / work(16, 24), speeds["dpo_book"]["124M, short pairs"]
error = predicted / measured - 1
print(f"short pairs: {predicted:.2f} a second predicted, {100 * error:+.0f} % off")
assert abs(error) < 0.25
pairs_of_hh = 160_800  # about as many as its training split has
print(f"one epoch of HH: --steps {math.ceil(pairs_of_hh / 64)}")
days = pairs_of_hh * work(180, 80) / rate / 86400
print(f"one epoch of HH on one CPU thread: {days:.1f} days")
print(f"and a third of that once, for the reference: {days / 3:.1f} days")

# %% jupyter={"source_hidden": true} tags=["hide-input"]
xl_bytes = (4 + 4 + 8 + 4) * sizes["gpt2-xl"]  # in the update
assert round(xl_bytes / 1e9) == 31 and round(xl_bytes / 4 / 1e9) == 8
assert round(4 * LOGITS_AT_ONCE / 1e6) == 67
assert abs(300 * 64 / pairs_of_hh - 1 / 8) < 0.01


# %% [markdown]
# A forward pass is about a third of a step, and the reference needs only that, once. Not in
# it: SFT, evaluation. And mind the default: 300 steps are an eighth of this epoch.
#
# For your own machine, start the real command with `--steps 20`. The bar shows tokens a second, P + C + R of a pair:
# your pairs' tokens divided by that are the seconds of an epoch.
#
# ## What could go wrong
#
# **"Out of memory at the first step."** ([TRL #3168](https://github.com/huggingface/trl/issues/3168)) In many trainers the
# logits: a table of tokens × vocabulary, several times. See above; where it still does not fit, `micro_batch_size`.
#
# **"The loss stays at 0.69."** The learning rate is that of a model of another size. A run brought over from TRL has to
# bring its rate along.
#
# **"The killed run started over."** Checkpoints that keep weights but not AdamW's moments and the place in the data do not
# continue a run. `python -m dpo_book` keeps all of them, and the same command goes on.
#
# ## Exercises
#
# ### Exercise · training_bytes
#
# Difficulty ★☆☆ · importance ●●○ · 5 minutes
#
# How many bytes does a float32 training step with AdamW hold when the backward pass begins, in weights, gradients, moments,
# and one whole table of logits for `tokens` scored tokens? Leave out activations, and the logits' copy.

# %%
def training_bytes(parameters, tokens, vocabulary):
    """Bytes of weights, gradients, AdamW's moments and logits: a number."""
    # YOUR CODE HERE
    raise NotImplementedError()


# %%
check_training_bytes(training_bytes)


# %% [markdown]
# ### Exercise · same_run
#
# Difficulty ★★☆ · importance ●●○ · 5 minutes
#
# A colleague trains with TRL: so many pairs, epochs, pairs a device, accumulation steps and devices. Which `batch_size`
# and `steps` make it the same run here? An epoch's last batch may be smaller in TRL; it counts as a step.

# %%
def same_run(pairs, epochs, per_device, accumulation, devices):
    """batch_size and steps: two whole numbers."""
    # YOUR CODE HERE
    raise NotImplementedError()


# %%
check_same_run(same_run)


# %% [markdown]
# ### Exercise · whole_gradient
#
# Difficulty ★★★ · importance ●○○ · 5 minutes
#
# K parts of a batch, on K machines, each sent the gradient of the *mean* loss of its own pairs, (K, D), and how many
# pairs it had, (K,). What is the gradient of the mean loss of all?

# %%
def whole_gradient(gradients, sizes):
    """∇ of the mean loss over all pairs: shape (D,)."""
    # YOUR CODE HERE
    raise NotImplementedError()


# %%
check_whole_gradient(whole_gradient)

# %% [markdown]
# ## Quiz

# %%
quiz("13", 1)

# %%
quiz("13", 2)

# %%
quiz("13", 3)

# %% [markdown]
# ## Recap
#
# | symbol | in code | shape | equation |
# |---|---|---|---|
# | $\log \pi(y \mid x)$ | `sequence_logp(model, batch)` | (B,) | – |
# | $\log \pi(y_w \mid x)$, $\log \pi(y_l \mid x)$, prompt once | `score = pair_scorer(model, pairs)`, then `score(part)` | (B,) each | 7 |
# | $\log \pi_{\text{ref}}$, once | `score_pairs(reference, pairs)` | (pairs,) each | 7 |
# | $\partial \log p_y / \partial z$ | in `head_logp`'s backward pass | (tokens, V), in parts | – |
# | $n_k / B$ | `DPOConfig(micro_batch_size=...)` | number | – |
#
# The prompt once, logits where they are read, the reference once: the same loss in a fraction of time and memory. A
# speed-up is worth what its parity check is worth. Before a long run, measure a short one and multiply.
