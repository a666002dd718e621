"""Completions drawn from the model's own softmax, and from nothing else.

``generate`` of transformers draws them. How it has to be asked so that it continues every prompt as the model's own
logits say is found out by trying, as ``traits.py`` finds out what a model is.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from transformers import GenerationConfig, PreTrainedModel

from dpo_book.maths.require import require_count, require_temperature
from dpo_book.models.quiet import quiet
from dpo_book.models.traits import (
    LONGEST,
    TOLERANCE,
    context_of,
    require_causal,
    states_agree,
    trial_rows,
)
from dpo_book.system.devices import forked_rng

# Logits are float32: divided by less than this they would overflow, and long before that every token but the
# likeliest has probability 0.
COLDEST = 1e-30


@dataclass(frozen=True)
class Way:
    """How to ask ``generate``. together: prompts of unlike lengths in one batch, padded on the left; else only those
    of one length. cached: what was read of a row is kept, and not read anew for every token."""

    together: bool
    cached: bool


@torch.no_grad()
def sample_ids(
    policy: PreTrainedModel,
    prompts: Sequence[list[int]],
    max_new_tokens: int,
    temperature: float = 1.0,
    seed: int = 0,
) -> list[list[int]]:
    """One completion a prompt as token ids, ending with EOS if it came; temperature 0 takes the likeliest token.

    Each token is drawn from softmax(logits / temperature) over the whole vocabulary: a top-k or top-p cut
    would draw from another policy than the one whose log-probabilities are trained. So whatever the model's own
    generation_config says, but for where to stop, does not count.

    Raises ValueError for a temperature below 0, a prompt without tokens or without room for ``max_new_tokens``, and a
    model that is not causal or that ``generate`` does not continue as its own logits say.
    """
    require_temperature(temperature)
    require_count("max_new_tokens", max_new_tokens)
    if not prompts or not all(prompts):
        raise ValueError("every prompt needs at least one token to be continued")
    longest = max(len(prompt) for prompt in prompts)
    context = context_of(policy)
    if context is not None and longest + max_new_tokens - 1 > context:  # the last token is said and not read
        raise ValueError(
            f"a prompt of {longest} tokens and {max_new_tokens} new ones do not fit in the policy's {context} "
            "positions"
        )

    if longest + max_new_tokens < require_causal(policy).steady_below:
        way = way_of(policy)
        parts = _parts(way, prompts)
    else:
        way = Way(together=False, cached=False)
        parts = [[i] for i in range(len(prompts))]
    ends = end_ids(policy)
    completions: list[list[int]] = [[]] * len(prompts)
    with forked_rng():
        torch.manual_seed(seed)
        for rows in parts:
            settings = _plain_generation(max_new_tokens, float(temperature), ends, way)
            asked = [prompts[row] for row in rows]
            drawn = _generate(policy, asked, settings)[:, max(map(len, asked)) :]
            for row, ids in zip(rows, drawn.tolist(), strict=True):
                completions[row] = _until(ends, ids)
    return completions


def end_ids(model: PreTrainedModel) -> set[int]:
    """Where the model's own files say that a completion ends: at one token, several (Llama 3), or none.

    Ids that are no token of the model, as -1 for none, never come and are left out. Raises ValueError, naming the
    file, for what is no id at all.
    """
    words = range(model.get_input_embeddings().weight.shape[0])
    ends: set[int] = set()
    for file, settings in (("generation_config", model.generation_config), ("config", model.config)):
        ids = getattr(settings, "eos_token_id", None)
        listed = ids if isinstance(ids, (list, tuple)) else [] if ids is None else [ids]
        if any(type(token) is not int for token in listed):  # True is an int to isinstance
            raise ValueError(f"eos_token_id in {file}.json must be a token id or a list of them; got {ids!r}")
        ends.update(token for token in listed if token in words)
    return ends


def _parts(way: Way, prompts: Sequence[Sequence[int]]) -> list[list[int]]:
    """Which prompts go into a batch together."""
    if way.together:
        return [list(range(len(prompts)))]
    rows_of: dict[int, list[int]] = {}
    for row, prompt in enumerate(prompts):
        rows_of.setdefault(len(prompt), []).append(row)
    return list(rows_of.values())


def _plain_generation(max_new_tokens: int, temperature: float, ends: set[int], way: Way) -> GenerationConfig:
    """Draw from the softmax and nothing else. What is left unset is neutral: see ``_without_habits``."""
    drawn = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
    return GenerationConfig(
        max_new_tokens=max_new_tokens,
        eos_token_id=sorted(ends) or None,
        pad_token_id=min(ends, default=0),
        use_cache=way.cached,
        **(drawn if temperature >= COLDEST else {"do_sample": False}),
    )


def _generate(model: PreTrainedModel, prompts: Sequence[Sequence[int]], settings: GenerationConfig):
    """What ``generate`` returns for these prompts, padded on the left to one width if there is need.

    Quietly: it leaves a mask out where all tokens count, and then warns that there is none.
    """
    width = max(map(len, prompts))
    input_ids = torch.tensor([[0] * (width - len(prompt)) + list(prompt) for prompt in prompts])
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    attention_mask = (torch.arange(width) >= width - lengths[:, None]).long()
    with _without_habits(model), quiet():
        return model.generate(
            input_ids=input_ids.to(model.device),
            attention_mask=attention_mask.to(model.device),
            generation_config=settings,
        )


@contextmanager
def _without_habits(model: PreTrainedModel) -> Iterator[None]:
    """Its own generation_config put aside: ``generate`` fills in from there whatever a call leaves unset.

    Hub models come with a top-p or a repetition penalty, and every version of transformers knows more such keys.
    """
    habits = model.generation_config
    model.generation_config = GenerationConfig()
    try:
        yield
    finally:
        model.generation_config = habits


def _until(ends: set[int], ids: list[int]) -> list[int]:
    """Up to and with the first EOS; what generate padded after it is no part of the completion."""
    return next((ids[: i + 1] for i, token in enumerate(ids) if token in ends), ids)


# ------------------------------------------------------------------ which way

_FOUND: WeakKeyDictionary[PreTrainedModel, Way] = WeakKeyDictionary()


def way_of(model: PreTrainedModel) -> Way:
    """The quickest way that follows the model's own logits, tried at the first call; ValueError if none does."""
    if model not in _FOUND:
        _FOUND[model] = _tried(model)
    return _FOUND[model]


