"""The cache: built once, rebuilt when damaged, and safe when builds fail, are killed or run side by side."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import platformdirs
import pytest

import dpo_book.system.cache
from dpo_book.system.cache import CacheError, cache_root, cached, find_cached
from dpo_book.system.manifest import MANIFEST
from dpo_book.system.provenance import versions
from tests.patience import PATIENCE, next_line

INGREDIENTS = {"size": "nano", "seed": 0}
SOMEBODY = 54321  # a user of no name

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


# ------------------------------------------------------------------ a cache of others, or none

# Somebody else on this machine, who has no home and may write nothing. The first artefact is made to import all that
# there is, as the interpreter may be another user's too.
AS_SOMEBODY = f"""
import os, sys, tempfile
from dpo_book.system.cache import cached

place, seed, cache = sys.argv[1:]

def build(folder):
    (folder / "weights.txt").write_text("0.25")

with tempfile.TemporaryDirectory() as folder:
    os.environ["DPO_BOOK_CACHE"] = folder
    cached("policy", {{}}, build)
    cached("policy", {{}}, build)
os.environ["DPO_BOOK_CACHE"] = cache
for name in ("HOME", "XDG_CACHE_HOME"):
    os.environ.pop(name, None)
os.setgroups([])
os.setgid({SOMEBODY})
os.setuid({SOMEBODY})
tempfile.tempdir = place
print(cached("policy", {{"size": "nano", "seed": int(seed)}}, build) / "weights.txt")
"""


@pytest.fixture
def open_to_all():
    """A folder that anybody may look into, which pytest's own are not."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def as_somebody(place, seed, cache=""):
    """Where another user finds the artefact of this seed, and what they are told."""
    process = subprocess.run(
        [sys.executable, "-c", AS_SOMEBODY, str(place), str(seed), str(cache)],
        capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    return Path(process.stdout.strip()), process.stderr


@pytest.fixture
def temporary(open_to_all):
    """A temporary folder, as every system has one for all."""
    folder = open_to_all / "tmp"
    folder.mkdir()
    folder.chmod(0o1777)
    return folder


only_root = pytest.mark.skipif(
    getattr(os, "getuid", int)() != 0 or os.name == "nt", reason="root becomes another user"
)


@only_root
def test_a_whole_artefact_of_another_user_is_read_without_a_lock(open_to_all, temporary, build, monkeypatch):
    shared = open_to_all / "cache"
    monkeypatch.setenv("DPO_BOOK_CACHE", str(shared))
    folder = cached("policy", INGREDIENTS, build)
    found, said = as_somebody(temporary, seed=0, cache=shared)
    assert (found, said) == (folder / "weights.txt", "")
    (shared / f"{folder.name}.lock").unlink(missing_ok=True)
    assert as_somebody(temporary, seed=0, cache=shared) == (folder / "weights.txt", "")
    assert not list(temporary.iterdir())


@only_root
def test_what_a_shared_cache_lacks_is_kept_in_a_temporary_folder(open_to_all, temporary, build, monkeypatch):
    shared = open_to_all / "cache"
    monkeypatch.setenv("DPO_BOOK_CACHE", str(shared))
    cached("policy", INGREDIENTS, build)
    before = sorted(shared.iterdir())
    found, said = as_somebody(temporary, seed=1, cache=shared)
    assert found.parents[1] == temporary / f"dpo_book-{SOMEBODY}" and found.read_text() == "0.25"
    assert f"{shared}" in said and "DPO_BOOK_CACHE" in said and "Permission denied" in said
    assert as_somebody(temporary, seed=1, cache=shared) == (found, "")  # found there, nothing is made
    assert sorted(shared.iterdir()) == before


@only_root
def test_a_user_without_a_home_has_a_temporary_cache_and_no_folder_named_tilde(temporary):
    found, said = as_somebody(temporary, seed=1)
    assert found.read_text() == "0.25" and "no home folder" in said
    assert not Path("~").exists()


@pytest.fixture
def no_cache(tmp_path, monkeypatch):
    """A cache that nobody can write, root neither: it would be within a file."""
    (tmp_path / "file").write_text("mine")
    monkeypatch.setenv("DPO_BOOK_CACHE", str(tmp_path / "file" / "cache"))
    return tmp_path / "file" / "cache"


@pytest.fixture
def own_temporary(tmp_path, monkeypatch):
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return tmp_path / "tmp"


def test_where_the_cache_cannot_be_written_a_warning_names_the_variable(no_cache, own_temporary, build):
    with pytest.warns(UserWarning, match=f"{no_cache}.*DPO_BOOK_CACHE"):
        folder = cached("policy", INGREDIENTS, build)
    assert own_temporary in folder.parents and read(folder) == ("0.5", "ok")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cached("policy", INGREDIENTS, build) == find_cached("policy", INGREDIENTS) == folder
    assert build.count == 1


def test_where_nothing_can_be_written_one_sentence_names_the_variable(no_cache, tmp_path, build, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))
    with pytest.raises(CacheError, match=r"nothing can be kept: .*DPO_BOOK_CACHE") as error:
        cached("policy", INGREDIENTS, build)
    assert "\n" not in str(error.value) and build.count == 0
    assert find_cached("policy", INGREDIENTS) is None


@pytest.mark.skipif(os.name == "nt", reason="temporary folders are a user's own")
def test_a_temporary_folder_that_others_can_write_is_not_trusted(no_cache, own_temporary, build):
    with pytest.warns(UserWarning):
        folder = cached("policy", INGREDIENTS, build)
    folder.parent.chmod(0o777)  # whoever made it so can have put anything there
    assert find_cached("policy", INGREDIENTS) is None
    with pytest.raises(CacheError, match="another user's"):
        cached("policy", INGREDIENTS, build)


def test_the_cache_of_an_unknown_user_is_named(monkeypatch, own_temporary, build):
    monkeypatch.setenv("DPO_BOOK_CACHE", "~nobody-of-this-name/cache")
    with pytest.raises(CacheError, match="DPO_BOOK_CACHE is ~nobody-of-this-name/cache: there is no such user"):
        cache_root()
    with pytest.warns(UserWarning, match="DPO_BOOK_CACHE is ~nobody"):
        assert own_temporary in cached("policy", INGREDIENTS, build).parents


def test_a_tilde_in_the_variable_is_the_home_folder(monkeypatch, tmp_path, build):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DPO_BOOK_CACHE", "~/cache")
    assert cached("policy", INGREDIENTS, build).parent == tmp_path / "cache"
