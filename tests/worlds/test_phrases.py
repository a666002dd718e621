"""Facts into words and back: every sentence states one fact, and the same one when it is read."""

import random

import pytest

from dpo_book.worlds.grammar import Grammar
from dpo_book.worlds.phrases import Fact, Phrasebook

RULES = Grammar("""
theft late: late at night the <who> took a <what>.
theft: the <who> took a <what>. | a <what> was taken by the <who>!
bye: good night. | see you.
who: fox | dog
what: apple | pear
""")


@pytest.fixture
def book():
    return Phrasebook(RULES, ["theft", "bye"])


def test_facts_and_their_phrasings(book):
    assert book.facts["theft"] == tuple(Fact("theft", (a, b)) for a in ("fox", "dog") for b in ("apple", "pear"))
    assert book.sentences[Fact("theft", ("fox", "apple"))] == (
        "The fox took an apple.",
        "An apple was taken by the fox!",
    )
    assert book.sentences[Fact("bye")] == ("Good night.", "See you.")


def test_what_is_said_is_read(book):
    fox = Fact("theft", ("fox", "pear"))
    assert book.read(" A pear was taken by the fox! See you.\n") == (fox, Fact("bye"))
    assert book.read("") == book.read(" \n") == ()
    for text in (
        "The fox took a apple.",
        "the fox took an apple.",
        "The fox took an apple",
        "See you.See you.",
        "Hm.",
    ):
        assert book.read(text) is None
    rng = random.Random(0)
    for _ in range(300):
        facts = tuple(rng.choices(list(book.sentences), k=3))
        assert book.read(" ".join(book.say(fact, rng) for fact in facts)) == facts


def test_who_is_not_wordy_takes_the_first_phrasing(book):
    rng = random.Random(0)
    assert {book.say(Fact("bye"), rng, wordy=0.0) for _ in range(50)} == {"Good night."}
    said = [book.say(Fact("bye"), rng, wordy=0.5) for _ in range(400)]
    assert 60 < said.count("See you.") < 140  # a quarter of them; the standard deviation is 8.7


def test_a_manner_chooses_other_phrasings():
    late = Phrasebook(RULES, ["theft"], "late")
    assert late.sentences[Fact("theft", ("dog", "pear"))] == ("Late at night the dog took a pear.",)
    assert late.read("The dog took a pear.") is None


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ("a: it is red.\nb: it is red.", "'It is red.' states two facts"),
        ("a: it is <what>. | it is not.\nb: so.\nwhat: red", "phrasings of 'a' do not all have the names"),
        ("a: it is. so it is.\nb: so.", "'It is. So it is.' is more than one sentence"),
    ],
)
def test_rules_that_cannot_be_read_back_are_refused(rules, words):
    with pytest.raises(ValueError, match=words):
        Phrasebook(Grammar(rules), ["a", "b"])
