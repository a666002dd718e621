"""What to watch: every fault of chapter 12's runs is found by its name, and healthy runs raise no alarm.

``run_logs.csv`` holds logs of ``checks/broken_runs`` and of healthy runs in the same world, at three digits, of seeds
that the chapter does not show; ``tests/checks/test_broken_runs.py`` has the chapter's own.
"""

from pathlib import Path

import pandas as pd
import pytest

from dpo_book.checks.broken_runs import CAUSES
from dpo_book.evaluation.patterns.named import PATTERNS, watch
from dpo_book.evaluation.patterns.run_log import RunLog

STORED = pd.read_csv(Path(__file__).with_name("run_logs.csv"), sep=";")
NAMES = {cause: cause for cause in CAUSES} | {"β is 100 times too small": "β is far too small"}
ROWS = {"a few pairs are seen again and again": 64}
FALLING = "chosen completions become less likely too"
HELD_OUT = {
    "loss": 0.6,
    "loss_low": 0.55,
    "loss_high": 0.65,
    "accuracy": 0.6,
    "accuracy_low": 0.5,
    "accuracy_high": 0.7,
}
DATA = {"rows": 1000, "completions": 2000, "cut": 0, "most_tokens": 64, "chosen_longer": 500}
LENGTHS = {"chosen_tokens": {"mean": 20.0}, "rejected_tokens": {"mean": 20.0}}


def log_of(records, **settings):
    defaults = {"method": "dpo", "loss": "dpo", "beta": 0.5, "batch_size": 64}
    return RunLog(records=records, **(defaults | settings))


def stored():
    for (name, seed), rows in STORED.groupby(["run", "seed"]):
        rows = rows.assign(**{"rewards/margins": rows["rewards/chosen"] - rows["rewards/rejected"]})
        data = {"rows": ROWS.get(name, 6400)}
        yield name, seed, log_of(rows.to_dict("records"), beta=rows["beta"].iloc[0], data=data)


def record(step, **measures):
    """Of a run that learns, as it would be in the limit of large batches."""
    learned = min(1, step / 30)
    usual = {
        "step": step,
        "loss": 0.693 - 0.1 * learned,
        "rewards/chosen": 0.1 * learned,
        "rewards/rejected": -0.2 * learned,
        "rewards/margins": 0.3 * learned,
        "rewards/accuracies": 0.7,
        "logps/chosen": -20 + 0.2 * learned,
        "logps/rejected": -20 - 0.4 * learned,
    }
    return usual | measures


def records(steps=40, **measures):
    return [record(step, **measures) for step in range(steps)]


def alarms(log):
    return [finding.name for finding in watch(log).findings if finding.is_alarm]


LOGS = {f"{name}, seed {seed}": (name, log) for name, seed, log in stored()}


def test_the_stored_logs_have_every_cause_and_healthy_runs():
    names = {name for name, _ in LOGS.values()}
    assert set(CAUSES) < names and sum(name.startswith("healthy") for name in names) == 4
    assert len(LOGS) == 14


@pytest.mark.parametrize("run", LOGS)
def test_each_fault_is_found_by_its_name_and_nothing_else_is(run):
    name, log = LOGS[run]
    assert alarms(log) == ([] if name.startswith("healthy") else [NAMES[name]])


def test_evidence_and_what_was_looked_for_are_the_run_s():
    _, log = LOGS["the learning rate is far too high, seed 1"]
    watched = watch(log)
    late = [record["loss"] for record in log.records[75:]]
    assert f"{sum(late) / 25:.3g}" in watched.findings[0].evidence
    assert f"{max(record['loss'] for record in log.records):.3g}" in watched.findings[0].evidence
    assert {*watched.looked_for, *watched.not_looked_for} == {pattern.name for pattern in PATTERNS}
    assert "most completions are cut" in watched.not_looked_for


def test_a_fall_of_the_chosen_is_told_and_is_no_alarm():
    _, log = LOGS["healthy, β 0.1, seed 1"]
    (finding,) = watch(log).findings
    assert finding.name == FALLING and not finding.is_alarm
    nats = sum(record["rewards/chosen"] for record in log.records[75:]) / 25 / 0.1
    assert f"{nats:+.1f} nats" in finding.evidence


def test_too_short_a_run_is_not_judged():
    _, log = LOGS["the learning rate is far too high, seed 1"]
    short = log_of(log.records[:19])
    assert alarms(short) == [] and "the learning rate is far too high" in watch(short).not_looked_for
    assert "the learning rate is far too high" in watch(log_of(log.records[:20])).looked_for


