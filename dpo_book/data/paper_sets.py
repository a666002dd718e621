"""The rows of the paper's three data sets, IMDb, TL;DR and Anthropic HH, in the forms in which the hub holds them.

What a row of each means, and where it is. What is no comparison is left out and named; what is not in the data
set's form is an error.
"""

import os
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

from dpo_book.data.reading import read_rows
from dpo_book.data.rows import PreferenceError, Rows, listed, show
from dpo_book.system.hub import first_line


class Unusable(PreferenceError):
    """A row in its data set's form that cannot be used all the same; the message is the reason."""


def hh_comparison(row: dict) -> dict[str, str]:
    """Two whole dialogues of turns "\\n\\nHuman: ..." and "\\n\\nAssistant: ..." as prompt, chosen, rejected.

    The prompt is everything up to and with the last "\\n\\nAssistant:", as in the authors' code; what follows is
    the answer, with its leading space. Both dialogues must have the same prompt.
    """
    prompts, answers = {}, {}
    for column in ("chosen", "rejected"):
        before, turn, answer = _field(row, column, str).rpartition("\n\nAssistant:")
        if not turn:
            raise Unusable(f'the {column} dialogue has no "\\n\\nAssistant:" turn, and so no answer')
        if "\n\nHuman:" in answer:
            raise Unusable(f"the {column} dialogue ends in a Human turn, not in the Assistant's answer")
        if not answer.strip():
            raise Unusable(f"the {column} answer, what follows the last Assistant turn's mark, is empty")
        prompts[column], answers[column] = before + turn, answer
    if prompts["chosen"] != prompts["rejected"]:
        raise Unusable("the dialogues differ before their last Assistant turn, where they must have one prompt")
    return {"prompt": prompts["chosen"], **answers}


def tldr_comparison(row: dict) -> dict[str, str]:
    """A Reddit post, two summaries and which was chosen, as prompt, chosen, rejected.

    The prompt is in the form of Stiennon et al., appendix B, and a summary follows it after one space. The
    validation split also has summaries of news articles (CNN/DailyMail), which are no TL;DR.
    """
    info, summaries, choice = _field(row, "info", dict), _field(row, "summaries", list), _field(row, "choice", int)
    if choice not in (0, 1) or len(summaries) != 2:
        raise PreferenceError(f"has {len(summaries)} summaries and choice {choice}")
    texts = [_field(summary, "text", str, of="a summary: ").strip() for summary in summaries]
    if info.get("post") is None and isinstance(info.get("article"), str):
        raise Unusable("the text is a news article (CNN/DailyMail), not a Reddit post")
    subreddit, title, post = (_field(info, key, str, of="info: ").strip() for key in ("subreddit", "title", "post"))
    if not (post and all(texts)):
        raise Unusable("the post or a summary is empty")
    prompt = f"SUBREDDIT: r/{subreddit}\n\nTITLE: {title}\n\nPOST: {post}\n\nTL;DR:"
    return {"prompt": prompt, "chosen": f" {texts[choice]}", "rejected": f" {texts[1 - choice]}"}


def imdb_review(row: dict) -> str:
    """The review without its "<br />" marks, white space made single. Its label is not used."""
    review = " ".join(_field(row, "text", str).replace("<br />", " ").split())
    if len(review.split()) < 2:
        raise Unusable("the text has fewer than two words, too few to begin a review with")
    return review


def _field(row: dict, key: str, kind: type, of: str = ""):
    if not isinstance(row, dict):
        raise PreferenceError(f"{of}is {show(row)}, not an object")
    if key not in row:
        raise PreferenceError(f"{of}no {key!r}; there are: {listed(row)}")
    if type(row[key]) is not kind:  # an instance would do, but True is one of int
        words = {str: "text", int: "a whole number", list: "a list", dict: "an object"}
        raise PreferenceError(f"{of}{key!r} must be {words[kind]}, not {show(row[key])}")
    return row[key]


