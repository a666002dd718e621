"""The reviews of ``frontier imdb``: which to learn from, and which to measure on."""

import random
from pathlib import Path

from dpo_book.cli.boundary import Refused, entering
from dpo_book.cli.imdb_options import ImdbOptions
from dpo_book.data.paper_sets import imdb_reviews
from dpo_book.data.reading import split_names


def reviews_of(options: ImdbOptions) -> tuple[list[str], list[str]]:
    """Reviews to learn from, and others to measure on. options: settled. Refused where there are too few."""
    split, wanted = options.split, options.eval_prompts
    with entering("the reviews of", options.source or "imdb"):
        reviews = imdb_reviews(options.source, split, options.configuration)
        eval_split = options.eval_split or _own_test_split(options)
        others = reviews if eval_split == split else imdb_reviews(options.source, eval_split, options.configuration)
    where = f"{options.source or 'imdb'}, split {eval_split},"
    if eval_split != split:
        if len(others) < wanted:
            raise Refused(f"{where} has {len(others)} reviews, fewer than --eval-prompts {wanted}")
    elif len(reviews) <= wanted:
        raise Refused(f"{where} has {len(reviews)} reviews: --eval-prompts {wanted} leaves none to learn from")
    else:
        apart = set(random.Random("apart").sample(range(len(reviews)), wanted))
        others = [reviews[row] for row in sorted(apart)]
        reviews = [review for row, review in enumerate(reviews) if row not in apart]
    if options.prompts is not None and options.prompts > len(reviews):
        raise Refused(
            f"--prompts {options.prompts} is more than the {len(reviews)} reviews to learn from in "
            f"{options.source or 'imdb'}: leave it out to take them all"
        )
    return reviews, others


def _own_test_split(options: ImdbOptions) -> str:
    """The split that is measured on where nobody says: test, where there is one, else what is learned from too."""
    if options.source is None or not Path(options.source).exists():  # on the hub, where IMDb has one
        return "test"
    return "test" if "test" in split_names(Path(options.source), options.configuration) else options.split
