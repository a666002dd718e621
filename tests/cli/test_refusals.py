"""What cannot be used is refused in one line before anything is written; a fault of the package is not hidden."""

import errno
import json

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, MambaConfig, MambaForCausalLM, PreTrainedTokenizerFast

from dpo_book import train_tokenizer
from dpo_book.cli import models, training_run
from dpo_book.training import loop

TINY = ("--steps=2", "--batch-size=2", "--learning-rate=1e-3")
TEXTS = ["the film is a very good one", "a dull film about a dog"]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS * 9, vocab_size=280)


def save(folder, tokenizer: PreTrainedTokenizerFast, positions: int = 64, **changed: float):
    """A tiny GPT-2 in a folder; ``changed`` are tensors that get a value in one place."""
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    shape = {"n_layer": 1, "n_head": 2, "n_embd": 16, "n_positions": positions}
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), **shape, **ends))
    with torch.no_grad():
        for name, value in changed.items():
            model.get_parameter(name.replace("__", ".")).view(-1)[3] = value
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def whole(tokenizer, tmp_path_factory):
    return save(tmp_path_factory.mktemp("whole"), tokenizer)


@pytest.fixture(scope="module")
def short(tokenizer, tmp_path_factory):
    return save(tmp_path_factory.mktemp("short"), tokenizer, positions=16)


