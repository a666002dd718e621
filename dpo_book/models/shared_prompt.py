"""log π(y|x) of several completions of one prompt, with the prompt run once.

A row holds the prompt, then one completion after another, each without its last token, which predicts nothing:

    row        x₁ x₂ x₃   a₁ a₂   b₁ b₂ b₃
    completion  0  0  0    1  1    2  2  2
    position    0  1  2    3  4    3  4  5

A token attends to the prompt and to what came before it in its own completion, and every completion goes on at
the prompt's next position; so none can see another, and each is to the model what it would be in a row of its
own. A pair costs P + C + R tokens in place of 2P + C + R.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from dpo_book.data.pairs import Pair
from dpo_book.models.head import has_linear_head, head_logp
from dpo_book.models.logprobs import OnDevice, collate, sequence_logp
from dpo_book.system.processes import unsharded

Group = tuple[Sequence[int], Sequence[Sequence[int]]]  # token ids of a prompt, and of each of its completions

# How far two orders of adding up the same log-probabilities may differ, as a share of their sum.
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 2e-3}


@dataclass(frozen=True)
class SharedBatch(OnDevice):
    """B prompts, each with any number of completions in its row of T columns, M completions in all, N tokens of them.

    input_ids, position_ids (B, T) int64; attention_mask (B, 1, T, T) bool: True where a row attends to a column.
    Of every token to be scored: source (N,), where in the flattened (B · T) rows it is predicted; target (N,), its
    id; completion (N,), which of the M it belongs to. completions: M.
    """

    input_ids: Tensor
    position_ids: Tensor
    attention_mask: Tensor
    source: Tensor
    target: Tensor
    completion: Tensor
    completions: int


def collate_shared(groups: Sequence[Group]) -> SharedBatch:
    """Lay out (prompt, its completions), one a row, padded on the right. Raises ValueError for an empty one."""
    ids, parts, positions, source, target, completion = [], [], [], [], [], []
    width = max(len(prompt) + sum(len(y) - 1 for y in completions) for prompt, completions in groups)
    count = 0
    for row, (prompt, completions) in enumerate(groups):
        if not prompt or not all(completions):
            raise ValueError(f"row {row} of the batch has an empty {'completion' if prompt else 'prompt'}")
        p, start = len(prompt), row * width
        tokens, part, position = [*prompt], [0] * p, [*range(p)]
        for i, y in enumerate(completions, start=1):
            first = start + len(tokens)
            source += [start + p - 1, *range(first, first + len(y) - 1)]
            target += y
            completion += [count] * len(y)
            count += 1
            tokens += y[:-1]
            part += [i] * (len(y) - 1)
            position += range(p, p + len(y) - 1)
        padding = [0] * (width - len(tokens))
        ids.append(tokens + padding)
        parts.append(part + [-1] * len(padding))
        positions.append(position + padding)

    part = torch.tensor(parts)  # (B, T): 0 in the prompt, i in the i-th completion, -1 in the padding
    in_prompt, same = (part == 0)[:, None, :], part[:, :, None] == part[:, None, :]
    return SharedBatch(
        input_ids=torch.tensor(ids),
        position_ids=torch.tensor(positions),
        attention_mask=(in_prompt | same).tril()[:, None],
        source=torch.tensor(source),
        target=torch.tensor(target),
        completion=torch.tensor(completion),
        completions=count,
    )


def shared_logp(model: PreTrainedModel, batch: SharedBatch) -> Tensor:
    """log π(y|x) of all M completions, in order: (M,), float32 or wider, with gradient.

    Exact for a model that ``can_share_prompts``.
    """
    hidden = model.base_model(
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        position_ids=batch.position_ids,
        use_cache=False,
    ).last_hidden_state
    logp = head_logp(model, hidden.flatten(0, 1).index_select(0, batch.source), batch.target)
    # Added up one after the other, so in float64: in float32 a long completion would lose its last digits.
    total = logp.new_zeros(batch.completions, dtype=torch.float64).index_add(0, batch.completion, logp.double())
    return total.to(logp.dtype)


def completion_logps(model: PreTrainedModel, groups: Sequence[Group], share: bool) -> Tensor:
    """log π(y|x) of every completion of every group, in order: (M,), float32 or wider, with gradient.

    share: run each prompt once, for a model that ``can_share_prompts``; else once for every completion.
    """
    if share:
        return shared_logp(model, collate_shared(groups).to(model.device))
    rows = [(prompt, y) for prompt, completions in groups for y in completions]
    return sequence_logp(model, collate(*zip(*rows, strict=True)).to(model.device))


def pair_logps(model: PreTrainedModel, pairs: Sequence[Pair], share: bool) -> tuple[Tensor, Tensor]:
    """log π of the chosen and of the rejected completions, (B,) each; see ``completion_logps``."""
    logps = completion_logps(model, [(pair.prompt, (pair.chosen, pair.rejected)) for pair in pairs], share)
    chosen, rejected = logps.view(-1, 2).unbind(dim=1)
    return chosen, rejected


@torch.no_grad()
def can_share_prompts(model: PreTrainedModel, pairs: Sequence[Pair]) -> bool:
    """Whether completions of one prompt can stand in one row: true of attention that obeys any mask and positions.

    Not of flash attention, which takes no mask; of a sliding window, which counts columns; of ALiBi, which takes
    distances from the columns too; of a state-space model, which has neither. What the configuration does not
    tell is found out by trying: the longest of the pairs is run both ways, and has to come out the same.
    """
    linear_head = has_linear_head(model)
    config = model.config.get_text_config()
    windowed = any(getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size"))
    if windowed or set(getattr(config, "layer_types", None) or ["full_attention"]) != {"full_attention"}:
        return False
    if config._attn_implementation != "sdpa" or not linear_head:
        return False
    longest = max(pairs, key=lambda pair: sum(map(len, pair[:3])))
    was_training = model.training
    model.eval()
    try:
        both_ways = lambda: [torch.stack(pair_logps(model, [longest], share)) for share in (False, True)]
        plain, shared = unsharded(model, both_ways)
    except Exception:  # of any class: every architecture has its own way of refusing a mask of four dimensions
        return False
    finally:
        model.train(was_training)
    return torch.allclose(shared, plain, rtol=TOLERANCE[model.dtype])
