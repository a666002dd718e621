"""Where a run's numbers go besides its folder: Trackio's files, on this machine."""

import json
import os
from pathlib import Path

import pytest

from dpo_book.cli import trackers
from dpo_book.maths.require import SettingError
from tests.small_data import first_preferences

Api = pytest.importorskip("trackio").Api
TINY = ("--policy=mini", "--steps=6", "--batch-size=4", "--learning-rate=1e-3", "--warmup-steps=0")


def told(project):
    """Run's name → its config and what Trackio holds of it, step → numbers by name."""
    from trackio.sqlite_storage import SQLiteStorage

    runs = {}
    for run in Api().runs(project):
        by_step = {}
        for row in SQLiteStorage.get_logs(project, run.name, run_id=run.id):
            row.pop("timestamp")
            by_step.setdefault(row.pop("step"), []).append(row)
        runs.setdefault(run.name, []).append((run.config, by_step))
    return runs


def test_a_run_tells_trackio_its_numbers_and_is_no_other_for_it(book, tmp_path):
    few = first_preferences(24, tmp_path)
    run = ("dpo", "--data", few, "--beta", "0.3", "--eval-share", "0.3", "--eval-samples", "0", "--eval-every", "3")
    assert book(*run, *TINY, "--out", tmp_path / "alone")[0] == 0
    status, printed, said = book(*run, *TINY, "--out", tmp_path / "told", "--trackio", "numbers")
    assert (
        status == 0 and "Trackio" not in printed and "Reserved" not in said
    )  # its own lines would stand between those of the bar
    files = [(tmp_path / name / "metrics.jsonl").read_bytes() for name in ("alone", "told")]
    assert files[0] == files[1]

    ((config, by_step),) = told("numbers")["told"]
    assert config["beta"] == 0.3 and config["method"] == "dpo"
    assert sorted(by_step) == [0, 1, 2, 3, 4, 5, 6]
    for line in files[1].splitlines():
        record = json.loads(line)
        shown = next(row for row in by_step[record["step"]] if "loss" in row)
        assert shown["loss"] == record["loss"] and shown["rewards/margins"] == record["rewards/margins"]
    evaluated = [json.loads(line) for line in (tmp_path / "told" / "evaluations.jsonl").read_text().splitlines()]
    for row in evaluated:
        assert any(shown.get("held-out/loss") == row["loss"] for shown in by_step[row["step"]])
    assert "trackio =" not in (tmp_path / "alone" / "run.toml").read_text()


def test_a_run_that_goes_on_replaces_what_it_told_and_no_other_run_of_its_name(tmp_path):
    def tell(folder, before, steps):
        with trackers.trackio("again", folder, {"beta": 0.1}, before) as log:
            for step in steps:
                log({"loss": 1 / step}, step)

    mine, other = tmp_path / "a" / "run", tmp_path / "b" / "run"
    tell(other, [], [1, 2])
    tell(mine, [], [1, 2, 3, 4, 5])
    tell(mine, [({"loss": 1.0}, 1), ({"loss": 0.5}, 2)], [3, 4])
    runs = {config["folder"]: by_step for config, by_step in told("again")["run"]}
    assert {place: sorted(steps) for place, steps in runs.items()} == {
        str(mine): [1, 2, 3, 4],
        str(other): [1, 2],
    }
    assert [len(rows) for rows in runs[str(mine)].values()] == [1] * 4


@pytest.mark.parametrize("name", ["", "  ", "a/b", "../up", "registry-x", "x" * 65, "-x", "ü"])
def test_a_project_needs_a_name(name):
    with pytest.raises(SettingError, match="name of a project"):
        trackers.require_project(name)


def test_a_broken_project_is_told_in_a_line_before_anything_is_trained(book, tmp_path):
    broken = Path(os.environ["TRACKIO_DIR"]) / "broken.db"
    broken.parent.mkdir(exist_ok=True)
    broken.write_text("no database")
    few = first_preferences(8, tmp_path)
    status, printed, said = book("dpo", "--data", few, "--out", tmp_path / "run", *TINY, "--trackio", "broken")
    broken.unlink()
    assert (status, printed) == (2, "") and "Traceback" not in said
    assert "--trackio broken: Trackio cannot use its files in" in said and "not a database" in said
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


@pytest.mark.parametrize("variable", ["TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL", "TRACKIO_BUCKET_ID"])
def test_numbers_stay_on_this_machine(book, tmp_path, monkeypatch, variable):
    monkeypatch.setenv(variable, "someone/else")
    few = first_preferences(8, tmp_path)
    status, printed, said = book("dpo", "--data", few, "--out", tmp_path / "run", *TINY, "--trackio", "numbers")
    assert (status, printed) == (2, "") and f"{variable} sends them away: unset it" in said
    assert not (tmp_path / "run").exists()
