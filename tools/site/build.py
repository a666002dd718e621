"""All pages in one folder, and HTML of them by Sphinx, in which every warning is an error."""

import filecmp
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import nbformat

from tools.record import NOTEBOOKS
from tools.site.chapters import link, show
from tools.site.exercises import exercises_page
from tools.site.links import with_links

ROOT = NOTEBOOKS.parent
WRITTEN = ROOT / "site"  # by hand
BUILD = ROOT / "build" / "site"
PICTURE = ROOT / "docs" / "does_it_get_there.png"
ERRATA = ROOT / "docs" / "errata.md"
OF_THE_COURSE = ("self_test", "self_test_answers", "routes", "projects")


class SiteError(RuntimeError):
    """Pages are not built; Sphinx has said why on stderr."""


def build(folder: Path, recordings: Mapping[str, Sequence[Path]]) -> Path:
    """Build the book in ``folder``/html, and return that. A page that has not changed is not made again.

    recordings: a chapter → the folders of what was recorded for it; sliders of other chapters stand still. SiteError
    where Sphinx warns.
    """
    pages, html = folder / "pages", folder / "html"
    gather(pages, recordings)
    run_sphinx(pages, html, folder / "doctrees")
    return html


def run_sphinx(pages: Path, html: Path, doctrees: Path, builder: str = "html") -> None:
    """Make HTML of the pages. doctrees: where Sphinx keeps what it has read. SiteError where it warns."""
    # All pages are written each time: of those that are not, Sphinx 9 forgets the glossary's terms in its search.
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet", "--write-all"]
    if subprocess.run([*command, "-b", builder, "-d", doctrees, pages, html], cwd=ROOT).returncode != 0:
        raise SiteError(f"{pages.name} are not built: Sphinx warns, as above")


def gather(pages: Path, recordings: Mapping[str, Sequence[Path]]) -> None:
    """Put into ``pages`` what Sphinx reads: what is written by hand, and the chapters."""
    with tempfile.TemporaryDirectory(prefix="dpo-book-site-") as scratch:
        fresh = Path(scratch)
        shutil.copytree(WRITTEN, fresh, dirs_exist_ok=True)
        shutil.copy(PICTURE, fresh / "_static")
        shutil.copy(ERRATA, fresh)
        for name in OF_THE_COURSE:
            shutil.copy(ROOT / "teacher" / "course" / f"{name}.md", fresh)
        notebooks = sorted(NOTEBOOKS.glob("*.ipynb"))
        numbered = {notebook.stem[:2]: notebook.name for notebook in notebooks}
        for text in fresh.glob("*.md"):
            text.write_text(with_links(text.read_text(encoding="utf-8"), numbered), encoding="utf-8")
        (fresh / "exercises.md").write_text(exercises_page(notebooks), encoding="utf-8")
        (fresh / "downloads").mkdir()
        for notebook in notebooks:
            file = f"downloads/{notebook.name}"
            shutil.copy(notebook, fresh / file)
            chapter = nbformat.read(notebook, as_version=4)
            show(chapter, fresh, recordings.get(notebook.stem, ()))
            link(chapter, notebook.stem[:2], file, numbered)
            nbformat.write(chapter, fresh / notebook.name)
        _take_over(fresh, pages)


def _take_over(fresh: Path, pages: Path) -> None:
    """Make ``pages`` hold what ``fresh`` holds. A file that is the same keeps its time, by which Sphinx goes."""
    files = {path.relative_to(fresh) for path in fresh.rglob("*") if path.is_file()}
    for old in [path for path in pages.rglob("*") if path.is_file()]:
        if old.relative_to(pages) not in files:
            old.unlink()
    for file in files:
        target = pages / file
        if target.exists() and filecmp.cmp(fresh / file, target, shallow=False):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(fresh / file, target)
