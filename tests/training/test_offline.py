"""The training loop: what it refuses, what it reports, and that it repeats itself."""

import math

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from dpo_book import (
    DPOConfig,
    PairError,
    Preference,
    SFTConfig,
    TrainingDiverged,
    UnlikelihoodConfig,
    build_policy,
    copy_policy,
    load_preferences,
    sequence_logp,
    tokenize_pairs,
    train_dpo,
    train_sft,
    train_tokenizer,
    train_unlikelihood,
)
from dpo_book.models.logprobs import collate
from dpo_book.models.scoring import score_pairs
from dpo_book.training import reference as reference_room
from dpo_book.training.reference import compute_reference_logps
from dpo_book.worlds.verdicts import verdicts
from tests.small_data import verdict_pairs

TRL_NAMES = {
    "loss", "rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies",
    "logps/chosen", "logps/rejected", "grad_norm", "learning_rate",
}  # fmt: skip


@pytest.fixture
def pairs():
    return verdict_pairs(8)


def small(**changes):
    return DPOConfig(**{"beta": 0.5, "learning_rate": 1e-3, "batch_size": 4, "steps": 6} | changes)


def test_unlikelihood_is_its_formula_and_pushes_the_rejected_down(reference, pairs):
    config = UnlikelihoodConfig(alpha=0.4, learning_rate=1e-3, batch_size=16, steps=10)
    policy = copy_policy(reference)
    records = list(train_unlikelihood(policy, pairs, config))
    chosen, rejected = score_pairs(reference, pairs)
    # A token of the chosen completions, which all have four here; float32 rounds sums of about 40 nats at 1e-5.
    expected = ((0.4 * rejected - chosen).sum() / (4 * len(pairs))).item()
    assert records[0]["loss"] == pytest.approx(expected, abs=1e-4)
    assert set(records[0]) == {"step", "loss", "logps/chosen", "logps/rejected", "grad_norm", "learning_rate"}
    after_chosen, after_rejected = score_pairs(policy, pairs)
    assert (after_chosen > chosen).all() and (after_chosen - after_rejected > chosen - rejected).all()


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("nan"), True])
def test_unlikelihood_needs_a_weight_above_zero(alpha):
    with pytest.raises(ValueError, match="alpha"):
        UnlikelihoodConfig(alpha=alpha)


