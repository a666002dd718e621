"""One lecture from several decks: teacher/course/lecture.md names their slides, in the order in which they are shown.

## 01_what_comparisons_tell
- "great" beats "good" in 83 of 100

A heading names a deck, each line below it one of that deck's titles; a deck may come twice.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from tools.course.decks import DeckError, Slide
from tools.course.sources import read_source

Part = tuple[str, Sequence[Slide]]  # a deck's name, and slides of it


def read_lecture(path: Path, decks: Mapping[str, Sequence[Slide]]) -> list[Part]:
    """The slides that a file names. DeckError for a deck or a title that is not there, or there twice."""
    parts: list[tuple[str, list[Slide]]] = []
    for line in read_source(path).splitlines():
        if line.startswith("## "):
            name = line.removeprefix("## ").strip()
            if name not in decks:
                raise DeckError(f"{path.name}: there is no deck {name!r}")
            parts.append((name, []))
        elif line.startswith("- "):
            if not parts:
                raise DeckError(f"{path.name}: {line!r} stands above the first deck, ## NAME")
            name, slides = parts[-1]
            slides.append(_titled(line.removeprefix("- ").strip(), decks[name], f"{path.name}: {name}"))
        elif line:
            raise DeckError(f"{path.name}: {line!r} is neither a deck, ## NAME, nor a title, - TITLE")
    levels = [slide.level for _, slides in parts for slide in slides]
    if levels.count(1) != 1 or levels[0] != 1:
        raise DeckError(f"{path.name}: it has to begin with its one title slide, a deck's first")
    return parts


def _titled(title: str, slides: Sequence[Slide], where: str) -> Slide:
    found = [slide for slide in slides if slide.title == title]
    if len(found) != 1:
        raise DeckError(f"{where} has {len(found)} slides with the title {title!r}, and one is needed")
    return found[0]
