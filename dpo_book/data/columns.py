"""What the columns of a row mean: texts and messages, their label, and what a chat template is told besides.

A column that says something and would not be read is refused, not dropped.
"""

import json
import re
from collections.abc import Sequence

from dpo_book.data.rows import PreferenceError, forms, listed, show

Message = dict  # "role" and "content", and whatever else a chat template may read: tool_calls, reasoning_content, ...
Messages = list[Message]

SIDES = ("chosen", "rejected")
READ = {"prompt", *SIDES, "chosen_probability", "tools", "chat_template_kwargs"}
UNSEEN = {"image", "images", "image_url", "image_urls", "video", "videos", "audio", "audios"}  # by a model of text
# What would stand before the prompt.
INSTRUCTING = {
    "system",
    "system_prompt",
    "system_message",
    "system_instruction",
    "history",
    "chat_history",
    "context",
}
INSTRUCTING |= {"functions"}

# Columns of text that are about a row, not in it: of these names, or of a name that ends so after "_" or "-".
ABOUT = {"id", "ids", "idx", "index", "uid", "uuid", "hash", "url", "source", "dataset", "subset", "split"}
ABOUT |= {
    "model",
    "policy",
    "annotator",
    "worker",
    "rater",
    "license",
    "language",
    "lang",
    "date",
    "time",
    "timestamp",
}
WRITTEN_OUT = re.compile(r"""\s*(array\()?\s*\[?\s*\{\s*['"](role|content)['"]\s*:""")
ABOUT |= {"category", "domain", "tag", "tags", "score", "scores", "rating", "ratings", "label"}


def check_columns(row: object, prompt_from: Sequence[str] | None, sides: tuple[str, str] = SIDES) -> None:
    """PreferenceError unless a row has the columns that it needs, and none that speaks unheard.

    sides: what the columns of the two completions are called.
    """
    first, second = sides
    read = READ.union(sides)
    if not isinstance(row, dict):
        raise PreferenceError(f"is {show(row)}, not an object; {forms(*sides)}")
    for column in (*sides, *(prompt_from or ())):
        if column not in row:
            asked = ", which prompt_from names" if column in (prompt_from or ()) else ""
            there = f"columns: {listed(row)}{_nearly(row, column)}"
            raise PreferenceError(f"no column {column!r}{asked}; {there}; {forms(*sides)}")
    if twice := sorted(set(sides).intersection(prompt_from or ())):
        raise PreferenceError(f"prompt_from names {listed(twice)}, which is a completion and no part of the prompt")
    if all(_is_written_out(row[column]) for column in sides):
        raise PreferenceError(
            f"{first} and {second} are messages written as text ({show(row[first])}): a CSV holds text only, and "
            "messages need JSON or Parquet"
        )
    if prompt_from is None and read.issuperset(row):
        return
    unread = (row.keys() - read).difference(prompt_from or ())
    if unseen := sorted(name for name in unread if _plain(name) in UNSEEN and row[name]):
        raise PreferenceError(f"has {listed(unseen)}, which a model of text cannot see")
    if misspelt := sorted(name for name in unread if _plain(name) in read):
        raise PreferenceError(f"column {misspelt[0]!r} is not read: write it {_plain(misspelt[0])!r}")
    if prompt_from is not None:  # said by who knows what the others are
        if "prompt" not in prompt_from and _says(row.get("prompt")):
            raise PreferenceError("has a 'prompt' too, which prompt_from does not name: name it, or take it out")
        return
    if "prompt" in row:
        silent = sorted(name for name in unread if _plain(name) in INSTRUCTING and _says(row[name]))
    else:
        silent = sorted(name for name in unread if _says(row[name]) and _last_word(name) not in ABOUT)
    if silent:
        raise PreferenceError(
            f"{listed(silent)} would not be read; columns: {listed(row)}. Say which make the prompt, in their order, "
            "with prompt_from (--prompt-from a,b), write a column 'prompt', or take out what is no part of it"
        )


def side(row: dict, column: str) -> str | Messages:
    """What a completion's column holds, as ``_content`` has it, of one word at least."""
    value = _content(row, column)
    if not has_words(value):
        raise _empty(column, value)
    return value


def _content(row: dict, column: str) -> str | Messages:
    """The text of a column, or its messages without the keys that hold null (as Arrow fills what is absent)."""
    value = row[column]
    if isinstance(value, list):
        value = [_message(column, message) for message in value]
    elif not isinstance(value, str):
        raise PreferenceError(f"column {column!r} must be text or a list of messages, not {show(value)}")
    if value == []:
        raise _empty(column, value)
    return value


