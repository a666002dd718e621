"""The commands of ``python -m dpo_book``: those that train, report, evaluate, judge, label, sample, frontier.

Each is a function; its parameters, and the fields of the dataclasses among them, are its options. What a command
needs is imported when it runs, models and training after the data were read: help and the answer to a slip come
without torch.
"""

import json

import tyro

from dpo_book.cli.boundary import Refused, entering
from dpo_book.cli.frontier import frontier
from dpo_book.cli.judge import judge
from dpo_book.cli.label import label
from dpo_book.cli.options import DataOptions, Name, UserPathOrNone
from dpo_book.cli.prompts import read_prompts
from dpo_book.cli.report import report
from dpo_book.cli.train import dpo, reward, sft
from dpo_book.maths.require import require_beta, require_count, require_seed, require_temperature


def evaluate(
    data: DataOptions,
    policy: Name,
    reference: Name,
    beta: float = 0.1,
    samples: int = 64,
    max_new_tokens: int = 48,
    seed: int = 0,
) -> None:
    """Measure a policy on held-out preferences: accuracy, margin, KL to the reference, each with 95 % intervals.

    Args:
        policy: hub id, folder or .gguf file.
        reference: the policy that it was trained from.
        beta: of its training; the margin is in its unit.
        samples: completions drawn for the KL.
        max_new_tokens: where they are cut.
        seed: of the samples.
    """
    require_beta(beta)
    require_count("samples", samples, least=2)
    require_count("max_new_tokens", max_new_tokens)
    require_seed("seed", seed)
    from dpo_book.cli.data import Data

    preferences = Data(data)

    from dpo_book.cli.models import load, load_reference, room, with_room
    from dpo_book.evaluation.held_out import drift, held_out

    model, tokenizer = load(policy)
    near = load_reference(reference, model, tokenizer)
    context = room(model, near)
    pairs = preferences.pairs(near, tokenizer, context)
    if len(pairs) < 2:
        raise Refused(f"{data.source or data.data} holds one pair: an interval needs two or more")
    distinct = dict.fromkeys(tuple(pair.prompt) for pair in pairs)
    prompts = with_room([list(prompt) for prompt in distinct], context, max_new_tokens)
    with entering("the policy", policy, ValueError):
        measured = held_out(model, near, pairs, beta)
        measured["KL to the reference, nats"] = drift(model, near, prompts, samples, max_new_tokens, seed)
    print(f"{len(pairs)} pairs")
    for name, value in measured.items():
        print(f"{name}: {value}")


def sample(
    prompts: tyro.conf.Positional[tuple[str, ...]] = (),
    *,
    policy: Name,
    file: UserPathOrNone = None,
    max_new_tokens: int = 48,
    temperature: float = 1.0,
    seed: int = 0,
) -> None:
    """Write what a policy says to prompts, as JSON lines {"prompt", "completion"}.

    Args:
        prompts: the prompts, each in quotes.
        policy: hub id, folder or .gguf file.
        file: more prompts, one a line.
        max_new_tokens: where a completion is cut.
        temperature: 1 draws from the policy itself, 0 takes the likeliest token.
        seed: of the draws.
    """
    asked = read_prompts(prompts, file)
    require_count("max_new_tokens", max_new_tokens)
    require_temperature(temperature)
    require_seed("seed", seed)
    from dpo_book.cli.models import check_room, load
    from dpo_book.models.policy import sample as draw

    model, tokenizer = load(policy)
    check_room(model, tokenizer, asked, max_new_tokens)
    for start in range(0, len(asked), 64):
        batch = asked[start : start + 64]
        with entering("the policy", policy, ValueError):
            completions = draw(model, tokenizer, batch, max_new_tokens, temperature, seed + start)
        for prompt, completion in zip(batch, completions, strict=True):
            print(json.dumps({"prompt": prompt, "completion": completion}, ensure_ascii=False))


COMMANDS = (sft, reward, dpo, report, evaluate, judge, label, sample, frontier)
