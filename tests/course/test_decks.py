"""Decks as a program reads them: headings, notes, derivations and figures."""

from functools import partial

import pytest

from tools.course.build import LECTURE, NOTES, PAGES, SLIDES
from tools.course.decks import DeckError, as_markdown, minutes_of, read_deck
from tools.course.lecture import read_lecture
from tools.course.minutes import sections
from tools.course.pictures import PictureError, recorded_picture
from tools.course.sources import split_title
from tools.limits import length_of
from tools.record import NOTEBOOKS
from tools.teacher import chapters

DECK = """# 04 · A title

One line.

> 1 min. Say hello.

### Add them

```{derivation}
a = b + c || given
= c + b || $+$ commutes
```

> 3 min. Ask first,
> then show.

### Code

```python
# not a title
```

> 2 min. Run it.
"""


def picture(words: str) -> str:
    return f"figures/{words}.webp"


def deck(tmp_path, text):
    path = tmp_path / "04_a.md"
    path.write_text(text, encoding="utf-8")
    return read_deck(path)


def test_a_derivation_adds_a_step_a_slide_and_every_slide_has_its_note(tmp_path):
    slides = deck(tmp_path, DECK)
    assert [(slide.level, slide.title, slide.minutes) for slide in slides] == [
        (1, "04 · A title", 1), (3, "Add them", 3), (3, "Code", 2)
    ]  # fmt: skip
    assert minutes_of(slides) == 6 and slides[1].note == "Ask first, then show."
    text = as_markdown(slides, picture, with_notes=True)
    assert text.count("### Add them (1 of 2)") == text.count("### Add them (2 of 2)") == 1
    assert text.count("a = b + c") == 2 and text.count("= c + b") == 1
    assert text.count("{container} step last") == 2
    assert text.count("3 min. Ask first, then show.") == 2 and "# not a title" in text
    assert "min." not in as_markdown(slides, picture, with_notes=False)


def test_a_byte_order_mark_is_no_part_of_a_text(tmp_path):
    assert deck(tmp_path, f"\ufeff{DECK}") == deck(tmp_path, DECK)
    notes = tmp_path / "05_a.md"
    notes.write_text("# 05\n\nWords.\n", encoding="utf-8-sig")
    assert split_title(notes) == ("# 05", "\nWords.\n")


@pytest.mark.parametrize("text", ["", "words", "[]", "{}", '{"nbformat": 4, "cells": [1]}', "\N{EURO SIGN}"])
def test_what_is_no_notebook_is_told_in_a_line(tmp_path, text):
    path = tmp_path / "05_a.ipynb"
    path.write_text(text, encoding="cp1252")
    with pytest.raises(PictureError, match=r"^05_a\.ipynb is no notebook \(.+\): put it back$") as slip:
        recorded_picture(path, "words")
    assert "\n" not in str(slip.value)


def test_a_figure_is_named_by_words_of_its_cell(tmp_path):
    slides = deck(tmp_path, "# T\n\n![What is seen](figure:penalties(0.5))\n\n> 1 min. Look.\n")
    assert "![What is seen](figures/penalties(0.5).webp)" in as_markdown(slides, picture, with_notes=False)
    of_chapter = partial(recorded_picture, NOTEBOOKS / "03_what_does_rlhf_maximise.ipynb")
    assert of_chapter("penalties(0.5)").startswith(b"\x89PNG")
    with pytest.raises(PictureError, match=r"03_what.* has 0 pictures of cells with 'no such words'"):
        of_chapter("no such words")
    with pytest.raises(PictureError, match="one is needed"):
        of_chapter("plots.")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (DECK.replace("> 2 min. Run it.\n", ""), 'the slide "Code" does not end with its note'),
        (DECK.replace("> 1 min.", "> a minute."), 'the slide "04 · A title" does not end with its note'),
        (
            DECK.replace("> 2 min. Run it.\n", "> 2 min. Run it.\n\nlost words\n"),
            'the slide "Code" does not end with its note',
        ),
        (DECK.replace(" || given", ""), "Add them: the step 'a = b + c' needs its reason"),
        (DECK.removeprefix("# 04 · A title\n"), "begin with its one title"),
        ("", "begin with its one title"),
    ],
)
def test_a_slip_names_the_file_and_the_slide(tmp_path, text, said):
    with pytest.raises(DeckError, match=r"^04_a\.md: ") as slip:
        deck(tmp_path, text)
    assert said in str(slip.value)


