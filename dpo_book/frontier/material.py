"""What one seed gives every method: comparisons, and a reward model fitted to them; made once, then kept."""

import json
import time
from dataclasses import asdict
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification

from dpo_book.data.pairs import Pair
from dpo_book.frontier.arena import Arena, Cost, Standing
from dpo_book.models.quiet import quiet
from dpo_book.models.reward_model import Reward, build_reward_model, rewards_of
from dpo_book.models.scoring import score_pairs
from dpo_book.system.cache import cached
from dpo_book.system.provenance import model_digest
from dpo_book.training.config import RewardConfig
from dpo_book.training.offline import train_reward_model


class NothingToCompare(ValueError):
    """No two completions were told apart, so there is nothing to learn from; the message says of how many."""


class Material(NamedTuple):
    """What one seed gives every method: comparisons, and for those who want one a reward model fitted to them."""

    pairs: list[Pair]
    reference_logps: tuple[Tensor, Tensor]  # of chosen and rejected completions
    learned: Reward  # r_φ
    drawn: Cost  # of the comparisons
    fitted: Cost  # of the reward model
    start: Standing  # the reference, where every method begins


@lru_cache(maxsize=8)  # of several seeds, taken in turn
def draw_material(arena: Arena, comparisons: int, reward_config: RewardConfig, seed: int) -> Material:
    """The comparisons of one seed and the reward model fitted to them; made once, then kept.

    NothingToCompare where not one of the comparisons tells anything.
    """

    def build(folder: Path) -> None:
        started = time.process_time()
        pairs, tokens = arena.comparisons(comparisons, seed)
        if not pairs:
            raise NothingToCompare(
                f"{arena.name}: not one of {comparisons} comparisons tells two completions apart, by their text and "
                "by who judges. A reference that has learned more, or another judge, is needed"
            )
        drawn = Cost(generated_tokens=tokens, judgements=len(pairs), seconds=time.process_time() - started)
        started = time.process_time()
        model = build_reward_model(arena.reference, seed)
        for _ in train_reward_model(model, pairs, reward_config):
            pass
        passes = 2 * reward_config.batch_size * reward_config.steps  # both completions of every pair
        fitted = Cost(passes=passes, seconds=time.process_time() - started)
        with quiet():
            model.save_pretrained(folder / "reward_model")
        kept = {
            "pairs": pairs,
            "reference_logps": [logps.tolist() for logps in score_pairs(arena.reference, pairs)],
            "costs": [asdict(drawn), asdict(fitted)],
            "start": arena.measure(arena.reference, partial(rewards_of, model)),
        }
        (folder / "data.json").write_text(json.dumps(kept), encoding="utf-8")

    depends_on = {
        "reference": model_digest(arena.reference),
        "comparisons": comparisons,
        "reward_model": repr(reward_config),
        "seed": seed,
        "arena": dict(arena.depends_on),
    }
    folder = cached(f"{arena.name}-comparisons", depends_on, build)
    kept = json.loads((folder / "data.json").read_text(encoding="utf-8"))
    with quiet():
        model = AutoModelForSequenceClassification.from_pretrained(folder / "reward_model").eval()
    model.to(arena.reference.device)
    chosen, rejected = map(torch.tensor, kept["reference_logps"])
    return Material(
        pairs=[Pair(*pair) for pair in kept["pairs"]],
        reference_logps=(chosen, rejected),
        learned=partial(rewards_of, model),
        drawn=Cost(**kept["costs"][0]),
        fitted=Cost(**kept["costs"][1]),
        start=Standing(*kept["start"]),
    )
