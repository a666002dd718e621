"""Options in a TOML file, in place of or beside those on the command line: ``--config run.toml``.

A line of the file is an option by its name there: ``learning-rate = 1e-6`` (or ``learning_rate``), ``tensorboard =
true``. What the command line says counts more. Every training run leaves all its options in OUT/run.toml.
"""

import difflib
import inspect
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import NamedTuple

from dpo_book.system.files import user_path, write_text

CONFIG, OUT = "config", "out"
Value = str | int | float | bool | list


class ConfigError(ValueError):
    """A file of options cannot be used; the message names it, and the key."""


class Expanded(NamedTuple):
    """A command line with a file's options in it. file: None where none was named. keys: those that came from it."""

    arguments: list[str]
    file: str | None
    keys: list[str]


def expanded(arguments: Sequence[str], kinds: Mapping[str, object]) -> Expanded:
    """The command line with the options of the file that its ``--config`` names, but for those it has itself.

    arguments: the command's name first. kinds: the command's options, see ``option_kinds``. ConfigError for a file
    that cannot be read, or holds what is none of the options.
    """
    given = given_options(arguments)
    if CONFIG not in given or CONFIG not in kinds:
        return Expanded(list(arguments), None, [])
    name = given[CONFIG] or _after(arguments, f"--{CONFIG}")
    if name is None:  # nothing stands behind it, which tyro says
        return Expanded(list(arguments), None, [])
    added, keys = [], []
    for key, value in _read(user_path(name)).items():
        option = key.replace("-", "_")
        _check(name, key, option, value, kinds)
        if option not in given:
            added += _as_arguments(option, value)
            keys.append(key)
    command, *rest = arguments
    return Expanded([command, *added, *rest], name, keys)


def given_options(arguments: Sequence[str]) -> dict[str, str | None]:
    """The options on a command line by their names in Python, with what stands behind a =, else None."""
    given = {}
    for argument in arguments:
        if argument == "--":  # what follows is no option, whatever it looks like
            break
        if argument.startswith("--"):
            name, equals, value = argument[2:].partition("=")
            given[name.replace("-", "_")] = value if equals else None
    return given


def option_kinds(command: Callable) -> dict[str, object]:
    """The type of each option of a command, by its name in Python: parameters, and fields of dataclasses among them.

    What is given by its place has no name on the command line, and is none.
    """
    kinds: dict[str, object] = {}
    for name, parameter in inspect.signature(command).parameters.items():
        kind = parameter.annotation
        if is_dataclass(kind):
            kinds |= {field.name: field.type for field in fields(kind)}
        elif "Positional" not in repr(kind):
            kinds[name] = kind
    return kinds


def as_given(parameters: Mapping[str, object]) -> dict[str, Value]:
    """What a command was called with, by the names of its options: what is None, or left as false, was not given.

    parameters: by name, dataclasses of options among them. Neither the folder of the run is one, nor another file.
    """
    flat: dict[str, object] = {}
    for name, value in parameters.items():
        if is_dataclass(value):
            flat |= {field.name: getattr(value, field.name) for field in fields(value)}
        else:
            flat[name] = value
    left_out = (OUT, CONFIG)
    return {
        name: _plain(value)
        for name, value in flat.items()
        if name not in left_out and value is not None and value is not False
    }


def keep_options(path: Path, method: str, given: Mapping[str, Value]) -> None:
    """A file of these options for ``--config``, whole or not at all, unless it is there."""
    if path.exists():
        return
    import tomli_w

    about = f"# python -m dpo_book {method} --{CONFIG} {path.name} --{OUT} ANOTHER_FOLDER\n"
    spelled = {name.replace("_", "-"): value for name, value in given.items()}
    write_text(path, about + tomli_w.dumps(spelled))


def _plain(value: object) -> Value:
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, Path) else value


def _read(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"--config {path}: {error.strerror or error}") from None
    except ValueError as error:  # no UTF-8, or no TOML
        raise ConfigError(f"--config {path} is no TOML file: {error}") from None


def _check(file: str, key: str, option: str, value: object, kinds: Mapping[str, object]) -> None:
    """ConfigError for a key that is no option, or a value that no option can have."""
    known = [name for name in kinds if name != CONFIG]
    if option not in known:
        near = difflib.get_close_matches(option, known, n=1)
        meant = f": is {near[0].replace('_', '-')} meant?" if near else ""
        raise ConfigError(f"--config {file}: {key} is no option of this command{meant}")
    if (kinds[option] is bool) != isinstance(value, bool):
        wanted = "true or false" if kinds[option] is bool else "a value"
        raise ConfigError(f"--config {file}: {key} wants {wanted}, not {_shown(value)}")
    each = value if isinstance(value, list) else [value]
    if not all(isinstance(one, str | int | float) for one in each):
        raise ConfigError(f"--config {file}: {key} wants a text or a number, not {_shown(value)}")


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _as_arguments(option: str, value: Value) -> list[str]:
    """As one types it. A value that begins with a dash stands behind a =, or it would look like an option."""
    name = f"--{option.replace('_', '-')}"
    if isinstance(value, bool):
        return [name] if value else []
    if isinstance(value, list):
        return [name, *map(str, value)]
    return [f"{name}={value}"]


def _after(arguments: Sequence[str], option: str) -> str | None:
    """What stands behind an option, if anything does."""
    place = list(arguments).index(option)
    return arguments[place + 1] if place + 1 < len(arguments) else None
