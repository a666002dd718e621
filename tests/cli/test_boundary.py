"""Whose fault an error is: what comes from outside is told in one line, our own faults keep their traceback."""

import errno
from pathlib import Path

import pytest

from dpo_book.cli.boundary import Refused, as_options, entering, in_words, is_the_users, names_no_file, writing
from dpo_book.maths.require import SettingError

NO_SPACE = OSError(errno.ENOSPC, "No space left on device")
CPU_MEMORY = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4000000000000 bytes")
GPU_MEMORY = RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB")


class Panic(BaseException):
    """As a library in Rust raises it: no Exception."""


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (ValueError("bad magic number"), "the policy a/b: bad magic number"),
        (KeyError("rope"), "the policy a/b: KeyError: 'rope'"),
        (IndexError("index out of range in self"), "the policy a/b: IndexError: index out of range in self"),
        (RecursionError("maximum depth"), "the policy a/b: RecursionError: maximum depth"),
        (Panic("called unwrap()"), "the policy a/b: Panic: called unwrap()"),
        (ValueError(), "the policy a/b: ValueError"),
        (ValueError("two\n  lines"), "the policy a/b: two lines"),
        (ValueError("a/b holds no config.json"), "a/b holds no config.json"),
        (OSError(errno.EACCES, "Permission denied", "a/b/c"), "a/b/c: Permission denied"),
        (NO_SPACE, "the policy a/b: No space left on device"),
        (MemoryError(), "the policy a/b: there is not enough memory"),
        (CPU_MEMORY, "the policy a/b: there is not enough memory"),
        (GPU_MEMORY, "the policy a/b: there is not enough memory"),
        (SettingError("beta must be above 0"), "the policy a/b: beta must be above 0"),
        (ValueError("x" * 10_000), "the policy a/b: xxx"),
    ],
)
def test_what_a_library_raises_at_the_door_is_one_line_that_names_what_came_in(raised, said):
    with pytest.raises(Refused) as refused, entering("the policy", "a/b"):
        raise raised
    assert str(refused.value).startswith(said) and len(str(refused.value)) < 700


@pytest.mark.parametrize("passing", [KeyboardInterrupt(), SystemExit(3), BrokenPipeError(), Refused("it is so")])
def test_who_stops_a_command_is_not_asked_at_the_door(passing):
    with pytest.raises(type(passing)) as raised, entering("the policy", "a/b"):
        raise passing
    assert raised.value is passing


def test_where_more_is_done_than_reading_only_the_named_errors_are_the_user_s():
    with pytest.raises(IndexError), entering("the policy", "a/b", ValueError):
        raise IndexError("ours")


class OurCacheError(OSError):
    """As one of the package, which names what it is about in words."""

    __module__ = "dpo_book.system.cache"


def test_an_error_of_the_disk_that_names_no_file_gets_the_name_of_what_was_written():
    with pytest.raises(Refused, match="writing run: No space"), writing(Path("run")):
        raise NO_SPACE
    named = OSError(errno.EACCES, "Permission denied", "other/file")
    for passing in (named, BrokenPipeError(), OurCacheError("there is no cache"), ValueError("ours")):
        with pytest.raises(type(passing)) as raised, writing(Path("run")):
            raise passing
        assert raised.value is passing
    assert in_words(named) == "other/file: Permission denied"
    assert is_the_users(OurCacheError("there is no cache")) and not names_no_file(OurCacheError("there is no cache"))


def test_a_name_within_another_word_does_not_count_as_said():
    with pytest.raises(Refused, match="the policy mag: a bad magic number"), entering("the policy", "mag"):
        raise ValueError("a bad magic number")


@pytest.mark.parametrize("error", [Refused("x"), SettingError("x"), NO_SPACE, MemoryError(), CPU_MEMORY, GPU_MEMORY])
def test_files_memory_and_what_is_raised_on_purpose_are_the_user_s(error):
    assert is_the_users(error) and in_words(error)


@pytest.mark.parametrize(
    "error", [ValueError("x"), TypeError("x"), KeyError("x"), RuntimeError("x"), ImportError("x")]
)
def test_what_a_library_raises_in_the_middle_of_our_work_is_ours(error):
    assert not is_the_users(error)


@pytest.mark.parametrize(
    ("said", "typed"),
    [
        ("raise max_length, or pass drop_long=True", "raise --max-length, or pass --drop-long"),
        ("within max_length = 3. Shorten", "within --max-length 3. Shorten"),
        ("tokenise with max_length=16", "tokenise with --max-length 16"),
        ("max_length must be at least 1", "--max-length must be at least 1"),
        ("steps must be at least 1", "steps must be at least 1"),
        ("/home/max_length/x.jsonl and 'max_length'", "/home/max_length/x.jsonl and 'max_length'"),
        ("max_length.jsonl: no such file", "max_length.jsonl: no such file"),
        ("my_max_length and max_lengths", "my_max_length and max_lengths"),
        ("max_length(3)", "max_length(3)"),
    ],
)
def test_advice_is_spelled_as_it_is_typed(said, typed):
    assert as_options(said, {"max_length", "drop_long", "steps"}) == typed
