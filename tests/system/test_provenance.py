"""Digests: another model, tokenizer or data is another digest; the same one, from wherever it comes, is the same."""

import pytest
import torch
from tokenizers.pre_tokenizers import Whitespace
from transformers import AutoModelForCausalLM, AutoTokenizer

from dpo_book import copy_policy, train_tokenizer
from dpo_book.system.provenance import config_digest, model_digest, tokenizer_digest


@pytest.mark.parametrize(
    ("name", "value"),
    [("n_head", 2), ("activation_function", "relu"), ("layer_norm_epsilon", 1e-3), ("scale_attn_weights", False)],
)
def test_a_model_is_its_configuration_as_well_as_its_weights(name, value, reference):
    other = copy_policy(reference)
    setattr(other.config, name, value)
    assert model_digest(other) != model_digest(reference)


def test_one_weight_and_one_saved_buffer_count(reference):
    before = model_digest(reference)
    reference.register_buffer("correction", torch.zeros(3))
    buffered = model_digest(reference)
    reference.correction[0] = 1
    assert len({before, buffered, model_digest(reference)}) == 3
    with torch.no_grad():
        reference.transformer.wte.weight[0, 0] += 1e-6
    assert model_digest(reference) not in (before, buffered)


def test_a_model_that_was_saved_and_moved_is_the_same_one(reference, tmp_path):
    for place in ("here", "there"):
        reference.save_pretrained(tmp_path / place)
    here, there = (AutoModelForCausalLM.from_pretrained(tmp_path / place) for place in ("here", "there"))
    there.config.transformers_version = "5.0.0"
    assert model_digest(here) == model_digest(there)


def test_how_a_model_generates_has_a_digest(reference):
    before = config_digest(reference.generation_config)
    reference.generation_config.transformers_version = "5.0.0"
    assert config_digest(reference.generation_config) == before
    reference.generation_config.eos_token_id = 7
    assert config_digest(reference.generation_config) != before


@pytest.fixture
def tokenizer():
    return train_tokenizer(["a film about a dog"] * 9, vocab_size=300)


def with_another_template(tokenizer):
    tokenizer.chat_template = "{{ messages[0].content }}"


def with_another_end(tokenizer):
    tokenizer.eos_token = "a"


def with_one_token_more(tokenizer):
    tokenizer.add_tokens(["<think>"])


def with_other_words(tokenizer):
    tokenizer.backend_tokenizer.pre_tokenizer = Whitespace()


@pytest.mark.parametrize("change", [with_another_template, with_another_end, with_one_token_more, with_other_words])
def test_all_that_is_saved_of_a_tokenizer_counts(change, tokenizer):
    before = tokenizer_digest(tokenizer)
    change(tokenizer)
    assert tokenizer_digest(tokenizer) != before


def test_a_tokenizer_that_was_moved_or_used_is_the_same_one(tokenizer, tmp_path):
    for place in ("here", "there"):
        tokenizer.save_pretrained(tmp_path / place)
    here, there = (AutoTokenizer.from_pretrained(tmp_path / place) for place in ("here", "there"))
    assert tokenizer_digest(here) == tokenizer_digest(there)
    before = tokenizer_digest(tokenizer)
    tokenizer(["a film", "a"], padding=True, truncation=True, max_length=2)
    assert tokenizer_digest(tokenizer) == before
