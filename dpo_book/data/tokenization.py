"""Preferences as token ids: prompt and completion as they are in their one text, parted where the second begins."""

import datetime
import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from transformers import PreTrainedTokenizerBase

from dpo_book.data.conversations import ConversationError, end_mark, render
from dpo_book.data.preferences import Messages, Preference
from dpo_book.data.tokens import UnreadableText, opening_ids, plain_ids, prompt_ids, seam

AT_ONCE = 500  # rows: the tokenizer does several hundred together much faster than one by one

Texts = tuple[str, str, str]  # of a prompt, of it with the chosen completion, of it with the rejected one


class PairError(ValueError):
    """A preference cannot be made into a pair; the message names the row and says what would be right."""


class Tokens(NamedTuple):
    """Ids of a preference's prompt and of both completions, with their ends, uncut.

    where: the row, for messages. grown: the end of the prompt alone is not in the prompt but in the completions.
    """

    where: str
    prompt: list[int]
    chosen: list[int]
    rejected: list[int]
    grown: bool


def tokenized(
    preferences: Sequence[Preference], tokenizer: PreTrainedTokenizerBase, date: datetime.date | None
) -> Iterator[Tokens]:
    """Every preference as ids. PairError for the first row that cannot be; see ``tokenize_pairs``."""
    opening = opening_ids(tokenizer)
    for start in range(0, len(preferences), AT_ONCE):
        places, texts = [], []
        part = preferences[start : start + AT_ONCE]
        for row, preference in enumerate(part, start=start + 1):
            places.append(_place(row, preference))
            texts.append(_texts(places[-1], preference, tokenizer, date))
        try:
            ids = iter(plain_ids(tokenizer, list(itertools.chain.from_iterable(texts))))
        except UnreadableText as error:
            raise PairError(f"{places[error.number // 3]}: {error}") from error
        for where, preference, written in zip(places, part, texts, strict=True):
            before = [] if _by_template(preference.prompt, tokenizer) else opening  # a template writes its own
            alone, *whole = [[*before, *next(ids)] for _ in written]
            yield _parted(where, preference, written, alone, whole, tokenizer)


def prompts_alone(
    preferences: Sequence[Preference], tokenizer: PreTrainedTokenizerBase, date: datetime.date | None
) -> list[list[int]]:
    """The ids of each preference's prompt, whole, for a policy to go on with.

    date: what a template that asks for today's is told, by default today. PairError for the first row that cannot be
    written down; ValueError where a prompt has no token, and the tokenizer no BOS token to stand for it.
    """
    ids = []
    for row, preference in enumerate(preferences, start=1):
        text, *_ = _texts(_place(row, preference), preference, tokenizer, date)
        encode = plain_ids if _by_template(preference.prompt, tokenizer) else prompt_ids
        ids += encode(tokenizer, [text])
    return ids


def _place(row: int, preference: Preference) -> str:
    """Where a preference stands: in its file, if it is from one, else in the list, from 1."""
    if not isinstance(preference, Preference):
        raise TypeError(
            f"row {row} is a {type(preference).__name__} and no Preference: read a file with load_preferences, "
            "or make Preference(prompt, chosen, rejected)"
        )
    return preference.where or f"row {row}"


def _texts(
    where: str, preference: Preference, tokenizer: PreTrainedTokenizerBase, date: datetime.date | None
) -> Texts:
    prompt = preference.prompt
    if isinstance(prompt, str):
        return prompt, prompt + preference.chosen, prompt + preference.rejected
    try:
        return render(preference, tokenizer, date)
    except ConversationError as error:
        raise PairError(f"{where}: {error}") from error


def _by_template(content: str | Messages, tokenizer: PreTrainedTokenizerBase) -> bool:
    return tokenizer.chat_template is not None and not isinstance(content, str)


def _parted(
    where: str,
    preference: Preference,
    texts: Texts,
    alone: list[int],
    whole: list[list[int]],
    tokenizer: PreTrainedTokenizerBase,
) -> Tokens:
    """The ids of the two ``whole`` texts parted into prompt and completion; alone: those of the prompt by itself."""
    end = seam(alone, *whole)
    prompt = alone[:end]
    if not prompt and alone and _by_template(preference.prompt, tokenizer):
        raise PairError(f"{where}: the chat template does not keep the prompt's text in front of the answer")
    if not prompt and tokenizer.bos_token_id is None:
        raise PairError(f"{where}: the prompt has no token, and the tokenizer has no BOS token to stand for it")
    completions = []
    for side, text, ids in zip(("chosen", "rejected"), texts[1:], whole, strict=True):
        if len(ids) == end:
            raise PairError(f"{where}: the {side} completion has no token")
        completions.append(_ended(getattr(preference, side), text, ids[end:], tokenizer))
    # Something has to predict the first token: without a prompt it is BOS.
    return Tokens(where, prompt or [tokenizer.bos_token_id], *completions, grown=end < len(alone))


def _ended(answer: str | Messages, text: str, completion: list[int], tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """A completion up to and with the mark of its end; with EOS if it has none."""
    if _by_template(answer, tokenizer):
        mark = end_mark(text, answer[-1].get("content"), tokenizer)
        if mark in completion:
            # After its mark a template may write a line break, which the model never gets to say.
            return completion[: len(completion) - completion[::-1].index(mark)]
    eos = tokenizer.eos_token_id
    return completion if eos is None or completion[-1] == eos else [*completion, eos]
