# %% [markdown]
# # 11 · How does it scale?
#
# The largest policy so far, chapter 08's, had a million parameters and 1,164 tokens. GPT-2 has 124 million and 50,257.
# The loss stays equation 7. What changes is what a step costs, and how much you notice when something goes wrong.
#
# **Write down a prediction first.** A pair has a prompt of 400 tokens and two completions of 50, as a post and two
# summaries of it have (this page calls that *TL;DR-like*). The model is GPT-2, the precision float32. Which is larger:
# all of GPT-2's weights, or the logits of eight such pairs, computed for every token? And by what factor can a step of
# the textbook's loop be made faster without changing the loss?
#
# Two words for the whole page. The *body* of a GPT-2 is its embeddings and blocks: tokens go in, a hidden state a token
# comes out. The *head* is the matrix that makes of a hidden state one logit for every word of the vocabulary.
#
# | after this chapter you can | |
# |---|---|
# | go from `mini` to `gpt2` by changing one line | 5 min |
# | say where time and memory go, and derive each of the savings | 20 min |
# | check a fast implementation against a slow one, and against TRL | 10 min |
# | train on batches and models that do not fit one machine | 15 min |
# | read a log, and estimate what a run will cost | 15 min |
#
# You need chapters 06 (the loss) and 07 (its curves). Symbols as there.
#
# | what is needed for | network | TRL | GPU |
# |---|---|---|---|
# | every cell of this page as it stands | no | no | no |
# | `POLICY = "gpt2"` in the first section | once, to download half a gigabyte | no | helps |
# | measuring the tables of this page yourself: `make bench`, half an hour and 12 GB on Linux | no | yes | no |
# | one run on several GPUs or machines | no | no | helps |

# %%
import json
import math
import tempfile
from functools import partial

import pandas as pd
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from dpo_book import *
from dpo_book import plots, widgets
from dpo_book.checks.broken_runs import CAUSES, HEALTHY, broken_log
from dpo_book.checks.scale import check_diagnosis, check_training_bytes, check_whole_gradient
from dpo_book.models.head import LOGITS_AT_ONCE
from dpo_book.models.logprobs import completion_logits, token_log_probability
from dpo_book.models.scoring import can_share_prompts, pair_scorer, row_scorer
from dpo_book.models.shared_prompt import collate_shared, pair_groups, shared_logp
from dpo_book.notebook import stored
from dpo_book.system.operations import operations
from dpo_book.worlds.references import verdicts_reference
from dpo_book.worlds.tiny_reviews import tiny_reviews
from dpo_book.worlds.verdicts import draw_comparisons, verdicts

setup(seed=0)

# %% [markdown]
# ## One line
#
# Here is a whole run: preferences, a policy, its copy as the reference, DPO. Which policy it is stands in the first line.
# `"gpt2"` is a name on the Hugging Face hub. A folder that `save_pretrained` wrote and a `.gguf` file work as well: any
# causal language model that transformers itself knows and whose weights are safetensors or GGUF.

# %%
POLICY = "mini"  # or "gpt2", "gpt2-medium", a folder, a .gguf file

world = tiny_reviews()
texts = world.corpus(128)  # (prompt, response)
# Each prompt's own response, and one that was written for another prompt; the world's reward says which is better.
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
def first_steps(policy, tokenizer, steps=6):
    """The records of a few steps of DPO on the preferences."""
    pairs = tokenize_pairs(preferences, tokenizer, max_length=256)
    config = DPOConfig(beta=0.1, learning_rate=1e-4, batch_size=16, steps=steps, warmup_steps=0)
    return list(train_dpo(copy_policy(policy), policy, pairs, config))


records = first_steps(policy, tokenizer)
for record in records[::5]:
    print(f"step {record['step']}: loss ≈ {record['loss']:.4f}")
assert abs(records[0]["loss"] - 0.6931) < 1e-3 and records[-1]["loss"] < 0.69

# %% [markdown]
# The first loss is $\ln 2$, as it must be while policy and reference are one. A *loaded* model goes the same way. To see
# it without a network, save this one as the hub would hold it and load it by name:

# %%
with tempfile.TemporaryDirectory() as folder:
    policy.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    loaded = first_steps(*load_policy(folder))
print("same losses:", [a["loss"] for a in loaded] == [b["loss"] for b in records])
assert [a["loss"] for a in loaded] == [b["loss"] for b in records]

# %% [markdown]
# And a name that leads nowhere, or a hub that cannot be reached, is one message that says what to do instead:

# %%
try:
    load_policy("dpo-workbook/no-such-policy")
except PolicyNotFoundError as error:
    print(str(error).split(" (transformers said")[0].replace(". ", ".\n"))

