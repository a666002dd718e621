"""The world of summaries: what a post says, and the quality of texts whose quality was computed by hand."""

import random

import pytest
import torch

from dpo_book.worlds.phrases import Fact
from dpo_book.worlds.tiny_summaries import CUE, IMPORTANT, REMARKS, WRITERS, Account, TinySummaries, tiny_summaries
from tests.worlds.open_texts import assert_a_token_a_word_in_two_parts_as_whole, assert_responses_fit

# Four important facts (problem, cost, tried, wish), two side remarks (weather, age).
POST = (
    "Last week my brother sold my guitar. It was foggy that day. I paid sixty euros for it. I am twenty years old. "
    "I waited in vain. All I want is an apology." + CUE
)
BEST = " My brother sold my guitar. It cost sixty euros. I waited in vain. I want an apology."
FIRST = " My brother sold my guitar."
BY_HAND = {
    "all four in 17 words": (BEST, 3.0),
    "in another order": (
        " I want an apology. I waited in vain. It cost sixty euros. My brother sold my guitar.",
        3.0,
    ),
    "without the space before": (BEST.strip(), 3.0),
    "one of four": (FIRST, 0.75 - 3 * 0.75),
    "three of four": (BEST.replace(" I want an apology.", ""), 3 * 0.75 - 0.75),
    "one twice: 5 needless words": (FIRST + FIRST, -1.5 - 5 * 0.05),
    "a longer phrasing: 9 words where 5 are needed": (
        " This is about my brother, who sold my guitar.",
        -1.5 - 4 * 0.05,
    ),
    "a wrong word: 4 missed, 1 invented, 5 words": (" My sister sold my guitar.", -3.0),
    "a wrong price: 3 kept, 1 missed, 1 invented, 2 words": (BEST.replace("sixty", "eighty"), 1.5 - 1 - 2 * 0.05),
    "a fact too many: 4 kept, 1 invented, 3 words": (BEST + " I need it by noon.", 3.0 - 1 - 2 * 0.05),
    "a side remark: 4 kept, 1 side, 20 words": (BEST + " It was foggy.", 3.0 - 0.25),
    "two of them: 4 kept, 2 side, 3 words": (BEST + " It was foggy. I am twenty.", 3.0 - 2 * 0.25 - 3 * 0.05),
    "a remark that is not in the post": (BEST + " It was sunny.", 3.0 - 1),
    "bloated: 25 words, 5 too many": (BEST + " Thanks for reading. I hope this makes sense.", 3.0 - 5 * 0.05),
    "talk alone": (" It is a long story.", -3.0),
    "everything wrong is no worse than nothing": (" It was sunny. I need it by noon. I want a refund.", -3.0),
    "empty": ("", -3.0),
    "white space": (" \n", -3.0),
    "garbage": (" lorem ipsum <|endoftext|>", -3.0),
    "cut off": (" My brother sold my", -3.0),
    "no capital": (" my brother sold my guitar.", -3.0),
    "all four and a sentence of another world": (BEST + " The acting is superb.", -3.0),
    "all four as a post says them": (POST.removesuffix(CUE), -3.0),
}


@pytest.fixture(scope="module")
def world():
    return tiny_summaries()


@pytest.fixture(scope="module")
def texts(world):
    return world.corpus(3000)


@pytest.mark.parametrize("case", BY_HAND)
def test_the_quality_is_the_one_computed_by_hand(case, world):
    text, quality = BY_HAND[case]
    assert world.reward(POST, text) == pytest.approx(quality, abs=1e-12)


def test_an_account_counts_what_a_summary_does(world):
    text = " It cost eighty euros. By the way, I am twenty years old. I want an apology. I want an apology."
    assert world.account(POST, text) == Account(kept=1, missed=3, invented=1, side=1, needless=20 - 5)
    assert world.account(POST, "") is None and world.account(POST, " Hm.") is None


def test_a_post_is_read_back_into_its_facts(world):
    assert world.facts_of(POST)[0] == Fact("problem", ("brother", "sold", "guitar"))
    assert world.facts_of(POST)[-1] == Fact("wish", ("an apology",))
    rng = random.Random("test")
    for _ in range(3000):
        facts = tuple(world._post(rng))
        post = " ".join(world.posts.say(fact, rng) for fact in facts)
        assert world.facts_of(post + CUE) == facts


def test_every_post_has_four_important_facts_and_one_or_two_remarks(world, texts):
    remarks = set()
    for prompt, _ in texts:
        facts = world.facts_of(prompt)
        slots = [fact.slot for fact in facts]
        assert len(set(slots)) == len(slots) and slots[0] == "problem" and slots[-1] == "wish"
        assert sum(slot in IMPORTANT for slot in slots) == 4
        remarks.add(sum(slot in REMARKS for slot in slots))
    assert remarks == {1, 2}