class DataSet(NamedTuple):
    """Where a data set's rows are, what they look like, and how one is read."""

    hub_id: str
    form: str
    read: Callable[[dict], Any]
    place: dict[str, str]  # in its repository on the hub


DATA = {
    "hh": DataSet("Anthropic/hh-rlhf", '{"chosen": a dialogue, "rejected": a dialogue}', hh_comparison, {}),
    "tldr": DataSet(
        "openai/summarize_from_feedback",
        '{"info": {"subreddit", "title", "post"}, "summaries": [{"text"}, {"text"}], "choice": 0 or 1}',
        tldr_comparison,
        # Its main branch holds a script, which nobody should run; the hub keeps the rows as Parquet beside it.
        {"data_dir": "comparisons", "revision": "refs/convert/parquet"},
    ),
    "imdb": DataSet("stanfordnlp/imdb", '{"text": a review, "label": 0 or 1}', imdb_review, {}),
}


def usable_rows(
    name: str, split: str = "train", source: str | os.PathLike | None = None, configuration: str | None = None
) -> list[tuple[str, Any]]:
    """The rows of ``DATA[name]``, each with where it stands: {prompt, chosen, rejected}, or an IMDb review.

    source: a file or folder in the data set's own form instead of the hub; configuration: which of several there.
    Data that people made has rows that are no comparison, HH many of them: they are left out and one warning names
    them (twenty a reason; ``unusable_rows`` lists all). PreferenceError where the form is not the data set's, or
    where nothing is left.
    """
    usable, unusable = _sorted_rows(name, split, source, configuration)
    if unusable:
        total = len(usable) + sum(map(len, unusable.values()))
        message = f"{name}: left out {total - len(usable)} of {total} rows"
        for reason, places in unusable.items():
            more = f"; and {len(places) - 20} more" if len(places) > 20 else ""
            message += f". Because {reason}: {'; '.join(places[:20])}{more}"
        if not usable:
            raise PreferenceError(message)
        warnings.warn(message, stacklevel=3)  # points at who called load_preferences or imdb_reviews
    return usable


def imdb_reviews(
    source: str | os.PathLike | None = None, split: str = "train", configuration: str | None = None
) -> list[str]:
    """The film reviews, of the hub or of a local copy, which the reference policy learns to imitate."""
    return [review for _, review in usable_rows("imdb", split, source, configuration)]


def unusable_rows(
    name: str, split: str = "train", source: str | os.PathLike | None = None, configuration: str | None = None
) -> dict[str, list[str]]:
    """Where every row stands that ``usable_rows`` leaves out, by the reason."""
    return _sorted_rows(name, split, source, configuration)[1]


def _sorted_rows(
    name: str, split: str, source: str | os.PathLike | None, configuration: str | None
) -> tuple[list[tuple[str, Any]], dict[str, list[str]]]:
    rows = _hub_rows(name, split, configuration) if source is None else read_rows(source, split, configuration)
    usable, unusable = [], {}
    for where, row in rows:
        try:
            usable.append((where, DATA[name].read(row)))
        except Unusable as reason:
            unusable.setdefault(str(reason), []).append(where)
        except PreferenceError as error:
            raise PreferenceError(f"{where}: {error}; a row of {name!r} is {DATA[name].form}") from None
    return usable, unusable


def _hub_rows(name: str, split: str, configuration: str | None) -> Rows:
    try:
        return read_rows(DATA[name].hub_id, split, configuration, **DATA[name].place)
    except PreferenceError as error:
        cause = error.__cause__ or error
        call = "imdb_reviews(source=...)" if name == "imdb" else f'load_preferences("{name}", source=...)'
        raise PreferenceError(
            f"{name!r} is the data set {DATA[name].hub_id}, and its split {split!r} cannot be had from the Hugging "
            f"Face hub ({type(cause).__name__}: {first_line(cause)}). Check the split and the network; without "
            f"one, read a file or folder of it with {call}, or take a built-in world, as dpo_book.worlds.verdicts"
        ) from error
