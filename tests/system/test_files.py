"""Files: whole or not there, as open as their folder; and what users write for a path, or into a file of JSON."""

import errno
import os

import pytest
import torch
from safetensors.torch import save_file

from dpo_book.system.files import (
    FileError,
    read_object,
    remove,
    replace_folder,
    replace_whole,
    scratch_of,
    settle,
    user_path,
    waiting_of,
)


def test_a_tilde_is_somebodys_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_path("~/run") == tmp_path / "run"
    assert str(user_path("a/~/b")) == "a/~/b"  # only in front, as in a shell


@pytest.mark.parametrize("text", ["", " ", "~nobody-of-this-name/run"])
def test_what_is_no_path_is_said_in_one_line(text):
    with pytest.raises(FileError) as error:
        user_path(text)
    assert len(str(error.value).splitlines()) == 1 and text.strip() in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[]", r"it holds \[\]"),
        (b"null", "it holds null"),
        (b"3", "it holds 3"),
        (b"", "not JSON"),
        (b'{"a": ', "not JSON"),
        (b"\xff{}", "not text in UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b"9" * 5000, "not JSON"),
    ],
)
def test_a_file_that_holds_no_object_is_refused_in_words(content, message, tmp_path):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(FileError, match=message) as error:
        read_object(tmp_path / "a.json")
    assert len(str(error.value).splitlines()) == 1


def test_a_folder_or_nothing_in_a_file_s_place_is_refused_in_words(tmp_path):
    with pytest.raises(FileError, match="directory"):
        read_object(tmp_path)
    with pytest.raises(FileError, match="No such file"):
        read_object(tmp_path / "none")


def test_what_a_writer_puts_beside_its_file_goes_with_it(tmp_path):
    def write(scratch):
        (scratch.parent / ".tmpOwn").write_text("of a library")
        scratch.write_text("good")

    replace_whole(tmp_path / "a.txt", write)
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_what_a_killed_writer_left_is_cleared_by_the_next(tmp_path):
    path = tmp_path / "a.txt"
    (scratch_of(path) / "a.txt").mkdir(parents=True)
    (scratch_of(path) / ".tmpOwn").write_text("half")
    replace_whole(path, lambda scratch: scratch.write_text("good"))
    assert list(tmp_path.iterdir()) == [path] and path.read_text() == "good"


def test_what_cannot_be_written_leaves_what_was_there(tmp_path):
    path = tmp_path / "kept"
    path.write_text("good")

    def write(scratch):
        scratch.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        replace_whole(path, write)
    assert path.read_text() == "good" and list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name == "nt", reason="has no umask")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_a_file_is_as_open_as_the_umask_says(umask, mode, tmp_path):
    """safetensors' own files are private, and nobody else could read a shared cache."""
    before = os.umask(umask)
    try:
        replace_whole(tmp_path / "weights", lambda scratch: save_file({"a": torch.zeros(3)}, scratch))
    finally:
        os.umask(before)
    assert (tmp_path / "weights").stat().st_mode & 0o777 == mode


def test_a_link_is_removed_and_not_what_it_leads_to(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    remove(tmp_path / "link")
    assert not (tmp_path / "link").exists() and (tmp_path / "mine" / "letter.txt").exists()


# ------------------------------------------------------------------ a folder in another's place


def folder_with(text):
    def write(scratch):
        scratch.mkdir()
        (scratch / "a.txt").write_text(text)

    return write


def test_a_folder_takes_another_one_s_place(tmp_path):
    for text in ("first", "second", "third"):
        replace_folder(tmp_path / "best", folder_with(text))
        assert (tmp_path / "best" / "a.txt").read_text() == text
        assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_a_folder_that_fails_leaves_the_old_one(tmp_path):
    def fail(scratch):
        scratch.mkdir()
        raise OSError(errno.ENOSPC, "No space left on device")

    replace_folder(tmp_path / "best", folder_with("first"))
    with pytest.raises(OSError, match="No space"):
        replace_folder(tmp_path / "best", fail)
    assert (tmp_path / "best" / "a.txt").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_one_that_waits_is_whole_and_newer_and_gets_the_name(tmp_path):
    """What a kill between the two steps leaves: the old one whole, half, or gone."""
    for old in ("whole", "half", "gone"):
        best, waiting = tmp_path / "best", waiting_of(tmp_path / "best")
        if old != "gone":
            replace_folder(best, folder_with("first"))
        if old == "half":
            (best / "a.txt").unlink()
        folder_with("second")(waiting)
        settle(best)
        assert (best / "a.txt").read_text() == "second"
        assert [path.name for path in tmp_path.iterdir()] == ["best"]
        settle(best)  # with nothing that waits, nothing happens
        assert (best / "a.txt").read_text() == "second"
        remove(best)