def _empty(column: str, value: str | Messages) -> PreferenceError:
    return PreferenceError(f"column {column!r} is empty ({show(value)}): it needs at least one word")


def has_words(content: str | Messages) -> bool:
    """Whether there is anything to say: more than white space, or the call of a tool."""
    if isinstance(content, str):
        return not (content == "" or content.isspace())
    return any(has_words(message.get("content", "")) or message.get("tool_calls") for message in content)


def prompt_of(row: dict, prompt_from: Sequence[str] | None) -> str | Messages | None:
    """The prompt that stands in the row, or is joined of columns; None if it has to be taken off the completions."""
    if prompt_from is None:
        return _content(row, "prompt") if "prompt" in row else None
    if len(prompt_from) == 1 and isinstance(row[prompt_from[0]], list):
        return _content(row, prompt_from[0])
    parts = []
    for column in prompt_from:
        value = row[column]
        if value is not None and not isinstance(value, str):
            raise PreferenceError(f"column {column!r} must be text, to be part of the prompt, not {show(value)}")
        if value and value.strip():
            parts.append(value)
    if not parts:
        raise PreferenceError(f"{listed(prompt_from)}: all empty, so that there is no prompt")
    return "\n\n".join(parts)


def label_of(row: dict) -> float:
    """The probability that chosen is the better one: 1 unless the row says otherwise."""
    label = row.get("chosen_probability", 1.0)
    try:
        if isinstance(label, bool):
            raise TypeError
        probability = float(label)  # a CSV has only text
    except (TypeError, ValueError, OverflowError):
        raise PreferenceError(f"chosen_probability must be in [0, 1], not {show(label)}") from None
    return probability


def tools_of(row: dict) -> list[dict] | None:
    """The tools that the model may call, a list of their descriptions, or JSON text of one; None without any."""
    tools = row.get("tools")
    if tools is None or tools == "":  # as a CSV has an empty cell
        return None
    if isinstance(tools, str):
        try:
            found = json.loads(tools)
        except (ValueError, RecursionError):
            raise PreferenceError(f"column 'tools' is text that is no JSON: {show(tools)}") from None
    else:
        found = without_null(tools)
    if not isinstance(found, list) or not all(isinstance(tool, dict) for tool in found):
        raise PreferenceError(f"column 'tools' must be a list of objects, or JSON text of one, not {show(tools)}")
    return found or None


def template_settings_of(row: dict) -> dict | None:
    """What the chat template is told by its own names, such as enable_thinking; None if that is nothing."""
    settings = row.get("chat_template_kwargs")
    if settings is None or settings == "":  # as a CSV has an empty cell
        return None
    if not isinstance(settings, dict):
        raise PreferenceError(f"column 'chat_template_kwargs' must be an object, not {show(settings)}")
    return without_null(settings) or None


def without_null(value):
    """The value without the keys that hold null, at any depth: Arrow fills in what other rows have, TRL strips it."""
    if isinstance(value, dict):
        return {key: without_null(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [without_null(inner) for inner in value]
    return value


def check_message(column: str, message: object) -> None:
    """PreferenceError unless it is a message, of a role and a content or calls."""
    _message(column, message)


def _is_written_out(value: object) -> bool:
    """Whether a text is a message or a list of them, as JSON or Python write it."""
    return isinstance(value, str) and bool(WRITTEN_OUT.match(value))


def _message(column: str, message: object) -> Message:
    if isinstance(message, dict) and isinstance(message.get("role"), str):
        content = message.get("content")
        if isinstance(content, str) or (content is None and message.get("tool_calls")):
            return message if len(message) == 2 else without_null(message)  # most have nothing more, and need no copy
    right = '{"role": text, "content": text}; only beside tool_calls the content may be left out'
    raise PreferenceError(f"column {column!r}: a message must be {right}, not {show(message)}")


def _says(value: object) -> bool:
    """Whether a value is more than nothing or a number, which in a CSV is text too."""
    if isinstance(value, list | dict):
        return bool(value)
    if not isinstance(value, str) or not value.strip():
        return False
    try:
        float(value)
    except ValueError:
        return True
    return False


def _plain(name: str) -> str:
    return str(name).strip().lower().replace("-", "_").replace(" ", "_")


def _last_word(name: str) -> str:
    return _plain(name).rpartition("_")[2]


def _nearly(row: dict, column: str) -> str:
    """Words that say which column was meant, or in which one the rows are, if this is an object around them."""
    for name in row:
        if _plain(name) == column:
            return f" ({name!r} is not read: write it {column!r})"
    for name, value in row.items():
        if isinstance(value, list) and value and isinstance(value[0], dict) and "chosen" in value[0]:
            return f" (the list in {name!r} has rows: write that array alone)"
    return ""
