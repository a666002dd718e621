"""Rows of preference data from files, folders and the hub, each with the place where it stands.

What the columns mean is `columns.py`'s business; here they are only found. Nothing is left out without a word.
"""

import contextlib
import os
import re
import stat
from pathlib import Path

import huggingface_hub

from dpo_book.data.formats import SUFFIXES, data_set_rows, file_rows
from dpo_book.data.rows import PreferenceError, Rows, listed, show
from dpo_book.system.files import FileError, user_path
from dpo_book.system.hub import first_line

# What may lie beside data in a folder. Any other file is data to its owner, and has to be read or refused.
DOCUMENTS = {".md", ".txt", ".rst", ".pdf", ".html", ".bib", ".cff", ".py", ".ipynb", ".sh", ".yaml", ".yml", ".toml"}
PICTURES = {".png", ".jpg", ".jpeg", ".svg", ".gif"}
NAMES = {"README", "LICENSE", "LICENCE", "NOTICE", "COPYING", "AUTHORS", "CITATION", "CHANGELOG", "MAKEFILE"}
METADATA = {"config.json", "dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"}


def read_rows(
    path_or_name: str | os.PathLike, split: str = "train", configuration: str | None = None, **hub_options
) -> Rows:
    """The rows of a file (.jsonl, .json, .csv, .parquet), of a local folder, or of a hub data set `owner/name`.

    A file may be gzipped (.jsonl.gz). Yields (where, row): where it stands, for error messages, and its columns
    as they were written. configuration: which one, of a data set that has several. `hub_options` go to
    `datasets.load_dataset`. Raises `FileNotFoundError` for a missing file and `PreferenceError` for one that
    cannot be read, and for a folder with files that belong to no split.
    """
    try:
        path = user_path(os.fspath(path_or_name))
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        mode = None
    except FileError as error:
        raise PreferenceError(str(error)) from None
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL in it
        reason = getattr(error, "strerror", None) or error
        raise PreferenceError(f"{show(str(path_or_name))}: cannot be read: {reason}") from None
    if mode is not None and stat.S_ISDIR(mode):
        return _folder_rows(path, split, configuration)
    if mode is not None:
        if split != "train":
            raise PreferenceError(f"{path}: a file is all one split, 'train'; there is no {split!r}")
        if configuration is not None:
            raise PreferenceError(f"{path}: a file has no configurations; there is no {configuration!r}")
        return file_rows(path)
    # A mistyped file name must not be looked up on the hub.
    is_name = isinstance(path_or_name, str) and re.fullmatch(r"\w[\w.-]*/[\w.-]+", path_or_name)
    if not is_name or path.suffix.lower() in (*SUFFIXES, ".gz"):
        raise FileNotFoundError(f"{path}: no such file or folder (a data set on the hub is named owner/name)")
    return _hub_rows(path_or_name, split, configuration, **hub_options)


def split_names(path: Path, configuration: str | None = None) -> list[str]:
    """The splits of a local file, which is all train, or of a folder. PreferenceError where it cannot be read."""
    if not path.is_dir():
        return ["train"]
    return [str(name) for name in _splits_of(path, configuration)]


# ------------------------------------------------------------------ folders


def _folder_rows(path: Path, split: str, configuration: str | None) -> Rows:
    splits = _splits_of(path, configuration)
    if split not in splits:
        raise PreferenceError(f"{path}: no split {split!r}; there are: {', '.join(map(str, splits))}")
    if isinstance(splits[split], list):
        return (row for file in splits[split] for row in file_rows(Path(file)))
    return data_set_rows(path, splits[split])


def _splits_of(path: Path, configuration: str | None) -> dict:
    """Of each split its files, or the data set that ``save_to_disk`` wrote."""
    try:
        names = os.listdir(path)
    except OSError as error:
        raise PreferenceError(f"{path}: cannot be read: {error.strerror or error}") from None
    if "state.json" not in names and "dataset_dict.json" not in names:
        return _file_splits(path, configuration)
    if configuration is not None:
        raise PreferenceError(f"{path}: what save_to_disk wrote has no configurations; there is no {configuration!r}")
    return _saved_splits(path)


