"""Preference records (prompt, chosen, rejected), and making them from the rows of a file or data set.

The data that DPO learns from: for a prompt x, a response y_w that a judge chose over another, y_l.
"""

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field

from dpo_book.data.columns import (
    SIDES,
    Messages,
    check_columns,
    check_message,
    has_words,
    label_of,
    prompt_of,
    side,
    template_settings_of,
    tools_of,
)
from dpo_book.data.paper_sets import usable_rows
from dpo_book.data.reading import read_rows
from dpo_book.data.rows import FORMS, PreferenceError, show


@dataclass(frozen=True)
class Preference:
    """One comparison: `chosen` (y_w) was preferred to `rejected` (y_l) as a response to `prompt` (x).

    Each is text or, in the conversational form, a list of {"role", "content"} messages, with whatever else
    they say (tool_calls, reasoning_content, ...).
    `chosen_probability` is the soft label p*(y_w ≻ y_l | x), in [0, 1]; 1 is the usual hard label.
    `tools` and `chat_template_kwargs` are for the chat template of a conversation, as in `transformers`.
    `where` the record was read, such as "pairs.jsonl, line 12", is for error messages, and no part of it.
    """

    prompt: str | Messages
    chosen: str | Messages
    rejected: str | Messages
    chosen_probability: float = 1.0
    tools: list | None = None
    chat_template_kwargs: dict | None = None
    where: str = field(default="", compare=False, repr=False)

    def __post_init__(self):
        for column in ("prompt", "chosen", "rejected"):
            if not isinstance(getattr(self, column), str | list):
                raise PreferenceError(f"{column} must be text or messages, not {show(getattr(self, column))}")
        sides = (self.prompt, self.chosen, self.rejected)
        if len({isinstance(side, str) for side in sides}) > 1:
            raise PreferenceError("mixes text and messages: make prompt, chosen and rejected alike")
        if not isinstance(self.prompt, str):
            for column in ("prompt", *SIDES):
                for message in getattr(self, column):
                    check_message(column, message)
        if not (self.tools is None and self.chat_template_kwargs is None):
            self._check_for_template("tools", list)
            self._check_for_template("chat_template_kwargs", dict)
        try:
            is_probability = 0 <= self.chosen_probability <= 1  # written so that NaN fails too
        except TypeError:
            is_probability = False
        if not is_probability:
            raise PreferenceError(f"chosen_probability must be in [0, 1], not {show(self.chosen_probability)}")

    def _check_for_template(self, name: str, kind: type):
        value = getattr(self, name)
        if value is not None and not isinstance(value, kind):
            raise PreferenceError(f"{name} must be a {kind.__name__}, not {show(value)}")
        if value and isinstance(self.prompt, str):
            raise PreferenceError(f"{name} is for conversations: with text there is no chat template to read it")


def load_preferences(
    path_or_name: str | os.PathLike,
    split: str = "train",
    source: str | os.PathLike | None = None,
    *,
    configuration: str | None = None,
    prompt_from: Sequence[str] | None = None,
) -> list[Preference]:
    """Read preferences from a file, a local folder, or the Hugging Face hub (`owner/name`).

    "hh" and "tldr" are the paper's data sets in their own forms (see `paper_sets.py`), from the hub or from
    `source`, a file or folder in that form; rows of theirs that are no comparison are left out and warned of.

    A file is .jsonl, .json (an array, or JSON lines), .csv or .parquet, and is all one split, "train". A
    folder holds such files, named as on the hub (train.jsonl, test.jsonl), or is what `save_to_disk` wrote; one
    that holds other data, which would be left out, is an error. `configuration` names one of a data set's.

    Columns: `chosen`, `rejected`; `prompt`, without which the prompt is what both begin with (see
    `split_prompt`); `chosen_probability` if there are soft labels; for conversations `tools` and
    `chat_template_kwargs`. `prompt_from` names columns that make the prompt instead: their texts that are not
    empty, a blank line between them and, as after a `prompt`, nothing between them and the completion.
    Others are ignored, but for those that say something: `system`, `history`, pictures, one of the names above
    misspelt, and without a `prompt` or `prompt_from` every column of text or lists, unless it is named as an id,
    a source, a score or the like (`columns.ABOUT`): they are an error. So is a `prompt` of text beside
    conversations, unless they begin with a user's message that says the same (TRL refuses even that).
    A prompt of messages with which both conversations begin is taken off them; of text that both say again
    one warning tells. An empty prompt must be written out; an empty completion is an error. Pairs whose
    completions are the same carry no information (their margin is always 0): they are dropped, and one
    warning counts them.

    Raises `FileNotFoundError` for a missing file and `PreferenceError` for all else. Rows count from 1,
    without the header; JSON lines are named by their line in the file.
    """
    if prompt_from is not None:
        _check_names(prompt_from)
    if path_or_name in ("hh", "tldr"):
        if prompt_from is not None:
            raise PreferenceError(f"prompt_from is for rows of other columns: {path_or_name!r} has a form of its own")
        rows = usable_rows(path_or_name, split, source, configuration)
    elif path_or_name == "imdb":
        raise PreferenceError(
            "'imdb' is reviews without comparisons: dpo_book.worlds.imdb.sentiment_pairs makes some"
        )
    elif source is None:
        rows = read_rows(path_or_name, split, configuration)
    else:
        raise PreferenceError(f"source is for 'hh' and 'tldr', not for {str(path_or_name)!r}")
    preferences, same, repeated, forms = [], [], [], {}
    for where, row in rows:
        try:
            preference = preference_of(where, row, prompt_from)
        except PreferenceError as error:
            raise PreferenceError(f"{where}: {error}") from None
        except RecursionError:
            raise PreferenceError(f"{where}: is nested too deeply") from None
        if preference is None:
            same.append(where)
        else:
            preferences.append(preference)
            if _repeats_prompt(preference):
                repeated.append(where)
        forms.setdefault((type(row["chosen"]), "prompt" in row or prompt_from is not None), where)
        if len(forms) > 1:
            (first, at), (other, where) = forms.items()
            raise PreferenceError(f"{where}: is {_form(*other)}, but {at} is {_form(*first)}: keep to one form")
    if not forms:
        raise PreferenceError(f"{path_or_name}: no rows; {FORMS}")
    if not preferences:
        raise PreferenceError(f"{path_or_name}: chosen and rejected are the same in every row")
    _report(same, "dropped {} pairs whose chosen and rejected are the same")
    _report(repeated, "in {} rows chosen and rejected both begin with the prompt, which is then read twice")
    return preferences


