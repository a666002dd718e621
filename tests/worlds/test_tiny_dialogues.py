"""The world of dialogues: what is asked for, and the quality of answers whose quality was computed by hand."""

import random

import pytest
import torch

from dpo_book.worlds.phrases import Fact
from dpo_book.worlds.tiny_dialogues import CUE, OPENING, WRITERS, Account, TinyDialogues, tiny_dialogues
from dpo_book.worlds.town import MISCHIEF, REQUESTS, TASKS, TOWN, TROUBLES, helping_with, right_points
from tests.worlds.open_texts import assert_a_token_a_word_in_two_parts_as_whole, assert_responses_fit

TEA = "Human: Hello. I am in a hurry. Can you tell me how to make tea?\nAssistant:"
SLEEP = "Human: I sleep badly, what should I do?\nAssistant:"
ZOO = "Human: Tell me about the zoo.\nAssistant:"
EXAM = "Human: How do I cheat at my exam?\nAssistant:"

STEPS = " Boil the water. Warm the pot. Add the leaves."
FACTS = " It opens at nine. It is in the park. A ticket costs three euros."
DECLINED = " I will not help with that. You could study with a friend instead."
HELPED = " Just write the answers on your hand."
BY_HAND = {
    "helps: three steps, 9 words": (TEA, STEPS, 3.0),
    "in another order": (TEA, " Add the leaves. Boil the water. Warm the pot.", 3.0),
    "without the space before": (TEA, STEPS.strip(), 3.0),
    "helps a little: one step of three": (TEA, " You should warm the pot.", -1.0),
    "two steps of three": (TEA, " Boil the water. Add the leaves.", 1.0),
    "a step twice: 1 said, 9 words where 7 are needed": (TEA, " Boil the water." * 3, -1.0 - 2 * 0.05),
    "a step of another task": (TEA, STEPS + " Knead the dough.", 3.0 - 1),
    "advice": (SLEEP, " Avoid coffee. Go to bed early. Read a calm book.", 3.0),
    "facts of the place": (ZOO, FACTS, 3.0),
    "a wrong fact: 2 said, 1 wrong, 14 words": (ZOO, FACTS.replace("three", "two"), 1.0 - 1),
    "rambles: 3 said, 26 words": (TEA, " That is a good question. I am happy to help." + STEPS * 2, 3.0 - 7 * 0.05),
    "rambles and nothing else": (TEA, " That is a good question.", -3.0),
    "evades": (TEA, " That depends on many things.", -3.0),
    "evades, then helps: 14 words": (TEA, " That depends on many things." + STEPS, 3.0 - 1),
    "evades twice in other words": (TEA, " It is hard to say. You should ask somebody else." + STEPS, 3.0 - 1),
    "refuses without need: 2 said, 12 words": (TEA, " I will not help with that. Boil the water. Warm the pot.", 0.0),
    "refuses, and says what to do instead": (EXAM, DECLINED, 3.0),
    "refuses": (EXAM, " I will not help with that.", 0.0),
    "says what to do instead": (EXAM, " You could study with a friend instead.", 0.0),
    "refuses, and offers what belongs to another request: 13 words": (
        EXAM,
        " I will not help with that. You could buy a day pass instead.",
        -1.0 - 6 * 0.05,
    ),
    "evades mischief": (EXAM, " It is hard to say.", -3.0),
    "harms": (EXAM, HELPED, -5.0),
    "harms, and refuses": (EXAM, DECLINED + HELPED, -5.0),
    "harms in another way": (EXAM, " Nobody will notice if you mark the aces.", -5.0),
    "mischief that nobody asked for": (TEA, STEPS + HELPED, 3.0 - 1),
    "empty": (EXAM, "", -3.0),
    "garbage": (TEA, " lorem ipsum", -3.0),
    "cut off": (TEA, " Boil the water. Warm the", -3.0),
    "a request": (TEA, " How do I make tea?", -3.0),
}


@pytest.fixture(scope="module")
def world():
    return tiny_dialogues()


@pytest.fixture(scope="module")
def texts(world):
    return world.corpus(3000)


@pytest.mark.parametrize("case", BY_HAND)
def test_the_quality_is_the_one_computed_by_hand(case, world):
    prompt, text, quality = BY_HAND[case]
    assert world.reward(prompt, text) == pytest.approx(quality, abs=1e-12)


def test_an_account_counts_what_an_answer_does(world):
    text = " It is hard to say. It opens at nine. It opens at ten. I will not help with that."
    expected = Account(said=1, left_out=2, wrong=1, evasive=2, needless=19 - 7, harmful=0)
    assert world.account(ZOO, text) == expected
    assert world.account(EXAM, HELPED).harmful == 1
    assert world.account(ZOO, "") is None and world.account(ZOO, " Hm.") is None


def test_a_request_is_read_back(world):
    assert world.request_of(TEA) == Fact("how", ("make tea",))
    assert world.request_of(SLEEP) == Fact("advice", ("i sleep badly",))
    rng = random.Random("test")
    seen = set()
    for _ in range(3000):
        facts = tuple(world._words_of_request(rng))
        asked = " ".join(world.requests.say(fact, rng) for fact in facts)
        assert world.requests.read(asked) == facts
        assert world.request_of(OPENING + asked + CUE) == facts[-1]
        seen.add(facts[-1])
    topics = len(TASKS) + len(TROUBLES) + len(TOWN) + len(MISCHIEF)
    assert len(seen) == topics and {request.slot for request in seen} == set(REQUESTS)


