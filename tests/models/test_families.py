"""Every causal family of transformers, tiny: log-probabilities are those of the row alone, samples the argmax."""

from collections import Counter

import pytest
import torch
from transformers.utils import logging

from dpo_book import Pair, collate, sequence_logp
from dpo_book.models.sampling import sample_ids
from dpo_book.models.scoring import score_pairs
from dpo_book.models.traits import traits_of
from tests.models.families import V, all_built, naive_logits
from tests.models.test_logprobs import pad

# Nats. float32 through a dozen matrix products keeps five digits of sums over seven tokens of up to 20 nats each.
CLOSE = 1e-4
LEAST_RIGHT = 130
LARGEST_UNBUILT = 30
NEW_TOKENS = 3


def ids(length, seed):
    return torch.randint(3, V, (length,), generator=torch.Generator().manual_seed(seed)).tolist()


# Rows of unlike lengths, one beyond a window of 8, and two prompts of one length.
ROWS = [(ids(3, 0), ids(2, 1)), (ids(12, 2), ids(7, 3)), (ids(1, 4), ids(6, 5)), (ids(3, 6), ids(1, 7))]
PAIRS = [Pair(x, y, ids(4, 8)) for x, y in ROWS]


def naive_logp(model, x, y):
    table = naive_logits(model, x + y).log_softmax(dim=-1)
    return table[range(len(x) - 1, len(x + y) - 1), y].sum()


def naive_logps(model, rows):
    return torch.stack([naive_logp(model, x, y) for x, y in rows])


def naive_greedy(model, prompt):
    said = []
    while len(said) < NEW_TOKENS:
        said.append(int(naive_logits(model, prompt + said)[-1].argmax()))
    return said


@torch.no_grad()
def faults_of(model):
    """What of a causal model is not what its rows are alone: one line each."""
    expected = naive_logps(model, ROWS)
    found = {
        "collated": sequence_logp(model, collate(*zip(*ROWS, strict=True))),
        "padded on the right": sequence_logp(model, pad(ROWS, "right", filler=7)),
        "padded on both sides": sequence_logp(model, pad(ROWS, "both")),
    }
    chosen, rejected = score_pairs(model, PAIRS)
    found["chosen"] = chosen
    faults = [
        f"{way}: off by {(logp - expected).abs().max():.1e}" for way, logp in found.items() if far(logp, expected)
    ]
    if far(rejected, naive_logps(model, [(pair.prompt, pair.rejected) for pair in PAIRS])):
        faults.append("rejected")
    prompts = [x for x, _ in ROWS]
    greedy = [naive_greedy(model, prompt) for prompt in prompts]
    if sample_ids(model, prompts, NEW_TOKENS, temperature=0) != greedy:
        faults.append("sampled together")
    if sample_ids(model, prompts[1:2], NEW_TOKENS, temperature=0) != greedy[1:2]:
        faults.append("sampled alone")
    return faults


def far(one, other):
    return not torch.allclose(one, other, rtol=0, atol=CLOSE)


@pytest.fixture
def silence():
    """transformers says a great deal about small shapes."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    yield
    logging.set_verbosity(verbosity)


def test_every_family_is_right_or_refused(silence):
    right, refused, faulty, unbuilt = [], {}, {}, {}
    for name, model in all_built():
        if isinstance(model, Exception):
            unbuilt[name] = type(model).__name__
            continue
        try:
            causal = traits_of(model).causal
            faults = faults_of(model) if causal else []
        except Exception as error:
            faulty[name] = [f"{type(error).__name__}: {error}"]
            continue
        if not causal:
            with pytest.raises(ValueError, match=f"{type(model).__name__} is not a causal language model"):
                sequence_logp(model, collate(*zip(*ROWS, strict=True)))
            refused[name] = "not causal"
        elif faults:
            faulty[name] = faults
        else:
            right.append(name)
    print(f"\nright ({len(right)}): {', '.join(right)}")
    print(f"refused ({len(refused)}): {refused}")
    print(f"not to be built by changing numbers ({len(unbuilt)}): {Counter(unbuilt.values())}, {', '.join(unbuilt)}")
    assert not faulty
    assert len(right) >= LEAST_RIGHT and len(unbuilt) <= LARGEST_UNBUILT
