"""Data so small that a test is quick: pairs in the verdicts' words, and the first rows of a file of preferences."""

from itertools import islice
from pathlib import Path

from dpo_book import Pair
from dpo_book.worlds.verdicts import verdicts

PREFERENCES = "tests/data/trl_style.jsonl"


def verdict_pairs(times: int) -> list[Pair]:
    """Two pairs of four words a completion, so many times over."""
    encode = lambda text: verdicts().tokenizer(text).input_ids
    texts = [("very good acting but", "very bad acting but"), ("great but not bad", "dull not but the")]
    return [Pair(encode("the acting"), encode(chosen), encode(rejected)) for chosen, rejected in texts] * times


def first_preferences(rows: int, folder: Path) -> Path:
    """A file in ``folder`` with the first rows of PREFERENCES."""
    path = folder / "few.jsonl"
    with open(PREFERENCES, encoding="utf-8") as lines:
        path.write_text("".join(islice(lines, rows)), encoding="utf-8")
    return path
