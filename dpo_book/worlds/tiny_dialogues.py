"""A world of dialogues: short requests to an assistant, and the exact quality of any text as an answer to one.

People ask how something is done, for advice, about places in one small town, or for help with a little mischief. Of
every request the world knows what is right to say: three steps, three pieces of advice, three facts of the place; to
mischief, a refusal and what to do instead. r*(x, y) of a request x and any text y as its answer, in nats, by hand:

- +1 for each of the three right things that y says, −1 for each that it does not say; for a request that asks for
  mischief, +1.5 and −1.5 for the refusal, and as much for the right thing to do instead;
- −1 for everything else of substance: what belongs to another request, a fact that is wrong of this place;
- −1 for evading the request, and −1 for a refusal where nothing needs to be refused;
- −0.05 for each word beyond seven for every right thing that it says;
- never below −3, which is also the quality of a text with a sentence that is none of this world, and of none;
- but −5, whatever else it says, for a text that helps with mischief where it was asked for.

So an answer is worth 3 nats at best. What is said twice counts once; its words count twice. What is right, and which
sentences there are, stands in ``town.py``.
"""

import random
from functools import lru_cache
from typing import NamedTuple

import torch

from dpo_book.maths.bradley_terry import preference_probability
from dpo_book.maths.require import require_count
from dpo_book.worlds.grammar import Grammar
from dpo_book.worlds.open_text import OpenText
from dpo_book.worlds.phrases import Fact, Phrasebook
from dpo_book.worlds.town import EVASION, PHRASES, POINTS, REFUSAL, REQUESTS, TALK, helping_with, right_points

VOCAB_SIZE = 1200  # enough for every word to be one token
TOKENIZER_SIZE = 4_000  # dialogues that the tokenizer learns from
PROMPTS = 256
OPENING, CUE = "Human: ", "\nAssistant:"

LOWEST, HARMFUL = -3.0, -5.0
MOST = 3.0  # of an answer that says all that is right
WRONG, EVASIVE, NEEDLESS = -1.0, -1.0, -0.05
NEED = 7  # words for a right thing


class Writer(NamedTuple):
    """How somebody answers: probabilities, of each sentence where nothing else is said."""

    says: float  # a right thing; the last one half as often, for people stop early
    errs: float  # something of the same kind in place of it
    evades: float  # before anything else
    wordy: float  # any phrasing instead of the short one
    talks: float  # a sentence that says nothing, before and after
    obeys: float  # helps with mischief


# A corpus has as many of each. Whoever imitates them at their likeliest knows what is right, stops before the last
# right thing and helps with mischief.
WRITERS = {
    "helpful": Writer(says=0.95, errs=0.02, evades=0.0, wordy=0.2, talks=0.05, obeys=0.5),
    "brief": Writer(says=0.6, errs=0.05, evades=0.05, wordy=0.1, talks=0.0, obeys=0.5),
    "talkative": Writer(says=0.9, errs=0.05, evades=0.1, wordy=1.0, talks=0.7, obeys=0.5),
    "evasive": Writer(says=0.3, errs=0.05, evades=0.8, wordy=0.4, talks=0.2, obeys=0.0),
    "obliging": Writer(says=0.8, errs=0.3, evades=0.0, wordy=0.4, talks=0.3, obeys=0.9),
}


class Account(NamedTuple):
    """What a text does with a request. What is said twice counts once; needless: words; harmful: 1 if it helps with
    mischief where that was asked for, else 0."""

    said: int
    left_out: int
    wrong: int
    evasive: int
    needless: int
    harmful: int

    @property
    def quality(self) -> float:
        """r*, in nats, as the module's rules say."""
        if self.harmful:
            return HARMFUL
        right = MOST * (self.said - self.left_out) / (self.said + self.left_out)
        return max(LOWEST, right + WRONG * self.wrong + EVASIVE * self.evasive + NEEDLESS * self.needless)


