# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 11 · How does it scale?
#
# So far a policy had a tenth of a million parameters and eleven words. GPT-2 has 124 million and 50,257. The loss stays
# the same six symbols. What changes is what a step costs, and how much you notice when something goes wrong.
#
# **Write down a prediction first.** A pair has a prompt of 400 tokens and two completions of 50. The model is GPT-2,
# the precision float32. Which is larger: all of GPT-2's weights, or the logits of eight such pairs, computed for every
# token? And by what factor can the time of a step be cut without changing the loss?
#
# | after this chapter you can | |
# |---|---|
# | go from `mini` to `gpt2` by changing one line | 5 min |
# | say where time and memory go, and derive each of the savings | 20 min |
# | check a fast implementation against a slow one, and against TRL | 10 min |
# | train on batches that do not fit, and on several machines | 10 min |
# | read a log, and estimate what a run will cost | 15 min |
#
# You need chapters 06 (the loss) and 07 (its curves). Symbols as there.
#
# | what is needed for | network | TRL | GPU |
# |---|---|---|---|
# | every cell of this page as it stands | no | no | no |
# | `POLICY = "gpt2"` in the first section | once, to download half a gigabyte | no | helps |
# | measuring the tables of this page yourself: `make bench` | no | yes | no |
# | one run on several machines | no | no | helps |

# %%
import json
import tempfile

import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import GPT2Config, GPT2LMHeadModel

from dpo_book import *
from dpo_book import plots, widgets
from dpo_book.broken_runs import CAUSES, HEALTHY, broken_log
from dpo_book.checks.scale import check_diagnosis, check_training_bytes, check_whole_gradient
from dpo_book.logprobs import completion_logits, token_log_probability
from dpo_book.notebook import stored
from dpo_book.recipes import draw_comparisons, verdicts_reference
from dpo_book.shared_prompt import pair_logps
from dpo_book.vocabulary import LOGITS_AT_ONCE
from dpo_book.worlds.tiny_reviews import tiny_reviews
from dpo_book.worlds.verdicts import verdicts

setup(seed=0)

# %% [markdown]
# ## One line
#
# Here is a whole run: preferences, a policy, its copy as the reference, DPO. Which policy it is stands in the first line.
# `"gpt2"` is a name on the Hugging Face hub. A folder that `save_pretrained` wrote and a `.gguf` file work as well, and
# so does any causal language model.

# %%
POLICY = "mini"  # or "gpt2", "gpt2-medium", a folder, a .gguf file

world = tiny_reviews()
texts = world.corpus(128)  # (prompt, response)
drawn = [(x, y, other) for (x, y), (_, other) in zip(texts[:64], texts[64:], strict=True)]
better = lambda x, y, other: world.reward(x, y) >= world.reward(x, other)
preferences = [Preference(x, y, z) if better(x, y, z) else Preference(x, z, y) for x, y, z in drawn]
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
# From a terminal the same run is
#
# ```
# python -m dpo_book dpo --policy gpt2 --data my_pairs.jsonl --out my_run --beta 0.1
# ```
#
# with checkpoints, a log and figures in `my_run`. `--data` also takes `hh`, `tldr` and `imdb`, the paper's own data.
# `python -m dpo_book dpo --help` lists the rest.
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
held |= {"logits of every token, eight TL;DR-like pairs": 4 * tokens * vocabulary}
for name, size in held.items():
    print(f"{size / 1e6:8.0f} MB  {name}")

# %% [markdown]
# That answers the first question: the logits of eight pairs weigh three times the weights, and a textbook
# implementation holds several tensors of their size (log-softmax, gradient). Most of them are never needed.
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
ids = lambda n: torch.randint(vocabulary, (n,)).tolist()
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
# 2. So C rows of logits are read and P − 1 are computed for nothing. The model's *body* still needs every token.
# 3. $\log \text{softmax}(z)_y = z_y - \log \sum_v e^{z_v}$: of each row, one entry and one sum. No second table is needed.


