"""One lecture from several decks: teacher/course/lecture.md names their slides, in the order in which they are shown.

## 01_what_comparisons_tell
- "great" beats "good" in 83 of 100

A heading names a deck, each line below it one of that deck's titles. A deck may come twice, a title only once.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from tools.course.decks import DeckError, Slide
from tools.course.sources import read_source

Part = tuple[str, Sequence[Slide]]  # a deck's name, and slides of it


def read_lecture(path: Path, decks: Mapping[str, Sequence[Slide]]) -> list[Part]:
    """The slides that a file names. DeckError for a deck or a title that is not there, or no slide, or one twice."""
    parts: list[tuple[str, list[Slide]]] = []
    begun: list[str] = []  # where each of them is named
    named: dict[tuple[str, str], int] = {}  # deck and title → the line
    for number, line in enumerate(read_source(path).splitlines(), start=1):
        where = f"{path.name}, line {number}"
        if line.startswith("## "):
            name = line.removeprefix("## ").strip()
            if name not in decks:
                raise DeckError(f"{where}: there is no deck {name!r}")
            parts.append((name, []))
            begun.append(where)
        elif line.startswith("- "):
            if not parts:
                raise DeckError(f"{where}: {line!r} stands above the first deck, ## NAME")
            name, slides = parts[-1]
            slides.append(_titled(line.removeprefix("- ").strip(), decks[name], f"{where}: {name}"))
            before = named.setdefault((name, slides[-1].title), number)
            if before != number:
                raise DeckError(f"{where}: {slides[-1].title!r} stands in line {before} already")
        elif line:
            raise DeckError(f"{where}: {line!r} is neither a deck, ## NAME, nor a title, - TITLE")
    for where, (name, slides) in zip(begun, parts, strict=True):
        if not slides:
            raise DeckError(f"{where}: {name} has no slide; name one below it, - TITLE")
    levels = [slide.level for _, slides in parts for slide in slides]
    if levels.count(1) != 1 or levels[0] != 1:
        raise DeckError(f"{path.name}: it has to begin with its one title slide, a deck's first")
    return parts


def _titled(title: str, slides: Sequence[Slide], where: str) -> Slide:
    found = [slide for slide in slides if slide.title == title]
    if len(found) != 1:
        raise DeckError(f"{where} has {len(found)} slides with the title {title!r}, and one is needed")
    return found[0]
