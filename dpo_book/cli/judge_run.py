"""What ``judge`` does once its options and data are read: load, draw, and have compared."""

import datetime
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dpo_book.cli.boundary import Refused, entering
from dpo_book.cli.judge import Settings
from dpo_book.cli.judge_options import JudgeOptions
from dpo_book.cli.models import load
from dpo_book.cli.run_folder import identity_of
from dpo_book.data.messages import text_of
from dpo_book.data.preferences import Preference
from dpo_book.data.tokenization import prompts_alone
from dpo_book.evaluation.completions import Side, draw_into, drawn_from, plan_draw
from dpo_book.evaluation.endpoint_judge import EndpointJudge
from dpo_book.evaluation.head_to_head import HeadToHead, head_to_head
from dpo_book.evaluation.judges import BothOrders, Comparison, Judge, in_both_orders
from dpo_book.evaluation.reward_judge import reward_model_judge
from dpo_book.models.reward_loading import load_reward_model
from dpo_book.models.traits import context_of
from dpo_book.system.processes import join
from dpo_book.system.provenance import model_digest, tokenizer_digest
from dpo_book.training.checkpoints import Identity

OURS, THEIRS = "policy", "against"  # the names of the two sides, a and b of a comparison

Loaded = tuple[PreTrainedModel, PreTrainedTokenizerBase]


class Models(NamedTuple):
    """What a contest loads. against: None for the data's chosen completions; reward: None for another judge."""

    policy: Loaded
    against: Loaded | None
    reward: Loaded | None

    def reward_judge(self) -> Judge:
        return reward_model_judge(*self.reward)


def load_models(policy: str, against: str | None, reward_model: str | None) -> Models:
    """Refused, with its name, for what cannot be loaded."""
    ours = load(policy)
    theirs = None if against is None else load(against)
    if reward_model is None:
        return Models(ours, theirs, None)
    with entering("the reward model", reward_model):
        return Models(ours, theirs, load_reward_model(reward_model, join()))


class Contest:
    """Completions of the same prompts, two by two, and what a judge says of them.

    The prompts are the first of those given that leave room in every model's context, at most ``most``.
    """

    def __init__(
        self, models: Models, settings: Settings, given: Sequence[Preference], most: int, date: datetime.date
    ):
        self._models, self._settings, self._date = models, settings, date
        asked = self._with_room(given, most)
        self._prompts = [text_of(preference.prompt) for preference in asked]
        self._chosen = [text_of(preference.chosen) for preference in asked]
        sides = []
        for name, loaded in ((OURS, models.policy), (THEIRS, models.against)):
            if loaded is not None:
                sides.append(Side(name, *loaded, prompts_alone(asked, loaded[1], date)))
        self._sides = sides
        self._draw = plan_draw(self._prompts, sides, settings.temperatures, settings.max_new_tokens, settings.seed)

    def identity(self, by: JudgeOptions) -> Identity:
        """What decides the result: settings, prompts, models, judge."""
        against = self._models.against
        rows = [self._prompts, self._sides[0].ids] + ([self._chosen] if against is None else [])
        return identity_of(
            "judge",
            self._settings,
            *self._models.policy,
            list(zip(*rows, strict=True)),
            self._date,
            against="the chosen completions" if against is None else _digests(against),
            judge=by.about() if self._models.reward is None else _digests(self._models.reward),
        )

    def draw(self, path: Path) -> None:
        """All completions into the file, or what it lacks of them."""
        drawing = draw_into(path, self._draw)
        held = next(drawing)
        with tqdm(total=len(self._draw.wanted), initial=held, unit="completion", desc="drawn") as bar:
            for now in drawing:
                bar.update(now - held)
                held = now
        self._completions = drawn_from(path, self._draw)

    def judged(self, judge: Judge) -> dict[float, HeadToHead]:
        """By temperature, from both orders. Refused for one at which the judge decided nothing."""
        comparisons = []
        for temperature in self._settings.temperatures:
            theirs = self._completions.get((temperature, THEIRS), self._chosen)
            texts = zip(self._prompts, self._completions[temperature, OURS], theirs, strict=True)
            comparisons += [Comparison(*each) for each in texts]
        both = _ask(judge, comparisons)
        results = {}
        for place, temperature in enumerate(self._settings.temperatures):
            rows = slice(place * len(self._prompts), (place + 1) * len(self._prompts))
            with entering("the verdicts at temperature", f"{temperature:g}", ValueError):
                results[temperature] = head_to_head(comparisons[rows], both[rows])
        return results

    def _with_room(self, given: Sequence[Preference], most: int) -> list[Preference]:
        """Those taken; a warning counts those passed over, and Refused if none is left."""
        new_tokens = self._settings.max_new_tokens
        taken, too_long = [], 0
        for preference in given:
            if self._fits(preference, new_tokens):
                taken.append(preference)
            else:
                too_long += 1
            if len(taken) == most:
                break
        if not taken:
            raise Refused(f"no prompt leaves room for --max-new-tokens {new_tokens} in every model's context")
        if too_long:
            warnings.warn(
                f"passed over {too_long} prompts that leave no room for --max-new-tokens {new_tokens} in every "
                "model's context",
                stacklevel=2,
            )
        return taken

    def _fits(self, preference: Preference, new_tokens: int) -> bool:
        for model, tokenizer in filter(None, self._models):
            (ids,) = prompts_alone([preference], tokenizer, self._date)
            context = context_of(model)
            if context is not None and len(ids) + new_tokens > context:
                return False
        return True


def _ask(judge: Judge, comparisons: Sequence[Comparison]) -> list[BothOrders]:
    """All at once: an endpoint's limits are for all temperatures together."""
    if not isinstance(judge, EndpointJudge):
        return in_both_orders(judge, comparisons)
    with tqdm(total=0, unit="answer", desc=judge.endpoint.model) as bar:

        def show(answered: int, questions: int) -> None:
            bar.total = questions
            bar.update(answered - bar.n)

        return in_both_orders(replace(judge, progress=show), comparisons)


def _digests(loaded: Loaded) -> str:
    model, tokenizer = loaded
    return f"{model_digest(model)}; {tokenizer_digest(tokenizer)}"
