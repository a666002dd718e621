"""Loading a reward model: the same rewards as before, and no head of random numbers."""

import pytest
import torch

from dpo_book import build_policy, build_reward_model, load_reward_model, sequence_reward
from dpo_book.models.batch import collate
from dpo_book.models.reward_loading import NotARewardModelError
from dpo_book.worlds.verdicts import verdicts


@pytest.fixture
def policy():
    return build_policy("nano", verdicts().tokenizer, seed=0)


def test_a_saved_one_gives_the_same_rewards(policy, tmp_path):
    model = build_reward_model(policy, seed=1).eval()
    model.save_pretrained(tmp_path)
    verdicts().tokenizer.save_pretrained(tmp_path)
    loaded, tokenizer = load_reward_model(tmp_path)
    ids = tokenizer(["the plot", "very good"]).input_ids
    batch = collate(ids[:1], ids[1:])
    assert torch.equal(sequence_reward(loaded, batch), sequence_reward(model, batch))


def test_a_policy_several_labels_and_no_folder_are_refused(policy, tmp_path):
    policy.save_pretrained(tmp_path)
    verdicts().tokenizer.save_pretrained(tmp_path)
    with pytest.raises(NotARewardModelError, match=r"it lacks score\.weight"):
        load_reward_model(tmp_path)
    model = build_reward_model(policy)
    model.config.num_labels = 3
    model.score = torch.nn.Linear(64, 3, bias=False)
    model.save_pretrained(tmp_path)
    with pytest.raises(NotARewardModelError, match="it has 3 labels"):
        load_reward_model(tmp_path)
    with pytest.raises(NotARewardModelError, match="none"):
        load_reward_model(tmp_path / "none")
