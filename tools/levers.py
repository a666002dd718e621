"""What makes a step of DPO fast, one lever after another, from the textbook's way on. Measured by `make bench`."""

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from dpo_book import Pair, collate, copy_policy
from dpo_book.data.pairs import batches_by_length, pair_lengths
from dpo_book.maths.dpo import soft_dpo_loss
from dpo_book.models.logprobs import (
    Batch,
    completion_columns,
    completion_logits,
    sequence_logp,
    token_log_probability,
)
from dpo_book.models.shared_prompt import pair_logps


def tensor_a_row(prompts: Sequence[list[int]], completions: Sequence[list[int]]) -> Batch:
    """``collate`` as it is often written: a tensor for every row and every mask of it, then padding on the right."""
    rows = list(zip(prompts, completions, strict=True))
    ids = [torch.tensor(x + y) for x, y in rows]
    attention = [torch.ones(len(x) + len(y), dtype=torch.bool) for x, y in rows]
    completion = [torch.tensor([False] * len(x) + [True] * len(y)) for x, y in rows]
    return Batch(*(pad_sequence(part, batch_first=True) for part in (ids, attention, completion)))


def textbook_logp(model: PreTrainedModel, batch: Batch) -> Tensor:
    """Logits everywhere, the whole table of log-probabilities, then the few that are needed."""
    shifted = Batch(batch.input_ids[:, :-1], batch.attention_mask[:, :-1], batch.completion_mask[:, 1:])
    position = (shifted.attention_mask.cumsum(dim=1) - 1).clamp(min=0)
    logits = model(shifted.input_ids, attention_mask=shifted.attention_mask, position_ids=position).logits
    logp = logits.log_softmax(dim=-1).gather(-1, batch.input_ids[:, 1:, None]).squeeze(-1)
    return logp.where(shifted.completion_mask, 0.0).sum(dim=1)


def completions_only_logp(model: PreTrainedModel, batch: Batch) -> Tensor:
    """Logits for completions alone, and of each row of them the logit that is needed less the log-sum-exp."""
    mask = completion_columns(batch)
    logp = token_log_probability(completion_logits(model, batch), batch.input_ids[:, -mask.shape[1] :])
    return logp.where(mask, 0.0).sum(dim=1)


def in_two_rows(logp_of: Callable, collate_of: Callable = collate) -> Callable:
    """Log-probabilities of pairs from those of rows: chosen and rejected each in a row of their own."""

    def logps(model: PreTrainedModel, pairs: list[Pair]) -> tuple[Tensor, Tensor]:
        completions = [pair.chosen for pair in pairs] + [pair.rejected for pair in pairs]
        return logp_of(model, collate_of([pair.prompt for pair in pairs] * 2, completions)).chunk(2)

    return logps


class Lever(NamedTuple):
    """How a step is done: where log-probabilities come from, and two things that need not be done in it."""

    logps_of: Callable[[PreTrainedModel, list[Pair]], tuple[Tensor, Tensor]]
    reference_in_step: bool = False
    by_length: bool = True


LEVERS = {
    "textbook": Lever(in_two_rows(textbook_logp, tensor_a_row), reference_in_step=True, by_length=False),
    "+ reference once": Lever(in_two_rows(textbook_logp, tensor_a_row), by_length=False),
    "+ batches by length": Lever(in_two_rows(textbook_logp, tensor_a_row)),
    "+ logits of completions only": Lever(in_two_rows(completions_only_logp)),
    "+ vocabulary in parts": Lever(in_two_rows(sequence_logp)),
    "+ shared prompt": Lever(lambda model, pairs: pair_logps(model, pairs, share=True)),
}


def lever_steps(model: PreTrainedModel, pairs: list[Pair], batch_size: int, name: str, seed: int) -> Iterator[float]:
    """One epoch of forward and backward passes of DPO, without updates; yields the CPU seconds of each."""
    lever = LEVERS[name]
    reference = copy_policy(model) if lever.reference_in_step else None
    lengths = pair_lengths(pairs) if lever.by_length else [0] * len(pairs)
    reference_logps = torch.zeros(2, batch_size)
    for rows in islice(batches_by_length(lengths, batch_size, seed), len(pairs) // batch_size):
        start = time.process_time()
        batch = [pairs[i] for i in rows]
        if reference is not None:
            with torch.no_grad():
                reference_logps = lever.logps_of(reference, batch)
        losses, *_ = soft_dpo_loss(*lever.logps_of(model, batch), *reference_logps, 0.1, torch.ones(batch_size))
        losses.mean().backward()
        model.zero_grad()
        yield time.process_time() - start