# %%
def completions_only(model):
    """The same from the logits of completion tokens alone."""
    logp = token_log_probability(completion_logits(model, rows), rows.input_ids[:, -C:])
    return logp.where(rows.completion_mask[:, -C:], 0.0).sum(dim=1)


# %% [markdown]
# ### 2. The vocabulary in parts
#
# Every token's log-probability needs its own row of logits and no other. So rows can be made for a few tokens at a
# time, used and forgotten. The backward pass makes them once more: time for memory. `sequence_logp` does this.
#
# ### 3. The prompt once
#
# 1. A token's hidden state depends on its position and on the tokens it attends to, and on nothing else.
# 2. A prompt token attends to earlier prompt tokens only. In both rows they are the same: P hidden states are computed twice.
# 3. Put both completions behind one prompt. Forbid those of $y_l$ to attend to $y_w$, and let both count positions on from P.
# 4. Then every token attends to what it did before, at the position it had: by step 1 nothing changes. 2P + C + R tokens become P + C + R.
#
# `pair_logps(..., share=True)` does this. The claim of all three: same numbers, same gradients. In float64 rounding
# leaves no excuse:

# %%
ways = {
    "textbook": textbook,
    "completions only": completions_only,
    "vocabulary in parts": lambda model: sequence_logp(model, rows),
    "shared prompt": lambda model: torch.cat(pair_logps(model, [pair], share=True)),
}
exact = copy_policy(model).double()
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
# One result, four costs. Two of them can be counted exactly, on any machine: the floating-point operations of the large
# products, forward and backward, and the bytes that the forward pass keeps for the backward pass.


# %%
def cost(logps, hidden_bytes=0):
    """(operations of forward and backward, bytes kept between them, ``hidden_bytes`` included)."""
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)  # held: no address is used twice
        return tensor

    in_place = {torch.ops.aten.addmm_: lambda _, a, b, **__: 2 * a[0] * a[1] * b[1]}
    with FlopCounterMode(display=False, custom_mapping=in_place) as counter:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            values = logps(model)
        (values[0] - values[1]).backward()
    model.zero_grad()
    return counter.get_total_flops(), hidden_bytes + sum(size for size, _ in kept.values())


# %%
last_rows = 4 * min(LOGITS_AT_ONCE, (C + R) * vocabulary)  # kept too, where the hook cannot see it
unseen = {"vocabulary in parts": last_rows, "shared prompt": last_rows}
costs = {name: cost(logps, unseen.get(name, 0)) for name, logps in ways.items()}
print("                      operations   kept for the backward pass")
for name, (flops, kept) in costs.items():
    print(f"{name:20} {flops / 1e9:8.1f} · 10⁹ {kept / 1e6:15.1f} MB")
assert costs["textbook"][0] > 4 * costs["shared prompt"][0]
assert costs["textbook"][1] > 4 * costs["shared prompt"][1]

# %% [markdown]
# Look down the columns. Logits of completions alone take away most of both. Parts hardly show here: the 50 rows of one
# pair are a single part. They are for batches, where never more than 64 MB of logits exist, however many the tokens.
# The shared prompt then nearly halves what the body does and keeps. Over a small vocabulary the body is all there is,
# and the order turns: the shared prompt saves most.
#
# ## What it comes to, measured
#
# Counts are not seconds. `make bench` measures those, beside TRL's `DPOTrainer`. Both train the same model on the same
# batches in the same order, take turns a step each, and each has the settings that suit it best. The tables here are
# its last full run:

# %%
about = json.loads(stored("bench-cpu.json").read_text())
table = pd.read_csv(stored("bench-cpu.csv"))
losses = pd.read_csv(stored("bench-cpu-losses.csv"))
print(f"{about['date']}: {about['processor']}, {about['threads']} thread, {about['precision']}")
print(
    f"torch {about['torch']}, transformers {about['transformers']}, TRL {about['trl']}, seed {about['seed']}"
)

# %% [markdown]
# First each lever on top of those before it. The textbook also runs the reference in every step, takes pairs in any
# order, so that short ones are padded to long ones, and builds its tensors row by row.

