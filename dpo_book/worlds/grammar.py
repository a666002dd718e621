"""A grammar in which a world writes its texts: rules to follow, and the way back, whether they can make a text.

One rule a line (lines that start with spaces go on; one without a colon is a remark). A rule is a choice, "this |
that", each as likely as the next; <name> stands for what the rule of that name makes. What was handed down to a rule
is handed on: <name story one> adds that the talk is of one thing of the kind "story", and <~name> turns a stance, +
or -, around. Of several rules with one name, the first is followed whose other words have all been handed down.
Rules are in lower case; ``spell`` adds the capitals.
"""

import random
import re
from functools import cache

# A rule still to be followed: its name, and what was handed down to it.
Symbol = tuple[str, frozenset[str]]


class Grammar:
    """The rules of ``text``: (name, what has to have been handed down, choices) each."""

    def __init__(self, text: str) -> None:
        self.rules: list[tuple[str, set[str], list[str]]] = []
        for line in re.sub(r"\n +", " ", text).splitlines():
            head, colon, choices = line.partition(":")
            if colon:
                name, *needs = head.split()
                self.rules.append((name, set(needs), unspell(choices).strip().split(" | ")))
        self.choices = cache(self._choices)  # of a symbol, read once

    def follow(self, symbol: Symbol, rng: random.Random) -> str:
        """A text that the rule makes, every choice drawn by ``rng``."""
        parts = rng.choice(self.choices(symbol))
        return "".join(part if isinstance(part, str) else self.follow(part, rng) for part in parts)

    def can_make(self, symbol: Symbol, text: str) -> bool:
        """Whether some way of following the rule makes exactly this text."""

        @cache
        def ends(symbol: Symbol, start: int) -> set[int]:
            """Where a text made by the rule may end, if it starts at ``start``."""
            found = set()
            for parts in self.choices(symbol):
                reached = {start}
                for part in parts:
                    if isinstance(part, str):
                        reached = {i + len(part) for i in reached if text.startswith(part, i)}
                    else:
                        reached = {end for i in reached for end in ends(part, i)}
                found |= reached
            return found

        return len(text) in ends(symbol, 0)

    def _choices(self, symbol: Symbol) -> list[list[str | Symbol]]:
        """What a rule can become: every choice as a list of words and of rules still to be followed."""
        name, context = symbol

        def parse(place: int, piece: str) -> str | Symbol:
            if place % 2 == 0:  # outside of the brackets
                return piece
            next_name, *features = piece.split()
            turned = context ^ {"+", "-"} if piece[0] == "~" else context
            return next_name.removeprefix("~"), turned | set(features)

        choices = next(choices for rule, needs, choices in self.rules if rule == name and needs <= context)
        return [[parse(i, piece) for i, piece in enumerate(re.split("[<>]", c)) if piece] for c in choices]


def spell(text: str) -> str:
    """Capitals, and "an" before a vowel: what the rules leave to the pen."""
    return re.sub(r"(?:^|(?<=[.!?] ))[a-z]|\bi\b", _capital, articles(text))


def articles(text: str) -> str:
    """Every "a" before a vowel as "an"."""
    return re.sub(r"\ba(?= [aeiou])", "an", text)


def _capital(letter: re.Match) -> str:
    return letter[0].upper()


def unspell(text: str) -> str:
    """A text as the rules write it."""
    return re.sub(r"\ban(?= [aeiou])", "a", text.lower())
