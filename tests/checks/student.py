"""Answers as a student types them: the body of a function, from the files in tests/checks/answers."""

import linecache
import tomllib
from itertools import count
from pathlib import Path

import dpo_book.checks

ANSWERS = Path(__file__).parent / "answers"
IMPORTS = """\
import math
import numpy as np
import torch
import torch.nn.functional as F
import dpo_book
from dpo_book import *
"""
_cells = count(1)


def read_answers():
    """Exercise → {"right": [code], "wrong": [{"code": …, "says": …}]}, of every chapter."""
    answers = {}
    for path in sorted(ANSWERS.glob("*.toml")):
        answers |= tomllib.loads(path.read_text(encoding="utf-8"))
    return answers


def written(exercise, code, name="answer"):
    """The function that a cell of a notebook would define, with the exercise's parameters and this body."""
    lines = [f"def {name}({', '.join(exercise.parameters)}):", *(f"    {line}" for line in code.strip().splitlines())]
    source = "\n".join(lines) + "\n"
    cell = f"<cell {next(_cells)}>"
    linecache.cache[cell] = (len(source), None, source.splitlines(keepends=True), cell)
    names = {}
    exec(IMPORTS, names)
    exec(compile(source, cell, "exec"), names)
    return names[name]


EXERCISES = dpo_book.checks.exercises()
