"""Policies: built the same from the same seed, loaded as they were saved, and sampled from their own softmax."""

import os
import socket
import subprocess
import sys

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)
from transformers.activations import ACT2FN

from dpo_book.models.policy import (
    END_OF_TEXT,
    PolicyNotFoundError,
    build_policy,
    copy_policy,
    load_policy,
    sample,
    sample_ids,
    train_tokenizer,
)

TEXTS = ("the film was good and the ending was bad", "a dull plot, but great acting")


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS * 10, vocab_size=300)


@pytest.fixture(scope="module")
def policy(tokenizer):
    """A nano policy that has opinions: fresh ones are close to uniform, so its logits are scaled up."""
    policy = build_policy("nano", tokenizer)
    policy.transformer.ln_f.weight.data *= 5
    return policy


def word_tokenizer(size):
    """A tokenizer of ``size`` words, the first of which is EOS."""
    words = Tokenizer(models.WordLevel({END_OF_TEXT: 0} | {f"w{i}": i for i in range(1, size)}))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words, eos_token=END_OF_TEXT)


@torch.no_grad()
def logits(policy, ids=(1, 2, 3)):
    return policy(input_ids=torch.tensor([ids])).logits


def same_weights(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


# ------------------------------------------------------------------ building


@pytest.mark.parametrize(
    ("size", "vocabulary", "parameters"), [("nano", 300, 0.12e6), ("micro", 600, 0.51e6), ("mini", 2048, 1.09e6)]
)
def test_sizes_are_what_they_say(size, vocabulary, parameters):
    policy = build_policy(size, word_tokenizer(vocabulary))
    assert policy.num_parameters() == pytest.approx(parameters, rel=0.01)
    assert policy.config.vocab_size == vocabulary and policy.config.eos_token_id == 0


def test_an_unknown_size_is_refused(tokenizer):
    with pytest.raises(ValueError, match="no policy of size 'huge'; choose one of nano, micro, mini"):
        build_policy("huge", tokenizer)


def test_weights_depend_on_the_seed_alone(tokenizer):
    first = build_policy("nano", tokenizer, seed=1)
    torch.rand(5)
    assert same_weights(first, build_policy("nano", tokenizer, seed=1))
    assert not same_weights(first, build_policy("nano", tokenizer, seed=2))


def test_building_and_sampling_leave_the_random_numbers_of_others_alone(policy, tokenizer):
    before = torch.get_rng_state()
    build_policy("nano", tokenizer, seed=3)
    sample_ids(policy, [[1]], 3)
    assert torch.equal(before, torch.get_rng_state())


def test_copying_leaves_the_random_numbers_of_others_alone(policy):
    before = torch.get_rng_state()
    copy_policy(policy)
    assert torch.equal(before, torch.get_rng_state())


def test_dropout_is_off_even_in_training_mode(tokenizer):
    policy = build_policy("nano", tokenizer).train()
    assert torch.equal(logits(policy), logits(policy))


def test_the_fused_activation_is_gpt2s_own():
    x = torch.linspace(-10, 10, 2001, dtype=torch.float64)
    # Both are 0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³))): equal but for float64 rounding, about 1e-16 of |x|.
    torch.testing.assert_close(ACT2FN["gelu_pytorch_tanh"](x), ACT2FN["gelu_new"](x), rtol=1e-12, atol=1e-14)


def test_a_copy_is_equal_and_independent(policy):
    twin = copy_policy(policy)
    assert same_weights(policy, twin) and torch.equal(logits(policy), logits(twin))
    assert twin.lm_head.weight is twin.transformer.wte.weight  # tied, as in the original
    before = logits(policy)
    with torch.no_grad():
        for weight in twin.parameters():
            weight += 1
    assert torch.equal(logits(policy), before)
    assert not torch.equal(logits(twin), before)


def test_a_copy_keeps_the_precision(tokenizer):
    assert copy_policy(build_policy("nano", tokenizer).to(torch.bfloat16)).dtype == torch.bfloat16


# ------------------------------------------------------------------ the tokenizer


@pytest.mark.parametrize(
    "text",
    [
        "",
        "The film was GOOD",  # capitals were never seen in training
        "  two  spaces , and ' n't do n't ",
        "thumbs up 👍🏽, family 👩‍👩‍👧‍👦",
        "这部电影很好看。",
        "one\n\ntwo\r\nthree\tfour",
        "\x00\x01\x1b\x7f\u200b\u2028\ufeff",
        "e\u0301 is not é",
        "x" * 20_000,
    ],
    ids=["nothing", "capitals", "spaces", "emoji", "Chinese", "lines", "control", "accents", "long"],
)
def test_any_text_is_encoded_and_comes_back(text, tokenizer):
    ids = tokenizer(text).input_ids
    assert tokenizer.decode(ids) == text
    assert tokenizer.unk_token_id is None and tokenizer.eos_token_id not in ids


def test_a_tokenizer_learns_words_and_has_its_special_tokens(tokenizer):
    assert tokenizer("the film was").tokens() == ["the", "Ġfilm", "Ġwas"]
    assert tokenizer.eos_token == tokenizer.bos_token == tokenizer.pad_token == END_OF_TEXT
    assert tokenizer(END_OF_TEXT).input_ids == [tokenizer.eos_token_id]
    assert len(tokenizer) <= 300


def test_a_tokenizer_of_no_texts_still_knows_all_bytes():
    bare = train_tokenizer([])
    assert len(bare) == 257  # 256 bytes and the end mark
    assert bare.decode(bare("naïve").input_ids) == "naïve"


# ------------------------------------------------------------------ loading


def llama(vocabulary):
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        bos_token_id=0,
        eos_token_id=0,
    )
    torch.manual_seed(0)
    return LlamaForCausalLM(config).eval()


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_saved_policy_comes_back(family, tokenizer, policy, tmp_path):
    saved = policy if family == "gpt2" else llama(len(tokenizer))
    saved.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    loaded, its_tokenizer = load_policy(tmp_path)
    assert torch.equal(logits(loaded), logits(saved))
    assert loaded.dtype == torch.float32 and not loaded.training
    assert its_tokenizer(TEXTS[0]).input_ids == tokenizer(TEXTS[0]).input_ids
    assert its_tokenizer.eos_token_id == tokenizer.eos_token_id


