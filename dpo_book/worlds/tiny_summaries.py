"""A world of summaries: posts of a few facts, and the exact quality of any text as a summary of one.

A post is somebody's problem: four important facts (the problem, two of what it cost, how it was excused, what was
tried and until when help is needed, and the wish) and one or two side remarks, a sentence each. The cue "TL;DR:" asks
for a summary. r*(x, y) of a post x and any text y, in nats, by hand:

- +0.75 for each important fact of the post that y states, −0.75 for each that it does not state;
- −1 for each fact that y states and the post does not, one wrong word making another fact of it;
- −0.25 for each side remark of the post that y repeats;
- −0.05 for each word beyond five for every important fact that it states;
- never below −3, which is also the quality of a text with a sentence that is none of this world, and of no text.

So a summary is worth 3 nats at best, with all four facts in at most 20 words. A fact that is stated twice counts
once; its words count twice. The rules below say which sentences state which fact.
"""

import random
from functools import lru_cache
from typing import NamedTuple

from dpo_book.maths.require import require_count
from dpo_book.worlds.grammar import Grammar
from dpo_book.worlds.open_text import OpenText
from dpo_book.worlds.phrases import Fact, Phrasebook

VOCAB_SIZE = 900  # enough for every word to be one token
TOKENIZER_SIZE = 4_000  # posts with summaries that the tokenizer learns from
PROMPTS = 256
CUE = "\nTL;DR:"

LOWEST = -3.0
KEPT, INVENTED, SIDE, NEEDLESS = 0.75, -1.0, -0.25, -0.05
NEED = 5  # words for a fact

IMPORTANT = ("problem", "cost", "excuse", "tried", "deadline", "wish")
OPTIONAL = ("cost", "excuse", "tried", "deadline")  # two of them are in every post
OVERLOOKED = ("cost", "deadline")  # which most people leave out of a summary
REMARKS = ("age", "home", "weather", "pet")
TALK = "talk"  # sentences that state nothing

# Rules as in grammar.py. A post and a summary put the same fact in other words; the first phrasing is the short one.
PHRASES = """
problem post: my <person> <deed> my <thing>. | last week my <person> <deed> my <thing>.
problem summary: my <person> <deed> my <thing>. | this is about my <person>, who <deed> my <thing>.
cost post: it cost <amount> euros. | i paid <amount> euros for it.
cost summary: it cost <amount> euros. | it was not cheap and cost about <amount> euros.
excuse post: they say it was <claim>. | when i asked, they said it was <claim>.
excuse summary: they say it was <claim>. | they now tell everybody that it was <claim>.
tried post: i <did> in vain. | i <did>, but nothing changed.
tried summary: i <did> in vain. | i already <did>, but nothing has changed since.
deadline post: i need it by <time>.
deadline summary: i need it by <time>. | it is urgent because i need it by <time>.
wish post: i want <goal>. | all i want is <goal>.
wish summary: i want <goal>. | the only thing that i want now is <goal>.

person: roommate | brother | sister | boss | neighbour | cousin
deed: broke | lost | sold | hid | painted
thing: laptop | bike | camera | guitar | sofa | phone
amount: forty | fifty | sixty | seventy | eighty
claim: a joke | a mistake | a favour | a test | an accident
did: complained | waited | begged | shouted | argued
time: noon | tonight | tomorrow | summer | winter
goal: a refund | an apology | a replacement | some respect | some peace

age post: i am <years> years old.
age summary: i am <years>. | by the way, i am <years> years old.
home post: we live in a <place>.
home summary: we live in a <place>. | by the way, we live in a <place>.
weather post: it was <sky> that day.
weather summary: it was <sky>. | by the way, it was <sky> that day.
pet post: my <animal> was asleep.
pet summary: my <animal> was asleep. | by the way, my <animal> slept through it all.

years: eighteen | nineteen | twenty | thirty
place: village | city | suburb | cottage
sky: rainy | sunny | windy | foggy
animal: cat | dog | parrot | rabbit

talk summary: sorry for the long post. | thanks for reading. | i hope this makes sense. |
    i do not know what else to say. | it is a long story.
"""


class Writer(NamedTuple):
    """How somebody summarises: probabilities, of each fact or sentence where nothing else is said."""

    keeps: float  # an important fact
    notices: float  # one that most people overlook
    garbles: float  # with another filler in place of its own
    remarks: float  # repeats a side remark
    wordy: float  # any phrasing instead of the short one
    talks: float  # a sentence that states nothing, before and after


# A corpus has as many of each. Whoever imitates them at their likeliest copies well and says too little: neither what
# it cost nor until when help is needed.
WRITERS = {
    "careful": Writer(keeps=0.95, notices=0.5, garbles=0.02, remarks=0.05, wordy=0.2, talks=0.0),
    "hasty": Writer(keeps=0.6, notices=0.15, garbles=0.03, remarks=0.1, wordy=0.2, talks=0.05),
    "chatty": Writer(keeps=0.9, notices=0.4, garbles=0.05, remarks=0.7, wordy=1.0, talks=0.5),
    "careless": Writer(keeps=0.8, notices=0.3, garbles=0.2, remarks=0.3, wordy=0.5, talks=0.1),
}
# Who writes the reference summary of a post: better than the corpus, and not perfect.
REFERENCE_WRITERS = ("careful", "careful", "careful", "chatty")


