"""A course in one folder, as it can be copied to a server: what students get, and what is the teacher's alone.

students/index.html    the self-test, projects, routes, and the slides without notes, also as PDF
students/notebooks/    the chapters
teacher/index.html     syllabus, notes on every chapter, exam questions, answers to the self-test
teacher/slides/        the slides with what the speaker says: press s; lecture.html is the syllabus's one lecture
teacher/grader/        a course of nbgrader's: its settings, and chapters with solutions and hidden tests
"""

import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from tools.course.decks import Slide, as_markdown, minutes_of, read_deck
from tools.course.grader import lay_out
from tools.course.lecture import Part, read_lecture
from tools.course.minutes import minutes_table
from tools.course.pictures import recorded_picture
from tools.course.place import replace, require_free, scratch_beside
from tools.course.printing import print_decks, require_browser
from tools.course.sources import read_source, split_title
from tools.record import NOTEBOOKS
from tools.site.build import ROOT, run_sphinx
from tools.site.pictures import as_webp, named
from tools.teacher import TEACHER, chapters

FAVICON = ROOT / "site" / "_static" / "favicon.svg"
COURSE = ROOT / "build" / "course"
SLIDES, NOTES, PAGES = TEACHER / "slides", TEACHER / "notes", TEACHER / "course"
LECTURE = PAGES / "lecture.md"
FOR_STUDENTS = ("self_test", "projects", "routes")
FOR_TEACHERS = ("syllabus", "self_test", "self_test_answers", "projects", "routes")


def build(folder: Path = COURSE) -> None:
    """Make the course in ``folder`` anew. What can be refused is, before Sphinx begins, which is slow.

    CourseInUse where one that is under way is in it, or another build at it; PrintingError without a browser;
    SourceError, DeckError, PictureError or TeacherError for what it is made of; SiteError where Sphinx warns.
    """
    require_free(folder)
    browser = require_browser()
    decks = {name: read_deck(SLIDES / f"{name}.md") for name in chapters()}
    shown: dict[str, list[Part]] = {name: [(name, slides)] for name, slides in decks.items()}
    lecture = {"lecture": read_lecture(LECTURE, decks)}
    for_students, for_teachers = student_pages(decks), teacher_pages(decks)
    with scratch_beside(folder) as scratch:
        fresh = scratch / "course"
        students, teacher = fresh / "students", fresh / "teacher"
        shutil.copytree(NOTEBOOKS, students / "notebooks", ignore=shutil.ignore_patterns(".*", "py", "*.toml.lock"))
        lay_out(teacher / "grader", chapters())
        build_slides(shown, students / "slides", scratch, with_notes=False)
        build_slides(shown | lecture, teacher / "slides", scratch, with_notes=True)
        build_pages(for_students, students, scratch)
        build_pages(for_teachers, teacher, scratch)
        print_decks(students / "slides", decks, browser)
        replace(folder, fresh)


def build_slides(shown: Mapping[str, list[Part]], html: Path, scratch: Path, *, with_notes: bool) -> None:
    """What is shown, by name, as a page each in ``html``, which holds all that it loads."""
    pages = scratch / ("slides-with-notes" if with_notes else "slides")
    _begin(pages, SLIDES)
    for name, parts in shown.items():
        texts = ["---\norphan: true\n---\n"]
        for deck, slides in parts:
            picture = partial(put_picture, pages, NOTEBOOKS / f"{deck}.ipynb")
            texts.append(as_markdown(slides, picture, with_notes=with_notes))
        (pages / f"{name}.md").write_text("\n".join(texts), encoding="utf-8")
    run_sphinx(pages, html, scratch / f"doctrees-{pages.name}", "revealjs")


def _begin(folder: Path, written: Path) -> None:
    """Put into a new folder what Sphinx needs besides the pages."""
    folder.mkdir()
    shutil.copytree(written / "_static", folder / "_static")
    for file in (written / "conf.py", FAVICON):
        shutil.copy(file, folder)


def put_picture(pages: Path, notebook: Path, words: str) -> str:
    """Where below ``pages`` the recorded picture of the cell with these words now is."""
    picture = as_webp(recorded_picture(notebook, words))
    address = f"figures/{named(picture, 'webp')}"
    (pages / "figures").mkdir(exist_ok=True)
    (pages / address).write_bytes(picture)
    return address


def build_pages(pages: Mapping[str, str], html: Path, scratch: Path) -> None:
    """Pages, Markdown by name, as HTML in ``html``."""
    folder = scratch / f"pages-{html.name}"
    _begin(folder, PAGES)
    for name, text in pages.items():
        path = folder / f"{name}.md"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    run_sphinx(folder, html, scratch / f"doctrees-{folder.name}")


def student_pages(decks: Mapping[str, list[Slide]]) -> dict[str, str]:
    """What students read, by name."""
    pages = {name: read_source(PAGES / f"{name}.md") for name in FOR_STUDENTS}
    return pages | {"index": _index("for_students", FOR_STUDENTS, _table(decks, _student_row))}


def teacher_pages(decks: Mapping[str, list[Slide]]) -> dict[str, str]:
    """What the teacher reads, by name: every chapter's notes with its minutes, and the rest."""
    pages = {name: read_source(PAGES / f"{name}.md") for name in FOR_TEACHERS}
    for name, slides in decks.items():
        minutes = minutes_table(NOTEBOOKS / "py" / f"{name}.py", minutes_of(slides))
        title, rest = split_title(NOTES / f"{name}.md")
        pages[f"notes/{name}"] = f"{title}\n\n## Minutes\n\n{minutes}\n{rest}"
    listed = (*FOR_TEACHERS, *(f"notes/{name}" for name in decks))
    return pages | {"index": _index("for_teachers", listed, _table(decks, _teacher_row))}


def _index(name: str, listed: tuple[str, ...], table: str) -> str:
    """The first page: its words, the chapters, and every other page."""
    contents = "\n".join(listed)
    return f"{read_source(PAGES / f'{name}.md')}\n{table}\n\n```{{toctree}}\n:hidden:\n\n{contents}\n```\n"


def _table(decks: Mapping[str, list[Slide]], row: Callable[[str, list[Slide]], str]) -> str:
    rows = [row(name, slides) for name, slides in decks.items()]
    return "\n".join(["## Chapters", "", "| Chapter | | Slides |", "|---|---|---|", *rows])


def _student_row(name: str, slides: list[Slide]) -> str:
    decks = f'<a href="slides/{name}.html">slides</a>, <a href="slides/{name}.pdf">PDF</a>'
    return f'| {slides[0].title} | <a href="notebooks/{name}.ipynb">notebook</a> | {decks} |'


def _teacher_row(name: str, slides: list[Slide]) -> str:
    deck = f'<a href="slides/{name}.html">slides, {minutes_of(slides)} min</a>'
    return f"| {slides[0].title} | [notes](notes/{name}.md) | {deck} |"
