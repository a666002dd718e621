"""What a user meets first: help and slips without torch, Ctrl-C while libraries are read, output in any encoding."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from dpo_book.cli import app, frontier, interrupt
from dpo_book.frontier.arena import ARENAS
from dpo_book.frontier.methods import METHODS
from tests.patience import PATIENCE
from tests.small_data import PREFERENCES

# Runs one command after another, and says after each which of the heavy libraries it has imported.
SEVERAL = """
import sys
from dpo_book.cli.app import main
for line in sys.stdin.read().splitlines():
    sys.argv = ["dpo_book", *line.split()]
    try:
        main()
    except SystemExit as stop:
        heavy = [name for name in ("torch", "transformers", "pandas", "matplotlib") if name in sys.modules]
        print("ENDED", stop.code, heavy, flush=True)
"""
LIGHT = {
    "--help": 0,
    "sft --help": 0,
    "reward --help": 0,
    "dpo --help": 0,
    "report --help": 0,
    "evaluate --help": 0,
    "judge --help": 0,
    "label --help": 0,
    "sample --help": 0,
    "frontier --help": 0,
    "frobnicate": 2,
    "dpo --policy gpt2": 2,
    "dpo --policy gpt2 --data x.jsonl --out x --nonsense 1": 2,
    "dpo --policy gpt2 --data x.jsonl --out x --beta -1": 2,
    "dpo --policy gpt2 --data x.jsonl --out x --beta much": 2,
    "dpo --policy gpt2 --data x.jsonl --out x": 2,
    "sft --data x.jsonl --out x --checkpoint-every 0": 2,
    "dpo --policy gpt2 --data x.jsonl --out x --lora-rank 0": 2,
    "dpo --policy gpt2 --data x.jsonl --out x --max-length 0": 2,
    "evaluate --policy a --reference b --data x.jsonl --beta nan": 2,
    "sample --policy gpt2": 2,
    "frontier mars": 2,
    "frontier verdicts --methods grpo": 2,
    "frontier verdicts --seeds 0": 2,
    "frontier verdicts --judge vader": 2,
    "frontier imdb": 2,
    "frontier imdb --policy gpt2 --betas 0": 2,
    "frontier imdb --policy gpt2 --source none.jsonl": 2,
    "dpo --policy gpt2 --data x.jsonl --out x --steps 5 --steps=6": 2,
    "dpo --policy gpt2 --data x.jsonl --out x --steps 5 --warmup-steps 6": 2,
    "dpo --policy gpt2 --data x.jsonl --out x --seed 4294967296": 2,
    "dpo --policy gpt2 --data x.jsonl --out=": 2,
    "dpo --policy gpt2 --data ~nobody-of-this-name/x.jsonl --out x": 2,
    "dpo --policy gpt2 --data x.jsonl --out x --judge vader": 2,
    "dpo --policy gpt2 --data imdb --out x --max-length 3": 2,
    "dpo --policy gpt2 --data x.jsonl --out x --reference b --reference-free": 2,
    "dpo --policy gpt2 --data x.jsonl --out x --loss sigmoid": 2,
    "dpo --policy gpt2 --data x.jsonl --out x --loss ipo --label-smoothing 0.1": 2,
    "dpo --policy gpt2 --data x.jsonl --out x --loss cdpo --label-smoothing 0.5": 2,
    "dpo --policy gpt2 --data x.jsonl --out x --loss kto --micro-batch-size 2": 2,
    "dpo --policy gpt2 --data x.jsonl --out x --loss orpo --reference b": 2,
    "dpo --policy gpt2 --data x.jsonl --out x --eval-share 1": 2,
    "dpo --policy gpt2 --data x.jsonl --out x --eval-data y.jsonl": 2,
    "sft --data x.jsonl --out x --eval-data y.jsonl --best-by accuracy": 2,
    "reward --data x.jsonl --out x --eval-data y.jsonl --eval-samples 3": 2,
    "dpo --policy gpt2 --data x.jsonl --out x --patience 2": 2,
    "report": 2,
    "report none": 2,
    "report tests": 2,
    "judge --policy a --data x.jsonl --out x": 2,
    "judge --policy a --data x.jsonl --out x --reward-model r --recorded v.jsonl": 2,
    "judge --policy a --data x.jsonl --out x --endpoint http://localhost:1/v1 --judge-model m": 2,
    "judge --policy a --data x.jsonl --out x --reward-model r --instruction plain": 2,
    "judge --policy a --data x.jsonl --out x --reward-model r --temperatures 0,cold": 2,
    "judge --policy a --data x.jsonl --out x --recorded v.jsonl --judge-model m --instruction plain": 2,
    "judge --policy a --data x.jsonl --out x --reward-model r": 2,
    "judge --policy a --data imdb --out x --reward-model r": 2,
    "label --data x.jsonl": 2,
    "label --data x.jsonl --out x": 2,
    "label --data x.jsonl --out x --pairs 0": 2,
    "label --data imdb --out x": 2,
    "label --data tests/samples/trl_style.jsonl --out x --seed -1": 2,
    "sample --policy gpt2 One --temperature -1": 2,
    "sample --policy gpt2 One --file none.txt": 2,
}


def test_help_and_the_answer_to_a_slip_need_no_torch():
    done = subprocess.run(
        [sys.executable, "-c", SEVERAL], input="\n".join(LIGHT), capture_output=True, text=True, timeout=PATIENCE
    )
    ended = [line for line in done.stdout.splitlines() if line.startswith("ENDED")]
    assert ended == [f"ENDED {status} []" for status in LIGHT.values()], done.stderr
    said = done.stderr.splitlines()
    assert len(said) == sum(status == 2 for status in LIGHT.values())
    assert all(line.startswith("dpo_book: ") for line in said)


def test_the_command_line_knows_every_method_and_world_by_name():
    assert tuple(METHODS) == frontier.METHOD_NAMES
    assert get_args(frontier.WorldName) == (*ARENAS, "imdb")


@pytest.mark.parametrize("library", ["tyro", "pyarrow.lib", "torch._C", "torch.nn.functional", "transformers.utils"])
def test_ctrl_c_while_libraries_are_imported_is_one_line(library, tmp_path):
    """Python tells of every module that it has imported: the signal comes when it tells of ``library``."""
    command = ["dpo", "--policy", "mini", "--data", PREFERENCES, "--out", tmp_path / "run"]
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "dpo_book", *command],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    said = []
    for line in process.stderr:
        said.append(line)
        if line.split("|")[-1].strip() == library:
            process.send_signal(signal.SIGINT)
            break
    rest, _ = process.communicate(timeout=PATIENCE)[::-1]
    assert process.returncode == interrupt.STATUS
    spoken = [line for line in [*said, *rest.splitlines()] if not line.startswith("import time:")]
    assert spoken == [interrupt.SAYS]


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_output_is_utf8_where_the_stream_cannot_write_beta(encoding):
    done = subprocess.run(
        [sys.executable, "-m", "dpo_book", "dpo", "--help"],
        env=os.environ | {"PYTHONIOENCODING": encoding}, capture_output=True, timeout=PATIENCE, check=True,
    )  # fmt: skip
    assert "β, how strongly" in done.stdout.decode("utf-8")


def command_line(*arguments: str, **to: object) -> subprocess.Popen:
    """A command that prints more than a pipe's reader takes, or a slip of it."""
    return subprocess.Popen([sys.executable, "-m", "dpo_book", *arguments], stderr=subprocess.PIPE, text=True, **to)


def test_a_reader_who_has_read_enough_ends_a_command_without_a_word():
    process = command_line("dpo", "--help", stdout=subprocess.PIPE)
    process.stdout.close()  # as "| head" does
    said = process.stderr.read()
    assert (process.wait(PATIENCE), said) == (app.NOBODY_READS, "")


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="a disk that is full at once, as Linux has it")
def test_output_that_cannot_be_written_is_one_line():
    with open("/dev/full", "w") as full:
        process = command_line("dpo", "--help", stdout=full)
        said = process.stderr.read()
    assert process.wait(PATIENCE) == 2
    assert said == "dpo_book: what is printed cannot be written: No space left on device\n"
