"""log π(y|x): what a causal language model says of whole completions.

The one place where token logits become sequence log-probabilities. Works on any causal language model of
transformers; knows nothing of losses, training or worlds.
"""

import itertools
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor
from transformers import PreTrainedModel

from dpo_book.models.as_alone import Reader, as_alone
from dpo_book.models.batch import Batch, check_rows, collate, completion_columns, model_inputs, position_ids
from dpo_book.models.body import predicting_states
from dpo_book.models.head import head_logp
from dpo_book.models.traits import require_causal

__all__ = [
    "Batch",
    "TokenScorer",
    "check_rows",
    "collate",
    "completion_columns",
    "completion_logits",
    "enumerate_logp",
    "position_ids",
    "sequence_logp",
    "token_log_probability",
    "token_scorer",
]

TokenScorer = Callable[[Batch], Tensor]  # → (B, K): log π(y_t | x, y_<t)


def sequence_logp(model: PreTrainedModel, batch: Batch) -> Tensor:
    """log π(y|x) = Σ_t log π(y_t | x, y_<t), summed (never averaged) over completion tokens.

    Returns shape (B,), float32 or wider, with gradient. Prompt tokens are read and not scored. Rows may be
    padded on the left, on the right, or both.

    Raises ValueError for a row that ``check_rows`` refuses, and for a model that is not causal.
    """
    check_rows(batch)
    return token_scorer(model)(batch).sum(dim=1)


def token_scorer(model: PreTrainedModel) -> TokenScorer:
    """The function that gives log π(y_t | x, y_<t) of every completion token of a batch, with gradient.

    Its result is (B, K), the batch's last K columns, K counted from the first column in which any row's completion
    stands; zero where no completion token stands. Each row's are those of the row alone, unpadded. What the model is
    decides how: see ``traits.py`` and ``as_alone.py``. ValueError for a model that is not causal.
    """
    if require_causal(model).linear_head:
        return partial(_through_head, model, as_alone(model, partial(predicting_states, model)))
    return partial(_through_logits, model, as_alone(model, partial(_next_token_logp, model)))


def _through_head(model: PreTrainedModel, read_states: Reader, batch: Batch) -> Tensor:
    """From hidden states, the head applied to a few tokens at a time."""
    batch = batch.to(model.device)
    mask = completion_columns(batch)
    columns = mask.shape[1]
    hidden = read_states(batch)[:, -columns:]  # (B, K, D)
    logp = head_logp(model, hidden[mask], batch.input_ids[:, -columns:][mask])
    return logp.new_zeros(mask.shape).masked_scatter(mask, logp)


def _through_logits(model: PreTrainedModel, read_logp: Reader, batch: Batch) -> Tensor:
    """From the model's own logits, for a head that does more than multiply."""
    batch = batch.to(model.device)
    mask = completion_columns(batch)
    return read_logp(batch)[:, -mask.shape[1] :].where(mask, 0.0)


def _next_token_logp(model: PreTrainedModel, batch: Batch) -> Tensor:
    """At each of the last K columns but one the log-probability of the token that comes next: (B, K)."""
    logits = completion_logits(model, batch)
    return token_log_probability(logits, batch.input_ids[:, -logits.shape[1] :])


def completion_logits(model: PreTrainedModel, batch: Batch) -> Tensor:
    """Logits (B, K, V) that predict the last K columns: all from the first completion token on.

    The logit at position t predicts token t + 1. Over a vocabulary of 50,257 these are the largest tensors
    of the whole computation, so none is made for a prompt.
    """
    return model(**model_inputs(batch), logits_to_keep=completion_columns(batch).shape[1]).logits


def token_log_probability(logits: Tensor, targets: Tensor) -> Tensor:
    """log softmax(logits)[target]: logits (..., V), targets (...); returns (...), float32 or wider.

    The gathered logit minus the log-sum-exp: the full table of log-probabilities is never stored.
    """
    logits = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
    return logits.gather(-1, targets.unsqueeze(-1)).squeeze(-1) - logits.logsumexp(dim=-1)


def enumerate_logp(model: PreTrainedModel, prompt: Sequence[int], length: int) -> Tensor:
    """log π(y|x) of *every* completion y of ``length`` tokens: shape (N,), N = V ** length, with gradient.

    In lexicographic order of token ids, the order of ``itertools.product(range(V), repeat=length)``. Exact:
    the completions are a tree, so one forward pass over its V ** (length − 1) longest proper prefixes holds
    every next-token distribution there is, and log π(y|x) is the sum along a path.

    prompt: token ids, at least one. The exp of the result sums to 1 because the model has no way to say
    anything that is not in the tree.
    """
    if length < 1 or len(prompt) < 1:
        raise ValueError(f"need at least one token of prompt and of completion, got {len(prompt)} and {length}")
    require_causal(model)
    v = model.config.vocab_size
    prefixes = torch.tensor(list(itertools.product(range(v), repeat=length - 1)), dtype=torch.long)
    prompts = torch.tensor(prompt).expand(len(prefixes), -1)
    input_ids = torch.cat([prompts, prefixes], dim=1).to(model.device)
    attention_mask = torch.ones_like(input_ids)
    logits = model(input_ids, attention_mask=attention_mask, logits_to_keep=length, use_cache=False).logits
    next_logp = torch.log_softmax(logits, dim=-1)  # (V ** (length − 1), length, V)

    logp = next_logp[:1, 0]  # (1, V): the first token, the same whatever follows it
    for t in range(1, length):
        stride = v ** (length - 1 - t)  # the first prefix that starts with each combination of t tokens
        logp = logp.reshape(-1, 1) + next_logp[::stride, t]
    return logp.reshape(-1)