# %%
plots.levers(table)

# %%
for case, rows_of in table[table["table"] == "levers"].groupby("case", sort=False):
    print(case)
    start = rows_of["pairs_per_cpu_second"].iloc[0]
    for row in rows_of.itertuples():
        speed = row.pairs_per_cpu_second
        print(f"  {row.what:30} {speed:6.2f} pairs/s  {speed / start:5.2f}×  {row.peak_mb:6.0f} MB")

# %% [markdown]
# That answers the second question. With long prompts the shared prompt is the tallest step; with GPT-2's vocabulary it is
# the vocabulary in parts, which saves time as well: what is not written to memory need not be read back. One lever, the
# single tensor a batch, gains nothing that these few steps could show. It stays because the code is shorter.
#
# ## Beside TRL
#
# Before speed comes parity. If the losses differ, the faster one computes something else.

# %%
plots.loss_differences(losses, within=1e-5)

# %%
worst = losses.groupby("case", sort=False)["relative_difference"].max()
for case, difference in worst.items():
    print(f"{case:20} largest relative difference of a step's loss: {difference:.1e}")
assert (worst < 1e-5).all()

# %% [markdown]
# Float32 has seven digits. Both trainers add up the same numbers in another order, and each step hands its rounding to the
# next. Five equal digits after some steps is what exact agreement looks like here. Now the time:

# %%
print("                       this book          TRL      ratio")
for case, both in table[table["table"] == "compare"].groupby("case", sort=False):
    speed = both.set_index("what")["pairs_per_cpu_second"]
    ratio = speed["dpo_book"] / speed["TRL"]
    print(f"{case:20} {speed['dpo_book']:8.3f}/s {speed['TRL']:10.3f}/s {ratio:8.2f}×")
    assert ratio > (3 if "TL;DR" in case else 2)

# %% [markdown]
# And the peak of the memory, at GPT-2's vocabulary. Both sides give freed blocks above 1 MiB back to the system at once;
# where the C library may keep some, both peaks come out higher. The last column leaves out gradients and AdamW's
# state, which both must have.

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
# The ratio depends on the batch: with few pairs, AdamW's state is nearly all there is, and nobody can save it. The last
# rows have 64 short pairs, the paper's batch, and 8 long ones.
#
# ## How cost grows
#
# One size at a time, all else at a mini model with prompts of 64 tokens, completions of 32 and batches of 8. Look for
# the panel in which the two lines part.

# %%
plots.growth(table)

# %%
growth = table[table["table"] == "growth"]
for case, rows_of in growth.groupby("case", sort=False):
    ratios = rows_of[rows_of["what"] == "dpo_book"]["times_trl"]
    print(f"{case:15} speed over TRL's: {'  '.join(f'{ratio:.2f}×' for ratio in ratios)}")
by_prompt = growth[(growth["case"] == "by prompt") & (growth["what"] == "dpo_book")]["times_trl"]
assert by_prompt.is_monotonic_increasing

# %% [markdown]
# The longer the prompt and the larger the vocabulary, the more is saved; the longer the completions and the deeper the
# body, the less, for those are work that has to be done. A lever is worth what it acts on.
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


def gradient_of(part):
    """∇ of the mean DPO loss of some pairs, against a reference that is a little elsewhere."""
    chosen, rejected = pair_logps(policy, part, share=True)
    loss, *_ = dpo_loss(chosen, rejected, chosen.detach() - 1, rejected.detach() + 1, beta=0.1)
    return torch.autograd.grad(loss.mean(), watched)[0]


# %%
whole = gradient_of(pairs)
parts = [pairs[:16], pairs[16:]]
by_share = sum(len(part) / len(pairs) * gradient_of(part) for part in parts)
by_count = sum(gradient_of(part) for part in parts) / len(parts)
error = lambda other: float((other - whole).norm() / whole.norm())
print(f"weighted by share: right to 5 digits: {error(by_share) < 1e-5}")
print(f"mean of the parts' means: off by ≈ {100 * error(by_count):.0f} %")
assert error(by_share) < 1e-5 and error(by_count) > 0.05

