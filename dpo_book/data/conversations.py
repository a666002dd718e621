"""A conversation as one text, as the tokenizer's chat template writes it: a prompt, and a prompt with its answer."""

import datetime
import inspect
import re
from functools import lru_cache

import jinja2
from transformers import PreTrainedTokenizerBase

from dpo_book.data.messages import as_lines
from dpo_book.data.preferences import Messages, Preference

# What a message may say besides its role and content. transformers hands reasoning to a template under all its names.
REASONING = ("reasoning_content", "thinking", "reasoning")
MEANINGFUL = ("tool_calls", "function_call", *REASONING)

# What chat_template_kwargs must not set: how a conversation is written is decided here.
OURS = set(inspect.signature(PreTrainedTokenizerBase.apply_chat_template).parameters) - {"kwargs"}


class ConversationError(ValueError):
    """A conversation cannot be written down by this chat template without loss; the message says why."""


def render(
    preference: Preference, tokenizer: PreTrainedTokenizerBase, date: datetime.date | None = None
) -> tuple[str, str, str]:
    """The texts of the prompt, of prompt and chosen, and of prompt and rejected.

    The prompt ends where the assistant has the word: with the template's generation prompt or, if its last message is
    the assistant's own, in the middle of that message, which the completion then goes on with. Without a template
    every message is a line "role: content".

    date: what a template that asks for today's date is told; by default today. Raises ConversationError where the
    template fails, or does not render what the row says: tools, calls, reasoning, chat_template_kwargs.
    """
    if not (preference.prompt and preference.chosen and preference.rejected):
        raise ConversationError("a conversation needs at least one message in prompt, chosen and rejected")
    source = _template(preference, tokenizer)
    _check_rendered(preference, source)
    if source is not None and date is not None:
        source = _dated(source, date)
    prompt = preference.prompt
    continues = prompt[-1]["role"] == "assistant" and bool(prompt[-1].get("content"))
    opened = _written(preference, prompt, tokenizer, source, "continue" if continues else "open")
    whole = []
    for answer in (preference.chosen, preference.rejected):
        messages = _continued(prompt, answer) if continues else [*prompt, *answer]
        whole.append(_written(preference, messages, tokenizer, source, "closed"))
        _check_kept(prompt, answer, whole[-1])
    if whole[0] == whole[1]:
        raise ConversationError("chosen and rejected differ, but the chat template writes them alike")
    return opened, *whole


