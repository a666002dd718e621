"""The open-ended world: its grammar writes English, its prompts are cut where tokens end, its reward is VADER's."""

import hashlib
import json
import re

import pytest
import torch

from dpo_book import build_policy, train_sft
from dpo_book.models.policy import sample_ids
from dpo_book.training.config import SFTConfig
from dpo_book.worlds.tiny_reviews import RULES, TinyReviews, tiny_reviews


@pytest.fixture(scope="module")
def world():
    return tiny_reviews()


@pytest.fixture(scope="module")
def texts(world):
    return world.corpus(4000)


@pytest.fixture(scope="module")
def reviews(texts):
    return [prompt + response for prompt, response in texts]


def test_reviews_are_one_to_three_sentences_well_punctuated(reviews):
    sentence = r"[A-Z][a-z]*(?:,? [a-zI]+)*[.!]"
    assert all(re.fullmatch(rf"{sentence}(?: {sentence}){{0,2}}", review) for review in reviews)
    counts = [len(re.findall(r"[.!]", review)) for review in reviews]
    assert min(counts.count(n) for n in (1, 2, 3)) > len(reviews) / 10


def test_the_vocabulary_is_a_few_hundred_words_and_the_reviews_are_tens_of_thousands(world, reviews):
    words = {word for review in reviews for word in re.findall(r"\w+", review.lower())}
    assert 300 < len(words) < 400
    assert len(set(reviews)) > 0.99 * len(reviews)
    assert len(set(reviews) & {x + y for x, y in world.corpus(4000, seed=1)}) < 0.01 * len(reviews)


def test_nouns_and_verbs_agree(reviews):
    text = " ".join(reviews)
    many = "twists|jokes|flashbacks|effects|sets|songs|scenes|actors|performances|newcomers|leads|writers"
    one = "plot|story|ending|script|score|music|editing|acting|lead|cast|narrator|director|film"
    singular = "is|does|seems|feels|improves|ruins|plays|handles|speaks|tells|builds"
    plural = "are|do|seem|feel|improve|ruin|play|handle|speak|tell|build"
    assert len(re.findall(rf"\b(?:{many}) (?:never )?(?:{plural})\b", text)) > 500
    assert len(re.findall(rf"\b(?:{one}) (?:never )?(?:{singular})\b", text)) > 500
    assert not re.findall(rf"\b(?:{many}) (?:never )?(?:{singular})\b", text)
    assert not re.findall(rf"\b(?:{one}) (?:never )?(?:{plural})\b", text)


def test_articles_and_capitals_are_right(reviews):
    text = " ".join(reviews)
    assert not re.findall(r"\b[Aa] [aeiou]|\b[Aa]n [^aeiouh]|\bi\b", text)
    assert "n " in text and re.search(r"\b[Aa]n [aeiou]", text)


def test_no_word_of_substance_comes_twice(reviews):
    for review in reviews:
        words = re.findall(r"\w{4,}", review.lower())
        assert len(words) == len(set(words)), review


def test_every_rule_that_is_named_exists_and_every_rule_is_named():
    named = {name for _, _, choices in RULES.rules for choice in choices for name in re.findall(r"<~?(\w+)", choice)}
    assert named | {"review"} == {name for name, _, _ in RULES.rules}


def test_the_grammar_recognises_what_it_writes_and_nothing_else(world, reviews):
    assert all(world.grammatical(review) for review in reviews[:500])
    good = "Although the plot is dull, the acting is not bad at all. Do not miss it!"
    assert world.grammatical(good)
    broken = ("is dull", "are dull"), ("Although", "although"), ("bad", "great"), (" Do not miss it!", ""), ("!", "")
    verdicts = [world.grammatical(good.replace(old, new)) for old, new in broken]
    assert verdicts == [False, False, False, True, False]
    assert not world.grammatical("") and not world.grammatical("The plot.")


def test_critics_praise_and_complain_about_equally_often(world, texts):
    rewards = torch.tensor([world.reward(x, y) for x, y in texts])
    assert rewards.abs().max() <= 2
    assert 0 < rewards.mean() < 0.4 and 1 < rewards.std() < 1.3
    assert (rewards > 0.5).float().mean() < 0.6 and (rewards < -0.5).float().mean() > 0.25


