"""Rows of preference data from files, folders and the hub, each with the place where it stands.

What the columns mean is `preferences.py`'s business; here they are only read, and faults of form are named.
"""

import contextlib
import csv
import gzip
import io
import json
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pyarrow
from pyarrow import parquet

SUFFIXES = (".jsonl", ".json", ".csv", ".parquet")
FORMS = (
    "a row is {prompt, chosen, rejected}, or {chosen, rejected} that both begin with the prompt; "
    'each is text, or a list of {"role", "content"} messages'
)

Rows = Iterator[tuple[str, dict]]  # (where the row stands, for error messages; the row)


class PreferenceError(ValueError):
    """Preferences that cannot be trained on; the message says where the fault is and what would be right."""


def read_rows(path_or_name: str | os.PathLike, split: str, **hub_options) -> Rows:
    """The rows of a file (.jsonl, .json, .csv, .parquet), of a local folder, or of a hub data set `owner/name`.

    A file may be gzipped (.jsonl.gz). Yields (where, row): where it stands, for error messages, and its columns
    as they were written. `hub_options` go to `datasets.load_dataset`. Raises `FileNotFoundError` for a missing
    file and `PreferenceError` for one that cannot be read.
    """
    path = Path(path_or_name).expanduser()
    if path.is_dir():
        return _folder_rows(path, split)
    if path.exists():
        if split != "train":
            raise PreferenceError(f"{path}: a file is all one split, 'train'; there is no {split!r}")
        return _file_rows(path)
    # A mistyped file name must not be looked up on the hub.
    is_name = isinstance(path_or_name, str) and re.fullmatch(r"\w[\w.-]*/[\w.-]+", path_or_name)
    if not is_name or path.suffix.lower() in (*SUFFIXES, ".gz"):
        raise FileNotFoundError(f"{path}: no such file or folder (a data set on the hub is named owner/name)")
    return _hub_rows(path_or_name, split, **hub_options)


def show(value) -> str:
    """A value for an error message, in at most 60 characters."""
    text = json.dumps(value, default=str)  # null, true, "text": as the file's writer knows them
    return text if len(text) <= 60 else text[:57] + "..."


def _numbered(source, rows) -> Rows:
    return ((f"{source}, row {number}", row) for number, row in enumerate(rows, start=1))


def _file_rows(path: Path) -> Rows:
    gzipped = path.suffix.lower() == ".gz"
    suffix = (path.with_suffix("") if gzipped else path).suffix.lower()
    if suffix not in SUFFIXES:
        raise PreferenceError(f"{path}: files end in {', '.join(SUFFIXES)}, not {suffix or 'nothing'}")
    data = path.read_bytes()
    if gzipped:
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise PreferenceError(f"{path}: not a whole gzip file: {error}") from None
    if not data.strip():
        raise PreferenceError(f"{path}: the file is empty; {FORMS}")
    if suffix == ".parquet":
        try:
            return _numbered(path, parquet.read_table(io.BytesIO(data)).to_pylist())
        except pyarrow.ArrowException as error:
            raise PreferenceError(f"{path}: not a Parquet file: {error}") from None
    try:
        text = data.decode("utf-8-sig")  # some editors and spreadsheets put a byte order mark first
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise PreferenceError(f"{path}, line {line}: byte {error.start} is not UTF-8: save it as UTF-8") from None
    if suffix == ".csv":
        return _csv_rows(path, text)
    return _json_rows(path, text)


def _json_rows(path: Path, text: str) -> Rows:
    array = text.lstrip().startswith("[")
    # split("\n"), for splitlines would also cut at U+2028, which JSON allows inside a text
    for number, part in enumerate([text] if array else text.split("\n"), start=1):
        if not part.strip():
            continue
        try:
            value = json.loads(part)
        except json.JSONDecodeError as error:
            place = f"line {number + error.lineno - 1}, column {error.colno}"
            raise PreferenceError(f"{path}, {place}: not JSON: {error.msg}") from None
        if array:
            yield from _numbered(path, value)
        else:
            yield f"{path}, line {number}", value


def _csv_rows(path: Path, text: str) -> Rows:
    # csv rather than pandas: a cell "NA" or "123" stays text, and a row too long or too short is seen.
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        for where, row in _numbered(path, reader):
            if None in row or None in row.values():
                cells = "more" if None in row else "fewer"
                raise PreferenceError(f"{where}: {cells} cells than the header; quote text that has commas")
            yield where, row
    except csv.Error as error:
        raise PreferenceError(f"{path}, after line {reader.line_num}: not CSV: {error}") from None


def _folder_rows(path: Path, split: str) -> Rows:
    import datasets  # here, and not above, for it takes a second that a plain file need not wait

    try:
        if (path / "state.json").exists() or (path / "dataset_dict.json").exists():
            saved = datasets.load_from_disk(path)
            splits = saved if isinstance(saved, dict) else {"train": saved}
        else:
            # Only which file belongs to which split is asked; our own readers name the faulty line.
            splits = datasets.load_dataset_builder(str(path)).config.data_files
    except Exception as error:
        raise PreferenceError(f"{path}: no files ({', '.join(SUFFIXES)}) to read in it: {error}") from None
    if split not in splits:
        raise PreferenceError(f"{path}: no split {split!r}; there are: {', '.join(map(str, splits))}")
    if isinstance(splits[split], datasets.Dataset):
        return _numbered(path, splits[split].to_list())
    return (row for file in splits[split] for row in _file_rows(Path(file)))


def _hub_rows(name: str, split: str, **options) -> Rows:
    import datasets

    try:
        # One quick question first, for without a network load_dataset alone retries for half a minute.
        # Offline by choice (HF_HUB_OFFLINE=1) it reads what was downloaded before.
        with contextlib.suppress(huggingface_hub.errors.OfflineModeIsEnabled):
            huggingface_hub.HfApi().dataset_info(name, timeout=10)
        return _numbered(name, datasets.load_dataset(name, split=split, **options).to_list())
    except Exception as error:  # of a dozen classes, by version and transport; all mean the same here
        raise PreferenceError(
            f"{name!r} is no local path, and its split {split!r} cannot be had from the Hugging Face hub "
            f"({type(error).__name__}: {error}). Check the name; if it is private or gated, `hf auth login` "
            "or set HF_TOKEN; without a network, pass a local file, or set HF_HUB_OFFLINE=1 to use a copy "
            "downloaded before"
        ) from error
