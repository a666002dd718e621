"""A run's folder: what may go on in it, what is whole in it, and what a fault in it may cost."""

import copy
import datetime
import errno
import json
import shutil
import sys

import pytest
from matplotlib.figure import Figure
from safetensors import SafetensorError
from transformers import PreTrainedTokenizerBase

from dpo_book.cli import app, run_figures
from dpo_book.cli.run_folder import RunError, begun_on, identity_of
from dpo_book.cli.run_model import save_model
from dpo_book.cli.run_records import Records, read_records
from dpo_book.system.files import scratch_of
from dpo_book.training.checkpoints import CheckpointError
from dpo_book.training.config import SFTConfig
from dpo_book.worlds.verdicts import verdicts
from tests.small_data import write_run

FILES = ("config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """A run of five steps from a nano policy, its last checkpoint but one after three; without --out."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DPO_BOOK_CACHE", str(tmp_path_factory.mktemp("cache")))
        start = write_run(tmp_path_factory.mktemp("start"), "--steps=5", "--batch-size=4", "--checkpoint-every=3")
        yield start[2:]


@pytest.fixture(scope="module")
def finished(command, tmp_path_factory):
    """The folder of that run when it is finished; not to be touched."""
    out = tmp_path_factory.mktemp("finished") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["dpo_book", *map(str, command), "--out", str(out)])
        app.main()
    return out


@pytest.fixture
def arguments(command, tmp_path):
    return [*command, "--out", tmp_path / "run"]


@pytest.fixture
def run(finished, tmp_path):
    """A copy of the finished run, where ``arguments`` have it."""
    return shutil.copytree(finished, tmp_path / "run")


def refused(book, arguments, *words):
    """The command ends in one line with these words, and leaves everything as it was."""
    before = contents(arguments[-1])
    status, printed, said = book(*arguments)
    assert (status, printed, said.count("\n")) == (2, "", 1), said
    for word in words:
        assert word in said
    assert contents(arguments[-1]) == before


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# ------------------------------------------------------------------ one run and no other


def test_a_policy_whose_configuration_was_edited_is_another_one(book, arguments, run, tmp_path):
    shutil.rmtree(run / "model")
    place = arguments.index("--policy") + 1
    arguments[place] = shutil.copytree(arguments[place], tmp_path / "start")
    path = tmp_path / "start" / "config.json"
    path.write_text(path.read_text().replace('"n_head": 4', '"n_head": 2'))
    refused(book, arguments, "holds another run: model is GPT2LMHeadModel", "config ")


def test_a_run_that_an_earlier_version_began_says_what_it_did_not_keep(book, arguments, run):
    about = json.loads((run / "run.json").read_text())
    del about["generation_config"]
    (run / "run.json").write_text(json.dumps(about))
    refused(book, arguments, "generation_config is not set there")


def test_what_a_model_generates_by_and_what_is_given_besides_are_part_of_a_run(reference):
    tokenizer, day = copy.deepcopy(verdicts().tokenizer), datetime.date(2026, 1, 31)
    before = identity_of("sft", SFTConfig(), reference, tokenizer, [], day, lora_rank=4)
    reference.generation_config.eos_token_id = 7
    after = identity_of("sft", SFTConfig(), reference, tokenizer, [], day, lora_rank=4)
    assert {name for name in before if before[name] != after[name]} == {"generation_config"}
    assert after["date"] == "2026-01-31" and after["lora_rank"] == 4 and after["steps"] == SFTConfig().steps
    tokenizer.chat_template = "{{ messages }}"
    another = identity_of("sft", SFTConfig(), reference, tokenizer, [], day, lora_rank=4)
    assert {name for name in after if after[name] != another[name]} == {"tokenizer"}


def test_other_versions_are_a_warning_and_the_run_goes_on(book, arguments, run):
    expected = contents(run)
    shutil.rmtree(run / "model")
    about = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(about | {"begun_with": "Python 3.0, torch 1.0"}))
    status, _, said = book(*arguments)
    assert status == 0 and "run was begun with Python 3.0, torch 1.0 and goes on with Python" in said
    weights = run / "model" / "model.safetensors"
    assert weights.read_bytes() == expected[weights]


@pytest.mark.parametrize(
    "content",
    [b"[]", b"null", b"3", b"", b"{", b"\xff{}", b"[" * 100_000, None],
    ids=lambda content: str(content)[:9],
)
def test_a_damaged_run_json_is_one_line(content, book, arguments, run):
    (run / "run.json").unlink()
    if content is None:
        (run / "run.json").mkdir()
    else:
        (run / "run.json").write_bytes(content)
    refused(book, arguments, f"{run / 'run.json'} is damaged", "choose a new folder")
    with pytest.raises(RunError, match=r"run\.json is damaged"):
        begun_on(run)


