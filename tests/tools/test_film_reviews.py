"""Made-up film reviews are read as IMDb's are."""

import json

import pytest

from dpo_book.data.paper_sets import imdb_reviews
from dpo_book.worlds.imdb import sentiment_reward
from tools.film_reviews import film_reviews


def test_both_splits_are_read_and_labelled_by_sentiment(tmp_path):
    film_reviews(tmp_path, train=30, test=10)
    assert (len(imdb_reviews(tmp_path)), len(imdb_reviews(tmp_path, "test"))) == (30, 10)
    assert set(imdb_reviews(tmp_path)) != set(imdb_reviews(tmp_path, "test"))
    rows = [json.loads(line) for line in (tmp_path / "train.jsonl").read_text().splitlines()]
    assert {row["label"] for row in rows} == {0, 1}
    vader = sentiment_reward("vader")
    assert all(row["label"] == (vader(row["text"], "") > 0) for row in rows)


def test_a_number_of_reviews_that_cannot_be_is_refused(tmp_path):
    with pytest.raises(ValueError, match="test must be a whole number of at least 1"):
        film_reviews(tmp_path / "new", test=0)
    assert not (tmp_path / "new").exists()
