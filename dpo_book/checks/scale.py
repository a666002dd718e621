"""Exercises of chapter 13: the memory of training, and a run of TRL's brought over; ``parts`` has the third."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from dpo_book.checks.judge import Exercise
from dpo_book.checks.parts import check_whole_gradient

__all__ = ["check_same_run", "check_training_bytes", "check_whole_gradient"]

# Parameters of a model, tokens that are scored, words of its vocabulary.
SIZES = [
    (124_439_808, 3_000, 50_257),
    (1_100_000, 512, 2_048),
    (7, 1, 3),
    (10_000, 25_000, 11),
    (1_557_611_200, 9_000, 50_257),
    (1, 1, 1),
]


def _bytes(parameters: int, logits: int, numbers: int = 4, size: int = 4) -> Tensor:
    """numbers: kept for every parameter: weight, gradient, two moments. size: bytes of each."""
    return torch.tensor(size * (numbers * parameters + logits), dtype=torch.float64)


def _training_bytes(parameters: int, tokens: int, vocabulary: int) -> Tensor:
    return _bytes(parameters, tokens * vocabulary)


check_training_bytes = Exercise(
    "training_bytes",
    _training_bytes,
    SIZES,
    {
        "AdamW's two moments are missing: each is as large as the weights.": lambda n, t, v: _bytes(n, t * v, 2),
        "three numbers a parameter, and it is four: weight, gradient, and AdamW's two moments.": (
            lambda n, t, v: _bytes(n, t * v, 3)
        ),
        "five numbers a parameter, and it is four: weight, gradient, and AdamW's two moments.": (
            lambda n, t, v: _bytes(n, t * v, 5)
        ),
        "this counts numbers; each has four bytes.": lambda n, t, v: _bytes(n, t * v, size=1),
        "only the weights and the logits are there: training keeps gradients and moments too.": (
            lambda n, t, v: _bytes(n, t * v, 1)
        ),
        "the logits are missing: 4 bytes for every scored token and every word of the vocabulary.": (
            lambda n, t, v: _bytes(n, 0)
        ),
        "a token has a logit for every word of the vocabulary, not one.": lambda n, t, v: _bytes(n, t),
        "one row of logits for all tokens; every scored token has its own.": lambda n, t, v: _bytes(n, v),
        "tokens and vocabulary are added; a table has their product.": lambda n, t, v: _bytes(n, t + v),
        "two tables of logits; the copy is gone by then.": lambda n, t, v: _bytes(n, 2 * t * v),
        "three tables of logits; the copy is gone by then, and one is asked for.": lambda n, t, v: _bytes(
            n, 3 * t * v
        ),
        "two bytes a number, as in bfloat16; float32 has four.": lambda n, t, v: _bytes(n, t * v, size=2),
        "two bytes a logit, as in bfloat16; float32 has four.": lambda n, t, v: _bytes(n, t * v / 2),
        "six numbers a parameter, and it is four: weight, gradient, and AdamW's two moments.": (
            lambda n, t, v: _bytes(n, t * v, 6)
        ),
        "parameters are multiplied with the logits; the two are added.": lambda n, t, v: _bytes(n * t * v, 0),
        "the larger of the two parts; both are held at once, so add them.": (
            lambda n, t, v: torch.maximum(_bytes(n, 0), _bytes(0, t * v))
        ),
        "the parameters' part is missing: weights, gradients and two moments.": lambda n, t, v: _bytes(0, t * v),
        "eight bytes a number, as in float64; float32 has four.": lambda n, t, v: _bytes(n, t * v, size=8),
        "these are bits; bytes are asked for.": lambda n, t, v: _bytes(n, t * v, size=32),
        "the logits are counted as numbers, and each has four bytes.": lambda n, t, v: _bytes(n, t * v / 4),
        "gradients and moments are kept for the logits as well; only parameters have them.": (
            lambda n, t, v: _bytes(n, 4 * t * v)
        ),
        "in gigabytes; bytes are asked for.": lambda n, t, v: _bytes(n, t * v) / 1e9,
        "in GiB; bytes are asked for.": lambda n, t, v: _bytes(n, t * v) / 2**30,
        "in megabytes; bytes are asked for.": lambda n, t, v: _bytes(n, t * v) / 1e6,
        "in MiB; bytes are asked for.": lambda n, t, v: _bytes(n, t * v) / 2**20,
    },
    "At how many tokens do the logits of GPT-2's vocabulary outweigh all the rest?",
)


# Runs of TRL's: pairs, epochs, pairs a device, accumulation steps, devices. In some batches fill an epoch; in one all
# pairs do not fill a batch.
RUNS = [
    (10_000, 3, 8, 4, 2),
    (1_001, 2, 4, 5, 3),
    (640, 1, 8, 4, 2),
    (7, 5, 1, 1, 1),
    (50, 4, 2, 3, 9),
    (1_000_000, 2, 3, 1, 7),
    (97, 3, 6, 2, 1),
]


def _run(pairs: int, epochs: int, batch_size: int) -> Tensor:
    return torch.tensor([batch_size, epochs * math.ceil(pairs / batch_size)], dtype=torch.float64)


def _same_run(pairs: int, epochs: int, per_device: int, accumulation: int, devices: int) -> Tensor:
    return _run(pairs, epochs, per_device * accumulation * devices)


def _wrong_steps(batch_size: int, steps: int) -> Tensor:
    return torch.tensor([batch_size, steps], dtype=torch.float64)


def _batch_size_alone(pairs: int, epochs: int, per_device: int, accumulation: int, devices: int) -> Tensor:
    return _same_run(pairs, epochs, per_device, accumulation, devices)[0]


def _steps_alone(pairs: int, epochs: int, per_device: int, accumulation: int, devices: int) -> Tensor:
    return _same_run(pairs, epochs, per_device, accumulation, devices)[1]


def _with_steps_of(other: Callable[..., int]) -> Callable[..., Tensor]:
    """The right batch_size, and steps that ``other`` counts in an epoch, from pairs, accumulation and devices."""

    def mistaken(pairs: int, epochs: int, per_device: int, accumulation: int, devices: int) -> Tensor:
        batch_size = per_device * accumulation * devices
        return _wrong_steps(batch_size, epochs * other(pairs, per_device, accumulation, devices))

    return mistaken


def _always_one_more(pairs: int, per_device: int, accumulation: int, devices: int) -> int:
    return pairs // (per_device * accumulation * devices) + 1


def _nearest(pairs: int, per_device: int, accumulation: int, devices: int) -> int:
    return round(pairs / (per_device * accumulation * devices))


def _unrounded(pairs: int, per_device: int, accumulation: int, devices: int) -> float:
    return pairs / (per_device * accumulation * devices)


def _passes(pairs: int, per_device: int, accumulation: int, devices: int) -> int:
    return math.ceil(pairs / (per_device * devices))


def _full_updates(pairs: int, per_device: int, accumulation: int, devices: int) -> int:
    return _passes(pairs, per_device, accumulation, devices) // accumulation


def _on_one_device(pairs: int, per_device: int, accumulation: int, devices: int) -> int:
    return math.ceil(pairs / (per_device * accumulation))


def _batches_of_one_device(pairs: int, per_device: int, accumulation: int, devices: int) -> int:
    return math.ceil(pairs / per_device)


def _times_parts(pairs: int, per_device: int, accumulation: int, devices: int) -> int:
    return accumulation * math.ceil(pairs / (per_device * accumulation * devices))


def _times_devices(pairs: int, per_device: int, accumulation: int, devices: int) -> int:
    return devices * math.ceil(pairs / (per_device * accumulation * devices))


def _all_floored(pairs: int, epochs: int, per_device: int, accumulation: int, devices: int) -> Tensor:
    batch_size = per_device * accumulation * devices
    return _wrong_steps(batch_size, epochs * pairs // batch_size)


def _wrong_batch_size(pairs: int, epochs: int, batch_size: int, times: int) -> Tensor:
    """Steps of ``times`` as large batches."""
    return _wrong_steps(batch_size, epochs * math.ceil(pairs / (batch_size * times)))


def _all_pairs(pairs: int, per_device: int, accumulation: int, devices: int) -> int:
    return pairs


check_same_run = Exercise(
    "same_run",
    _same_run,
    RUNS,
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
        "batch_size alone; steps are asked for, too.": _batch_size_alone,
        "steps alone; batch_size is asked for, too.": _steps_alone,
        "where batches fill an epoch, there is no smaller one: round up, rather than add 1.": (
            _with_steps_of(_always_one_more)
        ),
        "rounded to the nearest: a smaller last batch is a step, too, so round up.": _with_steps_of(_nearest),
        "steps are whole numbers: round up in every epoch.": _with_steps_of(_unrounded),
        "these are forward and backward passes; an update comes after `accumulation` of them.": (
            _with_steps_of(_passes)
        ),
        "an epoch's last update is left out where it has fewer parts: it is a step, too.": (
            _with_steps_of(_full_updates)
        ),
        "the steps are those of one device alone; all devices share the pairs.": _with_steps_of(_on_one_device),
        "the steps are one device's batches, as if it were alone and accumulated nothing.": (
            _with_steps_of(_batches_of_one_device)
        ),
        "these are the pairs that are seen; divide them by batch_size.": _with_steps_of(_all_pairs),
        "the remainders of all epochs are dropped; each epoch ends with a smaller batch.": _all_floored,
        "an update has all parts already: steps are not multiplied by them.": _with_steps_of(_times_parts),
        "an update has all devices already: steps are not multiplied by them.": _with_steps_of(_times_devices),
        "steps are right; batch_size is that of one pass on one device.": (
            lambda n, epochs, size, parts, devices: _wrong_batch_size(n, epochs, size, parts * devices)
        ),
        "steps are right; batch_size has the pairs of all devices, but not of all parts.": (
            lambda n, epochs, size, parts, devices: _wrong_batch_size(n, epochs, size * devices, parts)
        ),
        "steps are right; batch_size has the pairs of all parts, but not of all devices.": (
            lambda n, epochs, size, parts, devices: _wrong_batch_size(n, epochs, size * parts, devices)
        ),
        "parts and devices are added; each device has all the parts, so multiply.": (
            lambda n, epochs, size, parts, devices: _run(n, epochs, size * (parts + devices))
        ),
        "a pair is one, though it has two completions.": (
            lambda n, epochs, size, parts, devices: _run(n, epochs, 2 * size * parts * devices)
        ),
    },
    "Which two of TRL's settings could change, with `batch_size` and `steps` as they are, and what would change?",
    some_numbers=True,
)
