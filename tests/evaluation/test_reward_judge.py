"""A reward model as a judge: in the tokens that it was trained on, in batches, each text as if alone."""

import pytest

from dpo_book import Preference, build_policy, build_reward_model, tokenize_pairs, train_tokenizer
from dpo_book.evaluation.judges import JudgeError, Shown
from dpo_book.evaluation.reward_judge import reward_model_judge, token_rows
from dpo_book.models.reward_model import rewards_of
from dpo_book.worlds.verdicts import verdicts

TEXTS = ["A dull film.", "Great!", "The plot was not very good but the acting was.", "Bad, bad, bad."]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([*TEXTS, "I saw it twice."] * 3, vocab_size=300)


@pytest.fixture(scope="module")
def model(tokenizer):
    return build_reward_model(build_policy("mini", tokenizer, seed=0), seed=1)


@pytest.mark.parametrize("prompt", ["I saw it twice. ", ""])
def test_texts_are_in_the_tokens_of_the_pairs_that_reward_models_learn_from(tokenizer, prompt):
    rows = token_rows(tokenizer, [prompt] * 2, TEXTS[:2], None)
    (pair,) = tokenize_pairs([Preference(prompt, *TEXTS[:2])], tokenizer)
    assert rows == [(pair.prompt, pair.chosen), (pair.prompt, pair.rejected)]


def test_the_higher_reward_wins_whatever_the_batches(model, tokenizer):
    rewards = {}
    for text in TEXTS:
        ((x, y),) = token_rows(tokenizer, ["I saw it. "], [text], None)
        rewards[text] = rewards_of(model, [x], [y]).item()
    shown = [Shown("I saw it. ", first, second) for first in TEXTS for second in TEXTS]
    expected = []
    for _, first, second in shown:
        difference = rewards[first] - rewards[second]
        assert difference == 0 or abs(difference) > 1e-4  # far above what a batch's order of sums changes
        expected.append("tie" if difference == 0 else "first" if difference > 0 else "second")
    for batch_size in (1, 3, 64):
        answers = reward_model_judge(model, tokenizer, batch_size)(shown)
        assert [answer.place for answer in answers] == expected


def test_a_text_without_words_is_judged_too(model, tokenizer):
    world = verdicts()  # whose tokenizer has no EOS, so that nothing is left of it
    plain = build_reward_model(build_policy("nano", world.tokenizer, seed=0), seed=1)
    for judge in (reward_model_judge(model, tokenizer), reward_model_judge(plain, world.tokenizer)):
        (answer,) = judge([Shown("the plot", "", "")])
        assert answer.place == "tie"


def test_a_text_is_cut_at_the_context_and_a_prompt_that_fills_it_is_refused(model, tokenizer):
    rows = token_rows(tokenizer, ["I"], [TEXTS[2]], context=6)
    (whole,) = token_rows(tokenizer, ["I"], [TEXTS[2]], context=None)
    assert rows == [(whole[0], whole[1][: 6 - len(whole[0])])]
    context = model.config.n_positions
    with pytest.raises(
        JudgeError, match=rf'the prompt "bad bad .* and the reward model\'s context {context}: no room'
    ):
        reward_model_judge(model, tokenizer)([Shown("bad " * context, "good", "bad")])
