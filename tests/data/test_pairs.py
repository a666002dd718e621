"""Pairs: what is tokenised, cut, dropped and warned of; judged by Bradley–Terry; batched by length."""

import itertools
import math
import warnings
from collections import Counter

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from dpo_book.data.batches import batches_by_length
from dpo_book.data.pairs import Pair, PairError, bradley_terry_pairs, tokenize_pairs
from dpo_book.data.preferences import Preference
from dpo_book.models.policy import train_tokenizer

EOS = "<|endoftext|>"
TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture
def tokenizer():
    """Bytes are its only tokens, and EOS: lengths in characters are lengths in tokens."""
    return train_tokenizer([], vocab_size=257)


@pytest.fixture
def bare_tokenizer():
    """Three words and no special token, as in the enumerable world."""
    words = Tokenizer(models.WordLevel({"good": 0, "bad": 1, "film": 2}))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words)


def texts(pair, tokenizer):
    return tuple(tokenizer.decode(ids) for ids in pair[:3])


def chat(role, content):
    return [{"role": role, "content": content}]


CHAT = Preference(chat("user", "Hi"), chat("assistant", "Hello"), chat("assistant", "Go"))


@pytest.fixture(autouse=True)
def no_unexpected_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


# ------------------------------------------------------------------ tokenising


def test_each_completion_ends_with_eos_and_the_prompt_does_not(tokenizer):
    (pair,) = tokenize_pairs([Preference("Film:", " good", " bad", 0.9)], tokenizer)
    assert texts(pair, tokenizer) == ("Film:", f" good{EOS}", f" bad{EOS}")
    assert pair.chosen_probability == 0.9


def test_a_completion_that_has_its_eos_gets_no_second(tokenizer):
    (pair,) = tokenize_pairs([Preference("Film:", f" good{EOS}", " bad")], tokenizer)
    assert texts(pair, tokenizer) == ("Film:", f" good{EOS}", f" bad{EOS}")


def test_a_tokenizer_without_eos_appends_none(bare_tokenizer):
    assert tokenize_pairs([Preference("film", " good film", " bad")], bare_tokenizer) == [Pair([2], [0, 2], [1])]


def test_a_completion_that_is_cut_has_no_eos(tokenizer):
    (pair,) = tokenize_pairs([Preference("12345", "chosen", "rej")], tokenizer, max_length=9)
    assert texts(pair, tokenizer) == ("12345", "chos", f"rej{EOS}")


def test_a_completion_that_just_fits_is_whole(tokenizer):
    (pair,) = tokenize_pairs([Preference("12345", "chosen", "rej")], tokenizer, max_length=12)
    assert texts(pair, tokenizer) == ("12345", f"chosen{EOS}", f"rej{EOS}")


def test_pairs_that_are_the_same_once_cut_are_dropped_with_one_warning(tokenizer):
    different, alike = Preference("x", "abc", "def"), Preference("x", "same 1", "same 2")
    rows = [alike, different, alike, alike, alike, alike, alike]
    with pytest.warns(UserWarning) as caught:
        pairs = tokenize_pairs(rows, tokenizer, max_length=6)
    assert [texts(pair, tokenizer) for pair in pairs] == [("x", f"abc{EOS}", f"def{EOS}")]
    (warning,) = caught
    assert str(warning.message) == (
        "dropped 6 of 7 pairs: chosen and rejected are the same, once cut to 6 tokens "
        "(row 1; row 3; row 4; row 5; row 6; ...)"
    )
    assert warning.filename == __file__  # points at the caller


def test_nothing_left_is_an_error(tokenizer):
    with (
        pytest.warns(UserWarning, match="dropped 1 of 1 pairs"),
        pytest.raises(PairError, match="none of the 1 pairs can be trained on: 1 have the same"),
    ):
        tokenize_pairs([Preference("x", "same", "same")], tokenizer)
    with pytest.raises(PairError, match="none of the 0 pairs"):
        tokenize_pairs([], tokenizer)


@pytest.mark.parametrize("length", [5, 6])
def test_a_prompt_that_leaves_no_room_names_its_row(length, tokenizer):
    rows = [Preference("x", "a", "b"), Preference("y" * length, "a", "b")]
    with pytest.raises(PairError, match=f"row 2: the prompt has {length} tokens.*max_length = 5"):
        tokenize_pairs(rows, tokenizer, max_length=5)
    with pytest.warns(UserWarning, match=r"dropped 1 of 2 pairs: the prompt alone fills 5 tokens \(row 2\)"):
        assert len(tokenize_pairs(rows, tokenizer, max_length=5, drop_long=True)) == 1


