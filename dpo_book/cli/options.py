"""Options that several commands have. Light, as help is made of them: nothing here imports torch."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

from tyro.constructors import PrimitiveConstructorSpec

from dpo_book.cli.trackers import require_project
from dpo_book.maths.require import SettingError, require_count, require_extra
from dpo_book.system.files import user_path

T = TypeVar("T")

PAPER_SETS = ("hh", "tldr", "imdb")
PROMPTS = 1000  # of imdb, where nobody says otherwise


def local_or_hub(text: str) -> str:
    """A name of the hub as it is, or the path of a file or folder with ~ as the user's home. ValueError if empty."""
    if text.startswith("~"):
        return str(user_path(text))
    if not text.strip():
        raise ValueError("a name is needed, and it is empty")
    return text


def _read_by(read: Callable[[str], T], kind: type[T], metavar: str) -> PrimitiveConstructorSpec[T]:
    """How tyro makes an option's value of its text."""

    def of_texts(texts: list[str]) -> T:
        return read(texts[0])

    def to_texts(value: T) -> list[str]:
        return [str(value)]

    def is_one(value: object) -> bool:
        return value is None or isinstance(value, kind)

    return PrimitiveConstructorSpec(
        nargs=1, metavar=metavar, instance_from_str=of_texts, is_instance=is_one, str_from_instance=to_texts
    )


UserPath = Annotated[Path, _read_by(user_path, Path, "PATH")]
Name = Annotated[str, _read_by(local_or_hub, str, "STR")]
# Each read as one thing: of two, "a path or None", tyro would say at length why an empty text is neither.
UserPathOrNone = Annotated[Path | None, _read_by(user_path, Path, "PATH")]
NameOrNone = Annotated[str | None, _read_by(local_or_hub, str, "STR")]


def refuse_given(why: str, **given: object) -> None:
    """SettingError for the first option that was given, and that nothing would read."""
    for name, value in given.items():
        if value is not None and value is not False:
            raise SettingError(f"--{name.replace('_', '-')} {why}: leave it out")


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """Where preferences are read."""

    data: Name
    """preferences: a file (.jsonl, .json, .csv, .parquet), a folder, owner/name of the hub, hh, tldr or imdb"""
    split: Name = "train"
    """which part of a folder or data set"""
    configuration: NameOrNone = None
    """which of a data set's configurations, where it has several"""
    prompt_from: NameOrNone = None
    """columns whose texts make the prompt, where no column prompt does; such as instruction,input"""
    source: NameOrNone = None
    """a local copy of hh, tldr or imdb"""

    def __post_init__(self) -> None:
        if self.data not in PAPER_SETS and self.source is not None:
            raise SettingError(
                "--source is a local copy of hh, tldr or imdb: any other file or folder is --data itself"
            )
        if self.data in PAPER_SETS:
            refuse_given("is for other data, whose columns nobody knows", prompt_from=self.prompt_from)

    def prompt_columns(self) -> list[str] | None:
        """The columns of ``prompt_from``, one by one."""
        return None if self.prompt_from is None else [name.strip() for name in self.prompt_from.split(",")]


@dataclass(frozen=True, kw_only=True)
class DataOptions(SourceOptions):
    """Preferences to read, and what a method makes of them."""

    max_length: int | None = None
    """most tokens of prompt and completion, by default the models' context; longer completions are cut"""
    drop_long: bool = False
    """leave out prompts that fill max-length alone, instead of stopping at the first"""
    judge: NameOrNone = None
    """imdb only: who compares, a sentiment model's hub id or folder, or vader; by default the paper's, else vader"""
    prompts: int | None = None
    """imdb only: of how many reviews the first words are completed, by four samples that make six pairs; else 1000"""

    def __post_init__(self) -> None:
        if self.max_length is not None:
            require_count("max_length", self.max_length)
        if self.prompts is not None:
            require_count("prompts", self.prompts)
        super().__post_init__()
        if self.data != "imdb":
            refuse_given(
                "is for --data imdb, whose comparisons are made here",
                judge=self.judge,
                prompts=self.prompts,
            )

    def check_used(self, compares: bool) -> None:
        """SettingError for an option that a method would not read. compares: unlike SFT, which imitates."""
        if self.data != "imdb":
            return
        if compares:
            refuse_given(
                "is not for imdb's comparisons, whose prompts and completions are a few words",
                max_length=self.max_length,
                drop_long=self.drop_long,
            )
        else:
            refuse_given(
                "is for methods that compare: sft imitates imdb's reviews, cut to --max-length",
                judge=self.judge,
                prompts=self.prompts,
                drop_long=self.drop_long,
            )


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """Where a run lives, and what it keeps."""

    out: UserPath
    """folder of the run: metrics.jsonl, a checkpoint, and at last model/, figures and report.html. The same command
    goes on there"""
    checkpoint_every: int = 100
    """steps between checkpoints"""
    tensorboard: bool = False
    """also write the metrics to OUT/tensorboard (needs the package's extra of that name)"""
    trackio: str | None = None
    """also write the metrics to this project of Trackio's on this machine, where several runs are looked at side by
    side: trackio show --project NAME (needs the package's extra of that name)"""
    config: UserPathOrNone = None
    """a TOML file that holds any of these options, such as an earlier run's OUT/run.toml; those on the command line
    count more"""

    def __post_init__(self) -> None:
        require_count("checkpoint_every", self.checkpoint_every)
        if self.tensorboard:
            require_extra("tensorboard", "tensorboard", "--tensorboard")
        if self.trackio is not None:
            require_extra("trackio", "trackio", "--trackio")
            require_project(self.trackio)


def require_lora(rank: int | None) -> None:
    """SettingError unless an adapter of this rank, or none, can be trained here."""
    if rank is not None:
        require_count("lora_rank", rank)
        require_extra("peft", "lora", "--lora-rank")
