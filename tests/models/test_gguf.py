"""A policy of another family: a Llama-type .gguf file and folder load, train, go on, save, and reload."""

import json
import sys

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from dpo_book import PolicyNotFoundError, load_policy, train_tokenizer
from dpo_book.cli import app, training_run

pytest.importorskip("gguf")
from tests.gguf_file import write_gguf
from tests.small_data import first_preferences

TINY = ["--steps=6", "--batch-size=4", "--learning-rate=3e-3", "--warmup-steps=0", "--checkpoint-every=2"]


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    return first_preferences(16, tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def tokenizer(few):
    rows = [json.loads(line) for line in few.read_text().splitlines()]
    return train_tokenizer([text for row in rows for text in row.values()], vocab_size=400)


@pytest.fixture(scope="module")
def llama(tokenizer):
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = LlamaConfig(
        vocab_size=len(tokenizer), num_key_value_heads=2, max_position_embeddings=256, **shape, **ends
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LlamaForCausalLM(config).eval()


@pytest.fixture(scope="module", params=["tiny.gguf", "folder"])
def llama_path(request, llama, tokenizer, tmp_path_factory):
    path = tmp_path_factory.mktemp("llama") / request.param
    if path.suffix == ".gguf":
        write_gguf(path, llama, tokenizer)
    else:
        llama.save_pretrained(path)
        tokenizer.save_pretrained(path)
    return path


@torch.no_grad()
def logits(model):
    return model(input_ids=torch.tensor([[1, 2, 3, 4, 5]])).logits


def test_it_loads_as_the_same_plain_model_and_tokenizer(llama_path, llama, tokenizer):
    policy, words = load_policy(llama_path)
    assert type(policy) is LlamaForCausalLM and policy.dtype == torch.float32
    # The file holds the very weights; float32's epsilon of a norm, and the rotation's base, may round once.
    torch.testing.assert_close(logits(policy), logits(llama), rtol=1e-5, atol=1e-6)
    for text in ("A film about a dog. I would say:", " an ending, é 这部", "<|endoftext|>"):
        assert words(text).input_ids == tokenizer(text).input_ids
        assert words.decode(words(text).input_ids) == text
    assert words.eos_token_id == tokenizer.eos_token_id


def test_it_trains_goes_on_saves_and_reloads(llama_path, few, tmp_path, monkeypatch):
    def dpo(out):
        command = ["dpo_book", "dpo", "--policy", llama_path, "--data", few, "--out", out, "--beta=0.5", *TINY]
        monkeypatch.setattr(sys, "argv", [*map(str, command)])
        app.main()

    def interrupt(record, rate):
        if record["step"] == 5:
            raise KeyboardInterrupt
        return ""

    dpo(tmp_path / "whole")
    with monkeypatch.context() as patch, pytest.raises(SystemExit, match="130"):
        patch.setattr(training_run, "_shown", interrupt)
        dpo(tmp_path / "stopped")
    assert not (tmp_path / "stopped" / "model").exists()
    dpo(tmp_path / "stopped")

    whole, stopped = ((tmp_path / name / "metrics.jsonl").read_text() for name in ("whole", "stopped"))
    assert whole == stopped
    first, *_, last = map(json.loads, whole.splitlines())
    assert first["rewards/margins"] == pytest.approx(0, abs=1e-4) and last["rewards/margins"] > 0.3
    models = [AutoModelForCausalLM.from_pretrained(tmp_path / name / "model") for name in ("whole", "stopped")]
    assert torch.equal(*map(logits, models))
    assert (tmp_path / "whole" / "model" / "model.safetensors").exists()
    policy, words = load_policy(tmp_path / "whole" / "model")
    assert torch.equal(logits(policy), logits(models[0])) and len(words) == policy.config.vocab_size


@pytest.mark.parametrize(
    "cut", [lambda whole: b"", lambda whole: b"hello", lambda whole: whole[:3000], lambda whole: whole[:-10]]
)
def test_a_broken_file_is_named(cut, llama, tokenizer, tmp_path):
    path = tmp_path / "broken.gguf"
    write_gguf(path, llama, tokenizer)
    path.write_bytes(cut(path.read_bytes()))
    with pytest.raises(PolicyNotFoundError, match=r"broken\.gguf.*a \.gguf file must be whole"):
        load_policy(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(PolicyNotFoundError, match=r"none\.gguf"):
        load_policy(tmp_path / "none.gguf")
