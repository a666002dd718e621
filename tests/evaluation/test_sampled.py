"""Exact evaluation against brute force; sampled evaluation against the exact numbers of the verdict world."""

import itertools
import math

import pytest
import torch

from dpo_book import build_policy, copy_policy, kl_divergence
from dpo_book.evaluation.sampled import sampled_kl, sampled_reward, sampled_win_rate
from dpo_book.maths.estimates import Estimate
from dpo_book.maths.exact import best_of_n_logp, expected_reward, win_rate
from dpo_book.worlds.verdicts import LENGTH, verdicts

PROMPTS, RESPONSES = 2, 6
# Float64 rounds at 1e-16, and every number is a sum of at most 6³ probabilities.
ROUNDING = {"rtol": 0, "atol": 1e-12}
SAMPLES = 1500  # a prompt


def random_logp(seed, *shape):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*(shape or (PROMPTS, RESPONSES)), generator=generator, dtype=torch.float64).log_softmax(-1)


def rewards_with_ties(seed=0):
    """Whole numbers from 0 to 3: six responses cannot all differ."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 4, (PROMPTS, RESPONSES), generator=generator).double()


def rewards_without_ties(seed=0):
    return random_logp(seed + 50)


REWARDS = pytest.mark.parametrize("make_reward", [rewards_with_ties, rewards_without_ties])


# ------------------------------------------------------------------ exact


def test_expected_reward_is_the_weighted_sum():
    logp, reward = random_logp(0), rewards_with_ties()
    rows = zip(logp.tolist(), reward.tolist(), strict=True)
    by_hand = [sum(math.exp(a) * r for a, r in zip(*row, strict=True)) for row in rows]
    assert expected_reward(logp, reward).tolist() == pytest.approx(by_hand, abs=1e-12)


def win_rate_of_all_pairs(p, q, reward):
    """Every response against every other: a win counts one, a tie half."""
    rate = 0.0
    for a, b in itertools.product(range(len(reward)), repeat=2):
        rate += p[a] * q[b] * (1.0 if reward[a] > reward[b] else 0.5 if reward[a] == reward[b] else 0.0)
    return rate


@REWARDS
@pytest.mark.parametrize("seed", range(3))
def test_win_rate_is_that_of_all_pairs(make_reward, seed):
    logp, other, reward = random_logp(seed), random_logp(seed + 10), make_reward(seed)
    rows = zip(logp.exp().tolist(), other.exp().tolist(), reward.tolist(), strict=True)
    expected = [win_rate_of_all_pairs(p, q, r) for p, q, r in rows]
    assert win_rate(logp, other, reward).tolist() == pytest.approx(expected, abs=1e-12)


@REWARDS
def test_a_policy_wins_half_against_itself(make_reward):
    logp = random_logp(0)
    half = torch.full((PROMPTS,), 0.5, dtype=torch.float64)
    torch.testing.assert_close(win_rate(logp, logp, make_reward()), half, **ROUNDING)


@REWARDS
def test_win_rates_of_two_policies_sum_to_one(make_reward):
    a, b, reward = random_logp(0), random_logp(1), make_reward()
    total = win_rate(a, b, reward) + win_rate(b, a, reward)
    torch.testing.assert_close(total, torch.ones_like(total), **ROUNDING)


def test_where_all_rewards_are_equal_everybody_wins_half():
    same = torch.ones(PROMPTS, RESPONSES, dtype=torch.float64)
    half = torch.full((PROMPTS,), 0.5, dtype=torch.float64)
    torch.testing.assert_close(win_rate(random_logp(0), random_logp(1), same), half, **ROUNDING)


def best_of_all_draws(probability, reward, n):
    """Every sequence of n draws: its probability goes to its best draws, in equal shares a draw."""
    result = [0.0] * len(reward)
    for draws in itertools.product(range(len(reward)), repeat=n):
        best = [y for y in draws if reward[y] == max(reward[i] for i in draws)]
        for y in best:
            result[y] += math.prod(probability[i] for i in draws) / len(best)
    return result


@REWARDS
@pytest.mark.parametrize("n", [1, 2, 3])
def test_best_of_n_is_that_of_all_draws(make_reward, n):
    ref_logp, reward = random_logp(3), make_reward(1)
    found = best_of_n_logp(ref_logp, reward, n).exp()
    for x in range(PROMPTS):
        expected = best_of_all_draws(ref_logp[x].exp().tolist(), reward[x].tolist(), n)
        assert found[x].tolist() == pytest.approx(expected, abs=1e-12)


@REWARDS
@pytest.mark.parametrize("n", [1, 2, 16, 1000])
def test_best_of_n_sums_to_one(make_reward, n):
    total = best_of_n_logp(random_logp(4), make_reward(), n).exp().sum(-1)
    # a power of n multiplies the rounding of a probability by n
    torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-15 * RESPONSES * max(n, 1000))


@REWARDS
def test_the_best_of_one_is_the_reference(make_reward):
    ref_logp = random_logp(5)
    torch.testing.assert_close(best_of_n_logp(ref_logp, make_reward(), 1), ref_logp, **ROUNDING)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n", [1, 4])
def test_the_best_response_is_found_n_times_as_often_however_rare_it_is(dtype, n):
    rare = -60.0  # nats: far below the rounding of the probabilities beside it, well above the smallest float
    ref_logp = torch.tensor([math.log(0.5), math.log(0.5), rare], dtype=dtype)
    reward = torch.tensor([0.0, 1.0, 2.0], dtype=dtype)
    found = best_of_n_logp(ref_logp, reward, n)[2].item()
    assert found == pytest.approx(rare + math.log(n), abs=1e-5)  # float32 rounds 60 at 4e-6


def test_more_draws_are_never_worse():
    ref_logp, reward = random_logp(6), rewards_without_ties()
    earned = torch.stack([expected_reward(best_of_n_logp(ref_logp, reward, n), reward) for n in (1, 2, 4, 8, 64)])
    assert (earned.diff(dim=0) > 0).all()


@pytest.mark.parametrize("n", [0, -1])
def test_the_best_of_nothing_is_refused(n):
    with pytest.raises(ValueError, match=f"n must be a whole number of at least 1, got {n}"):
        best_of_n_logp(random_logp(0), rewards_with_ties(), n)


# ------------------------------------------------------------------ sampled


@pytest.fixture(scope="module")
def policies():
    """An untrained nano policy, a blurred copy of it, and both over all responses."""
    reference = build_policy("nano", verdicts().tokenizer)
    policy = copy_policy(reference)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
        return policy, reference, verdicts().logp(policy).double(), verdicts().logp(reference).double()


def lies_within_4_standard_errors(estimate, exact):
    """True for all but one draw in 16,000; the seeds are fixed, so a run that passes keeps passing."""
    return abs(estimate.mean - exact) < 4 * estimate.standard_error


def test_sampled_kl_lies_about_the_exact_one(policies):
    policy, reference, logp, ref_logp = policies
    exact = kl_divergence(logp, ref_logp).mean().item()
    estimate = sampled_kl(policy, reference, verdicts().prompt_ids * SAMPLES, LENGTH)
    assert lies_within_4_standard_errors(estimate, exact)
    assert 0 < estimate.standard_error < exact / 10  # it does say something


def test_sampled_kl_of_a_policy_to_itself_is_zero(policies):
    _, reference, _, _ = policies
    estimate = sampled_kl(reference, copy_policy(reference), verdicts().prompt_ids, LENGTH)
    assert estimate == Estimate(0.0, 0.0)


def test_the_standard_error_of_sampled_kl_is_the_exact_one(policies):
    policy, reference, logp, ref_logp = policies
    ratio = logp[0] - ref_logp[0]
    mean = (logp[0].exp() * ratio).sum()
    exact = ((logp[0].exp() * (ratio - mean) ** 2).sum() / SAMPLES) ** 0.5
    estimate = sampled_kl(policy, reference, verdicts().prompt_ids[:1] * SAMPLES, LENGTH, seed=1)
    # the relative error of a standard deviation is about 1/√(2n), 2 %, and twice that for long tails
    assert estimate.standard_error == pytest.approx(exact.item(), rel=0.15)


def test_sampled_reward_lies_about_the_exact_one(policies):
    policy, _, logp, _ = policies
    world = verdicts()
    exact = expected_reward(logp, world.rewards).mean().item()
    estimate = sampled_reward(policy, world.tokenizer, list(world.prompts) * SAMPLES, world.reward, LENGTH)
    assert lies_within_4_standard_errors(estimate, exact)
    assert estimate.standard_error < 0.05


def test_the_same_seed_gives_the_same_estimate(policies):
    policy, reference, _, _ = policies
    prompts = verdicts().prompt_ids * 20
    first, again, other = (sampled_kl(policy, reference, prompts, LENGTH, seed=seed) for seed in (3, 3, 4))
    assert first == again != other


def test_sampled_win_rate_counts_ties_half():
    estimate = sampled_win_rate([1.0, 2.0, 0.0, 5.0], [0.0, 2.0, 3.0, 4.0])
    assert estimate.mean == pytest.approx(0.625)
    deviations = [0.375, -0.125, -0.625, 0.375]
    assert estimate.standard_error == pytest.approx(math.sqrt(sum(d * d for d in deviations) / 3 / 4))


def test_one_sample_has_no_standard_error():
    with pytest.raises(ValueError, match="at least two samples"):
        sampled_win_rate([1.0], [0.0])


def test_an_estimate_reads_as_mean_and_standard_error():
    assert str(Estimate(0.123456, 0.0345)) == "0.12 ± 0.03"