def test_the_reward_is_of_prompt_and_response_together(world):
    assert world.reward("The acting is", " not very good.") < 0 < world.reward("The acting is", " very good.")
    assert world.reward("The acting is", " good, but the plot is bad.") < 0
    assert world.reward("The acting", "") == 0


def test_the_written_ending_makes_a_prompt_a_review_again(world):
    for prompt in world.prompts:
        assert world.grammatical(prompt + world.written_ending(prompt))
    with pytest.raises(KeyError):
        world.written_ending("What a")


def test_a_review_has_the_same_tokens_in_two_parts_as_whole(world, texts, reviews):
    examples = world.tokenize(texts)
    for (x, y), whole in zip(examples, world.tokenizer(reviews).input_ids, strict=True):
        assert x + y == [*whole, world.tokenizer.eos_token_id]
    words = sum(len(re.findall(r"\w+|[.,!]", review)) for review in reviews)
    assert sum(len(x) + len(y) - 1 for x, y in examples) == words  # one token a word
    assert sum(len(y) > world.max_new_tokens for _, y in examples) < 0.001 * len(examples)


def test_prompts_are_two_to_eight_tokens_and_end_where_a_word_ends(world, texts, reviews):
    assert all(y.startswith(" ") and len(x) <= len(y) for x, y in texts)
    assert {len(ids) for ids in world.tokenizer([x for x, _ in texts]).input_ids} == set(range(2, 9))
    drawn = world.draw_prompts(300, seed=3)
    assert len(drawn) == 300 and {len(ids) for ids in drawn} == set(range(2, 9))
    assert all(2 <= len(ids) <= 8 for ids in world.tokenizer(list(world.prompts)).input_ids)


def test_the_reviews_are_those_that_the_stored_tables_were_computed_from(world):
    """Text by text: notebooks/results and every kept reference depend on them."""
    texts = json.dumps(world.corpus(100)).encode()
    assert hashlib.sha256(texts).hexdigest() == "3ae80129301bdbbe558ce951be4b43c71c17cb5bbda735ae63bfa3583897245d"
    drawn = json.dumps(world.draw_prompts(100)).encode()
    assert hashlib.sha256(drawn).hexdigest() == "bbeb5c1b3f95d9b91fa0ca42d25b3ee97e5336d3b9554477074ee08606c56a5b"


def test_everything_is_fixed_by_its_seed(world, texts):
    again = TinyReviews()
    assert again.corpus(100) == world.corpus(100) == texts[:100] != world.corpus(100, seed=1)
    assert again.prompts == world.prompts and len(world.prompts) == 256
    assert again.draw_prompts(50, 2) == world.draw_prompts(50, 2) != world.draw_prompts(50, 3)
    assert again.tokenizer.get_vocab() == world.tokenizer.get_vocab()
    assert tiny_reviews() is world


def test_rewards_of_ids_are_those_of_their_text(world, texts):
    examples = world.tokenize(texts[:100])
    rewards = world.rewards_of(*zip(*examples, strict=True))
    assert rewards.dtype == torch.float32 and rewards.shape == (100,)
    assert rewards.tolist() == pytest.approx([world.reward(x, y) for x, y in texts[:100]], abs=1e-6)
    cut = [(x, y[:-1]) for x, y in examples]  # EOS is no part of the text
    assert torch.equal(world.rewards_of(*zip(*cut, strict=True)), rewards)


@pytest.mark.parametrize("size", [0, -3, 2.5, True, "10"])
def test_a_size_that_is_none_is_refused(world, size):
    for draw in (world.corpus, world.draw_prompts):
        with pytest.raises(ValueError, match="size must be a whole number of at least 1"):
            draw(size)


def test_a_policy_learns_from_it_and_its_samples_are_scored(world, texts):
    policy = build_policy("nano", world.tokenizer)
    short = [example for example in world.tokenize(texts[:400]) if sum(map(len, example)) <= 16]
    losses = [record["loss"] for record in train_sft(policy, short, SFTConfig(steps=8, learning_rate=1e-2))]
    assert losses[-1] < losses[0] - 0.5
    prompts = world.draw_prompts(8)
    rewards = world.rewards_of(prompts, sample_ids(policy, prompts, 8))
    assert rewards.shape == (8,) and rewards.abs().max() <= 2