def test_half_precision_weights_are_loaded_in_float32(tokenizer, tmp_path):
    build_policy("nano", tokenizer).to(torch.bfloat16).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert load_policy(str(tmp_path))[0].dtype == torch.float32


def test_a_tokenizer_without_eos_gets_the_models(tokenizer, policy, tmp_path):
    policy.save_pretrained(tmp_path)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer).save_pretrained(tmp_path)
    assert load_policy(tmp_path)[1].eos_token == END_OF_TEXT


def test_a_pickle_is_never_opened(tokenizer, policy, tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "the pickle ran"),)

    policy.config.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    torch.save(policy.state_dict() | {"trap": Trap()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(PolicyNotFoundError, match=r"must hold .* model\.safetensors"):
        load_policy(tmp_path)
    assert not (tmp_path / "the pickle ran").exists()


@pytest.mark.parametrize("name", ["gpt2", "nobody/no-such-policy", "./no/such/folder", "two words", ""])
def test_what_cannot_be_found_is_named_with_a_way_on_and_nobody_is_asked(name, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))  # nothing downloaded before
    called = []
    monkeypatch.setattr(socket.socket, "connect", lambda _, address: called.append(address))
    with pytest.raises(PolicyNotFoundError) as error:
        load_policy(name)
    assert called == []  # HF_HUB_OFFLINE=1 in all tests
    assert repr(name) in str(error.value) and 'build_policy("mini"' in str(error.value)


def test_without_a_network_the_hub_is_not_called_again_and_again(tmp_path):
    online = {key: value for key, value in os.environ.items() if key != "HF_HUB_OFFLINE"}
    nowhere = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path)}  # a port where nobody listens
    script = """
import socket
from dpo_book.models.policy import PolicyNotFoundError, load_policy
calls, connect = [], socket.socket.connect
def counted(self, address):
    calls.append(address)
    return connect(self, address)
socket.socket.connect = counted
try:
    load_policy("gpt2")
except PolicyNotFoundError:
    print(len(calls))
"""
    answer = subprocess.run([sys.executable, "-c", script], env=online | nowhere, capture_output=True, text=True)
    assert 1 <= int(answer.stdout) <= 2  # transformers alone asks again five times, for every file


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_a_folder_that_lacks_a_file_says_which_files_it_needs(missing, tokenizer, policy, tmp_path):
    policy.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(PolicyNotFoundError, match="must hold"):
        load_policy(tmp_path)


def test_a_folder_without_a_tokenizer_is_refused(policy, tmp_path):
    policy.save_pretrained(tmp_path)
    with pytest.raises(PolicyNotFoundError, match="tokenizer"):
        load_policy(tmp_path)


def test_weights_cut_short_are_reported_as_such(tokenizer, policy, tmp_path):
    policy.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(PolicyNotFoundError, match=str(tmp_path)):
        load_policy(tmp_path)


