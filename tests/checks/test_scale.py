"""Chapter 13's table of TRL's words and this book's, held against both."""

import dataclasses
import inspect
import math
import re
from pathlib import Path

import jupytext
import pytest

from dpo_book import DPOConfig, Pair, tokenize_pairs
from dpo_book.checks.scale import RUNS, check_same_run
from dpo_book.cli.commands import dpo

CHAPTER = Path(__file__).parents[2] / "notebooks" / "py" / "13_how_does_it_scale.py"
HEADING = "### From TRL to this and back"


@pytest.fixture(scope="module")
def page():
    """The section's text."""
    (cell,) = [cell.source for cell in jupytext.read(CHAPTER).cells if HEADING in cell.source]
    return cell.split(HEADING)[1].split("\n## ")[0]


@pytest.fixture(scope="module")
def table(page):
    """TRL's column and ours, row by row."""
    rows = [line.split("|")[1:3] for line in page.splitlines() if line.startswith("| ")]
    return [(theirs.strip(), ours.strip()) for theirs, ours in rows[1:] if "---" not in theirs]


def names(text: str) -> list[str]:
    """What stands in backticks, to the first sign that is in no name."""
    return [re.match(r"[\w-]*", code)[0] for code in re.findall(r"`([^`]+)`", text)]


def defaults(config: type) -> dict[str, object]:
    return {field.name: field.default for field in dataclasses.fields(config)}


def test_every_name_of_trl_s_is_one_and_every_default_is_its_default(table):
    trl = pytest.importorskip("trl")
    settings, of_trainer = defaults(trl.DPOConfig), inspect.signature(trl.DPOTrainer).parameters
    assert len(table) == 16
    for theirs, _ in table:
        for name in names(theirs):
            assert name in settings or name in of_trainer, name
    said = dict(re.findall(r"`(\w+)`,? \(([\d.e-]+)\)", " ".join(theirs for theirs, _ in table)))
    assert {name: float(value) for name, value in said.items()} == {
        "beta": settings["beta"],
        "learning_rate": settings["learning_rate"],
        "per_device_train_batch_size": settings["per_device_train_batch_size"],
        "gradient_accumulation_steps": settings["gradient_accumulation_steps"],
        "num_train_epochs": settings["num_train_epochs"],
        "warmup_steps": settings["warmup_steps"],
        "max_grad_norm": settings["max_grad_norm"],
        "max_length": settings["max_length"],
    }
    assert settings["lr_scheduler_type"] == "linear" and settings["precompute_ref_log_probs"] is False
    assert settings["gradient_checkpointing"] is True and "reference_free" not in settings
    assert trl.DPOConfig(output_dir="unused", bf16=False, use_cpu=True).loss_type == ["sigmoid"]


def test_every_name_of_ours_is_one_and_every_default_is_its_default(table):
    ours = defaults(DPOConfig)
    options = {**inspect.signature(dpo).parameters, **inspect.signature(tokenize_pairs).parameters}
    for name in names(" ".join(right for _, right in table)):
        option = name.removeprefix("--").replace("-", "_")
        assert option in ours or option in options or name in ("tokenize_pairs", "Pair", "Lora"), name
    said = " ".join(right for _, right in table)
    assert ours["learning_rate"] is None and "`learning_rate` (by size)" in said
    for name in ("beta", "batch_size", "steps", "max_grad_norm"):
        assert f"`{name}` ({ours[name]})" in said
    assert DPOConfig().warmup_updates == 20 and "`warmup_steps` (20)" in said
    assert "max_length" in inspect.signature(tokenize_pairs).parameters
    assert Pair([1], [2], [3], chosen_probability=0.9).chosen_probability == 0.9


@pytest.mark.filterwarnings("ignore")
def test_both_log_the_metrics_that_the_page_names(page):
    trl = pytest.importorskip("trl")
    logged = inspect.getsource(inspect.getmodule(trl.DPOTrainer))
    after = page[page.index("Both log") : page.index("TRL as means")]
    own = set(re.findall(r"`([^`]+)`", after))
    assert own == {
        "loss", "rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies",
        "logps/chosen", "logps/rejected", "grad_norm", "learning_rate",
    }  # fmt: skip
    for name in [name for name in own if "/" in name] + ["entropy", "logits/chosen", "mean_token_accuracy"]:
        assert f'"{name}"' in logged, name


def test_a_run_of_trl_s_has_as_many_updates_as_the_exercise_says():
    for (pairs, epochs, per_device, accumulation, devices), answer in zip(
        RUNS, check_same_run.right_answers, strict=True
    ):
        batches = math.ceil(pairs / (per_device * devices))  # of every device's loader, as transformers counts them
        assert answer[1] == epochs * math.ceil(batches / accumulation)
