"""Run the notebooks and record their outputs: `python -m tools.record [NAME ...]`, all without a name.

notebooks/py/NAME.py is the source; notebooks/NAME.ipynb is made from it here and nowhere else. Outputs
saved from a browser differ from these in ways that the tests, rightly, do not accept.
"""

import hashlib
import os
import sys
import tempfile
import time
import tomllib
from functools import partial
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from dpo_book.system.files import replace_whole
from tools.kernel_env import KERNEL_ENV
from tools.notebook_rules import WIDGET, problems

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
PAIRING = tomllib.loads((NOTEBOOKS / "jupytext.toml").read_text(encoding="utf-8"))
METADATA = {
    # JupyterLab adds it with the first save: so that saving an unchanged chapter changes nothing
    "jupytext": {name: PAIRING[name] for name in ("cell_metadata_filter", "notebook_metadata_filter")},
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
CELL_METADATA = {"tags", "slideshow", "jupyter"}
# Seconds for a cell and for a kernel's start: a slow or busy machine needs less, and what hangs ends all the same.
LIMITS = {"timeout": 1800, "startup_timeout": 600}


class Recorder(NotebookClient):
    """Keeps what a cell prints as nbval will see it: widgets and clear_output do not rewrite outputs."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.comm_open_handlers = {}

    def clear_output(self, *args, **kwargs):
        pass


def build(script: Path) -> nbformat.NotebookNode:
    """The notebook that a script describes, not run yet; an unchanged cell keeps its id."""
    notebook = jupytext.read(script)
    notebook.metadata = nbformat.from_dict(METADATA)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    seen: dict[str, int] = {}
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({k: v for k, v in cell.metadata.items() if k in CELL_METADATA})
        digest = digest_of(cell)
        seen[digest] = seen.get(digest, 0) + 1
        cell.id = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"
    return notebook


def digest_of(cell: nbformat.NotebookNode) -> str:
    """What a recorded cell's id starts with: who edits the cell leaves the id as it is."""
    return hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:12]


def written_by_hand(path: Path, script: Path) -> list[str]:
    """Sources of the cells that somebody wrote into a notebook and that its script lacks."""
    if not path.exists():
        return []
    kept = {cell.source for cell in jupytext.read(script).cells}
    cells = nbformat.read(path, as_version=4).cells
    edited = [cell.source for cell in cells if not cell.get("id", "").startswith(digest_of(cell))]
    return [source for source in edited if source.strip() and source not in kept]


def run(notebook: nbformat.NotebookNode) -> None:
    """Run every cell in a fresh kernel, and leave nothing in the notebook that depends on the day."""
    Recorder(
        notebook,
        **LIMITS,
        kernel_name="python3",
        extra_arguments=["--IPKernelApp.log_level=ERROR"],
        store_widget_state=False,
        record_timing=False,
        resources={"metadata": {"path": str(NOTEBOOKS)}},
    ).execute()
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = joined(cell.outputs)
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "text/html" in data:
                data.pop(WIDGET, None)  # gone with its kernel; pages show the HTML instead


def joined(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """What a cell prints in one piece: into how many it falls depends on how busy the machine was."""
    found: list[nbformat.NotebookNode] = []
    for output in outputs:
        before = found[-1] if found else {}
        if output.output_type == "stream" and before.get("name") == output.name:
            found[-1] = nbformat.from_dict({**before, "text": before.text + output.text})
        else:
            found.append(output)
    return found


def write(notebook: nbformat.NotebookNode, path: Path) -> None:
    """All or nothing: a recording cut short leaves the old file."""
    nbformat.validate(notebook)
    replace_whole(path, partial(nbformat.write, notebook))


def record(script: Path) -> list[str]:
    """Record one notebook; where it breaks a rule nothing is written, and the list says why."""
    notebook = build(script)
    try:
        run(notebook)
    except CellExecutionError as error:  # the cells after it have not run: only what it raised matters
        return [problem for problem in problems(notebook) if f"{error.ename}: " in problem]
    except (CellTimeoutError, DeadKernelError) as error:
        return [str(error)]
    found = list(problems(notebook))
    if not found:
        write(notebook, NOTEBOOKS / f"{script.stem}.ipynb")
    return found


def main(names: list[str]) -> None:
    scripts = [NOTEBOOKS / "py" / f"{name}.py" for name in names] or sorted(NOTEBOOKS.glob("py/*.py"))
    if not scripts:
        sys.exit("notebooks/py is empty: nothing to record")
    if missing := [script.name for script in scripts if not script.exists()]:
        sys.exit(f"notebooks/py has no {', '.join(missing)}")
    for script in scripts:
        if found := written_by_hand(NOTEBOOKS / f"{script.stem}.ipynb", script):
            first = found[0].strip().splitlines()[0]
            sys.exit(
                f"{script.stem}.ipynb holds {len(found)} cells that py/{script.name} lacks, and recording would lose "
                f"them; the first starts {first!r}. Write into the script what is to stay, then delete the notebook."
            )
    os.environ |= KERNEL_ENV
    with tempfile.TemporaryDirectory(prefix="dpo-book-") as cache:
        os.environ["DPO_BOOK_CACHE"] = cache
        for script in scripts:
            start = time.perf_counter()
            if found := record(script):
                sys.exit("\n".join(f"{script.stem}, {problem}" for problem in found))
            print(f"{script.stem}: {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
