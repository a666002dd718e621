"""What a model is, found by trying: remembered, without a trace on the model, and what is refused says why."""

import gc
import weakref

import pytest
import torch
from transformers import (
    BartConfig,
    BartForCausalLM,
    BertConfig,
    BertLMHeadModel,
    CTRLConfig,
    CTRLLMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MptConfig,
    MptForCausalLM,
    RobertaConfig,
    RobertaForCausalLM,
    RwkvConfig,
    RwkvForCausalLM,
)

from dpo_book import build_policy, build_reward_model, collate, copy_policy, enumerate_logp, sequence_logp
from dpo_book.models import traits
from dpo_book.models.logprobs import token_scorer
from dpo_book.models.sampling import sample_ids
from dpo_book.models.traits import traits_of
from dpo_book.worlds.verdicts import verdicts
from tests.models.test_logprobs import blurred, naive, pad, random_rows

V = 40
SHAPE = {"vocab_size": V, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}


def llama(original, **rope):
    """Its rotary embeddings turn otherwise in rows of more than ``original`` tokens."""
    parameters = {"rope_theta": 10000.0, "original_max_position_embeddings": original} | rope
    longest = 64 if parameters["rope_type"] == "longrope" else original  # dynamic ones go by the context
    config = LlamaConfig(**SHAPE, num_attention_heads=4, rope_parameters=parameters, max_position_embeddings=longest)
    return seeded(LlamaForCausalLM, config)


def seeded(model_class, config):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return model_class(config).eval()


LONG = {
    "dynamic": lambda: llama(8, rope_type="dynamic", factor=4.0),
    "longrope": lambda: llama(8, rope_type="longrope", factor=4.0, long_factor=[4.0, 8.0], short_factor=[1.0, 1.0]),
}
BERT = {"vocab_size": V, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}


def rwkv():
    return seeded(RwkvForCausalLM, RwkvConfig(vocab_size=V, hidden_size=16, num_hidden_layers=2))


def bart():
    config = BartConfig(vocab_size=V, d_model=16, decoder_layers=2, decoder_attention_heads=2, decoder_ffn_dim=32)
    return seeded(BartForCausalLM, config)


@pytest.mark.parametrize("make", [rwkv, bart])
@pytest.mark.parametrize("weights", ["fresh", "blurred"])
def test_a_model_that_does_not_hide_padding_is_found_out_even_untrained(make, weights):
    model = make() if weights == "fresh" else blurred(make())
    found = traits_of(model)
    assert found.causal and not found.hides_padding and found.steady_below == float("inf")


@pytest.mark.parametrize("padding", ["left", "right", "both"])
@pytest.mark.parametrize("make", [rwkv, bart])
def test_its_log_probabilities_and_gradients_are_those_of_rows_alone(make, padding):
    model = blurred(make())
    rows = random_rows(V)
    gradients = []
    model.config.use_cache = False  # RWKV overwrites its state, which the naive backward pass needs
    for logp in (sequence_logp(model, pad(rows, padding, filler=5)), naive(model, rows)):
        model.zero_grad()
        logp.sum().backward()
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    torch.testing.assert_close(sequence_logp(model, pad(rows, padding)), naive(model, rows), rtol=2e-5, atol=1e-5)
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("make", [rwkv, bart])
def test_every_token_stands_in_the_batch_s_own_columns(make):
    model = blurred(make())
    batch = collate([[1, 2, 3], [4]], [[5, 6], [7]])
    found = token_scorer(model)(batch)
    for row, (x, y) in enumerate([([1, 2, 3], [5, 6]), ([4], [7])]):
        table = model(input_ids=torch.tensor([x + y])).logits[0].log_softmax(-1)
        expected = [table[len(x) + t - 1, token].item() for t, token in enumerate(y)] + [0] * (2 - len(y))
        assert found[row].tolist() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("rope", LONG)
def test_rows_whose_length_decides_are_read_alone_and_short_ones_together(rope):
    model = blurred(LONG[rope]())
    assert traits_of(model).steady_below == 8
    long, short = ([1, 2, 3, 4, 5, 6, 7], [8, 9, 10, 11, 12]), ([13, 14], [15, 16])
    between = ([3, 4, 5, 6], [17, 18, 19, 20, 21])  # after a longer one
    for rows in ([long, short], [short, long], [long, between, short], [short]):
        expected = torch.stack([naive_anew(LONG[rope], row) for row in rows])
        for padding in ("left", "right", "both"):
            torch.testing.assert_close(sequence_logp(model, pad(rows, padding)), expected, rtol=2e-5, atol=1e-5)


