"""Exercises of chapter 12: two looks at a file of preferences; ``choice`` and ``diagnosis`` have the others."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from dpo_book.checks.choice import check_choose
from dpo_book.checks.diagnosis import LIST, SIGNS, check_diagnosis
from dpo_book.checks.judge import Exercise

__all__ = ["LIST", "SIGNS", "check_choose", "check_diagnosis", "check_leaked_prompts", "check_longer_share"]

# Tokens of the chosen and of the rejected completion of some pairs; in some they are equally many.
LENGTHS = [
    (torch.tensor([12, 7, 9, 20, 5, 8, 8]), torch.tensor([10, 7, 11, 4, 3, 8, 2])),
    (torch.tensor([3, 6, 4, 4, 9]), torch.tensor([5, 6, 9, 1, 12])),
    (torch.tensor([4]), torch.tensor([4])),
    (torch.tensor([11]), torch.tensor([2])),
    (torch.tensor([150, 2, 2, 2, 8, 90, 3, 1]), torch.tensor([6, 300, 2, 2, 2, 4, 5, 7])),
    (torch.tensor([8, 31, 17]), torch.tensor([9, 30, 18])),
    (torch.tensor([70_001, 9, 70_000, 66_000, 5]), torch.tensor([70_000, 9, 70_001, 65_999, 4])),
    (torch.tensor([6, 6, 6, 1]), torch.tensor([2, 6, 6, 6])),
    (torch.tensor([260, 3]), torch.tensor([250, 3])),
    (torch.tensor([1, 9]), torch.tensor([2, 14])),
]


def _shares(longer: float, equal: float) -> Callable[[Tensor, Tensor], Tensor]:
    """A share in which a pair counts so much if its chosen is longer, and so much if both are equally long."""

    def share(chosen: Tensor, rejected: Tensor) -> Tensor:
        return (longer * (chosen > rejected) + equal * (chosen == rejected)).double().mean()

    return share


_longer_share = _shares(1.0, 0.5)


def _without_ties(chosen: Tensor, rejected: Tensor) -> Tensor:
    differ = chosen != rejected
    return (chosen > rejected)[differ].double().mean()


def _shorter_share(chosen: Tensor, rejected: Tensor) -> Tensor:
    return _longer_share(rejected, chosen)


def _mean_difference(chosen: Tensor, rejected: Tensor) -> Tensor:
    return (chosen - rejected).double().mean()


def _count(chosen: Tensor, rejected: Tensor) -> Tensor:
    return len(chosen) * _longer_share(chosen, rejected)


def _ties_half_of_the_others(chosen: Tensor, rejected: Tensor) -> Tensor:
    """Ties count half above the line, and are left out below it."""
    return _count(chosen, rejected) / (chosen != rejected).sum()


def _lead(chosen: Tensor, rejected: Tensor) -> Tensor:
    return (chosen - rejected).sign().double().mean()


def _one_by_one(chosen: Tensor, rejected: Tensor) -> Tensor:
    return ((chosen - rejected).sign() + 1) / 2


def _of_tokens(chosen: Tensor, rejected: Tensor) -> Tensor:
    return chosen.sum() / (chosen.sum() + rejected.sum()).double()


def _of_totals(chosen: Tensor, rejected: Tensor) -> Tensor:
    return _longer_share(chosen.sum()[None], rejected.sum()[None])


def _all_with_all(chosen: Tensor, rejected: Tensor) -> Tensor:
    return _one_by_one(chosen[:, None], rejected).mean()


def _soft(chosen: Tensor, rejected: Tensor) -> Tensor:
    return (chosen - rejected).double().sigmoid().mean()


check_longer_share = Exercise(
    "longer_share",
    _longer_share,
    LENGTHS,
    {
        "equally long pairs count as not longer here: each says nothing, and counts half.": _shares(1.0, 0.0),
        "equally long pairs count as longer here: each says nothing, and counts half.": _shares(1.0, 1.0),
        "equally long pairs are left out; here they stay in, and count half.": _without_ties,
        "this is how often the *rejected* one is longer.": _shorter_share,
        "this is by how much the chosen is longer, not how often.": _mean_difference,
        "a count; divide by the number of pairs.": _count,
        "divided by the pairs that differ, and equally long ones count, too: divide by all.": (
            _ties_half_of_the_others
        ),
        "this is the share of longer ones less that of shorter ones; a share lies between 0 and 1.": _lead,
        "equally long pairs count whole here and longer ones half; it is the other way round.": _shares(0.5, 1.0),
        "one value for each pair; their mean is asked for.": _one_by_one,
        "in percent; a share lies between 0 and 1.": _shares(100.0, 50.0),
        "this is a share of all tokens; every pair counts alike, however long.": _of_tokens,
        "all chosen tokens are compared with all rejected ones: compare pair by pair.": _of_totals,
        "every chosen one is compared with every rejected one: compare pair by pair.": _all_with_all,
        "σ of the difference: a pair that is longer by one token counts whole, too.": _soft,
    },
    "From how many pairs on is a share of 0.55 more than chance? (The interval of chapter 12's table says.)",
)


# Prompts of training rows and of held-out rows.
PROMPTS = [
    (
        ["The plot is", "The lead", "I saw it", "The lead"],
        ["The lead", "The film", "The lead", "I saw", "The plot is"],
    ),
    (["What a", "A joy"], ["What", "What a", "What", "It is", "A joy to"]),
    (["The end"], ["The end"]),
    (["A", "B", "C", "A", "A", "It is"], ["C", "It"]),
    (["Never", "Ever"], ["never", "Ever ", "Ever"]),
    (
        ["The plot of the film is thin", "dog bites man", "It was", "It was", "no one", "A cat"],
        [
            "The plot of the film is thick",
            "man bites dog",
            "bites",
            "It was",
            "no  one",
            "one",
            "A cats",
            "cat A",
            "It was",
        ],
    ),
    (["One", "Two", "Three"], ["Four", "Two", "Three", "One"]),
    (["On the sofa"], ["on the sofa", "On the sofa", " On the sofa"]),
    (["Hm", "Oh"], ["Ah", "Ah", "Well"]),
]


def _leaked(train: Sequence[str], held_out: Sequence[str]) -> Tensor:
    known = set(train)
    return torch.tensor([float(prompt in known) for prompt in held_out], dtype=torch.float64)


def _fresh(train: Sequence[str], held_out: Sequence[str]) -> Tensor:
    return 1 - _leaked(train, held_out)


def _of_training(train: Sequence[str], held_out: Sequence[str]) -> Tensor:
    return _leaked(held_out, train)


def _rows_where(test: Callable[[Sequence[str], str], bool]) -> Callable[[Sequence[str], Sequence[str]], Tensor]:
    """1 for every held-out row of which ``test(train, prompt)`` is true."""

    def rows(train: Sequence[str], held_out: Sequence[str]) -> Tensor:
        return torch.tensor([float(test(train, prompt)) for prompt in held_out], dtype=torch.float64)

    return rows


def _begins_like(train: Sequence[str], prompt: str) -> bool:
    return any(known.startswith(prompt) for known in train)


def _is_part(train: Sequence[str], prompt: str) -> bool:
    return any(prompt in known for known in train)


def _has_part(train: Sequence[str], prompt: str) -> bool:
    return any(known in prompt for known in train)


def _shares_a_word(train: Sequence[str], prompt: str) -> bool:
    return not set(prompt.split()).isdisjoint(" ".join(train).split())


def _but_for_capitals(train: Sequence[str], prompt: str) -> bool:
    return prompt.lower() in {known.lower() for known in train}


def _but_for_spaces(train: Sequence[str], prompt: str) -> bool:
    return prompt.strip() in {known.strip() for known in train}


def _but_for_both(train: Sequence[str], prompt: str) -> bool:
    return prompt.strip().lower() in {known.strip().lower() for known in train}


def _has_the_same_words(train: Sequence[str], prompt: str) -> bool:
    return any(sorted(prompt.split()) == sorted(known.split()) for known in train)


def _is_the_first(train: Sequence[str], prompt: str) -> bool:
    return prompt == train[0]


def _is_as_long(train: Sequence[str], prompt: str) -> bool:
    return len(prompt) in {len(known) for known in train}


def _times(train: Sequence[str], held_out: Sequence[str]) -> Tensor:
    return torch.tensor([float(list(train).count(prompt)) for prompt in held_out], dtype=torch.float64)


def _minus_one_for_fresh(train: Sequence[str], held_out: Sequence[str]) -> Tensor:
    return 2 * _leaked(train, held_out) - 1


def _row_by_row(train: Sequence[str], held_out: Sequence[str]) -> Tensor:
    pairs = zip(train, held_out, strict=False)
    return torch.tensor([float(known == prompt) for known, prompt in pairs], dtype=torch.float64)


def _every_pair(train: Sequence[str], held_out: Sequence[str]) -> Tensor:
    return torch.stack([_row_by_row([prompt] * len(train), train) for prompt in held_out])


def _places(train: Sequence[str], held_out: Sequence[str]) -> Tensor:
    return _leaked(train, held_out).nonzero().flatten().double()


def _first_of_each(train: Sequence[str], held_out: Sequence[str]) -> Tensor:
    """A prompt that comes again among the held-out rows is marked only once."""
    fresh = [prompt not in held_out[:row] for row, prompt in enumerate(held_out)]
    return _leaked(train, held_out) * torch.tensor(fresh)


def _of_distinct(train: Sequence[str], held_out: Sequence[str]) -> Tensor:
    return _leaked(train, list(dict.fromkeys(held_out)))


def _sorted_rows(train: Sequence[str], held_out: Sequence[str]) -> Tensor:
    return _leaked(train, sorted(held_out))


def _any(train: Sequence[str], held_out: Sequence[str]) -> Tensor:
    return _leaked(train, held_out).max()


def _repeated(_train: Sequence[str], held_out: Sequence[str]) -> Tensor:
    return torch.tensor([float(list(held_out).count(prompt) > 1) for prompt in held_out], dtype=torch.float64)


def _how_many(train: Sequence[str], held_out: Sequence[str]) -> Tensor:
    return _leaked(train, held_out).sum()


def _distinct(train: Sequence[str], held_out: Sequence[str]) -> Tensor:
    return torch.tensor(float(len(set(train) & set(held_out))), dtype=torch.float64)


check_leaked_prompts = Exercise(
    "leaked_prompts",
    _leaked,
    PROMPTS,
    {
        "this marks the rows that are fresh: 1 belongs to those whose prompt training has.": _fresh,
        "this marks rows of training; asked for are the held-out ones.": _of_training,
        "this marks prompts that come twice among the held-out rows; compare them with training.": _repeated,
        "a prompt that only begins like one of training counts here; compare whole prompts.": (
            _rows_where(_begins_like)
        ),
        "a prompt that is a part of one of training counts here; compare whole prompts.": _rows_where(_is_part),
        "a prompt that has one of training in it counts here; compare whole prompts.": _rows_where(_has_part),
        "a prompt that shares a word with training counts here; compare whole prompts.": _rows_where(_shares_a_word),
        "the order of words makes no difference here; a prompt counts if training has the very same text.": (
            _rows_where(_has_the_same_words)
        ),
        "prompts are compared with the first of training alone; compare with all.": _rows_where(_is_the_first),
        "−1 stands where 0 belongs.": _minus_one_for_fresh,
        "prompts are compared by their lengths; compare the texts.": _rows_where(_is_as_long),
        "capitals make no difference here; a prompt counts if training has the very same text.": (
            _rows_where(_but_for_capitals)
        ),
        "spaces at the ends make no difference here; a prompt counts if training has the very same text.": (
            _rows_where(_but_for_spaces)
        ),
        "neither capitals nor spaces make a difference here; a prompt counts if training has the very same text.": (
            _rows_where(_but_for_both)
        ),
        "this is how often training has the prompt; 1 is enough.": _times,
        "row is compared with row; a prompt may stand anywhere in training.": _row_by_row,
        "every held-out row beside every row of training; say of each held-out row if training has it at all.": (
            _every_pair
        ),
        "these are the places of the rows; give a 1 or a 0 for every held-out row.": _places,
        "a prompt that comes again among the held-out rows gets 0 the second time; every row counts.": _first_of_each,
        "held-out rows of one prompt are made one; give a number for every row.": _of_distinct,
        "the held-out rows are sorted; keep their order.": _sorted_rows,
        "this says if there is any such row; give one number for each.": _any,
        "one number for every held-out row is asked for, not how many there are.": _how_many,
        "a prompt that comes in two held-out rows counts once here; give one number for every row.": _distinct,
    },
    "Would it find a prompt that differs in a space or a capital? What would?",
)