def test_the_day_of_a_run_is_the_one_on_which_it_was_begun(tmp_path):
    assert begun_on(tmp_path / "new") == begun_on(tmp_path) == datetime.date.today()
    (tmp_path / "run.json").write_text('{"method": "sft"}')  # of an earlier version
    assert begun_on(tmp_path) == datetime.date.today()
    (tmp_path / "run.json").write_text('{"date": "2024-02-29"}')
    assert begun_on(tmp_path) == datetime.date(2024, 2, 29)


@pytest.mark.parametrize("date", ["2023-02-29", "today", "", 20240229, {}])
def test_a_damaged_day_is_named_with_its_file(date, tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"date": date}))
    with pytest.raises(RunError, match=r"run\.json is damaged \(its date is"):
        begun_on(tmp_path)


# ------------------------------------------------------------------ finished


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("name", [*FILES, "MANIFEST.json"])
def test_a_model_that_is_not_as_it_was_saved_is_named_and_left_alone(name, book, arguments, run):
    whole = (run / "model" / name).read_bytes()
    for damage in (cut, flip, empty):
        damage(run / "model" / name)
        if name == "MANIFEST.json" and damage is flip:  # of a digest: then it is that file which does not agree
            refused(book, arguments, "model is not as this run saved it")
        else:
            refused(book, arguments, "model is not as this run saved it", name)
        (run / "model" / name).write_bytes(whole)
    status, printed, _ = book(*arguments)
    assert status == 0 and "holds this run already, finished" in printed


def test_something_else_in_the_model_s_place_is_named_and_moved_away_is_made_again(book, arguments, run, tmp_path):
    expected = contents(run / "model")
    (run / "model" / "model.safetensors").unlink()
    refused(book, arguments, "model is not as this run saved it (model.safetensors is missing): move it away")
    shutil.move(run / "model", tmp_path / "away")
    (run / "model").mkdir()
    refused(book, arguments, "model is not as this run saved it")
    (run / "model").rmdir()
    (run / "model").write_text("mine")
    refused(book, arguments, "model is not as this run saved it (it is a file)")
    (run / "model").unlink()
    assert book(*arguments)[0] == 0
    assert contents(run / "model") == expected


def test_files_that_a_reader_adds_to_a_model_do_no_harm(book, arguments, run):
    (run / "model" / "README.md").write_text("mine")
    assert book(*arguments)[0] == 0


def test_a_model_that_an_earlier_version_saved_is_finished_if_it_can_be_opened(book, arguments, run):
    (run / "model" / "MANIFEST.json").unlink()
    assert book(*arguments)[0] == 0
    cut(run / "model" / "model.safetensors")
    refused(book, arguments, "model is not as this run saved it (model.safetensors: ")
    (run / "model" / "model.safetensors").unlink()
    refused(book, arguments, "there is no model.safetensors")
    empty(run / "model" / "config.json")
    refused(book, arguments, "config.json: it is not JSON")


def test_what_a_killed_try_was_writing_is_swept_from_a_finished_run_and_nothing_else(book, arguments, run):
    before = contents(run)
    for name in ("run.json", "checkpoint.safetensors", "model", "reward_margins.png", "log_probabilities.png"):
        scratch_of(run / name).mkdir()
        (scratch_of(run / name) / ".tmpX1y2Z3").write_bytes(b"half")
    (run / "notes.writing").write_text("mine")
    assert book(*arguments)[0] == 0
    assert contents(run) == before | {run / "notes.writing": b"mine"}


# ------------------------------------------------------------------ looks


def test_a_figure_that_cannot_be_written_is_a_warning_after_the_model_is_saved(book, arguments, run):
    shutil.rmtree(run / "model")
    (run / "reward_margins.png").unlink()
    (run / "reward_margins.png").mkdir()
    status, printed, said = book(*arguments)
    assert status == 0 and "the trained model is in" in printed
    assert said.count("dpo_book:") == 1 and "reward_margins.png could not be made (Is a directory)" in said
    assert (run / "log_probabilities.png").stat().st_size > 1000
    assert book(*arguments)[0] == 0


def test_a_record_that_cannot_be_drawn_is_a_warning(tmp_path):
    records = [{"step": 1, "rewards/margins": 0.0, "loss": 1.0}, {"step": 2, "rewards/margin": 0.0, "loss": 1.0}]
    with pytest.warns(UserWarning) as said:
        run_figures.draw(tmp_path, records)
    assert len(said) == 2
    assert all("png could not be made (KeyError: " in str(warning.message) for warning in said)
    assert not list(tmp_path.iterdir())


