"""Exercises of chapter 13: the memory of training, the gradient of uneven parts, and a run of TRL's brought over."""

import math

import torch
from torch import Tensor

from dpo_book.checks import Exercise, random_case

# Parameters of a model, tokens that are scored, words of its vocabulary.
SIZES = [(124_439_808, 3_000, 50_257), (1_100_000, 512, 2_048)]
# Gradients of K = 3 parts' mean losses, each of D = 4 numbers, and how many pairs each part has.
PARTS = [
    (random_case(seed, (3, 4))[0], torch.tensor(sizes, dtype=torch.float64))
    for seed, sizes in ((0, [16, 16, 5]), (1, [7, 1, 2]))
]


def _bytes(parameters: int, logits: int, numbers: int = 4, size: int = 4) -> Tensor:
    """numbers: kept for every parameter: weight, gradient, two moments. size: bytes of each."""
    return torch.tensor(size * (numbers * parameters + logits), dtype=torch.float64)


check_training_bytes = Exercise(
    "training_bytes",
    SIZES,
    lambda n, tokens, vocabulary: _bytes(n, tokens * vocabulary),
    {
        "AdamW's two moments are missing: each is as large as the weights.": lambda n, t, v: _bytes(n, t * v, 2),
        "AdamW keeps two numbers a parameter, not one.": lambda n, t, v: _bytes(n, t * v, 3),
        "this counts numbers; each has four bytes.": lambda n, t, v: _bytes(n, t * v, size=1),
        "only the weights and the logits are there: training keeps gradients and moments too.": (
            lambda n, t, v: _bytes(n, t * v, 1)
        ),
        "the logits are missing: 4 bytes for every scored token and every word of the vocabulary.": (
            lambda n, t, v: _bytes(n, 0)
        ),
        "a token has a logit for every word of the vocabulary, not one.": lambda n, t, v: _bytes(n, t),
    },
    "At how many tokens do the logits of GPT-2's vocabulary outweigh all the rest?",
)


def _weighted(gradients: Tensor, sizes: Tensor) -> Tensor:
    return (sizes / sizes.sum()) @ gradients


check_whole_gradient = Exercise(
    "whole_gradient",
    PARTS,
    _weighted,
    {
        "every part weighs the same here, though some have fewer pairs.": lambda g, n: g.mean(dim=0),
        "a sum over parts of means is K times too long: weigh each by its share of the pairs.": (
            lambda g, n: g.sum(dim=0)
        ),
        "weighed by the sizes, but not divided by their sum: shares must add up to 1.": lambda g, n: n @ g,
        "divided by the number of parts once more: the shares add up to 1 already.": (
            lambda g, n: _weighted(g, n) / len(n)
        ),
        "divided by the largest part instead of by all pairs.": lambda g, n: (n / n.max()) @ g,
        "small parts weigh most here: the share is n over the sum, not its inverse.": (
            lambda g, n: (n.reciprocal() / n.reciprocal().sum()) @ g
        ),
    },
    "The parts may lie on other machines. What do they have to send each other?",
)

# Runs of TRL's: pairs, epochs, pairs a device, accumulation steps, devices. In the last one batches fill an epoch.
RUNS = [(10_000, 3, 8, 4, 2), (1_001, 2, 4, 5, 3), (640, 1, 8, 4, 2)]


def _run(pairs: int, epochs: int, batch_size: int) -> Tensor:
    return torch.tensor([batch_size, epochs * math.ceil(pairs / batch_size)], dtype=torch.float64)


def _wrong_steps(batch_size: int, steps: int) -> Tensor:
    return torch.tensor([batch_size, steps], dtype=torch.float64)


check_same_run = Exercise(
    "same_run",
    RUNS,
    lambda pairs, epochs, per_device, accumulation, devices: _run(pairs, epochs, per_device * accumulation * devices),
    {
        "batch_size is that of one device: an update sees the pairs of all of them.": (
            lambda n, epochs, size, parts, devices: _run(n, epochs, size * parts)
        ),
        "the parts that are accumulated belong to one batch too.": (
            lambda n, epochs, size, parts, devices: _run(n, epochs, size * devices)
        ),
        "batch_size is per_device here, which is micro_batch_size in this book's words.": (
            lambda n, epochs, size, parts, devices: _run(n, epochs, size)
        ),
        "the steps are those of one epoch.": (
            lambda n, epochs, size, parts, devices: _run(n, 1, size * parts * devices)
        ),
        "the smaller batch at the end of an epoch is a step too: round up.": (
            lambda n, epochs, size, parts, devices: _wrong_steps(
                size * parts * devices, epochs * (n // (size * parts * devices))
            )
        ),
        "round up in every epoch, not once at the end: each epoch has its own smaller batch.": (
            lambda n, epochs, size, parts, devices: _wrong_steps(
                size * parts * devices, math.ceil(epochs * n / (size * parts * devices))
            )
        ),
        "the two are the other way round: batch_size first, then steps.": (
            lambda n, epochs, size, parts, devices: _run(n, epochs, size * parts * devices).flip(0)
        ),
    },
    "Which two of TRL's settings could change, with batch_size and steps as they are, and what would that change?",
)
