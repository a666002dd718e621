"""The prompts of ``sample``: a file's lines as they were written, and faults named with file and line."""

import pytest

from dpo_book.cli.prompts import read_prompts
from dpo_book.maths.require import SettingError


@pytest.mark.parametrize(
    ("content", "prompts"),
    [
        (b"Three\n\nFour\n", ["Three", "Four"]),
        (b"Three\r\nFour", ["Three", "Four"]),
        (b"\xef\xbb\xbfThree\n", ["Three"]),
        ("a\u2028b\nc\u0085d\x0ce\x0bf\x1cg\u2029h\n".encode(), ["a\u2028b", "c\u0085d\x0ce\x0bf\x1cg\u2029h"]),
        (b"  kept  \n \t\n", ["  kept  "]),
        (b"a\rb\r\n", ["a\rb"]),
    ],
)
def test_a_line_ends_at_a_line_feed_and_nowhere_else(tmp_path, content, prompts):
    file = tmp_path / "prompts.txt"
    file.write_bytes(content)
    assert read_prompts(["One"], file) == ["One", *prompts]


@pytest.mark.parametrize(
    ("content", "place"),
    [(b"fine\nfine\n\xe9t\xe9\n", "line 3: byte 10"), ("fine\n".encode("utf-16"), "line 1: byte 0")],
)
def test_what_is_not_utf_8_is_named_with_its_line(tmp_path, content, place):
    file = tmp_path / "prompts.txt"
    file.write_bytes(content)
    with pytest.raises(SettingError, match=rf"prompts.txt, {place} is not UTF-8"):
        read_prompts([], file)


def test_a_prompt_that_is_no_text_is_named():
    with pytest.raises(SettingError, match=r"prompt 2, .* is not UTF-8"):
        read_prompts(["One", "\udcff"], None)


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xef\xbb\xbf"])
def test_no_prompt_at_all_is_refused(tmp_path, content):
    file = tmp_path / "prompts.txt"
    file.write_bytes(content)
    with pytest.raises(SettingError, match="no prompt was given"):
        read_prompts([], file)
