"""Operations counted by the package against those counted on paper."""

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from dpo_book.models.head import head_logp
from dpo_book.system.operations import operations

D, L, T, V = 64, 2, 32, 100


@pytest.fixture
def model():
    shape = {"n_layer": L, "n_head": 2, "n_embd": D, "vocab_size": V, "bos_token_id": 0, "eos_token_id": 0}
    return GPT2LMHeadModel(GPT2Config(**shape)).eval()


@pytest.mark.parametrize("mask", [None, torch.ones(1, 1, T, T, dtype=torch.bool).tril()])
def test_a_gpt2_s_operations_are_those_counted_by_hand(model, mask):
    ids = torch.randint(V, (1, T))
    # A block has 12 D² weights in its products; queries · keys and weights · values are T² D each.
    dense, attention = 2 * T * (12 * D * D * L + D * V), L * 2 * (2 * T * T * D)
    assert operations(lambda: model(ids, attention_mask=mask)) == dense + attention
    # Backward: two products for each one, and attention makes its queries · keys once more.
    both = operations(lambda: model(ids, attention_mask=mask).logits.sum().backward())
    assert both == 3 * dense + 3.5 * attention


@pytest.mark.parametrize("parts", [1, 4])
def test_a_vocabulary_in_parts_is_made_once_more_but_for_the_last_part(model, parts, monkeypatch):
    n = 20
    monkeypatch.setattr("dpo_book.models.head.LOGITS_AT_ONCE", n // parts * V)
    monkeypatch.setattr("dpo_book.models.head.LOGITS_KEPT", 0)
    hidden = torch.randn(n, D, requires_grad=True)
    counted = operations(lambda: head_logp(model, hidden, torch.arange(n)).sum().backward())
    assert counted == 2 * D * V * (3 * n + n - n // parts)
