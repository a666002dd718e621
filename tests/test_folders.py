"""The folders are the architecture: import-linter holds the code against the layers that pyproject.toml draws."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINT = "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())"


def lint(folder: Path) -> tuple[int, str]:
    """import-linter's exit status and what it prints, on the package in ``folder``."""
    done = subprocess.run([sys.executable, "-c", LINT, "--no-cache"], cwd=folder, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def names_from_the_root(tree: ast.AST) -> list[str]:
    """What a file imports from ``dpo_book`` itself, by its absolute name."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "dpo_book":
            found += [name.name for name in node.names]
    return found


def test_nothing_in_the_package_takes_public_names_from_its_front_door():
    """The root loads names when they are asked for: import-linter does not see where they come from."""
    files = list((ROOT / "dpo_book").rglob("*.py"))
    assert len(files) > 70
    for path in files:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert not [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level], path
        for name in names_from_the_root(tree):
            room = ROOT / "dpo_book" / name
            assert room.is_dir() or room.with_suffix(".py").exists(), f"{path} imports {name} from dpo_book"


@pytest.fixture
def copy(tmp_path):
    """The package and its contracts, to be spoilt."""
    shutil.copytree(ROOT / "dpo_book", tmp_path / "dpo_book", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_no_folder_imports_from_one_above_it():
    status, said = lint(ROOT)
    assert status == 0, said


@pytest.mark.parametrize(
    ("file", "line", "broken"),
    [
        ("maths/objective.py", "from dpo_book.models.policy import sample", "maths.objective -> dpo_book.models"),
        ("models/policy.py", "import dpo_book.training.loop", "models.policy -> dpo_book.training"),
        ("data/pairs.py", "def f():\n    from dpo_book.worlds import imdb", "data.pairs -> dpo_book.worlds"),
        ("evaluation/sampled.py", "from dpo_book.training import loop", "evaluation.sampled -> dpo_book.training"),
        ("checks/dpo.py", "from dpo_book.worlds import verdicts", "checks.dpo -> dpo_book.worlds"),
        ("cli/app.py", "from dpo_book import widgets", "cli.app -> dpo_book.widgets"),
        ("plots/style.py", "from dpo_book.maths import exact", "plots.style -> dpo_book.maths"),
    ],
)
def test_an_import_from_above_is_found(copy, file, line, broken):
    with open(copy / "dpo_book" / file, "a", encoding="utf-8") as source:
        source.write(f"\n{line}\n")
    status, said = lint(copy)
    assert status == 1 and "BROKEN" in said and broken in said


def test_a_new_folder_has_to_be_given_a_layer(copy):
    (copy / "dpo_book" / "attic").mkdir()
    (copy / "dpo_book" / "attic" / "__init__.py").touch()
    status, said = lint(copy)
    assert status == 1 and "attic" in said