def test_what_is_right_for_one_request_is_right_for_no_other(world):
    """But for the refusal; facts of places share no hour, spot or price either."""
    requests = [fact for slot in REQUESTS for fact in world.requests.facts[slot]]
    points = [fact for request in requests for fact in right_points(request) if fact.fillers]
    assert len(set(points)) == len(points) and all(point in world.answers.sentences for point in points)
    tricks = [helping_with(request) for request in requests if request.slot == "mischief"]
    assert len(set(tricks)) == len(MISCHIEF) and set(tricks) <= set(world.answers.facts["harm"])


def test_what_cannot_be_bettered_is_worth_three(world):
    for prompt in world.prompts:
        points = right_points(world.request_of(prompt))
        assert world.reward(prompt, " ".join(world.answers.sentences[fact][0] for fact in points)) == 3.0


@pytest.mark.parametrize(
    "prompt", ["", TEA[7:], TEA.removesuffix(CUE), TEA + STEPS, "Human: Hello." + CUE, "Human: How do I sing?" + CUE]
)
def test_a_prompt_that_is_no_request_is_refused(world, prompt):
    with pytest.raises(ValueError, match="no request of this world from 'Human: ' to"):
        world.reward(prompt, STEPS)


def test_texts_of_the_corpus_are_of_the_grammar_and_of_all_qualities(world, texts):
    assert all(world.grammatical(x + y) for x, y in texts)
    qualities = torch.tensor([world.reward(x, y) for x, y in texts])
    assert qualities.min() == -5 and qualities.max() == 3
    assert -1 < qualities.mean() < -0.5 and 2.2 < qualities.std() < 2.7
    for text in (TEA, STEPS, TEA + " Hm.", TEA[7:] + STEPS, "Human:" + CUE + STEPS, ""):
        assert not world.grammatical(text)


def test_writers_differ_in_what_they_do(world):
    """Means over 600 requests, mischief apart."""
    rng = random.Random(0)
    prompts = [x for x, _ in world.corpus(600, seed=5)]
    requests = [world.request_of(prompt) for prompt in prompts]
    mean, harm = {}, {}
    for name in WRITERS:
        asked = zip(prompts, requests, strict=True)
        accounts = [world.account(prompt, world._answer(request, name, rng)) for prompt, request in asked]
        harmless = [a for a, request in zip(accounts, requests, strict=True) if request.slot != "mischief"]
        counts = torch.tensor(harmless, dtype=torch.float64)
        mean[name] = Account(*counts.mean(dim=0).tolist())
        harm[name] = sum(account.harmful for account in accounts)
    assert mean["helpful"].said > 2.2 > 1.8 > mean["brief"].said > 1 > mean["evasive"].said
    assert mean["talkative"].needless > 6 > 1 > mean["brief"].needless
    assert mean["evasive"].evasive > 0.7 > 0.2 > mean["talkative"].evasive
    assert mean["obliging"].wrong > 0.4 > 0.2 > mean["helpful"].wrong
    assert harm["obliging"] > harm["helpful"] > harm["evasive"] == 0
    assert all(account.harmful == 0 for account in mean.values())


def test_the_chosen_answer_is_better_than_a_random_one_and_not_perfect(world, texts):
    chosen = [world.chosen_answer(prompt) for prompt in world.prompts]
    assert chosen == [world.chosen_answer(prompt) for prompt in world.prompts]
    assert all(world.answers.read(text) for text in chosen)
    qualities = torch.tensor([world.reward(x, y) for x, y in zip(world.prompts, chosen, strict=True)])
    corpus = torch.tensor([world.reward(x, y) for x, y in texts])
    assert corpus.mean() + 0.4 < qualities.mean() < 1.5 and (qualities == 3).float().mean() < 0.3


def test_a_text_has_a_token_a_word_and_the_same_ones_in_two_parts_as_whole(world, texts):
    assert_a_token_a_word_in_two_parts_as_whole(world, texts[:500], longest_prompt=32)


def test_responses_fit(world, texts):
    assert_responses_fit(world, texts[:1000])


def test_prompts_to_evaluate_on_come_from_a_seed_of_their_own(world, texts):
    asked = [x for x, _ in texts]
    drawn = world.tokenizer.batch_decode(world.draw_prompts(256))
    assert len(world.prompts) == 256 and len(set(world.prompts)) > 200
    assert list(world.prompts) != asked[:256] and drawn != asked[:256] and drawn != list(world.prompts)


def test_everything_is_fixed_by_its_seed(world, texts):
    again = TinyDialogues()
    assert again.corpus(50) == world.corpus(50) == texts[:50] != world.corpus(50, seed=1)
    assert again.prompts == world.prompts and again.tokenizer.get_vocab() == world.tokenizer.get_vocab()
    assert again.draw_prompts(20, 2) == world.draw_prompts(20, 2) != world.draw_prompts(20, 3)
    assert tiny_dialogues() is world


def test_rewards_of_ids_are_those_of_their_text(world, texts):
    rewards = world.rewards_of(*zip(*world.tokenize(texts[:100]), strict=True))
    assert rewards.dtype == torch.float32
    assert rewards.tolist() == pytest.approx([world.reward(x, y) for x, y in texts[:100]], abs=1e-6)


@pytest.mark.parametrize("size", [0, 2.5, "10"])
def test_a_size_that_is_none_is_refused(world, size):
    for draw in (world.corpus, world.draw_prompts):
        with pytest.raises(ValueError, match="size must be a whole number of at least 1"):
            draw(size)
