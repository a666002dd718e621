"""log π(y|x) of whole completions and pairs, by a function that is made once for a model and then only called.

How a model is best run is found out by trying it when the function is made: what it is (``traits.py``), and whether
completions of one prompt may stand in one row (``shared_prompt.py``). Of a sharded model all processes have to make
the function, and it is called within ``unsharded`` or a step of training.
"""

import itertools
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor
from tqdm import tqdm
from transformers import PreTrainedModel

from dpo_book.data.batches import in_parts
from dpo_book.data.pairs import Pair, pair_lengths
from dpo_book.models.arrangement import by_length, completions_in, in_fewest_operations, in_own_rows, in_parts_of
from dpo_book.models.batch import Batch, check_rows
from dpo_book.models.distinct import Arrange, Group, distinct_completions
from dpo_book.models.logprobs import TokenScorer, token_scorer
from dpo_book.models.policy import autocast
from dpo_book.models.shared_prompt import collate_shared, pair_groups, shared_logp
from dpo_book.models.traits import traits_of
from dpo_book.system.processes import all_reduce_sum, this_process, unsharded

RowScorer = Callable[[Batch], Tensor]  # → (B,): log π(y|x) of every row
CompletionScorer = Callable[[Sequence[Group]], Tensor]  # → (M,): log π(y|x) of all completions, in order
PairScorer = Callable[[Sequence[Pair]], tuple[Tensor, Tensor]]  # → (B,) of the chosen, (B,) of the rejected

# How far two orders of adding up the same log-probabilities may differ, as a share of their sum.
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 2e-3}


def row_scorer(model: PreTrainedModel) -> RowScorer:
    """``sequence_logp`` of this model."""
    score_tokens = token_scorer(model)

    def score(batch: Batch) -> Tensor:
        check_rows(batch)
        return score_tokens(batch).sum(dim=1)

    return score


def pair_scorer(model: PreTrainedModel, pairs: Sequence[Pair]) -> PairScorer:
    """The function that scores both completions of pairs, with gradient; one that stands in several is run once.

    pairs: all that it will be asked about; the longest is tried.
    """
    score_completions, arrange = completion_scorer(model, pairs)

    def score(pairs: Sequence[Pair]) -> tuple[Tensor, Tensor]:
        asked = distinct_completions(pairs, arrange).to(model.device)
        chosen, rejected = score_completions(asked.groups)[asked.places]
        return chosen, rejected

    return score


def completion_scorer(model: PreTrainedModel, pairs: Sequence[Pair]) -> tuple[CompletionScorer, Arrange]:
    """The function that scores any number of completions of each of several prompts, with gradient; and how to group.

    It runs a group's prompt once for all its completions if the model can share prompts, and else once for each.
    """
    if can_share_prompts(model, pairs):
        features = model.get_output_embeddings().weight.shape[1]
        return partial(_in_one_row, model), partial(in_fewest_operations, features)
    return partial(_in_own_rows, model, token_scorer(model)), list


@torch.no_grad()
def can_share_prompts(model: PreTrainedModel, pairs: Sequence[Pair]) -> bool:
    """Whether completions of one prompt can stand in one row: true of attention that obeys any mask and positions.

    What the model's record does not tell is found out by trying: the longest of the pairs is run both ways, and has
    to come out the same.
    """
    traits, lengths = traits_of(model), pair_lengths(pairs)
    if not (traits.attends_by_mask and traits.linear_head and max(lengths) < traits.steady_below):
        return False
    longest = pair_groups([pairs[lengths.index(max(lengths))]])
    was_training = model.training
    model.eval()
    try:
        one_row, own_rows = unsharded(model, partial(_both_ways, model, longest))
    except Exception:  # of any class: every architecture has its own way of refusing a mask of four dimensions
        return False
    finally:
        model.train(was_training)
    return torch.allclose(one_row, own_rows, rtol=TOLERANCE[model.dtype])


def _both_ways(model: PreTrainedModel, groups: Sequence[Group]) -> tuple[Tensor, Tensor]:
    return _in_one_row(model, groups), _in_own_rows(model, token_scorer(model), groups)


def _in_one_row(model: PreTrainedModel, groups: Sequence[Group]) -> Tensor:
    """Every prompt once, its completions behind it in one row."""
    return shared_logp(model, collate_shared(groups, model.device))


def _in_own_rows(model: PreTrainedModel, score_tokens: TokenScorer, groups: Sequence[Group]) -> Tensor:
    """Every completion in a row of its own, behind its prompt."""
    batch = in_own_rows(groups, model.device)
    check_rows(batch)
    return score_tokens(batch).sum(dim=1)


# ------------------------------------------------------------------ many pairs, without gradient


@torch.no_grad()
def score_pairs(
    model: PreTrainedModel, pairs: Sequence[Pair], batch_size: int = 256, progress: str | None = None
) -> tuple[Tensor, Tensor]:
    """log π of every chosen and every rejected completion: two tensors of shape (len(pairs),), float32, on the CPU.

    Each distinct completion is run once, several of one prompt together, in order of length, by one of the processes
    if there are several; all have to ask. batch_size: completions at once. progress: the name of a bar to show.
    """
    model.eval()
    score, arrange = completion_scorer(model, pairs)
    asked = distinct_completions(pairs, partial(by_length, arrange))
    parts = in_parts_of(asked.groups, max(2, batch_size))
    starts = itertools.accumulate(map(completions_in, parts), initial=0)
    logps = torch.zeros(completions_in(asked.groups), device=model.device)

    index, processes = this_process()
    turns = in_parts(list(zip(starts, parts, strict=False)), processes)  # the last start is the end
    for turn in tqdm(turns, desc=progress, unit="batch", disable=progress is None or index > 0):
        # one without a part runs another's, as weights may be in shards
        start, part = turn[min(index, len(turn) - 1)]
        with autocast(model):
            found = unsharded(model, partial(score, part))
        if index < len(turn):
            logps[start : start + len(found)] = found.float()
    all_reduce_sum([logps])
    chosen, rejected = logps.cpu()[asked.places]
    return chosen, rejected
