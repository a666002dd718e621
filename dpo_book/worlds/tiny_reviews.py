"""The open-ended world: short film reviews from a grammar written for this book.

Nobody can list all reviews, as nobody can list what a language model may say: here reward and KL are estimated
from samples. The true reward is still known, and so is whether a text is still a review.
"""

import random
import re
from functools import lru_cache

from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from dpo_book.maths.require import require_count
from dpo_book.models.policy import train_tokenizer
from dpo_book.worlds.grammar import Grammar, Symbol, spell, unspell
from dpo_book.worlds.open_text import OpenText

VOCAB_SIZE = 1200  # enough for every word of the grammar to be one token
TOKENIZER_SIZE = 4_000  # reviews that the tokenizer learns from
PROMPTS = 256

# Rules as in grammar.py. The stance, + or -, is the critic's: in "although <~clause>, <clause>" the critic concedes
# and then says what counts.
GRAMMAR = """
review: <contrast> | <contrast> | <contrast> <verdict> | <short> <short> | <short> <contrast> | <~short> <short> |
    <~short> <contrast> | <short> <short> <verdict> | <~short> <short> <verdict> | <fact> <contrast> |
    <fact> <short> <verdict>
short: <clause>. | <clause>. | <clause>. | <clause>, and <clause>. | <subject torn>.
contrast: <~clause>, but <clause>. | <~clause>, yet <clause>. | although <~clause>, <clause>. |
    even though <~clause>, <clause>. | despite <~subject described>, <clause>. |
    for all its <~traits>, the film <predicate film one>.
clause: <subject judged> | <subject judged> | <subject judged> | <work one> | <work many> | i <loved> <subject> |
    i was <impressed> by <subject>

# What is talked about, and what is said of it.
subject: the <said story one> | the <said story many> | the <said craft one> | the <said craft many> |
    the <said acting one> | the <said acting many>
said judged: <noun> <predicate> | <noun> <predicate> | <noun> <predicate> | <noun> <improve> <whole>
said torn: <noun> <is> <~odd> but <odd>
said described: <gradable> <noun>
said: <noun>
predicate: <is> <quality> | <is> <quality> | <is> <quality> | <seem><s> <quality> | <is> <negated> | <is> <negated> |
    never <seem><s> <~gradable> | <do> not <seem> <~gradable>
quality: <gradable> | <very> <gradable> | <very> <gradable> | <special> and <special> | <extreme> |
    <utterly> <extreme> | <gradable> <throughout> | <extreme> <throughout>
negated +: never <~gradable> | not <~gradable> at all | hardly <~gradable>
negated -: not <very> <~gradable> | never <~gradable> | hardly <~gradable> | not even <~gradable>
seem: seem | feel
s one: s
s many:
is one: is
is many: are
do one: does
do many: do
very: very | really | so | quite | rather | extremely | remarkably
utterly: utterly | absolutely | simply
throughout: from start to finish | from the first minute | most of the time | for once | in the end
noun story one: plot | story | script | premise | ending | opening | dialogue | mystery | first half | last act
noun story many: twists | jokes | flashbacks | conversations | final scenes | subplots
noun craft one: camera work | photography | lighting | editing | score | music | soundtrack | set design | direction
noun craft many: costumes | effects | sets | songs | images | colours | action scenes
noun acting one: acting | lead | cast | supporting cast | narrator | young star
noun acting many: performances | actors | child actors | newcomers | main actors
gradable: <general> | <special> | <special> | <special>
general +: good | great
general -: bad | weak | disappointing
special story +: clever | funny | engaging | exciting | original | surprising | thrilling | interesting
special story -: dull | confusing | stupid | lame | predictable | messy | annoying | ridiculous
special craft +: beautiful | elegant | lively | rich | creative | impressive | powerful | delightful
special craft -: ugly | dull | lazy | crude | careless | dreary | messy | poor
special acting +: charming | convincing | confident | natural | engaging | lively | sincere | strong
special acting -: awkward | annoying | dull | lazy | lifeless | nervous | arrogant | forced
special film +: funny | lovely | sweet | entertaining | enjoyable | powerful | charming | satisfying
special film -: boring | silly | stupid | messy | gloomy | unpleasant | painful | poor
extreme +: excellent | superb | wonderful | brilliant | terrific | fantastic | outstanding | magnificent
extreme -: terrible | awful | horrible | dreadful | pathetic | hopeless | miserable | lousy
odd story +: clever | funny | original | exciting
odd story -: confusing | silly | messy | slow
odd craft +: beautiful | creative | impressive | powerful
odd craft -: strange | messy | gloomy | harsh
odd acting +: charming | sincere | engaging | strong
odd acting -: awkward | nervous | strange | uneven
improve +: improve<s> | strengthen<s> | lift<s>
improve -: weaken<s> | ruin<s> | spoil<s> | damage<s>
whole: the film | the whole film | the mood
traits +: charm | energy | wit | beauty | humour
traits -: flaws | faults | noise | weaknesses | problems

# What people do, in the film, behind it and before it.
work: the <player> <play> <with> <skill> | the <maker> <handle> <with> <skill>
player one: lead | narrator | main actor | young star
player many: actors | child actors | main actors | newcomers | supporting players
play one: plays the part | speaks every line
play many: play their parts | speak their lines
maker one: director | writer | editor
maker many: writers | two directors
handle: handle<s> the action | tell<s> the tale | treat<s> the subject | build<s> the suspense
with +: with | with real | with great
with -: without | without any
skill: charm | humour | energy | grace | care | confidence | intelligence | passion | dignity | skill | clarity
loved +: loved | enjoyed | liked | admired | really liked
loved -: hated | disliked | did not like | did not enjoy | never liked
impressed +: impressed | delighted | thrilled | moved
impressed -: bored | annoyed | disappointed | not impressed

# The film as a whole.
verdict: what a <extreme> <genre>! | a <most> <gradable film> <genre>. | this is a <gradable film> <genre>. |
    <closing> | <closing>
most: very | really | extremely | remarkably
closing +: i would gladly see it again. | i would recommend it to anyone. | it is worth every minute. | it is a joy. |
    a real treat! | do not miss it! | it left me happy.
closing -: i regret every minute. | i would not recommend it to anyone. | it is not worth the ticket. |
    it is a mess. | a waste of time! | avoid it! | it left me angry.
genre: film | movie | picture | drama | debut | western | remake | sequel

# What happens in it, and how it came to be seen. No opinion.
fact: the film follows <people> <somewhere>. | this is a <genre> about <people>. | it takes place <somewhere>. |
    it lasts <long>. | it was shot <how>. | i saw it <when>.
people: a young doctor | two sisters | an old sailor | a painter and her daughter | three students | twin brothers |
    a country priest | a train driver | a night nurse | a widow and her dog | a retired teacher
somewhere: in a small town | on an island | in an old hotel | at sea | in the mountains | by a lake | in the desert
long: two hours | ninety minutes | almost three hours | less than an hour
when: with my sister | on a rainy evening | at a festival | on a plane | with two friends
how: in black and white | in ten days | with a small crew | in one single take
"""


