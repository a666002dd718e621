"""The built book: it loads nothing from elsewhere, its links hold, and it gives no solution away."""

import json
import re
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from playwright.sync_api import expect

from tests.site.browser import opened
from tests.site.conftest import MOVES, WATCHED
from tools.record import NOTEBOOKS
from tools.site.build import SiteError, run_sphinx
from tools.site.pictures import FOLDER
from tools.teacher import TEACHER

CHAPTERS = [path.stem for path in sorted(NOTEBOOKS.glob("*.ipynb"))]
SOLUTION = re.compile(r"### BEGIN SOLUTION\n(.*?)### END SOLUTION", re.DOTALL)
UNRENDERED = re.compile(r"\$|\\(?:frac|beta|pi|log|sigma|mathbb|text|tag|begin)\b")
OTHER_SITE = re.compile(r"^(?:[a-z]+:)?//")


def test_every_chapter_is_a_page_that_offers_its_notebook(site, pages):
    assert len(CHAPTERS) >= 14
    for name in CHAPTERS:
        page = pages[f"{name}.html"]
        assert f"{name}.html" in pages["index.html"].links
        (offer,) = {link for link in page.links if link.endswith(f"{name}.ipynb")}
        assert (site / offer).read_bytes() == (NOTEBOOKS / f"{name}.ipynb").read_bytes()


def test_no_page_loads_anything_from_elsewhere(site, pages):
    for name, page in pages.items():
        assert len(page.loads) > 5
        for address in page.loads:
            assert not OTHER_SITE.match(address), f"{name} loads {address}"
            assert (site / urlsplit(address).path).is_file(), f"{name} loads {address}, which is not there"
    styles = list(site.rglob("*.css"))
    assert styles and not [style for style in styles if re.search(r"url\(['\"]?(?:https?:)?//", style.read_text())]


def test_every_picture_says_what_it_shows(pages):
    for name, page in pages.items():
        assert all(alt and len(alt) > 30 for alt in page.alts), f"{name}: {page.alts}"
    assert all(len(pages[f"{name}.html"].alts) > 1 for name in CHAPTERS)


def test_links_inside_of_the_book_hold(site, pages):
    broken = []
    for name, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = unquote(parts.path) or name
            known = target in pages and (not parts.fragment or unquote(parts.fragment) in pages[target].ids)
            if not known and not (target not in pages and (site / target).is_file()):
                broken.append(f"{name}: {link}")
    assert not broken, broken


def test_no_formula_is_left_in_the_words_of_a_page(pages):
    for name, page in pages.items():
        found = UNRENDERED.search(page.prose)
        assert not found, f"{name}: {page.prose[found.start() - 40 : found.end() + 40]!r}"
    assert all(r"\tag{" in pages[f"{CHAPTERS[i]}.html"].tex for i in (0, 1, 3, 4))
    assert [f"\\tag{{{number}}}" in pages["notation.html"].tex for number in range(1, 8)] == [True] * 7


def test_guards_are_folded_and_quizzes_unfold(pages):
    for name in CHAPTERS:
        cells = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4).cells
        tags = [cell.metadata.get("tags", []) for cell in cells]
        hidden = [of_cell for of_cell in tags if "hide-input" in of_cell and "remove-cell" not in of_cell]
        assert pages[f"{name}.html"].folded == len(hidden)
        assert "✓ Right." in pages[f"{name}.html"].prose


def without_spaces(text):
    return re.sub(r"\s+", "", text)


@pytest.mark.parametrize("name", CHAPTERS)
def test_no_page_holds_a_solution(name, pages):
    teachers = nbformat.read(TEACHER / f"{name}.ipynb", as_version=4)
    solutions = [text for cell in teachers.cells for text in SOLUTION.findall(cell.source)]
    assert len(solutions) >= 2
    text = without_spaces(pages[f"{name}.html"].text)
    assert len(text) > 10_000
    for solution in solutions:
        assert without_spaces(solution) not in text, solution


def test_words_of_a_chapter_link_to_other_chapters_and_to_the_equations(pages):
    links = pages["00_what_does_dpo_do.html"].links
    assert "08_how_does_rlhf_climb.html" in links and "notation.html#equation-7" in links
    assert "notation.html#equation-7" not in pages["08_how_does_rlhf_climb.html"].links  # PPO's is another one


def test_a_recorded_figure_says_so_and_has_all_its_pictures(site, pages, recordings):
    (recording,) = json.loads((recordings[MOVES][0] / "recordings.json").read_text(encoding="utf-8")).values()
    assert len({frame["file"] for frame in recording["frames"]}) == 6
    html = (site / f"{MOVES}.html").read_text(encoding="utf-8")
    for frame in recording["frames"]:
        assert frame["file"] in html and (site / FOLDER / frame["file"]).is_file()
    prose = pages[f"{MOVES}.html"].prose
    assert "Recorded: the code of this page drew all 6 pictures" in prose and "With Python 3." in prose
    assert "Once the cell has run in JupyterLab" not in prose


