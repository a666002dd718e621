"""Exercise of chapter 06: the log-probability of a response, from a language model's logits."""

from collections.abc import Sequence

import torch
from torch import Tensor

from dpo_book.checks.judge import Exercise, in_float32, normal
from dpo_book.models.logprobs import sequence_logp, token_log_probability

__all__ = ["check_completion_logp"]


def _rows(
    seed: int, vocabulary: int, *mask: Sequence[int], offset: float = 0.0, scale: float = 1.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (B, T, V), token ids (B, T), completion mask (B, T): 0 are the prompt's tokens, and what fills up."""
    shape = (len(mask), len(mask[0]))
    (logits,) = normal(seed, (*shape, vocabulary), offset=offset, scale=scale)
    ids = torch.randint(vocabulary, shape, generator=torch.Generator().manual_seed(seed))
    return logits, ids, torch.tensor(mask, dtype=torch.bool)


def _token_logp(logits: Tensor, ids: Tensor) -> Tensor:
    return token_log_probability(logits[:, :-1], ids[:, 1:])


def _picked(table: Tensor, ids: Tensor) -> Tensor:
    """Of a table (B, T, V) of something for every token, at every place but the last: that of the next token."""
    return table[:, :-1].gather(-1, ids[:, 1:, None]).squeeze(-1)


def _over_places(logits: Tensor, ids: Tensor) -> Tensor:
    """A mistake: of the logits that predict, a softmax along time."""
    return logits[:, :-1].log_softmax(1).gather(-1, ids[:, 1:, None]).squeeze(-1)


def _masked_sum(per_token: Tensor, mask: Tensor) -> Tensor:
    """Σ over completion tokens, of something (B, T − 1) for every token but the first."""
    return (per_token * mask[:, 1:]).sum(dim=1)


def _completion_logp(logits: Tensor, input_ids: Tensor, completion_mask: Tensor) -> Tensor:
    return _masked_sum(_token_logp(logits, input_ids), completion_mask)


check_completion_logp = Exercise(
    "completion_logp",
    _completion_logp,
    [
        _rows(5, 7, (0, 0, 1, 1, 1, 1), (0, 0, 0, 1, 1, 0)),
        _rows(6, 5, (0, 1, 1)),
        _rows(7, 4, (0, 1)),
        in_float32(_rows(8, 9, (0, 0, 0, 0, 1), (0, 1, 1, 1, 1), (0, 0, 1, 1, 0))),
        _rows(9, 6, (0, 0, 1, 1), (0, 1, 1, 0), (0, 0, 0, 1), (0, 1, 1, 1)),
        _rows(11, 4, (0, 1), (0, 1), (0, 1)),
    ],
    {
        "off by one: the logits at position t predict token t + 1, so they must be shifted against the ids.": (
            lambda logits, ids, mask: (token_log_probability(logits, ids) * mask).sum(dim=1)
        ),
        "the prompt is not masked: only completion tokens count.": (
            lambda logits, ids, mask: _token_logp(logits, ids).sum(dim=1)
        ),
        "the mask is not shifted with the ids: the first completion token is dropped.": (
            lambda logits, ids, mask: (_token_logp(logits, ids) * mask[:, :-1]).sum(dim=1)
        ),
        "averaged over tokens: eq. 7 has the log-probability of the whole response, a sum.": (
            lambda logits, ids, mask: _completion_logp(logits, ids, mask) / mask.sum(dim=1)
        ),
        "raw logits are summed: they become log-probabilities only after log_softmax.": (
            lambda logits, ids, mask: _masked_sum(_picked(logits, ids), mask)
        ),
        "probabilities are summed: take the logarithm first.": (
            lambda logits, ids, mask: _masked_sum(_token_logp(logits, ids).exp(), mask)
        ),
        "probabilities are summed, then logged: a response's is their *product*, so sum the logarithms.": (
            lambda logits, ids, mask: _masked_sum(_token_logp(logits, ids).exp(), mask).log()
        ),
        "shifted the wrong way: row t of the logits predicts token t + 1, so the logits lose their *last* row.": (
            lambda logits, ids, mask: _masked_sum(token_log_probability(logits[:, 1:], ids[:, :-1]), mask)
        ),
        "shifted the wrong way, and the mask with it: the logits lose their *last* row, ids and mask their first.": (
            lambda logits, ids, mask: (token_log_probability(logits[:, 1:], ids[:, :-1]) * mask[:, :-1]).sum(1)
        ),
        "averaged over all places, the masked ones too: eq. 7 has a sum over the response's tokens.": (
            lambda logits, ids, mask: _completion_logp(logits, ids, mask) / (ids.shape[1] - 1)
        ),
        "summed over the batch: every row has a sum of its own, over its tokens.": (
            lambda logits, ids, mask: (_token_logp(logits, ids) * mask[:, 1:]).sum(dim=0)
        ),
        "row t is asked for token t, which it has read already: it predicts token t + 1.": (
            lambda logits, ids, mask: _masked_sum(token_log_probability(logits, ids)[:, :-1], mask)
        ),
        "row t is asked for token t, which it has read, and the last one is dropped: it predicts token t + 1.": (
            lambda logits, ids, mask: (token_log_probability(logits, ids) * mask)[:, :-1].sum(dim=1)
        ),
        "the log-probabilities of the whole vocabulary are summed: pick the one of the token that stands there.": (
            lambda logits, ids, mask: _masked_sum(logits.log_softmax(-1)[:, :-1].sum(-1), mask)
        ),
        "σ of each logit stands where the softmax over the vocabulary belongs.": (
            lambda logits, ids, mask: _masked_sum(_picked(torch.nn.functional.logsigmoid(logits), ids), mask)
        ),
        "log-probabilities are multiplied, masked ones as 0: their sum is the logarithm of the product.": (
            lambda logits, ids, mask: (_token_logp(logits, ids) * mask[:, 1:]).prod(dim=1)
        ),
        "only the last place of each row is taken: sum over all the response's tokens.": (
            lambda logits, ids, mask: (_token_logp(logits, ids) * mask[:, 1:])[:, -1]
        ),
        "the last tokens of the row, as many as the response has: what fills up stands there. Use the mask.": (
            lambda logits, ids, mask: _completion_logp(logits, ids, mask.sort(dim=1).values)
        ),
        "running sums are left: the last of them is the answer.": (
            lambda logits, ids, mask: (_token_logp(logits, ids) * mask[:, 1:]).cumsum(dim=1)
        ),
        "one value a token: sum them, a response has one log-probability.": (
            lambda logits, ids, mask: _token_logp(logits, ids) * mask[:, 1:]
        ),
        "one list for the tokens of all rows: every row has a sum of its own.": (
            lambda logits, ids, mask: _token_logp(logits, ids)[mask[:, 1:]]
        ),
        "the softmax runs over the tokens' places: it runs over the vocabulary, the last dimension.": (
            lambda logits, ids, mask: _masked_sum(_picked(logits.log_softmax(1), ids), mask)
        ),
        "the softmax runs over dimension 1, the tokens' places: it runs over the vocabulary, the last one.": (
            lambda logits, ids, mask: _masked_sum(_over_places(logits, ids), mask)
        ),
        "the softmax runs over the batch: it runs over the vocabulary, the last dimension.": (
            lambda logits, ids, mask: _masked_sum(_picked(logits.log_softmax(0), ids), mask)
        ),
        "softmax twice: the probabilities are taken for logits once more.": (
            lambda logits, ids, mask: _completion_logp(logits.softmax(-1), ids, mask)
        ),
        "this is the likeliest token at every place; take the one that `input_ids` has there.": (
            lambda logits, ids, mask: _masked_sum(logits.log_softmax(-1).amax(-1)[:, :-1], mask)
        ),
        "the logits are masked, before the softmax: mask the log-probabilities.": (
            lambda logits, ids, mask: _completion_logp(logits * mask[..., None], ids, mask)
        ),
        "the mask is upside down: these are the prompt's tokens, and what fills up.": (
            lambda logits, ids, mask: _completion_logp(logits, ids, ~mask)
        ),
        "what fills up after the response is counted: the mask says where it ends, too.": (
            lambda logits, ids, mask: _completion_logp(logits, ids, mask.cumsum(1) > 0)
        ),
        "the first row's mask stands for all: every row has its own.": (
            lambda logits, ids, mask: _completion_logp(logits, ids, mask[:1])
        ),
        "only the response's last token is counted.": (
            lambda logits, ids, mask: _completion_logp(logits, ids, mask & (mask.flip(1).cumsum(1).flip(1) == 1))
        ),
        "only the response's first token is counted.": (
            lambda logits, ids, mask: _completion_logp(logits, ids, mask & (mask.cumsum(1) == 1))
        ),
        "the response's first token is left out.": (
            lambda logits, ids, mask: _completion_logp(logits, ids, mask & (mask.cumsum(1) > 1))
        ),
        "the response's last token is left out.": (
            lambda logits, ids, mask: _completion_logp(logits, ids, mask & (mask.flip(1).cumsum(1).flip(1) > 1))
        ),
        "`squeeze()` without a dimension drops every one of length 1, a single row or token too: `squeeze(-1)`.": (
            lambda logits, ids, mask: (_token_logp(logits, ids).squeeze() * mask[:, 1:]).sum(-1)
        ),
    },
    "With tokens averaged instead of summed, which β would a response of 100 tokens need for the same margin?",
    # Logits around 100, sums to −116, no token below 1e-13: clamps show, and `Categorical(probs=...)` still is right.
    far=[_rows(11, 5, (0, 1, 1, 1, 1, 1, 1, 1), (0, 0, 1, 1, 1, 1, 1, 0), offset=100.0, scale=9.5)],
    trains=["logits"],
    own=[sequence_logp],
    on_the_page=["scores"],
)
