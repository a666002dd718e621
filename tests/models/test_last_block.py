"""What is read is right, and so is its gradient, though the last block's feed-forward layer leaves the rest out."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import apply_activation_checkpointing
from transformers import (
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    OPTConfig,
    OPTForCausalLM,
)
from transformers.modeling_layers import GradientCheckpointingLayer

from dpo_book import build_reward_model, collate
from dpo_book.models import block_attention, body
from dpo_book.models.body import closing_states, last_token, predicting_states
from dpo_book.models.last_block import fed_forward_at, feed_forward_layer, unknown_elsewhere
from dpo_book.models.recomputed import recomputed
from dpo_book.models.reward_model import sequence_reward, token_values
from dpo_book.models.scoring import row_scorer
from dpo_book.models.shared_prompt import collate_shared, pair_groups, shared_logp
from dpo_book.models.traits import traits_of
from dpo_book.system.operations import operations
from tests.models import families
from tests.models.test_logprobs import ROUNDING, blurred, gradients
from tests.models.test_shared_prompt import PAIRS, SHAPE, SHARING, V, make, rows_of

SMALL = {k: v for k, v in SHAPE.items() if k != "num_key_value_heads"}
OTHERS = {
    "parallel attention": lambda: GPTNeoXForCausalLM(GPTNeoXConfig(**SMALL)),
    "no layer of that name": lambda: OPTForCausalLM(
        OPTConfig(vocab_size=V, hidden_size=32, ffn_dim=64, num_hidden_layers=2, num_attention_heads=4)
    ),
    "a mixture": lambda: MixtralForCausalLM(MixtralConfig(**SHAPE, num_local_experts=4, sliding_window=None)),
}


@pytest.fixture(params=SHARING)
def model(request):
    return blurred(make(SHARING, request.param).double())


def batch():
    return collate(*zip(*rows_of(PAIRS), strict=True))


def with_gradient(model, compute):
    """Numbers, and the gradient of a weighted sum of them."""
    model.zero_grad()
    found = compute()
    (found * torch.linspace(-2, 3, found.numel(), dtype=found.dtype).view_as(found)).sum().backward()
    return found.detach(), gradients(model)


def assert_same(model, compute, monkeypatch):
    """What is computed with the layer run at some places is what is computed with it run everywhere."""
    found, gradient = with_gradient(model, compute)
    used = []

    def whole(layer, places):
        used.append(places)
        return body.nullcontext()

    monkeypatch.setattr(body, "fed_forward_at", whole)
    expected, expected_gradient = with_gradient(model, compute)
    assert used
    torch.testing.assert_close(found, expected, **ROUNDING)
    # The norms of Llama and Mistral work in float32 also where the model is in float64.
    rounding = 1e-10 if model.config.model_type == "gpt2" else 1e-6
    for name in gradient:
        assert (gradient[name] - expected_gradient[name]).norm() <= rounding * expected_gradient[name].norm(), name


def test_completions_behind_one_prompt(model, monkeypatch):
    groups = collate_shared(pair_groups(PAIRS))
    assert_same(model, lambda: shared_logp(model, groups), monkeypatch)


def test_completions_in_rows_of_their_own(model, monkeypatch):
    score = row_scorer(model)
    assert_same(model, lambda: score(batch()), monkeypatch)


@pytest.mark.parametrize("read", [sequence_reward, token_values])
def test_rewards_and_values(model, read, monkeypatch):
    critic = build_reward_model(model).double()
    assert_same(critic, lambda: read(critic, batch()), monkeypatch)


@pytest.mark.parametrize("states", [predicting_states, closing_states])
def test_elsewhere_something_else_stands(model, states, monkeypatch):
    """Else nothing would have been saved."""
    rows = batch()
    read = rows.completion_mask[:, 1:] if states is predicting_states else last_token(rows)
    found = states(model, rows)
    monkeypatch.setattr(body, "fed_forward_at", lambda *_: body.nullcontext())
    expected = states(model, rows)
    torch.testing.assert_close(found[read], expected[read], **ROUNDING)
    assert not torch.isclose(found[~read], expected[~read]).all(dim=-1).any()


def test_the_operations_of_the_layer_are_those_of_its_tokens(model):
    ids = torch.ones(3, 20, dtype=torch.long)

    def run():
        model.base_model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)

    whole = operations(run)
    weights = [weight for name, weight in model.named_parameters() if ".1.mlp." in name and weight.dim() == 2]
    with fed_forward_at(feed_forward_layer(model), torch.arange(0, 60, 4)):
        assert whole - operations(run) == 2 * 45 * sum(weight.numel() for weight in weights)


def test_blocks_that_are_run_again_are_run_for_all_tokens(model):
    groups = collate_shared(pair_groups(PAIRS))
    expected, expected_gradient = with_gradient(model, lambda: shared_logp(model, groups))
    with recomputed(model):
        found, gradient = with_gradient(model, lambda: shared_logp(model, groups))
    torch.testing.assert_close(found, expected, **ROUNDING)
    for name in gradient:
        torch.testing.assert_close(gradient[name], expected_gradient[name], rtol=1e-5, atol=1e-8)


def by_transformers(model):
    model.gradient_checkpointing_enable()
    model.train()  # without dropout, as these models are


def by_torch(model):
    apply_activation_checkpointing(model, check_fn=is_block)


def is_block(module):
    return isinstance(module, GradientCheckpointingLayer)


@pytest.mark.parametrize("switch", [by_transformers, by_torch])
def test_so_are_those_that_others_run_again(model, switch, monkeypatch):
    monkeypatch.setattr(block_attention, "FROM", 1)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    groups = collate_shared(pair_groups(PAIRS))
    expected, expected_gradient = with_gradient(model, lambda: shared_logp(model, groups))
    switch(model)
    found, gradient = with_gradient(model, lambda: shared_logp(model, groups))
    torch.testing.assert_close(found, expected, **ROUNDING)
    again = {name.replace("_checkpoint_wrapped_module.", ""): slope for name, slope in gradient.items()}
    for name, slope in expected_gradient.items():
        torch.testing.assert_close(again[name], slope, rtol=1e-5, atol=1e-8)


WATCHED = {
    "inside of the layer": lambda model: next(feed_forward_layer(model).children()),
    "the layer": feed_forward_layer,
    "a block": lambda model: [module for module in model.base_model.modules() if is_block(module)][-1],
    "the last norm": lambda model: list(model.base_model.children())[-1],
    "the body": lambda model: model.base_model,
}


@pytest.mark.parametrize("kind", ["forward", "forward_pre", "full_backward"])
@pytest.mark.parametrize("where", WATCHED)
@pytest.mark.filterwarnings("ignore:For backward hooks to be called")  # the body's output is no tensor
def test_who_watches_the_body_sees_all_tokens(model, where, kind, monkeypatch):
    groups = collate_shared(pair_groups(PAIRS))
    watched = WATCHED[where](model)

    def watch(*_) -> None:
        pass

    monkeypatch.setattr(body, "fed_forward_at", None)  # which nobody can call
    with pytest.raises(TypeError):
        shared_logp(model, groups)
    hook = getattr(watched, f"register_{kind}_hook")(watch)
    try:
        shared_logp(model, groups)
    finally:
        hook.remove()


@pytest.mark.parametrize("limited", [fed_forward_at, unknown_elsewhere])
def test_another_thread_s_call_is_its_own(model, limited):
    """Each reads at other places of the same model, while the other one does."""
    groups = [collate_shared(pair_groups(part)) for part in (PAIRS[:2], PAIRS[2:])]
    expected = [body_of(model, group)[group.read] for group in groups]
    both = threading.Barrier(2, timeout=60)

    def read(group):
        with limited(feed_forward_layer(model), group.read):
            both.wait()
            hidden = body_of(model, group)
            both.wait()
        return hidden[group.read]

    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(read, groups))
    for states, right in zip(found, expected, strict=True):
        torch.testing.assert_close(states, right, **ROUNDING)


@torch.no_grad()
def body_of(model, group):
    inputs = {"attention_mask": group.attention_mask, "position_ids": group.position_ids, "use_cache": False}
    return model.base_model(input_ids=group.input_ids, **inputs).last_hidden_state.flatten(0, 1)


def test_nothing_stays_on_the_model(model):
    with pytest.raises(IndexError), fed_forward_at(feed_forward_layer(model), torch.tensor([10**6])):
        model(input_ids=torch.ones(1, 4, dtype=torch.long))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


# ------------------------------------------------------------------ for which models


@pytest.mark.parametrize("name, expected", [("parallel attention", True), ("no layer of that name", False)])
def test_what_a_model_is_is_found_out(name, expected):
    assert traits_of(make(OTHERS, name)).feeds_forward_by_token is expected


def test_a_mixture_is_scored_as_before_whatever_its_layer_gives_back(monkeypatch):
    model = blurred(make(OTHERS, "a mixture"))
    found = row_scorer(model)(batch())
    monkeypatch.setattr(body, "read_at", lambda *_: body.nullcontext())
    torch.testing.assert_close(found, row_scorer(model)(batch()), rtol=1e-5, atol=1e-5)


def test_a_layer_whose_tokens_see_each_other_is_run_for_all():
    model = make(SHARING, "gpt2")
    layer = model.transformer.h[-1].mlp
    layer.forward = _mixing(layer.forward)
    assert not traits_of(model).feeds_forward_by_token


def _mixing(forward):
    def mixed(states):
        return forward(states.cumsum(dim=1))

    return mixed


@pytest.mark.parametrize("name, expected", [("hrm_text", False), ("inkling_text", False), ("llama", True)])
def test_weights_of_zero_hide_nothing(name, expected):
    """A model is asked once, and may be loaded afterwards."""
    model = families.build(name)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert traits_of(model).feeds_forward_by_token is expected
