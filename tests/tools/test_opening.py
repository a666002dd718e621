"""The cell that chapters open with: what it does where, and that writing it changes nothing else."""

import importlib.util
import site
import tomllib
from functools import partial

import jupytext
import nbformat
import pytest

from tools import opening
from tools.notebook_rules import problems
from tools.opening import OpeningError, badges, into_notebook, into_readme, into_script
from tools.record import NOTEBOOKS, build

SCRIPTS = sorted(NOTEBOOKS.glob("py/*.py"))
ADDRESSES = {"no address": None, "an address": "someone/the-book"}
LOCAL, PUBLIC = opening.opening(None), opening.opening("someone/the-book")
every_address = pytest.mark.parametrize("name", ADDRESSES.values(), ids=ADDRESSES)


@pytest.fixture
def pip_is_asked(monkeypatch):
    """``pip_is_asked(cell, installed=...)``: runs the cell, and says what pip was asked for."""
    asked = []
    monkeypatch.setattr(site, "main", lambda: asked.append("paths read anew"))

    class Shell:
        def run_line_magic(self, magic, line):
            asked.append(f"{magic} {line}")

    def run(cell, installed=False):
        monkeypatch.setattr(importlib.util, "find_spec", lambda package: installed or None)
        exec(cell, {"get_ipython": Shell})
        return asked

    return run


