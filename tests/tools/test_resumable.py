"""Tables of runs: a killed one goes on, nothing is run twice, and a finished one is left alone."""

import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest
import torch

from tests.patience import PATIENCE, next_line
from tools.resumable import Table, fill

WHOLE = """\
number,part,quotient,threads
1,0,0,1
1,1,1,1
2,0,0,1
2,1,0.5,1
3,0,0,1
3,1,0.333333,1
4,0,0,1
4,1,0.25,1
"""
# A program of its own, so that it can be killed: 3 waits, and so 4 is not begun.
PROGRAM = """
import sys
from pathlib import Path
from tests.tools.test_resumable import numbers
numbers(Path(sys.argv[1]), [4, 2, 3, 1], processes=1, waits_at=3)
"""


def in_order(rows):
    return rows.sort_values(["number", "part"])


def table_in(folder):
    return Table(folder / "results" / "numbers.csv", ["number"], in_order)


def two_rows(folder, waits_at, number):
    """The rows of a run, which also notes that it was run."""
    if number == 0:
        raise ZeroDivisionError
    if number == waits_at:
        print("waiting", flush=True)
        time.sleep(PATIENCE)
    with open(folder / "ran.txt", "a") as notes:
        notes.write(f"{number}\n")
    return [
        {"number": number, "part": part, "quotient": part / number, "threads": torch.get_num_threads()}
        for part in (0, 1)
    ]


def numbers(folder, wanted, processes, waits_at=None):
    runs = [(number,) for number in wanted]
    fill(table_in(folder), runs, partial(two_rows, folder, waits_at), processes)


def ran(folder):
    return sorted(int(line) for line in (folder / "ran.txt").read_text().splitlines())


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    numbers(folder, [4, 2, 3, 1, 2], processes=2)
    return folder


def test_a_run_has_all_its_rows_in_the_tables_order_and_is_run_once_however_often_it_is_wanted(finished):
    assert table_in(finished).path.read_text() == WHOLE
    assert ran(finished) == [1, 2, 3, 4]
    assert os.listdir(finished / "results") == ["numbers.csv"]


def test_a_finished_table_is_not_written_again(finished):
    path = table_in(finished).path
    before = path.stat()
    numbers(finished, [1, 2, 3, 4], processes=2)
    numbers(finished, [2], processes=2)
    after = path.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert ran(finished) == [1, 2, 3, 4]


def wait_for_runs(path, count):
    """Until so many runs stand in the table: a worker begins the next one before the last is written."""
    end = time.monotonic() + PATIENCE
    while len(path.read_text().splitlines() if path.exists() else []) < 1 + 2 * count:
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_killed_run_keeps_what_was_finished_and_goes_on_with_the_rest(tmp_path):
    path = table_in(tmp_path).path
    root = Path(__file__).parents[2]
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, tmp_path], stdout=subprocess.PIPE, text=True, cwd=root)
    assert next_line(process) == "waiting\n"
    wait_for_runs(path, 2)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.kill()  # the parent alone: its workers have to notice
    process.communicate()
    assert workers and not psutil.wait_procs(workers, timeout=PATIENCE)[1]
    lines = WHOLE.splitlines(keepends=True)
    assert path.read_text() == "".join([lines[0], *lines[3:5], *lines[7:]])
    assert ran(tmp_path) == [2, 4]
    numbers(tmp_path, [4, 2, 3, 1], processes=1)
    assert path.read_text() == WHOLE
    assert ran(tmp_path) == [1, 2, 3, 4]


def test_a_run_that_fails_costs_no_other_and_what_stands_in_the_table_stays(tmp_path):
    path = table_in(tmp_path).path
    path.parent.mkdir()
    stood = "9,0,0,1\n9,1,0.111111,1\n"  # which nobody wants now
    path.write_text(WHOLE.splitlines(keepends=True)[0] + stood)
    with pytest.raises(ZeroDivisionError):
        numbers(tmp_path, [0, 1], processes=1)
    assert path.read_text() == "".join(WHOLE.splitlines(keepends=True)[:3]) + stood