def test_a_run_that_was_stopped_before_its_figures_has_them_at_the_next_start(book, arguments, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Figure, "draw", interrupt)
        assert book(*arguments)[0] == 130
    assert (tmp_path / "run" / "model").exists() and not list((tmp_path / "run").glob("*.png*"))
    status, printed, _ = book(*arguments)
    assert status == 0 and "finished" in printed
    assert {path.name for path in (tmp_path / "run").glob("*.png")} == {"reward_margins.png", "log_probabilities.png"}


def interrupt(*_, **__):
    raise KeyboardInterrupt


def test_a_finished_run_without_readable_metrics_is_finished_all_the_same(book, arguments, run):
    for name in ("reward_margins.png", "log_probabilities.png"):
        (run / name).unlink()
    (run / "metrics.jsonl").write_bytes(b"\xff")
    status, printed, said = book(*arguments)
    assert status == 0 and "finished" in printed and "metrics.jsonl could not be read" in said


# ------------------------------------------------------------------ a full disk


def rust_meets_a_full_disk(tokenizer, *_, **__):
    tokenizer.backend_tokenizer.save("/dev/full")  # where there is one; it raises a plain Exception


def python_meets_a_full_disk(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


def safetensors_meets_a_full_disk(*_, **__):
    raise SafetensorError("I/O error: No space left on device (os error 28)")


@pytest.mark.parametrize("save", [rust_meets_a_full_disk, python_meets_a_full_disk, safetensors_meets_a_full_disk])
def test_a_full_disk_while_the_model_is_saved_is_one_line_and_the_checkpoint_is_kept(
    save, book, arguments, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr(PreTrainedTokenizerBase, "save_pretrained", save)
        status, printed, said = book(*arguments)
    assert (status, printed) == (2, "")
    line = said.strip().splitlines()[-1]
    assert f"{tmp_path / 'run' / 'model'} could not be saved; the last checkpoint is kept" in line
    assert "No space left on device" in line and "Traceback" not in said
    assert not list((tmp_path / "run").glob("model*"))
    assert book(*arguments)[0] == 0  # from the checkpoint
    assert (tmp_path / "run" / "model" / "tokenizer.json").exists()


def test_a_fault_of_the_package_is_not_told_as_one_of_the_disk(reference, tmp_path):
    with pytest.raises(AttributeError):
        save_model(tmp_path / "model", reference, None)
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------ the records


@pytest.fixture
def records(tmp_path):
    written = Records(tmp_path / "metrics.jsonl", [], None)
    for step in range(1, 5):
        written.add({"step": step, "loss": 0.7 / step}, durable=step == 3)
        if step == 3:
            digest = written.digest
    return tmp_path / "metrics.jsonl", digest


def test_records_are_cut_at_the_checkpoint_and_go_on_from_there(records):
    path, digest = records
    whole = path.read_bytes()
    again = Records(path, range(1, 4), digest)
    assert [record["step"] for record in again.all] == [1, 2, 3]
    assert path.read_bytes() == b"".join(whole.splitlines(keepends=True)[:3])
    again.add({"step": 4, "loss": 0.7 / 4}, durable=False)
    assert path.read_bytes() == whole and [record["step"] for record in read_records(path)] == [1, 2, 3, 4]


def test_a_flip_in_any_byte_up_to_the_checkpoint_is_noticed(records):
    path, digest = records
    whole = path.read_bytes()
    kept = len(b"".join(whole.splitlines(keepends=True)[:3]))
    for place in range(kept):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"metrics\.jsonl has changed: its records of steps 1 to 3"):
            Records(path, range(1, 4), digest)
        assert path.read_bytes() == damaged  # nothing was cut
    flipped = bytearray(whole)
    flipped[-5] ^= 1
    path.write_bytes(flipped)
    assert len(Records(path, range(1, 4), digest).all) == 3  # what comes after is written again


@pytest.mark.parametrize("content", [b"", b'{"step": 1}\n', b'{"step": 1}\n{"step": 3}\n', b"1\n2\n", b"[" * 99_999])
def test_without_a_digest_the_steps_are_looked_at(content, tmp_path):
    """As of a checkpoint that an earlier version left."""
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="does not hold the records of steps 1 to 2"):
        Records(path, range(1, 3), None)
    path.write_bytes(b'{"step": 1}\n{"step": 2}\n{"st')
    assert Records(path, range(1, 3), None).all == [{"step": 1}, {"step": 2}]


def test_a_run_does_not_go_on_beside_metrics_that_were_changed(book, arguments, run):
    shutil.rmtree(run / "model")
    path = run / "metrics.jsonl"
    path.write_text(path.read_text().replace("0.69", "0.68", 1))
    refused(book, arguments, "metrics.jsonl has changed", "Put the file back")
