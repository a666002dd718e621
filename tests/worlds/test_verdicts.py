"""The enumerable world: everything is listed, the reward is VADER's, the reference imitates the critics."""

import itertools

import pytest
import torch

from dpo_book import build_policy, collate, kl_divergence, optimal_logp, preference_probability, sequence_logp
from dpo_book.worlds.references import verdicts_reference
from dpo_book.worlds.verdicts import WORDS, draw_comparisons, mixed_proposal, verdicts


@pytest.fixture(scope="module")
def world():
    return verdicts()


@pytest.fixture(scope="module")
def ref_logp(world):
    with torch.no_grad():
        return world.logp(verdicts_reference()).double()


def test_every_response_is_listed_once_and_found_by_its_index(world):
    assert len(world.responses) == len(set(world.responses)) == len(WORDS) ** 4 == 14_641
    for place in (0, 1, 777, 14_640):
        ids = world.tokenizer(world.responses[place]).input_ids
        assert ids == world.response_ids[place].tolist()
        assert world.index(ids) == place


def test_the_vocabulary_is_the_words_and_nothing_else(world):
    assert len(world.tokenizer) == len(WORDS)
    assert all(world.tokenizer.decode(world.tokenizer(y).input_ids) == y for y in world.responses[::500])
    assert world.tokenizer.eos_token_id is None


def test_a_word_from_elsewhere_is_named(world):
    with pytest.raises(ValueError, match="'superb' is not a word of this world; its words are the, acting"):
        world.tokenize([("the acting", "superb but very dull")])


def test_the_analyser_understands_not_very_and_but(world):
    reward = lambda response: world.reward("the acting", response)
    assert reward("not very good acting") < 0 < reward("very good acting the")
    assert reward("very good acting the") > reward("the good acting the")
    assert reward("good but very bad") < 0 < reward("bad but very good")


def test_rewards_are_those_of_reward(world):
    assert world.rewards.shape == (3, 14_641)
    assert world.rewards.abs().max() <= 2
    for i, j in ((0, 3), (1, 9_000), (2, 14_640)):
        assert world.rewards[i, j] == world.reward(world.prompts[i], world.responses[j])


def test_the_corpus_is_reproducible_and_made_of_responses(world):
    corpus = world.corpus(500, seed=4)
    assert corpus == world.corpus(500, seed=4) != world.corpus(500, seed=5)
    assert all(x in world.prompts and y in set(world.responses) for x, y in corpus)


def test_probabilities_of_all_responses_sum_to_one_and_match_sequence_logp(world, ref_logp):
    assert torch.allclose(ref_logp.exp().sum(dim=1), torch.ones(3, dtype=torch.float64), atol=1e-5)
    places = torch.tensor([5, 4321, 14_000])
    batch = collate([world.prompt_ids[2]] * 3, world.response_ids[places].tolist())
    with torch.no_grad():
        # two float32 routes to sums of about 10 nats
        assert torch.allclose(sequence_logp(verdicts_reference(), batch).double(), ref_logp[2, places], atol=1e-4)


def test_the_reference_has_learned_the_critics_habits(world, ref_logp):
    mass = lambda prompt, response: ref_logp[world.prompts.index(prompt), world.responses.index(response)].exp()
    assert mass("the acting", "very very great acting") > 2 * mass("the ending", "very very great ending")
    untrained = build_policy("nano", world.tokenizer)
    with torch.no_grad():
        assert kl_divergence(ref_logp, world.logp(untrained).double()).min() > 2


def test_smaller_beta_means_a_farther_optimum(world, ref_logp):
    drift = [kl_divergence(optimal_logp(ref_logp, world.rewards, b), ref_logp).mean() for b in (2, 1, 0.3)]
    assert drift[0] < drift[1] < drift[2]


@pytest.mark.parametrize("labels", ["hard", "soft"])
def test_comparisons_carry_the_reference_s_log_probabilities(world, ref_logp, labels):
    pairs, (chosen, rejected) = draw_comparisons(world, ref_logp, 400, labels, seed=2)
    again, _ = draw_comparisons(world, ref_logp, 400, labels, seed=2)
    assert pairs == again and len(pairs) == 400
    for i in range(0, len(pairs), 50):
        x = world.prompt_ids.index(pairs[i].prompt)
        assert chosen[i] == ref_logp[x, world.index(pairs[i].chosen)].float()
        assert rejected[i] == ref_logp[x, world.index(pairs[i].rejected)].float()


def test_soft_labels_are_bradley_terry_s(world, ref_logp):
    pairs, _ = draw_comparisons(world, ref_logp, 100, "soft", seed=0)
    for pair in pairs:
        x = world.prompt_ids.index(pair.prompt)
        gap = [world.rewards[x, world.index(y)] for y in (pair.chosen, pair.rejected)]
        assert pair.chosen_probability == pytest.approx(preference_probability(*gap).item(), abs=1e-12)
        assert pair.chosen_probability >= 0.5


def test_every_kind_of_response_is_compared(world, ref_logp):
    """A fifth is drawn from all responses alike: of 4,000 draws about 800, which miss few of the 11 first words."""
    pairs, _ = draw_comparisons(world, ref_logp, 2000, "hard", seed=0)
    seen = set(itertools.chain.from_iterable((tuple(p.chosen), tuple(p.rejected)) for p in pairs))
    rare = {y for y in seen if ref_logp[:, world.index(y)].max() < -10}
    assert len(rare) > 100


def test_the_book_s_proposal_is_what_pairs_are_drawn_from_by_default(world, ref_logp):
    book = mixed_proposal(world, ref_logp)
    assert torch.allclose(book.sum(dim=1), torch.ones(3, dtype=torch.float64), atol=1e-5)
    assert draw_comparisons(world, ref_logp, 300)[0] == draw_comparisons(world, ref_logp, 300, proposal=book)[0]


def test_a_proposal_is_mixed_by_shares(world, ref_logp):
    assert torch.allclose(mixed_proposal(world, ref_logp, 1, 0, 0), ref_logp.exp(), rtol=0, atol=1e-15)
    uniform = torch.full_like(ref_logp, 1 / 14_641)
    assert torch.allclose(mixed_proposal(world, ref_logp, 0, 0, 1), uniform, rtol=0, atol=1e-15)
    best = mixed_proposal(world, ref_logp, 0, 1, 0)
    assert (best * world.rewards).sum() > (ref_logp.exp() * world.rewards).sum() + 1
    half = mixed_proposal(world, ref_logp, 0.5, 0.5, 0)
    assert torch.allclose(half, (best + ref_logp.exp()) / 2, rtol=0, atol=1e-15)


def test_shares_that_do_not_sum_to_one_are_refused(world, ref_logp):
    with pytest.raises(ValueError, match=r"must sum to 1, and 0\.5, 0\.4 and 0\.2 do not"):
        mixed_proposal(world, ref_logp, reference=0.5)
