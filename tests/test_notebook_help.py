"""What notebooks call: figures with alt text, and stored results from all folders of the book."""

import base64

import pytest
from IPython.core.formatters import DisplayFormatter
from matplotlib.figure import Figure

from dpo_book import plots
from dpo_book.notebook import figure_output, stored
from tools.record import NOTEBOOKS


@pytest.fixture
def shown():
    """``shown(figure)``: what IPython gives a notebook for it, and the metadata."""
    formatter = DisplayFormatter()
    formatter.mimebundle_formatter.for_type(Figure, figure_output)
    return formatter.format


def test_a_figure_is_shown_with_its_alt_text(shown):
    figure = plots.probability_mass(['"a" < b'], [0.4], [0.1])
    data, metadata = shown(figure)
    assert data["image/png"] == plots.png(figure)
    assert base64.b64encode(data["image/png"]).decode() in data["text/html"]
    assert "&quot;a&quot; &lt; b: 0.40 to 0.10" in data["text/html"]
    assert metadata["image/png"]["alt"] == figure.get_label()


def test_a_readers_own_figure_is_shown_too(shown):
    data, _ = shown(Figure())
    assert data["image/png"].startswith(b"\x89PNG") and "text/html" not in data


def test_stored_results_are_found_from_every_folder_of_the_book(tmp_path, monkeypatch):
    results = tmp_path / "notebooks" / "results"
    results.mkdir(parents=True)
    (results / "table.csv").write_text("a\n1\n")
    for folder in (tmp_path, tmp_path / "notebooks", tmp_path / "teacher", tmp_path / "teacher" / "source"):
        folder.mkdir(exist_ok=True)
        monkeypatch.chdir(folder)
        assert stored("table.csv") == results / "table.csv"
    with pytest.raises(FileNotFoundError, match=r"results/none\.csv.*book's own folders"):
        stored("none.csv")


def test_a_chapter_outside_the_book_reads_what_its_package_was_installed_with(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert stored("verdicts.csv") == NOTEBOOKS / "results" / "verdicts.csv"
