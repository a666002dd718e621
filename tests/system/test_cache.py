"""The cache: built once, rebuilt when damaged, and safe when builds fail, are killed or run side by side."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import platformdirs
import pytest

import dpo_book.system.cache
from dpo_book.system.cache import MANIFEST, cache_root, cached
from dpo_book.system.provenance import versions
from tests.patience import PATIENCE, next_line

INGREDIENTS = {"size": "nano", "seed": 0}

# A process that builds an artefact slowly. It reads cache.py alone, as its path is at hand.
SLOW_BUILD = f"""
import runpy, sys, time
from pathlib import Path

cached = runpy.run_path({dpo_book.system.cache.__file__!r})["cached"]
counter, seconds = Path(sys.argv[1]), float(sys.argv[2])

def build(folder):
    with counter.open("a") as file:
        file.write("built\\n")
    (folder / "half.txt").write_text("half")
    print("building", flush=True)
    time.sleep(seconds)
    (folder / "whole.txt").write_text("whole")

print(cached("slow", {{"seed": 0}}, build))
"""


class Builder:
    """Writes two files and counts how often it was asked to."""

    count = 0

    def __call__(self, folder: Path) -> None:
        self.count += 1
        (folder / "weights.txt").write_text("0.5")
        (folder / "more").mkdir()
        (folder / "more" / "notes.txt").write_text("ok")


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    """An empty cache for each test, in a folder that does not exist yet."""
    monkeypatch.setenv("DPO_BOOK_CACHE", str(tmp_path / "new" / "cache"))
    return tmp_path / "new" / "cache"


@pytest.fixture
def build():
    return Builder()


@pytest.fixture
def start_slow_build(tmp_path):
    """Starts processes that build the artefact "slow"; ends those that still run when the test is over."""
    started = []

    def start(seconds):
        command = [sys.executable, "-c", SLOW_BUILD, str(tmp_path / "counter"), str(seconds)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def folders(root):
    return {path.name for path in root.iterdir() if path.is_dir()}


def read(folder):
    return (folder / "weights.txt").read_text(), (folder / "more" / "notes.txt").read_text()


# ------------------------------------------------------------------ built once


def test_an_artefact_is_built_once_and_then_reused(root, build):
    first, second = (cached("policy", INGREDIENTS, build) for _ in range(2))
    assert first == second and build.count == 1
    assert read(first) == ("0.5", "ok")
    assert first.parent == root and first.name.startswith("policy-")
    assert folders(root) == {first.name}  # no scratch folder is left


def test_other_ingredients_make_another_artefact(build):
    made = {
        cached("policy", INGREDIENTS, build),
        cached("policy", INGREDIENTS | {"seed": 1}, build),
        cached("policy", INGREDIENTS | {"steps": 10}, build),
        cached("reference", INGREDIENTS, build),
    }
    assert len(made) == build.count == 4


def test_the_order_of_ingredients_does_not_matter(build):
    assert cached("policy", {"a": 1, "b": 2}, build) == cached("policy", {"b": 2, "a": 1}, build)
    assert build.count == 1


def test_the_manifest_says_what_the_artefact_depends_on(build):
    manifest = json.loads((cached("policy", INGREDIENTS, build) / MANIFEST).read_text(encoding="utf-8"))
    assert manifest["depends_on"] == INGREDIENTS | {"versions": versions()}
    assert manifest["sha256"].keys() == {"weights.txt", "more/notes.txt"}


def test_the_cache_is_where_the_environment_says_else_the_users(root, monkeypatch):
    assert cache_root() == root
    for unset in (lambda: monkeypatch.setenv("DPO_BOOK_CACHE", ""), lambda: monkeypatch.delenv("DPO_BOOK_CACHE")):
        unset()
        assert cache_root() == platformdirs.user_cache_path("dpo_book")


def test_ingredients_that_json_cannot_write_are_refused_before_anything_is_built(build):
    with pytest.raises(TypeError, match="Path is not JSON serializable"):
        cached("policy", {"folder": Path("x")}, build)
    assert build.count == 0


# ------------------------------------------------------------------ damage

DAMAGE = {
    "a byte changed": lambda folder: (folder / "weights.txt").write_text("0.6"),
    "a file cut short": lambda folder: (folder / "weights.txt").write_text(""),
    "a file missing": lambda folder: (folder / "more" / "notes.txt").unlink(),
    "a file too many": lambda folder: (folder / "extra.txt").write_text("?"),
    "a file renamed": lambda folder: (folder / "weights.txt").rename(folder / "weight.txt"),
    "manifest missing": lambda folder: (folder / MANIFEST).unlink(),
    "manifest cut short": lambda folder: (folder / MANIFEST).write_text('{"sha256": {"weights.txt"'),
    "manifest empty": lambda folder: (folder / MANIFEST).write_text(""),
    "manifest not text": lambda folder: (folder / MANIFEST).write_bytes(b"\xff\xfe\x00"),
    "manifest a list": lambda folder: (folder / MANIFEST).write_text("[]"),
    "manifest without digests": lambda folder: (folder / MANIFEST).write_text("{}"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_artefact_is_built_anew(damage, root, build):
    folder = cached("policy", INGREDIENTS, build)
    damage(folder)
    assert cached("policy", INGREDIENTS, build) == folder
    assert build.count == 2 and read(folder) == ("0.5", "ok")
    assert not (folder / "extra.txt").exists()
    assert cached("policy", INGREDIENTS, build) == folder and build.count == 2  # and is whole again
    assert folders(root) == {folder.name}


# ------------------------------------------------------------------ builds that fail


@pytest.mark.parametrize("error", [RuntimeError("diverged"), KeyboardInterrupt()], ids=["error", "Ctrl-C"])
def test_a_build_that_raises_leaves_nothing_and_the_next_call_builds(error, root, build):
    def fail(folder):
        (folder / "half.txt").write_text("half")
        raise error

    with pytest.raises(type(error)):
        cached("policy", INGREDIENTS, fail)
    assert folders(root) == set()
    assert read(cached("policy", INGREDIENTS, build)) == ("0.5", "ok")


def test_a_build_that_raises_over_a_damaged_artefact_does_not_bring_it_back(build):
    folder = cached("policy", INGREDIENTS, build)
    (folder / "weights.txt").write_text("0.6")

    def fail(_):
        raise RuntimeError("diverged")

    with pytest.raises(RuntimeError, match="diverged"):
        cached("policy", INGREDIENTS, fail)
    assert read(cached("policy", INGREDIENTS, build)) == ("0.5", "ok") and build.count == 2


def kill_while_building(process):
    assert next_line(process) == "building\n"
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_a_killed_build_leaves_no_artefact_and_no_lock(root, start_slow_build):
    kill_while_building(start_slow_build(600))
    assert not any((folder / MANIFEST).exists() for folder in root.iterdir())

    out, _ = start_slow_build(0).communicate(timeout=PATIENCE)  # a lock left behind would hold it for ever
    folder = Path(out.splitlines()[-1])
    assert (folder / "whole.txt").read_text() == "whole"


def test_what_a_killed_build_had_written_is_cleared_by_the_next(root, start_slow_build):
    kill_while_building(start_slow_build(600))
    out, _ = start_slow_build(0).communicate(timeout=PATIENCE)
    assert folders(root) == {Path(out.splitlines()[-1]).name}


# ------------------------------------------------------------------ side by side


def test_two_processes_that_ask_at_once_get_one_build(tmp_path, start_slow_build):
    both = [start_slow_build(1), start_slow_build(1)]
    found = {process.communicate(timeout=PATIENCE)[0].splitlines()[-1] for process in both}
    assert len(found) == 1 and (Path(found.pop()) / "whole.txt").read_text() == "whole"
    assert (tmp_path / "counter").read_text() == "built\n"


def test_who_waits_for_a_killed_build_takes_it_over(tmp_path, start_slow_build):
    first = start_slow_build(600)
    assert next_line(first) == "building\n"
    second = start_slow_build(0)
    time.sleep(0.5)  # the second waits for the lock by now; were it slower, it would find the lock free: fine too
    first.send_signal(signal.SIGKILL)
    out, _ = second.communicate(timeout=PATIENCE)
    assert (Path(out.splitlines()[-1]) / "whole.txt").exists()
    assert (tmp_path / "counter").read_text() == "built\nbuilt\n"
