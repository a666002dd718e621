"""What notebooks find whichever of the book's folders they are opened in."""

import pytest

from dpo_book.notebook import stored


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
