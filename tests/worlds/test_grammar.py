"""The rules of a grammar: read, followed, and followed back."""

import random

import pytest

from dpo_book.worlds.grammar import Grammar, articles, spell, unspell

RULES = Grammar("""
# A remark, as it has no colon
verdict: the <noun story one> is <mood>. | the <noun story many> are <mood> but <~mood>. |
    a <mood> ending!
noun story one: plot | script
noun story many: jokes
noun: lamp
mood +: good | odd
mood -: bad
""")
GOOD = ("verdict", frozenset("+"))


def test_rules_are_read_with_what_they_need():
    assert RULES.rules[0][0] == "verdict" and len(RULES.rules[0][2]) == 3
    assert RULES.rules[1] == ("noun", {"story", "one"}, ["plot", "script"])
    assert RULES.choices(("noun", frozenset(["one"]))) == [["lamp"]]  # the first whose needs are met
    assert RULES.choices(GOOD)[1][3] == ("mood", frozenset("+"))
    assert RULES.choices(GOOD)[1][5] == ("mood", frozenset("-"))  # turned around


def test_every_text_that_is_written_can_be_made_and_the_rest_cannot():
    rng = random.Random(0)
    written = {RULES.follow(GOOD, rng) for _ in range(200)}
    assert written == {
        "the plot is good.", "the plot is odd.", "the script is good.", "the script is odd.",
        "the jokes are good but bad.", "the jokes are odd but bad.", "a good ending!", "a odd ending!",
    }  # fmt: skip
    assert all(RULES.can_make(GOOD, text) for text in written)
    for text in ("", "the plot", "the plot is bad.", "the lamp is good.", "the plot is good. "):
        assert not RULES.can_make(GOOD, text), text


def test_a_rule_that_nobody_wrote_is_an_error():
    with pytest.raises(StopIteration):
        RULES.choices(("adverb", frozenset()))


def test_capitals_and_articles():
    assert spell("what a odd film! i saw it. do i like it? yes.") == "What an odd film! I saw it. Do I like it? Yes."
    assert unspell("What an odd film! I saw it.") == "what a odd film! i saw it."
    assert articles("a apple, a pear") == "an apple, a pear"