# %% [markdown]
# From a terminal, with checkpoints, a log and figures in a folder of its own, that is
#
# ```
# python -m dpo_book sft --policy gpt2 --data my_pairs.jsonl --out start
# python -m dpo_book dpo --policy start/model --data my_pairs.jsonl --out trained \
#     --beta 0.1 --learning-rate 1e-4 --batch-size 16 --steps 6 --warmup-steps 0 --max-length 256
# ```
#
# `my_pairs.jsonl` has a `prompt`, a `chosen` and a `rejected` in every line. The first command is new: DPO starts from a
# policy that already writes such texts (chapter 00), and a raw `gpt2` does not. `--data` also takes `hh`, `tldr` and
# `imdb`, the paper's own data. A prompt that fills `--max-length` alone stops the run with its row's number;
# `--drop-long` leaves it out. Without options the batch has 64 pairs and the learning rate is $10^{-6}$, as in the paper
# (appendix B). The 300 steps are *not* an epoch of it:

# %%
pairs_of_hh = 160_800  # about as many as the training split of HH (helpful and harmless) has
print(f"300 steps of 64 pairs: {300 * 64 / pairs_of_hh:.2f} epochs of HH")
print(f"one epoch: --steps {math.ceil(pairs_of_hh / 64)}")

# %% [markdown]
# Before its first step the command lets the reference run over the pairs that the steps will come by. It has a bar of
# its own for that, and keeps the result, so that a second run on the same pairs starts at once.
#
# ## Where the memory goes
#
# Begin with a number. GPT-2's smallest size has 124,439,808 parameters, and float32 takes 4 bytes. AdamW keeps two
# moments a parameter (running means of the gradient and of its square).

# %%
parameters, vocabulary = 124_439_808, 50_257
weights = 4 * parameters
held = {"weights": weights, "gradients": weights, "AdamW's two moments": 2 * weights}
tokens = 8 * 2 * (400 + 50)  # eight pairs, each in two rows
held |= {"a copy of the weights, from an update to the next loss": weights}
held |= {"logits of every token, eight TL;DR-like pairs": 4 * tokens * vocabulary}
for name, size in held.items():
    print(f"{size / 1e6:8.0f} MB  {name}")

# %% [markdown]
# That answers the first question: the logits of eight pairs weigh three times the weights, and a textbook
# implementation holds several tensors of their size (log-softmax, gradient). Most of them are never needed. The copy is
# this book's own: it is the way back if the next loss is not finite. With a batch in one piece it is let go before the next
# gradients are made, so that the two are together only in the update itself, when no logits are there.
#
# ## Three savings, derived
#
# The chosen and the rejected completion share the prompt $x$ of P tokens. They have C and R tokens. A textbook
# implementation runs two rows, $x y_w$ and $x y_l$, and takes the log-softmax everywhere:

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

# %%
def completions_only(model):
    """The same from the logits of completion tokens alone."""
    logp = token_log_probability(completion_logits(model, rows), rows.input_ids[:, -C:])
    return logp.where(rows.completion_mask[:, -C:], 0.0).sum(dim=1)


# %% [markdown]
# ### 2. The vocabulary in parts
#
# 1. $\log p_y = z_y - \log \sum_v e^{z_v}$ with $z = W h$: a token's log-probability needs its own row of logits, no other.
# 2. So rows can be made for a few tokens at a time, used and forgotten. What of the gradient?
# 3. $\partial \log p_y / \partial z_v = \mathbb{1}[v = y] - e^{z_v} / \sum_u e^{z_u}$: derive step 1.
# 4. $= \mathbb{1}[v = y] - p_v$, and $p_v = e^{z_v - \log \sum_u e^{z_u}}$: with the log-sum kept, one number a token, *z* is all that is missing.
# 5. And $z = W h$ can be made again. The backward pass does so, a few tokens at a time: work for memory.
#
# Steps 3 and 4, against autograd:

# %%
z = torch.randn(7, dtype=torch.float64, requires_grad=True)
(by_autograd,) = torch.autograd.grad(z.log_softmax(-1)[2], z)
p = (z - z.logsumexp(-1)).exp()
by_hand = torch.eye(7, dtype=torch.float64)[2] - p
print("∂ log p_y / ∂z = onehot(y) − p:", torch.allclose(by_autograd, by_hand, atol=1e-12))
assert torch.allclose(by_autograd, by_hand, atol=1e-12)

# %% [markdown]
# `sequence_logp` does this, with at most $2^{24}$ logits at a time.
#
# ### 3. The prompt once
#
# 1. A token's hidden state depends on its position's number and on the tokens it attends to, and on nothing else. (So it is in GPT-2, Llama and most others. A sliding window, or ALiBi's distances, break it; `can_share_prompts` finds that out, and such a model runs two rows.)
# 2. A prompt token attends to earlier prompt tokens only. In both rows they are the same: P hidden states are computed twice.
# 3. Put both completions behind one prompt. Forbid those of $y_l$ to attend to $y_w$, and let both count positions on from P.
# 4. Then every token attends to what it did before, at the position it had: by step 1 nothing changes. 2P + C + R tokens become P + C + R.
#
# A prompt of three tokens, 1 2 3, with the completions 4 5 and 6 7 8. Their last tokens predict nothing and are left
# out. Look at the mask: a row is a token, a dot what it must not see.

