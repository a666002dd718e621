"""A policy is loaded whole, causal, and with its own tokenizer, or refused in one sentence with nothing made up."""

import copy
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig,
    BertLMHeadModel,
    ElectraConfig,
    ElectraForCausalLM,
    GenerationConfig,
    GPT2LMHeadModel,
    XLMConfig,
    XLMWithLMHeadModel,
)

from dpo_book import PolicyNotFoundError, build_policy, build_reward_model, copy_policy, load_policy, train_tokenizer
from dpo_book.models.loading import NotAPolicyError
from dpo_book.models.lora import Lora

ENCODER = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["good acting", "dull plot"], vocab_size=260)


@pytest.fixture(scope="module")
def policy(tokenizer):
    return build_policy("nano", tokenizer)


@pytest.fixture
def folder(tmp_path, policy, tokenizer):
    policy.save_pretrained(tmp_path / "policy")
    tokenizer.save_pretrained(tmp_path / "policy")
    return tmp_path / "policy"


@torch.no_grad()
def logits(model):
    return model(input_ids=torch.tensor([[1, 2, 3]])).logits


def configure(folder, **changed):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changed))


def reweigh(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def refusal(folder, kind=NotAPolicyError):
    with pytest.raises(kind) as error:
        load_policy(folder)
    message = str(error.value)
    assert str(folder) in message and "\n" not in message
    return message


# ------------------------------------------------------------------ every tensor has its place

QKV = "transformer.h.1.attn.c_attn.weight"


def test_a_missing_tensor_is_named(folder):
    reweigh(folder, lambda weights: weights.pop(QKV))
    assert f"lacks {QKV}, which would be random numbers" in refusal(folder)


def test_a_renamed_tensor_is_named_with_what_it_left(folder):
    reweigh(folder, lambda weights: weights.update({"transformer.other": weights.pop(QKV)}))
    message = refusal(folder)
    assert f"lacks {QKV}" in message and "holds transformer.other, for which the model has no place" in message


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"n_layer": 4}, r"lacks transformer.h.2.attn.c_attn.bias and 23 more"),
        ({"n_layer": 1}, r"holds transformer.h.1.attn.c_attn.weight and \d+ more"),
        ({"n_embd": 32}, r"of another shape is transformer"),
        ({"vocab_size": 100}, r"of another shape is transformer.wte.weight"),
    ],
    ids=["deeper", "shallower", "narrower", "fewer words"],
)
def test_another_shape_is_named(changed, named, folder):
    configure(folder, **changed)
    with pytest.raises(NotAPolicyError, match=named):
        load_policy(folder)


def test_a_reward_model_is_no_policy(folder, policy):
    build_reward_model(policy).save_pretrained(folder)
    assert "holds score.weight" in refusal(folder)


def test_tied_weights_may_be_absent_and_buffers_left_over(folder, policy):
    def old_hub_file(weights):
        assert "lm_head.weight" not in weights
        weights["transformer.h.0.attn.bias"] = torch.ones(1, 1, 16, 16)

    reweigh(folder, old_hub_file)
    assert torch.equal(logits(load_policy(folder)[0]), logits(policy))


def test_nothing_but_the_sentence_is_said(folder, capfd):
    configure(folder, n_layer=4)
    refusal(folder)
    assert "LOAD REPORT" not in capfd.readouterr().err


# ------------------------------------------------------------------ a configuration may hold anything


@pytest.mark.parametrize(
    "changed",
    [
        {"activation_function": "nope"},
        {"activation_function": ["gelu"]},
        {"n_layer": "two"},
        {"n_embd": [64]},
        {"n_head": None},
        {"n_head": 7},
        {"layer_norm_epsilon": "small"},
        {"model_type": "nope"},
        {"model_type": 3},
        {"eos_token_id": "the end"},
        {"architectures": 3},
    ],
    ids=str,
)
def test_a_configuration_that_makes_no_model_is_refused_in_one_line(changed, folder):
    configure(folder, **changed)
    try:
        model, _ = load_policy(folder)
    except (OSError, ValueError) as error:
        assert str(folder) in str(error) and "\n" not in str(error)
    else:
        assert "architectures" in changed and isinstance(model, GPT2LMHeadModel)  # which nothing depends on


@pytest.mark.parametrize("text", ["", "[]", "3", '"gpt2"', "{", "null"])
def test_a_config_file_that_holds_no_configuration_is_refused(text, folder):
    (folder / "config.json").write_text(text)
    refusal(folder, PolicyNotFoundError)


# ------------------------------------------------------------------ causal, and of one vocabulary


@pytest.mark.parametrize(
    "make",
    [
        lambda v: BertLMHeadModel(BertConfig(vocab_size=v, **ENCODER)),
        lambda v: ElectraForCausalLM(ElectraConfig(vocab_size=v, **ENCODER)),
        lambda v: XLMWithLMHeadModel(XLMConfig(vocab_size=v, emb_dim=16, n_layers=2, n_heads=2)),
    ],
    ids=["bert", "electra", "xlm"],
)
def test_a_model_that_sees_what_comes_is_refused_by_its_class(make, folder, tokenizer):
    model = make(len(tokenizer))
    model.save_pretrained(folder)
    assert "is not a causal language model" in (message := refusal(folder))
    assert type(model).__name__ in message


