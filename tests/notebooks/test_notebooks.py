"""What is committed in notebooks/: each notebook is its script, run once from top to bottom."""

from pathlib import Path

import jupytext
import nbformat
import pytest

from tools.notebook_rules import WIDGET, problems
from tools.picture import PICTURE, first_figure
from tools.record import build, joined

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
FOUND = sorted(NOTEBOOKS.glob("*.ipynb"))
every_notebook = pytest.mark.parametrize("path", FOUND, ids=lambda path: path.stem)


def as_written(notebook):
    """What an author writes of a notebook, cell by cell."""
    return [
        (cell.cell_type, cell.source, cell.metadata.get("tags", []), cell.metadata.get("jupyter", {}))
        for cell in notebook.cells
    ]


def test_every_script_has_its_notebook():
    scripts = {path.stem for path in NOTEBOOKS.glob("py/*.py")}
    assert scripts, "notebooks/py is empty"
    assert scripts == {path.stem for path in FOUND}, "run `make outputs`"


@every_notebook
def test_notebook_says_what_its_script_says(path):
    script = jupytext.read(NOTEBOOKS / "py" / f"{path.stem}.py")
    assert as_written(jupytext.read(path)) == as_written(script), f"run `make outputs NB={path.stem}`"


@every_notebook
def test_notebook_is_valid(path):
    nbformat.validate(nbformat.read(path, as_version=4))


@every_notebook
def test_outputs_keep_the_rules(path):
    assert list(problems(nbformat.read(path, as_version=4))) == []


def test_unchanged_cells_keep_their_ids(tmp_path):
    script = tmp_path / "chapter.py"
    script.write_text("# %%\n1\n\n# %%\n2\n\n# %%\n2\n")
    before = [cell.id for cell in build(script).cells]
    script.write_text("# %%\n0\n\n# %%\n1\n\n# %%\n2\n\n# %%\n2\n")
    after = [cell.id for cell in build(script).cells]
    assert len(set(after)) == 4
    assert after[1:] == before


def code(source="1", count=1, tags=(), **output):
    outputs = [nbformat.v4.new_output(**output)] if output else []
    metadata = {"tags": list(tags)}
    return nbformat.v4.new_code_cell(source, execution_count=count, outputs=outputs, metadata=metadata)


PIXELS = "data:image/png;base64,iVBO+/tmp/w=="  # what looks like a folder is none


def shown(data):
    return code(output_type="display_data", data=data)


@pytest.mark.parametrize(
    ("cell", "problem"),
    [
        (code(), None),
        (code(count=None), "execution count None, not 1"),
        (code(output_type="stream", name="stdout", text="a/b, 1/2, https://example.org/home/"), None),
        (code(output_type="stream", name="stdout", text="loaded /home/ann/model"), "/home/ann/model"),
        (code(output_type="stream", name="stdout", text="in C:\\Users\\ann"), "C:"),
        (code(output_type="stream", name="stdout", text="UserWarning: no"), "UserWarning"),
        (code(output_type="stream", name="stdout", text="\x1b[31mred"), "terminal colours"),
        (code(output_type="stream", name="stderr", text="careful"), "stderr: careful"),
        (code(output_type="error", ename="ValueError", evalue="no", traceback=[]), "ValueError: no"),
        (
            code(output_type="error", ename="ValueError", evalue="", traceback=[], tags=["raises-exception"]),
            None,
        ),
        (shown({"image/png": "aGk="}), "without alt text"),
        (shown({"text/html": f'<img src="{PIXELS}">'}), "without alt text"),
        (shown({"text/html": f'<img alt="" src="{PIXELS}">'}), "without alt text"),
        (shown({"text/html": f'<img alt="a curve" src="{PIXELS}"><img src="{PIXELS}">'}), "without alt text"),
        (shown({"image/png": "aGk=", "text/html": f'<img alt="a curve" src="{PIXELS}">'}), None),
        (shown({WIDGET: {}, "text/plain": "VBox()"}), "a widget without HTML"),
    ],
)
def test_rules_name_what_is_wrong(cell, problem):
    found = list(problems(nbformat.v4.new_notebook(cells=[cell])))
    assert len(found) == (problem is not None)
    assert not found or problem in found[0]


def test_what_a_cell_prints_is_recorded_in_one_piece():
    pieces = [("stdout", "a\n"), ("stdout", "b\n"), ("stderr", "c\n"), ("stdout", "d\n")]
    outputs = [nbformat.v4.new_output("stream", name=name, text=text) for name, text in pieces]
    outputs.insert(1, nbformat.v4.new_output("display_data", {"text/plain": "<Figure>"}))
    found = [(output.get("name"), output.get("text")) for output in joined(outputs)]
    assert found == [("stdout", "a\n"), (None, None), ("stdout", "b\n"), ("stderr", "c\n"), ("stdout", "d\n")]
    assert [output.text for output in joined(outputs[2:3] + outputs[2:3])] == ["b\nb\n"]


def test_the_readme_s_picture_is_the_recorded_one():
    assert PICTURE.read_bytes() == first_figure(), "run `make outputs`"