# %%
one_row = collate_shared([([1, 2, 3], [[4, 5], [6, 7, 8]])])
print("token   ", *one_row.input_ids[0].tolist())
print("position", *one_row.position_ids[0].tolist())
for token, sees in zip(one_row.input_ids[0].tolist(), one_row.attention_mask[0, 0], strict=True):
    print(f"{token} sees  ", *["x" if seen else "." for seen in sees.tolist()])
assert not one_row.attention_mask[0, 0, 4:, 3].any()  # nothing of the second sees the first


# %% [markdown]
# Token 6 has the position that token 4 has, and sees the prompt and itself. `shared_logp` runs such rows. In training,
# `pair_scorer(model, pairs)` tries the model once, and gives the function that scores pairs in one row or in two.
#
# The claim of all three: same numbers, and, since each is then the same function of the weights, same gradients. In
# float64 rounding leaves no excuse:

# %%
def in_parts(model):
    """The same with few logits at a time."""
    return sequence_logp(model, rows)


def prompt_once(model):
    """The same from one row."""
    return shared_logp(model, collate_shared(pair_groups([pair])))


ways = {
    "textbook": textbook,
    "completions only": completions_only,
    "vocabulary in parts": in_parts,
    "shared prompt": prompt_once,
}
exact = copy_policy(model).double()
assert can_share_prompts(exact, [pair])
gradients = {}
for name, logps in ways.items():
    values = logps(exact)
    (gradient,) = torch.autograd.grad(
        values[0] - values[1], exact.transformer.h[0].attn.c_attn.weight
    )
    gradients[name] = gradient
    print(
        f"{name:20} log π: {values[0]:.4f} {values[1]:.4f}   gradient's norm {gradient.norm():.4f}"
    )
    assert torch.allclose(values, textbook(exact), rtol=1e-12)
    assert torch.allclose(gradient, gradients["textbook"], rtol=1e-9, atol=1e-12)


# %% [markdown]
# One result, four costs. Two of them can be counted, on any machine: the floating-point operations of the matrix
# products, attention's among them, and the bytes that the forward pass keeps for the backward pass.

# %%
def kept_bytes(logps):
    """Bytes that autograd keeps between the forward and the backward pass, the weights themselves left out."""
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)  # held: no address is used twice
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


# Ways 3 and 4 keep their last part of logits themselves, where autograd, and so the count, does not see it.
last_part = 4 * min(LOGITS_AT_ONCE, (C + R) * vocabulary)
unseen = {"vocabulary in parts": last_part, "shared prompt": last_part}
# First the bytes: at its first call `sequence_logp` also tries what the model is, which is not to be counted.
kept = {name: kept_bytes(logps) + unseen.get(name, 0) for name, logps in ways.items()}
costs = {name: operations(partial(step_of, logps)) for name, logps in ways.items()}
print("                      operations   kept for the backward pass")
for name in ways:
    print(f"{name:20} {costs[name] / 1e9:8.1f} · 10⁹ {kept[name] / 1e6:15.1f} MB")
assert costs["textbook"] > 4 * costs["shared prompt"]
assert kept["textbook"] > 4 * kept["shared prompt"]

# %% [markdown]
# Look down the columns. Logits of completions alone take away most of both. Parts hardly show here: the 50 rows of one
# pair are a single part. (What they do save is the padding of the shorter completion, which they skip.) They are for
# batches: of 64 pairs, too, there are $2^{24}$ logits at a time, 67 MB. The shared prompt then nearly halves what the body
# does and keeps. Over a small vocabulary the body is all there is, and the order turns: the shared prompt saves most.
#
# It has a price. In one row the tokens of $y_l$ are compared with those of $y_w$ as well, and the mask throws the result
# away. With short prompts and long completions that is more than the prompt's second run:

# %%
score_rows = row_scorer(model)  # sequence_logp; the head is tried here, and not counted


def share_of_two_rows(prompt, completion):
    """Operations of a forward pass over a pair in one row, as a share of those in two."""
    x, chosen, rejected = ids(prompt), ids(completion), ids(completion)
    one_row = collate_shared([(x, [chosen, rejected])])
    two_rows = collate([x, x], [chosen, rejected])
    one = operations(partial(shared_logp, model, one_row))
    return one / operations(partial(score_rows, two_rows))