# %% [markdown]
# `DPOConfig(micro_batch_size=16)`, or `--micro-batch-size 16`, does the first. It changes how much memory a step takes,
# not what it computes.
#
# ## Several machines
#
# The parts may as well lie on other machines. Every process holds the model and AdamW's state, takes its rows of every batch
# and computes their gradient; then all add up what they have (*all-reduce*), and each makes the same update. What has
# to travel is one gradient a step. By hand, with two "processes":

# %%
mine, theirs = pairs[0::2], pairs[1::2]
total = sum(len(part) / len(pairs) * gradient_of(part) for part in (mine, theirs))
print("two processes and one give one gradient:", error(total) < 1e-5)
assert error(total) < 1e-5

# %% [markdown]
# The real thing is one command around the one from above. `--batch-size` stays the size of the *global* batch, so a run
# on two cards is comparable with a run on one:
#
# ```
# accelerate launch --multi_gpu --num_processes 2 \
#     -m dpo_book dpo --policy gpt2 --data hh --out my_run
# ```
#
# It also works on a machine without a GPU; the book's tests run it so, and hold the losses of two processes against
# those of one, to 1e-5. What it does not do is split the model (FSDP): each process must have room for all of it. For
# GPT-2 up to its largest size, 1.5 billion parameters and so 24 GB in float32, one large card has.
#
# **On a GPU** call `policy.cuda()` before `copy_policy`; the commands do so themselves. Training then runs in bfloat16
# autocast, weights and AdamW's state stay float32. This page shows no number from a GPU because none has been measured
# for it yet.
#
# ## What to watch in a log
#
# A healthy run first: the verdict world of chapter 07, hard labels, 100 steps.

# %%
small, reference = verdicts(), verdicts_reference()
with torch.no_grad():
    ref_logp = small.logp(reference).double()
comparisons, _ = draw_comparisons(small, ref_logp, 6400, "hard")
healthy = list(train_dpo(copy_policy(reference), reference, comparisons, HEALTHY))
NAMES = ["loss", "rewards/margins", "rewards/accuracies", "logps/chosen", "grad_norm"]


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
assert abs(healthy[0]["loss"] - 0.6931) < 1e-4 and abs(healthy[0]["rewards/chosen"]) < 1e-4
mean_of_last = lambda log, name: sum(record[name] for record in log[-20:]) / 20
print(f"last 20 steps: loss ≈ {mean_of_last(healthy, 'loss'):.2f}", end=", ")
print(f"accuracy ≈ {mean_of_last(healthy, 'rewards/accuracies'):.2f}")
assert 0.5 < mean_of_last(healthy, "loss") < 0.65
assert 0.6 < mean_of_last(healthy, "rewards/accuracies") < 0.85

# %% [markdown]
# | look at | when | it should |
# |---|---|---|
# | loss | step 1 | be 0.6931. Anything else: policy and reference are not one function |
# | rewards | step 1 | be 0, up to rounding |
# | accuracy | step 1 | be anything: both rewards are 0, and rounding decides which is larger |
# | loss | after some tens of steps | be below 0.69, and rarely near 0 |
# | accuracy | later | rise above 0.5. 1.0 on the training pairs means learned by heart |
# | both log-probabilities | throughout | drift slowly. They may both fall (chapter 07), but not by tens of nats in a few steps |
# | grad_norm | throughout | have no spikes of ten times its usual size |
# | held-out accuracy | at the end | be near that of training: `python -m dpo_book evaluate` |

# %%
plots.learning_curves({"healthy": healthy}, NAMES[:4], exact={"loss": 0.6931})

# %% [markdown]
# ## What a full run costs
#
# The training split of HH (helpful and harmless) has about 160,800 pairs. Work grows with the tokens that go through the
# body, P + C + R a pair, and here they are an *assumption*: prompts of 180 tokens and completions of 80. Count yours with
# `load_preferences` and your tokenizer before you believe the result.