def test_a_record_has_trl_s_names_and_starts_at_ln_2(reference, pairs):
    records = list(train_dpo(copy_policy(reference), reference, pairs, small()))
    assert all(set(record) == TRL_NAMES | {"step"} for record in records)
    assert [record["step"] for record in records] == [1, 2, 3, 4, 5, 6]
    # float32 log-probabilities of about 10 nats carry rounding of about 1e-6
    assert records[0]["loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert records[0]["rewards/margins"] == pytest.approx(0, abs=1e-5)
    assert records[0]["grad_norm"] > 0
    assert records[-1]["rewards/margins"] > 0.1 and records[-1]["loss"] < 0.65
    margins = [record["rewards/chosen"] - record["rewards/rejected"] for record in records]
    assert margins == pytest.approx([record["rewards/margins"] for record in records], abs=1e-5)


def test_the_reference_does_not_move_and_keeps_its_mode(reference, pairs):
    before = [parameter.clone() for parameter in reference.parameters()]
    list(train_dpo(copy_policy(reference), reference, pairs, small()))
    assert all(torch.equal(a, b) for a, b in zip(before, reference.parameters(), strict=True))


def test_two_runs_with_one_seed_are_the_same_and_another_seed_is_not(reference, pairs):
    runs = [list(train_dpo(copy_policy(reference), reference, pairs, small(seed=s))) for s in (0, 0, 1)]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_leaving_the_loop_leaves_a_policy_trained_so_far(reference, pairs):
    policy, short = copy_policy(reference), copy_policy(reference)
    for record in train_dpo(policy, reference, pairs, small()):
        if record["step"] == 3:
            break
    run = train_dpo(short, reference, pairs, small())
    for _ in range(3):
        next(run)
    for a, b in zip(policy.parameters(), short.parameters(), strict=True):
        assert torch.equal(a, b)


def test_reference_logps_are_those_of_sequence_logp_in_the_pairs_order(reference, pairs):
    chosen, rejected = score_pairs(reference, pairs, batch_size=3)
    for values, completions in ((chosen, [p.chosen for p in pairs]), (rejected, [p.rejected for p in pairs])):
        direct = sequence_logp(reference, collate([p.prompt for p in pairs], completions))
        assert torch.allclose(values, direct, atol=1e-5)


def test_given_reference_logps_train_as_computed_ones(reference, pairs):
    given = score_pairs(reference, pairs)
    a = list(train_dpo(copy_policy(reference), reference, pairs, small()))
    b = list(train_dpo(copy_policy(reference), None, pairs, small(), given))
    assert a == b
    with pytest.raises(ValueError, match="16 pairs"):
        next(train_dpo(copy_policy(reference), None, pairs, small(), (given[0][:3], given[1][:3])))


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_the_reference_runs_on_the_pairs_that_the_steps_come_by_and_on_no_other(reference, pairs, steps, monkeypatch):
    asked = []

    def score(reference, pairs, batch_size):
        asked.extend(pairs)
        return score_pairs(reference, pairs, batch_size)

    monkeypatch.setattr(reference_room, "score_pairs", score)
    config = small(steps=steps, micro_batch_size=2)
    given = compute_reference_logps(reference, pairs, config)
    reached = given[0].isfinite()
    assert len(asked) == reached.sum() == min(4 * (steps + 1), 16)  # the last step's successor is looked at
    assert torch.equal(given[1].isfinite(), reached)
    records = list(train_dpo(copy_policy(reference), None, pairs, config, given))
    assert all(math.isfinite(record["loss"]) for record in records)
    everywhere = score_pairs(reference, pairs)
    expected = list(train_dpo(copy_policy(reference), None, pairs, config, everywhere))
    for a, b in zip(records, expected, strict=True):
        assert a == pytest.approx(b, rel=1e-5, abs=1e-5)  # other rows share a batch: float32 at log π of about 10


def test_reference_free_needs_no_reference(reference, pairs):
    record = next(train_dpo(copy_policy(reference), None, pairs, small(reference_free=True)))
    assert record["rewards/chosen"] == pytest.approx(0.5 * record["logps/chosen"], rel=1e-5)
    with pytest.raises(ValueError, match="unless its loss reads none"):
        next(train_dpo(copy_policy(reference), None, pairs, small()))


def test_what_is_no_pair_is_named_with_its_row(reference, pairs):
    run = lambda pairs: next(train_dpo(copy_policy(reference), reference, pairs, small()))
    with pytest.raises(TypeError, match=r"row 17 is no Pair .* a Preference: .* tokenize_pairs"):
        run([*pairs, Preference("the acting", "good", "bad")])
    with pytest.raises(PairError, match="row 1: chosen and rejected are the same"):
        run([pairs[0]._replace(rejected=pairs[0].chosen), *pairs])
    for wrong in (2.0, -0.1, math.nan):
        with pytest.raises(PairError, match=r"row 2: chosen_probability must be in \[0, 1\]"):
            run([pairs[0], pairs[1]._replace(chosen_probability=wrong)])


def test_a_model_with_its_tokenizer_is_no_model(reference, pairs):
    with pytest.raises(TypeError, match="policy must be a model, not a tuple: load_policy gives"):
        next(train_dpo((reference, None), reference, pairs, small()))


def test_a_reference_with_another_vocabulary_is_refused(reference, pairs):
    other = build_policy("nano", train_tokenizer(["some text"], vocab_size=300))
    with pytest.raises(ValueError, match="vocabularies of 11 and"):
        next(train_dpo(copy_policy(reference), other, pairs, small()))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_named_and_not_blamed_on_the_learning_rate(reference, pairs, value):
    policy = copy_policy(reference)
    with torch.no_grad():
        policy.transformer.ln_f.weight[3] = value
    with pytest.raises(
        TrainingDiverged, match=r"step 1: .*No update was made yet.* first in transformer\.ln_f\.weight"
    ):
        next(train_dpo(policy, reference, pairs, small()))
    with pytest.raises(TrainingDiverged, match=r"step 1: .* first in transformer\.ln_f\.weight"):
        next(train_sft(policy, [(pair.prompt, pair.chosen) for pair in pairs], SFTConfig(steps=2)))


def test_a_reference_whose_values_are_not_finite_is_refused_with_the_first_row(reference, pairs):
    broken = copy_policy(reference)
    with torch.no_grad():
        broken.transformer.ln_f.weight[3] = math.nan
    with pytest.raises(ValueError, match=r"row 1: the reference's log-probabilities must be finite, .* nan and nan"):
        train_dpo(copy_policy(reference), broken, pairs, small())


def test_reference_logps_of_another_run_are_refused_where_this_one_needs_more(reference, pairs):
    given = compute_reference_logps(reference, pairs, small(steps=1))
    with pytest.raises(ValueError, match=r"row \d+: .* nan and nan: .* with this config"):
        train_dpo(copy_policy(reference), None, pairs, small(steps=6), given)
    missing = given[0].isnan().nonzero()[0].item()
    given[0][missing] = -math.inf
    with pytest.raises(ValueError, match=rf"row {missing + 1}: .* -inf and nan"):
        train_dpo(copy_policy(reference), None, pairs, small(steps=6), given)


def test_reference_logps_of_another_shape_are_refused(reference, pairs):
    chosen, rejected = score_pairs(reference, pairs)
    with pytest.raises(ValueError, match="16 pairs"):
        train_dpo(copy_policy(reference), None, pairs, small(), (chosen[:, None], rejected[:, None]))


def test_a_beta_that_float32_cannot_bear_is_not_blamed_on_the_learning_rate(reference, pairs):
    with pytest.raises(TrainingDiverged, match=r"No update was made yet, so it is not the learning rate, .* a beta "):
        next(train_dpo(copy_policy(reference), reference, pairs, small(beta=1e30)))


def test_a_last_update_that_breaks_the_policy_is_undone(reference, pairs):
    policy = copy_policy(reference)
    with pytest.raises(TrainingDiverged, match="step 1: the loss after the last update is not finite"):
        list(train_dpo(policy, reference, pairs, small(steps=1, learning_rate=1e30, warmup_steps=0)))
    for a, b in zip(policy.parameters(), reference.parameters(), strict=True):
        assert torch.equal(a, b)


def test_soft_labels_of_one_half_teach_nothing(reference, pairs):
    undecided = [pair._replace(chosen_probability=0.5) for pair in pairs]
    record = next(train_dpo(copy_policy(reference), reference, undecided, small()))
    assert record["grad_norm"] == pytest.approx(0, abs=1e-5)


def test_policy_and_reference_being_one_object_is_refused(reference, pairs):
    with pytest.raises(ValueError, match="one object"):
        next(train_dpo(reference, reference, pairs, small()))


def test_pairs_that_do_not_fit_are_refused_before_the_first_step(reference, pairs):
    long = pairs[0]._replace(chosen=[1] * 20)
    with pytest.raises(ValueError, match=r"row 17 has 22 tokens.*context of 16.*max_length=16"):
        next(train_dpo(copy_policy(reference), reference, [*pairs, long], small()))
    with pytest.raises(ValueError, match="nothing to train on"):
        next(train_dpo(copy_policy(reference), reference, [], small()))


@pytest.mark.parametrize("beta", [0, -0.1, math.nan, math.inf, "0.1", True, None])
def test_a_bad_beta_is_refused_by_name(beta):
    with pytest.raises((TypeError, ValueError), match="beta must be"):
        DPOConfig(beta=beta)


@pytest.mark.parametrize(
    "field, value",
    [("steps", 0), ("steps", 1.5), ("batch_size", -1), ("learning_rate", 0.0), ("learning_rate", math.nan),
     ("learning_rate", "1e-3"), ("warmup_steps", -1), ("max_grad_norm", 0.0)],
)  # fmt: skip
def test_a_bad_setting_is_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        DPOConfig(**{field: value})


def test_a_run_that_diverges_stops_names_the_step_and_keeps_the_last_good_weights(reference, pairs):
    policy, seen = copy_policy(reference), []
    with pytest.raises(
        TrainingDiverged, match=r"step \d+: the (loss|gradient|loss after the last update) is not finite"
    ) as raised:
        # A first step of 1e30 makes activations overflow in the second.
        for record in train_dpo(policy, reference, pairs, small(learning_rate=1e30, warmup_steps=0)):
            seen.append(record)
    assert raised.value.step == len(seen) + 1
    assert all(math.isfinite(record["loss"]) for record in seen)
    assert all(parameter.isfinite().all() for parameter in policy.parameters())
    logp = sequence_logp(policy, collate([pairs[0].prompt], [pairs[0].chosen]))
    assert logp.isfinite().all()


def test_sft_learns_to_repeat_one_text(reference):
    encode = lambda text: verdicts().tokenizer(text).input_ids
    examples = [(encode("the plot"), encode("very good but dull"))] * 4
    config = SFTConfig(learning_rate=1e-2, batch_size=4, steps=30)
    records = list(train_sft(reference, examples, config))
    assert set(records[0]) == {"step", "loss", "grad_norm", "learning_rate"}
    assert records[0]["loss"] == pytest.approx(math.log(11), abs=0.3)  # about uniform over eleven words
    assert records[-1]["loss"] < 0.2


def test_a_file_written_by_someone_else_trains_mini_below_ln_2_and_above_chance():
    """300 pairs in TRL's format: 240 to train on, 60 held out."""
    preferences = load_preferences("tests/samples/trl_style.jsonl")
    tokenizer = train_tokenizer([p.prompt + p.chosen + p.rejected for p in preferences], vocab_size=512)
    pairs = tokenize_pairs(preferences, tokenizer, max_length=256)
    train, held_out = pairs[:240], pairs[240:]

    reference = build_policy("mini", tokenizer)
    texts = [(pair.prompt, y) for pair in train for y in (pair.chosen, pair.rejected)]
    for _ in train_sft(reference, texts, SFTConfig(learning_rate=2e-3, batch_size=16, steps=40)):
        pass
    policy = copy_policy(reference)
    config = DPOConfig(beta=0.1, learning_rate=5e-4, batch_size=16, steps=40)
    records = list(train_dpo(policy, reference, train, config))

    assert sum(record["loss"] for record in records[-10:]) / 10 < 0.6 < math.log(2)
    chosen, rejected = score_pairs(policy, held_out)
    ref_chosen, ref_rejected = score_pairs(reference, held_out)
    accuracy = ((chosen - ref_chosen) > (rejected - ref_rejected)).float().mean().item()
    # 60 coin flips stay below 0.7 with probability 0.999
    assert accuracy > 0.7, accuracy


def test_a_policy_of_another_family_trains_on_the_same_file():
    """A Llama-type model, saved and loaded as one from the hub would be."""
    preferences = load_preferences("tests/samples/trl_style.jsonl")[:40]
    tokenizer = train_tokenizer([p.prompt + p.chosen + p.rejected for p in preferences], vocab_size=400)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    reference = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **shape)).eval()
    policy = copy_policy(reference)
    config = DPOConfig(beta=0.5, learning_rate=3e-3, batch_size=10, steps=12)
    records = list(train_dpo(policy, reference, tokenize_pairs(preferences, tokenizer, max_length=128), config))
    assert records[0]["loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert records[-1]["loss"] < 0.5