for sizes in ((400, 50), (16, 24), (4, 250)):
    print(f"prompt {sizes[0]:3}, completions {sizes[1]:3}: {share_of_two_rows(*sizes):.2f}")
assert share_of_two_rows(400, 50) < 0.8 and share_of_two_rows(4, 250) > 1

# %% [markdown]
# ## What it comes to, measured
#
# Counts are not seconds. `make bench` measures those, beside TRL's `DPOTrainer`. Both train the same model (fresh weights,
# for their values do not change what a step costs) on the same batches of random tokens in the same order. They take
# turns, a step each, and each has the settings that suit it best. "mini" has chapter 08's shape, "124M" GPT-2's own.
# A *CPU second* is a second in which the processor worked for this program: other programs do not count. The tables here
# are the last full run:

# %%
about = json.loads(stored("bench-cpu.json").read_text())
table = pd.read_csv(stored("bench-cpu.csv"))
losses = pd.read_csv(stored("bench-cpu-losses.csv"))
print(f"{about['date']}: {about['processor']}, {about['threads']} thread, {about['precision']}")
print(
    f"torch {about['torch']}, transformers {about['transformers']}, TRL {about['trl']}, seed {about['seed']}"
)
ours = table[table["what"] == "dpo_book"]

# %% [markdown]
# First each saving (*lever*) on top of those before it: forward and backward pass, without the update, which none of
# them touches. The textbook also runs the reference in every step, and takes pairs in any order, so that short ones are
# padded to long ones.

# %%
plots.levers(table)

# %%
for case, rows_of in table[table["table"] == "levers"].groupby("case", sort=False):
    print(case)
    start = rows_of["pairs_per_cpu_second"].iloc[0]
    for row in rows_of.itertuples():
        speed = row.pairs_per_cpu_second
        print(f"  {row.what:30} {speed:7.3f} pairs/s  {speed / start:5.2f}×  {row.peak_mb:6.0f} MB")
    assert speed > 1.5 * start and row.peak_mb < rows_of["peak_mb"].iloc[0] / 3

# %% [markdown]
# That answers the second question: the last line of the first block is the factor for GPT-2. With long prompts the shared
# prompt is the tallest step. With short ones and GPT-2's vocabulary most of the *memory* goes with the vocabulary in parts. In
# time the parts cost about as much as they save: logits are made twice, but less is written to memory and read back.
#
# ## Beside TRL
#
# What is TRL doing at the same time? The version measured here has the second saving too, its own, without a table of
# logits. On a GPU it scores completion tokens only. On a CPU it scores every position, the prompt's and the padding's
# too (`_use_triton` in its `trainer/utils.py` decides), and measures the entropy of each. It runs two rows a pair on
# both. So the ratios below are ratios *on a CPU*. Of them only what the shared prompt gives can be expected on a GPU.
#
# Before speed comes parity. If the losses differ, the faster one computes something else. A difference of exactly zero
# is drawn at $10^{-8}$.

# %%
plots.loss_differences(losses, within=1e-5)

# %%
print("                      largest difference, relative   the loss went as far from ln 2 as")
for case, steps in losses.groupby("case", sort=False):
    difference = steps["relative_difference"].max()
    print(f"{case:20} {difference:20.1e} {(steps['dpo_book'] - math.log(2)).abs().max():30.4f}")
    assert difference < 1e-5
assert ours["loss_difference"].max() < 1e-5  # in all the other runs of the bench, too

# %% [markdown]
# Float32 has seven digits. Both trainers add up the same numbers in another order, and each step hands its rounding to the
# next. But look at the last column: after a few steps every loss is still near $\ln 2$, and there a wrong implementation
# would look right as well. So the book's tests compare what the loss is made of (`pytest tests/training/test_trl_parity.py`): the
# log-probabilities, each parameter's gradient, and a loss that has left $\ln 2$.
#
# How a sum is made matters, too. The log-probability of 128 tokens is about −1,000 nats, and there two neighbouring
# float32 numbers are 0.00006 apart. One after another, each addition rounds by up to half of that:

# %%
torch.manual_seed(0)
of_tokens = -4 - 8 * torch.rand(128, 64)  # 128 tokens of each of 64 completions
in_float32 = torch.zeros(64)
for logp in of_tokens:
    in_float32 += logp
in_float64 = of_tokens.double().sum(dim=0)
error = (in_float32 - in_float64).abs().max()
rounding = (in_float64.float() - in_float64).abs().max()
print(f"one after another in float32: off by up to {error:.5f} nats")
print(f"in float64, rounded at the end: {rounding:.5f} nats")
assert error > 3 * rounding

# %% [markdown]
# With β = 0.1, some 0.0002 nats are a relative error of 1e-5 in the loss: all that the comparison above allows. So
# `shared_logp` adds up in float64. Now the time:

