"""Human ratings: read as the lexicon has them, compared as the file says, fitted and tested on held-out raters."""

import math
from collections import Counter

import pytest
import torch
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from dpo_book.maths.bradley_terry import fit_rewards, preference_probability
from dpo_book.worlds.ratings import load_ratings, parse_lexicon, rankings, wins

# From very good to very bad, with "intense", "silly" and "strange" between, on which raters do not agree.
WORDS = (
    *("best", "great", "excellent", "good", "nice", "interesting", "okay", "intense", "silly"),
    *("strange", "boring", "dull", "bad", "terrible", "horrible", "worst"),
)
LINE = "good\t1.9\t0.9\t[2, 1, 1, 3, 2, 4, 2, 2, 1, 1]"


@pytest.fixture
def all_ratings():
    return torch.tensor(list(load_ratings().values()), dtype=torch.float64)


# ------------------------------------------------------------------ the lexicon


def test_the_lexicon_has_ten_ratings_of_7506_words(all_ratings):
    assert all_ratings.shape == (7506, 10)
    assert all_ratings.min() == -4 and all_ratings.max() == 4


def test_means_are_the_stated_ones_but_for_one_word():
    stated = SentimentIntensityAnalyzer().lexicon  # where a word stands twice, its later line
    ratings = load_ratings()
    assert stated.keys() == ratings.keys()
    off = {word for word in ratings if abs(sum(ratings[word]) / 10 - stated[word]) > 1e-9}
    assert off == {"lmfao"}  # its ratings have mean 2.4, the file says 2.5


def test_a_word_listed_twice_keeps_its_later_ratings():
    assert load_ratings()["lol"] == (1, 3, 4, 1, 2, 4, 1, 2, -1, 1)


def test_no_word_has_mean_zero_or_ratings_too_far_apart(all_ratings):
    assert all_ratings.mean(dim=1).abs().min() > 0.05  # the nearest possible is 0.1
    assert all_ratings.std(dim=1, correction=0).max() <= 2.5


def test_a_column_is_not_one_person(all_ratings):
    # A person who rates high would do so for many words. Over 7,505 pairs of unlike words a correlation of
    # zero has standard error 0.0115 in one column, 0.004 in the mean of ten: 0.02 is five of those.
    deviations = all_ratings - all_ratings.mean(dim=1, keepdim=True)
    deviations = deviations[torch.randperm(len(deviations), generator=torch.Generator().manual_seed(0))]
    between_words = torch.corrcoef(torch.cat([deviations[:-1], deviations[1:]], dim=1).T)[:10, 10:]
    assert between_words.diagonal().mean().abs() < 0.02


def test_ratings_cannot_be_changed_by_accident():
    with pytest.raises(TypeError):
        load_ratings()["good"] = (4,) * 10


@pytest.mark.parametrize(
    "line",
    [
        "bad",
        "bad\t-2.5\t0.7",
        "bad\t-2.5\t0.7\t[-3, -2",
        "bad\t-2.5\t0.7\t7",
        "bad\t-2.5\t0.7\t[-3, -2]",
        "bad\t-2.5\t0.7\t[-5, -2, -4, -3, -2, -2, -3, -2, -2, -2]",
        "bad\t-2.5\t0.7\t[-2.5, -2, -4, -3, -2, -2, -3, -2, -2, -2]",
        "",
    ],
)
def test_a_malformed_line_is_named(line):
    with pytest.raises(ValueError, match=r"vader_lexicon\.txt, line 2: ") as error:
        parse_lexicon(f"{LINE}\n{line}\n{LINE}\n")
    assert repr(line) in str(error.value)


# ------------------------------------------------------------------ wins


def test_every_rating_of_one_word_meets_every_rating_of_the_other():
    ratings, words = load_ratings(), ("great", "good", "okay")
    expected = [[sum((x > y) + (x == y) / 2 for x in ratings[a] for y in ratings[b]) for b in words] for a in words]
    torch.testing.assert_close(
        wins(words), torch.tensor(expected, dtype=torch.float64).fill_diagonal_(0), rtol=0, atol=0
    )


@pytest.mark.parametrize("raters", [range(10), range(5), (3,), (0, 2, 9)])
def test_wins_of_two_words_add_up_to_all_comparisons(raters):
    counts = wins(WORDS, raters)
    both = len(raters) ** 2 * (1 - torch.eye(len(WORDS), dtype=torch.float64))
    assert torch.equal(counts + counts.T, both)


