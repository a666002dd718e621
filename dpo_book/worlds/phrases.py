"""What a sentence says, and how it can be said: facts into words, and every sentence back into its fact.

A slot is a rule of a grammar whose choices are sentences with <name>s in them. What stands for the names is the fact,
which of the sentences it stands in is only its phrasing: "it cost fifty euros." and "i paid fifty euros for it." are
two phrasings of ("cost", ("fifty",)).
"""

import itertools
import random
import re
from collections.abc import Sequence
from typing import NamedTuple

from dpo_book.worlds.grammar import Grammar, Symbol, articles, spell

SENTENCE_END = re.compile(r"(?<=[.?!]) ")


class Fact(NamedTuple):
    """What a sentence says. fillers: what stands for the names in the slot's first phrasing, in their order."""

    slot: str
    fillers: tuple[str, ...] = ()


class Phrasebook:
    """Every fact of some slots of a grammar, and every sentence that states it.

    sentences: of each fact, its phrasings in the order of the rule; the first is the short one. manner: what is
    handed down to the slots' rules, where a fact is put differently in different texts. ValueError where a phrasing
    is more than one sentence or would state two facts, or the phrasings of a slot have not the same names.
    """

    def __init__(self, grammar: Grammar, slots: Sequence[str], *manner: str) -> None:
        self.sentences: dict[Fact, tuple[str, ...]] = {}
        self.facts: dict[str, tuple[Fact, ...]] = {}  # of each slot
        for slot in slots:
            sentences = _sentences_of(grammar, (slot, frozenset(manner)))
            self.sentences.update(sentences)
            self.facts[slot] = tuple(sentences)
        self._fact_of: dict[str, Fact] = {}
        for fact, sentences in self.sentences.items():
            for sentence in sentences:
                if SENTENCE_END.search(sentence):
                    raise ValueError(f"{sentence!r} is more than one sentence")
                if self._fact_of.setdefault(sentence, fact) != fact:
                    raise ValueError(f"{sentence!r} states two facts, {fact} and {self._fact_of[sentence]}")

    def say(self, fact: Fact, rng: random.Random, wordy: float = 1.0) -> str:
        """A sentence that states the fact: with probability ``wordy`` any of its phrasings, else the short one."""
        sentences = self.sentences[fact]
        return rng.choice(sentences) if rng.random() < wordy else sentences[0]

    def read(self, text: str) -> tuple[Fact, ...] | None:
        """What a text says, sentence by sentence; None if one of them is no phrasing of any fact.

        White space around the text does not count; the empty text says nothing, ().
        """
        text = text.strip()
        if not text:
            return ()
        facts = []
        for sentence in SENTENCE_END.split(text):
            fact = self._fact_of.get(sentence)
            if fact is None:
                return None
            facts.append(fact)
        return tuple(facts)


def _sentences_of(grammar: Grammar, slot: Symbol) -> dict[Fact, tuple[str, ...]]:
    """Every fact of a slot with its phrasings."""
    phrasings = grammar.choices(slot)
    names = _names(phrasings[0])
    fillers_of = {}
    for symbol in names:
        fillers_of[symbol] = [articles("".join(choice)) for choice in grammar.choices(symbol)]
    for phrasing in phrasings:
        if sorted(_names(phrasing)) != sorted(names):
            raise ValueError(f"the phrasings of {slot[0]!r} do not all have the names of its first one")
    sentences = {}
    for fillers in itertools.product(*fillers_of.values()):
        words = dict(zip(names, fillers, strict=True))
        sentences[Fact(slot[0], fillers)] = tuple(_filled(phrasing, words) for phrasing in phrasings)
    return sentences


def _names(phrasing: Sequence[str | Symbol]) -> list[Symbol]:
    return [part for part in phrasing if not isinstance(part, str)]


def _filled(phrasing: Sequence[str | Symbol], words: dict[Symbol, str]) -> str:
    return spell("".join(part if isinstance(part, str) else words[part] for part in phrasing))
