"""The reference's log-probabilities, computed once and kept on disk between runs.

The reference never changes, and neither do the pairs: with what it says of them at hand, training needs no second
model in memory, and a second run on the same data starts at once.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel

from dpo_book.data.pairs import Pair
from dpo_book.system.cache import cached
from dpo_book.system.processes import all_reduce_sum, any_process, shard, this_process
from dpo_book.system.provenance import data_digest, model_digest
from dpo_book.training.offline import compute_reference_logps


def kept_reference_logps(reference: PreTrainedModel, pairs: Sequence[Pair], batch_size: int) -> tuple[Tensor, Tensor]:
    """What ``compute_reference_logps`` gives, (chosen, rejected) of shape (len(pairs),), from the cache if it can be.

    Kept under all that it depends on: weights, settings, token ids, batch size, device, versions. Of several
    processes the first one keeps it; all compute, or none.
    """
    sharded = shard(reference)
    built = False

    def build(folder: Path) -> None:
        nonlocal built
        built = any_process(True)
        chosen, rejected = compute_reference_logps(sharded, pairs, batch_size, progress=True)
        save_file({"chosen": chosen.contiguous(), "rejected": rejected.contiguous()}, folder / "logps.safetensors")

    depends_on = {
        "model": model_digest(reference),
        "config": reference.config.to_json_string(),  # rope, activations: not all that decides is in the weights
        "data": data_digest([pair[:3] for pair in pairs]),
        "batch_size": batch_size,
        "device": sharded.device.type,
        "versions": [torch.__version__, transformers.__version__],
    }
    chosen, rejected = torch.zeros(len(pairs)), torch.zeros(len(pairs))
    if this_process()[0] == 0:
        kept = load_file(cached("reference-logps", depends_on, build) / "logps.safetensors")
        chosen, rejected = kept["chosen"], kept["rejected"]
    if not built and any_process(False):
        compute_reference_logps(sharded, pairs, batch_size, progress=True)
    all_reduce_sum([chosen, rejected])  # zeros and what the first process has
    return chosen, rejected
