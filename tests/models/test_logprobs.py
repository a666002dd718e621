"""log π(y|x) of whole completions against a naive computation, row by row, without padding or shortcuts."""

import random

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from dpo_book import Batch, build_policy, collate, enumerate_logp, sequence_logp, train_tokenizer
from dpo_book.models.logprobs import completion_logits, token_log_probability
from dpo_book.worlds.verdicts import verdicts

# Models run in float64 where two ways of computing one number are compared: padding changes the order of
# sums, nothing else, and a dozen layers of matrix products keep 1e-16 of rounding far below 1e-10.
ROUNDING = {"rtol": 1e-10, "atol": 1e-10}
PADDINGS = ["left", "right", "both"]


def blurred(model, seed=0, spread=0.2):
    """The model with noise on its weights: fresh ones are so small that every token is as likely as any other."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += spread * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
    return model


def tiny_llama():
    config = LlamaConfig(
        vocab_size=40,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LlamaForCausalLM(config).eval()


def gpt2(size):
    return build_policy(size, train_tokenizer(["good acting", "dull plot"], vocab_size=260))


MAKERS = {"gpt2-nano": lambda: gpt2("nano"), "gpt2-mini": lambda: gpt2("mini"), "llama": tiny_llama}


@pytest.fixture(scope="module", params=MAKERS)
def model(request):
    return blurred(MAKERS[request.param]().double())


@pytest.fixture(scope="module")
def nano():
    return blurred(gpt2("nano").double())


def random_rows(vocabulary, rows=6, seed=0):
    """(prompt, completion) token ids of all lengths from 1 to 7, no more than nano's 16 tokens together."""
    rng = random.Random(seed)
    return [
        tuple([rng.randrange(vocabulary) for _ in range(rng.randint(1, 7))] for _ in ("prompt", "completion"))
        for _ in range(rows)
    ]


def pad(rows, padding, filler=0):
    """A Batch of whole rows with the padding on one side, or spread over both; `filler` stands where nothing is."""
    width = max(len(x) + len(y) for x, y in rows) + 2
    ids, attention, completion = [], [], []
    for i, (x, y) in enumerate(rows):
        spare = width - len(x) - len(y)
        left = {"left": spare, "right": 0, "both": min(spare, 1 + i % 3)}[padding]
        right = spare - left
        ids.append([filler] * left + x + y + [filler] * right)
        attention.append([0] * left + [1] * len(x + y) + [0] * right)
        completion.append([0] * (left + len(x)) + [1] * len(y) + [0] * right)
    return Batch(torch.tensor(ids), torch.tensor(attention).bool(), torch.tensor(completion).bool())


def naive_logp(model, prompt, completion):
    """log π(y|x) as the book writes it: the whole table of log-probabilities, one row, one token after another."""
    logits = model(input_ids=torch.tensor([prompt + completion])).logits[0]
    table = torch.log_softmax(logits, dim=-1)
    return sum(table[len(prompt) + t - 1, token] for t, token in enumerate(completion))


def naive(model, rows):
    return torch.stack([naive_logp(model, x, y) for x, y in rows])


def gradients(model):
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


# ------------------------------------------------------------------ sequence_logp


@pytest.mark.parametrize("padding", PADDINGS)
def test_it_is_the_naive_sum_whatever_the_padding(model, padding):
    rows = random_rows(model.config.vocab_size)
    found = sequence_logp(model, pad(rows, padding))
    assert found.shape == (len(rows),)
    assert found.requires_grad
    torch.testing.assert_close(found, naive(model, rows), **ROUNDING)


def test_it_is_the_naive_sum_of_a_collated_batch(model):
    rows = random_rows(model.config.vocab_size, seed=1)
    torch.testing.assert_close(
        sequence_logp(model, collate(*zip(*rows, strict=True))), naive(model, rows), **ROUNDING
    )


