"""Made-up film reviews in IMDb's form, and a nano policy that can read them: a whole experiment in seconds."""

import json
import random
from pathlib import Path

from dpo_book import build_policy, train_tokenizer

WORDS = ("good", "great", "lovely", "bad", "awful", "dull", "long", "loud")


def write_reviews(folder: Path, train: int = 40, test: int = 12) -> Path:
    """``folder`` with so many reviews in train.jsonl and test.jsonl."""
    rng = random.Random(0)
    folder.mkdir(parents=True, exist_ok=True)
    for split, size in (("train", train), ("test", test)):
        lines = []
        for _ in range(size):
            first, second = rng.sample(WORDS, 2)
            text = f"the {split} film was {first} and the plot was {second}"
            lines.append(json.dumps({"text": text, "label": rng.randrange(2)}) + "\n")
        (folder / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder


def write_policy(folder: Path) -> Path:
    """A nano GPT-2 of fresh weights whose tokenizer knows the reviews' words, in ``folder``."""
    texts = [f"the film was {word} and the plot was {word} train test" for word in WORDS]
    tokenizer = train_tokenizer(texts * 3, vocab_size=330)
    build_policy("nano", tokenizer, seed=1).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
