"""A GPT-2 as it trains, recorded for a chapter's page: `python -m tools.site.training CHAPTER FOLDER`.

It trains as the cell with the chapter's live run does, once a β, and looks at the policy every few steps. The
recording goes below that cell, with an introduction of its own; ``recordings`` calls this as it calls ``draw``.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import jupytext
import pandas as pd
import torch
from torch import Tensor
from transformers import PreTrainedModel

from dpo_book import DPOConfig, copy_policy, kl_divergence, optimal_logp, sample, setup, train_dpo
from dpo_book.data.pairs import Pair
from dpo_book.plots import png, watched_training
from dpo_book.worlds.references import verdicts_reference
from dpo_book.worlds.verdicts import Verdicts, draw_comparisons, verdicts
from tools.chapter_widgets import NOTEBOOKS, cells_up_to
from tools.record import digest_of
from tools.site.draw import frame, versions, write

CELL = "LiveRun("
BETAS = (0.3, 0.5, 0.7, 1.0, 1.5)  # not those that the chapter has its readers predict
STEPS, EVERY = 300, 10
RATE, BATCH_SIZE, PAIRS = 2e-3, 128, 50_000
PROMPT = 0  # the one of the world's three whose responses are shown
LIKELIEST = (5, 3)  # so many under π*, which rise, and so many others under π_ref, which mostly fall
SAMPLES = 4
SAMPLING_SEED = 1  # with it π_ref's samples have about its mean reward: with 0 they are far better
INTRODUCTION = """\
That is one run; here are five. Keep β and move the step, or keep the step and move β: which is first where it will
stay, the margin, the KL or the bars, and does the KL only fall? Nothing is computed in your browser, for the GPT-2
was trained and every picture drawn when this page was made; the KL is the mean over the three prompts, and the
samples are drawn with the same random numbers at every step."""


class Beginning(NamedTuple):
    """What all runs have in common. ref_logp: log π_ref of all responses, (P, N); ref_logps: of the pairs' two."""

    world: Verdicts
    reference: PreTrainedModel
    ref_logp: Tensor
    pairs: list[Pair]
    ref_logps: tuple[Tensor, Tensor]

    @property
    def best_margin(self) -> float:
        """The mean margin of π* on the pairs, in nats: r*'s own differences, whatever β is."""
        labels = torch.tensor([pair.chosen_probability for pair in self.pairs], dtype=torch.float64)
        return torch.logit(labels).mean().item()


@dataclass
class Run:
    """One training, and what was seen of it, by step. optimum: log π* of all responses, (P, N).

    p: π_θ(y|x) of the shown prompt's responses, (N,). distances: KL(π_θ‖π*) in nats, the mean over prompts. samples:
    with their true rewards. records: of every step, as ``train_dpo`` yields them.
    """

    beta: float
    optimum: Tensor
    p: dict[int, Tensor] = field(default_factory=dict)
    distances: dict[int, float] = field(default_factory=dict)
    samples: dict[int, list[tuple[str, float]]] = field(default_factory=dict)
    records: list[dict[str, float]] = field(default_factory=list)


def begin() -> Beginning:
    """The world, π_ref, and the comparisons with exact labels that every run reads."""
    world, reference = verdicts(), verdicts_reference()
    with torch.no_grad():
        ref_logp = world.logp(reference).double()
    return Beginning(world, reference, ref_logp, *draw_comparisons(world, ref_logp, PAIRS, labels="soft", seed=0))


def trained(beginning: Beginning, beta: float, steps: int) -> Run:
    """Train for ``steps``, and look before the first and after every tenth."""
    world, reference, ref_logp, pairs, ref_logps = beginning
    run = Run(beta, optimal_logp(ref_logp, world.rewards, beta))
    policy = copy_policy(reference)
    look(run, world, policy, step=0)
    config = DPOConfig(beta=beta, learning_rate=RATE, batch_size=BATCH_SIZE, steps=steps)
    for record in train_dpo(policy, reference, pairs, config, ref_logps):
        run.records.append(record)
        if record["step"] % EVERY == 0:
            look(run, world, policy, record["step"])
    return run


