"""Film reviews in IMDb's form, without a network: `python -m tools.film_reviews my_reviews`.

TinyReviews' grammar writes them, VADER labels them: OUT/train.jsonl and OUT/test.jsonl with rows {"text", "label"},
as `python -m dpo_book frontier imdb --source` reads them. They are no IMDb reviews, but short and of few words.
"""

import json

import tyro

from dpo_book.cli.options import UserPath
from dpo_book.maths.require import require_count
from dpo_book.system.files import write_text
from dpo_book.worlds.tiny_reviews import tiny_reviews
from tools import command_line

SEEDS = {"train": 0, "test": 1}  # of the corpora


def film_reviews(out: tyro.conf.Positional[UserPath], train: int = 16_000, test: int = 2_000) -> None:
    """Write OUT/train.jsonl and OUT/test.jsonl.

    Args:
        out: their folder.
        train: reviews to learn from.
        test: reviews to measure on.
    """
    sizes = {"train": train, "test": test}
    for split, size in sizes.items():
        require_count(split, size)
    out.mkdir(parents=True, exist_ok=True)
    for split, size in sizes.items():
        write_text(out / f"{split}.jsonl", lines(size, SEEDS[split]))


def lines(size: int, seed: int) -> str:
    """So many reviews as JSON lines. label: 1 for one that sounds positive to VADER, else 0."""
    world = tiny_reviews()
    rows = []
    for prompt, rest in world.corpus(size, seed):
        row = {"text": prompt + rest, "label": int(world.reward(prompt, rest) > 0)}
        rows.append(json.dumps(row, ensure_ascii=False) + "\n")
    return "".join(rows)


if __name__ == "__main__":
    command_line.run(film_reviews)