@pytest.mark.parametrize("padding", PADDINGS)
def test_what_stands_in_the_padding_does_not_matter(model, padding):
    rows = random_rows(model.config.vocab_size)
    one, other = (sequence_logp(model, pad(rows, padding, filler)) for filler in (0, 37))
    torch.testing.assert_close(one, other, **ROUNDING)


@pytest.mark.parametrize("padding", PADDINGS)
def test_the_order_of_the_batch_does_not_matter(model, padding):
    rows = random_rows(model.config.vocab_size)
    order = [4, 2, 5, 0, 3, 1]
    found = sequence_logp(model, pad([rows[i] for i in order], padding))
    torch.testing.assert_close(found, sequence_logp(model, pad(rows, padding))[order], **ROUNDING)


@pytest.mark.parametrize("padding", PADDINGS)
def test_its_gradient_is_the_naive_one(model, padding):
    rows = random_rows(model.config.vocab_size, rows=4)
    weight = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)
    found = []
    for logp in (sequence_logp(model, pad(rows, padding)), naive(model, rows)):
        model.zero_grad()
        (weight * logp).sum().backward()
        found.append(gradients(model))
    assert found[0].keys() == found[1].keys()
    for name in found[0]:
        torch.testing.assert_close(found[0][name], found[1][name], msg=lambda m, n=name: f"{n}: {m}", **ROUNDING)


def test_it_agrees_in_float32_as_far_as_float32_goes():
    policy = blurred(gpt2("mini"))
    rows = random_rows(policy.config.vocab_size)
    # seven digits; a sum over seven tokens of two ways through four layers leaves about five
    torch.testing.assert_close(sequence_logp(policy, pad(rows, "both")), naive(policy, rows), rtol=2e-5, atol=1e-5)


def test_an_eos_at_the_end_counts_though_it_is_the_pad_token(nano):
    eos = nano.config.eos_token_id
    assert eos == nano.config.pad_token_id
    rows = [([5, 6], [7, 8, 9, eos]), ([5], [7, eos]), ([5], [eos])]
    for padding in PADDINGS:
        torch.testing.assert_close(sequence_logp(nano, pad(rows, padding, filler=eos)), naive(nano, rows), **ROUNDING)
    without_eos = sequence_logp(nano, collate([[5, 6]], [[7, 8, 9]]))
    assert sequence_logp(nano, collate(*zip(*rows, strict=True)))[0] < without_eos[0]


def test_only_the_marked_tokens_are_scored(nano):
    batch = collate([[5, 6]], [[7, 8, 9]])
    batch.completion_mask[0, 3] = False
    table = nano(input_ids=batch.input_ids).logits[0].log_softmax(-1)
    torch.testing.assert_close(sequence_logp(nano, batch), (table[1, 7] + table[3, 9])[None], **ROUNDING)


def test_no_logit_is_made_for_a_prompt(nano):
    rows = [([1, 2, 3, 4, 5, 6, 7, 8], [9, 10]), ([1], [2, 3, 4])]
    assert completion_logits(nano, collate(*zip(*rows, strict=True))).shape == (2, 3, nano.config.vocab_size)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("row", [0, 2])
def test_a_row_without_completion_is_named(nano, padding, row):
    rows = random_rows(nano.config.vocab_size, rows=3)
    rows[row] = (rows[row][0], [])
    with pytest.raises(ValueError, match=f"row {row} of the batch has no completion token"):
        sequence_logp(nano, pad(rows, padding))


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("row", [0, 2])
def test_a_row_without_prompt_is_named(nano, padding, row):
    rows = random_rows(nano.config.vocab_size, rows=3)
    rows[row] = ([], rows[row][1])
    with pytest.raises(ValueError, match=f"row {row} of the batch has no prompt token.*BOS"):
        sequence_logp(nano, pad(rows, padding))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_are_summed_in_float32(dtype):
    logits = 5 * torch.randn(3, 4, 50, generator=torch.Generator().manual_seed(0))
    targets = torch.arange(12).reshape(3, 4)
    found = token_log_probability(logits.to(dtype), targets)
    assert found.dtype == torch.float32
    expected = logits.to(dtype).float().log_softmax(-1).gather(-1, targets[..., None])[..., 0]
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-5)  # float32 rounds numbers up to 20 at 1e-6


