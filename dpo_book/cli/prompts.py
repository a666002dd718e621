"""The prompts that a policy is asked to go on with: from the command line and from a file. Light, without torch."""

from collections.abc import Sequence
from pathlib import Path

from dpo_book.maths.require import SettingError


def read_prompts(given: Sequence[str], file: Path | None) -> list[str]:
    """The prompts that were given, then those in the file, one a line. SettingError if there are none, or no text."""
    prompts = [*given, *_lines(file)] if file else list(given)
    if not prompts:
        raise SettingError("no prompt was given: write some in quotes, or name a --file with one a line")
    for number, prompt in enumerate(prompts, start=1):
        try:
            prompt.encode("utf-8")
        except UnicodeEncodeError:
            raise SettingError(f"prompt {number}, {prompt!r}, is not UTF-8") from None
    return prompts


def _lines(file: Path) -> list[str]:
    """The file's lines that are not blank. A line ends at a line feed alone: U+2028 may stand in a prompt."""
    data = file.read_bytes()
    try:
        text = data.decode("utf-8-sig")  # some editors put a byte order mark first
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SettingError(f"{file}, line {line}: byte {error.start} is not UTF-8: save it as UTF-8") from None
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    return [line for line in lines if line.strip()]
