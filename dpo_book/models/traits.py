"""What a causal language model is: found by trying it on a few short rows, and remembered as long as
the model lives.

No list of architectures says it: new ones come with every version of transformers, and one configuration of a family
may do what another does not.
"""

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel

from dpo_book.models.head import has_linear_head
from dpo_book.models.last_block import fed_forward_at, feed_forward_layer, unknown_elsewhere
from dpo_book.system.devices import forked_rng
from dpo_book.system.hub import first_line
from dpo_book.system.processes import unsharded

# What families call the length of their context, where it is not the first of these by another name (n_positions):
# most, MPT, Whisper's decoder.
CONTEXT = ("max_position_embeddings", "max_seq_len", "max_target_positions")
LONGEST = 8  # tokens of the longest row: enough to tell, and quick also for GPT-2's 124M parameters
# How far what is made of a token may be from what it is alone, as a share of how far tokens are from each other:
# many times what another order of sums makes, and far below what a token does that should not be seen.
TOLERANCE = {torch.float64: 1e-7, torch.float32: 3e-5, torch.bfloat16: 5e-2, torch.float16: 1e-2}


@dataclass(frozen=True)
class Traits:
    """What a model is, whatever its weights.

    causal: no token sees one that comes after it, so that Σ_y π(y|x) = 1.
    hides_padding: in a batch a row is what it is alone wherever its padding stands, given its mask and positions.
    steady_below: rows of fewer tokens than this are in a batch, padded on the right, what they are alone. ``inf`` for
    most; 0 for a model whose rows mix in other ways; in between where a row's length decides, as with some rotary
    embeddings.
    linear_head: its logits are W h and nothing more.
    attends_by_mask: by its configuration, the mask alone decides what a token sees.
    feeds_forward_by_token: its last block's feed-forward layer may be run for those tokens alone that are read.
    """

    causal: bool
    hides_padding: bool
    steady_below: float
    linear_head: bool
    attends_by_mask: bool
    feeds_forward_by_token: bool


Compared = tuple[Tensor, Tensor]  # states (N, D) as they were found, and as they are alone

_FOUND: WeakKeyDictionary[PreTrainedModel, Traits] = WeakKeyDictionary()
_ONE_AT_A_TIME = threading.Lock()  # a trial puts the model into another mode, and random numbers aside


def traits_of(model: PreTrainedModel) -> Traits:
    """The record of this model, tried at the first call. Of a sharded model all processes have to ask.

    Leaves the model, and everybody's random numbers, as they were. Works on a model with another head too, such as a
    reward model.
    """
    with _ONE_AT_A_TIME:
        if model not in _FOUND:
            _FOUND[model] = _tried(model)
        return _FOUND[model]


def context_of(model: PreTrainedModel) -> int | None:
    """The most tokens that a row may have, by the model's configuration; None where it sets no limit.

    Positions that are kept for padding, as RoBERTa's first ones, do not count.
    """
    config = model.config.get_text_config(decoder=True)
    limits = [getattr(config, name, None) for name in CONTEXT]
    limits = [limit for limit in limits if limit is not None and limit > 0]  # XLNet says -1
    for name, module in model.named_modules():
        of_positions = isinstance(module, torch.nn.Embedding) and "position" in name.rpartition(".")[2]
        if of_positions and module.padding_idx is not None:
            limits.append(module.num_embeddings - module.padding_idx - 1)
    return min(limits, default=None)


def require_causal(model: PreTrainedModel) -> Traits:
    """Its record; ValueError, with the name of the architecture, unless a completion's log-probability is defined."""
    traits = traits_of(model)
    if not traits.causal:
        raise ValueError(
            f"{type(model).__name__} is not a causal language model: what it says of a token depends on tokens after "
            "it, so the probabilities of all completions do not add up to 1. Choose a decoder such as GPT-2 or Llama"
        )
    return traits


