"""What the tests of every world of open text ask of its tokens."""


def assert_a_token_a_word_in_two_parts_as_whole(world, texts, longest_prompt):
    """Prompt and response have the ids of their one text, a token each word, comma and full stop."""
    for (prompt, response), (x, y) in zip(texts, world.tokenize(texts), strict=True):
        assert x + y[:-1] == world.tokenizer(prompt + response).input_ids and y[-1] == world.tokenizer.eos_token_id
        words = len(response.split()) + sum(response.count(mark) for mark in ".,")
        assert len(y) - 1 == words and len(x) <= longest_prompt
        assert world.tokenizer.decode(x) == prompt and world.tokenizer.decode(y[:-1]) == response


def assert_responses_fit(world, texts):
    """All but one in a thousand, at most."""
    lengths = [len(y) for _, y in world.tokenize(texts)]
    assert sum(length > world.max_new_tokens for length in lengths) <= len(texts) / 1000
