"""Completions of one prompt in one row are what they are in rows of their own; models for which not are found out."""

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoConfig,
    GPTNeoForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
)
from transformers.modeling_outputs import BaseModelOutput

from dpo_book import DPOConfig, Pair, collate, copy_policy, sequence_logp, train_dpo
from dpo_book.data.pairs import pair_lengths
from dpo_book.models import head, shared_prompt
from dpo_book.models.head import _HeadLogp, has_linear_head, head_logp
from dpo_book.models.logprobs import token_log_probability
from dpo_book.models.scoring import can_share_prompts, pair_scorer, score_pairs
from dpo_book.models.shared_prompt import collate_shared, pair_groups, shared_logp
from tests.models.test_logprobs import ROUNDING, blurred, gradients, naive, pad

V = 60
SHAPE = {
    "vocab_size": V, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64,
}  # fmt: skip
GPT2_SHAPE = {"vocab_size": V, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
SHARING = {
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(**GPT2_SHAPE)),
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SHAPE)),
    "mistral without a window": lambda: MistralForCausalLM(MistralConfig(**SHAPE, sliding_window=None)),
}
# Each for its own reason.
NOT_SHARING = {
    "sliding window": lambda: MistralForCausalLM(MistralConfig(**SHAPE, sliding_window=8)),
    "state space": lambda: MambaForCausalLM(MambaConfig(vocab_size=V, hidden_size=32, num_hidden_layers=2)),
    "distances by column": lambda: BloomForCausalLM(BloomConfig(vocab_size=V, hidden_size=32, n_layer=2, n_head=4)),
    "local layers": lambda: GPTNeoForCausalLM(
        GPTNeoConfig(
            vocab_size=V, hidden_size=32, num_layers=2, num_heads=4, window_size=8, max_position_embeddings=64,
            attention_types=[[["global", "local"], 1]],
        )
    ),
    "eager attention": lambda: LlamaForCausalLM(LlamaConfig(**SHAPE, attn_implementation="eager")),
    "soft cap": lambda: Gemma2ForCausalLM(Gemma2Config(**SHAPE, head_dim=8)),
    "scaled logits": lambda: CohereForCausalLM(CohereConfig(**SHAPE)),
}  # fmt: skip


def make(makers, name):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return makers[name]().eval()


def ids(length, seed):
    return torch.randint(1, V, (length,), generator=torch.Generator().manual_seed(seed)).tolist()


# Prompts and completions of unequal lengths, of one token, and of one token both.
PAIRS = [
    Pair(ids(prompt, i), ids(chosen, 10 + i), ids(rejected, 20 + i))
    for i, (prompt, chosen, rejected) in enumerate([(9, 4, 7), (1, 5, 2), (3, 1, 6), (12, 8, 1), (1, 1, 1)])
]
PAIRS[-1] = PAIRS[-1]._replace(rejected=[1 + PAIRS[-1].chosen[0] % (V - 1)])


@pytest.fixture(scope="module", params=SHARING)
def model(request):
    return blurred(make(SHARING, request.param).double())


def rows_of(pairs):
    return [(pair.prompt, y) for pair in pairs for y in (pair.chosen, pair.rejected)]


def together(model, pairs):
    """log π of chosen and rejected, in turn, each pair in one row."""
    return shared_logp(model, collate_shared(pair_groups(pairs)))


def apart(model, pairs):
    """The same, each completion in a row of its own."""
    return sequence_logp(model, collate(*zip(*rows_of(pairs), strict=True)))


def in_parts_of(tokens, monkeypatch, kept=0):
    """Logits of so many tokens at a time, and of so many (a part at least) kept for the backward pass."""
    monkeypatch.setattr(head, "LOGITS_AT_ONCE", tokens * V)
    monkeypatch.setattr(head, "LOGITS_KEPT", kept * V)


# ------------------------------------------------------------------ exact


def test_it_is_the_naive_sum_and_so_is_the_plain_path(model):
    expected = naive(model, rows_of(PAIRS))
    for logps in (together(model, PAIRS), apart(model, PAIRS)):
        torch.testing.assert_close(logps, expected, **ROUNDING)
    torch.testing.assert_close(torch.stack(pair_scorer(model, PAIRS)(PAIRS), dim=1).flatten(), expected, **ROUNDING)


@pytest.mark.parametrize("padding", ["left", "right", "both"])
def test_values_and_gradient_are_those_of_padded_rows(model, padding):
    weight = torch.linspace(-2, 3, 2 * len(PAIRS), dtype=torch.float64)
    found = []
    for logp in (
        together(model, PAIRS),
        sequence_logp(model, pad(rows_of(PAIRS), padding)),
    ):
        model.zero_grad()
        (weight * logp).sum().backward()
        found.append((logp.detach(), gradients(model)))
    (logp, gradient), (plain_logp, plain_gradient) = found
    torch.testing.assert_close(logp, plain_logp, **ROUNDING)
    assert gradient.keys() == plain_gradient.keys()
    # The norms of Llama and Mistral work in float32 also where the model is in float64.
    rounding = 1e-10 if model.config.model_type == "gpt2" else 1e-6
    for name in gradient:
        assert (gradient[name] - plain_gradient[name]).norm() <= rounding * plain_gradient[name].norm(), name


