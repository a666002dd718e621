"""Conversations as a person reads them."""

import pytest

from dpo_book.data.messages import as_lines, text_of

SAID = [{"role": "user", "content": "why?"}, {"role": "assistant", "content": "so"}]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("as it is", "as it is"),
        (SAID[:1], "why?"),
        (SAID, "user: why?\nassistant: so"),
        ([{"role": "assistant", "content": None, "tool_calls": [{}]}], ""),
        ([], ""),
    ],
)
def test_what_judges_read(content, text):
    assert text_of(content) == text


def test_lines_may_end_where_the_assistant_begins():
    assert as_lines(SAID[:1], end="open") == "user: why?\nassistant:"