@torch.no_grad()
def _tried(model: PreTrainedModel) -> Traits:
    was_training = model.training
    model.eval()
    try:
        # What a caller computes in bfloat16 is tried in the model's own precision, whose tolerance this is.
        with forked_rng(), torch.autocast(model.device.type, enabled=False):
            rows = trial_rows(model)
            whole, short, _ = rows
            alone = _alone(model, whole)
            same = partial(states_agree, among=alone, tolerance=TOLERANCE[model.dtype])
            causal = same(*_with_other_endings(model, whole, alone))
            steady = same(_alone(model, short), alone[: len(short)])
            hides_padding = _holds(same, partial(_padded, model, rows, alone))
            if not hides_padding:
                steady = steady and _holds(same, partial(_padded_right, model, rows, alone))
            return Traits(
                causal=causal,
                hides_padding=hides_padding,
                steady_below=_length_that_decides(model.config) if steady else 0,
                linear_head=unsharded(model, partial(_has_linear_head, model, whole, alone)),
                attends_by_mask=_attends_by_mask(model.config),
                feeds_forward_by_token=_holds(same, partial(_fed_forward_at_some, model, whole, alone)),
            )
    finally:
        model.train(was_training)


def _holds(same: Callable[[Tensor, Tensor], bool], trial: Callable[[], Compared]) -> bool:
    """Whether a trial that the model may refuse finds the same."""
    try:
        found, alone = trial()
    except Exception:  # of any class: every architecture has its own way of refusing positions or a mask
        return False
    return same(found, alone)