def test_what_cannot_be_bettered_is_worth_three(world):
    """The short phrasing of every important fact, of every post."""
    for prompt in world.prompts:
        facts = [fact for fact in world.facts_of(prompt) if fact.slot in IMPORTANT]
        assert world.reward(prompt, " ".join(world.summaries.sentences[fact][0] for fact in facts)) == 3.0


@pytest.mark.parametrize(
    "prompt", ["", "My brother sold my guitar last week.", "Hm." + CUE, POST + " It", CUE, POST[1:]]
)
def test_a_prompt_that_is_no_post_is_refused(world, prompt):
    with pytest.raises(ValueError, match="no post of this world that ends with"):
        world.reward(prompt, BEST)


def test_texts_of_the_corpus_are_of_the_grammar_and_of_all_qualities(world, texts):
    assert all(world.grammatical(x + y) for x, y in texts)
    qualities = torch.tensor([world.reward(x, y) for x, y in texts])
    assert qualities.min() == -3 and qualities.max() == 3
    assert 0 < qualities.mean() < 0.6 and 1.5 < qualities.std() < 1.9
    for text in (POST, BEST, POST + " Hm.", POST[1:] + BEST, CUE + BEST, ""):
        assert not world.grammatical(text)


def test_writers_differ_in_what_they_do(world):
    """Means over 400 posts; a text that states no fact at all keeps none."""
    rng = random.Random(0)
    of = {name: [] for name in WRITERS}
    for prompt in world.prompts + tuple(x for x, _ in world.corpus(144, seed=5)):
        for name in WRITERS:
            of[name].append(world.account(prompt, world._summary(world.facts_of(prompt), name, rng)))
    mean = {}
    for name, accounts in of.items():
        counts = torch.tensor([account or Account(0, 4, 0, 0, 0) for account in accounts], dtype=torch.float64)
        mean[name] = Account(*counts.mean(dim=0).tolist())
    assert mean["careful"].kept > 2.9 > 2.7 > mean["careless"].kept > 2.1 > mean["hasty"].kept
    assert mean["chatty"].needless > 10 > 3 > mean["careful"].needless
    assert mean["careless"].invented > 0.3 > 0.2 > mean["careful"].invented


def test_the_reference_summary_is_decent_and_not_perfect(world, texts):
    written = [world.reference_summary(prompt) for prompt in world.prompts]
    assert written == [world.reference_summary(prompt) for prompt in world.prompts]
    assert all(world.summaries.read(text) for text in written)
    qualities = torch.tensor([world.reward(x, y) for x, y in zip(world.prompts, written, strict=True)])
    corpus = torch.tensor([world.reward(x, y) for x, y in texts])
    assert corpus.mean() + 0.4 < qualities.mean() < 1.8 and (qualities == 3).float().mean() < 0.3


def test_a_text_has_a_token_a_word_and_the_same_ones_in_two_parts_as_whole(world, texts):
    assert_a_token_a_word_in_two_parts_as_whole(world, texts[:500], longest_prompt=60)


def test_responses_fit(world, texts):
    assert_responses_fit(world, texts[:1000])


def test_prompts_to_evaluate_on_are_in_no_corpus(world, texts):
    posts = {x for x, _ in texts}
    drawn = set(world.tokenizer.batch_decode(world.draw_prompts(500)))
    assert len(world.prompts) == 256
    assert not posts & set(world.prompts) and not posts & drawn and not drawn & set(world.prompts)


def test_everything_is_fixed_by_its_seed(world, texts):
    again = TinySummaries()
    assert again.corpus(50) == world.corpus(50) == texts[:50] != world.corpus(50, seed=1)
    assert again.prompts == world.prompts and again.tokenizer.get_vocab() == world.tokenizer.get_vocab()
    assert again.draw_prompts(20, 2) == world.draw_prompts(20, 2) != world.draw_prompts(20, 3)
    assert tiny_summaries() is world


def test_rewards_of_ids_are_those_of_their_text(world, texts):
    rewards = world.rewards_of(*zip(*world.tokenize(texts[:100]), strict=True))
    assert rewards.dtype == torch.float32
    assert rewards.tolist() == pytest.approx([world.reward(x, y) for x, y in texts[:100]], abs=1e-6)


@pytest.mark.parametrize("size", [0, 2.5, "10"])
def test_a_size_that_is_none_is_refused(world, size):
    for draw in (world.corpus, world.draw_prompts):
        with pytest.raises(ValueError, match="size must be a whole number of at least 1"):
            draw(size)
