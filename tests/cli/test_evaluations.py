"""Evaluation while a run trains: the training is the same bit for bit, the best model is kept, patience ends."""

import json

import pytest
import torch
from safetensors.torch import load_file

from dpo_book.cli import run_figures
from dpo_book.cli.eval_options import EvalOptions
from dpo_book.cli.evaluations import Evaluations, best_folder, samples_text
from dpo_book.cli.models import Trainee
from dpo_book.cli.run_model import damage_of
from dpo_book.system import files
from dpo_book.system.files import remove, scratch_of, waiting_of
from dpo_book.system.manifest import MANIFEST
from dpo_book.training.checkpoints import CheckpointError, Checkpoints
from dpo_book.worlds.verdicts import verdicts
from tests.small_data import UNEVEN, write_run

TINY = ("--steps=5", "--batch-size=4", "--learning-rate=1e-3", "--warmup-steps=0", "--checkpoint-every=2")
LOOKS = ("--eval-every=2", "--eval-samples=6", "--eval-max-new-tokens=5")
PROMPTS = ("the plot ", "the acting ", "not bad ", "very good ")


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A folder with a nano policy, and twelve preferences of four prompts."""
    folder = tmp_path_factory.mktemp("given")
    write_run(folder)
    write_pairs(folder / "pairs.jsonl", PROMPTS)
    write_pairs(folder / "others.jsonl", ("but ", "the dull "))
    return folder


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """A cache of its own, and of figures, which take longer than all else, only the start."""
    monkeypatch.setenv("DPO_BOOK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(run_figures.plots, "png", nothing)


def nothing(_figure):
    return b""


def write_pairs(path, prompts, completions=UNEVEN):
    rows = [{"prompt": x, "chosen": y_w, "rejected": y_l} for x in prompts for y_w, y_l in completions]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def command(method, given, out, *options):
    return (method, "--policy", given / "start", "--data", given / "pairs.jsonl", "--out", out, *TINY, *options)


def rows(out):
    return [json.loads(line) for line in (out / "evaluations.jsonl").read_text().splitlines()]


# ------------------------------------------------------------------ the whole command


@pytest.mark.parametrize("method", ["sft", "reward", "dpo"])
def test_training_is_the_same_bit_for_bit_with_and_without(method, book, given, tmp_path):
    looks = LOOKS[:1] if method == "reward" else LOOKS
    held_out = ("--eval-data", given / "others.jsonl", *looks)
    for name, options in (("without", ()), ("with", held_out)):
        status, _, said = book(*command(method, given, tmp_path / name, *options))
        assert status == 0, said
    for name in ("metrics.jsonl", "model/model.safetensors"):
        assert (tmp_path / "with" / name).read_bytes() == (tmp_path / "without" / name).read_bytes()
    found = rows(tmp_path / "with")
    assert [row["step"] for row in found] == [0, 2, 4, 5]
    assert len({row["loss"] for row in found}) == 4
    best = json.loads((tmp_path / "with" / "best" / "evaluation.json").read_text())
    assert best["best_by"] == "loss" and best["loss"] == min(row["loss"] for row in found)
    assert damage_of(tmp_path / "with" / "best") is None
    assert (tmp_path / "with" / "evaluations.png").exists() and not (
        tmp_path / "without" / "evaluations.png"
    ).exists()
    assert ("kl" in found[0]) == (method == "dpo") and ("samples" in found[0]) == (method != "reward")
    for name in ("evaluations.jsonl", "evaluations.png", "best"):
        assert not (tmp_path / "without" / name).exists()


def test_with_an_adapter_the_best_is_whole_and_training_is_the_same(book, given, tmp_path):
    pytest.importorskip("peft")
    held_out = ("--eval-data", given / "others.jsonl", *LOOKS)
    for name, options in (("without", ()), ("with", held_out)):
        status, _, said = book(*command("dpo", given, tmp_path / name, "--lora-rank=2", *options))
        assert status == 0, said
    for name in ("metrics.jsonl", "model/model.safetensors"):
        assert (tmp_path / "with" / name).read_bytes() == (tmp_path / "without" / name).read_bytes()
    model, best = (load_file(tmp_path / "with" / name / "model.safetensors") for name in ("model", "best"))
    assert model.keys() == best.keys()
    step = json.loads((tmp_path / "with" / "best" / "evaluation.json").read_text())["step"]
    assert step > 0 and all(torch.equal(model[name], best[name]) for name in model) == (step == 5)


def test_the_start_is_measured_first_and_is_its_own_reference(book, given, tmp_path):
    out = tmp_path / "run"
    assert book(*command("dpo", given, out, "--eval-share=0.25", *LOOKS))[0] == 0
    first, *others = rows(out)
    assert first["loss"] == pytest.approx(0.693147, abs=1e-6) and first["accuracy"] == 0.5
    assert first["kl"] == 0 == first["kl_standard_error"]
    for row in others:
        error = row["kl_standard_error"]
        assert row["kl"] != 0 and error > 0
        around = [row["kl"] - 1.96 * error, row["kl"] + 1.96 * error]
        assert [row["kl_low"], row["kl_high"]] == pytest.approx(around, abs=1e-4 * error)  # z is 1.959964
    text = (out / "samples.txt").read_text()
    (sample,) = first["samples"]  # one prompt of four is held out
    assert text.startswith(f"=== {sample['prompt']}\n") and text.count("--- step") == 4


def test_a_share_is_held_out_by_prompt_and_not_trained_on(book, given, tmp_path):
    """The same as training on a file without that prompt, and being measured on a file with it alone."""
    assert book(*command("dpo", given, tmp_path / "share", "--eval-share=0.25", *LOOKS))[0] == 0
    held = rows(tmp_path / "share")[0]["samples"][0]["prompt"].strip() + " "
    assert held in PROMPTS
    apart = tmp_path / "apart"
    apart.mkdir()
    write_pairs(apart / "pairs.jsonl", [prompt for prompt in PROMPTS if prompt != held])
    write_pairs(apart / "held.jsonl", [held])
    (apart / "start").symlink_to(given / "start")
    assert book(*command("dpo", apart, tmp_path / "files", "--eval-data", apart / "held.jsonl", *LOOKS))[0] == 0
    for name in ("metrics.jsonl", "evaluations.jsonl", "best/model.safetensors"):
        assert (tmp_path / "share" / name).read_bytes() == (tmp_path / "files" / name).read_bytes()


def test_an_early_end_is_said_and_the_run_is_finished(book, given, tmp_path):
    """Held-out labels are the other way round, so it can only get worse."""
    out = tmp_path / "run"
    swapped = [(rejected, chosen) for chosen, rejected in UNEVEN]
    write_pairs(tmp_path / "swapped.jsonl", ("but ", "the dull "), swapped)
    held_out = ("--eval-data", tmp_path / "swapped.jsonl", "--eval-samples=0", "--patience=2")
    run = command("dpo", given, out, *held_out)
    status, printed, said = book(*run, "--eval-every=1")
    assert status == 0, said
    assert "stopped early at step 2 of 5, no better one in 2 evaluations" in printed
    assert f"is the model of step 0, in {out / 'best'}" in printed
    assert [row["step"] for row in rows(out)] == [0, 1, 2]
    assert rows(out)[0]["loss"] < rows(out)[1]["loss"]
    assert len((out / "metrics.jsonl").read_text().splitlines()) == 2
    assert (out / "model" / "model.safetensors").exists()
    start, best = (load_file(path / "model.safetensors") for path in (given / "start", out / "best"))
    assert all(torch.equal(start[name], best[name]) for name in start)
    before = (out / "evaluations.jsonl").read_bytes()
    assert "holds this run already, finished" in book(*run, "--eval-every=1")[1]
    assert (out / "evaluations.jsonl").read_bytes() == before


def test_other_evaluations_are_another_run(book, given, tmp_path):
    held_out = ("--eval-data", given / "others.jsonl", "--eval-samples=0")
    assert book(*command("dpo", given, tmp_path / "run", *held_out))[0] == 0
    for options, word in (
        (("--eval-every=2",), "--eval-every is 1 there, 2 here"),
        (("--patience=3",), "patience is None there, 3 here"),
        (("--eval-seed=1",), "--eval-seed is 0 there, 1 here"),
    ):
        status, _, said = book(*command("dpo", given, tmp_path / "run", *held_out, *options))
        assert status == 2 and word in said
    status, _, said = book(*command("dpo", given, tmp_path / "run"))
    assert status == 2 and "not set here" in said


def test_held_out_prompts_that_are_trained_on_are_counted(book, given, tmp_path):
    write_pairs(tmp_path / "mixed.jsonl", ("but ", PROMPTS[1]))
    options = ("--eval-data", tmp_path / "mixed.jsonl", "--eval-samples=0", "--eval-pairs=4")
    status, _, said = book(*command("dpo", given, tmp_path / "run", *options))
    assert status == 0 and "of 4 held-out rows have a prompt that is trained on" in said


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--eval-share=0.25",), "no prompt leaves room for --eval-max-new-tokens 48 in the models' context of 16"),
        (("--eval-data", "ONE"), "one.jsonl: one row is held out"),
        (("--data", "TWO", "--eval-share=0.5"), "--eval-share 0.5: one row is held out"),
        (("--eval-data", "ONE", "--prompt-from=text"), "no column 'text', which --prompt-from names"),
        (("--data", "ONE", "--eval-share=0.5"), "there have to be two prompts or more"),
        (("--eval-data", "PAIRS"), "is the file that is trained on: take --eval-share"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_a_run_is_begun(options, word, book, given, tmp_path):
    (tmp_path / "one.jsonl").write_text('{"prompt": "the ", "chosen": "good", "rejected": "bad"}\n')
    write_pairs(tmp_path / "two.jsonl", PROMPTS[:2], UNEVEN[:1])
    places = {"ONE": tmp_path / "one.jsonl", "TWO": tmp_path / "two.jsonl", "PAIRS": given / "pairs.jsonl"}
    options = [places.get(option, option) for option in options]
    arguments = list(command("dpo", given, tmp_path / "run"))
    if "--data" in options:
        arguments[arguments.index("--data") + 1] = options[1]
        options = options[2:]
    status, printed, said = book(*arguments, *options)
    assert (status, printed, said.count("\n")) == (2, "", 1) and word in said
    assert not (tmp_path / "run").exists()


# ------------------------------------------------------------------ the best, patience, and going on


class Stopped(BaseException):
    """As a kill: nothing catches it."""


class Scripted:
    """A training whose step s adds 1 to a weight, and held-out losses that are given."""

    def __init__(self, model, folder, losses, by="loss", patience=None, done=0, every=1):
        self.model, self.losses = model, iter(losses)
        self.weight = model.transformer.wte.weight
        self.checkpoints = Checkpoints(folder / "checkpoint", {}, 1)
        self.checkpoints.done = done
        options = EvalOptions(eval_data="x", best_by=by, patience=patience, eval_every=every)
        self.steps = 6
        self.evaluations = Evaluations(
            folder,
            options.settings("dpo", self.steps),
            self.steps,
            self.checkpoints,
            Trainee(model),
            verdicts().tokenizer,
            self.look,
        )

    def look(self):
        value = next(self.losses)
        if value is None:
            raise Stopped
        return {"loss": value, "accuracy": value, "samples": [{"prompt": "x", "completion": f"y of {value}"}]}

    def run(self):
        return [record["step"] for record in self.evaluations.between(self.training())]

    def training(self):
        with torch.no_grad():
            self.weight[0, 0] = self.checkpoints.done
            for step in range(self.checkpoints.done + 1, self.steps + 1):
                self.weight[0, 0] = step
                yield {"step": step}


def kept(folder):
    """The step of the best model by its weights; it is whole, and says the same of itself."""
    assert damage_of(best_folder(folder)) is None
    step = load_file(best_folder(folder) / "model.safetensors")["transformer.wte.weight"][0, 0].item()
    assert json.loads((best_folder(folder) / "evaluation.json").read_text())["step"] == step
    return step


@pytest.mark.parametrize(
    ("by", "best"),
    [("loss", 3), ("accuracy", 5)],
)
def test_the_best_is_the_first_than_which_none_is_better(by, best, reference, tmp_path):
    with torch.no_grad():
        reference.transformer.wte.weight[0, 0] = 0
    run = Scripted(reference, tmp_path, [0.7, 0.6, 0.65, 0.5, 0.6, 0.9, 0.5], by=by)
    assert run.run() == [1, 2, 3, 4, 5, 6]
    assert kept(tmp_path) == best and run.evaluations.best["step"] == best
    assert run.evaluations.report().startswith(f"the best by held-out {by}, ")
    assert [row["loss"] for row in rows(tmp_path)] == [0.7, 0.6, 0.65, 0.5, 0.6, 0.9, 0.5]


@pytest.mark.parametrize(
    ("losses", "patience", "stop"),
    [
        ([0.7, 0.8, 0.9], 2, 2),
        ([0.7, 0.7, 0.7], 2, 2),  # as good is not better
        ([0.7, 0.6, 0.65, 0.5, 0.6, 0.6], 2, 5),
        ([0.7, 0.6, 0.65, 0.5, 0.6, 0.6, 0.6], 3, None),  # at its end a run is not stopped early
        ([0.7, 0.6, 0.65, 0.5, 0.6, 0.6, 0.6], None, None),
        ([0.7, 0.8], 1, 1),
    ],
)
def test_patience_is_evaluations_in_a_row_without_a_better_one(losses, patience, stop, reference, tmp_path):
    run = Scripted(reference, tmp_path, losses, patience=patience)
    assert len(run.run()) == (stop or 6)
    assert run.evaluations.stopped_at == stop
    assert ("stopped early" in run.evaluations.report()) == (stop is not None)


def test_every_so_many_steps_and_at_both_ends(reference, tmp_path):
    run = Scripted(reference, tmp_path, [0.7, 0.6, 0.5], every=4)
    run.run()
    assert [row["step"] for row in rows(tmp_path)] == [0, 4, 6]


def test_rows_after_the_checkpoint_are_cut_off_and_come_again_once(reference, tmp_path):
    losses = [0.7, 0.5, 0.6, 0.4, 0.8, 0.9, 0.9]
    with pytest.raises(Stopped):
        Scripted(reference, tmp_path, [*losses[:4], None]).run()
    assert kept(tmp_path) == 3
    with open(tmp_path / "evaluations.jsonl", "a") as file:
        file.write('{"step": 4, "lo')  # a kill in the middle of a line
    again = Scripted(reference, tmp_path, losses[3:], done=2)
    assert [row["step"] for row in again.evaluations.rows] == [0, 1, 2]
    assert again.run() == [3, 4, 5, 6]
    assert [row["loss"] for row in rows(tmp_path)] == losses
    assert kept(tmp_path) == 3
    assert (tmp_path / "samples.txt").read_text() == samples_text(rows(tmp_path))


def test_a_best_that_is_ahead_of_the_checkpoint_stays_what_is_compared_with_and_said(reference, tmp_path):
    """Another device may round the steps that come again so that the one that was best is so no more."""
    with pytest.raises(Stopped):
        Scripted(reference, tmp_path, [0.7, 0.5, 0.6, 0.4, None]).run()
    saved = (tmp_path / "best" / "evaluation.json").read_bytes()
    again = Scripted(reference, tmp_path, [0.6, 0.45, 0.45, 0.45], done=2, patience=2)
    assert again.run() == [3, 4, 5] and again.evaluations.stopped_at == 5  # patience counts from step 3
    assert kept(tmp_path) == 3 and (tmp_path / "best" / "evaluation.json").read_bytes() == saved
    assert again.evaluations.best["step"] == 3
    assert "the best by held-out loss, 0.4, is the model of step 3" in again.evaluations.report()


def test_a_best_that_is_ahead_gives_way_to_a_better_one(reference, tmp_path):
    with pytest.raises(Stopped):
        Scripted(reference, tmp_path, [0.7, 0.5, 0.6, 0.4, None]).run()
    again = Scripted(reference, tmp_path, [0.6, 0.45, 0.3, 0.45], done=2)
    again.run()
    assert kept(tmp_path) == 5 == again.evaluations.best["step"]


def test_without_a_checkpoint_a_run_is_measured_anew_from_its_start(reference, tmp_path):
    with pytest.raises(Stopped):
        Scripted(reference, tmp_path, [0.7, 0.5, None]).run()
    again = Scripted(reference, tmp_path, [0.9] * 7)
    assert not again.evaluations.rows
    with torch.no_grad():
        reference.transformer.wte.weight[0, 0] = 0
    again.run()
    assert kept(tmp_path) == 0


@pytest.mark.parametrize("moment", ["old gone", "half of the old gone", "in the middle of the new"])
def test_a_kill_while_the_best_is_replaced_leaves_a_whole_one(moment, reference, tmp_path, monkeypatch):
    best = best_folder(tmp_path)

    def kill(*_):
        raise Stopped

    def remove(path):
        if path == best and path.exists():
            whole_remove(path) if moment == "old gone" else (path / "model.safetensors").unlink()
            raise Stopped
        whole_remove(path)

    whole_remove = files.remove
    with monkeypatch.context() as patch:
        run = Scripted(reference, tmp_path, [0.7, 0.5, 0.4])
        training = run.evaluations.between(run.training())
        next(training), next(training)  # the second comes after the evaluation of the first
        if moment == "in the middle of the new":
            patch.setattr("dpo_book.cli.run_model.write_manifest", kill)
        else:
            patch.setattr(files, "remove", remove)
        with pytest.raises(Stopped):
            next(training)
    assert waiting_of(best).exists() == (moment != "in the middle of the new")
    files.settle(best)
    assert kept(tmp_path) == (1 if moment == "in the middle of the new" else 2)
    assert not waiting_of(best).exists()


def test_what_a_kill_left_is_swept_when_the_run_goes_on(book, given, tmp_path):
    out = tmp_path / "run"
    run = command("dpo", given, out, "--eval-data", given / "others.jsonl", "--eval-samples=0")
    assert book(*run)[0] == 0
    before = (out / "best" / "model.safetensors").read_bytes()
    (out / "best").rename(waiting_of(out / "best"))
    for path in (waiting_of(out / "best"), out / "samples.txt"):
        scratch_of(path).mkdir()
    figures = sorted(path.name for path in out.glob("*.png"))
    assert figures == ["evaluations.png", "log_probabilities.png", "reward_margins.png"]
    for name in figures:
        (out / name).unlink()
    assert book(*run)[0] == 0
    assert sorted(path.name for path in out.glob("*.png")) == figures
    assert (out / "best" / "model.safetensors").read_bytes() == before
    assert not list(out.glob("*.writing")) and not list(out.glob("*.new"))


def test_a_run_does_not_go_on_beside_evaluations_or_a_best_that_were_changed(reference, tmp_path):
    run = Scripted(reference, tmp_path, [0.7, 0.5, 0.6, 0.4, 0.8, 0.9, 0.9])
    run.run()
    digest = run.checkpoints.evaluations_digest
    Scripted(reference, tmp_path, [], done=6)
    path = tmp_path / "evaluations.jsonl"
    whole = path.read_text()
    path.write_text("\n".join(whole.splitlines()[:5]))
    with pytest.raises(CheckpointError, match=r"evaluations\.jsonl does not hold the records of steps 0 to 6"):
        Scripted(reference, tmp_path, [], done=6)
    path.write_text(whole.replace("0.5", "0.3", 1))
    from dpo_book.cli.run_records import Records

    with pytest.raises(CheckpointError, match=r"evaluations\.jsonl has changed"):
        Records(path, range(7), digest)
    path.write_text(whole)
    (tmp_path / "best" / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"best is not as this run saved it \(model.safetensors has changed\)"):
        Scripted(reference, tmp_path, [], done=6)
    remove(tmp_path / "best")
    with pytest.raises(CheckpointError, match=r"best is not as this run saved it \(it is not there\)"):
        Scripted(reference, tmp_path, [], done=6)


def test_what_is_said_of_the_best_has_to_be_whole_too(reference, tmp_path):
    Scripted(reference, tmp_path, [0.7, 0.5, 0.6, 0.4, 0.8, 0.9, 0.9]).run()
    about = tmp_path / "best" / "evaluation.json"
    about.write_text(about.read_text().replace("0.4", "0.9"))
    with pytest.raises(CheckpointError, match=r"evaluation.json has changed"):
        Scripted(reference, tmp_path, [], done=6)
    (tmp_path / "best" / MANIFEST).unlink()
    for text, word in (("{", "it is not JSON"), ('{"step": 3}', "does not say its step and loss")):
        about.write_text(text)
        with pytest.raises(CheckpointError, match=rf"evaluation.json:? {word}"):
            Scripted(reference, tmp_path, [], done=6)