def end_mark(text: str, answer: str | None, tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The id of the token with which a template ended the last turn of ``text``; None if it ended it with none.

    answer: the content of that turn, in which a token does not count as its end.
    """
    text, content = text.rstrip(), (answer or "").strip()
    mark, written = None, ""
    for token_id, token in tokenizer.added_tokens_decoder.items():
        if len(token.content) > len(written) and text.endswith(token.content):
            mark, written = token_id, token.content
    before = text.removesuffix(written).rstrip()
    if content.endswith(written) and text.endswith(content) and not before.endswith(content):
        return None  # the answer's own last word
    return mark


def ends_of_answers(tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """The tokens after which nothing more is said: EOS, and the mark that the chat template puts behind an answer."""
    ends = set() if tokenizer.eos_token_id is None else {tokenizer.eos_token_id}
    if tokenizer.chat_template is not None:
        example = [{"role": "user", "content": "a question"}, {"role": "assistant", "content": "an answer"}]
        try:
            text = tokenizer.apply_chat_template(example, tokenize=False)
        except Exception:  # a template may refuse any conversation, in its own words; one without an end has no mark
            return ends
        mark = end_mark(text, "an answer", tokenizer)
        if mark is not None:
            ends.add(mark)
    return ends


def _template(preference: Preference, tokenizer: PreTrainedTokenizerBase) -> str | None:
    """The tokenizer's template; of several the one for tools, where the row has any."""
    if tokenizer.chat_template is None:
        return None
    try:
        return tokenizer.get_chat_template(tools=preference.tools)
    except ValueError as error:
        raise ConversationError(f"the tokenizer has no chat template for this row: {error}") from error


def _check_rendered(preference: Preference, source: str | None) -> None:
    """ConversationError if the row says what the template, by its source, knows nothing of."""
    variables, fields = _words_of(source or "")
    named = dict.fromkeys(preference.chat_template_kwargs or {})
    if settings := OURS.intersection(named):
        raise ConversationError(
            f"chat_template_kwargs cannot set {', '.join(sorted(settings))}: the book decides that"
        )
    if preference.tools:
        named["tools"] = None
    for message in (*preference.prompt, *preference.chosen, *preference.rejected):
        for key in MEANINGFUL:
            if message.get(key):
                named[key] = None
    for name in named:
        readable = set(REASONING) if name in REASONING else {name}
        known = fields if name in MEANINGFUL else variables
        if known.isdisjoint(readable):
            ignores = "there is no chat template to render" if source is None else "the chat template does not render"
            raise ConversationError(f"{ignores} {name!r}: take it out of the row, or use a template that renders it")


@lru_cache
def _words_of(source: str) -> tuple[frozenset[str], frozenset[str]]:
    """The variables that a template reads; and the fields, which are the names behind a dot and all its texts."""
    variables, fields, before = set(), set(), ""
    try:
        for _, kind, written in jinja2.Environment().lex(source):
            if kind == "name":
                (fields if before == "." else variables).add(written)
            elif kind == "string":
                fields.add(written[1:-1])
            if kind != "whitespace":
                before = written
    except jinja2.TemplateSyntaxError:
        pass  # rendering says what is wrong
    return frozenset(variables), frozenset(fields)


def _check_kept(prompt: Messages, answer: Messages, text: str) -> None:
    """ConversationError if a message's content is not whole in the text; a template may space it out otherwise.

    Of the assistant's earlier turns a template may leave out the thoughts, and what a tool said it may quote.
    """
    for message in (*prompt, *answer):
        content = message.get("content") or ""
        if message in prompt and message["role"] == "assistant":
            content = content.rpartition("</think>")[2]
        if message["role"] in ("tool", "function") or content.strip() in text:
            continue
        if "".join(content.split()) not in "".join(text.split()):
            whose = "the answer" if message in answer else f"the {message['role']}'s message"
            raise ConversationError(f"the chat template leaves out the content of {whose}, or a part of it")


def _written(
    preference: Preference, messages: Messages, tokenizer: PreTrainedTokenizerBase, source: str | None, end: str
) -> str:
    """The messages as a text that is ``end`` "closed", "open" for the assistant's answer, or to be "continue"d."""
    if source is None:
        return as_lines(messages, end)
    try:
        return tokenizer.apply_chat_template(
            messages,
            tools=preference.tools,
            chat_template=source,
            tokenize=False,
            add_generation_prompt=end == "open",
            continue_final_message=end == "continue",
            **(preference.chat_template_kwargs or {}),
        )
    except Exception as error:  # a template is a program of the user's; whatever it raises is about this row
        raise ConversationError(f"the chat template fails: {type(error).__name__}: {error}") from error


def _continued(prompt: Messages, answer: Messages) -> Messages:
    """The prompt's last message with the first of the answer's written on, and the others behind it."""
    first, *others = answer
    if first["role"] != "assistant":
        return [*prompt, *answer]
    content = prompt[-1]["content"] + (first.get("content") or "")
    return [*prompt[:-1], {**prompt[-1], **first, "content": content}, *others]


def _dated(source: str, date: datetime.date) -> str:
    """The template with ``date`` written where it asks for today's."""

    def written(call: re.Match) -> str:
        return repr(date.strftime(call["format"]))

    return re.sub(
        r"""strftime_now\s*\(\s*(?:format\s*=\s*)?(?P<quote>['"])(?P<format>.*?)(?P=quote)\s*\)""", written, source
    )
