"""What no batch can be made of is refused at once; which rows share a batch, and which are a process's."""

import itertools
import math
import random

import pytest

from dpo_book import Pair
from dpo_book.data.batches import BatchOrder, batches_by_length, in_parts, pair_order


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


# ------------------------------------------------------------------ groups: pairs of one prompt


@pytest.fixture
def order():
    """Rows of 300 groups of one to nine, as they come: a group's are not side by side."""
    rng = random.Random(0)
    groups = [group for group in range(300) for _ in range(rng.randint(1, 9))]
    rng.shuffle(groups)
    return BatchOrder([rng.randint(1, 200) for _ in groups], groups)


def first_epochs(order, batch_size, epochs=1, seed=0):
    per_epoch = math.ceil(len(order.lengths) / batch_size)
    return list(itertools.islice(order.batches(batch_size, seed), epochs * per_epoch))


@pytest.mark.parametrize("batch_size", [1, 8, 64, 5000])
def test_of_groups_too_every_row_comes_once_an_epoch_and_batches_are_full(batch_size, order):
    rows = len(order.lengths)
    batches = first_epochs(order, batch_size, epochs=2)
    one, two = batches[: len(batches) // 2], batches[len(batches) // 2 :]
    for epoch in (one, two):
        assert sorted(itertools.chain(*epoch)) == list(range(rows))
        assert sorted(map(len, epoch))[1:] == [batch_size] * (len(epoch) - 1)  # but the one that is left over
    assert one != two or len(one) == 1


def test_a_group_is_in_one_batch_or_cut_where_one_is_full(order):
    batches = first_epochs(order, 64)
    cuts = 0
    for batch in batches:
        runs = [group for group, _ in itertools.groupby(batch, key=order.groups.__getitem__)]
        assert len(runs) == len(set(runs))  # a group's rows are side by side
    for group in range(300):
        cuts += sum(any(order.groups[i] == group for i in batch) for batch in batches) - 1
    # A batch's end cuts one group at most, and so does a window's, after 50 batches: there are none here.
    assert cuts <= len(batches) - 1
    assert len(batches) < 50


def test_groups_of_one_are_no_groups(order):
    alone = BatchOrder(order.lengths, [7 * i for i in range(len(order.lengths))])
    assert first_epochs(alone, 8, 2, seed=3) == first_epochs(BatchOrder(order.lengths), 8, 2, seed=3)


def test_the_order_of_groups_depends_on_the_seed_alone(order):
    assert first_epochs(order, 8, seed=1) == first_epochs(order, 8, seed=1) != first_epochs(order, 8, seed=2)


@pytest.mark.parametrize("processes", [1, 2, 3, 7])
def test_rows_of_no_group_go_round_all_processes_in_turn(processes):
    batch = [4, 2, 0, 9, 5]
    assert BatchOrder([1] * 10).shares(batch, processes) == [batch[i::processes] for i in range(processes)]


def test_a_group_goes_to_one_process_unless_it_is_more_than_an_even_share():
    order = BatchOrder([1] * 12, [0] * 3 + [1] * 3 + [2] * 6)
    assert order.shares(range(12), 2) == [[0, 1, 2, 6, 7, 8, 9, 10, 11], [3, 4, 5]]
    assert order.shares(range(6, 12), 2) == [[6, 7, 8], [9, 10, 11]]
    assert order.shares([0], 2) == [[0], []]


def test_pairs_are_grouped_by_their_prompts_and_only_if_wanted():
    pairs = [Pair([1, 2], [3], [4]), Pair([1], [3], [4]), Pair((1, 2), [5], [4])]
    assert pair_order(pairs, [4, 3, 4], by_prompt=True).groups == [0, 1, 0]
    assert pair_order(pairs, [4, 3, 4], by_prompt=False).groups is None