@torch.no_grad()
def _tried(model: PreTrainedModel) -> Way:
    ways = [Way(together=False, cached=True), Way(together=False, cached=False)]
    if require_causal(model).hides_padding:
        ways.insert(0, Way(together=True, cached=True))
    was_training = model.training
    model.eval()
    try:
        with forked_rng():
            for way in ways:
                if _goes(model, way):
                    return way
    finally:
        model.train(was_training)
    raise ValueError(
        f"{type(model).__name__} cannot be sampled from: transformers' generate does not continue a prompt as the "
        "model's own logits say"
    )


def _goes(model: PreTrainedModel, way: Way) -> bool:
    """Whether some prompts, two of one length, are continued by the logits of whole rows, alone and not cached."""
    context = context_of(model) or 2 * LONGEST
    prompts = []
    for row in trial_rows(model):
        prompts.append(row[: max(1, context // 2)].tolist())
    prompts.append(prompts[1][::-1])
    new_tokens = max(1, min(3, context - len(prompts[0])))
    settings = _plain_generation(new_tokens, 0, set(), way)
    settings.return_dict_in_generate = settings.output_logits = True
    found, alone = [], []
    for rows in _parts(way, prompts):
        asked = [prompts[row] for row in rows]
        try:
            output = _generate(model, asked, settings)
        except Exception:  # of any class: every architecture has its own way of refusing a cache
            return False
        logits = torch.stack(output.logits, dim=1)  # (B, new tokens, V)
        for prompt, sequence, its_logits in zip(asked, output.sequences, logits, strict=True):
            whole = sequence[None, -len(prompt) - new_tokens : -1]
            logits_alone = model(input_ids=whole, attention_mask=torch.ones_like(whole), use_cache=False).logits
            alone.append(logits_alone[0, -new_tokens:])
            found.append(its_logits)
    alone = torch.cat(alone)
    return states_agree(torch.cat(found), alone, alone, TOLERANCE[model.dtype])