def test_float32_agrees_as_far_as_float32_goes(model):
    twin = copy_policy(model).float()
    torch.testing.assert_close(together(twin, PAIRS), apart(twin, PAIRS), rtol=1e-5, atol=1e-5)


def test_no_completion_sees_another(model):
    """Bit for bit: what stands in one completion does not enter the numbers of the next."""
    changed = [pair._replace(chosen=[1 + token % (V - 1) for token in pair.chosen]) for pair in PAIRS]
    chosen, rejected = together(model, PAIRS).view(-1, 2).T
    other_chosen, other_rejected = together(model, changed).view(-1, 2).T
    assert torch.equal(rejected, other_rejected)
    assert not (chosen == other_chosen).any()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_any_number_of_completions_may_share(model, count):
    groups = [(ids(4, 1), [ids(3 + i, i) for i in range(count)]), (ids(2, 2), [ids(2, 7)])]
    rows = [(prompt, y) for prompt, completions in groups for y in completions]
    torch.testing.assert_close(shared_logp(model, collate_shared(groups)), naive(model, rows), **ROUNDING)


def test_a_pair_s_row_has_p_plus_c_plus_r_tokens_less_the_last_two():
    batch = collate_shared([(pair.prompt, (pair.chosen, pair.rejected)) for pair in PAIRS])
    assert batch.input_ids.shape == (len(PAIRS), max(pair_lengths(PAIRS)) - 2)  # less each completion's last token
    assert pair_lengths(PAIRS)[0] == 9 + 4 + 7
    assert len(batch.target) == sum(len(pair.chosen) + len(pair.rejected) for pair in PAIRS)


@pytest.mark.parametrize("tokens", [512, 2])
def test_the_head_s_gradient_in_bfloat16_is_right_however_many_parts_it_is_made_in(tokens, monkeypatch):
    torch.manual_seed(0)
    hidden, weight = torch.randn(512, 32).bfloat16(), torch.randn(V, 32).bfloat16().requires_grad_(True)
    targets = torch.arange(512) % V
    exact = weight.detach().double().requires_grad_(True)
    logp = token_log_probability(hidden.double() @ exact.T, targets)
    (expected,) = torch.autograd.grad(logp.sum(), exact)
    in_parts_of(tokens, monkeypatch)
    (gradient,) = torch.autograd.grad(_HeadLogp.apply(hidden, weight, targets).sum(), weight)
    # bfloat16 rounds at 2⁻⁹: once for ∂z and once at the end. A sum of 256 parts in bfloat16 is 0.0099 off.
    assert (gradient.double() - expected).norm() < 3 * 2**-9 * expected.norm()


def test_a_long_completion_is_added_up_without_losing_digits(model, monkeypatch):
    """One float32 after another, 2,000 of them would be 1e-5 off: as much as a loss may differ from TRL's."""
    tokens = torch.linspace(-12, -9, 2000)
    monkeypatch.setattr(shared_prompt, "head_logp", lambda model, hidden, targets: tokens[: len(targets)])
    monkeypatch.setattr(model.base_model, "forward", lambda **_: BaseModelOutput(torch.zeros(1, 2001, 1)))
    (logp,) = shared_logp(model, collate_shared([([1, 2], [[3] * 2000])]))
    assert abs(logp / tokens.double().sum() - 1) < 2**-24


@pytest.mark.parametrize("group, what", [(([], [[1], [2]]), "prompt"), (([1], [[2], []]), "completion")])
def test_an_empty_prompt_or_completion_is_named(group, what):
    with pytest.raises(ValueError, match=f"row 1 of the batch has an empty {what}"):
        collate_shared([([1], [[2], [3]]), group])


# ------------------------------------------------------------------ for which models


def test_models_that_obey_masks_and_positions_share(model):
    assert can_share_prompts(model, PAIRS)
    assert can_share_prompts(copy_policy(model).float(), PAIRS)


@pytest.mark.parametrize("name", NOT_SHARING)
def test_models_that_do_not_are_found_out_and_run_the_plain_way(name):
    model = make(NOT_SHARING, name)
    assert not can_share_prompts(model, PAIRS)
    assert not model.training
    logps = score_pairs(model, PAIRS)
    chosen = sequence_logp(model, collate([pair.prompt for pair in PAIRS], [pair.chosen for pair in PAIRS]))
    torch.testing.assert_close(logps[0], chosen.detach(), rtol=1e-5, atol=1e-5)
    record = next(train_dpo(model, None, PAIRS, DPOConfig(batch_size=5, steps=1), logps))
    assert record["loss"] == pytest.approx(0.6931, abs=1e-4)


@pytest.mark.parametrize("window", ["sliding_window", "attention_chunk_size"])
def test_a_window_longer_than_every_pair_is_found_out_too(window):
    model = make(SHARING, "llama")
    setattr(model.config, window, 4096)
    assert not can_share_prompts(model, PAIRS)