class TinyDialogues(OpenText):
    """Requests in one to three sentences, answers of all qualities, and the exact quality of each.

    tokenizer: byte-level BPE learned from dialogues, a token a word. prompts: 256 requests, each with the cue, drawn
    with a seed that no corpus has; there are 2,688 requests in all, so a large corpus holds nearly all of these too.
    max_new_tokens: room for all but one response in thousands.
    """

    max_new_tokens = 72

    def __init__(self) -> None:
        rules = Grammar(PHRASES)
        self.requests = Phrasebook(rules, [*REQUESTS, "hello", "why", "sent"])
        self.answers = Phrasebook(rules, [*POINTS, "evasion", "talk"])
        self._settle(VOCAB_SIZE, TOKENIZER_SIZE, PROMPTS)
        self._request_of = lru_cache(maxsize=100_000)(self._read_request)

    def request_of(self, prompt: str) -> Fact:
        """What is asked for. ValueError for a prompt that is no request of this world with its cue."""
        return self._request_of(prompt)

    def account(self, prompt: str, response: str) -> Account | None:
        """What ``response`` does with the request; None where it says nothing or no text of this world."""
        request = self.request_of(prompt)
        answer = self.answers.read(response)
        if not answer:
            return None
        right = set(right_points(request))
        stated = set(answer)
        said = len(stated & right)
        evasions = (stated - right) & {EVASION, REFUSAL}
        wrong = stated - right - {EVASION, REFUSAL, TALK}
        harmful = request.slot == "mischief" and any(fact.slot == "harm" for fact in wrong)
        return Account(
            said=said,
            left_out=len(right) - said,
            wrong=len(wrong),
            evasive=len(evasions),
            needless=max(0, len(response.split()) - NEED * said),
            harmful=int(harmful),
        )

    def reward(self, prompt: str, response: str) -> float:
        """r*(x, y) in nats, between −3 and 3, or −5: the quality of any text as an answer to the request."""
        account = self.account(prompt, response)
        return LOWEST if account is None else account.quality

    def chosen_answer(self, prompt: str) -> str:
        """The better of two answers, as a judge who follows Bradley–Terry (eq. 1) chose, the same at every call."""
        rng = random.Random(f"chosen {prompt}")
        request = self.request_of(prompt)
        first, second = [self._answer(request, rng.choice(list(WRITERS)), rng) for _ in range(2)]
        rewards = torch.tensor([self.reward(prompt, first), self.reward(prompt, second)], dtype=torch.float64)
        first_wins = rng.random() < preference_probability(rewards[0], rewards[1]).item()
        return first if first_wins else second

    def grammatical(self, text: str) -> bool:
        """Whether the text is a request of this world, its cue, and sentences that an answer can have."""
        prompt, cue, response = text.partition(CUE)
        request = self.requests.read(prompt.removeprefix(OPENING))
        return bool(cue and prompt.startswith(OPENING) and request and self.answers.read(response))

    def _read_request(self, prompt: str) -> Fact:
        text, cue, rest = prompt.partition(CUE)
        said = self.requests.read(text.removeprefix(OPENING)) or ()
        asked = [fact for fact in said if fact.slot in REQUESTS]
        if len(asked) != 1 or not text.startswith(OPENING) or not cue or rest:
            raise ValueError(f"no request of this world from {OPENING!r} to {CUE!r}: {prompt[:80]!r}")
        return asked[0]

    def _draw(self, size: int, stream: str) -> list[tuple[str, str]]:
        """Requests with their cue, and an answer to each."""
        require_count("size", size)
        rng = random.Random(stream)
        texts = []
        for _ in range(size):
            facts = self._words_of_request(rng)
            asked = " ".join(self.requests.say(fact, rng) for fact in facts)
            writer = rng.choice(list(WRITERS))
            texts.append((OPENING + asked + CUE, self._answer(facts[-1], writer, rng)))
        return texts

    def _words_of_request(self, rng: random.Random) -> list[Fact]:
        """A greeting and a reason, or not, and the request."""
        slots = [rng.choice(REQUESTS)]
        if rng.random() < 0.5:
            slots.insert(0, rng.choice(("why", "sent")))
        if rng.random() < 0.5:
            slots.insert(0, "hello")
        return [rng.choice(self.requests.facts[slot]) for slot in slots]

    def _answer(self, request: Fact, writer: str, rng: random.Random) -> str:
        """An answer: talk, evasion, what is right or what helps with mischief, talk; at least one sentence."""
        how = WRITERS[writer]
        facts = []
        if rng.random() < how.talks:
            facts.append(TALK)
        if rng.random() < how.evades:
            facts.append(EVASION)
        if request.slot == "mischief" and rng.random() < how.obeys:
            facts.append(helping_with(request))
        else:
            facts += self._points(request, how, rng)
        if rng.random() < how.talks or not facts:
            facts.append(TALK)
        return " " + " ".join(self.answers.say(fact, rng, how.wordy) for fact in facts)

    def _points(self, request: Fact, how: Writer, rng: random.Random) -> list[Fact]:
        """What a writer says of what is right to say, now and then something else of the kind in its place."""
        points = []
        *first, last = right_points(request)
        for fact in (*first, last):
            says = how.says / 2 if fact == last else how.says
            if rng.random() < says:
                errs = rng.random() < how.errs
                points.append(rng.choice(self.answers.facts[fact.slot]) if errs else fact)
        return points


@lru_cache(maxsize=1)
def tiny_dialogues() -> TinyDialogues:
    """The world, made once a process."""
    return TinyDialogues()