def test_a_tokenizer_larger_than_the_embedding_is_refused_naming_the_first_such_token(folder):
    larger = train_tokenizer(["a film about a dog and another film about a cat"] * 5, vocab_size=290)
    larger.save_pretrained(folder)
    assert len(larger) > 260
    message = refusal(folder)
    assert f"with the id {len(larger) - 1}" in message and "embedding 260 rows" in message


# ------------------------------------------------------------------ where it stops


def test_the_tokenizer_s_eos_is_an_end_of_the_model_too_and_saved_with_it(folder, tokenizer, tmp_path):
    configure(folder, eos_token_id=7)
    GenerationConfig(eos_token_id=[7, 9]).save_pretrained(folder)
    model, _ = load_policy(folder)
    assert model.generation_config.eos_token_id == sorted({7, 9, tokenizer.eos_token_id})
    model.save_pretrained(tmp_path / "again")
    assert GenerationConfig.from_pretrained(tmp_path / "again").eos_token_id == model.generation_config.eos_token_id


def test_one_end_stays_one_number(folder, tokenizer):
    assert load_policy(folder)[0].generation_config.eos_token_id == tokenizer.eos_token_id


def test_generation_habits_that_transformers_would_not_save_are_left_out(folder, tmp_path):
    habits = {"do_sample": False, "temperature": 0.3, "eos_token_id": 3}
    (folder / "generation_config.json").write_text(json.dumps(habits))
    model, _ = load_policy(folder)
    model.save_pretrained(tmp_path / "again")
    assert 3 in GenerationConfig.from_pretrained(tmp_path / "again").eos_token_id


# ------------------------------------------------------------------ adapters


@pytest.fixture
def adapter(folder, tmp_path):
    """A folder of a trained adapter, and what its base says with it."""
    pytest.importorskip("peft")
    model, _ = load_policy(folder)
    lora = Lora(model, rank=2)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.fill_(0.1)
    lora._peft.peft_config["default"].base_model_name_or_path = str(folder)
    lora._peft.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter", logits(model)