# %%
print("                       this book          TRL      ratio")
for case, both in table[table["table"] == "compare"].groupby("case", sort=False):
    speed = both.set_index("what")["pairs_per_cpu_second"]
    ratio = speed["dpo_book"] / speed["TRL"]
    print(f"{case:20} {speed['dpo_book']:8.3f}/s {speed['TRL']:10.3f}/s {ratio:8.2f}×")
    assert ratio > (3 if "TL;DR" in case else 2)

# %% [markdown]
# Is that fast, or was the other one slow? The yardstick is the best that this processor does: one large product of two
# square matrices in float32.

# %%
print(f"a large product of matrices: {about['matrix_gflops']:.0f} · 10⁹ operations a CPU second")
for row in ours[ours["table"] == "compare"].itertuples():
    share = row.gflops / about["matrix_gflops"]
    print(f"{row.case:20} {row.gflops:6.1f} · 10⁹, {100 * share:.0f} % of it")
    assert 0.4 < share < 1

# %% [markdown]
# What is missing to 100 % is all that is no product of large matrices: softmax, layer norms, the activation, AdamW.
#
# And the peak of the memory beyond the loaded weights, at GPT-2's vocabulary. Both sides give freed blocks above 1 MiB
# back to the system at once; where the C library may keep some, both peaks come out higher. The last column leaves out
# gradients and AdamW's state, which both hold.

# %%
print("                                            this book      TRL   ratio  without state")
for case, both in table[table["table"] == "memory"].groupby("case", sort=False):
    peak, state = both.set_index("what")["peak_mb"], both["state_mb"].iloc[0]
    mine, trl = peak["dpo_book"], peak["TRL"]
    without = (mine - state) / (trl - state)
    print(f"{case:42} {mine:6.0f} MB {trl:5.0f} MB {mine / trl:6.2f} {without:9.2f}")
    assert mine < trl / 2
    if "124M" in case:
        assert abs(state - 3 * weights / 1e6) < 2  # gradients and two moments, as counted above

# %% [markdown]
# The ratio depends on the batch: the fewer the pairs, the more of the peak is gradients and AdamW's state. (Those can be
# had cheaper too: by LoRA, `--lora-rank`, or by the split below.) The last rows have 64 short pairs, the paper's
# batch, and 8 long ones.
#
# ## How cost grows
#
# One size at a time, all else at a mini model with prompts of 64 tokens, completions of 32 and batches of 8. Look for
# the panels in which the two lines part.

# %%
plots.growth(table)


# %%
def ratios(axis):
    """Speed over TRL's along one axis."""
    return ours[ours["case"] == f"by {axis}"]["times_trl"]


growth = table[table["table"] == "growth"]
for case, rows_of in growth.groupby("case", sort=False):
    times_trl = rows_of[rows_of["what"] == "dpo_book"]["times_trl"]
    print(f"{case:15} speed over TRL's: {'  '.join(f'{times:.2f}×' for times in times_trl)}")
assert ratios("prompt").is_monotonic_increasing and ratios("vocabulary").is_monotonic_increasing
assert ratios("completion").is_monotonic_decreasing and ratios("size").is_monotonic_decreasing

# %% [markdown]
# The longer the prompt and the larger the vocabulary, the more is saved; the longer the completions and the larger the
# body, the less, for those are work that has to be done. With more pairs a batch the fixed cost of a step, AdamW's
# above all, is shared by more of them. A lever is worth what it acts on.
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
    """∇ of the mean DPO loss of some pairs, against a reference that is a little elsewhere."""
    chosen, rejected = score(part)
    loss, *_ = dpo_loss(chosen, rejected, chosen.detach() - 1, rejected.detach() + 1, beta=0.1)
    return torch.autograd.grad(loss.mean(), watched)[0]


# %%
def error_of(gradient):
    """How far from that of all pairs, relative."""
    return float((gradient - whole).norm() / whole.norm())


whole = gradient_of(pairs)
parts = [pairs[:16], pairs[16:]]
by_share = sum(len(part) / len(pairs) * gradient_of(part) for part in parts)
by_count = sum(gradient_of(part) for part in parts) / len(parts)
print(f"weighted by share: right to 5 digits: {error_of(by_share) < 1e-5}")
print(f"mean of the parts' means: off by ≈ {100 * error_of(by_count):.0f} %")
assert error_of(by_share) < 1e-5 and error_of(by_count) > 0.05

# %% [markdown]
# By the parts' number each of the four pairs in the small part weighs 1/8, and each of the sixteen 1/32, where all should
# weigh 1/20. `DPOConfig(micro_batch_size=16)`, or `--micro-batch-size 16`, does the first. It changes how much memory a step takes,
# not what it computes.
#
# ## Several GPUs, several machines
#
# The parts may as well lie on other GPUs, each with a process of its own. Every process holds the model and AdamW's state,
# takes its rows of every batch and computes their gradient; then all add up what they have (*all-reduce*), and each makes
# the same update. That is *distributed data parallel*, DDP. What has to travel is one gradient a step. By hand, with two
# "processes":