def test_an_empty_prompt_is_the_bos_token(tokenizer, bare_tokenizer):
    (pair,) = tokenize_pairs([Preference("", "good", "bad")], tokenizer)
    assert pair.prompt == [tokenizer.bos_token_id]
    with pytest.raises(PairError, match="row 1: the prompt has no token, and the tokenizer has no BOS"):
        tokenize_pairs([Preference("", "good", "bad")], bare_tokenizer)


def test_a_completion_without_tokens_names_its_row(bare_tokenizer):
    blank = Preference("film", "  ", " bad")
    with pytest.raises(PairError, match="row 2: the chosen completion has no token"):
        tokenize_pairs([Preference("film", " good", " bad"), blank], bare_tokenizer)


def test_a_word_that_the_tokenizer_does_not_know_names_its_row(bare_tokenizer):
    unknown = Preference("film", " good", " boring")
    with pytest.raises(PairError, match='row 2: the tokenizer cannot read "film boring"'):
        tokenize_pairs([Preference("film", " good", " bad"), unknown], bare_tokenizer)


def test_a_row_of_a_file_is_named_as_it_stands_there(tokenizer):
    rows = [Preference("x", "a", "b"), Preference("y" * 9, "a", "b", where="train.jsonl, line 7")]
    with pytest.raises(PairError, match=r"^train\.jsonl, line 7: the prompt has 9 tokens"):
        tokenize_pairs(rows, tokenizer, max_length=5)


# ------------------------------------------------------------------ messages


def test_messages_go_through_the_chat_template(tokenizer):
    tokenizer.chat_template = TEMPLATE
    (pair,) = tokenize_pairs([CHAT], tokenizer)
    assert texts(pair, tokenizer) == ("<user>Hi\n<assistant>", f"Hello\n{EOS}", f"Go\n{EOS}")


def test_a_template_that_ends_turns_with_eos_gets_no_second(tokenizer):
    tokenizer.chat_template = TEMPLATE.replace("\n", "{{ eos_token }}")
    (pair,) = tokenize_pairs([CHAT], tokenizer)
    assert texts(pair, tokenizer) == (f"<user>Hi{EOS}<assistant>", f"Hello{EOS}", f"Go{EOS}")


def test_a_template_that_rewrites_the_prompt_is_refused(tokenizer):
    tokenizer.chat_template = "{{ messages | length }} messages: {{ messages | map(attribute='content') | join }}"
    with pytest.raises(PairError, match="row 1: the chat template does not keep the prompt's text"):
        tokenize_pairs([CHAT], tokenizer)


def test_messages_without_a_template_are_lines_with_their_roles(tokenizer):
    (pair,) = tokenize_pairs([CHAT], tokenizer)
    assert texts(pair, tokenizer) == ("user: Hi\nassistant:", f" Hello{EOS}", f" Go{EOS}")


def test_an_answer_of_several_turns_is_one_completion(tokenizer):
    tokenizer.chat_template = TEMPLATE
    turns = [*chat("assistant", "Hello"), *chat("user", "Why?"), *chat("assistant", "So")]
    (pair,) = tokenize_pairs([Preference(CHAT.prompt, turns, CHAT.rejected)], tokenizer)
    assert tokenizer.decode(pair.chosen) == f"Hello\n<user>Why?\n<assistant>So\n{EOS}"


# ------------------------------------------------------------------ judged by Bradley–Terry


def judged(margin, n, **how):
    """n pairs of the completions [1] and [2], the first better by ``margin`` nats."""
    return bradley_terry_pairs([[0]] * n, [[1]] * n, [[2]] * n, torch.full((n,), margin), torch.zeros(n), **how)


@pytest.mark.parametrize("margin", [-2.0, -0.3, 0.0, 1.0, 3.0])
def test_hard_labels_fall_as_often_as_equation_1_says(margin):
    n, p = 10_000, torch.tensor(margin).sigmoid().item()
    pairs = judged(margin, n)
    won = sum(pair.chosen == [1] for pair in pairs)
    assert abs(won / n - p) < 4 * (p * (1 - p) / n) ** 0.5  # four standard errors
    assert {pair.chosen_probability for pair in pairs} == {1.0}
    assert all(pair.chosen != pair.rejected and pair.prompt == [0] for pair in pairs)


@pytest.mark.parametrize("margin", [-40.0, -2.0, 0.0, 1.0, 40.0])
def test_soft_labels_choose_the_likelier_and_keep_its_probability(margin):
    (pair,) = judged(margin, 1, labels="soft")
    assert pair.chosen == ([1] if margin >= 0 else [2])
    assert pair.chosen_probability >= 0.5
    expected = torch.tensor(abs(margin), dtype=torch.float64).sigmoid().item()
    assert pair.chosen_probability == pytest.approx(expected, rel=1e-12)  # float64 throughout


