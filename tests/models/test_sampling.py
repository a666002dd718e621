"""Draws are those of the model's own softmax whatever its generation_config says, and they stop where it ends."""

import logging

import pytest
import torch
from transformers import GenerationConfig, modeling_utils
from transformers.utils import logging as transformers_logging

from dpo_book.models.policy import build_policy, sample_ids
from dpo_book.models.sampling import end_ids
from tests.models.test_logprobs import blurred
from tests.models.test_policy import word_tokenizer
from tests.models.test_traits import rwkv

WHERE_TO_STOP = {"eos_token_id"}  # what a draw does take from there
KEYS = sorted(
    (set(vars(GenerationConfig())) | set(GenerationConfig().to_dict()) | {"a_key_of_later"}) - WHERE_TO_STOP
)


def policy():
    return build_policy("nano", word_tokenizer(6))


def draws(model):
    return sample_ids(model, [[1, 2]] * 8, 3)


@pytest.mark.parametrize("value", [2, "hostile"])
def test_no_key_of_the_model_s_own_generation_config_bends_a_draw(value):
    model = policy()
    plain = draws(model)
    assert len(KEYS) > 40
    for key in KEYS:
        own = model.generation_config = GenerationConfig(eos_token_id=0)
        setattr(own, key, value)
        assert draws(model) == plain, key
        assert model.generation_config is own and getattr(own, key) == value


@pytest.mark.parametrize("value", [0.1, True, [[1, 2]], ["w1"]], ids=str)
def test_nor_do_all_of_them_together(value):
    model = policy()
    plain = draws(model)
    for key in KEYS:
        setattr(model.generation_config, key, value)
    assert draws(model) == plain


def test_the_model_s_own_generation_config_is_put_back_after_an_error(monkeypatch):
    model = policy()
    own = model.generation_config
    draws(model)
    monkeypatch.setattr(model, "forward", lambda **_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        draws(model)
    assert model.generation_config is own


def test_a_draw_stops_at_the_ends_of_config_and_generation_config():
    model = policy()
    model.config.eos_token_id, model.generation_config.eos_token_id = 1, [2]
    said = sample_ids(model, [[3]] * 60, 6)
    assert {1, 2} <= {ids[-1] for ids in said}
    assert all(not {1, 2} & set(ids[:-1]) for ids in said)


def test_an_end_that_is_no_token_ends_nothing():
    model = policy()
    words = model.config.vocab_size
    model.generation_config.eos_token_id, model.config.eos_token_id = [-1, words], None
    assert end_ids(model) == set()
    assert [len(ids) for ids in draws(model)] == [3] * 8
    model.generation_config.eos_token_id = [True]
    with pytest.raises(ValueError, match=r"eos_token_id in generation_config.json .* got \[True\]"):
        end_ids(model)


def test_a_model_that_does_not_hide_padding_draws_from_its_own_softmax():
    model = blurred(rwkv())
    prompts = [[5], [6, 7, 8], [9, 10], [11, 12, 13]]
    for prompt, said in zip(prompts, sample_ids(model, prompts, 5, temperature=0), strict=True):
        for i, token in enumerate(said):
            assert token == model(input_ids=torch.tensor([prompt + said[:i]])).logits[0, -1].argmax()
    assert sample_ids(model, prompts, 5, seed=1) == sample_ids(model, prompts, 5, seed=1)
    assert len({tuple(ids) for ids in sample_ids(model, [[5], [5], [5, 6]] * 5, 5)}) > 10


@pytest.mark.parametrize("temperature", [1e-300, 5e-324, 1e-40, 1e-20])
def test_a_temperature_near_zero_takes_the_likeliest_token(temperature):
    model = blurred(policy())
    assert sample_ids(model, [[1, 2]], 6, temperature) == sample_ids(model, [[1, 2]], 6, temperature=0)


@pytest.mark.parametrize("count", [0, -1, 1.5, True])
def test_a_count_of_tokens_that_is_none_is_refused(count):
    with pytest.raises(ValueError, match="max_new_tokens must be a whole number of at least 1"):
        sample_ids(policy(), [[1]], count)


def test_transformers_does_not_warn_of_padding():
    """It would do so once, in the middle of a run, where a row begins or ends with the token that also pads."""
    said = []
    listener = logging.Handler()
    listener.emit = said.append
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_warning()
    transformers_logging.add_handler(listener)
    modeling_utils.logger.warning_once.cache_clear()  # else what an earlier test heard is not said again
    try:
        for seed in range(3):  # other weights end other rows
            model = build_policy("nano", word_tokenizer(6), seed)
            model.config.pad_token_id = 0
            sample_ids(model, [[0, 1, 2], [2, 0]], 4, 1.0, seed)
    finally:
        transformers_logging.remove_handler(listener)
        transformers_logging.set_verbosity(verbosity)
    assert not said, said[0].getMessage()
