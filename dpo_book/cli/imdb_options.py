"""The options of ``frontier imdb``. Light: nothing here imports torch."""

from dataclasses import asdict, dataclass, replace
from typing import Literal, Self, TypeVar

from dpo_book.cli.options import NameOrNone, refuse_given
from dpo_book.maths.require import SettingError, require_beta, require_count, require_positive

T = TypeVar("T", int, float)
SizeName = Literal["full", "small"]
PROMPTS = {"full": 25_000, "small": 500}  # the paper's (appendix C.1), and few enough for two cores
USUAL = {  # where nobody says otherwise
    "full": {"batch_size": 64, "max_new_tokens": 48, "eval_prompts": 1024, "sft_length": 256},
    "small": {"batch_size": 32, "max_new_tokens": 32, "eval_prompts": 256, "sft_length": 64},
}
ALWAYS = {
    "split": "train",
    "judge": "siebert/sentiment-roberta-large-english",  # the paper's, see ``worlds/imdb.py``
    "labels": "sure",
    "completions": 4,
    "measurements": 6,
    "sft_epochs": 1,
}
# The least that each may be. PPO compares the rollouts of a batch; an interval needs two samples.
LEAST = {
    "prompts": 1,
    "completions": 2,
    "max_new_tokens": 1,
    "eval_prompts": 2,
    "measurements": 2,
    "batch_size": 2,
    "reward_steps": 1,
    "sft_epochs": 0,
    "sft_length": 1,
}


@dataclass(frozen=True, kw_only=True)
class ImdbOptions:
    """The world imdb: the paper's sentiment experiment, on a policy and film reviews of yours."""

    policy: NameOrNone = None
    """what to begin with, such as gpt2-large (the paper's), gpt2, a folder, a .gguf file; or mini, a new small
    GPT-2 with a tokenizer made from the reviews"""
    source: NameOrNone = None
    """a local copy in IMDb's form (text, label), a file or folder; by default the hub's"""
    split: NameOrNone = None
    """the reviews to learn from, by default train"""
    eval_split: NameOrNone = None
    """the reviews whose first words are measured on. By default test of the hub or of a folder that has it, else
    some of the others, which nothing is learned from"""
    configuration: NameOrNone = None
    """which of a data set's configurations, where it has several"""
    judge: NameOrNone = None
    """whose reward is the true one, by default the paper's sentiment model; another one's hub id or folder (its
    log-odds of positive), or vader (twice its compound score), which needs no network"""
    labels: Literal["sure", "hard"] | None = None
    """sure, the higher reward always wins, as in the paper and by default; hard, with the probability of eq. 1"""
    prompts: int | None = None
    """of how many reviews the first 2 to 8 tokens are completed for comparisons; by default the paper's 25000
    (full) or 500 (small), and no more than there are"""
    completions: int | None = None
    """to each prompt; every two are compared. By default the paper's 4, which make six pairs"""
    max_new_tokens: int | None = None
    """where completions are cut, by default 48 (full) or 32 (small)"""
    eval_prompts: int | None = None
    """on how many prompts a policy is measured, by default 1024 (full) or 256 (small)"""
    measurements: int | None = None
    """how often a run is measured, by default 6 times"""
    batch_size: int | None = None
    """pairs, completions or rollouts in a step, by default the paper's 64 (full) or 32 (small)"""
    learning_rate: float | None = None
    """of every method that trains the policy; by default by its size and the method, see dpo --help"""
    reward_steps: int | None = None
    """of the reward model, by default so many that it sees every comparison once"""
    sft_epochs: int | None = None
    """of the reference on the reviews, by default the paper's one; 0 for a policy that imitates them already"""
    sft_length: int | None = None
    """reviews are cut to so many tokens for it, by default 256 (full) or 64 (small)"""
    betas: tuple[float, ...] | None = None
    """of DPO, PPO and PPO-GT, by default 0.05 0.1 1 5, which the paper has for DPO"""
    alphas: tuple[float, ...] | None = None
    """of unlikelihood, by default the paper's 0.05 0.1 0.5 1"""
    best_of: tuple[int, ...] | None = None
    """n of best-of-n, by default 4 16 64"""

    def check_used(self, world: str) -> None:
        """SettingError for an option of another world's frontier, or one whose value cannot be."""
        if world != "imdb":
            refuse_given("is for the world imdb", **asdict(self))
            return
        if self.policy is None:
            raise SettingError(
                "imdb needs --policy: a hub id such as gpt2-large (the paper's), a folder, or mini, which needs no "
                "network"
            )
        for name, least in LEAST.items():
            if getattr(self, name) is not None:
                require_count(name, getattr(self, name), least)
        if self.learning_rate is not None:
            require_positive("learning_rate", self.learning_rate)
        for beta in _once("betas", self.betas):
            require_beta(beta)
        for alpha in _once("alphas", self.alphas):
            require_positive("alphas", alpha)
        for n in _once("best-of", self.best_of):
            require_count("best_of", n)

    def settled(self, size: SizeName) -> Self:
        """With what is usual in place of what was not given. ``prompts`` stays open: there may be fewer reviews."""
        usual = ALWAYS | USUAL[size]
        left = {name: value for name, value in usual.items() if getattr(self, name) is None}
        return replace(self, **left)


def _once(name: str, strengths: tuple[T, ...] | None) -> tuple[T, ...]:
    """The strengths, or none; SettingError for one that is given twice, or for an empty list."""
    if strengths is None:
        return ()
    if not strengths or len(set(strengths)) < len(strengths):
        raise SettingError(f"--{name} needs one value or more, none of them twice; got {list(strengths)}")
    return strengths