# %%
mine, theirs = pairs[0::2], pairs[1::2]
total = sum(len(part) / len(pairs) * gradient_of(part) for part in (mine, theirs))
print("two processes and one give one gradient:", error_of(total) < 1e-5)
assert error_of(total) < 1e-5

# %% [markdown]
# The real thing is one command around the one from above. `--batch-size` stays the size of the *global* batch, so a run
# on two cards is comparable with a run on one:
#
# ```
# accelerate launch --multi_gpu --num_processes 2 \
#     -m dpo_book dpo --policy gpt2 --data hh --out my_run
# ```
#
# On two machines, give each the same command with `--num_machines 2 --num_processes 4 --machine_rank 0` (and `1`) and
# `--main_process_ip` of the first; `OUT` has to be on a disk that both see, for each reads the checkpoint there. The
# reference's pass is shared among the processes as well.
#
# ### A model that does not fit
#
# GPT-2's largest size has 1.5 billion parameters. In the update that is 4 + 4 + 8 + 4 bytes a parameter on the GPU:

# %%
xl = 1_557_611_200
print(f"one process: {20 * xl / 1e9:.0f} GB; each of four: {20 * xl / 4 / 1e9:.0f} GB")

# %% [markdown]
# The second number is *fully sharded data parallel*, FSDP: each process keeps a *shard* of every weight, some of its rows, and
# of its gradient and moments. It needs three facts:
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
    """The weight after one clipped step of AdamW, whose eps = 1 lets the gradient's length count."""
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
mine, theirs = summed[:3], summed[3:]  # 2
norm = (mine.norm() ** 2 + theirs.norm() ** 2).sqrt()  # 3
whole = gradient_on(slice(0, 10), W)
expected = adamw_step(W, whole, whole.norm())


def update(norm_of_mine, norm_of_theirs):
    """Both shards after their own steps, put together."""
    my_shard = adamw_step(shards[0], mine, norm_of_mine)
    return torch.cat([my_shard, adamw_step(shards[1], theirs, norm_of_theirs)])


sharded, each_by_its_own = update(norm, norm), update(mine.norm(), theirs.norm())
print("shards and whole get one update:", torch.allclose(sharded, expected, atol=1e-6))
print("if each clipped by its own norm:", torch.allclose(each_by_its_own, expected, atol=1e-3))
assert torch.allclose(norm, whole.norm()) and torch.allclose(sharded, expected, atol=1e-6)
assert not torch.allclose(each_by_its_own, expected, atol=1e-3)

# %% [markdown]
# ```
# accelerate launch --use_fsdp --num_processes 4 \
#     -m dpo_book dpo --policy gpt2-xl --data hh --out my_run
# ```
#
# does this block by block, with PyTorch's `fully_shard`: the float32 weights of one block at a time are whole. (In bfloat16
# autograd also keeps a narrow copy of the others from the forward to the backward pass, 2 bytes a parameter.) In the
# machine's own memory each process still holds the model once. Checkpoints hold whole tensors, so a run on four cards can
# go on with one.
#
# Both commands also work on a machine without a GPU. The book's tests run them so (`pytest tests/system/test_processes.py`), and
# hold the losses of two processes against those of one, to 1e-5, and each process's share of the weights to a half.
#
# **On a GPU** call `policy.cuda()` before `copy_policy`; the commands do so themselves. Training then runs in bfloat16
# autocast, weights and AdamW's state stay float32; expect two or three equal digits where this page has six. This page
# shows no number from a GPU because none has been measured for it yet.
#
# ## What to watch in a log
#
# A healthy run first: the verdict world of chapter 07, hard labels, 100 steps. It is a small model, so its learning rate is
# a thousand times that of a large one:

# %%
small, reference = verdicts(), verdicts_reference()
with torch.no_grad():
    ref_logp = small.logp(reference).double()
comparisons, _ = draw_comparisons(small, ref_logp, 6400, "hard")
healthy = list(train_dpo(copy_policy(reference), reference, comparisons, HEALTHY))
print(HEALTHY)


# %%
def show(log):
    """A log at five of its steps."""
    print("step     loss  r(y_w)  r(y_l)  accuracy  log π(y_w)  log π(y_l)  grad_norm")
    for r in (log[i] for i in (0, 1, 9, 39, 99)):
        rewards = f"{r['rewards/chosen']:7.2f} {r['rewards/rejected']:7.2f}"
        logps = f"{r['logps/chosen']:11.1f} {r['logps/rejected']:11.1f}"
        print(
            f"{r['step']:4} {r['loss']:8.4f} {rewards} {r['rewards/accuracies']:9.2f}"
            f" {logps} {r['grad_norm']:10.2f}"
        )


