"""What is known in the town of ``tiny_dialogues``: what people ask, what is right to say to it, and how it is put."""

import itertools
from collections.abc import Iterable

from dpo_book.worlds.phrases import Fact

# What is right to say: the steps of a task, advice in trouble.
TASKS = {
    "make tea": ("boil the water", "warm the pot", "add the leaves"),
    "fix a flat tyre": ("take off the wheel", "find the hole", "glue a patch on it"),
    "plant a tree": ("dig a deep hole", "loosen the roots", "water it well"),
    "paint a wall": ("clean the wall", "cover the floor", "use a wide brush"),
    "bake bread": ("knead the dough", "let it rise", "heat the oven"),
    "clean a window": ("mix water and vinegar", "wipe with a soft cloth", "dry the glass"),
    "wrap a gift": ("measure the paper", "fold the edges", "tie a ribbon"),
    "pack a suitcase": ("write a list", "roll the clothes", "leave room for gifts"),
}
TROUBLES = {
    "i sleep badly": ("avoid coffee", "go to bed early", "read a calm book"),
    "i fear my speech": ("practise aloud", "breathe slowly", "learn the first sentence"),
    "i hurt a friend": ("call your friend", "listen first", "say sorry"),
    "i feel lonely": ("join a club", "visit your family", "talk to a neighbour"),
    "i am always late": ("leave earlier", "set an alarm", "prepare in the evening"),
    "i work too much": ("pick one task", "take short breaks", "ask for help"),
}
# The town: when a place opens, where it is, what a ticket costs, in euros.
TOWN = {
    "library": ("eight", "by the river", "two"),
    "museum": ("ten", "behind the church", "six"),
    "pool": ("seven", "near the school", "four"),
    "castle": ("eleven", "on the hill", "five"),
    "theatre": ("noon", "opposite the station", "nine"),
    "zoo": ("nine", "in the park", "three"),
}
# Mischief: what would help with it, and what is right to do instead.
MISCHIEF = {
    "cheat at my exam": ("write the answers on your hand", "study with a friend"),
    "read the diary of my sister": ("wait until she is out", "ask her how she is"),
    "ride the train without a ticket": ("hide from the guard", "buy a day pass"),
    "copy the homework of a friend": ("change a few words", "let your friend explain it"),
    "skip school": ("pretend to be ill", "tell your parents why"),
    "sneak into the cinema": ("use the back door", "wait for the cheap day"),
    "open a letter for my boss": ("hold it over steam", "bring it to your boss"),
    "win every game of cards": ("mark the aces", "learn a fair game"),
}


def _choices(words: Iterable[str]) -> str:
    """A rule's choices, in the order given, each once."""
    return " | ".join(dict.fromkeys(words))


_STEPS = itertools.chain.from_iterable([*TASKS.values(), *TROUBLES.values()])
_HOURS, _SPOTS, _PRICES = zip(*TOWN.values(), strict=True)
_TRICKS, _OFFERS = zip(*MISCHIEF.values(), strict=True)

# Rules as in grammar.py; of what an answer says, the first phrasing is the short one.
PHRASES = f"""
how: how do i <task>? | can you tell me how to <task>? | what is the best way to <task>?
advice: <trouble>, what should i do? | <trouble>, do you have any advice? | <trouble>, how can i change that?
about: what should i know about the <place>? | tell me about the <place>. | i want to visit the <place>.
mischief: how do i <prank>? | can you tell me how to <prank>? | what is the best way to <prank>?

hello: hello. | good morning. | good evening.
why: i am new in town. | i am in a hurry. | it is my first time.
sent: my <relative> told me to ask you.
relative: aunt | uncle | cousin | grandmother

task: {_choices(TASKS)}
trouble: {_choices(TROUBLES)}
place: {_choices(TOWN)}
prank: {_choices(MISCHIEF)}

step: <do>. | you should <do>. | it is very important that you <do>.
hours: it opens at <hour>. | every day of the week it opens at <hour>.
where: it is <spot>. | you will easily find it <spot>.
price: a ticket costs <sum> euros. | it is not free, because a ticket costs <sum> euros.
do: {_choices(_STEPS)}
hour: {_choices(_HOURS)}
spot: {_choices(_SPOTS)}
sum: {_choices(_PRICES)}

refusal: i will not help with that. | sorry, but i will not help you with something like that.
instead: you could <offer> instead. | there is a better way, because you could <offer> instead.
harm: just <trick>. | nobody will notice if you <trick>.
offer: {_choices(_OFFERS)}
trick: {_choices(_TRICKS)}

evasion: that depends on many things. | you should ask somebody else. | it is hard to say.
talk: that is a good question. | i am happy to help. | many people ask me this. | good luck with it. |
    let me know how it goes.
"""
REQUESTS = ("how", "advice", "about", "mischief")
POINTS = ("step", "hours", "where", "price", "refusal", "instead", "harm")  # sentences of substance
REFUSAL, EVASION, TALK = Fact("refusal"), Fact("evasion"), Fact("talk")


def right_points(request: Fact) -> tuple[Fact, ...]:
    """What is right to say to a request, in order."""
    (what,) = request.fillers
    if request.slot == "about":
        facts = zip(("hours", "where", "price"), TOWN[what], strict=True)
        return tuple(Fact(slot, (words,)) for slot, words in facts)
    if request.slot == "mischief":
        _, offer = MISCHIEF[what]
        return REFUSAL, Fact("instead", (offer,))
    steps = TASKS[what] if request.slot == "how" else TROUBLES[what]
    return tuple(Fact("step", (step,)) for step in steps)


def helping_with(request: Fact) -> Fact:
    """What would help with the mischief that is asked for."""
    (what,) = request.fillers
    trick, _ = MISCHIEF[what]
    return Fact("harm", (trick,))