# ------------------------------------------------------------------ collate


def test_collate_lets_all_completions_start_in_one_column():
    batch = collate([[1, 2, 3], [4]], [[5], [6, 7]])
    assert batch.input_ids.tolist() == [[1, 2, 3, 5, 0], [0, 0, 4, 6, 7]]
    assert batch.attention_mask.int().tolist() == [[1, 1, 1, 1, 0], [0, 0, 1, 1, 1]]
    assert batch.completion_mask.int().tolist() == [[0, 0, 0, 1, 0], [0, 0, 0, 1, 1]]
    assert batch.input_ids.dtype == torch.int64
    assert batch.attention_mask.dtype == batch.completion_mask.dtype == torch.bool


def test_a_batch_moves_whole():
    batch = collate([[1]], [[2]]).to("meta")
    assert {batch.input_ids.device.type, batch.attention_mask.device.type, batch.completion_mask.device.type} == {
        "meta"
    }


# ------------------------------------------------------------------ enumerate_logp


@pytest.fixture(scope="module")
def world_policy():
    return blurred(build_policy("nano", verdicts().tokenizer))


@pytest.mark.parametrize("length", [1, 2, 3])
def test_all_completions_together_are_certain(world_policy, length):
    logp = enumerate_logp(world_policy, verdicts().prompt_ids[0], length)
    assert logp.shape == (len(verdicts().tokenizer) ** length,)
    # each of up to 1,331 numbers is rounded at 1e-7 of itself
    assert logp.double().exp().sum().item() == pytest.approx(1, abs=1e-5)


def test_all_responses_of_the_verdict_world_are_certain_together(world_policy):
    with torch.no_grad():
        total = verdicts().logp(world_policy).double().exp().sum(dim=1)
    torch.testing.assert_close(total, torch.ones(3, dtype=torch.float64), rtol=0, atol=1e-5)


@pytest.mark.parametrize("length", [1, 2, 3])
def test_enumeration_agrees_with_sequence_logp_of_random_completions(world_policy, length):
    v, prompt = len(verdicts().tokenizer), verdicts().prompt_ids[1]
    rng = random.Random(length)
    completions = [[rng.randrange(v) for _ in range(length)] for _ in range(30)]
    places = [sum(token * v ** (length - 1 - t) for t, token in enumerate(y)) for y in completions]
    found = enumerate_logp(world_policy, prompt, length)[places]
    expected = sequence_logp(world_policy, collate([prompt] * 30, completions))
    # float32 keeps seven digits; sums of three through two layers about five
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_enumeration_of_the_world_agrees_with_sequence_logp(world_policy):
    world = verdicts()
    places = random.Random(0).sample(range(len(world.responses)), 50)
    with torch.no_grad():
        found = world.logp(world_policy)[2, places]
        completions = [world.response_ids[i].tolist() for i in places]
        expected = sequence_logp(world_policy, collate([world.prompt_ids[2]] * 50, completions))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert [world.index(y) for y in completions] == places


def test_enumeration_has_the_gradient_of_sequence_logp():
    policy = blurred(build_policy("nano", verdicts().tokenizer).double())
    prompt, v = verdicts().prompt_ids[0], len(verdicts().tokenizer)
    found = []
    for logp in (
        enumerate_logp(policy, prompt, 2)[3 * v + 7],
        sequence_logp(policy, collate([prompt], [[3, 7]])).sum(),
    ):
        policy.zero_grad()
        logp.backward()
        found.append(gradients(policy))
    for name in found[1]:
        torch.testing.assert_close(found[0][name], found[1][name], **ROUNDING)