# ------------------------------------------------------------------ only where it follows


@pytest.mark.parametrize("loss", ["simpo", "orpo", "rdpo", "dpo_norm", "chi_po"])
def test_of_losses_with_other_rewards_the_start_says_nothing(loss):
    elsewhere = records(**{"rewards/chosen": -2.0})
    assert alarms(log_of(elsewhere)) == ["the policy did not start from the reference"]
    assert alarms(log_of(elsewhere, loss=loss)) == []
    assert alarms(log_of(elsewhere, reference_free=True)) == []


def test_a_loss_that_is_no_function_of_the_margin_is_not_held_against_ln_2():
    _, log = LOGS["the labels are coin flips, seed 1"]
    assert alarms(log_of(log.records, loss="hinge")) == []
    assert alarms(log_of(log.records, loss="cdpo")) == ["the labels are coin flips"]


def test_a_first_batch_says_little_where_pairs_have_unlike_losses_at_the_start():
    """As of rpo, which imitates the chosen too: there a small batch's loss is a draw."""
    losses = [1.0] + [1.1, 1.4, 1.2, 1.5] * 10
    drawn = [record(step, loss=loss) for step, loss in enumerate(losses, start=1)]
    assert alarms(log_of(drawn, loss="rpo")) == []
    assert alarms(log_of(drawn, loss="hinge")) == ["the learning rate is far too high"]


def test_learned_by_heart_and_told_apart_differ_by_how_often_a_row_is_seen():
    sure = records(**{"rewards/accuracies": 1.0, "loss": 0.05})
    assert alarms(log_of(sure, data={"rows": 64})) == ["a few pairs are seen again and again"]
    assert alarms(log_of(sure, data={"rows": 2000})) == ["every pair is told apart"]
    assert alarms(log_of(sure)) == []  # nobody knows how many rows there are
    soft = records(**{"rewards/accuracies": 1.0, "loss": 0.6})
    assert alarms(log_of(soft, data={"rows": 64})) == []


@pytest.mark.parametrize(
    ("losses", "found"),
    [
        ([5 - 0.05 * step for step in range(40)], []),
        ([5 + 0.01 * (-1) ** step for step in range(40)], ["the loss does not fall"]),
        ([3 + 0.1 * step for step in range(40)], ["the learning rate is far too high"]),
    ],
)
def test_sft_has_a_loss_alone(losses, found):
    steps = [{"step": step, "loss": loss} for step, loss in enumerate(losses, start=1)]
    assert alarms(log_of(steps, method="sft", loss=None, beta=None)) == found


# ------------------------------------------------------------------ data and held-out measures


@pytest.mark.parametrize(
    ("data", "found"),
    [
        ({}, []),
        ({"cut": 1000}, []),
        ({"cut": 1001}, ["most completions are cut"]),
        ({"cut": 0, "most_tokens": None}, []),
        ({"chosen_longer": 700, "chosen_tokens": {"mean": 26.0}}, ["chosen completions are much longer"]),
        ({"chosen_longer": 700}, []),  # longer more often, but hardly by more
        ({"chosen_longer": 500, "chosen_tokens": {"mean": 26.0}}, []),  # a few are very long
        ({"chosen_longer": 300, "rejected_tokens": {"mean": 26.0}}, []),
    ],
)
def test_data(data, found):
    assert alarms(log_of(records(), data=DATA | LENGTHS | data)) == found


@pytest.mark.parametrize(
    ("last", "found"),
    [
        ({}, []),
        ({"accuracy_high": 0.49}, ["held-out labels are the other way round"]),
        ({"loss": 0.67, "loss_low": 0.6}, []),  # no further from the best than the interval reaches
        ({"loss": 0.75, "loss_low": 0.7}, ["held-out loss rises while training loss falls"]),
        ({"kl": 30.0, "kl_low": 19.0, "kl_high": 41.0}, []),
        ({"kl": 30.0, "kl_low": 21.0, "kl_high": 39.0}, ["the policy is very far from its reference"]),
    ],
)
def test_held_out_measures(last, found):
    rows = [{"step": step} | HELD_OUT for step in (0, 10, 20)] + [{"step": 40} | HELD_OUT | last]
    assert alarms(log_of(records(), evaluations=rows)) == found
    if found == ["held-out loss rises while training loss falls"]:
        flat = [record(30) for _ in range(40)]  # where training's loss does not fall, it is no sign of that
        assert found[0] not in alarms(log_of(flat, evaluations=rows))
