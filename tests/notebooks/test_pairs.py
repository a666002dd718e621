"""A notebook and its script say the same, or JupyterLab opens neither: nothing that stands in one alone is lost.

JupyterLab with jupytext, without a browser: what it does when a notebook is opened is its contents manager's ``get``,
and what it does when it is saved is ``save``.
"""

import json
import os
import shutil
from pathlib import Path

import jupytext
import nbformat
import pytest
from jupyter_server.services.contents.largefilemanager import LargeFileManager
from jupytext.cli import jupytext as command_line
from tornado.web import HTTPError

from tools import record
from tools.record import NOTEBOOKS, written_by_hand

CHAPTERS = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
# After a clone, a copy or an unpacked archive the clock says anything of notebook and script.
CLOCKS = {
    "notebook newer": (2e9, 1e9),
    "script newer": (1e9, 2e9),
    "same time": (1.5e9, 1.5e9),
    "notebook from 1970": (1.0, 2e9),
}
every_chapter = pytest.mark.parametrize("name", CHAPTERS)
every_clock = pytest.mark.parametrize("clock", CLOCKS)


class Pair:
    """A copy of a chapter and its script, and a JupyterLab without a browser."""

    def __init__(self, folder, name):
        book = folder / "notebooks"
        (book / "py").mkdir(parents=True)
        self.name, self.place = name, f"notebooks/{name}.ipynb"
        self.notebook = Path(shutil.copy(NOTEBOOKS / f"{name}.ipynb", book))
        self.script = Path(shutil.copy(NOTEBOOKS / "py" / f"{name}.py", book / "py"))
        shutil.copy(NOTEBOOKS / "jupytext.toml", book)
        self.lab = jupytext.build_sync_jupytext_contents_manager_class(LargeFileManager)(root_dir=str(folder))

    def set(self, clock):
        for path, time in zip((self.notebook, self.script), CLOCKS[clock], strict=True):
            os.utime(path, (time, time))

    def open(self):
        return self.lab.get(self.place)

    def open_and_save(self):
        self.lab.save(self.open(), self.place)

    def bytes(self):
        return self.notebook.read_bytes(), self.script.read_bytes()

    def sources(self):
        return [cell.source for cell in nbformat.read(self.notebook, as_version=4).cells]

    def edit_notebook(self, edit):
        """As an editor does that knows nothing of the script."""
        notebook = nbformat.read(self.notebook, as_version=4)
        edit(notebook.cells)
        nbformat.write(notebook, self.notebook)


@pytest.fixture
def pair(tmp_path, request):
    return Pair(tmp_path, getattr(request, "param", CHAPTERS[0]))


def answer(cells):
    """An answer in the last code cell, where there is most room for one."""
    last = [cell for cell in cells if cell.cell_type == "code"][-1]
    last.source += "\n# my answer"


def prediction(cells):
    cells[0].source += "\n\nMy prediction: my answer is somewhere near."


def new_cell(cells):
    cells.insert(3, nbformat.v4.new_code_cell("# my answer"))


@every_clock
@every_chapter
def test_an_unchanged_chapter_opens_and_saving_it_changes_nothing(name, clock, tmp_path):
    pair = Pair(tmp_path, name)
    before = pair.bytes()
    pair.set(clock)
    pair.open_and_save()
    assert pair.bytes() == before
    pair.open_and_save()
    assert pair.bytes() == before


def refused(pair):
    """Opening is refused; what JupyterLab says. Nothing is touched."""
    before = pair.bytes()
    with pytest.raises(HTTPError) as error:
        pair.open()
    assert error.value.status_code == 400
    assert pair.bytes() == before
    return error.value.log_message


@every_clock
@pytest.mark.parametrize("edit", [answer, prediction, new_cell])
def test_what_was_written_into_the_notebook_alone_is_not_lost(edit, clock, pair):
    pair.edit_notebook(edit)
    pair.set(clock)
    said = refused(pair)
    assert "my answer" in said
    assert f"or delete notebooks/py/{pair.name}.py if not up to date" in said


