"""Attention in blocks is attention; where it would not be, or would not pay, it is not in blocks."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from dpo_book.models import block_attention
from dpo_book.models.block_attention import _InBlocks, without_the_future
from dpo_book.models.recomputed import recomputed
from dpo_book.models.shared_prompt import collate_shared, pair_groups, shared_logp
from dpo_book.system.operations import operations
from tests.models.test_logprobs import ROUNDING, blurred, gradients
from tests.models.test_shared_prompt import PAIRS, SHARING, make


@pytest.fixture(params=SHARING)
def model(request):
    return blurred(make(SHARING, request.param).double())


@pytest.fixture
def batch():
    return collate_shared(pair_groups(PAIRS))


def found(model, batch):
    """Log-probabilities and the gradient of a weighted sum of them."""
    model.zero_grad()
    logp = shared_logp(model, batch)
    (logp * torch.linspace(-2, 3, len(logp))).sum().backward()
    return logp.detach(), gradients(model)


def test_log_probabilities_and_gradient_are_those_of_the_whole_mask(model, batch, monkeypatch):
    expected, expected_gradient = found(model, batch)
    calls = []
    attention = _InBlocks._attention

    def counted(*args, **kwargs):
        calls.append(args)
        return attention(*args, **kwargs)

    monkeypatch.setattr(_InBlocks, "_attention", counted)
    monkeypatch.setattr(block_attention, "FROM", 1)
    logp, gradient = found(model, batch)
    assert len(calls) == 2  # once a layer
    torch.testing.assert_close(logp, expected, **ROUNDING)
    # The norms of Llama and Mistral work in float32 also where the model is in float64.
    rounding = 1e-10 if model.config.model_type == "gpt2" else 1e-6
    for name in gradient:
        assert (gradient[name] - expected_gradient[name]).norm() <= rounding * expected_gradient[name].norm(), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_blocks_need_not_be_of_one_size(dtype):
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 2, 4, 11, 8).to(dtype)
    mask = (torch.rand(2, 1, 11, 11) < 0.5).logical_or(torch.eye(11, dtype=torch.bool)).tril()
    expected = scaled_dot_product_attention(query, key, value, attn_mask=mask)
    with _InBlocks(mask):
        inside = scaled_dot_product_attention(query, key, value, attn_mask=mask)
    assert inside.dtype == dtype
    torch.testing.assert_close(inside, expected)


def test_five_eighths_of_the_attention_are_computed():
    query = torch.randn(1, 1, 64, 8)
    mask = torch.ones(1, 1, 64, 64, dtype=torch.bool).tril()

    def attend():
        return scaled_dot_product_attention(query, query, query, attn_mask=mask)

    whole = operations(attend)
    with _InBlocks(mask):
        assert operations(attend) == 5 / 8 * whole


def test_attention_with_another_mask_or_none_is_left_alone(monkeypatch):
    monkeypatch.setattr(_InBlocks, "_attention", None)  # which nobody can call
    query = torch.randn(1, 1, 6, 8)
    mask = torch.ones(1, 1, 6, 6, dtype=torch.bool)
    with _InBlocks(mask.tril()):
        scaled_dot_product_attention(query, query, query, is_causal=True)
        scaled_dot_product_attention(query[..., :3, :], query, query, attn_mask=mask[..., :3, :])
        scaled_dot_product_attention(query, query, query, attn_mask=mask.float())


def test_short_rows_other_devices_and_blocks_that_are_run_again_are_left_alone(model):
    long = torch.ones(1, 1, block_attention.FROM, block_attention.FROM, dtype=torch.bool)
    assert isinstance(without_the_future(model, long), _InBlocks)
    assert not isinstance(without_the_future(model, long[..., 1:, 1:]), _InBlocks)
    assert not isinstance(without_the_future(model, long.to("meta")), _InBlocks)
    with recomputed(model):
        assert not isinstance(without_the_future(model, long), _InBlocks)
    assert isinstance(without_the_future(model, long), _InBlocks)
