"""A conversation as a person reads it, without a chat template. Light: nothing here imports torch."""

from dpo_book.data.columns import Messages


def as_lines(messages: Messages, end: str = "closed") -> str:
    """Messages without a template, a line "role: content" each; with ``end`` "open" the assistant's begins."""
    lines = [f"{message['role']}: {message.get('content') or ''}" for message in messages]
    if end == "open":
        lines.append("assistant:")
    return "\n".join(lines)


def text_of(content: str | Messages) -> str:
    """A prompt or completion as judges read it; of a single message, what it says."""
    if isinstance(content, str):
        return content
    if len(content) == 1:
        return content[0].get("content") or ""
    return as_lines(content)
