"""Completions of the same prompts by one policy or two, at several temperatures; kept in a file as they are drawn."""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dpo_book.data.tokens import completion_texts
from dpo_book.evaluation.samples_file import Sample, Wanted, add_samples, keep_samples, read_samples
from dpo_book.maths.require import require_count, require_seed
from dpo_book.models.sampling import sample_ids


class Side(NamedTuple):
    """Who completes the prompts. ids: each prompt in the policy's own tokens."""

    name: str
    policy: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    ids: Sequence[list[int]]


class Part(NamedTuple):
    """What is drawn at once: rows of the prompts, from 0, at one temperature."""

    temperature: float
    side: Side
    rows: range
    seed: int


class Draw(NamedTuple):
    """All that is drawn, in the order of the file. Every part has a seed of its own, so the sides are independent."""

    prompts: Sequence[str]
    max_new_tokens: int
    parts: list[Part]

    @property
    def wanted(self) -> list[Wanted]:
        """Every sample, all but what it says."""
        wanted = []
        for part in self.parts:
            for row in part.rows:
                wanted.append(Wanted(part.temperature, part.side.name, row + 1, self.prompts[row]))
        return wanted


def plan_draw(
    prompts: Sequence[str],
    sides: Sequence[Side],
    temperatures: Sequence[float],
    max_new_tokens: int,
    seed: int = 0,
    at_once: int = 64,
) -> Draw:
    """One completion of each prompt by each side at each temperature, ``at_once`` in a batch; 0 is greedy."""
    require_count("max_new_tokens", max_new_tokens)
    require_seed("seed", seed)
    starts = range(0, len(prompts), at_once)
    parts = []
    for temperature, side, start in itertools.product(temperatures, sides, starts):
        rows = range(start, min(start + at_once, len(prompts)))
        parts.append(Part(float(temperature), side, rows, seed + len(parts)))
    return Draw(prompts, max_new_tokens, parts)


def draw_into(path: Path, draw: Draw) -> Iterator[int]:
    """Draw what the file does not hold yet, part by part; yields how many samples it holds, first what it held.

    Killed at any moment, it holds every part that was finished. What is left of another is cut off and drawn again,
    for it hangs together by its seed. SamplesError for a file that holds something else.
    """
    there = len(read_samples(path, draw.wanted))
    held, parts = 0, list(draw.parts)
    while parts and held + len(parts[0].rows) <= there:
        held += len(parts.pop(0).rows)
    keep_samples(path, held)
    yield held
    for part in parts:
        add_samples(path, _drawn(draw, part))
        held += len(part.rows)
        yield held


def drawn_from(path: Path, draw: Draw) -> dict[tuple[float, str], list[str]]:
    """The completions in the file by temperature and side, in the order of the prompts."""
    completions: dict[tuple[float, str], list[str]] = {}
    for sample in read_samples(path, draw.wanted):
        completions.setdefault((sample.temperature, sample.side), []).append(sample.completion)
    return completions


def _drawn(draw: Draw, part: Part) -> list[Sample]:
    side = part.side
    asked = [side.ids[row] for row in part.rows]
    ids = sample_ids(side.policy, asked, draw.max_new_tokens, part.temperature, part.seed)
    samples = []
    for row, text in zip(part.rows, completion_texts(side.tokenizer, asked, ids), strict=True):
        samples.append(Sample(part.temperature, side.name, row + 1, draw.prompts[row], text))
    return samples