@pytest.fixture
def chapter_folder(tmp_path, monkeypatch):
    """The folder of a chapter in a copy of the book."""
    for name in ("notebooks", "dpo_book"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")


@every_address
def test_where_the_book_is_installed_the_cell_does_and_says_nothing(name, pip_is_asked, capsys):
    assert pip_is_asked(opening.opening(name), installed=True) == []
    assert capsys.readouterr().out == ""


@every_address
def test_in_its_folder_a_chapter_installs_the_book_around_it(name, pip_is_asked, chapter_folder, capsys):
    assert pip_is_asked(opening.opening(name)) == ["pip install --quiet --editable ..", "paths read anew"]
    assert "not installed here" in capsys.readouterr().out


def test_a_chapter_alone_fetches_the_book_from_its_address(pip_is_asked, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked, _ = pip_is_asked(PUBLIC)
    assert asked == "pip install --quiet --editable git+https://github.com/someone/the-book#egg=dpo-book"


def test_a_chapter_alone_without_an_address_says_in_a_line_what_to_do(pip_is_asked, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AssertionError) as error:
        pip_is_asked(LOCAL)
    assert str(error.value).splitlines()[0] == "Open the chapter in the book's own folder"


@every_address
def test_the_cell_is_short(name):
    lines = opening.opening(name).splitlines()
    assert sum(bool(line) and not line.startswith("#") for line in lines) <= 8
    assert max(map(len, lines)) <= 118


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_writing_the_cell_changes_nothing_else_and_once_is_enough(script):
    text = script.read_text(encoding="utf-8")
    recorded = (NOTEBOOKS / f"{script.stem}.ipynb").read_text(encoding="utf-8")
    for before, write in ((text, into_script), (recorded, into_notebook)):
        public = write(before, PUBLIC)
        local = write(public, LOCAL)
        assert public != local == write(before, LOCAL) == write(local, LOCAL)
    before, after = (nbformat.reads(one, as_version=4) for one in (recorded, into_notebook(recorded, PUBLIC)))
    scripted = jupytext.reads(into_script(text, PUBLIC)).cells
    assert [cell.source for cell in after.cells] == [cell.source for cell in scripted]
    assert len(without_opening(after)) == len(after.cells) - 1
    for old, new in zip(without_opening(before), without_opening(after), strict=True):
        assert as_recorded(old) == as_recorded(new)


def without_opening(notebook):
    return [cell for cell in notebook.cells if opening.TAG not in cell.metadata.get("tags", [])]


def as_recorded(cell):
    """A cell and its outputs without their numbers."""
    outputs = [{**output, "execution_count": None} for output in cell.get("outputs", [])]
    return cell.id, cell.cell_type, cell.source, cell.metadata, outputs


def test_the_notebook_is_as_if_it_had_been_recorded_with_the_cell(tmp_path):
    name = SCRIPTS[0].stem
    recorded = (NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8")
    notebook = nbformat.reads(into_notebook(recorded, LOCAL), as_version=4)
    nbformat.validate(notebook)
    assert list(problems(notebook)) == []
    script = tmp_path / "chapter.py"
    script.write_text(into_script(SCRIPTS[0].read_text(encoding="utf-8"), LOCAL), encoding="utf-8")
    built = build(script).cells
    for as_built, as_written in zip(built, notebook.cells, strict=True):
        assert (as_built.metadata, as_built.source) == (as_written.metadata, as_written.source)
    assert opening.TAG in built[1].metadata.tags and built[1].id == notebook.cells[1].id


def test_what_has_no_code_is_refused(tmp_path, monkeypatch):
    text = nbformat.writes(nbformat.v4.new_notebook())
    for before, write in (("# %% [markdown]\n# a text\n", into_script), (text, into_notebook)):
        with pytest.raises(OpeningError, match="it has no code cell"):
            write(before, LOCAL)
    monkeypatch.setattr(opening, "ROOT", tmp_path)
    (tmp_path / "chapter.py").write_text("# %% [markdown]\n", encoding="utf-8")
    with pytest.raises(OpeningError, match=r"^chapter\.py: it has no code cell"):
        opening.rewrite(tmp_path / "chapter.py", partial(into_script, cell=LOCAL))


@pytest.mark.parametrize(
    ("urls", "name"),
    [
        ("", None),
        ("[project.urls]", None),
        ('[project.urls]\nRepository = "https://github.com/someone/the-book"', "someone/the-book"),
        ('[project.urls]\nRepository = "https://github.com/someone/the-book.git"', "someone/the-book"),
        ('[project.urls]\nRepository = "https://github.com/someone/the.book/"', "someone/the.book"),
    ],
)
def test_the_address_is_the_project_s(urls, name, tmp_path, monkeypatch):
    (tmp_path / "pyproject.toml").write_text(f"[project]\nname = 'book'\n{urls}\n", encoding="utf-8")
    monkeypatch.setattr(opening, "ROOT", tmp_path)
    assert opening.repository() == name


@pytest.mark.parametrize(
    "address", ["", "someone/the-book", "https://gitlab.com/someone/the-book", "https://github.com/someone"]
)
def test_an_address_that_is_not_github_s_is_refused_in_a_line(address, tmp_path, monkeypatch):
    text = f"[project]\nname = 'book'\nurls.Repository = '{address}'\n"
    (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
    monkeypatch.setattr(opening, "ROOT", tmp_path)
    with pytest.raises(SystemExit) as stop:
        opening.main()
    assert f"[project.urls], Repository: {address!r} is not of the form https://github.com/" in str(stop.value)
    assert "\n" not in str(stop.value)


def test_without_an_address_no_badge_is_shown_and_with_one_every_chapter_has_two():
    readme = (opening.ROOT / "README.md").read_text(encoding="utf-8")
    assert badges(None, ["00_what"]) == ""
    assert "badge.svg" not in into_readme(readme, "")
    lines = badges("someone/the-book", ["00_what", "01_what"])
    shown = into_readme(readme, lines)
    assert into_readme(shown, "") == into_readme(readme, "")
    for link in (
        "(https://codespaces.new/someone/the-book)",
        "(https://mybinder.org/v2/gh/someone/the-book/main?urlpath=lab/tree/notebooks/01_what.ipynb)",
        "(https://colab.research.google.com/github/someone/the-book/blob/main/notebooks/01_what.ipynb)",
    ):
        assert shown.count(link) == 1
    assert lines.count("[![Open") == 1 + 2 * 2
    with pytest.raises(OpeningError, match="lost its two marks"):
        into_readme("# The DPO workbook\n", lines)


def test_the_readme_has_the_badges_of_the_address():
    readme = (opening.ROOT / "README.md").read_text(encoding="utf-8")
    lines = badges(opening.repository(), [script.stem for script in SCRIPTS])
    assert into_readme(readme, lines) == readme, "run `python -m tools.opening`"
    project = tomllib.loads((opening.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert ("badge.svg" in readme) == ("Repository" in project.get("urls", {}))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_every_chapter_opens_with_the_cell(script):
    cell = opening.opening(opening.repository())
    text = script.read_text(encoding="utf-8")
    recorded = (NOTEBOOKS / f"{script.stem}.ipynb").read_text(encoding="utf-8")
    says = "run `python -m tools.opening`"
    assert text.count(opening.MARKER) == 1, says
    assert into_script(text, cell) == text and into_notebook(recorded, cell) == recorded, says
