"""The cell that every chapter opens with, and the README's badges: `python -m tools.opening` writes both.

The cell installs the book where it is not installed, as on Colab, and does nothing elsewhere. It stands above a
chapter's other code, in its script and its notebook; other cells and their outputs stay as they are.

The book's public address stands in pyproject.toml, as the project's URL `Repository`, and nowhere else: the cell and
the badges are made from it. Without one there are no badges, and the cell installs from the folder around the
chapter, or says what to do.
"""

import json
import re
import sys
import tomllib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from dpo_book.system.files import replace_whole
from tools import teacher
from tools.record import NOTEBOOKS, digest_of

ROOT = NOTEBOOKS.parent
TAG = "install"
TAGS = [TAG, "hide-input", "remove-cell"]  # folded, and no part of a page's length; not on the web book's pages
METADATA = {"jupyter": {"source_hidden": True}, "tags": TAGS}
MARKER = f'# %% jupyter={{"source_hidden": true}} tags={json.dumps(TAGS)}\n'
BRANCH = "main"
IN_ITS_FOLDER = "Open the chapter in the book's own folder"  # while there is no public address to install from
FOLDER_ALONE = f'assert os.path.isdir("../dpo_book"), "{IN_ITS_FOLDER}"'
CELL = """\
# Where the book is not installed this cell installs it. Elsewhere it does nothing.
import os
import site
from importlib.util import find_spec

if find_spec("dpo_book") is None:
    {where}
    print("The book is not installed here. Installing it takes some minutes.")
    get_ipython().run_line_magic("pip", {arguments})
    site.main()"""

ADDRESS = re.compile(r"https://github\.com/(?P<name>[\w.-]+/[\w.-]+?)(\.git)?/?")
BADGES = re.compile(r"(?<=<!-- badges, by python -m tools\.opening -->\n).*?(?=<!-- end of badges -->)", re.DOTALL)
SCRIPT_CELL = re.compile(r"^# %%.*\n", re.MULTILINE)
NO_CODE = "it has no code cell that the opening could stand above"


class OpeningError(ValueError):
    """The cell or the badges cannot be written; the message says why, and what would be right."""


def repository() -> str | None:
    """OWNER/NAME of the book's public repository; None while pyproject.toml names none.

    OpeningError for an address that is not GitHub's: Binder's, Colab's and Codespaces' links are made for those.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    address = project.get("urls", {}).get("Repository")
    if address is None:
        return None
    if not (found := ADDRESS.fullmatch(address)):
        raise OpeningError(
            f"pyproject.toml, [project.urls], Repository: {address!r} is not of the form https://github.com/OWNER/NAME"
        )
    return found["name"]


def opening(name: str | None) -> str:
    """The cell's source, for the repository ``name``; None: there is none."""
    if name is None:
        return CELL.format(where=FOLDER_ALONE, arguments='"install --quiet --editable .."')
    public = f"git+https://github.com/{name}#egg=dpo-book"
    where = f'book = ".." if os.path.isdir("../dpo_book") else "{public}"'
    return CELL.format(where=where, arguments='f"install --quiet --editable {book}"')


def into_script(text: str, cell: str) -> str:
    """A chapter's script with this cell, and no other of its kind, above its first code cell."""
    starts = [found.start() for found in SCRIPT_CELL.finditer(text)]
    parts = [text[start:end] for start, end in zip(starts, [*starts[1:], None], strict=True)]
    others = [part for part in parts if not part.startswith(MARKER)]
    first = next((i for i, part in enumerate(others) if not part.startswith("# %% [markdown]")), None)
    if first is None:
        raise OpeningError(NO_CODE)
    return text[: starts[0]] + "".join([*others[:first], f"{MARKER}{cell}\n\n", *others[first:]])


def into_notebook(text: str, cell: str) -> str:
    """A recorded notebook's file with this cell, and no other of its kind, as if it had been recorded with it."""
    notebook = nbformat.reads(text, as_version=4)
    others = [one for one in notebook.cells if TAG not in one.metadata.get("tags", [])]
    first = next((i for i, one in enumerate(others) if one.cell_type == "code"), None)
    if first is None:
        raise OpeningError(NO_CODE)
    new = nbformat.v4.new_code_cell(cell, execution_count=1)
    new.metadata = nbformat.from_dict(METADATA)
    new.id = digest_of(new)
    notebook.cells = [*others[:first], new, *others[first:]]
    _count_anew(notebook)
    return nbformat.writes(notebook) + "\n"


def _count_anew(notebook: NotebookNode) -> None:
    """Number the cells that were run as a run from the top does."""
    run = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.execution_count is not None]
    for count, cell in enumerate(run, start=1):
        cell.execution_count = count
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = count


def badges(name: str | None, chapters: list[str]) -> str:
    """The README's lines between its marks: ways into every chapter without installing; none without an address."""
    if name is None:
        return ""
    codespaces = _badge("Open in GitHub Codespaces", "github.com/codespaces/badge.svg", f"codespaces.new/{name}")
    lines = [codespaces, "", "| chapter | Binder | Colab |", "|---|---|---|"]
    for chapter in chapters:
        path = f"notebooks/{chapter}.ipynb"
        binder = f"mybinder.org/v2/gh/{name}/{BRANCH}?urlpath=lab/tree/{path}"
        colab = f"colab.research.google.com/github/{name}/blob/{BRANCH}/{path}"
        number = chapter[:2]
        ways = [
            _badge(f"Open chapter {number} on Binder", "mybinder.org/badge_logo.svg", binder),
            _badge(f"Open chapter {number} in Colab", "colab.research.google.com/assets/colab-badge.svg", colab),
        ]
        lines.append(f"| {number} | {' | '.join(ways)} |")
    return "\n".join(lines) + "\n"


def _badge(alt: str, picture: str, link: str) -> str:
    return f"[![{alt}](https://{picture})](https://{link})"


def into_readme(text: str, lines: str) -> str:
    """The README with these lines between its two marks."""
    if not BADGES.search(text):
        raise OpeningError("README.md has lost its two marks around the badges")
    return BADGES.sub(lambda _: lines, text)


def rewrite(path: Path, edit: Callable[[str], str]) -> None:
    """Put what ``edit`` makes of a file's text in its place; a file that is right already is not touched."""
    text = path.read_text(encoding="utf-8")
    try:
        edited = edit(text)
    except OpeningError as error:
        raise OpeningError(f"{path.name}: {error}") from None
    if edited != text:
        replace_whole(path, partial(Path.write_text, data=edited, encoding="utf-8", newline="\n"))
        print(path.relative_to(ROOT))


def main() -> None:
    scripts = sorted(NOTEBOOKS.glob("py/*.py"))
    try:
        name = repository()
        cell = opening(name)
        for script in scripts:
            rewrite(script, partial(into_script, cell=cell))
            rewrite(NOTEBOOKS / f"{script.stem}.ipynb", partial(into_notebook, cell=cell))
        rewrite(ROOT / "README.md", partial(into_readme, lines=badges(name, [script.stem for script in scripts])))
    except OpeningError as error:
        sys.exit(f"error: {error}")
    teacher.main()


if __name__ == "__main__":
    main()