def test_a_lecture_takes_slides_of_several_decks_in_its_own_order(tmp_path):
    slides = deck(tmp_path, DECK)
    path = tmp_path / "lecture.md"
    path.write_text(
        "## 04_a\n- 04 · A title\n- Code\n\n## 05_b\n- Add them\n\n## 04_a\n- Add them\n", encoding="utf-8"
    )
    parts = read_lecture(path, {"04_a": slides, "05_b": slides[:2]})
    assert [(name, [slide.title for slide in some]) for name, some in parts] == [
        ("04_a", ["04 · A title", "Code"]), ("05_b", ["Add them"]), ("04_a", ["Add them"])
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "## 04_a\n- 04 · A title\n- Coda\n",
            "lecture.md, line 3: 04_a has 0 slides with the title 'Coda', and one is needed",
        ),
        ("## 06_c\n- Code\n", "there is no deck '06_c'"),
        ("- Code\n", "'- Code' stands above the first deck"),
        ("## 04_a\nCode\n", "'Code' is neither a deck"),
        ("## 04_a\n- Code\n", "it has to begin with its one title slide"),
        ("## 04_a\n- 04 · A title\n- Code\n\n## 04_a\n- Code\n", "line 6: 'Code' stands in line 3 already"),
        ("## 04_a\n\n## 04_a\n- 04 · A title\n", "line 1: 04_a has no slide; name one below it"),
        ("## 04_a\n- 04 · A title\n\n## 04_a\n", "lecture.md, line 4: 04_a has no slide"),
        ("## 04_a\n- 04 · A title\n## 05_b\n- 04 · A title\n", "it has to begin with its one title slide"),
        ("", "it has to begin with its one title slide"),
    ],
)
def test_a_slip_in_a_lecture_is_named(tmp_path, text, said):
    slides = deck(tmp_path, DECK)
    path = tmp_path / "lecture.md"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DeckError) as slip:
        read_lecture(path, {"04_a": slides, "05_b": slides})
    assert said in str(slip.value)


@pytest.mark.parametrize("name", chapters())
def test_every_chapter_has_a_lecture_and_notes(name):
    slides = read_deck(SLIDES / f"{name}.md")
    assert 30 <= minutes_of(slides) <= 50 and 14 <= len([slide for slide in slides if slide.level == 3]) <= 26
    titles = [slide.title for slide in slides]
    assert any(title.startswith("Predict: ") for title in titles) and titles[-1].startswith("Now you")
    assert any(slide.steps for slide in slides) or name[:2] in ("00", "07", "09", "12", "13")
    notes = (NOTES / f"{name}.md").read_text(encoding="utf-8")
    headings = [line.removeprefix("## ") for line in notes.splitlines() if line.startswith("## ")]
    assert headings == [
        "Before the lesson", "Board plan", "What people get wrong", "Answers to what the page asks", "Rubric",
        "Exam questions",
    ]  # fmt: skip
    assert notes.count("### Question ") == notes.count("**Solution.**") == 3


@pytest.mark.parametrize("name", chapters())
def test_the_minutes_of_the_sections_are_those_of_the_chapter(name):
    script = NOTEBOOKS / "py" / f"{name}.py"
    parts = sections(script)
    assert len(parts) > 5
    # Titles are words of the chapter, too, and no text of a section.
    assert sum(length.minutes for _, length in parts) == pytest.approx(length_of(script).minutes, abs=0.6)


def test_the_hand_outs_are_there():
    assert {path.stem for path in PAGES.glob("*.md")} - {LECTURE.stem} == {
        "for_students", "for_teachers", "projects", "routes", "self_test", "self_test_answers", "syllabus"
    }  # fmt: skip