def _saved_splits(path: Path) -> dict:
    """The data set of each split in a folder that `save_to_disk` wrote."""
    import datasets  # here, and not above, for it takes a second that a plain file need not wait

    try:
        saved = datasets.load_from_disk(path)
    except Exception as error:  # of many classes, by what is missing or damaged
        raise PreferenceError(f"{path}: not whole, as save_to_disk wrote it: {first_line(error)}") from None
    written = {os.path.realpath(file) for file in path.rglob("*.arrow")}
    _check_all_read(path, written)
    return saved if isinstance(saved, dict) else {"train": saved}


def _file_splits(path: Path, configuration: str | None) -> dict[str, list[str]]:
    """The files of each split, as `datasets` finds them; our own readers name the faulty line."""
    import datasets

    try:
        names = datasets.get_dataset_config_names(str(path))
        files = {name: datasets.load_dataset_builder(str(path), name).config.data_files for name in names}
    except Exception as error:
        raise PreferenceError(
            f"{path}: no files ({', '.join(SUFFIXES)}) to read in it: {first_line(error)}"
        ) from None
    read = set()
    for splits in files.values():
        for part in splits.values():
            read.update(map(os.path.realpath, part))
    _check_all_read(path, read)
    return files[_one_of(path, names, configuration)]


def _one_of(source, names: list[str], configuration: str | None) -> str:
    """The configuration that is asked for, or the only one."""
    if configuration is None:
        if len(names) > 1:
            raise PreferenceError(f"{source}: has several configurations, name one: {listed(names)}")
        return names[0]
    if configuration not in names:
        raise PreferenceError(f"{source}: no configuration {configuration!r}; there are: {listed(names)}")
    return configuration


def _check_all_read(path: Path, read: set[str]) -> None:
    """PreferenceError if the folder has data that is no part of what is ``read``. Hidden files are not looked at."""
    left = []
    for folder, folders, files in os.walk(path):
        folders[:] = [
            name for name in folders if not name.startswith(".") and name not in ("__pycache__", "__MACOSX")
        ]
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        for name in (*links, *files):
            file = Path(folder) / name
            if not (_beside_data(file) or os.path.realpath(file) in read):
                left.append(str(file.relative_to(path)))
    if left:
        raise PreferenceError(
            f"{path}: would leave out {listed(sorted(left))}: name a single file, keep to one format and to names "
            "as train.jsonl and test.jsonl, or move these elsewhere"
        )


def _beside_data(file: Path) -> bool:
    if file.name.startswith(".") or file.name in METADATA:
        return True
    return file.suffix.lower() in DOCUMENTS | PICTURES or file.name.upper() in NAMES


# ------------------------------------------------------------------ the hub


def _hub_rows(name: str, split: str, configuration: str | None, **options) -> Rows:
    import datasets

    try:
        # One quick question first, for without a network load_dataset alone retries for half a minute.
        # Offline by choice (HF_HUB_OFFLINE=1) it reads what was downloaded before.
        with contextlib.suppress(huggingface_hub.errors.OfflineModeIsEnabled):
            info = huggingface_hub.HfApi().dataset_info(name, timeout=10)
            names = _configurations(info)
            if names and not options:
                _one_of(name, names, configuration)
        if configuration is not None:
            options["name"] = configuration
        data = datasets.load_dataset(name, split=split, **options)
    except PreferenceError:
        raise
    except Exception as error:  # of a dozen classes, by version and transport; all mean the same here
        raise PreferenceError(
            f"{name!r} is no local path, and its split {split!r} cannot be had from the Hugging Face hub "
            f"({type(error).__name__}: {first_line(error)}). Check the name; if it is private or gated, `hf auth "
            "login` or set HF_TOKEN; without a network, pass a local file, or set HF_HUB_OFFLINE=1 to use a copy "
            "downloaded before"
        ) from error
    return data_set_rows(name, data)


def _configurations(info: huggingface_hub.DatasetInfo | None) -> list[str]:
    """The names of a data set's configurations, as its card lists them; none where it has but one, unnamed."""
    card = getattr(info, "card_data", None)
    configurations = card.get("configs") if card else None
    return [entry["config_name"] for entry in configurations or []]
