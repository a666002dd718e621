"""log π(y|x): what a causal language model says of whole completions.

The one place where token logits become sequence log-probabilities. Works on any causal language model of
transformers; knows nothing of losses, training or worlds.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Self

import torch
from torch import Tensor
from transformers import PreTrainedModel

from dpo_book.models.head import has_linear_head, head_logp


class OnDevice:
    """A dataclass of tensors, which go to a device together."""

    def to(self, device: torch.device | str) -> Self:
        """To a GPU through pinned memory, so that the copy does not wait for what the GPU is doing."""
        pinned = torch.device(device).type == "cuda"
        moved = {}
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                value = value.pin_memory() if pinned else value
                moved[name] = value.to(device, non_blocking=pinned)
        return replace(self, **moved)


@dataclass(frozen=True)
class Batch(OnDevice):
    """B token sequences, padded to T columns on either side.

    input_ids (B, T) int64: prompt and completion. attention_mask (B, T) bool: True where a real token
    stands. completion_mask (B, T) bool: True on the tokens of the completion, the only ones that count.
    """

    input_ids: Tensor
    attention_mask: Tensor
    completion_mask: Tensor


TokenScorer = Callable[[Batch], Tensor]  # → (B, K): log π(y_t | x, y_<t)


def collate(prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]]) -> Batch:
    """Pad B prompts on the left and their completions on the right, so that all completions start in one column.

    The logits before that column are then never needed, and never computed. Padding is token 0; the masks
    hide it, so that the model's own pad token does not matter and an EOS at the end is never mistaken
    for padding.
    """
    left, right = max(map(len, prompts)), max(map(len, completions))
    rows = []  # one list and one tensor of it: a tensor a row takes six times as long
    for x, y in zip(prompts, completions, strict=True):
        before, after = [0] * (left - len(x)), [0] * (right - len(y))
        rows.append([*before, *x, *y, *after])
    column = torch.arange(left + right)
    start = left - torch.tensor([len(x) for x in prompts])[:, None]
    end = left + torch.tensor([len(y) for y in completions])[:, None]
    return Batch(
        input_ids=torch.tensor(rows),
        attention_mask=(column >= start) & (column < end),
        completion_mask=(column >= left) & (column < end),
    )


def sequence_logp(model: PreTrainedModel, batch: Batch) -> Tensor:
    """log π(y|x) = Σ_t log π(y_t | x, y_<t), summed (never averaged) over completion tokens.

    Returns shape (B,), float32 or wider, with gradient. Prompt tokens are read and not scored. Rows may be
    padded on the left, on the right, or both. Each call finds out anew, by running one token, how the model's head is
    applied; who asks again and again makes a ``token_scorer`` once, as training does.

    Raises ValueError for a row that ``check_rows`` refuses.
    """
    check_rows(batch)
    return token_scorer(model)(batch).sum(dim=1)


def check_rows(batch: Batch) -> None:
    """ValueError for a row whose completion mask is empty, or that starts in the first token.

    The log-probability of the one would be an empty sum, 0, and the loss would train on nothing; nothing predicts
    the first token of the other.
    """
    empty = (~batch.completion_mask.any(dim=1)).nonzero().flatten().tolist()
    if empty:
        raise ValueError(f"row {empty[0]} of the batch has no completion token in its completion_mask")
    is_first = batch.attention_mask.cumsum(dim=1) == 1
    unpredicted = (is_first & batch.attention_mask & batch.completion_mask).any(dim=1).nonzero().flatten()
    if len(unpredicted):
        raise ValueError(
            f"row {int(unpredicted[0])} of the batch has no prompt token, so nothing predicts its first "
            "completion token: put the tokenizer's BOS token in front"
        )


def token_scorer(model: PreTrainedModel) -> TokenScorer:
    """The function that gives log π(y_t | x, y_<t) of every completion token of a batch, with gradient.

    Its result is (B, K), the batch's last K columns, K counted from the first column in which any row's completion
    stands; zero where no completion token stands. How the model's head is applied is found out here, once.
    """
    through = through_head if has_linear_head(model) else _through_logits
    return partial(through, model)


def through_head(model: PreTrainedModel, batch: Batch) -> Tensor:
    """From hidden states, the head applied to a few tokens at a time."""
    mask = completion_columns(batch)
    columns = mask.shape[1]
    hidden = model.base_model(**_model_inputs(batch)).last_hidden_state[:, -columns:]  # (B, K, D)
    logp = head_logp(model, hidden[mask], batch.input_ids[:, -columns:][mask])
    return logp.new_zeros(mask.shape).masked_scatter(mask, logp)


def _through_logits(model: PreTrainedModel, batch: Batch) -> Tensor:
    """From the model's own logits, for a head that does more than multiply."""
    mask = completion_columns(batch)
    logp = token_log_probability(completion_logits(model, batch), batch.input_ids[:, -mask.shape[1] :])
    return logp.where(mask, 0.0)


def completion_logits(model: PreTrainedModel, batch: Batch) -> Tensor:
    """Logits (B, K, V) that predict the last K columns: all from the first completion token on.

    The logit at position t predicts token t + 1. Over a vocabulary of 50,257 these are the largest tensors
    of the whole computation, so none is made for a prompt.
    """
    return model(**_model_inputs(batch), logits_to_keep=completion_columns(batch).shape[1]).logits


def _model_inputs(batch: Batch) -> dict:
    """What a model is called with. The last column predicts nothing that is scored, so it is not run."""
    attention_mask = batch.attention_mask[:, :-1].long()
    return {
        "input_ids": batch.input_ids[:, :-1],
        "attention_mask": attention_mask,
        "position_ids": position_ids(attention_mask),
        "use_cache": False,
    }


def position_ids(attention_mask: Tensor) -> Tensor:
    """Positions (B, T) that count real tokens, so that padding on the left does not shift them.

    attention_mask (B, T) int64. transformers' models do not see to that alone.
    """
    return (attention_mask.cumsum(dim=1) - 1).clamp(min=0)


def completion_columns(batch: Batch) -> Tensor:
    """The completion mask from the first column on in which any row's completion stands: (B, K) bool."""
    return batch.completion_mask[:, int(batch.completion_mask.any(dim=0).nonzero()[0]) :]


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