def test_every_exercise_is_listed(pages):
    listed = [link for link in pages["exercises.html"].links if "html#exercise-" in link]
    checks = sum(pages[f"{name}.html"].text.count("# YOUR CODE HERE") for name in CHAPTERS)
    assert len(listed) == len(set(listed)) == checks > 30


def test_chapter_00_weighs_what_a_phone_can_bear(site, pages):
    """Opened, and with every font that a formula could need. A hundred pictures of its slider are 1.3 MB more."""
    page = pages["00_what_does_dpo_do.html"]
    loaded = {urlsplit(address).path for address in page.loads}
    fonts = list((site / "_static" / "mathjax").rglob("*.woff"))
    files = [page.path, *fonts, *(site / path for path in loaded)]
    assert len(fonts) > 20
    assert sum(file.stat().st_size for file in files) < 2_000_000


def test_a_warning_ends_the_build_in_an_error(tmp_path, capfd):
    (tmp_path / "conf.py").write_text("extensions = ['myst_parser']\n")
    (tmp_path / "index.md").write_text("# A book\n\n[nowhere](nowhere.md)\n")
    with pytest.raises(SiteError, match="Sphinx warns"):
        run_sphinx(tmp_path, tmp_path / "html", tmp_path / "doctrees")
    assert "nowhere" in capfd.readouterr().err


def test_a_search_knows_the_glossary_also_after_another_page_has_changed(tmp_path):
    pages, html, doctrees = (tmp_path / name for name in ("pages", "html", "doctrees"))
    pages.mkdir()
    (pages / "conf.py").write_text(
        'extensions = ["myst_parser"]\nmyst_enable_extensions = ["colon_fence", "deflist"]'
    )
    (pages / "index.md").write_text("# Index\n\n:::{glossary}\nnat\n  A unit.\n:::\n")
    other = pages / "other.md"
    for words in ("One.", "Another one."):
        other.write_text(f"---\norphan: true\n---\n# Other\n\n{words}\n")
        run_sphinx(pages, html, doctrees)
        assert '"indexentries":{"nat":' in (html / "searchindex.js").read_text()


def test_in_a_browser_nothing_leaves_and_everybody_can_read_it(site):
    """On a phone's width every page fits; on a chapter's page axe-core finds nothing serious."""
    with opened(site, width=390, height=844) as book:
        for name in ["index", "notation", "bibliography", *CHAPTERS]:
            book.open(f"{name}.html")
            assert book.too_wide() <= 0, name
            assert book.page.locator("mjx-merror").count() == 0, name
        book.open("00_what_does_dpo_do.html")
        assert book.page.locator("mjx-container").count() > 30
        assert book.violations() == []
        move_by_keyboard(book)
        assert book.leaving == book.console_errors == []


def move_by_keyboard(book):
    """Chapter 06's figure, from its sliders' places 1 of 0 to 2 and 1 of 0 to 1."""
    book.open(f"{MOVES}.html")
    slider = book.page.get_by_role("slider", name="β", exact=True)
    picture = book.page.locator(".recorded img")
    expect(slider).to_have_attribute("aria-valuetext", "1")
    first = picture.get_attribute("src")
    slider.press("ArrowRight")
    expect(slider).to_have_attribute("aria-valuetext", "10")
    expect(picture).to_have_attribute("alt", re.compile("^At β = 10.00"))
    book.page.get_by_role("slider", name="m/β").press("Home")
    expect(picture).to_have_attribute("alt", re.compile(r"difference of 0\.0 is marked"))
    assert picture.get_attribute("src") != first
    shown = "image => image.decode().then(() => image.naturalWidth)"
    assert picture.evaluate(shown) == 1400
    assert book.violations() == []
    scrub_by_keyboard(book)


def scrub_by_keyboard(book):
    """Chapter 07's trainings, from β = 1 to 0.5 and from their first step to their last."""
    book.open(f"{WATCHED}.html")
    figure = book.page.locator(".recorded").last
    picture, step = figure.locator("img"), figure.get_by_role("slider", name="step")
    expect(picture).to_have_attribute("alt", re.compile("^After 0 steps: KL to the optimum is"))
    for there in ("10", "20"):
        step.press("ArrowRight")
        expect(step).to_have_attribute("aria-valuetext", there)
        expect(picture).to_have_attribute("alt", re.compile(f"^After {there} steps"))
    at_one = picture.get_attribute("src")
    figure.get_by_label("β").select_option("0.5")
    expect(picture).not_to_have_attribute("src", at_one)
    expect(picture).to_have_attribute("alt", re.compile("^After 20 steps"))
    assert book.violations() == []


def test_a_training_is_shown_below_the_live_run_and_says_that_it_is_recorded(pages, watched_run):
    page = pages[f"{WATCHED}.html"]
    assert "Nothing is computed in your browser" in page.prose
    assert "2 runs of this page's training, 20 steps each at the rate 0.002, drew all 6 pictures" in page.prose
    assert len(list(watched_run.glob("*.webp"))) == 6