@every_chapter
def test_answers_of_every_chapter_are_kept_by_deleting_the_script(name, tmp_path):
    pair = Pair(tmp_path, name)
    pair.edit_notebook(answer)
    pair.set("script newer")
    refused(pair)
    pair.script.unlink()
    pair.open_and_save()
    assert any("# my answer" in source for source in pair.sources())
    assert "# my answer" in pair.script.read_text(encoding="utf-8")
    before = pair.bytes()
    pair.open_and_save()
    assert pair.bytes() == before


def by_vs_code(notebook):
    notebook["metadata"]["kernelspec"]["display_name"] = ".venv (3.12.1)"
    notebook["metadata"]["language_info"]["version"] = "3.12.1"
    for cell in notebook["cells"]:
        cell["metadata"]["vscode"] = {"languageId": "python"}


def by_colab(notebook):
    notebook["nbformat_minor"] = 0
    notebook["metadata"]["colab"] = {"provenance": []}
    for place, cell in enumerate(notebook["cells"]):
        del cell["id"]
        cell["metadata"]["id"] = f"colab{place}"


@pytest.mark.parametrize("editor", [by_vs_code, by_colab])
def test_a_chapter_that_was_only_run_elsewhere_opens(editor, pair):
    notebook = json.loads(pair.notebook.read_text(encoding="utf-8"))
    editor(notebook)
    pair.notebook.write_text(json.dumps(notebook), encoding="utf-8")
    _, script = pair.bytes()
    pair.open_and_save()
    assert pair.script.read_bytes() == script
    assert written_by_hand(pair.notebook, pair.script) == []


def test_answers_written_in_jupyterlab_are_in_both_files(pair):
    model = pair.open()
    answer(model["content"].cells)
    pair.lab.save(model, pair.place)
    before = pair.bytes()
    assert all(b"# my answer" in content for content in before)
    pair.open_and_save()
    assert pair.bytes() == before


@every_chapter
def test_a_script_edited_alone_is_taken_over_by_one_command_with_outputs_kept(name, tmp_path, monkeypatch):
    pair = Pair(tmp_path, name)
    outputs = [cell.outputs for cell in nbformat.read(pair.notebook, as_version=4).cells if cell.cell_type == "code"]
    text = pair.script.read_text(encoding="utf-8")
    pair.script.write_text(text.replace("# %%\n", "# %%\n# mine\n", 1), encoding="utf-8")
    assert "-# mine" in refused(pair)
    monkeypatch.chdir(tmp_path)
    command_line(["--to", "ipynb", "--update", "--output", pair.place, f"notebooks/py/{name}.py"])
    script = pair.script.read_bytes()
    pair.open_and_save()
    assert pair.script.read_bytes() == script
    cells = nbformat.read(pair.notebook, as_version=4).cells
    assert [cell.source.startswith("# mine") for cell in cells if "# mine" in cell.source] == [True]
    assert [cell.outputs for cell in cells if cell.cell_type == "code"] == outputs


def test_the_command_stands_in_jupytexts_configuration():
    text = (NOTEBOOKS / "jupytext.toml").read_text(encoding="utf-8")
    assert "jupytext --to ipynb --update --output notebooks/NAME.ipynb notebooks/py/NAME.py" in text


@pytest.mark.parametrize("edit", [answer, prediction, new_cell])
def test_recording_refuses_to_lose_what_was_written_into_a_notebook(edit, pair, monkeypatch):
    monkeypatch.setattr(record, "NOTEBOOKS", pair.notebook.parent)
    pair.edit_notebook(edit)
    before = pair.bytes()
    with pytest.raises(SystemExit, match=f"{pair.name}.ipynb holds 1 cells that py/{pair.name}.py lacks"):
        record.main([pair.name])
    assert pair.bytes() == before


def test_only_what_the_script_lacks_counts_as_written_by_hand(pair):
    assert written_by_hand(pair.notebook, pair.script) == []
    text = pair.script.read_text(encoding="utf-8")
    pair.script.write_text(text.replace("# %%\n", "# %%\n# the author's\n", 1), encoding="utf-8")
    assert written_by_hand(pair.notebook, pair.script) == []  # as it was recorded
    pair.edit_notebook(new_cell)
    assert written_by_hand(pair.notebook, pair.script) == ["# my answer"]
    pair.script.write_text(pair.script.read_text(encoding="utf-8") + "\n# %%\n# my answer\n", encoding="utf-8")
    assert written_by_hand(pair.notebook, pair.script) == []
