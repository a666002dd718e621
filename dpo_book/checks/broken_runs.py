"""Training runs that something is wrong with, for readers who learn to tell from the log what. Chapter 12 uses them.

Every run is a real one: DPO in the verdict world with one fault. To solve the exercise, do not read on.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from transformers import PreTrainedModel

from dpo_book.data.pairs import Pair
from dpo_book.models.policy import copy_policy
from dpo_book.training.dpo_config import DPOConfig
from dpo_book.training.loop import Record
from dpo_book.training.offline import train_dpo

HEALTHY = DPOConfig(beta=0.5, learning_rate=1e-3, batch_size=64, steps=100, warmup_steps=20)


def _train(reference: PreTrainedModel, pairs: Sequence[Pair], start: PreTrainedModel | None = None, **settings):
    policy = copy_policy(start or reference)
    return list(train_dpo(policy, reference, pairs, replace(HEALTHY, **settings)))


def _another_start(reference: PreTrainedModel, pairs: Sequence[Pair]) -> list[Record]:
    """The policy has been trained further, and the reference is the model as it was before."""
    start = copy_policy(reference)
    for _ in train_dpo(start, reference, pairs, replace(HEALTHY, steps=60, seed=1)):
        pass
    return _train(reference, pairs, start)


def _coin_flips(reference: PreTrainedModel, pairs: Sequence[Pair]) -> list[Record]:
    flips = torch.rand(len(pairs), generator=torch.Generator().manual_seed(0)) < 0.5
    swapped = [
        pair._replace(chosen=pair.rejected, rejected=pair.chosen) if flip else pair
        for pair, flip in zip(pairs, flips.tolist(), strict=True)
    ]
    return _train(reference, swapped)


# cause → the run that has it, from a reference and hard-labelled pairs
CAUSES: dict[str, Callable[[PreTrainedModel, Sequence[Pair]], list[Record]]] = {
    "the learning rate is far too high": lambda reference, pairs: _train(reference, pairs, learning_rate=0.3),
    "the learning rate is far too low": lambda reference, pairs: _train(reference, pairs, learning_rate=1e-7),
    "β is 100 times too small": lambda reference, pairs: _train(reference, pairs, beta=HEALTHY.beta / 100),
    "the labels are coin flips": _coin_flips,
    "the policy did not start from the reference": _another_start,
    "a few pairs are seen again and again": lambda reference, pairs: _train(reference, pairs[:64]),
}
PATIENTS = {
    "A": "the policy did not start from the reference",
    "B": "β is 100 times too small",
    "C": "the labels are coin flips",
}


def broken_log(name: str, reference: PreTrainedModel, pairs: Sequence[Pair]) -> list[Record]:
    """The records of broken run "A", "B" or "C"; pairs with hard labels, at least a thousand of them."""
    return CAUSES[PATIENTS[name]](reference, pairs)