def test_a_sample_that_grows_beyond_that_length_is_read_anew_for_every_token():
    make = LONG["longrope"]
    prompts = [[1, 2, 3, 4, 5, 6, 7], [3, 4, 5, 6], [13, 14]]
    said = sample_ids(blurred(make()), prompts, 4, temperature=0)
    assert said == [greedy_anew(make, prompt, 4) for prompt in prompts]


def naive_anew(make, row):
    """Of a model that has read nothing before: these embeddings remember the longest row so far."""
    with torch.no_grad():
        return naive(blurred(make()), [row])[0]


@torch.no_grad()
def greedy_anew(make, prompt, new_tokens):
    said = []
    for _ in range(new_tokens):
        said.append(int(blurred(make())(input_ids=torch.tensor([prompt + said])).logits[0, -1].argmax()))
    return said


def test_a_model_that_sees_what_comes_is_refused_by_its_name():
    model = seeded(BertLMHeadModel, BertConfig(**BERT))
    for ask in (
        lambda: sequence_logp(model, collate([[1]], [[2]])),
        lambda: enumerate_logp(model, [1], 2),
        lambda: sample_ids(model, [[1]], 2),
    ):
        with pytest.raises(ValueError, match=r"BertLMHeadModel is not a causal language model"):
            ask()
    decoder = seeded(BertLMHeadModel, BertConfig(**BERT, is_decoder=True))
    assert enumerate_logp(decoder, [1], 2).exp().sum().item() == pytest.approx(1, abs=1e-5)


def test_a_model_is_tried_once_and_forgotten_with_it(monkeypatch):
    model = build_policy("nano", verdicts().tokenizer)
    tried = []
    monkeypatch.setattr(traits, "_tried", lambda model, whole=traits._tried: tried.append(1) or whole(model))
    for _ in range(3):
        sequence_logp(model, collate([[1]], [[2]]))
    assert len(tried) == 1
    alive = weakref.ref(model)
    del model
    gc.collect()
    assert alive() is None


def test_what_a_model_is_does_not_depend_on_who_asks_in_which_precision():
    policy = build_policy("nano", verdicts().tokenizer)
    reward_model = build_reward_model(policy)
    expected = traits_of(copy_policy(policy)), traits_of(copy_policy(reward_model))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (traits_of(policy), traits_of(reward_model)) == expected


def test_trying_leaves_the_model_and_everybody_s_random_numbers_as_they_were():
    model = build_policy("nano", verdicts().tokenizer).train()
    before, weights = torch.get_rng_state(), [p.clone() for p in model.parameters()]
    traits_of(model)
    assert model.training and torch.equal(before, torch.get_rng_state())
    assert all(map(torch.equal, weights, model.parameters())) and all(p.grad is None for p in model.parameters())


def test_a_head_of_zeros_hides_nothing():
    model = rwkv()
    torch.nn.init.zeros_(model.get_output_embeddings().weight)
    assert not traits_of(model).hides_padding


def test_a_reward_model_has_a_record_too():
    found = traits_of(build_reward_model(build_policy("nano", verdicts().tokenizer)))
    assert found.causal and found.hides_padding and not found.linear_head


def test_weights_that_are_not_finite_are_blamed_on_nothing():
    model = build_policy("nano", verdicts().tokenizer)
    model.transformer.wte.weight.data.fill_(float("nan"))
    assert traits_of(model).causal


ROBERTA = {**BERT, "max_position_embeddings": 20, "pad_token_id": 1, "is_decoder": True}


@pytest.mark.parametrize(
    ("make", "context"),
    [
        (lambda: seeded(RobertaForCausalLM, RobertaConfig(**ROBERTA)), 18),
        (
            lambda: seeded(
                MptForCausalLM, MptConfig(vocab_size=V, d_model=16, n_layers=1, n_heads=2, max_seq_len=16)
            ),
            16,
        ),
        (
            lambda: seeded(CTRLLMHeadModel, CTRLConfig(vocab_size=V, n_embd=16, n_layer=1, n_head=2, n_positions=12)),
            12,
        ),
        (rwkv, 1024),
    ],
    ids=["roberta", "mpt", "ctrl", "rwkv"],
)
def test_the_context_is_what_a_row_may_have_by_whatever_name(make, context):
    assert traits.context_of(make()) == context


def test_a_row_as_long_as_roberta_s_context_can_be_run_and_no_longer_one():
    model = seeded(RobertaForCausalLM, RobertaConfig(**ROBERTA))
    model(input_ids=torch.full((1, 18), 5))
    with pytest.raises((IndexError, RuntimeError)):
        model(input_ids=torch.full((1, 19), 5))
