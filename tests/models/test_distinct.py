"""What stands in several pairs is found once, wherever it stands, and put into rows that suit a model."""

import itertools
from functools import partial

import torch

from dpo_book import Pair
from dpo_book.data.pairs import pair_lengths
from dpo_book.models.arrangement import by_length, completions_in, in_fewest_operations, in_parts_of
from dpo_book.models.distinct import distinct_completions

A, B, C = (3, 4), (5,), (6, 7, 8)
PAIRS = [
    Pair([1, 2], [*A], [*B]),
    Pair([1], [*B], [*A]),  # other prompt, same completions
    Pair([1, 2], [*C], [*A]),  # chosen before, rejected now
    Pair([1, 2], [*A], [*B]),  # asked twice
    Pair([1, 2], [*B], [*A]),  # and the other way round
]


def asked(distinct):
    """The pairs as (prompt, chosen, rejected), read off numbers and groups."""
    rows = [(prompt, completion) for prompt, completions in distinct.groups for completion in completions]
    return [(*rows[chosen], rows[rejected][1]) for chosen, rejected in distinct.places.T.tolist()]


def test_every_distinct_completion_of_a_prompt_is_there_once():
    distinct = distinct_completions(PAIRS)
    assert distinct.groups == [((1, 2), [A, B, C]), ((1,), [B, A])]
    assert distinct.places.tolist() == [[0, 3, 2, 0, 1], [1, 4, 0, 1, 0]]


def test_pairs_find_their_completions_however_these_are_arranged():
    def apart_and_backwards(groups):
        return [(prompt, [y]) for prompt, completions in reversed(groups) for y in reversed(completions)]

    expected = [(tuple(prompt), tuple(chosen), tuple(rejected)) for prompt, chosen, rejected, _ in PAIRS]
    for arrange in (list, apart_and_backwards, lambda groups: in_fewest_operations(1, groups)):
        assert asked(distinct_completions(PAIRS, arrange)) == expected


def test_six_pairs_of_four_completions_are_200_tokens_in_place_of_672():
    completions = [[word] * 48 for word in range(4)]
    pairs = [Pair([9] * 8, a, b) for a, b in itertools.combinations(completions, 2)]
    ((prompt, distinct),) = distinct_completions(pairs).groups
    assert len(prompt) + sum(map(len, distinct)) == 200
    assert sum(pair_lengths(pairs)) + 6 * len(prompt) == 672


def tokens_of(rows):
    return [len(prompt) + sum(map(len, completions)) for prompt, completions in rows]


def operations(rows, features):
    """Of rows that are all as wide as the widest: of a layer, in units of 4 D."""
    width = max(tokens_of(rows))
    return len(rows) * width * (6 * features + width)


def test_rows_take_about_the_fewest_operations_that_any_cut_into_like_rows_takes():
    for features, prompt, length, count in itertools.product((64, 768), (8, 64, 700), (5, 50, 200), (2, 4, 12)):
        group = ((1,) * prompt, [(i,) * length for i in range(count)])
        rows = in_fewest_operations(features, [group])
        found = operations(rows, features)
        cuts = [[(group[0], group[1][i::n]) for i in range(n)] for n in range(1, count + 1)]
        # Of the sizes between the powers of two, 3 and 6 could be better for twelve.
        assert found <= 1.1 * min(operations(cut, features) for cut in cuts)


def test_rows_that_are_run_at_once_have_equally_many_completions():
    """Alone, the one pair is best in one row and the other in two; beside one another that would be padding."""
    short, long = [((1,) * 30, [(2,) * length, (3,) * length]) for length in (60, 90)]
    assert [len(in_fewest_operations(64, [pair])) for pair in (short, long)] == [1, 2]
    rows = in_fewest_operations(64, [short, long])
    assert len({completions_in([row]) for row in rows}) == 1
    assert tokens_of(by_length(partial(in_fewest_operations, 64), [long, short])) == [120, 120, 150]


def test_rows_of_one_prompt_are_alike_and_hold_each_completion_once():
    lengths = [60, 33, 41, 52, 38, 59, 35, 44]
    group = ((1,) * 8, [(i,) * length for i, length in enumerate(lengths)])
    rows = in_fewest_operations(128, [group])
    assert len(rows) == 4
    assert sorted(len(y) for _, completions in rows for y in completions) == sorted(lengths)
    assert max(tokens_of(rows)) - min(tokens_of(rows)) < 10  # completions differ by up to 27
    assert in_fewest_operations(128, [((), [(1,), (2,)])])  # an empty prompt is refused where rows are laid out


def test_parts_hold_as_many_completions_as_they_may_and_short_rows_come_first():
    groups = [((1,), [(2,)] * n) for n in (2, 1, 2, 5, 1)]
    parts = in_parts_of(groups, 3)
    assert [completions_in(part) for part in parts] == [3, 2, 5, 1]
    assert list(itertools.chain(*parts)) == groups
    assert tokens_of(by_length(list, groups)) == [2, 2, 3, 3, 6]


def test_what_a_completion_gets_in_several_pairs_is_the_sum():
    distinct = distinct_completions(PAIRS)
    logps = torch.arange(5.0, requires_grad=True)
    chosen, rejected = logps[distinct.places]
    (gradient,) = torch.autograd.grad((chosen - 2 * rejected).sum(), logps)
    assert gradient.tolist() == [2 - 4, 1 - 4, 1, 1, -2]