@pytest.fixture(scope="module", params=["nan", "inf"])
def broken(request, tokenizer, tmp_path_factory):
    value = {"transformer__ln_f__weight": float(request.param)}
    return save(tmp_path_factory.mktemp("broken"), tokenizer, **value)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "pairs.jsonl"
    rows = [{"prompt": "the film", "chosen": " is good", "rejected": f" is {'very ' * n}dull"} for n in range(1, 9)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def refused(answer: tuple[int, str, str], *words: str) -> None:
    status, printed, said = answer
    assert (status, printed) == (2, ""), said
    assert said.startswith("dpo_book: ") and said.count("\n") == 1
    assert all(word in said for word in words), said


# ------------------------------------------------------------------ models


def test_weights_that_are_not_finite_are_named_with_model_and_tensor(book, whole, broken, data, tmp_path):
    run = ("--data", data, "--out", tmp_path / "run", *TINY)
    words = (str(broken), "transformer.ln_f.weight", "not finite")
    refused(book("sft", "--policy", broken, *run), *words)
    refused(book("dpo", "--policy", broken, *run), *words)
    refused(book("dpo", "--policy", whole, "--reference", broken, *run), *words)
    refused(book("evaluate", "--policy", whole, "--reference", broken, "--data", data), *words)
    refused(book("sample", "the film", "--policy", broken), *words)
    assert not (tmp_path / "run").exists()


def test_pairs_are_cut_to_the_shorter_context_of_policy_and_reference(book, whole, short, data, tmp_path):
    for number, policies in enumerate(((whole, short), (short, whole))):
        both = ("--policy", policies[0], "--reference", policies[1], "--data", data)
        status, _, said = book("dpo", *both, "--out", tmp_path / str(number), *TINY)
        assert status == 0, said
        status, printed, said = book("evaluate", *both, "--samples=4", "--max-new-tokens=4")
        assert status == 0 and "accuracy" in printed, said
        refused(book("dpo", *both, "--max-length=17", "--out", tmp_path / "no", *TINY), "--max-length 17", "of 16")
        refused(book("evaluate", *both, "--max-length=17"), "--max-length 17", "context of 16")
        refused(book("evaluate", *both), "no prompt leaves room for --max-new-tokens 48", "context of 16")
    assert not (tmp_path / "no").exists()


def test_a_rank_above_the_policy_s_width_is_refused(book, whole, data, tmp_path):
    pytest.importorskip("peft")
    run = ("--policy", whole, "--data", data, "--out", tmp_path / "run", *TINY)
    for method in ("sft", "dpo"):
        refused(book(method, *run, "--lora-rank=1000000000"), "--lora-rank must be at most", "width, 16")
    assert not (tmp_path / "run").exists()


def test_a_model_that_takes_no_adapter_is_refused_before_a_run_is_begun(book, tokenizer, data, tmp_path):
    pytest.importorskip("peft")
    config = MambaConfig(vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, state_size=4)
    MambaForCausalLM(config).save_pretrained(tmp_path / "mamba")
    tokenizer.save_pretrained(tmp_path / "mamba")
    run = ("--policy", tmp_path / "mamba", "--data", data, "--out", tmp_path / "run", *TINY)
    for method in ("sft", "dpo"):
        refused(book(method, *run, "--lora-rank=2"), str(tmp_path / "mamba"), "LoRA cannot adapt MambaForCausalLM")
    assert not (tmp_path / "run").exists()


def test_a_reference_with_another_number_of_tokens_is_refused(book, whole, tokenizer, data, tmp_path):
    config = GPT2Config(vocab_size=512, n_layer=1, n_head=2, n_embd=16, n_positions=64)
    GPT2LMHeadModel(config).save_pretrained(tmp_path / "wide")
    tokenizer.save_pretrained(tmp_path / "wide")
    both = ("--policy", tmp_path / "wide", "--reference", whole, "--data", data)
    words = (str(whole), f"a vocabulary of {len(tokenizer)}", "one of 512")
    refused(book("evaluate", *both), *words)
    refused(book("dpo", *both, "--out", tmp_path / "run", *TINY), *words)
    assert not (tmp_path / "run").exists()


def test_a_prompt_without_room_is_named_before_anything_is_drawn(book, short):
    refused(
        book("sample", "the film", "the " * 30, "--policy", short, "--max-new-tokens=4"),
        "prompt 2 has", "--max-new-tokens 4", "16 positions",
    )  # fmt: skip


# ------------------------------------------------------------------ data and settings


def test_advice_is_spelled_in_options_and_names_the_file(book, short, tmp_path):
    path = tmp_path / "long.jsonl"
    path.write_text(json.dumps({"prompt": "the film " * 30, "chosen": " good", "rejected": " dull"}) + "\n")
    run = ("--policy", short, "--data", path, "--out", tmp_path / "run", *TINY)
    refused(book("dpo", *run), "long.jsonl", "line 1", "--max-length 16", "--drop-long")
    assert not (tmp_path / "run").exists()


def test_an_interval_of_one_pair_is_refused(book, whole, tmp_path):
    path = tmp_path / "one.jsonl"
    path.write_text(json.dumps({"prompt": "the film", "chosen": " good", "rejected": " dull"}) + "\n")
    refused(book("evaluate", "--policy", whole, "--reference", whole, "--data", path), "one.jsonl holds one pair")


@pytest.mark.parametrize("beta", ["1e26", "1e38"])
def test_a_beta_that_float32_cannot_bear_is_not_blamed_on_the_learning_rate(book, whole, data, tmp_path, beta):
    answer = book("dpo", "--policy", whole, "--data", data, "--out", tmp_path / "run", *TINY, f"--beta={beta}")
    status, printed, said = answer
    last = said.split("\r")[-1].splitlines()[-1]  # after the bars
    assert (status, printed) == (2, "") and last.startswith("dpo_book: step 1: ")
    assert "so it is not the learning rate" in last and "beta" in last


# ------------------------------------------------------------------ whose fault it is


def test_a_fault_in_our_training_keeps_its_traceback(book, whole, data, tmp_path, monkeypatch):
    def fault(*_):
        raise ValueError("a fault of ours")

    monkeypatch.setattr(loop, "record_of", fault)
    with pytest.raises(ValueError, match="a fault of ours"):
        book("sft", "--policy", whole, "--data", data, "--out", tmp_path / "run", *TINY)


@pytest.mark.parametrize(
    ("raised", "words"),
    [
        (KeyError("rope_theta"), ("the policy", "KeyError: 'rope_theta'")),
        (MemoryError(), ("the policy", "not enough memory")),
        (RuntimeError("[enforce fail] can't allocate memory: you tried to allocate 9 bytes"), ("not enough memory",)),
    ],
)
def test_whatever_a_library_raises_while_it_reads_a_model_is_one_line(
    book, data, tmp_path, monkeypatch, raised, words
):
    def read(name, device):
        raise raised

    monkeypatch.setattr(models, "load_policy", read)
    answer = book("dpo", "--policy", "some/model", "--data", data, "--out", tmp_path / "run", *TINY)
    refused(answer, *words)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("at", ["follow", "save"])
def test_a_full_disk_is_named_with_the_run_s_folder(book, whole, data, tmp_path, monkeypatch, at):
    def write(*_):
        raise OSError(errno.ENOSPC, "No space left on device")  # as a flush says it, without a name

    monkeypatch.setattr(training_run.Run, at, write)
    answer = book("sft", "--policy", whole, "--data", data, "--out", tmp_path / "run", *TINY)
    refused(answer, str(tmp_path / "run"), "No space left on device")


def test_too_little_memory_for_a_step_is_one_line(book, whole, data, tmp_path, monkeypatch):
    def step(*_):
        raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB")

    monkeypatch.setattr(loop, "parts_of", step)
    answer = book("sft", "--policy", whole, "--data", data, "--out", tmp_path / "run", *TINY)
    refused(answer, "not enough memory", "--micro-batch-size")