def test_sure_labels_are_the_higher_reward_s_however_little_higher_and_ties_are_left_out():
    rewards_a, rewards_b = torch.tensor([0.1, 0.0, 3.0]), torch.tensor([0.0, 0.1, 3.0])
    pairs = bradley_terry_pairs([[0]] * 3, [[1]] * 3, [[2]] * 3, rewards_a, rewards_b, labels="sure")
    assert pairs == [Pair([0], [1], [2], 1.0), Pair([0], [2], [1], 1.0)]


@pytest.mark.parametrize("labels", ["hard", "soft", "sure"])
def test_equal_completions_are_left_out(labels):
    pairs = bradley_terry_pairs(
        [[0], [5]], [[1], [1]], [[1], [2]], torch.tensor([0.0, 50.0]), torch.zeros(2), labels=labels
    )
    assert pairs == [Pair([5], [1], [2], 1.0)]  # σ(50) is 1 in float64


def test_leaving_out_a_pair_does_not_change_the_coins_of_the_others():
    rewards = torch.zeros(50), torch.zeros(50)
    a, b = [[1]] * 50, [[2]] * 50
    every = bradley_terry_pairs([[i] for i in range(50)], a, b, *rewards)
    one_less = bradley_terry_pairs([[i] for i in range(50)], a, [[1], *b[1:]], *rewards)
    assert one_less == every[1:]


def test_labels_depend_on_the_seed_alone():
    first = judged(0.0, 100, seed=1)
    torch.rand(3)
    before = torch.get_rng_state()
    assert first == judged(0.0, 100, seed=1) != judged(0.0, 100, seed=2)
    assert torch.equal(before, torch.get_rng_state())


def test_other_labels_and_unequal_lengths_are_refused():
    with pytest.raises(ValueError, match='labels must be "hard", "soft" or "sure", got \'firm\''):
        judged(0.0, 1, labels="firm")
    with pytest.raises(ValueError):
        bradley_terry_pairs([[0]], [[1]] * 2, [[2]] * 2, torch.zeros(2), torch.zeros(2))
    with pytest.raises(ValueError, match="these must have one shape"):
        bradley_terry_pairs([[0]] * 2, [[1]] * 2, [[2]] * 2, torch.zeros(2), torch.zeros(2, 1))


def test_a_reward_that_is_no_number_makes_no_choice():
    with pytest.raises(ValueError, match="reward_b holds NaN"):
        bradley_terry_pairs([[0]], [[1]], [[2]], torch.zeros(1), torch.tensor([math.nan]))


# ------------------------------------------------------------------ batches


def epoch(lengths, batch_size, seed=0):
    """The batches of the first epoch."""
    return list(itertools.islice(batches_by_length(lengths, batch_size, seed), -(-len(lengths) // batch_size)))


def padding(batches, lengths):
    return sum(max(lengths[i] for i in batch) - lengths[j] for batch in batches for j in batch)


@pytest.fixture
def lengths():
    return torch.randint(1, 200, (1000,), generator=torch.Generator().manual_seed(0)).tolist()


@pytest.mark.parametrize("batch_size", [1, 8, 30, 1000, 5000])
def test_every_index_comes_once_an_epoch(batch_size, lengths):
    per_epoch = -(-1000 // batch_size)
    batches = list(itertools.islice(batches_by_length(lengths, batch_size), 3 * per_epoch))
    for start in range(0, 3 * per_epoch, per_epoch):
        one_epoch = batches[start : start + per_epoch]
        assert sorted(itertools.chain(*one_epoch)) == list(range(1000))


def test_all_batches_are_full_but_the_last_of_the_longest(lengths):
    sizes = Counter(map(len, epoch(lengths, 30)))
    assert sizes == {30: 33, 10: 1}


def test_fewer_items_than_a_batch_are_one_batch():
    assert sorted(epoch([3, 1, 2], 8)[0]) == [0, 1, 2]


def test_items_of_like_length_share_a_batch(lengths):
    unsorted = [list(range(i, i + 8)) for i in range(0, 1000, 8)]
    # 400 lengths between 1 and 200 in a window: neighbours differ by about 0.5, the items of a batch of 8 from
    # its longest by about 2; without sorting by about 80.
    assert padding(epoch(lengths, 8), lengths) < 0.05 * padding(unsorted, lengths)


def test_batches_do_not_come_in_order_of_length(lengths):
    longest = [max(lengths[i] for i in batch) for batch in epoch(lengths, 8)]
    rising = sum(a < b for a, b in itertools.pairwise(longest)) / (len(longest) - 1)
    assert 0.3 < rising < 0.7  # 124 steps, each up or down by chance: standard error 0.05


def test_batches_depend_on_the_seed_alone_and_differ_between_epochs(lengths):
    assert epoch(lengths, 8, seed=1) == epoch(lengths, 8, seed=1) != epoch(lengths, 8, seed=2)
    two = list(itertools.islice(batches_by_length(lengths, 8), 250))
    assert two[:125] != two[125:]
