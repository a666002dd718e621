"""What a run trains on, in numbers, against counts made by hand."""

import pytest

from dpo_book.data.facts import example_facts, pair_facts
from dpo_book.data.pairs import Pair

EOS = 9
PAIRS = [
    Pair([1], [2, 3, EOS], [4, EOS]),
    Pair([1], [2, 2, 2, 2], [4, 4, 4, EOS]),  # both fill five tokens; the first is cut
    Pair([1, 2], [3, EOS], [4, 5], 0.8),  # no EOS, but room for one: not cut
]


def test_pairs_are_counted():
    facts = pair_facts(PAIRS, most_tokens=5, eos=EOS)
    assert (facts["rows"], facts["prompts"], facts["completions"]) == (3, 2, 6)
    assert (facts["cut"], facts["most_tokens"], facts["soft_labels"]) == (1, 5, 1)
    assert (facts["chosen_longer"], facts["same_length"]) == (1, 2)
    chosen = facts["chosen_tokens"]
    assert (chosen["mean"], chosen["least"], chosen["median"], chosen["most"]) == (3, 2, 3, 4)
    assert (chosen["5 %"], chosen["95 %"]) == pytest.approx((2.1, 3.9))  # between 2, 3 and 4 in a line
    assert facts["rejected_tokens"]["mean"] == pytest.approx(8 / 3) and facts["prompt_tokens"]["most"] == 2


def test_where_nothing_was_cut_to_a_length_nothing_is_cut():
    assert pair_facts(PAIRS, most_tokens=None, eos=EOS)["cut"] == 0


def test_examples_are_counted_the_same():
    facts = example_facts([(pair.prompt, pair.chosen) for pair in PAIRS], most_tokens=5, eos=EOS)
    of_pairs = pair_facts(PAIRS, most_tokens=5, eos=EOS)
    assert facts["completion_tokens"] == of_pairs["chosen_tokens"]
    assert (facts["rows"], facts["prompts"], facts["completions"], facts["cut"]) == (3, 2, 3, 1)
