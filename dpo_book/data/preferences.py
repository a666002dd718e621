"""Preference records (prompt, chosen, rejected), and making them from the rows of a file or data set.

The data that DPO learns from: for a prompt x, a response y_w that a judge chose over another, y_l.
"""

import os
import warnings
from dataclasses import dataclass

from dpo_book.data.paper_sets import usable_rows
from dpo_book.data.reading import FORMS, PreferenceError, read_rows, show

Messages = list[dict[str, str]]


@dataclass(frozen=True)
class Preference:
    """One comparison: `chosen` (y_w) was preferred to `rejected` (y_l) as a response to `prompt` (x).

    Each is text or, in the conversational form, a list of {"role", "content"} messages.
    `chosen_probability` is the soft label p*(y_w ≻ y_l | x), in [0, 1]; 1 is the usual hard label.
    """

    prompt: str | Messages
    chosen: str | Messages
    rejected: str | Messages
    chosen_probability: float = 1.0

    def __post_init__(self):
        for column in ("prompt", "chosen", "rejected"):
            if not isinstance(getattr(self, column), str | list):
                raise PreferenceError(f"{column} must be text or messages, not {show(getattr(self, column))}")
        if not 0 <= self.chosen_probability <= 1:  # written so that NaN fails too
            raise PreferenceError(f"chosen_probability must be in [0, 1], not {self.chosen_probability}")


def load_preferences(
    path_or_name: str | os.PathLike, split: str = "train", source: str | os.PathLike | None = None
) -> list[Preference]:
    """Read preferences from a file, a local folder, or the Hugging Face hub (`owner/name`).

    "hh" and "tldr" are the paper's data sets in their own forms (see `paper_sets.py`), from the hub or from
    `source`, a file or folder in that form; rows of theirs that are no comparison are left out and warned of.

    A file is .jsonl, .json (an array, or JSON lines), .csv or .parquet, and is all one split, "train". A
    folder holds such files, named as on the hub (train.jsonl, test.jsonl), or is what `save_to_disk` wrote.

    Columns: `chosen`, `rejected`; `prompt`, without which the prompt is what both begin with (see
    `split_prompt`); `chosen_probability` if there are soft labels. Others are ignored, and so is a plain
    `prompt` beside conversations, which hold it already (TRL does the same). An empty prompt must be
    written out; an empty completion is an error. Pairs whose completions are the same carry no
    information (their margin is always 0): they are dropped, and one warning counts them.

    Raises `FileNotFoundError` for a missing file and `PreferenceError` for all else. Rows count from 1,
    without the header; JSON lines are named by their line in the file.
    """
    if path_or_name in ("hh", "tldr"):
        rows = usable_rows(path_or_name, split, source)
    elif path_or_name == "imdb":
        raise PreferenceError(
            "'imdb' is reviews without comparisons: dpo_book.worlds.imdb.sentiment_pairs makes some"
        )
    elif source is None:
        rows = read_rows(path_or_name, split)
    else:
        raise PreferenceError(f"source is for 'hh' and 'tldr', not for {str(path_or_name)!r}")
    preferences, same, forms = [], [], {}
    for where, row in rows:
        try:
            preference = _preference(row)
        except PreferenceError as error:
            raise PreferenceError(f"{where}: {error}") from None
        if preference is None:
            same.append(where)
        else:
            preferences.append(preference)
        shape = "text" if isinstance(row["chosen"], str) else "messages"
        forms.setdefault(f"{shape} with{'' if 'prompt' in row else 'out'} a prompt column", where)
        if len(forms) > 1:
            (first, at), (other, where) = forms.items()
            raise PreferenceError(f"{where}: is {other}, but {at} is {first}: keep to one form")
    if not forms:
        raise PreferenceError(f"{path_or_name}: no rows; {FORMS}")
    if not preferences:
        raise PreferenceError(f"{path_or_name}: chosen and rejected are the same in every row")
    if same:
        rows = "; ".join(same[:3]) + ("; ..." if len(same) > 3 else "")
        message = f"dropped {len(same)} pairs whose chosen and rejected are the same: {rows}"
        warnings.warn(message, stacklevel=2)
    return preferences


def common_prefix_length(a, b) -> int:
    """How many leading items two strings, or two lists, share; by bisection, for slices compare fast."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def split_prompt(chosen: str | Messages, rejected: str | Messages) -> tuple:
    """Take the prompt off two different completions that both begin with it: (prompt, chosen, rejected).

    Messages: the prompt is the leading messages they share, and each keeps at least its last. Text: the
    prompt ends where a word ends in both, before a space (GPT-2's tokens carry the space in front of a
    word) or after a line break. TRL's `extract_prompt` cuts text at the first character that differs,
    so "is blue" / "is black" leaves "ue" / "ack". Both put a word that the two answers begin with in the
    prompt; where that matters, give a `prompt` column.
    Raises `PreferenceError` where the two share no message, or no whole word.
    """
    end = common_prefix_length(chosen, rejected)
    if isinstance(chosen, str):
        # A word goes on past `end` unless white space follows in both, or stands before.
        if not (chosen[end : end + 1].isspace() and rejected[end : end + 1].isspace()):
            while end and not chosen[end - 1].isspace():
                end -= 1
        end -= chosen[:end].endswith(" ")
    else:
        end = min(end, len(chosen) - 1, len(rejected) - 1)
    if end == 0:
        raise PreferenceError(
            "no column 'prompt', and chosen and rejected do not begin with the same word or message: put the "
            "prompt in front of both, or add a column 'prompt' (empty text is fine)"
        )
    return chosen[:end], chosen[end:], rejected[end:]


def _preference(row: dict) -> Preference | None:
    """The record of a row, checked; None where chosen and rejected are the same."""
    if not isinstance(row, dict):
        raise PreferenceError(f"is {show(row)}, not an object; {FORMS}")
    for column in ("chosen", "rejected"):
        if column not in row:
            raise PreferenceError(f"no column {column!r}; columns: {', '.join(map(repr, row))}; {FORMS}")
    prompt = _content(row, "prompt") if "prompt" in row else None
    chosen, rejected = _content(row, "chosen"), _content(row, "rejected")
    if type(chosen) is not type(rejected) or (isinstance(prompt, list) and isinstance(chosen, str)):
        raise PreferenceError("mixes text and messages: make prompt, chosen and rejected alike")
    label = row.get("chosen_probability", 1.0)
    try:
        probability = float(label)  # a CSV has only text
    except (TypeError, ValueError):
        raise PreferenceError(f"chosen_probability must be in [0, 1], not {show(label)}") from None
    if chosen == rejected:
        return None
    if type(prompt) is not type(chosen):
        prompt, chosen, rejected = split_prompt(chosen, rejected)
    return Preference(prompt, chosen, rejected, probability)


def _content(row: dict, column: str) -> str | Messages:
    """The text of a column, or its messages with only their role and content."""
    value, texts = row[column], [row[column]]
    if isinstance(value, list):
        for message in value:
            match message:
                case {"role": str(), "content": str()}:
                    continue
            right = '{"role": text, "content": text}'
            raise PreferenceError(f"column {column!r}: a message must be {right}, not {show(message)}")
        value = [{"role": message["role"], "content": message["content"]} for message in value]
        texts = [message["content"] for message in value]
    elif not isinstance(value, str):
        raise PreferenceError(f"column {column!r} must be text or a list of messages, not {show(value)}")
    if value == [] or (column != "prompt" and not any(text.strip() for text in texts)):
        raise PreferenceError(f"column {column!r} is empty ({show(value)}): it needs at least one word")
    return value
