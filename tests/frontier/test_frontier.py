"""The frontier: seven methods through one call, and a table that survives kills, slips and damage."""

import json
import math
import multiprocessing
import os
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
import torch

from dpo_book import PPOConfig, RewardConfig, optimal_logp
from dpo_book.frontier.arena import Cost, EnumeratedArena
from dpo_book.frontier.material import draw_material
from dpo_book.frontier.methods import METHODS, Plan
from dpo_book.frontier.plans import PLANS
from dpo_book.frontier.table import COLUMNS, FrontierError, Run, compute, measure_run, read, runs_of, table
from dpo_book.maths.exact import expected_reward, kl_divergence
from tests.patience import PATIENCE, next_line

PLAN = Plan(
    comparisons=200,
    budget=640,
    batch_size=16,
    reward_model=RewardConfig(learning_rate=1e-3, batch_size=16, steps=4),
    learning_rates=dict.fromkeys(METHODS, 1e-3),
    strengths={
        "sft": (0.0,), "preferred-ft": (0.0,), "unlikelihood": (0.1,), "dpo": (0.3, 1.0), "best-of-n": (4,),
        "ppo": (0.3,), "ppo-gt": (0.3,),
    },
    measurements=3,
    ppo=PPOConfig(minibatch_size=16, epochs=2, warmup_steps=1),
)  # fmt: skip
UNREPEATED = ["seconds", "date"]  # what the clock says


@pytest.fixture(scope="module")
def arena():
    return EnumeratedArena()


@pytest.fixture(scope="module")
def rows():
    return [row for run_ in runs_of(PLAN) for row in measure_run("verdicts", PLAN, run_)]


def test_every_method_ends_within_its_budget_and_says_what_it_spent(rows):
    frame = table(rows)
    last = frame[frame["last"]].set_index("method")
    assert set(last.index) == set(METHODS)
    assert last.loc["sft", ["passes", "generated_tokens", "judgements"]].tolist() == [0, 0, 0]
    # 16 pairs are 32 passes a step, 640 / 32 = 20 steps; 16 completions are 16 passes.
    assert last.loc["dpo", "step"].tolist() == [20, 20] and last.loc["dpo", "passes"].tolist() == [640, 640]
    assert last.loc["unlikelihood", "step"] == 20 and last.loc["preferred-ft", "step"] == 40
    # PPO's step is 16 rollouts x 2 epochs x 2 models = 64 passes; the reward model has had 4 x 32 of them.
    assert last.loc["ppo-gt", "step"] == 10 and last.loc["ppo-gt", "passes"] == 640
    assert last.loc["ppo", "step"] == 8 and last.loc["ppo", "passes"] == 640
    assert last.loc["ppo-gt", "generated_tokens"] == 10 * 16 * 4 and last.loc["ppo-gt", "judgements"] == 160
    data = 2 * 200 * 4
    assert last.loc["ppo", "generated_tokens"] == data + 8 * 16 * 4 and last.loc["ppo", "judgements"] == 200
    assert (last.loc[["dpo", "unlikelihood", "preferred-ft", "best-of-n"], "generated_tokens"] == data).all()


def test_a_run_starts_at_the_reference_and_its_cost_only_grows(rows, arena):
    frame = table(rows)
    exact = expected_reward(arena.ref_logp, arena.world.rewards).mean().item()
    for (method, _), part in frame.groupby(["method", "strength"]):
        assert part["passes"].is_monotonic_increasing and part["seconds"].is_monotonic_increasing
        if method != "best-of-n":
            first = part.iloc[0]
            assert first["reward"] == pytest.approx(exact, abs=1e-6) and first["kl"] == pytest.approx(0, abs=1e-6)


def test_best_of_n_is_what_picking_among_samples_gives(arena):
    data = draw_material(arena, PLAN.comparisons, replace(PLAN.reward_model, seed=0), 0)
    measured = arena.best_of(4, learned := data.learned, seed=0)
    generator = torch.Generator().manual_seed(0)
    picked, responses = [], arena.world.response_ids.tolist()
    for i, prompt in enumerate(arena.world.prompt_ids):
        scores = learned([prompt] * len(responses), responses)
        draws = torch.multinomial(arena.ref_logp[i].exp(), 40_000, True, generator=generator).reshape(-1, 4)
        best = draws.gather(1, scores[draws].argmax(dim=1, keepdim=True)).squeeze(1)
        picked.append(torch.stack([arena.world.rewards[i, best], scores[best].double()]))
    picked = torch.cat(picked, dim=1)
    error = picked.std(dim=1) / picked.shape[1] ** 0.5
    exact = torch.tensor([measured.reward, measured.learned_reward], dtype=torch.float64)
    assert ((picked.mean(dim=1) - exact).abs() < 4 * error).all()  # fails once in 8,000 seeds
    assert 0 < measured.kl < math.log(4) - 3 / 4  # below the formula for a reward without ties