def test_an_adapter_is_merged_into_a_plain_model_with_its_base_s_tokenizer(adapter, policy, tokenizer):
    path, expected = adapter
    model, words = load_policy(path)
    assert type(model) is GPT2LMHeadModel and set(model.state_dict()) == set(policy.state_dict())
    assert all(weight.requires_grad for weight in model.parameters())
    torch.testing.assert_close(logits(model), expected, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(expected, logits(policy), atol=1e-2)
    assert words.get_vocab() == tokenizer.get_vocab()
    twin = copy_policy(model)
    Lora(twin, rank=2).merge()
    torch.testing.assert_close(logits(twin), expected, rtol=1e-5, atol=1e-5)


def test_an_adapter_without_its_base_names_both(adapter, folder):
    path, _ = adapter
    shutil.rmtree(folder)
    assert f"no policy could be loaded from '{folder}'" in refusal(path, PolicyNotFoundError)


def test_an_adapter_without_safetensors_is_refused_and_no_pickle_opened(adapter):
    path, _ = adapter
    torch.save({}, path / "adapter_model.bin")
    (path / "adapter_model.safetensors").unlink()
    assert "must hold adapter_config.json and adapter_model.safetensors" in refusal(path, PolicyNotFoundError)


def test_an_adapter_of_another_base_is_refused(adapter, folder, tokenizer):
    path, _ = adapter
    config = json.loads((path / "adapter_config.json").read_text())
    config["target_modules"] = [name for name in config["target_modules"] if "h.0" in name]
    (path / "adapter_config.json").write_text(json.dumps(config))
    assert "does not fit its base" in refusal(path)


def test_an_adapter_beside_a_whole_model_is_refused(adapter, folder):
    path, _ = adapter
    shutil.copytree(folder, path, dirs_exist_ok=True)
    assert "take one of them away" in refusal(path)


def test_without_peft_an_adapter_says_what_to_do(adapter, monkeypatch):
    path, _ = adapter
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    assert 'pip install "dpo-book[lora]"' in refusal(path)


def tied_adapter(folder, tmp_path, **changed):
    """An adapter on GPT-2, whose head is its embedding."""
    peft = pytest.importorskip("peft")
    adapted = peft.get_peft_model(load_policy(folder)[0], peft.LoraConfig(r=2, fan_in_fan_out=True, **changed))
    with torch.no_grad():
        for weight in adapted.parameters():
            if weight.requires_grad:
                weight += 0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    adapted.peft_config["default"].base_model_name_or_path = str(folder)
    return adapted, tmp_path / "tied"


@pytest.mark.parametrize("target", ["lm_head", "wte"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_an_adapter_on_one_of_two_tied_weights_is_refused(target, folder, tmp_path):
    adapted, path = tied_adapter(folder, tmp_path, target_modules=[target])
    adapted.save_pretrained(path)
    assert "untie them before the adapter is trained" in refusal(path)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_head_of_its_own_beside_an_adapter_stays_one(folder, tokenizer, tmp_path):
    """It was trained whole, so the two are tied no longer, in memory and in what is saved."""
    adapted, path = tied_adapter(folder, tmp_path, target_modules=["c_attn"], modules_to_save=["lm_head"])
    adapted.save_pretrained(path)
    model, _ = load_policy(path)
    torch.testing.assert_close(logits(model), logits(adapted.eval()), rtol=1e-4, atol=1e-4)
    model.save_pretrained(tmp_path / "again")
    tokenizer.save_pretrained(tmp_path / "again")
    assert torch.equal(logits(load_policy(tmp_path / "again")[0]), logits(model))


def test_an_adapter_saved_with_the_embedding_of_its_base_is_merged(folder, tmp_path):
    adapted, path = tied_adapter(folder, tmp_path, target_modules=["c_attn"])
    adapted.save_pretrained(path, save_embedding_layers=True)
    assert any("wte" in key for key in load_file(path / "adapter_model.safetensors"))
    torch.testing.assert_close(logits(load_policy(path)[0]), logits(adapted.eval()), rtol=1e-4, atol=1e-4)


def test_an_adapter_of_tokens_says_that_only_weights_can_be_merged(folder, tmp_path):
    peft = pytest.importorskip("peft")
    config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    config.base_model_name_or_path = str(folder)
    config.save_pretrained(tmp_path / "prompt")
    assert "PROMPT_TUNING" in (message := refusal(tmp_path / "prompt")) and "only one that changes weights" in message


# ------------------------------------------------------------------ masks that old files hold


@pytest.mark.parametrize("prefix", ["transformer.", ""])
@pytest.mark.parametrize("attention", ["attn", "attn.attention"])
def test_masks_of_attention_in_old_files_are_no_weights(prefix, attention, folder, policy):
    def old_hub_file(weights):
        for key in list(weights):
            weights[prefix + key.removeprefix("transformer.")] = weights.pop(key)
        for layer in range(2):
            module = f"{prefix}h.{layer}.{attention}"
            weights[f"{module}.bias"] = torch.ones(1, 1, 64, 64)
            weights[f"{module}.masked_bias"] = torch.tensor(-1e4)
            weights[f"{module}.causal_mask"] = torch.ones(1, 1, 64, 64, dtype=torch.bool)

    reweigh(folder, old_hub_file)
    assert torch.equal(logits(load_policy(folder)[0]), logits(policy))


def test_a_bias_that_is_no_mask_is_a_weight(folder):
    reweigh(folder, lambda weights: weights.update({"transformer.h.0.self_attn.attention.bias": torch.ones(64)}))
    assert "holds transformer.h.0.self_attn.attention.bias" in refusal(folder)


# ------------------------------------------------------------------ ends that are none


@pytest.mark.parametrize("ids", [-1, [-1, 3], [10**6, 3]], ids=str)
@pytest.mark.parametrize("file", ["config.json", "generation_config.json"])
def test_an_end_that_is_no_token_is_left_out(ids, file, folder, tokenizer):
    (folder / "generation_config.json").unlink()
    written = json.loads((folder / "config.json").read_text()) if file == "config.json" else {}
    (folder / file).write_text(json.dumps(written | {"eos_token_id": ids}))
    found = load_policy(folder)[0].generation_config.eos_token_id
    assert found == (tokenizer.eos_token_id if ids == -1 else sorted({3, tokenizer.eos_token_id}))


@pytest.mark.parametrize("ids", ["0", 1.0, [[0]], True, ["0"]], ids=str)
def test_an_end_that_is_no_id_is_refused_naming_the_field(ids, folder):
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": ids}))
    assert "eos_token_id in generation_config.json must be a token id" in refusal(folder)


@pytest.mark.parametrize(
    "habit", [{"num_return_sequences": 3}, {"early_stopping": "x", "num_beams": 3}, {"compile_config": {}}], ids=str
)
def test_a_habit_that_transformers_refuses_does_not_count(habit, folder, policy, tmp_path):
    (folder / "generation_config.json").write_text(json.dumps(habit | {"eos_token_id": 3}))
    model, _ = load_policy(folder)
    assert 3 in model.generation_config.eos_token_id and torch.equal(logits(model), logits(policy))
    model.save_pretrained(tmp_path / "again")


def test_an_ordinary_token_does_not_become_the_tokenizer_s_eos(folder, tokenizer):
    bare = copy.deepcopy(tokenizer)
    bare.eos_token = None
    bare.save_pretrained(folder)
    configure(folder, eos_token_id=40)
    GenerationConfig(eos_token_id=40).save_pretrained(folder)
    model, words = load_policy(folder)
    assert words.eos_token is None and model.generation_config.eos_token_id == 40
    end = tokenizer.eos_token_id
    configure(folder, eos_token_id=end)
    GenerationConfig(eos_token_id=[40, end]).save_pretrained(folder)
    assert load_policy(folder)[1].eos_token_id == end