def test_rewards_fitted_to_people_order_the_words_as_people_do():
    reward = dict(zip(WORDS, fit_rewards(wins(WORDS)).tolist(), strict=True))
    ladder = ["great", "good", "okay", "strange", "dull", "bad", "worst"]
    assert ladder == sorted(ladder, key=reward.__getitem__, reverse=True)
    assert reward["good"] > 0 > reward["horrible"]


def test_words_that_never_lose_to_the_others_have_no_fit():
    with pytest.raises(ValueError, match="no chain of wins"):
        fit_rewards(wins(["great", "nice", "dull", "horrible"]))


def test_a_word_that_divides_the_raters_connects_the_groups():
    # Somebody gave "silly" a 2, as "great" got once, and somebody a −2, as "horrible" did.
    assert fit_rewards(wins(["great", "nice", "silly", "dull", "horrible"])).isfinite().all()


def test_rewards_fitted_to_five_raters_predict_the_other_five():
    rewards = fit_rewards(wins(WORDS, range(5)))
    p = preference_probability(rewards[:, None], rewards[None, :])
    held_out = wins(WORDS, range(5, 10)) / 25
    off_diagonal = ~torch.eye(len(WORDS), dtype=torch.bool)
    # A share of 25 comparisons of five raters with five others is itself off by about 0.1 where words are close;
    # knowing nothing (p = 1/2) is off by about 0.4.
    assert (p - held_out)[off_diagonal].abs().mean() < 0.12
    assert (0.5 - held_out)[off_diagonal].abs().mean() > 0.3


# ------------------------------------------------------------------ rankings


def test_comparisons_fall_as_often_as_wins_say():
    words, n = ("good", "nice", "okay"), 6000
    counts = Counter(rankings(words, n))
    expected = wins(words) / 100
    for i, a in enumerate(words):
        for j, b in enumerate(words):
            if i < j:
                games = counts[a, b] + counts[b, a]
                p = expected[i, j].item()
                assert abs(counts[a, b] / games - p) < 4 * math.sqrt(p * (1 - p) / games)  # 4 standard errors


def test_rankings_hold_different_words_and_depend_on_the_seed_alone():
    drawn = rankings(WORDS, 50, length=4, seed=1)
    assert len(drawn) == 50 and all(len(set(ranking)) == 4 for ranking in drawn)
    assert drawn == rankings(WORDS, 50, length=4, seed=1) != rankings(WORDS, 50, length=4, seed=2)


def test_a_ranking_goes_from_the_best_to_the_worst():
    assert set(rankings(["horrible", "okay", "great"], 20, length=3)) == {("great", "okay", "horrible")}


def test_rankings_show_only_the_ratings_of_the_raters_asked():
    # Rater 1 gave "nice" and "good" a 1 each, rater 0 a 3 and a 2.
    assert set(rankings(["nice", "good"], 20, raters=[0])) == {("nice", "good")}
    assert len(set(rankings(["nice", "good"], 20, raters=[1]))) == 2  # a tie falls either way


# ------------------------------------------------------------------ what cannot be answered


def test_an_unknown_word_is_named_with_its_neighbours():
    with pytest.raises(ValueError, match=r"'excelent' is not in VADER's lexicon; near it are excellent"):
        wins(["good", "excelent"])
    with pytest.raises(ValueError, match=r"'Good' .* near it are good"):
        wins(["Good", "bad"])
    with pytest.raises(ValueError, match=r"nothing like it"):
        wins(["good", "0123456789"])


@pytest.mark.parametrize("raters", [(), (10,), (-1,), (1, 1)])
def test_raters_that_do_not_exist_are_refused(raters):
    with pytest.raises(ValueError, match="different columns from 0 to 9"):
        wins(["good", "bad"], raters)


def test_a_word_is_not_compared_with_itself():
    with pytest.raises(ValueError, match="has one twice"):
        wins(["good", "bad", "good"])


@pytest.mark.parametrize("length", [0, 1, 3])
def test_rankings_need_enough_words(length):
    with pytest.raises(ValueError, match="a ranking needs from 2 words to all 2"):
        rankings(["good", "bad"], 1, length=length)