def test_no_point_lies_above_the_exact_frontier(rows, arena):
    """Equation 4 is the best reward at any KL, so every other policy of that KL has less, whatever made it."""
    optima = [optimal_logp(arena.ref_logp, arena.world.rewards, beta) for beta in np.geomspace(0.01, 100, 200)]
    kl = [kl_divergence(star, arena.ref_logp).mean().item() for star in optima][::-1]
    reward = [expected_reward(star, arena.world.rewards).mean().item() for star in optima][::-1]
    for row in rows:
        # The chord between two optima lies below the curve, by less than 0.002 on this grid.
        assert row["reward"] <= np.interp(row["kl"], kl, reward) + 2e-3


def test_the_same_seed_gives_the_same_rows_and_another_gives_others(rows):
    again = measure_run("verdicts", PLAN, Run("ppo", 0.3, 0))
    first = [row for row in rows if row["method"] == "ppo"]
    timeless = lambda rows: [{name: row[name] for name in row if name not in UNREPEATED} for row in rows]
    assert timeless(again) == timeless(first)
    other = measure_run("verdicts", PLAN, Run("ppo", 0.3, 1))
    assert [row["reward"] for row in other] != [row["reward"] for row in first]
    assert json.loads(first[0]["samples"]) and json.loads(other[0]["samples"]) == []


def test_costs_add_up():
    assert Cost(1, 2, 3, 0.5) + Cost(passes=10) == Cost(11, 2, 3, 0.5)


# The table


def in_this_process(world, plan, runs, processes):
    """Stands in for the pool, whose processes take seconds to import what they need."""
    for run_ in runs:
        yield run_, measure_run(world, plan, run_)


def finish(folder, plan=PLAN, methods=("sft", "dpo"), seeds=1):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dpo_book.frontier.table._measured", in_this_process)
        return list(compute(folder, "verdicts", plan, methods, seeds))


def assert_same_table(path, other):
    pd.testing.assert_frame_equal(read(path).drop(columns=UNREPEATED), read(other).drop(columns=UNREPEATED))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    progress = finish(folder)
    assert [done for done, _, _ in progress] == [0, 1, 2, 3] and {total for _, total, _ in progress} == {3}
    return folder


def test_a_finished_table_has_all_it_should_and_is_not_computed_again(finished):
    frame = read(finished / "verdicts.csv")
    assert list(frame.columns) == list(COLUMNS)
    assert set(map(tuple, frame[["method", "strength"]].to_numpy())) == {("sft", 0.0), ("dpo", 0.3), ("dpo", 1.0)}
    assert frame["versions"].str.contains(f"torch {version('torch')}", regex=False).all()
    assert frame["date"].str.fullmatch(r"\d{4}-\d\d-\d\d").all() and frame["hardware"].str.len().gt(3).all()
    before = (finished / "verdicts.csv").read_bytes()
    assert finish(finished) == [(3, 3, None)]
    assert (finished / "verdicts.csv").read_bytes() == before


def test_a_method_named_twice_is_run_once(tmp_path, finished):
    assert runs_of(PLAN, ["dpo", "sft", "dpo"]) == runs_of(PLAN, ["dpo", "sft"])
    assert finish(tmp_path, methods=("sft", "sft"))[-1][:2] == (1, 1)
    assert finish(tmp_path, methods=("sft", "dpo", "sft"))[-1][:2] == (3, 3)  # the table is whole, and goes on
    assert_same_table(tmp_path / "verdicts.csv", finished / "verdicts.csv")


KILLED = """
import sys, pathlib, time
from tests.frontier.test_frontier import PLAN
from dpo_book.frontier.table import compute
if __name__ == "__main__":
    for done, total, run in compute(pathlib.Path(sys.argv[1]), "verdicts", PLAN, ("sft", "dpo"), 1, 1):
        print(done, flush=True)
        if done == 1:
            time.sleep(600)  # until it is killed, while its worker goes on
"""


def test_runs_that_are_killed_or_left_keep_what_was_finished_and_end_in_the_same_table(tmp_path, finished):
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    process = subprocess.Popen(
        [sys.executable, script, tmp_path], stdout=subprocess.PIPE, text=True, start_new_session=True,
        env=os.environ | {"PYTHONPATH": os.getcwd()},
    )  # fmt: skip
    assert next_line(process) == "0\n" and next_line(process) == "1\n"
    workers = [
        worker for worker in psutil.Process(process.pid).children(recursive=True) if "spawn" in str(worker.cmdline())
    ]
    process.kill()  # the parent alone: its workers have to notice
    assert workers and not psutil.wait_procs(workers, timeout=PATIENCE)[1]
    kept = read(tmp_path / "verdicts.csv")
    assert len(kept[["method", "strength"]].drop_duplicates()) == 1
    before = (tmp_path / "verdicts.csv").read_text()
    progress = compute(tmp_path, "verdicts", PLAN, ("sft", "dpo"), seeds=1, processes=1)  # in a real pool
    assert [next(progress)[0], next(progress)[0]] == [1, 2]
    (worker,) = multiprocessing.active_children()
    progress.close()  # as Ctrl-C does: the run under way is left
    worker.join(PATIENCE)
    assert worker.exitcode == -signal.SIGTERM
    assert [done for done, _, _ in finish(tmp_path)] == [2, 3]
    assert set(before.splitlines()) <= set((tmp_path / "verdicts.csv").read_text().splitlines())  # not computed twice
    assert_same_table(tmp_path / "verdicts.csv", finished / "verdicts.csv")


