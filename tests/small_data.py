"""Data so small that a test is quick: pairs in the verdicts' words, and the first rows of a file of preferences."""

import json
from itertools import islice
from pathlib import Path

from dpo_book import Pair, build_policy
from dpo_book.worlds.verdicts import verdicts

PREFERENCES = "tests/samples/trl_style.jsonl"
UNEVEN = [("very good acting but", "very bad"), ("great but not bad", "dull not"), ("good", "bad but very dull")]


def verdict_pairs(times: int) -> list[Pair]:
    """Two pairs of four words a completion, so many times over."""
    encode = lambda text: verdicts().tokenizer(text).input_ids
    texts = [("very good acting but", "very bad acting but"), ("great but not bad", "dull not but the")]
    return [Pair(encode("the acting"), encode(chosen), encode(rejected)) for chosen, rejected in texts] * times


def uneven_pairs() -> list[Pair]:
    """Eleven pairs of several lengths, hard and soft."""
    encode = lambda text: verdicts().tokenizer(text).input_ids
    drawn = [Pair(encode("the acting"), encode(chosen), encode(rejected)) for chosen, rejected in UNEVEN] * 4
    return [pair._replace(chosen_probability=1 - 0.04 * i) for i, pair in enumerate(drawn[:11])]


def write_run(folder: Path, *options: str) -> list:
    """Write a nano policy and eleven preferences; what follows ``python`` in a DPO run on them, but for --out."""
    build_policy("nano", verdicts().tokenizer, seed=3).save_pretrained(folder / "start")
    verdicts().tokenizer.save_pretrained(folder / "start")
    rows = [{"prompt": "the plot ", "chosen": chosen, "rejected": rejected} for chosen, rejected in UNEVEN] * 4
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:11]))
    run = ["-m", "dpo_book", "dpo", "--policy", folder / "start", "--data", folder / "pairs.jsonl", "--beta=0.5"]
    return [*run, "--learning-rate=1e-3", "--warmup-steps=0", *options]


def first_preferences(rows: int, folder: Path) -> Path:
    """A file in ``folder`` with the first rows of PREFERENCES."""
    path = folder / "few.jsonl"
    with open(PREFERENCES, encoding="utf-8") as lines:
        path.write_text("".join(islice(lines, rows)), encoding="utf-8")
    return path