def _report(rows: list[str], what: str) -> None:
    if rows:
        named = "; ".join(rows[:3]) + ("; ..." if len(rows) > 3 else "")
        warnings.warn(f"{what.format(len(rows))}: {named}", stacklevel=3)


def _repeats_prompt(preference: Preference) -> bool:
    """Whether both texts say the whole prompt again, of two words or more, which an answer seldom does."""
    prompt = preference.prompt
    if not isinstance(prompt, str) or len(prompt.split()) < 2:
        return False
    return preference.chosen.startswith(prompt) and preference.rejected.startswith(prompt)


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


def split_prompt(chosen: str | Messages, rejected: str | Messages, sides: tuple[str, str] = SIDES) -> tuple:
    """Take the prompt off two different completions that both begin with it: (prompt, chosen, rejected).

    Messages: the prompt is the leading messages they share, and each keeps at least its last. Text: the
    prompt ends where a word ends in both, before a space (GPT-2's tokens carry the space in front of a
    word) or after a line break. TRL's `extract_prompt` cuts text at the first character that differs,
    so "is blue" / "is black" leaves "ue" / "ack". Both put a word that the two answers begin with in the
    prompt; where that matters, give a `prompt` column.
    Raises `PreferenceError` where the two share no message, or no whole word; it calls them by `sides`.
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
            f"no column 'prompt', and {' and '.join(sides)} do not begin with the same word or message: put the "
            "prompt in front of both, or add a column 'prompt' (empty text is fine)"
        )
    return chosen[:end], chosen[end:], rejected[end:]


def preference_of(
    where: str, row: dict, prompt_from: Sequence[str] | None = None, sides: tuple[str, str] = SIDES
) -> Preference | None:
    """The record of a row, checked; None where chosen and rejected are the same.

    sides: the columns that are read as chosen and rejected.
    PreferenceError, which does not name the row, for one that ``load_preferences`` would not read.
    """
    check_columns(row, prompt_from, sides)
    prompt = prompt_of(row, prompt_from)
    chosen, rejected = [side(row, column) for column in sides]
    if type(chosen) is not type(rejected) or (isinstance(prompt, list) and isinstance(chosen, str)):
        raise PreferenceError(f"mixes text and messages: make prompt, {' and '.join(sides)} alike")
    probability, tools, settings = label_of(row), tools_of(row), template_settings_of(row)
    if chosen == rejected:
        return None
    if isinstance(prompt, list):
        chosen, rejected = _without_prompt(prompt, chosen, rejected)
    if type(prompt) is not type(chosen):
        if prompt is not None:
            _check_said(prompt, chosen, rejected)
        prompt, chosen, rejected = split_prompt(chosen, rejected, sides)
        for name, content in zip(sides, (chosen, rejected), strict=True):
            if not has_words(content):
                raise PreferenceError(f"column {name!r} is empty after the prompt, with which both begin")
    return Preference(prompt, chosen, rejected, probability, tools, settings, where)


def _without_prompt(prompt: Messages, chosen: Messages, rejected: Messages) -> tuple[Messages, Messages]:
    """The answers alone, also where both are whole conversations, prompt and all."""
    end = len(prompt)
    if min(len(chosen), len(rejected)) > end and chosen[:end] == rejected[:end] == prompt:
        return chosen[end:], rejected[end:]
    return chosen, rejected


def _form(kind: type, has_prompt: bool) -> str:
    return f"{'text' if kind is str else 'messages'} with{'' if has_prompt else 'out'} a prompt column"


def _check_said(prompt: str, chosen: Messages, rejected: Messages) -> None:
    """PreferenceError unless a prompt of text is what the user says in the messages with which both begin."""
    shared = chosen[: common_prefix_length(chosen, rejected)]
    said = [message.get("content", "").strip() for message in shared if message["role"] == "user"]
    if prompt.strip() not in said:
        raise PreferenceError(
            f"the prompt is text ({show(prompt)}) beside messages, and none of the user's messages with which both "
            "begin: write it as messages, or put it in front of both"
        )


def _check_names(prompt_from: Sequence[str]) -> None:
    names = [] if isinstance(prompt_from, str) else list(prompt_from)
    if not names or not all(isinstance(name, str) for name in names) or set(names) & set(SIDES):
        raise PreferenceError(
            f'prompt_from must name the columns that make the prompt, such as ["instruction", "input"], not '
            f"{show(prompt_from)}"
        )