@torch.no_grad()
def look(run: Run, world: Verdicts, policy: PreTrainedModel, step: int) -> None:
    """Add to ``run`` what its policy is after ``step`` updates."""
    logp = world.logp(policy).double()
    run.p[step] = logp[PROMPT].exp()
    run.distances[step] = kl_divergence(logp, run.optimum).mean().item()
    prompt = world.prompts[PROMPT]
    texts = sample(policy, world.tokenizer, [prompt] * SAMPLES, world.max_new_tokens, seed=SAMPLING_SEED)
    run.samples[step] = [(text.strip(), world.reward(prompt, text)) for text in texts]


def probabilities(run: Run, beginning: Beginning) -> dict[int, pd.DataFrame]:
    """Step → the table of the shown responses that ``watched_training`` draws; the likeliest under π* on top."""
    reference, optimum = (logp[PROMPT].exp() for logp in (beginning.ref_logp, run.optimum))
    of_optimum, of_reference = LIKELIEST
    by_optimum = optimum.argsort(descending=True).tolist()
    rising = by_optimum[:of_optimum]
    others = [i for i in reference.argsort(descending=True).tolist() if i not in rising]
    shown = sorted(rising + others[:of_reference], key=by_optimum.index)
    texts = [beginning.world.responses[i] for i in shown]
    fixed = pd.DataFrame({"reference": reference[shown].numpy(), "optimum": optimum[shown].numpy()}, index=texts)
    return {step: fixed.assign(policy=p[shown].numpy()) for step, p in run.p.items()}


def limits_of(runs: Sequence[Run], tables: Sequence[dict[int, pd.DataFrame]]) -> dict[str, tuple[float, float]]:
    """Ends of all axes that hold every run at every step."""
    steps = len(runs[0].records)
    highest = max(table.to_numpy().max() for by_step in tables for table in by_step.values())
    distances = [distance for run in runs for distance in run.distances.values()]
    rewards = [
        record[f"rewards/{name}"] for run in runs for record in run.records for name in ("rejected", "margins")
    ]
    return {
        "probability": (0, 1.05 * highest),
        "step": (-0.02 * steps, 1.02 * steps),
        "kl": (min(0.04, *distances) / 1.4, 1.4 * max(distances)),
        "reward": (1.1 * min(rewards), 1.1 * max(rewards)),
    }


def drawn(runs: Sequence[Run], beginning: Beginning, folder: Path) -> list[dict]:
    """A picture of every look at every run, kept in ``folder``."""
    tables = [probabilities(run, beginning) for run in runs]
    limits, best_margin = limits_of(runs, tables), beginning.best_margin
    frames = []
    for run, by_step in zip(runs, tables, strict=True):
        for step, table in by_step.items():
            figure = watched_training(
                prompt=beginning.world.prompts[PROMPT],
                responses=table,
                distances={before: distance for before, distance in run.distances.items() if before <= step},
                records=run.records[:step],
                samples=run.samples[step],
                best_margin=best_margin,
                limits=limits,
            )
            frames.append(frame(png(figure), figure.get_label(), folder))
    return frames


def watched(betas: Sequence[float], steps: int, first: float, folder: Path) -> dict:
    """Train at each β, and record it as ``draw`` records a figure. first: the β that the page shows first."""
    beginning = begin()
    runs = [trained(beginning, beta, steps) for beta in betas]
    frames = drawn(runs, beginning, folder)
    seen = [str(step) for step in runs[0].p]
    of_beta = {"name": "β", "texts": [str(beta) for beta in betas], "start": betas.index(first), "list": True}
    # A sixth of the way: there is something to see, and something left to come.
    of_step = {"name": "step", "texts": seen, "start": len(seen) // 6, "list": False}
    said = (
        f"{len(runs)} runs of this page's training, {steps} steps each at the rate {RATE:g}, drew all {len(frames)} "
        "pictures that the controls can ask for. In JupyterLab you choose the settings"
    )
    return {"controls": [of_beta, of_step], "frames": frames, "said": said, "with": versions()}


def record(chapter: str, folder: Path) -> None:
    """Record the runs into ``folder``, to be shown below the chapter's cell with its live run."""
    script = NOTEBOOKS / "py" / f"{chapter}.py"
    cell = jupytext.read(script).cells[cells_up_to(script, CELL)[-1]]
    setup(seed=0)
    recording = watched(BETAS, STEPS, first=1.0, folder=folder)
    write({digest_of(cell): recording | {"introduction": INTRODUCTION}}, folder)


if __name__ == "__main__":
    chapter, folder = sys.argv[1:]
    record(chapter, Path(folder).resolve())
