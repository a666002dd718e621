"""Options that several commands have. Light, as help is made of them: nothing here imports torch."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from dpo_book.maths.require import require_count


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Preferences to read."""

    data: str
    """preferences: a file (.jsonl, .json, .csv, .parquet), a folder, owner/name of the hub, hh, tldr or imdb"""
    split: str = "train"
    """which part of a folder or data set"""
    source: str | None = None
    """a local copy of hh, tldr or imdb"""
    max_length: int | None = None
    """most tokens of prompt and completion, by default the policy's context; longer completions are cut"""
    drop_long: bool = False
    """leave out prompts that fill max-length alone, instead of stopping at the first"""
    judge: str | None = None
    """imdb only: who compares, a sentiment model's hub id or folder, or vader; by default the paper's, else vader"""
    prompts: int = 1000
    """imdb only: of how many reviews the first words are completed, by four samples that make six pairs"""

    def __post_init__(self) -> None:
        if self.max_length is not None:
            require_count("max_length", self.max_length)
        require_count("prompts", self.prompts)


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """Where a run lives, and what it keeps."""

    out: Path
    """folder of the run: metrics.jsonl, figures, a checkpoint, and at last model/. The same command goes on there"""
    checkpoint_every: int = 100
    """steps between checkpoints"""
    tensorboard: bool = False
    """also write the metrics to OUT/tensorboard (needs the package's extra of that name)"""

    def __post_init__(self) -> None:
        require_count("checkpoint_every", self.checkpoint_every)
        if self.tensorboard:
            require_extra("tensorboard", "tensorboard", "--tensorboard")


def require_lora(rank: int | None) -> None:
    """ValueError unless an adapter of this rank, or none, can be trained here."""
    if rank is not None:
        require_count("lora_rank", rank)
        require_extra("peft", "lora", "--lora-rank")


def require_extra(package: str, extra: str, option: str) -> None:
    """ValueError, before anything is read or written, where the package that an option needs is not installed."""
    if find_spec(package) is None:
        raise ValueError(f'{option} needs an extra package: pip install "dpo-book[{extra}]"')
