"""Rows of JSON, one a line or all in one array. What JSON allows and means nothing, or two things, is refused."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from dpo_book.data.rows import PreferenceError, Rows, first_twice, numbered, show


def json_rows(path: Path, text: str) -> Rows:
    """The rows of a text: the elements of the one array that it is, or else the values of its lines."""
    return _array_rows(path, text) if text.lstrip().startswith("[") else _line_rows(path, text)


def _object(pairs: list[tuple]) -> dict:
    """An object of its keys and values. PreferenceError for a key twice, of which readers of JSON take the last, and
    for half of a surrogate pair, which an escape can write and no text in UTF-8, and so no tokenizer, can hold.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        key = first_twice(key for key, _ in pairs)
        raise PreferenceError(f"an object has the key {show(key)} twice: leave one of the two")
    for key, value in pairs:
        if type(value) is str and not value.isascii():
            _check_characters(key, value)
    return found


def _check_characters(key: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = ascii(text[error.start]).strip("'")
        raise PreferenceError(f"{show(key)}: {half} is half a character (a lone surrogate)") from None


DECODER = json.JSONDecoder(object_pairs_hook=_object)
SPACE = re.compile(r"[ \t\r\n]*")


def _line_rows(path: Path, text: str) -> Rows:
    # split("\n"), for splitlines would also cut at U+2028, which JSON allows inside a text
    for number, line in enumerate(text.split("\n"), start=1):
        if not line or line.isspace():
            continue
        where = f"{path}, line {number}"
        try:
            value = DECODER.decode(line)
        except json.JSONDecodeError as error:
            raise PreferenceError(
                f"{where}, column {error.colno}: not JSON: {error.msg}; a row is one line, or all are in one array"
            ) from None
        except (ValueError, RecursionError) as error:
            raise PreferenceError(f"{where}: {_reason(error)}") from None
        yield where, value


def _array_rows(path: Path, text: str) -> Rows:
    try:
        yield from numbered(path, _elements(path, text))
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise PreferenceError(f"{path}, {place}: not JSON: {error.msg}") from None


def _elements(path: Path, text: str) -> Iterator:
    """The values of the array that the text is, one by one, so that a fault is told with its row."""
    position = _after_space(text, text.index("[") + 1)
    number = 0
    closed = text.startswith("]", position)
    while not closed:
        number += 1
        try:
            value, position = DECODER.raw_decode(text, position)
        except json.JSONDecodeError:
            raise
        except (ValueError, RecursionError) as error:
            raise PreferenceError(f"{path}, row {number}: {_reason(error)}") from None
        yield value
        position = _after_space(text, position)
        closed = text.startswith("]", position)
        if not closed:
            if not text.startswith(",", position):
                raise json.JSONDecodeError("Expecting ',' delimiter", text, position)
            position = _after_space(text, position + 1)
    end = _after_space(text, position + 1)
    if end < len(text):
        raise json.JSONDecodeError("Extra data", text, end)


def _after_space(text: str, position: int) -> int:
    return SPACE.match(text, position).end()


def _reason(error: ValueError | RecursionError) -> str:
    """What is wrong with a row that is JSON all the same."""
    if isinstance(error, PreferenceError):
        return str(error)
    if isinstance(error, RecursionError):
        return "is nested too deeply"
    return "has a number of thousands of digits"  # which Python does not read