# %% tags=["nbval-ignore-output"]
show(healthy)


# %%
def mean_of_last(log, name):
    """Over the last 20 steps."""
    return sum(record[name] for record in log[-20:]) / 20


assert abs(healthy[0]["loss"] - 0.6931) < 1e-4 and abs(healthy[0]["rewards/chosen"]) < 1e-4
print(f"last 20 steps: loss ≈ {mean_of_last(healthy, 'loss'):.2f}", end=", ")
print(f"accuracy ≈ {mean_of_last(healthy, 'rewards/accuracies'):.2f}")
assert 0.5 < mean_of_last(healthy, "loss") < 0.65
assert 0.6 < mean_of_last(healthy, "rewards/accuracies") < 0.85

# %% [markdown]
# | look at | when | it should |
# |---|---|---|
# | loss | step 1 | be 0.6931 (in bfloat16 0.69). Anything else: policy and reference are not one function |
# | rewards | step 1 | be 0, up to rounding |
# | accuracy | step 1 | be anything: both rewards are 0, and rounding decides which is larger |
# | loss | after some tens of steps | be below 0.69, and rarely near 0 |
# | accuracy | later | rise above 0.5. 1.0 on the training pairs means learned by heart |
# | both log-probabilities | throughout | drift slowly. They may both fall (chapter 07), but not by tens of nats in a few steps |
# | grad_norm | throughout | have no spikes of ten times its usual size |
# | held-out accuracy | at the end | be near that of training: `python -m dpo_book evaluate` |

# %% [markdown]
# The same as curves, each a running mean of 15 steps. Dashed: $\ln 2$.

# %%
plots.learning_curves(
    {"healthy": healthy},
    ["loss", "rewards/accuracies", "logps/chosen", "grad_norm"],
    exact={"loss": math.log(2)},
)


# %% [markdown]
# ## What a full run costs
#
# Work is tokens times weights: P + C + R tokens go through GPT-2's body, 85 million weights in products, and C + R through
# its head, 38.6 million. A rate measured on one kind of pairs then tells the time of another kind. First see whether that is
# so, on two kinds that were both measured:

# %%
def work(prompt, completion):
    """Weights × tokens of a pair: body and head."""
    return 85e6 * (prompt + 2 * completion) + 38.6e6 * 2 * completion


measured = ours[ours["table"] == "compare"].set_index("case")["pairs_per_cpu_second"]
rate = measured["124M, TL;DR-like"] * work(400, 50)
predicted = rate / work(16, 24)
error = predicted / measured["124M, short pairs"] - 1
print(
    f"short pairs: {predicted:.2f} a second predicted, {100 * error:+.0f} % off the measured rate"
)
assert abs(error) < 0.25

# %% [markdown]
# Good to that much. Now HH. The lengths are an *assumption* here, prompts of 180 tokens and completions of 80: count yours
# with `load_preferences` and your tokenizer before you believe the result.

# %%
seconds = pairs_of_hh * work(180, 80) / rate
print(f"one epoch of HH on one CPU thread: {seconds / 86400:.1f} days")
print(f"and a third of that once, for the reference: {seconds / 3 / 86400:.1f} days")

# %% [markdown]
# A forward pass is about a third of a step (a backward pass costs two), and the reference needs only that, once, whatever
# the number of epochs. Not in it: SFT before, evaluation after.
#
# For your own machine and data, start the real command with `--steps 20`. The bar shows tokens a second, P + C + R of a
# pair counted once each. The tokens of your pairs divided by that are the seconds of an epoch.
#
# ## What could go wrong
#
# **"Out of memory at the first step."** ([TRL #3168](https://github.com/huggingface/trl/issues/3168)) In many trainers the
# logits: a table of tokens × vocabulary, several times. See above; where it still does not fit, `micro_batch_size`.
#
# **"The first loss is not 0.6931."** Dropout is on, or the reference is another checkpoint, or its log-probabilities were
# computed in another precision or with another template. This package keeps reference log-probabilities under a key of
# weights, settings and token ids, so that a stale file is never read.
#
# **"NaN after some steps."** ([TRL #878](https://github.com/huggingface/trl/issues/878)) float16 overflows at 65,504,
# bfloat16 only where float32 does. Or the learning rate is too high. Here a loss that is not finite stops the run, names the step, and puts the last good weights back:

# %%
diverging = copy_policy(reference)
settings = DPOConfig(beta=0.5, learning_rate=1e30, batch_size=64, steps=5, warmup_steps=0)
try:
    for _ in train_dpo(diverging, reference, comparisons, settings):
        pass
except TrainingDiverged as error:
    print(error)
