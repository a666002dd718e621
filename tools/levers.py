"""What makes a step of DPO fast, one lever after another, from the textbook's way on. Measured by `make bench`."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import islice
from typing import NamedTuple
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from dpo_book import Pair, collate, copy_policy, dpo_loss
from dpo_book.data.batches import pair_order
from dpo_book.data.pairs import pair_lengths
from dpo_book.models import body
from dpo_book.models.arrangement import in_fewest_operations
from dpo_book.models.distinct import distinct_completions
from dpo_book.models.logprobs import (
    Batch,
    completion_columns,
    completion_logits,
    position_ids,
    token_log_probability,
)
from dpo_book.models.scoring import PairScorer, RowScorer, row_scorer
from dpo_book.models.shared_prompt import collate_shared, pair_groups, shared_logp


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
    positions = position_ids(shifted.attention_mask)
    logits = model(shifted.input_ids, attention_mask=shifted.attention_mask, position_ids=positions).logits
    logp = logits.log_softmax(dim=-1).gather(-1, batch.input_ids[:, 1:, None]).squeeze(-1)
    return logp.where(shifted.completion_mask, 0.0).sum(dim=1)


def completions_only_logp(model: PreTrainedModel, batch: Batch) -> Tensor:
    """Logits for completions alone, and of each row of them the logit that is needed less the log-sum-exp."""
    mask = completion_columns(batch)
    logp = token_log_probability(completion_logits(model, batch), batch.input_ids[:, -mask.shape[1] :])
    return logp.where(mask, 0.0).sum(dim=1)


def in_two_rows(score_rows: RowScorer, collate_rows: Callable, pairs: Sequence[Pair]) -> tuple[Tensor, Tensor]:
    """Chosen and rejected each in a row of their own."""
    prompts = [pair.prompt for pair in pairs]
    completions = [pair.chosen for pair in pairs] + [pair.rejected for pair in pairs]
    chosen, rejected = score_rows(collate_rows(prompts * 2, completions)).chunk(2)
    return chosen, rejected


def in_one_row(model: PreTrainedModel, pairs: Sequence[Pair]) -> tuple[Tensor, Tensor]:
    """Chosen and rejected behind one prompt."""
    logps = shared_logp(model, collate_shared(pair_groups(pairs))).view(-1, 2)
    return logps[:, 0], logps[:, 1]


def each_once(model: PreTrainedModel, pairs: Sequence[Pair]) -> tuple[Tensor, Tensor]:
    """Every distinct completion of a prompt once, in rows as ``pair_scorer`` makes them."""
    asked = distinct_completions(pairs, partial(in_fewest_operations, model.config.n_embd))
    chosen, rejected = shared_logp(model, collate_shared(asked.groups))[asked.places]
    return chosen, rejected


def with_the_last_block_whole(score: PairScorer, pairs: Sequence[Pair]) -> tuple[Tensor, Tensor]:
    """As another way does it, but for the last block, whose feed-forward layer is run for every token."""
    with patch.object(body, "fed_forward_at", _everywhere):
        return score(pairs)


def _everywhere(_layer: torch.nn.Module, _places: Tensor) -> AbstractContextManager:
    return nullcontext()


# ------------------------------------------------------------------ ways to score pairs, each made once for a model


def textbook(model: PreTrainedModel) -> PairScorer:
    return partial(in_two_rows, partial(textbook_logp, model), tensor_a_row)


def completions_only(model: PreTrainedModel) -> PairScorer:
    return partial(in_two_rows, partial(completions_only_logp, model), collate)


def vocabulary_in_parts(model: PreTrainedModel) -> PairScorer:
    return partial(with_the_last_block_whole, partial(in_two_rows, row_scorer(model), collate))


def shared_prompt(model: PreTrainedModel) -> PairScorer:
    return partial(with_the_last_block_whole, partial(in_one_row, model))


def last_block_where_read(model: PreTrainedModel) -> PairScorer:
    return partial(in_one_row, model)


def completions_once(model: PreTrainedModel) -> PairScorer:
    return partial(each_once, model)


class Lever(NamedTuple):
    """How a step is done: the way pairs are scored, and what is done about it beforehand."""

    scorer: Callable[[PreTrainedModel], PairScorer]
    reference_in_step: bool = False
    by_length: bool = True
    by_prompt: bool = False


LEVERS = {
    "textbook": Lever(textbook, reference_in_step=True, by_length=False),
    "+ reference once": Lever(textbook, by_length=False),
    "+ batches by length": Lever(textbook),
    "+ logits of completions only": Lever(completions_only),
    "+ vocabulary in parts": Lever(vocabulary_in_parts),
    "+ shared prompt": Lever(shared_prompt),
    "+ last block where read": Lever(last_block_where_read),
    "+ each completion once": Lever(completions_once, by_prompt=True),
}


def lever_steps(model: PreTrainedModel, pairs: list[Pair], batch_size: int, name: str, seed: int) -> Iterator[float]:
    """One epoch of forward and backward passes of DPO, without updates; yields the CPU seconds of each."""
    lever = LEVERS[name]
    score = lever.scorer(model)
    score_by_reference = lever.scorer(copy_policy(model)) if lever.reference_in_step else None
    reference_logps = torch.zeros(2, batch_size)
    lengths = pair_lengths(pairs) if lever.by_length else [0] * len(pairs)
    batches = pair_order(pairs, lengths, lever.by_prompt).batches(batch_size, seed)
    for rows in islice(batches, len(pairs) // batch_size):
        start = time.process_time()
        batch = [pairs[i] for i in rows]
        if score_by_reference is not None:
            with torch.no_grad():
                reference_logps = score_by_reference(batch)
        chosen, rejected = score(batch)
        losses, *_ = dpo_loss(chosen, rejected, *reference_logps, 0.1)
        losses.mean().backward()
        model.zero_grad()
        yield time.process_time() - start