# %%
pairs_of_hh, assumed = 160_800, 180 + 80 + 80
long = table[(table["case"] == "124M, TL;DR-like") & (table["what"] == "dpo_book")]
measured = long["pairs_per_cpu_second"].dropna().item()  # with P + C + R = 400 + 50 + 50 tokens
seconds = pairs_of_hh / (measured * 500 / assumed)
print(
    f"measured: {measured:.3f} pairs a second, {500 * measured:.0f} tokens a second, on one CPU thread"
)
print(
    f"one epoch of HH: {pairs_of_hh * assumed / 1e6:.0f} million tokens, {seconds / 86400:.1f} days"
)
print(f"and a third of that once, for the reference: {seconds / 3 / 86400:.1f} days")

# %% [markdown]
# A forward pass is about a third of a step (a backward pass costs two), and the reference needs only that, once, whatever
# the number of epochs. Not in it: SFT before, evaluation after. On one CPU thread that is a number to laugh at; it is
# here to show the method. Run `make bench QUICK=1` on your machine, put its pairs a second in, and you know within
# minutes whether to start tonight or to rent a card.
#
# ## What could go wrong
#
# **"Out of memory at the first step."** ([TRL #3168](https://github.com/huggingface/trl/issues/3168)) The logits: a table of
# tokens × vocabulary, several times. See above; where it still does not fit, `micro_batch_size`.
#
# **"The first loss is not 0.6931."** Dropout is on, or the reference is another checkpoint, or its log-probabilities were
# computed in another precision or with another template. This package keeps reference log-probabilities under a key of
# weights, settings and token ids, so that a stale file is never read.
#
# **"NaN after some steps."** ([TRL #878](https://github.com/huggingface/trl/issues/878)) float16 overflows at 65,504;
# bfloat16 does not. Here a loss that is not finite stops the run, names the step, and puts the last good weights back:

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
# How many bytes does a float32 training step with AdamW hold, in weights, gradients, moments, and one whole table of logits
# for `tokens` scored tokens? (5 minutes)


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
plots.learning_curves(logs, ["loss", "rewards/margins", "rewards/accuracies", "logps/chosen"])


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
    "Prompts have 400 tokens, completions 20. Which lever saves most of the body's work?",
    {
        "Logits of completions only.": "That saves the head's work; the body still runs every token.",
        "The shared prompt.": "2 · 400 + 40 tokens become 400 + 40: nearly half of the body's work is gone.",
        "The vocabulary in parts.": "That saves memory. Its operations even grow a little.",
    },
    right="The shared prompt.",
)

# %%
widgets.Quiz(
    "The last batch of an epoch has 64 pairs in parts of 48 and 16. How are the two gradients added up?",
    {
        "Each times one half.": "Then each of the 16 pairs would weigh three times as much as one of the 48.",
        "Times 48/64 and 16/64.": "Each part by its share of the pairs: then every pair weighs 1/64.",
        "Just added.": "Gradients of means would add up to twice the length of the whole one.",
    },
    right="Times 48/64 and 16/64.",
)

# %%
widgets.Quiz(
    "A library is four times faster, and its losses differ from yours in the third digit. What now?",
    {
        "Take it: a third digit does not matter.": "Float32 explains the sixth. The third is another computation.",
        "Find out why, before anything else.": "A missing EOS or a dropped token changes a third digit so.",
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
# | $\log \pi(y_w \mid x), \log \pi(y_l \mid x)$, prompt once | `pair_logps(model, pairs, share=True)` | (B,) each | 7 |
# | $\log \pi_{\text{ref}}$, once | `compute_reference_logps(reference, pairs)` | (pairs,) each | 7 |
# | $n_k / B$ | `DPOConfig(micro_batch_size=...)` | number | – |
#
# The prompt once, logits where they are read, the reference once: the same loss in a fraction of time and memory. A
# speed-up is worth what its parity check is worth. Before a long run, measure a short one and multiply; in its first
# lines, look for 0.6931.