class Account(NamedTuple):
    """What a text does with a post. Facts are counted once; needless: words."""

    kept: int
    missed: int
    invented: int
    side: int
    needless: int

    @property
    def quality(self) -> float:
        """r*, in nats, as the module's rules say."""
        facts = KEPT * (self.kept - self.missed) + INVENTED * self.invented
        return max(LOWEST, facts + SIDE * self.side + NEEDLESS * self.needless)


class TinySummaries(OpenText):
    """Posts of five or six sentences, summaries of all qualities, and the exact quality of each.

    tokenizer: byte-level BPE learned from posts and summaries, a token a word. prompts: 256 posts, each with the cue,
    drawn with a seed that no corpus has. max_new_tokens: room for all but one response in thousands.
    """

    max_new_tokens = 72

    def __init__(self) -> None:
        rules = Grammar(PHRASES)
        self.posts = Phrasebook(rules, [*IMPORTANT, *REMARKS], "post")
        self.summaries = Phrasebook(rules, [*IMPORTANT, *REMARKS, TALK], "summary")
        self._settle(VOCAB_SIZE, TOKENIZER_SIZE, PROMPTS)
        self._facts_of = lru_cache(maxsize=100_000)(self._read_post)

    def facts_of(self, prompt: str) -> tuple[Fact, ...]:
        """What a post says. ValueError for a prompt that is no post of this world with its cue."""
        return self._facts_of(prompt)

    def account(self, prompt: str, response: str) -> Account | None:
        """What ``response`` does with the post; None where it says nothing or no text of this world."""
        post = set(self.facts_of(prompt))
        said = self.summaries.read(response)
        if not said:
            return None
        stated = {fact for fact in said if fact.slot != TALK}
        important = {fact for fact in post if fact.slot in IMPORTANT}
        kept = len(stated & important)
        return Account(
            kept=kept,
            missed=len(important) - kept,
            invented=len(stated - post),
            side=len(stated & post) - kept,
            needless=max(0, len(response.split()) - NEED * kept),
        )

    def reward(self, prompt: str, response: str) -> float:
        """r*(x, y) in nats, between −3 and 3: the quality of any text as a summary of the post."""
        account = self.account(prompt, response)
        return LOWEST if account is None else account.quality

    def reference_summary(self, prompt: str) -> str:
        """What one writer, the same at every call, made of the post: better than most of a corpus, not the best."""
        rng = random.Random(f"reference {prompt}")
        return self._summary(self.facts_of(prompt), rng.choice(REFERENCE_WRITERS), rng)

    def summary_by(self, writer: str, prompt: str) -> str:
        """What one of ``WRITERS`` made of the post, the same at every call. KeyError for a writer it has not."""
        return self._summary(self.facts_of(prompt), writer, random.Random(f"{writer} {prompt}"))

    def grammatical(self, text: str) -> bool:
        """Whether the text is a post of this world, its cue, and sentences that a summary can have."""
        post, cue, response = text.partition(CUE)
        return bool(cue and self.posts.read(post) and self.summaries.read(response))

    def _read_post(self, prompt: str) -> tuple[Fact, ...]:
        post, cue, rest = prompt.partition(CUE)
        facts = self.posts.read(post)
        if not facts or not cue or rest:
            raise ValueError(f"no post of this world that ends with {CUE!r}: {prompt[:80]!r}")
        return facts

    def _draw(self, size: int, stream: str) -> list[tuple[str, str]]:
        """Posts with their cue, and a summary of each."""
        require_count("size", size)
        rng = random.Random(stream)
        texts = []
        for _ in range(size):
            facts = self._post(rng)
            post = " ".join(self.posts.say(fact, rng) for fact in facts)
            writer = rng.choice(list(WRITERS))
            texts.append((post + CUE, self._summary(facts, writer, rng)))
        return texts

    def _post(self, rng: random.Random) -> list[Fact]:
        """The facts of a post, in its order: the problem, the others in any order, the wish."""
        between = rng.sample(OPTIONAL, 2) + rng.sample(REMARKS, rng.choice([1, 2]))
        rng.shuffle(between)
        return [rng.choice(self.posts.facts[slot]) for slot in ("problem", *between, "wish")]

    def _summary(self, facts: tuple[Fact, ...] | list[Fact], writer: str, rng: random.Random) -> str:
        """A summary: important facts in the order of IMPORTANT, then side remarks; at least one sentence."""
        how = WRITERS[writer]
        sentences = []
        for fact in sorted(facts, key=_place):
            if rng.random() >= _share_kept(how, fact):
                continue
            if rng.random() < how.garbles:
                fact = rng.choice(self.posts.facts[fact.slot])
            sentences.append(self.summaries.say(fact, rng, how.wordy))
        talk = self.summaries.sentences[Fact(TALK)]
        if rng.random() < how.talks:
            sentences.insert(0, rng.choice(talk))
        if rng.random() < how.talks or not sentences:
            sentences.append(rng.choice(talk))
        return " " + " ".join(sentences)


def _share_kept(how: Writer, fact: Fact) -> float:
    """How often such a writer puts such a fact into a summary."""
    if fact.slot in REMARKS:
        return how.remarks
    return how.notices if fact.slot in OVERLOOKED else how.keeps


def _place(fact: Fact) -> int:
    """Where a summary tells a fact."""
    return (IMPORTANT + REMARKS).index(fact.slot)


@lru_cache(maxsize=1)
def tiny_summaries() -> TinySummaries:
    """The world, made once a process."""
    return TinySummaries()
