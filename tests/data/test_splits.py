"""Rows held out by prompt: never a prompt on both sides, and as many rows as the share allows."""

import random

import pytest

from dpo_book.data.splits import split_by_prompt


@pytest.mark.parametrize("seed", range(20))
def test_no_prompt_is_on_both_sides_and_the_share_is_not_passed(seed):
    rng = random.Random(seed)
    prompts = [rng.choice("abcdefgh") for _ in range(rng.randint(20, 90))]
    share = rng.uniform(0.3, 0.9)  # of at most eight prompts: one fits, for the smallest has at most an eighth
    kept, held_out = split_by_prompt(prompts, share, seed)
    assert sorted(kept + held_out) == list(range(len(prompts)))
    assert kept == sorted(kept) and held_out == sorted(held_out)
    assert {prompts[row] for row in kept}.isdisjoint(prompts[row] for row in held_out)
    assert 0 < len(held_out) <= share * len(prompts)
    left = min(prompts.count(prompt) for prompt in {prompts[row] for row in kept})
    assert len(held_out) + left > share * len(prompts)  # no other prompt had room


def test_of_prompts_of_one_row_the_share_is_held_out_to_the_row():
    kept, held_out = split_by_prompt(range(1000), 0.1)
    assert len(held_out) == 100 and len(kept) == 900
    assert held_out == split_by_prompt(range(1000), 0.1)[1] != split_by_prompt(range(1000), 0.1, seed=1)[1]
    assert 30 < sum(row >= 500 for row in held_out) < 70  # by lot: 50 ± 4.7, and a seed is a seed


def test_where_no_prompt_is_as_small_as_the_share_the_smallest_is_held_out():
    assert split_by_prompt(["a"] * 9 + ["b"] * 5, 0.1) == (list(range(9)), list(range(9, 14)))
    assert split_by_prompt(["a", "b"], 0.01)[1] in ([0], [1])


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, float("nan"), None, True, "0.1"])
def test_a_share_is_between_zero_and_one(share):
    with pytest.raises(ValueError, match="share must be"):
        split_by_prompt(["a", "b"], share)


@pytest.mark.parametrize("prompts", [[], ["a"], ["a"] * 9])
def test_one_prompt_cannot_be_split(prompts):
    with pytest.raises(ValueError, match="there have to be two prompts or more"):
        split_by_prompt(prompts, 0.5)
