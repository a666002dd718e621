"""Chapter 12's broken runs: each cause shows in the log what the check says of it, and no other run shows it."""

import math

import pytest
import torch

from dpo_book.checks.broken_runs import CAUSES, HEALTHY, PATIENTS, broken_log
from dpo_book.checks.own_preferences import LIST, SIGNS, check_diagnosis
from dpo_book.evaluation.patterns.named import watch
from dpo_book.evaluation.patterns.run_log import RunLog
from dpo_book.models.policy import copy_policy
from dpo_book.training.offline import train_dpo
from dpo_book.worlds.references import verdicts_reference
from dpo_book.worlds.verdicts import draw_comparisons, verdicts
from tests.evaluation.test_patterns import NAMES

LN2 = math.log(2)


@pytest.fixture(scope="module")
def logs():
    """The log of every cause, and a healthy one, of the chapter's own reference and comparisons."""
    reference, world = verdicts_reference(), verdicts()
    with torch.no_grad():
        ref_logp = world.logp(reference).double()
    pairs, _ = draw_comparisons(world, ref_logp, 6400, "hard")
    healthy = list(train_dpo(copy_policy(reference), reference, pairs, HEALTHY))
    return {"healthy": healthy} | {cause: run(reference, pairs) for cause, run in CAUSES.items()}


def last(log, name):
    return sum(record[name] for record in log[-20:]) / 20


def moved(log):
    """How far the mean log-probability of the last 20 steps is from the first 20's, in nats."""
    first = sum(record["logps/rejected"] for record in log[:3]) / 3
    return abs(last(log, "logps/rejected") - first)


# What SIGNS says in words. The chapter's reader has the same records.
SHOWS = {
    "the learning rate is far too high": lambda log: log[1]["loss"] > 1 and log[1]["logps/chosen"] < -10,
    "the learning rate is far too low": lambda log: moved(log) < 0.5 and abs(last(log, "loss") - LN2) < 1e-3,
    "β is 100 times too small": lambda log: moved(log) > 5 and abs(last(log, "rewards/margins")) < 0.1,
    "the labels are coin flips": lambda log: last(log, "rewards/accuracies") < 0.57 and last(log, "loss") > 0.68
    and log[1]["loss"] < 1,
    "the policy did not start from the reference": lambda log: abs(log[0]["rewards/rejected"]) > 0.05,
    "a few pairs are seen again and again": lambda log: last(log, "rewards/accuracies") > 0.99
    and last(log, "loss") < 0.1,
}  # fmt: skip


@pytest.mark.parametrize("cause", CAUSES)
def test_a_cause_shows_in_its_own_log_and_in_no_other(logs, cause):
    assert set(SHOWS) == set(SIGNS) == set(CAUSES)
    assert [name for name, log in logs.items() if SHOWS[cause](log)] == [cause]


@pytest.mark.parametrize("name", ["healthy", *CAUSES])
def test_what_a_run_s_report_watches_for_finds_the_cause_and_no_other(logs, name):
    """Other seeds, and healthy runs at other β, are in tests/evaluation/test_patterns.py."""
    beta = HEALTHY.beta / 100 if name == "β is 100 times too small" else HEALTHY.beta
    rows = 64 if name == "a few pairs are seen again and again" else 6400
    log = RunLog(
        method="dpo", loss="dpo", records=logs[name], beta=beta, batch_size=HEALTHY.batch_size, data={"rows": rows}
    )
    alarms = [finding.name for finding in watch(log).findings if finding.is_alarm]
    assert alarms == ([] if name == "healthy" else [NAMES[name]])


def test_a_broken_log_is_its_cause_s(logs):
    reference, world = verdicts_reference(), verdicts()
    with torch.no_grad():
        ref_logp = world.logp(reference).double()
    pairs, _ = draw_comparisons(world, ref_logp, 6400, "hard")
    assert broken_log("C", reference, pairs) == logs[PATIENTS["C"]]


def test_two_wrong_diagnoses_get_a_word_about_the_first_and_do_not_give_the_answer_away():
    right, said = check_diagnosis.judge(lambda: [1, 2, 1 + LIST.index(PATIENTS["C"])])
    assert not right and "not in log A: if the learning rate is far too high" in said
    assert "should be" not in said
    right, said = check_diagnosis.judge(lambda: [7, 1, 1])
    assert not right and "from 1 to 6" in said
    assert check_diagnosis.judge(lambda: tuple(1 + LIST.index(cause) for cause in PATIENTS.values()))[0]
