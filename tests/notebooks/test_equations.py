"""Every equation of the summary is asserted on a page: cells tagged eq-1 to eq-7, listed in the README's table."""

import re
from pathlib import Path

import jupytext
import pytest

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| \((\d)\) [^|]*\| (.+) \|$", re.MULTILINE)
TOLERANCE = re.compile(r"atol=(1e-\d+)|rtol=(1e-\d+)|< (1e-\d+)")


def tagged_cells():
    """(equation, notebook) → the sources of its tagged cells."""
    found = {}
    for path in sorted(ROOT.glob("notebooks/py/*.py")):
        for cell in jupytext.read(path).cells:
            for tag in cell.metadata.get("tags", []):
                if tag.startswith("eq-"):
                    found.setdefault((int(tag[3:]), path.stem), []).append(cell.source)
    return found


def listed():
    """(equation, notebook) pairs of the README's table of equations."""
    table = (ROOT / "README.md").read_text(encoding="utf-8")
    return {
        (int(equation), name)
        for equation, chapters in ROW.findall(table)
        for name in re.findall(r"notebooks/(\w+)\.ipynb", chapters)
    }


def test_the_readme_lists_exactly_the_chapters_with_tagged_cells():
    assert listed() == set(tagged_cells())


@pytest.mark.parametrize("place", tagged_cells(), ids=lambda place: f"eq-{place[0]} in {place[1]}")
def test_a_tagged_cell_asserts_to_a_hundred_thousandth_or_better(place):
    for source in tagged_cells()[place]:
        asserts = [line for line in source.splitlines() if line.lstrip().startswith("assert")]
        tolerances = [float(next(filter(None, groups))) for groups in TOLERANCE.findall(source)]
        assert asserts and tolerances, f"nothing is asserted with a tolerance in:\n{source}"
        assert max(tolerances) <= 1e-5, source
