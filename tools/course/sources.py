"""What was written for the course, by hand: slides, notes and pages, as text."""

from pathlib import Path


class SourceError(ValueError):
    """A text cannot be used; the message names its file, and says what would be right."""


def read_source(path: Path) -> str:
    """The text of a file. SourceError where there is none, or it is not UTF-8; a byte order mark is no part of it."""
    try:
        return path.read_text(encoding="utf-8-sig")  # some editors put a byte order mark first
    except OSError as error:
        raise SourceError(
            f"{_named(path)} cannot be read ({error.strerror}), and the course is made of it: put it there, readable"
        ) from None
    except UnicodeDecodeError as error:
        raise SourceError(f"{_named(path)} is not in UTF-8 ({error}): save it in that encoding") from None


def split_title(path: Path) -> tuple[str, str]:
    """The first line of a page, its title, and what comes after. SourceError for a page that begins otherwise."""
    title, _, rest = read_source(path).partition("\n")
    if not title.startswith("# "):
        raise SourceError(f"{_named(path)} has to begin with its title, # …; it begins with {title!r}")
    return title, rest


def _named(path: Path) -> str:
    """The file with its folder, by which notes and slides of a chapter differ."""
    return f"{path.parent.name}/{path.name}"
