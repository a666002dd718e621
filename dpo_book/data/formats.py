"""Rows of one file: JSON lines, a JSON array, CSV, or Parquet. Faults of form are named with file and row."""

import codecs
import csv
import gzip
import io
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow
from pyarrow import parquet

from dpo_book.data.json_rows import json_rows
from dpo_book.data.rows import FORMS, PreferenceError, Rows, first_twice, listed, numbered, show
from dpo_book.system.hub import first_line

if TYPE_CHECKING:
    import datasets

SUFFIXES = (".jsonl", ".json", ".csv", ".parquet")
MOST_UNPACKED = 2**30  # bytes that a gzipped file may always have; texts beyond are packed less than a hundredfold

BYTE_ORDER_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


def file_rows(path: Path) -> Rows:
    """The rows of a file in one of the formats of ``SUFFIXES``, gzipped or not, each with where it stands.

    JSON lines are named by their line. The others' rows count from 1, a CSV's without its header and with the line
    where it begins if that is another. Raises PreferenceError naming the file for all that cannot be read.
    """
    gzipped = path.suffix.lower() == ".gz"
    suffix = (path.with_suffix("") if gzipped else path).suffix.lower()
    if suffix not in SUFFIXES:
        raise PreferenceError(f"{path}: files end in {', '.join(SUFFIXES)}, not {suffix or 'nothing'}")
    data = _bytes(path)
    if gzipped:
        data = _unpacked(path, data)
    if suffix == ".parquet" and data:
        return _parquet_rows(path, data)
    text = _text(path, data)
    if not text.strip():
        raise PreferenceError(f"{path}: the file is empty; {FORMS}")
    if suffix == ".csv":
        return _csv_rows(path, text)
    return json_rows(path, text)


def data_set_rows(source, data: "datasets.Dataset") -> Rows:
    """The rows of a data set of the library `datasets`."""
    try:
        data.data.validate(full=True)
    except Exception as error:
        raise PreferenceError(f"{source}: the stored data is damaged: {first_line(error)}") from None

    def values(name: str) -> list:
        return data.select_columns(name).to_dict()[name]

    def kind(name: str) -> str:
        return str(data.features[name])

    return _table_rows(source, data.column_names, values, kind)


def _bytes(path: Path) -> bytes:
    try:
        if not path.is_file():  # a pipe or a device may never end
            raise PreferenceError(f"{path}: is no file, but a pipe or a device")
        return path.read_bytes()
    except OSError as error:
        raise PreferenceError(f"{path}: cannot be read: {error.strerror or error}") from None


def _unpacked(path: Path, data: bytes) -> bytes:
    most = max(MOST_UNPACKED, 100 * len(data))
    try:
        unpacked = gzip.GzipFile(fileobj=io.BytesIO(data)).read(most + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise PreferenceError(f"{path}: not a whole gzip file: {error}") from None
    if len(unpacked) > most:
        raise PreferenceError(
            f"{path}: unpacks to more than a hundred times its size: if it is data, unpack it first"
        )
    return unpacked


def _text(path: Path, data: bytes) -> str:
    for mark, encoding in BYTE_ORDER_MARKS.items():
        if data.startswith(mark):
            raise PreferenceError(f"{path}: line 1 begins with the mark of {encoding}, not UTF-8: save it as UTF-8")
    place = data.find(b"\0")
    try:
        text = data.decode("utf-8-sig")  # some editors and spreadsheets put a byte order mark first
        fault = "is NUL: the file is damaged, or not UTF-8"
    except UnicodeDecodeError as error:
        place = error.start
        fault = "is not UTF-8"
    if place >= 0:
        line = data.count(b"\n", 0, place) + 1
        raise PreferenceError(f"{path}, line {line}: byte {place} {fault}: save it as UTF-8")
    return text


def _csv_rows(path: Path, text: str) -> Rows:
    # csv rather than pandas: a cell "NA" or "123" stays text, and a row too long or too short is seen.
    (_, header), *rows = _csv_cells(path, text)
    for delimiter, name in {";": "semicolons", "\t": "tabs", "|": "bars"}.items():
        if len(header) == 1 and delimiter in header[0]:
            raise PreferenceError(f"{path}: the header's cells are parted by {name}: save it with commas")
    twice = first_twice(header)
    if twice is not None:
        raise PreferenceError(f"{path}: the header has the column {show(twice)} twice: leave one of the two")
    for number, (line, cells) in enumerate(rows, start=1):
        where = f"{path}, row {number}"
        if line != number + 1:
            where += f" (line {line})"
        if len(cells) != len(header):
            more = "more" if len(cells) > len(header) else "fewer"
            raise PreferenceError(f"{where}: {more} cells than the header; quote text that has commas")
        yield where, dict(zip(header, cells, strict=True))


def _csv_cells(path: Path, text: str) -> list[tuple[int, list[str]]]:
    """The line where each row begins, the header's too, and the row's cells. Blank lines are no rows."""
    limit = csv.field_size_limit()
    csv.field_size_limit(max(limit, len(text)))
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows, line = [], 1
    try:
        for cells in reader:
            if cells:
                rows.append((line, cells))
            line = reader.line_num + 1
    except csv.Error as error:
        raise PreferenceError(f"{path}, row at line {line}: not CSV: {error}") from None
    finally:
        csv.field_size_limit(limit)
    return rows


def _parquet_rows(path: Path, data: bytes) -> Rows:
    try:
        table = parquet.ParquetFile(io.BytesIO(data), page_checksum_verification=True).read()
        table.validate(full=True)
        mixed = _mixed(table)
    except Exception as error:  # of a dozen classes, by where the file is damaged
        raise PreferenceError(f"{path}: not a whole Parquet file: {first_line(error)}") from None
    twice = first_twice(table.column_names)
    if twice is not None:
        raise PreferenceError(f"{path}: has the column {show(twice)} twice: {listed(table.column_names)}")
    if mixed is not None:
        return data_set_rows(path, mixed)

    def values(name: str) -> list:
        return table.column(name).to_pylist()

    def kind(name: str) -> str:
        return str(table.schema.field(name).type)

    return _table_rows(path, table.column_names, values, kind)


def _mixed(table: pyarrow.Table) -> "datasets.Dataset | None":
    """A table with columns of several types, such as a call's arguments, which `datasets` writes as texts of JSON."""
    if not any("arrow.json" in str(kind) for kind in table.schema.types):
        return None
    import datasets

    return datasets.Dataset(table)


def _table_rows(source, columns: Iterable[str], values: Callable[[str], list], kind: Callable[[str], str]) -> Rows:
    """The rows of a table that is read by columns. values: of a column; kind: its type, in words.

    What Python has no value for, such as a date in the year 300000, is named by the column's type: where nobody
    reads the column, nothing is lost.
    """
    table = {}
    for name in columns:
        try:
            table[name] = values(name)
        except (ValueError, OverflowError):
            table[name] = None
    count = max((len(column) for column in table.values() if column is not None), default=0)
    for name, column in table.items():
        if column is None:
            table[name] = [UnreadableValue(kind(name))] * count
    rows = (dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True))
    return numbered(source, rows)


class UnreadableValue:
    """Stands for a value that Python cannot hold."""

    def __init__(self, kind: str):
        self._kind = kind

    def __str__(self) -> str:
        return f"a {self._kind} that cannot be read"