def trial_rows(model: PreTrainedModel) -> list[Tensor]:
    """A row of tokens from all over the vocabulary, too short for its length to decide; its first half; one token."""
    context = context_of(model) or LONGEST
    too_short = max(4, _length_that_decides(model.config) - 1)
    length = min(LONGEST, context, too_short)
    words = model.get_input_embeddings().weight.shape[0]
    generator = torch.Generator().manual_seed(0)
    row = torch.randint(words, (length,), generator=generator).to(model.device)
    half = row[: max(1, length // 2)]
    return [row, half, row[:1]]


def _states(model: PreTrainedModel, input_ids: Tensor, **inputs: Tensor) -> Tensor:
    """What a model makes of each token, (B, T, ...): its logits, or hidden states where no logits differ.

    A model that is told of no mask warns where a token is one that pads.
    """
    inputs = {"attention_mask": torch.ones_like(input_ids), **inputs}
    head = model.get_output_embeddings()
    if head is None or not _has_learned(head):
        return model.base_model(input_ids=input_ids, use_cache=False, **inputs).last_hidden_state
    return model(input_ids=input_ids, use_cache=False, **inputs).logits


def _alone(model: PreTrainedModel, row: Tensor) -> Tensor:
    try:
        return unsharded(model, partial(_states, model, row[None]))[0]
    except Exception as error:
        raise ValueError(
            f"{type(model).__name__} cannot be run on a row of token ids: {first_line(error)}"
        ) from error


def states_agree(found: Tensor, alone: Tensor, among: Tensor, tolerance: float) -> bool:
    """Whether no token's state (N, D) is further off than ``tolerance`` of the spread of those ``among`` (M, D)."""
    spread = (among - among.mean(dim=0)).norm(dim=-1).max()
    off = (found - alone).norm(dim=-1).max()
    return not off > tolerance * spread  # weights that are not finite tell nothing


def _with_other_endings(model: PreTrainedModel, row: Tensor, alone: Tensor) -> Compared:
    """What comes before two cuts of a row, with other tokens after them."""
    words = model.get_input_embeddings().weight.shape[0]
    cuts = (len(row) // 2, 2 * len(row) // 3)
    others = row.repeat(2, 1)
    for other, cut in zip(others, cuts, strict=True):
        other[cut:] = (row[cut:] + 1 + words // 2) % words
    found = unsharded(model, partial(_states, model, others))
    before = [states[:cut] for states, cut in zip(found, cuts, strict=True)]
    return torch.cat(before), torch.cat([alone[:cut] for cut in cuts])


def _padded(model: PreTrainedModel, rows: Sequence[Tensor], alone: Tensor) -> Compared:
    """A row with padding on each side and one with padding on the left, both as wide as the first, ``alone``."""
    whole, *shorter = rows
    starts = [(len(whole) - len(shorter[0])) // 2, len(whole) - len(shorter[1])]
    input_ids, attention_mask = _laid_out(whole, shorter, starts)
    positions = (attention_mask.cumsum(dim=1) - 1).clamp(min=0)
    read = partial(_states, model, input_ids, attention_mask=attention_mask, position_ids=positions)
    return unsharded(model, read)[attention_mask.bool()], _beginnings(alone, shorter)


def _padded_right(model: PreTrainedModel, rows: Sequence[Tensor], alone: Tensor) -> Compared:
    """The same rows with padding on the right, and no positions told."""
    whole, *shorter = rows
    input_ids, attention_mask = _laid_out(whole, shorter, [0, 0])
    read = partial(_states, model, input_ids, attention_mask=attention_mask)
    return unsharded(model, read)[attention_mask.bool()], _beginnings(alone, shorter)


def _fed_forward_at_some(model: PreTrainedModel, row: Tensor, alone: Tensor) -> Compared:
    """Every other token of a row, the only ones that the last block's feed-forward layer knows, and then is run for.

    ValueError where one of these depends on another token; AttributeError for a model without such a layer.
    """
    some = torch.arange(len(row), device=row.device)[::2]
    layer, found = feed_forward_layer(model), []
    for limited in (unknown_elsewhere, fed_forward_at):
        with limited(layer, some):
            found.append(unsharded(model, partial(_states, model, row[None]))[0][some])
    if not torch.cat(found).isfinite().all():
        raise ValueError("a token's state depends on what another token's is in the last block")
    return torch.cat(found), torch.cat([alone[some]] * len(found))


def _beginnings(alone: Tensor, rows: Sequence[Tensor]) -> Tensor:
    """What the tokens of rows with which the longest begins are in it, one row after the other."""
    return torch.cat([alone[: len(row)] for row in rows])


def _laid_out(padding: Tensor, rows: Sequence[Tensor], starts: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Rows from their first columns on, in as many columns as ``padding`` has: ids and mask (B, T), int64.

    Padding is real tokens: a model may hide its own pad token, whose embedding is zero, and no other.
    """
    input_ids = padding.repeat(len(rows), 1)
    attention_mask = torch.zeros_like(input_ids)
    for i, (row, start) in enumerate(zip(rows, starts, strict=True)):
        input_ids[i, start : start + len(row)] = row
        attention_mask[i, start : start + len(row)] = 1
    return input_ids, attention_mask


def _has_linear_head(model: PreTrainedModel, row: Tensor, logits: Tensor) -> bool:
    """Whether logits (T, V) are W h, h what the body gives when it is run without the model around it."""
    if not has_linear_head(model):
        return False
    mask = torch.ones_like(row[None])
    hidden = model.base_model(input_ids=row[None], attention_mask=mask, use_cache=False).last_hidden_state[0]
    head = model.get_output_embeddings()
    return not _has_learned(head) or states_agree(head(hidden), logits, logits, TOLERANCE[model.dtype])


def _has_learned(head: torch.nn.Module) -> bool:
    """Whether a head is more than zeros. Its first column says so: all of it is 150 MB at GPT-2's shape."""
    return bool(head.weight[:, 0].any())


def _length_that_decides(config: PretrainedConfig) -> float:
    """From how many tokens on a row's length changes what its first tokens are, which no short row shows; ``inf``.

    Dynamic and long rotary embeddings turn by other angles in rows longer than those that the model was trained on
    first. Sparse attention picks the best so many tokens of a row, and breaks ties by the row's length.
    """
    config = config.get_text_config()
    limits = [getattr(config, name, None) or math.inf for name in ("index_topk", "keep_window_size")]
    rope = getattr(config, "rope_parameters", None) or {}
    for part in (rope, *rope.values()):  # of some families there is one for each kind of layer
        if isinstance(part, dict) and part.get("rope_type") in ("dynamic", "longrope"):
            limits.append(part.get("original_max_position_embeddings") or config.max_position_embeddings)
    return min(limits)


def _attends_by_mask(config: PretrainedConfig) -> bool:
    """Whether the configuration leaves it to the mask what a token sees.

    Flash attention takes no mask; a sliding window counts columns. (ALiBi takes distances from the columns too, and a
    state-space model has neither mask nor positions: those come out by trying.)
    """
    config = config.get_text_config()
    windows = [getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size")]
    layers = set(getattr(config, "layer_types", None) or ["full_attention"])
    return not any(windows) and layers == {"full_attention"} and config._attn_implementation == "sdpa"
