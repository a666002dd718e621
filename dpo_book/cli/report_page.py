"""The page of a run's report: what stands in it, as texts and tables; ``report.html.jinja`` says where.

Jinja2 escapes all that is filled in: prompts, completions and names of folders are anybody's.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from typing import NamedTuple

import jinja2

from dpo_book.cli.eval_options import EvalOptions
from dpo_book.cli.options import DataOptions, OutputOptions
from dpo_book.cli.stored_run import CONFIGS, LENGTHS, Row, StoredRun
from dpo_book.evaluation.patterns.named import Watched

TEMPLATE = "report.html.jinja"
MEASURES = {"loss": "loss, nats", "accuracy": "accuracy", "margin": "margin, nats", "kl": "KL to the reference, nats"}
TITLES = {
    "sft": "supervised fine-tuning",
    "reward": "a reward model",
    "dpo": "DPO",
}
NO_SETTINGS = ("out", "config")
FEW = 12  # evaluations that the table shows at once


class Picture(NamedTuple):
    """A PNG and what it shows, in words."""

    content: bytes
    alt: str

    @property
    def address(self) -> str:
        """The picture itself, as the address of an <img>."""
        return f"data:image/png;base64,{base64.b64encode(self.content).decode()}"


class Setting(NamedTuple):
    """An option as one types it; default: None where it has none."""

    name: str
    value: str
    default: str | None
    is_chosen: bool


class Sampled(NamedTuple):
    """A prompt and what was said to it, by step."""

    prompt: str
    completions: dict[int, str]


def page(run: StoredRun, watched: Watched, pictures: Sequence[Picture]) -> str:
    """The whole page in HTML."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dpo_book", "cli"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    settings = settings_of(run)
    return environment.get_template(TEMPLATE).render(
        title=f"{run.folder.resolve().name}: {_method(run.about)}",
        summary=_summary(run),
        watched=watched,
        pictures=pictures,
        evaluations=_evaluations(run),
        samples=_samples(run),
        data=_data(run.data),
        lengths=_lengths(run.data),
        settings=settings,
        chosen=[setting for setting in settings if setting.is_chosen],
        made_by=_made_by(run.about),
    )


def settings_of(run: StoredRun) -> list[Setting]:
    """Every option of the run by its name on the command line: first those that are not as by default."""
    config = CONFIGS[run.about["method"]]
    defaults = {}
    for options in (config, DataOptions, EvalOptions, OutputOptions):
        defaults |= {field.name: field.default for field in fields(options)}
    given = {name.replace("-", "_"): value for name, value in run.options.items()}
    of_training = {field.name for field in fields(config)}
    settings = []
    for name in dict.fromkeys([*given, *defaults]):
        if name in NO_SETTINGS:
            continue
        default = defaults.get(name, MISSING)
        value = given.get(name, default)
        is_chosen = value != default or default is MISSING
        if not is_chosen and name in of_training:  # such as the rate, which the model's size has set
            value = run.about.get(name, value)
        shown = None if default is MISSING else _text(default)
        settings.append(Setting(f"--{name.replace('_', '-')}", _text(value), shown, is_chosen))
    settings.sort(key=_is_as_by_default)
    return settings


def _is_as_by_default(setting: Setting) -> bool:
    return not setting.is_chosen


def _text(value: object) -> str:
    if value is None or value is MISSING:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _method(about: Row) -> str:
    loss = about.get("loss", "dpo")
    return TITLES[about["method"]] if loss == "dpo" else f"DPO's relative {loss}"


def _summary(run: StoredRun) -> dict[str, str]:
    about, last = run.about, run.records[-1]
    done, steps = last["step"], about["steps"]
    if not run.finished:
        state = f"not finished: {done:,} of {steps:,} steps so far"
    elif done < steps:
        state = f"stopped early, after {done:,} of {steps:,} steps"
    else:
        state = f"finished, {done:,} steps"
    summary = {"method": _method(about), "state": state}
    if "policy" in run.options:
        summary["policy at the start"] = str(run.options["policy"])
    if "data" in run.options:
        summary["data"] = str(run.options["data"])
    if "beta" in about:
        summary["β"] = f"{about['beta']:g}"
    if isinstance(about.get("learning_rate"), float):
        summary["learning rate"] = f"{about['learning_rate']:g}"
    summary["last training loss"] = f"{last['loss']:.4g}"
    if run.best:
        by, step = run.best["best_by"], run.best["step"]
        summary["best step"] = f"{step:,}, by held-out {by} {_number(run.best.get(by))}; its model is in best/"
    return summary


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else "unknown"


def _evaluations(run: StoredRun) -> dict[str, list]:
    """Rows of measured values, the header first; ``few`` of them where there are many."""
    if not run.evaluations:
        return {"names": [], "few": [], "all": []}
    measured = [name for name in MEASURES if name in run.evaluations[0]]
    best_step = run.best.get("step")
    rows = []
    for row in run.evaluations:
        cells = [_interval(row, name) for name in measured]
        rows.append({"step": row["step"], "is_best": row["step"] == best_step, "cells": cells})
    few = rows
    if len(rows) > FEW:
        few = [row for row in rows if row["is_best"] or row in (rows[0], rows[-1])]
    return {"names": [MEASURES[name] for name in measured], "few": few, "all": rows}


def _interval(row: Row, name: str) -> str:
    value, low, high = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
    return f"{value:.4g} ({low:.4g} to {high:.4g})"


def _samples(run: StoredRun) -> list[Sampled]:
    """The completions of the same prompts at the first evaluation, at the best one and at the last."""
    steps = {run.evaluations[0]["step"], run.best.get("step"), run.evaluations[-1]["step"]} if run.evaluations else ()
    shown = [row for row in run.evaluations if row["step"] in steps]
    if not shown or not shown[0].get("samples"):
        return []
    sampled = []
    for number, first in enumerate(shown[0]["samples"]):
        completions = {row["step"]: row["samples"][number]["completion"] for row in shown}
        sampled.append(Sampled(first["prompt"], completions))
    return sampled


def _data(data: Mapping) -> dict[str, str]:
    if not data:
        return {}
    rows, completions, cut = data["rows"], data["completions"], data["cut"]
    facts = {"rows": f"{rows:,}", "prompts, each counted once": f"{data['prompts']:,}"}
    if data.get("most_tokens") is not None:
        facts[f"cut to {data['most_tokens']:,} tokens, prompt and all"] = (
            f"{cut:,} of {completions:,} completions ({cut / completions:.1%})"
        )
    if "chosen_longer" in data:
        longer, same = data["chosen_longer"], data.get("same_length", 0)
        shorter = rows - longer - same
        facts["the chosen completion is"] = f"longer in {longer:,} pairs, shorter in {shorter:,}, as long in {same:,}"
    if data.get("soft_labels"):
        facts["soft labels"] = f"{data['soft_labels']:,} of {rows:,}"
    return facts


def _lengths(data: Mapping) -> dict[str, Mapping[str, float]]:
    """Tokens by kind of text: their mean and quantiles."""
    return {name.removesuffix("_tokens"): data[name] for name in LENGTHS if name in data}


def _made_by(about: Row) -> dict[str, str]:
    made_by = {
        "machine it began on": about.get("machine"),
        "versions, device": about.get("begun_with"),
        "date it began": about.get("date"),
        "seed": about.get("seed"),
        "model at the start": about.get("model"),
        "tokenizer": about.get("tokenizer"),
        "data": about.get("data"),
        "held-out data": about.get("eval_data"),
        "reference": about.get("reference"),
    }
    return {name: str(value) for name, value in made_by.items() if value is not None}
