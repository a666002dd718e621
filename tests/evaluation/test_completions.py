"""Completions that a policy drew, kept in a file: killed anywhere, the file ends as in one go."""

import json

import pytest

from dpo_book import build_policy
from dpo_book.data.tokens import prompt_ids
from dpo_book.evaluation import completions
from dpo_book.evaluation.completions import Side, draw_into, drawn_from, plan_draw
from dpo_book.evaluation.samples_file import SamplesError
from dpo_book.maths.require import SettingError
from dpo_book.models.policy import sample
from dpo_book.worlds.verdicts import verdicts

PROMPTS = ["the plot", "the acting", "the plot but", "not the acting", "very good"]


@pytest.fixture(scope="module")
def draw():
    """Five prompts at two temperatures by two policies, two prompts a part: twelve parts, twenty samples."""
    tokenizer = verdicts().tokenizer
    ids = prompt_ids(tokenizer, PROMPTS)
    sides = []
    for seed, name in enumerate(("policy", "against")):
        sides.append(Side(name, build_policy("nano", tokenizer, seed=seed), tokenizer, ids))
    return plan_draw(PROMPTS, sides, (0.0, 1.0), 4, seed=7, at_once=2)


@pytest.fixture(scope="module")
def whole(draw, tmp_path_factory):
    """What the file holds in one go."""
    path = tmp_path_factory.mktemp("whole") / "samples.jsonl"
    assert list(draw_into(path, draw)) == [0, 2, 4, 5, 7, 9, 10, 12, 14, 15, 17, 19, 20]
    return path


def test_they_are_what_sample_draws_in_the_order_of_the_prompts(draw, whole):
    drawn = drawn_from(whole, draw)
    assert list(drawn) == [(0.0, "policy"), (0.0, "against"), (1.0, "policy"), (1.0, "against")]
    for side in draw.parts[0].side, draw.parts[3].side:
        assert drawn[0.0, side.name] == sample(side.policy, side.tokenizer, PROMPTS, 4, temperature=0.0)
    # At temperature 1 a part has the seed of its place: the policy's first one is the seventh.
    side = draw.parts[0].side
    assert drawn[1.0, "policy"][:2] == sample(side.policy, side.tokenizer, PROMPTS[:2], 4, 1.0, seed=7 + 6)
    first, *_ = map(json.loads, whole.read_text().splitlines())
    assert list(first) == ["temperature", "side", "row", "prompt", "completion"]
    assert (first["row"], first["prompt"]) == (1, PROMPTS[0])


@pytest.mark.parametrize("lines", [0, 1, 2, 11, 19, 20])
@pytest.mark.parametrize("torn", [b"", b'{"temperature": 0.0, "si'])
def test_a_killed_draw_goes_on_to_the_same_file(draw, whole, tmp_path, monkeypatch, lines, torn):
    path = tmp_path / "samples.jsonl"
    path.write_bytes(b"".join(whole.read_bytes().splitlines(keepends=True)[:lines]) + torn)
    asked = []
    sample_ids = completions.sample_ids
    monkeypatch.setattr(completions, "sample_ids", lambda *a: asked.append(len(a[1])) or sample_ids(*a))
    first, *_ = held = list(draw_into(path, draw))
    assert path.read_bytes() == whole.read_bytes() and held[-1] == 20
    assert first == {0: 0, 1: 0, 2: 2, 11: 10, 19: 19, 20: 20}[lines]
    assert sum(asked) == 20 - first  # nothing that was whole is drawn again


@pytest.mark.parametrize(
    "line",
    [
        b"nonsense\n",
        b"[]\n",
        b'{"temperature": 0.0, "side": "policy", "row": 2, "prompt": "another", "completion": ""}\n',
        b'{"temperature": 0.0, "side": "policy", "row": 2, "prompt": "the acting", "completion": 1}\n',
    ],
)
def test_what_this_draw_did_not_write_is_refused_by_line_and_left_alone(draw, whole, tmp_path, line):
    path = tmp_path / "samples.jsonl"
    content = whole.read_bytes().splitlines(keepends=True)[0] + line
    path.write_bytes(content)
    with pytest.raises(SamplesError, match=r"samples\.jsonl, line 2: .*begin anew in another folder"):
        next(draw_into(path, draw))
    assert path.read_bytes() == content


def test_more_lines_than_are_wanted_are_refused(draw, whole, tmp_path):
    path = tmp_path / "samples.jsonl"
    lines = whole.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines, lines[0]]))
    with pytest.raises(SamplesError, match="line 21"):
        next(draw_into(path, draw))


def test_settings_are_checked_by_name(draw):
    side = draw.parts[0].side
    with pytest.raises(SettingError, match="max_new_tokens"):
        plan_draw(PROMPTS, [side], (0.0,), 0)
    with pytest.raises(SettingError, match="seed"):
        plan_draw(PROMPTS, [side], (0.0,), 4, seed=-1)
