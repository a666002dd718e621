"""Slides of a chapter: from teacher/slides/NAME.md to the Markdown of which Sphinx makes a deck.

A heading begins a slide, and a quotation "> 2 min. …" ends it: minutes, and what the speaker says. A derivation

    ```{derivation}
    a = b || why
      = c || why
    ```

becomes a slide for every line, which adds it: one step of algebra at a time, its reason at its right. A picture
![…](figure:WORDS) is the recorded one of the chapter's cell with these words.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tools.course.sources import read_source

HEADING = re.compile(r"^(#{1,3}) (.+)$")
NOTE = re.compile(r"^> (\d+) min\. (.+(?:\n>.*)*)\Z", re.MULTILINE)
DERIVATION = re.compile(r"^```\{derivation\}\n(.*?)\n```\s*\Z", re.DOTALL)
FIGURE = re.compile(r"!\[([^\]]*)\]\(figure:(.+?)\)$", re.MULTILINE)
BETWEEN = " || "
ROOMY = 5  # steps that fit on a slide in large type

Step = tuple[str, str]  # TeX, and the reason for it


class DeckError(ValueError):
    """A deck is not as it has to be; the message names the file and the slide."""


@dataclass(frozen=True)
class Slide:
    """level: 1 the title, 2 a part's, 3 any other. note: what the speaker says. steps: of a derivation, else none."""

    level: int
    title: str
    body: str
    minutes: int
    note: str
    steps: Sequence[Step] = ()


def read_deck(path: Path) -> list[Slide]:
    """The slides of a file. DeckError for one without its note, or a step without its reason; see ``read_source``."""
    slides = []
    for heading, lines in _sections(read_source(path)):
        level, title = heading
        text = "\n".join(lines).strip()
        found = NOTE.search(text)
        if found is None:
            raise DeckError(f'{path.name}: the slide "{title}" does not end with its note, "> 2 min. What to say."')
        body = text[: found.start()].strip()
        note = " ".join(line.removeprefix(">").strip() for line in found[2].splitlines())
        slide = Slide(level, title, body, int(found[1]), note)
        if derivation := DERIVATION.match(body):
            slide = replace(slide, body="", steps=_steps(derivation[1], f"{path.name}: {title}"))
        slides.append(slide)
    if not slides or [slide.level for slide in slides].count(1) != 1 or slides[0].level != 1:
        raise DeckError(f"{path.name}: it has to begin with its one title, # …")
    return slides


def _sections(text: str) -> Iterator[tuple[tuple[int, str], list[str]]]:
    """Level and title of every heading outside of code, with the lines below it."""
    heading, lines, in_code = None, [], False
    for line in text.splitlines():
        if line.startswith(("```", "~~~")):
            in_code = not in_code
        found = None if in_code else HEADING.match(line)
        if not found:
            lines.append(line)
            continue
        if heading:
            yield heading, lines
        heading, lines = (len(found[1]), found[2]), []
    if heading:
        yield heading, lines


def _steps(lines: str, where: str) -> list[Step]:
    steps = []
    for line in lines.splitlines():
        tex, between, reason = line.partition(BETWEEN)
        if not between or not reason.strip():
            raise DeckError(f'{where}: the step {tex!r} needs its reason, after "{BETWEEN.strip()}"')
        steps.append((tex.strip(), reason.strip()))
    return steps


def minutes_of(slides: Sequence[Slide]) -> int:
    return sum(slide.minutes for slide in slides)


def as_markdown(slides: Sequence[Slide], picture: Callable[[str], str], *, with_notes: bool) -> str:
    """What Sphinx reads of these slides. picture: the address of a figure by the words of its cell."""
    parts = []
    for slide in slides:
        for title, body in _shown(slide):
            parts.append(f"{'#' * slide.level} {title}\n\n{_with_pictures(body, picture)}\n")
            if with_notes:
                parts.append(f"```{{revealjs-notes}}\n{slide.minutes} min. {slide.note}\n```\n")
    return "\n".join(parts)


def _shown(slide: Slide) -> Iterator[tuple[str, str]]:
    """A slide's title and body; of a derivation, one of each step."""
    if not slide.steps:
        yield slide.title, slide.body
    for count in range(1, len(slide.steps) + 1):
        yield f"{slide.title} ({count} of {len(slide.steps)})", _derived(slide.steps[:count], len(slide.steps))


def _derived(steps: Sequence[Step], total: int) -> str:
    """The steps so far, the last one marked; small where all of them would not fit otherwise."""
    size = "step small" if total > ROOMY else "step"
    lines = []
    for number, (tex, reason) in enumerate(steps, start=1):
        kind = f"{size} last" if number == len(steps) else size
        formula = f"::::{{container}} formula\n${{\\displaystyle {tex}}}$\n::::"
        because = f"::::{{container}} reason\n{reason}\n::::"
        lines.append(f":::::{{container}} {kind}\n{formula}\n{because}\n:::::")
    return "\n\n".join(lines)


def _with_pictures(body: str, picture: Callable[[str], str]) -> str:
    def address(found: re.Match) -> str:
        return f"![{found[1]}]({picture(found[2])})"

    return FIGURE.sub(address, body)
