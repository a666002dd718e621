"""What no batch can be made of is refused at once."""

import math

import pytest

from dpo_book.data.batches import batches_by_length, in_parts


def test_no_rows_make_no_batches():
    with pytest.raises(ValueError, match="lengths is empty"):
        batches_by_length([], 4)


@pytest.mark.parametrize("size", [0, -1, 1.5, True, None, math.nan])
def test_a_batch_has_at_least_one_row(size):
    with pytest.raises(ValueError, match="batch_size must be"):
        batches_by_length([1, 2], size)
    with pytest.raises(ValueError, match="size must be"):
        in_parts([1, 2], size)


@pytest.mark.parametrize("seed", [None, -1, 0.5, "0"])
def test_an_order_needs_a_seed(seed):
    with pytest.raises(ValueError, match="seed must be"):
        batches_by_length([1, 2], 1, seed)
