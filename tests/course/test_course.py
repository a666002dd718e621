"""The built course: students get no answer, slides fit, and nothing is loaded from elsewhere."""

import re
from urllib.parse import unquote, urlsplit

import nbformat
import pytest

from tests.site.browser import opened
from tests.site.html_page import Page
from tools.course.build import NOTES, PAGES, SLIDES
from tools.course.decks import read_deck
from tools.record import NOTEBOOKS
from tools.teacher import TEACHER, chapters

SOLUTION = re.compile(r"### (?:BEGIN SOLUTION|BEGIN HIDDEN TESTS)\n(.*?)### END", re.DOTALL)
UNRENDERED = re.compile(r"\$|\\(?:frac|beta|pi|log|sigma|mathbb|text|tag|begin)\b")
SLIDE = (1120, 700)
# The lowest and the rightmost pixel of the slide's words and pictures, in its own pixels; and formulas gone wrong.
EXTENT = """() => {
    const frame = document.querySelector('.slides').getBoundingClientRect(), scale = Reveal.getScale();
    let bottom = 0, right = 0;
    for (const part of Reveal.getCurrentSlide().querySelectorAll('*:not(aside):not(aside *)')) {
        if (part.closest('mjx-assistive-mml')) continue;
        const box = part.getBoundingClientRect();
        if (box.width && box.height) {
            bottom = Math.max(bottom, (box.bottom - frame.top) / scale);
            right = Math.max(right, (box.right - frame.left) / scale);
        }
    }
    const wrong = Reveal.getCurrentSlide().querySelectorAll('mjx-merror, [data-mjx-error]').length;
    return [bottom, right, wrong, Reveal.isLastSlide()];
}"""


@pytest.fixture(scope="module")
def pages(course):
    """Every page by its address in the course."""
    return {str(path.relative_to(course)): Page(path) for path in sorted(course.rglob("*.html"))}


def words(text):
    """Without what typesetting changes: spaces, and quotes and dashes of every kind."""
    return re.sub(r"[\s\"'“”‘’`*_–—-]+", "", text)


def test_students_get_no_answer(course):
    """No solution and no hidden test, no answer to the self-test, no exam question, no speaker's note."""
    everything = []
    for path in sorted((course / "students").rglob("*")):
        if path.suffix in (".html", ".md", ".js", ".ipynb"):
            text = path.read_text(encoding="utf-8")
            if path.suffix == ".ipynb":
                text = "\n".join(cell.source for cell in nbformat.reads(text, as_version=4).cells)
            everything.append((path.name, words(Page(path).text if path.suffix == ".html" else text)))
    assert len(everything) > 40
    secrets = {}
    for file in sorted((TEACHER / "solutions").glob("*.py")):
        for number, solution in enumerate(SOLUTION.findall(file.read_text(encoding="utf-8"))):
            if len(words(solution)) > 50:  # "return a + b" may stand in any loop
                secrets[f"{file.stem}, {number}"] = solution
    for name in chapters():
        exam = (NOTES / f"{name}.md").read_text(encoding="utf-8").split("## Exam questions")[1]
        for number, paragraph in enumerate(re.findall(r"[^\n$|]{90,}", exam)):
            secrets[f"exam of {name}, {number}"] = paragraph
        for slide in read_deck(SLIDES / f"{name}.md"):
            if len(slide.note) > 40:
                secrets[f"note of {name}: {slide.title}"] = slide.note
    answers = (PAGES / "self_test_answers.md").read_text(encoding="utf-8")
    for number, paragraph in enumerate(re.findall(r"[^\n$|]{60,}", answers)):
        secrets[f"self-test, {number}"] = paragraph
    assert len(secrets) > 300
    found = [(secret, name) for secret, text in secrets.items() for name, page in everything if words(text) in page]
    assert not found, found


def test_everything_is_in_its_folder(course):
    for name in chapters():
        assert (course / "students" / "slides" / f"{name}.html").is_file()
        slides = (course / "teacher" / "slides" / f"{name}.html").read_text(encoding="utf-8").count('class="notes"')
        pdf = (course / "students" / "slides" / f"{name}.pdf").read_bytes()
        assert pdf.startswith(b"%PDF") and len(re.findall(rb"/Type /Page\b(?!s)", pdf)) == slides > 20
        given = course / "students" / "notebooks" / f"{name}.ipynb"
        assert given.read_bytes() == (NOTEBOOKS / f"{name}.ipynb").read_bytes()
        source = course / "teacher" / "grader" / "source" / name / f"{name}.ipynb"
        assert "### BEGIN HIDDEN TESTS" in source.read_text(encoding="utf-8")
    assert (course / "teacher" / "grader" / "nbgrader_config.py").is_file()
    assert not list((course / "students").rglob("nbgrader_config.py"))


def test_no_page_loads_anything_from_elsewhere_and_no_link_is_broken(course, pages):
    broken = []
    for name, page in pages.items():
        here = course / name
        for address in page.loads:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc or not (here.parent / unquote(parts.path)).is_file():
                broken.append(f"{name} loads {address}")
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (here.parent / unquote(parts.path)).resolve() if parts.path else here
            if not target.exists():
                broken.append(f"{name}: {link}")
    assert not broken, broken


def test_pictures_say_what_they_show_and_formulas_are_none_of_the_words(pages):
    shown = 0
    for name, page in pages.items():
        shown += len(page.alts)
        assert all(alt and len(alt) > 20 for alt in page.alts), f"{name}: {page.alts}"
        found = UNRENDERED.search(page.prose)
        assert not found, f"{name}: {page.prose[found.start() - 40 : found.end() + 40]!r}"
    assert shown > 100


def test_every_slide_fits_and_formulas_are_typeset(course):
    """All decks, slide by slide, moved by the keyboard."""
    with opened(course / "teacher" / "slides", *SLIDE) as site:
        seen, too_large = 0, []
        for name in (*chapters(), "lecture"):
            site.open(f"{name}.html")
            site.page.evaluate("document.fonts.ready")
            while True:
                bottom, right, wrong, last = site.page.evaluate(EXTENT)
                seen += 1
                if bottom > SLIDE[1] + 2 or right > SLIDE[0] + 2 or wrong:
                    too_large.append((site.page.url, round(bottom), round(right), wrong))
                if last:
                    break
                site.page.keyboard.press("ArrowRight")
        assert seen > 400 and not too_large, too_large
        assert not site.leaving and not site.console_errors


@pytest.mark.parametrize(
    "name",
    [
        "students/index.html", "students/self_test.html", "students/routes.html", "teacher/index.html",
        "teacher/syllabus.html", "teacher/notes/06_where_does_the_loss_come_from.html",
        "teacher/slides/04_who_is_the_winner.html",
    ],
)  # fmt: skip
def test_a_page_is_accessible_and_quiet(course, name):
    with opened(course) as site:
        site.open(name)
        assert site.page.locator("mjx-merror").count() == 0
        assert not site.violations() and not site.leaving and not site.console_errors


def test_pages_fit_a_phone(course):
    with opened(course, width=390, height=844) as site:
        for name in ("students/index.html", "teacher/syllabus.html", "teacher/notes/08_how_does_rlhf_climb.html"):
            site.open(name)
            assert site.too_wide() <= 0, name