def test_asking_leaves_a_model_as_it_was(model):
    model.train()
    try:
        assert can_share_prompts(model, PAIRS)
        assert model.training
        assert not model.base_model._forward_hooks
    finally:
        model.eval()


def test_training_with_and_without_sharing_is_one_training(model, monkeypatch):
    runs = []
    for share in (True, False):
        monkeypatch.setattr("dpo_book.models.scoring.can_share_prompts", lambda *_, share=share: share)
        config = DPOConfig(beta=0.5, learning_rate=1e-3, batch_size=len(PAIRS), steps=4, warmup_steps=0)
        runs.append(list(train_dpo(copy_policy(model), model, PAIRS, config)))
    for one, other in zip(*runs, strict=True):
        assert one == pytest.approx(other, rel=1e-6, abs=1e-9)


# ------------------------------------------------------------------ vocabulary in parts


def test_how_many_tokens_a_part_has():
    assert [head._tokens_at_once(rows, False) for rows in (2048, 16_384, 50_257, 256_000)] == [2048, 256, 256, 65]
    assert head._tokens_at_once(50_304, True) == 1334


def test_logits_far_apart_are_no_zero_over_zero(model):
    """A target of probability e⁻³⁰⁰⁰, which is 0 in float32, still has its logarithm and its gradient."""
    weight = torch.tensor([[1000.0], [-2000.0]], requires_grad=True)
    hidden = torch.ones(2, 1, requires_grad=True)
    logp = _HeadLogp.apply(hidden, weight, torch.tensor([0, 1]))
    assert logp.tolist() == [0, -3000]
    assert torch.autograd.grad(logp.sum(), hidden)[0].tolist() == [[0], [-3000]]


@pytest.mark.parametrize("at_once, kept", [(1, 0), (3, 0), (3, 6), (3, 7), (3, 100), (100, 0)])
def test_log_probabilities_made_in_parts_are_the_whole_table_s(model, monkeypatch, at_once, kept):
    in_parts_of(at_once, monkeypatch, kept)
    output = model.get_output_embeddings()
    hidden = torch.randn(10, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    targets, weight = torch.tensor(ids(10, 3)), torch.linspace(-1, 2, 10, dtype=torch.float64)
    found = []
    for logp in (head_logp(model, hidden, targets), token_log_probability(output(hidden), targets)):
        found.append([logp.detach(), *torch.autograd.grad((weight * logp).sum(), [hidden, output.weight])])
    for ours, expected in zip(*found, strict=True):
        torch.testing.assert_close(ours, expected, **ROUNDING)


@pytest.mark.parametrize("kept", [0, 3, 100])
def test_exponentials_that_are_kept_and_made_once_more_are_one(kept, monkeypatch):
    """Bit for bit: how much is kept is about memory alone."""
    torch.manual_seed(0)
    hidden, weight = torch.randn(7, 32, requires_grad=True), torch.randn(V, 32, requires_grad=True)
    found = []
    for at_the_end in (0, kept):
        in_parts_of(2, monkeypatch, at_the_end)
        logp = _HeadLogp.apply(hidden, weight, torch.arange(7))
        found.append([logp, *torch.autograd.grad((logp * torch.arange(7)).sum(), [hidden, weight])])
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


def test_a_second_backward_pass_gives_the_same(model):
    logp = head_logp(model, torch.ones(5, 32, dtype=torch.float64, requires_grad=True), torch.arange(5))
    weight = model.get_output_embeddings().weight
    one, other = (torch.autograd.grad(logp.sum(), weight, retain_graph=True)[0] for _ in range(2))
    torch.testing.assert_close(one, other, **ROUNDING)


def test_no_table_over_the_vocabulary_is_kept_for_the_backward_pass(model, monkeypatch):
    in_parts_of(2, monkeypatch)
    weights = {parameter.data_ptr() for parameter in model.parameters()}
    kept = []

    def keep(tensor):
        if tensor.data_ptr() not in weights:
            kept.append(tuple(tensor.shape))
        return tensor

    batch = collate_shared([(pair.prompt, (pair.chosen, pair.rejected)) for pair in PAIRS])
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        logp = shared_logp(model, batch)
        plain = sequence_logp(model, collate(*zip(*rows_of(PAIRS), strict=True)))
    assert kept and not [shape for shape in kept if V in shape]
    # Outside of what autograd keeps, the logits of two tokens are: those the backward pass begins with.
    for node in _head_nodes(logp, plain):
        assert sum(map(len, node.kept.values())) <= 2


def _head_nodes(*tensors):
    found, waiting = [], [tensor.grad_fn for tensor in tensors]
    while waiting:
        node = waiting.pop()
        if node is not None and node.name() == "_HeadLogpBackward":
            found.append(node)
        elif node is not None:
            waiting += [parent for parent, _ in node.next_functions]
    assert len(found) == len(tensors)
    return found


@pytest.mark.parametrize(
    "name, linear", [("soft cap", False), ("scaled logits", False), ("sliding window", True), ("state space", True)]
)
def test_a_head_that_does_more_than_multiply_is_found_out(name, linear):
    assert has_linear_head(make(NOT_SHARING, name)) is linear
