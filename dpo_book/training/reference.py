"""What the reference says of the pairs of a run: computed before the first step, and kept between runs if wanted.

The reference never changes, and neither do the pairs: with log π_ref at hand, training needs no second model in
memory, and a second run on the same data starts at once.
"""

import gc
import math
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel

from dpo_book.data.batches import pair_order
from dpo_book.data.pairs import Pair, pair_lengths
from dpo_book.models.scoring import score_pairs
from dpo_book.system.cache import CacheError, cached, find_cached
from dpo_book.system.devices import best_device, precision
from dpo_book.system.processes import all_reduce_sum, any_process, shard, this_process
from dpo_book.system.provenance import data_digest, model_digest
from dpo_book.training.config import TrainConfig
from dpo_book.training.dpo_config import DPOConfig
from dpo_book.training.loop import rows_reached


def compute_reference_logps(
    reference: PreTrainedModel, pairs: Sequence[Pair], config: DPOConfig, keep: bool = False
) -> tuple[Tensor, Tensor]:
    """log π_ref of chosen and rejected, (len(pairs),) each, of the pairs that a run comes by; NaN for all others.

    As many completions at once as a step of the run has, so that what fits into memory there fits here. keep: as the
    command line wants it, with a bar, the model in shards where training is, and the result kept for the next run on
    the same data.
    """
    rows = rows_reached(pair_order(pairs, pair_lengths(pairs), config.group_by_prompt), config)
    reached = [pairs[i] for i in rows]
    score = _kept_scores if keep else score_pairs
    logps = torch.full((2, len(pairs)), math.nan)
    logps[:, rows] = torch.stack(score(reference, reached, completions_at_once(config)))
    return logps[0], logps[1]


def completions_at_once(config: TrainConfig) -> int:
    """How many completions a process has in memory in a step on pairs: as many fit there without gradient."""
    _, processes = this_process()
    return 2 * (config.micro_batch_size or math.ceil(config.batch_size / processes))


def _kept_scores(reference: PreTrainedModel, pairs: Sequence[Pair], batch_size: int) -> tuple[Tensor, Tensor]:
    """``score_pairs``, from the cache if it can be, under all that the result depends on.

    Of several processes of one run the first one reads and keeps it; all compute, or none. Two runs that start at the
    same moment both compute, for neither finds it there yet.
    """
    depends_on = {
        "model": model_digest(reference),
        "data": data_digest([pair[:3] for pair in pairs]),
        "batch_size": batch_size,
        # shards may compute where it does not lie
        "device": [reference.device.type, torch.cuda.is_available(), str(precision(best_device()))],
    }
    first = this_process()[0] == 0
    folder = find_cached("reference-logps", depends_on) if first else None
    if any_process(folder is not None):
        logps = torch.zeros(2, len(pairs))
        if folder is not None:
            logps = load_file(folder / "logps.safetensors")["logps"]
        all_reduce_sum([logps])  # zeros and what the first process has
    else:
        logps = _scores_in_shards(reference, pairs, batch_size)
        gc.collect()  # a copy in shards refers to itself in circles, and training needs the room
        if first:
            _keep(logps, depends_on)
    return logps[0], logps[1]


def _scores_in_shards(reference: PreTrainedModel, pairs: Sequence[Pair], batch_size: int) -> Tensor:
    return torch.stack(score_pairs(shard(reference), pairs, batch_size, progress="reference"))


def _keep(logps: Tensor, depends_on: dict) -> None:
    try:
        cached("reference-logps", depends_on, partial(_save, logps))
    except (CacheError, OSError, SafetensorError) as error:  # this run needs no cache: it has them
        warnings.warn(f"the next run computes the reference's log-probabilities again: {error}", stacklevel=2)


def _save(logps: Tensor, folder: Path) -> None:
    save_file({"logps": logps}, folder / "logps.safetensors")