RULES = Grammar(GRAMMAR)
REVIEWS: list[Symbol] = [("review", frozenset(stance)) for stance in "+-"]


def _review(rng: random.Random) -> str:
    """One review. Nobody says a word of substance twice: such a draft is thrown away."""
    while True:
        text = RULES.follow(rng.choice(REVIEWS), rng)
        words = re.findall(r"\w{4,}", text)
        if len(words) == len(set(words)):
            return spell(text)


class TinyReviews(OpenText):
    """Reviews of one to three short sentences, and VADER's opinion of each.

    tokenizer: byte-level BPE learned from reviews. prompts: the first words of 256 reviews, to evaluate on, drawn
    with a seed that no corpus has. They are drawn as all prompts are and short ones repeat, so a mean over them
    estimates the mean over all. max_new_tokens: room for all but one response in thousands.
    """

    max_new_tokens = 40

    def __init__(self) -> None:
        rng = random.Random("tokenizer")
        self.tokenizer = train_tokenizer((_review(rng) for _ in range(TOKENIZER_SIZE)), VOCAB_SIZE)
        begun = self._draw(PROMPTS, "prompts")
        self.prompts = tuple(x for x, _ in begun)
        self._endings = dict(reversed(begun))
        self._polarity = lru_cache(maxsize=100_000)(SentimentIntensityAnalyzer().polarity_scores)

    def reward(self, prompt: str, response: str) -> float:
        """r*(x, y) in nats, between −2 and 2: twice the compound score that VADER's analyser gives the review."""
        return 2 * self._polarity(prompt + response)["compound"]

    def written_ending(self, prompt: str) -> str:
        """How the review went on of which a prompt of ``prompts`` is the beginning; of several reviews, the first.

        KeyError for any other prompt.
        """
        return self._endings[prompt]

    def grammatical(self, text: str) -> bool:
        """Whether the rules can make this text, capitals and full stops included. Words may come twice."""
        plain = unspell(text)
        return spell(plain) == text and any(RULES.can_make(review, plain) for review in REVIEWS)

    def _draw(self, size: int, stream: str) -> list[tuple[str, str]]:
        """Reviews in two, prompt + response: parted before a space, after 2 to 8 tokens and at most half of it."""
        require_count("size", size)
        rng = random.Random(stream)
        reviews, shares = zip(*[(_review(rng), rng.random()) for _ in range(size)], strict=True)
        offsets = self.tokenizer(list(reviews), return_offsets_mapping=True).offset_mapping
        texts = []
        for review, share, spans in zip(reviews, shares, offsets, strict=True):
            ends = [end for _, end in spans[1:8] if end <= len(review) / 2 and review[end] == " "]
            cut = ends[int(share * len(ends))]
            texts.append((review[:cut], review[cut:]))
        return texts


@lru_cache(maxsize=1)
def tiny_reviews() -> TinyReviews:
    """The world, made once a process."""
    return TinyReviews()