def test_a_policy_with_dropout_is_loaded_with_it_off(tokenizer, tmp_path):
    config = GPT2Config(vocab_size=len(tokenizer), n_embd=16, n_layer=1, n_head=2)
    GPT2LMHeadModel(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    loaded = load_policy(tmp_path)[0]
    assert loaded.config.resid_pdrop > 0
    assert torch.equal(logits(loaded), logits(loaded))


# ------------------------------------------------------------------ sampling


def test_temperature_zero_takes_the_likeliest_token_each_time(policy):
    prompt = [5, 6]
    (completion,) = sample_ids(policy, [prompt], 8, temperature=0)
    for i, token in enumerate(completion):
        assert token == logits(policy, prompt + completion[:i])[0, -1].argmax()
    assert sample_ids(policy, [prompt], 8, temperature=0, seed=1) == [completion]


def test_samples_depend_on_the_seed_alone(policy):
    draw = lambda seed: sample_ids(policy, [[5], [6, 7]], 8, seed=seed)
    first = draw(0)
    torch.rand(3)
    assert first == draw(0) != draw(1)


def test_the_length_of_other_prompts_does_not_change_a_completion(policy):
    prompts = [[5], [6, 7, 8], [9, 10, 11, 12, 13, 14, 15]]
    alone = [sample_ids(policy, [prompt], 8, temperature=0)[0] for prompt in prompts]
    assert sample_ids(policy, prompts, 8, temperature=0) == alone


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_tokens_are_drawn_from_the_softmax_of_the_whole_vocabulary(temperature, policy):
    n = 8000
    p = (logits(policy, [5])[0, -1].double() / temperature).softmax(dim=-1)
    drawn = torch.tensor(sample_ids(policy, [[5]] * n, 1, temperature=temperature)).flatten()
    observed, expected = torch.bincount(drawn, minlength=len(p)), n * p
    # Tokens that are expected fewer than five times are counted as one, as is usual for a χ² test. χ² has mean
    # k − 1 and standard deviation √(2 (k − 1)); we allow four of those.
    rare = expected < 5
    observed = torch.cat([observed[~rare].double(), observed[rare].sum()[None].double()])
    expected = torch.cat([expected[~rare], expected[rare].sum()[None].clamp(min=1e-9)])  # where none is rare
    chi_square = ((observed - expected) ** 2 / expected).sum()
    degrees = len(expected) - 1
    assert abs(chi_square - degrees) < 4 * (2 * degrees) ** 0.5
    assert len(drawn.unique()) > 50  # the top-k of transformers' own default


def test_a_temperature_may_be_a_whole_number(policy):
    assert sample_ids(policy, [[5]] * 20, 3, temperature=2) == sample_ids(policy, [[5]] * 20, 3, temperature=2.0)


@pytest.mark.parametrize("habit", [{"top_p": 0.1}, {"repetition_penalty": 50.0}, {"min_new_tokens": 8}])
def test_a_models_own_generation_habits_do_not_bend_the_distribution(habit):
    policy = build_policy("nano", word_tokenizer(4))
    plain = sample_ids(policy, [[1, 2]] * 20, 8)
    for name, value in habit.items():
        setattr(policy.generation_config, name, value)
    assert sample_ids(policy, [[1, 2]] * 20, 8) == plain


def test_a_completion_ends_with_its_first_eos():
    policy = build_policy("nano", word_tokenizer(4))  # one token in four is EOS
    completions = sample_ids(policy, [[1]] * 50, 8)
    assert {len(ids) for ids in completions} == set(range(1, 9))
    for ids in completions:
        assert 0 not in ids[:-1]
        assert ids[-1] == 0 or len(ids) == 8


def test_any_of_several_eos_tokens_ends_a_completion():
    policy = build_policy("nano", word_tokenizer(6))
    policy.config.eos_token_id = policy.generation_config.eos_token_id = [0, 1]
    completions = sample_ids(policy, [[2]] * 50, 8)
    assert {0, 1} <= {ids[-1] for ids in completions}
    for ids in completions:
        assert not {0, 1} & set(ids[:-1])


def test_sampled_text_has_no_end_mark():
    tokenizer = word_tokenizer(4)
    policy = build_policy("nano", tokenizer)
    texts = sample(policy, tokenizer, ["w1"] * 20, 8)
    ids = sample_ids(policy, [[1]] * 20, 8)
    assert texts == ["".join(f" w{i}" for i in completion if i) for completion in ids]


def test_a_policy_without_eos_writes_on():
    words = word_tokenizer(4)
    words.eos_token = None
    assert [len(ids) for ids in sample_ids(build_policy("nano", words), [[1]] * 20, 8)] == [8] * 20


@pytest.mark.parametrize("temperature", [-1, -0.1, float("nan"), float("inf"), "1", None])
def test_an_impossible_temperature_is_refused(temperature, policy):
    with pytest.raises(ValueError, match="temperature must be a finite number of at least 0"):
        sample_ids(policy, [[1]], 2, temperature)


@pytest.mark.parametrize("prompts", [[], [[]], [[1], []]])
def test_prompts_without_tokens_are_refused(prompts, policy):
    with pytest.raises(ValueError, match="every prompt needs at least one token"):
        sample_ids(policy, prompts, 2)


def test_more_tokens_than_the_policy_has_positions_are_refused(policy):
    with pytest.raises(ValueError, match="16"):
        sample_ids(policy, [[1] * 10], 8)