assert all(p.isfinite().all() for p in diverging.parameters())


# %% [markdown]
# **"Loss 0, margins of 20."** ([TRL #1236](https://github.com/huggingface/trl/issues/1236)) A learning rate that is far
# too high: TRL's default is $2 \cdot 10^{-5}$ for SFT and $10^{-6}$ for DPO. Or a few pairs, many epochs.
#
# **"The killed run started over."** Checkpoints that keep weights but not AdamW's moments and the place in the data do not
# continue a run, they start a new one. `python -m dpo_book` keeps all of them, and the same command goes on.
#
# ## Exercises
#
# ### Exercise ★ · training_bytes
#
# How many bytes does a float32 training step with AdamW hold when the backward pass begins, in weights, gradients, moments,
# and one whole table of logits for `tokens` scored tokens? Activations are left out, and the copy, which is gone by then.
# (5 minutes)

# %%
def training_bytes(parameters, tokens, vocabulary):
    """Bytes of weights, gradients, AdamW's moments and logits: a number."""
    # YOUR CODE HERE
    raise NotImplementedError()


# %%
check_training_bytes(training_bytes)


# %% [markdown]
# ### Exercise ★★ · whole_gradient
#
# K parts of a batch, on K machines, each sent the gradient of the *mean* loss of its own pairs, (K, D), and how many
# pairs it had, (K,). What is the gradient of the mean loss of all? (5 minutes)

# %%
def whole_gradient(gradients, sizes):
    """∇ of the mean loss over all pairs: shape (D,)."""
    # YOUR CODE HERE
    raise NotImplementedError()


# %%
check_whole_gradient(whole_gradient)

# %% [markdown]
# ### Exercise ★★★ · diagnosis
#
# Three runs in the same world as the healthy one, each with one fault. They really ran, in the next cell. Find out which of
# these causes each of them has, and return their numbers for A, B and C. (15 minutes)

# %%
for number, cause in enumerate(CAUSES, start=1):
    print(number, cause)

# %% tags=["nbval-ignore-output"]
logs = {name: broken_log(name, reference, comparisons) for name in "ABC"}
for name, log in logs.items():
    print(f"log {name}")
    show(log)

# %%
plots.learning_curves(
    logs,
    ["loss", "rewards/margins", "rewards/accuracies", "logps/chosen"],
    exact={"loss": math.log(2)},
)


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
widgets.Quiz(
    "A body of 85 million weights, a vocabulary of 2,048, prompts of 400 tokens, completions of 20. Which lever saves"
    " most operations?",
    {
        "Logits of completions only.": "The head is small here; the body still runs every token twice.",
        "The shared prompt.": "2 · 400 + 40 tokens become 400 + 40: nearly half of the body's work is gone.",
        "The vocabulary in parts.": "That saves memory. All parts but the last are made twice.",
    },
    right="The shared prompt.",
)

# %%
widgets.Quiz(
    "The last batch of an epoch has 64 pairs in parts of 48 and 16. How are the two gradients added up?",
    {
        "Each times one half.": "Then each of the 16 pairs would weigh three times as much as one of the 48.",
        "Times 48/64 and 16/64.": "Each part by its share of the pairs: then every pair weighs 1/64.",
        "Just added.": "Then each part weighs as if it were the whole batch, and 128 pairs' worth comes out of 64.",
    },
    right="Times 48/64 and 16/64.",
)

# %%
widgets.Quiz(
    "A library is four times faster, and its losses differ from yours in the third digit. What now?",
    {
        "Take it: a third digit does not matter.": "In float32 rounding explains the sixth. The third is another loss.",
        "Find out why, before anything else.": "Look for a missing EOS, a dropped token, dropout left on.",
        "Average the two.": "One of them is wrong, and then so is their mean.",
    },
    right="Find out why, before anything else.",
)

# %% [markdown]
# ## Recap
#
# | symbol | in code | shape | equation |
# |---|---|---|---|
# | $\log \pi(y \mid x)$ | `sequence_logp(model, batch)` | (B,) | – |
# | $\log \pi(y_w \mid x), \log \pi(y_l \mid x)$, prompt once | `score = pair_scorer(model, pairs)`, then `score(part)` | (B,) each | 7 |
# | $\log \pi_{\text{ref}}$, once | `score_pairs(reference, pairs)` | (pairs,) each | 7 |
# | $\partial \log p_y / \partial z = \mathbb{1}_y - p$ | in `head_logp`'s backward pass | (tokens, V), in parts | – |
# | $n_k / B$ | `DPOConfig(micro_batch_size=...)` | number | – |
#
# The prompt once, logits where they are read, the reference once: the same loss in a fraction of time and memory. A
# speed-up is worth what its parity check is worth. Before a long run, measure a short one and multiply; in its first
# lines, look for 0.6931.
