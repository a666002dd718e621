"""Texts as token ids, and back: what stands before a text, where a completion begins in it, what it says."""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from dpo_book.data.preferences import common_prefix_length
from dpo_book.data.rows import show


class UnreadableText(ValueError):
    """A tokenizer fails at a text; the message shows it. number: which of those that it was given, from 0."""

    def __init__(self, number: int, text: str, error: Exception):
        super().__init__(f"the tokenizer cannot read {show(text)}: {error}")
        self.number = number


def plain_ids(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """The ids of each text and nothing around them, as for one that a chat template wrote, marks and all."""
    if not texts:
        return []
    try:
        return tokenizer(list(texts), add_special_tokens=False).input_ids
    except Exception:  # of no class of its own, as where a word is not in the vocabulary and there is no <unk>
        for number, text in enumerate(texts):
            try:
                tokenizer(text, add_special_tokens=False)
            except Exception as error:
                raise UnreadableText(number, text, error) from error
        raise


def opening_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """What the tokenizer puts before any text: BOS, or nothing. The EOS that some put behind is no part of it."""
    special = set(tokenizer.all_special_ids)
    for token_id in range(len(tokenizer)):
        if token_id not in special:
            opening = _before(tokenizer, tokenizer.decode([token_id]))
            if opening is not None:
                return opening
    return []


def _before(tokenizer: PreTrainedTokenizerBase, word: str) -> list[int] | None:
    """The ids before those of a word; None for one that has none, as a space may have."""
    try:
        text, around = tokenizer(word, add_special_tokens=False).input_ids, tokenizer(word).input_ids
    except Exception:  # of no class of its own, where a part of a word is in no vocabulary
        return None
    for before in range(len(around)):
        if text and around[before : before + len(text)] == text:
            return around[:before]
    return None


def prompt_ids(tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str]) -> list[list[int]]:
    """The ids of each prompt after the opening, never with an EOS that its text does not have.

    An empty one is the BOS token, for something has to predict the first token; ValueError, naming the prompt from 1,
    where there is none.
    """
    if isinstance(prompts, str):
        raise TypeError(f"prompts must be a list of texts, not one text: [{show(prompts)}]")
    opening, encoded = opening_ids(tokenizer), []
    for number, ids in enumerate(plain_ids(tokenizer, prompts), start=1):
        if not (opening or ids) and tokenizer.bos_token_id is None:
            raise ValueError(f"prompt {number} has no token, and the tokenizer has no BOS token to stand for it")
        encoded.append([*opening, *ids] or [tokenizer.bos_token_id])
    return encoded


def seam(prompt: Sequence[int], *whole: Sequence[int]) -> int:
    """How many tokens of ``whole`` texts, which all go on from one prompt, are the prompt's.

    The completions begin where the ids of the prompt alone and those of the whole texts part, as in TRL. That is at
    the prompt's end, unless a token there has grown into the completion, or the prompt is written differently alone.
    """
    return min(common_prefix_length(prompt, ids) for ids in whole)


def completion_texts(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]]
) -> list[str]:
    """What each completion (ids) adds to the text of its prompt (ids), white space too; special tokens are left out.

    Not what its ids say alone: a tokenizer whose words carry their space takes it off where a text begins.
    """
    before = tokenizer.batch_decode(list(prompts), skip_special_tokens=True)
    rows = [[*x, *y] for x, y in zip(prompts, completions, strict=True)]
    whole = tokenizer.batch_decode(rows, skip_special_tokens=True)
    texts = []
    for prompt, text in zip(before, whole, strict=True):
        texts.append(text[common_prefix_length(prompt, text) :])
    return texts
