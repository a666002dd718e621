"""The options that say on what a run is measured while it trains, how often, and what follows from it."""

import math
import os.path
from dataclasses import asdict, dataclass
from typing import Literal, NamedTuple

from dpo_book.cli.options import PAPER_SETS, DataOptions, NameOrNone, refuse_given
from dpo_book.maths.require import SettingError, require_count, require_finite, require_seed

Measure = Literal["loss", "accuracy", "margin"]

Method = Literal["sft", "reward", "dpo"]

SHOWN = 4  # completions of an evaluation that are kept to be read
PAIRS, NEW_TOKENS = 512, 48  # where nobody says otherwise
DRAWN: dict[Method, int] = {"sft": SHOWN, "reward": 0, "dpo": 64}  # and completions


class EvalSettings(NamedTuple):
    """What was asked for, with what goes without saying: see ``EvalOptions``. samples: 0 where none are drawn."""

    every: int
    samples: int
    max_new_tokens: int
    seed: int
    best_by: Measure
    patience: int | None


@dataclass(frozen=True, kw_only=True)
class EvalOptions:
    """Held-out data, on which the run is measured before, while and after it trains."""

    eval_data: NameOrNone = None
    """held-out data, in any form of --data, with the same columns where --prompt-from names some. What is measured
    goes to OUT/evaluations.jsonl, the best policy so far to OUT/best; the steps of training are the same with and
    without, and --patience may end them sooner"""
    eval_split: NameOrNone = None
    """which part of it; by default test where it is --data's own, else train"""
    eval_source: NameOrNone = None
    """a local copy of it, where it is hh, tldr or imdb; by default --source, where it is --data's own"""
    eval_pairs: int | None = None
    """at most so many of its pairs, drawn by lot; by default 512"""
    eval_share: float | None = None
    """in place of --eval-data: hold out this share of --data, such as 0.1, by prompt, and do not train on it"""
    eval_every: int | None = None
    """steps between evaluations, by default a tenth of the run; the start and the end are always measured"""
    eval_samples: int | None = None
    """completions of held-out prompts drawn each time, at temperature 1, for dpo's KL to the reference, which then
    stays in memory; by default 64, and 4 for sft, which draws them to be read alone. 0 draws none"""
    eval_max_new_tokens: int | None = None
    """where they are cut, by default at 48"""
    eval_seed: int | None = None
    """of what is held out and drawn, by default 0; the same in every evaluation"""
    best_by: Measure | None = None
    """by which measure OUT/best is the best; by default loss, which is what training minimises. accuracy has the
    margins' signs alone, and more noise; margin may go on growing when the loss rises again"""
    patience: int | None = None
    """end the run after so many evaluations in a row without a better one; by default it goes on to its end"""

    def __post_init__(self) -> None:
        if self.eval_data is not None and self.eval_share is not None:
            raise SettingError("--eval-data and --eval-share are both given: held-out data come from one of them")
        if not self.asked:
            refuse_given("is for a run with --eval-data or --eval-share", **asdict(self))
        if self.eval_data is None:
            where = {"eval_split": self.eval_split, "eval_source": self.eval_source, "eval_pairs": self.eval_pairs}
            refuse_given("is for --eval-data", **where)
        if self.eval_data is not None and self.eval_data not in PAPER_SETS and self.eval_source is not None:
            raise SettingError(
                "--eval-source is a local copy of hh, tldr or imdb: any other file is --eval-data itself"
            )
        self._check_numbers()

    @property
    def asked(self) -> bool:
        """Whether anything is to be measured."""
        return self.eval_data is not None or self.eval_share is not None

    def data_options(self, data: DataOptions) -> DataOptions:
        """Where the held-out data are read, and how, given what ``data`` says of those that are trained on.

        SettingError where they would be the same rows: the same file, or the same split of the same set.
        """
        same = _is_same(self.eval_data, data.data)
        if same and os.path.isfile(self.eval_data) and self.eval_data not in PAPER_SETS:
            raise SettingError(
                f"--eval-data {self.eval_data} is the file that is trained on: take --eval-share, to hold a part out"
            )
        split = self.eval_split or ("test" if same else "train")
        source = self.eval_source or (data.source if same else None)
        if same and split == data.split and _is_same(source or "", data.source or ""):
            raise SettingError(
                f"--eval-data is {self.eval_data}, whose split {split} is trained on: take another by --eval-split, "
                "or --eval-share in place of --eval-data"
            )
        is_imdb, of_paper = self.eval_data == "imdb", self.eval_data in PAPER_SETS
        return DataOptions(
            data=self.eval_data,
            split=split,
            configuration=data.configuration if same else None,
            prompt_from=None if of_paper else data.prompt_from,
            source=source,
            max_length=data.max_length,
            drop_long=data.drop_long,
            judge=data.judge if is_imdb else None,
            prompts=data.prompts if is_imdb else None,
        )

    def check_used(self, method: Method) -> None:
        """SettingError for an option that the method has no use for."""
        if method == "reward":
            refuse_given(
                "is for a policy: a reward model says nothing",
                eval_samples=self.eval_samples,
                eval_max_new_tokens=self.eval_max_new_tokens,
            )
        if method == "sft" and self.best_by in ("accuracy", "margin"):
            raise SettingError(f"--best-by {self.best_by} is for methods that compare: sft has a loss alone")

    def settings(self, method: Method, steps: int) -> EvalSettings:
        """For a run of ``steps`` by this method."""
        samples = DRAWN[method] if self.eval_samples is None else self.eval_samples
        return EvalSettings(
            every=self.eval_every or math.ceil(steps / 10),
            samples=samples,
            max_new_tokens=self.eval_max_new_tokens or NEW_TOKENS,
            seed=self.eval_seed or 0,
            best_by=self.best_by or "loss",
            patience=self.patience,
        )

    def _check_numbers(self) -> None:
        if self.eval_share is not None:
            require_finite("eval_share", self.eval_share)
            if not 0 < self.eval_share < 1:
                raise SettingError(f"eval_share must be between 0 and 1, such as 0.1; got {self.eval_share!r}")
        for name, least in (("eval_pairs", 2), ("eval_every", 1), ("eval_max_new_tokens", 1), ("patience", 1)):
            value = getattr(self, name)
            if value is not None:
                require_count(name, value, least=least)
        if self.eval_samples is not None:
            require_count("eval_samples", self.eval_samples, least=0)
            if self.eval_samples == 1:
                raise SettingError("eval_samples must be 0 or at least 2, for an error of the KL; got 1")
        if self.eval_seed is not None:
            require_seed("eval_seed", self.eval_seed)


def _is_same(one: str, other: str) -> bool:
    """Whether both name one data set: by the same word, or by two paths to one file or folder."""
    if one == other or one in PAPER_SETS or other in PAPER_SETS:
        return one == other
    return os.path.exists(one) and os.path.exists(other) and os.path.samefile(one, other)