def copy_of(finished, folder):
    for name in ("verdicts.csv", "verdicts.json"):
        (folder / name).write_bytes((finished / name).read_bytes())
    return folder / "verdicts.csv", folder / "verdicts.json"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[: len(text) // 2], "the middle of a line"),
        (lambda text: text.replace(text.splitlines()[1].split(",")[10], "nan", 1), "column 'reward': a value is not"),
        (lambda text: text.replace("passes", "runs", 1), "missing: passes"),
        (lambda text: text.replace(",True,", ",maybe,", 1), "column 'last'"),
        (lambda text: "\n".join(line for line in text.splitlines() if ",True," not in line) + "\n", "not whole"),
        (lambda text: "", "cannot be read"),
    ],
)
def test_a_damaged_table_is_refused_and_left_alone(tmp_path, finished, damage, message):
    path, _ = copy_of(finished, tmp_path)
    path.write_text(damage(path.read_text()))
    before = path.read_bytes()
    with pytest.raises(FrontierError, match=message) as error:
        finish(tmp_path, seeds=2)
    assert str(path) in str(error.value) and path.read_bytes() == before


def test_results_of_another_configuration_are_refused_and_left_alone(tmp_path, finished):
    path, about = copy_of(finished, tmp_path)
    before = path.read_bytes()
    with pytest.raises(FrontierError, match=r"another configuration: budget was 640 there and is 1280 now"):
        finish(tmp_path, plan=replace(PLAN, budget=1280))
    for content in (b"{", b"[]", b"null", b"\xff", b"[" * 100_000):
        about.write_bytes(content)
        with pytest.raises(FrontierError, match=r"verdicts\.json cannot be read"):
            finish(tmp_path)
    about.unlink()
    with pytest.raises(FrontierError, match=r"has no verdicts\.json beside it"):
        finish(tmp_path)
    assert path.read_bytes() == before


def test_two_runs_do_not_write_into_one_folder(tmp_path):
    first = compute(tmp_path, "verdicts", PLAN, ["sft"], 1, 1)
    next(first)
    with pytest.raises(FrontierError, match="being written by another run"):
        finish(tmp_path)
    first.close()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mars", PLAN), "no world 'mars'"),
        (("verdicts", PLAN, ["dpo", "grpo"]), "no method 'grpo'"),
        (("verdicts", PLAN, ["dpo"], 0), "seeds"),
        (("verdicts", PLAN, ["dpo"], 1, 0), "processes"),
    ],
)
def test_slips_are_named_before_anything_is_written(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        next(compute(tmp_path / "new", *arguments))
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [("budget", -1), ("budget", 100), ("comparisons", 0), ("batch_size", 2.5), ("measurements", 0)],
)
def test_a_plan_names_its_wrong_field(field, value):
    with pytest.raises(ValueError, match=field):
        replace(PLAN, **{field: value})


def test_the_built_in_plans_run_every_method():
    for plans in PLANS.values():
        for plan in plans.values():
            assert {run_.method for run_ in runs_of(plan)} == set(METHODS)
            assert set(plan.learning_rates) == set(METHODS) - {"sft", "best-of-n"}


@pytest.mark.parametrize(("world", "seeds"), [("verdicts", 5), ("tiny-reviews", 3)])
def test_the_stored_tables_are_whole_and_of_the_plans_that_stand_in_the_package(world, seeds):
    folder = Path(__file__).parents[2] / "notebooks" / "results"
    plan = PLANS["full"][world]
    assert json.loads((folder / f"{world}.json").read_text()) == json.loads(json.dumps(asdict(plan)))
    stored = read(folder / f"{world}.csv")
    assert {Run(*key) for key in stored[["method", "strength", "seed"]].itertuples(index=False)} == set(
        runs_of(plan, seeds=seeds)
    )


def test_the_command_line_answers_a_slip_in_one_line(book, tmp_path, finished):
    status, printed, said = book("frontier", "verdicts", "--budget", -5, "--out", tmp_path)
    assert (status, printed) == (2, "")
    assert said == "dpo_book: budget must be a whole number of at least 1, got -5\n"
    status, printed, said = book("frontier", "verdicts", "--out", finished)
    assert (status, printed, said.count("\n")) == (2, "", 1) and "another configuration" in said
    status, printed, said = book("frontier", "mars")
    assert (status, printed, said.count("\n")) == (2, "", 1) and "verdicts" in said
