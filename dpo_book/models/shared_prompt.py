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
from dpo_book.models.batch import OnDevice, suited_width
from dpo_book.models.block_attention import without_the_future
from dpo_book.models.body import read_at
from dpo_book.models.distinct import Group
from dpo_book.models.head import head_logp
from dpo_book.system.devices import widest_float


@dataclass(frozen=True)
class SharedBatch(OnDevice):
    """B prompts, each with any number of completions in its row of T columns, M completions in all, N tokens of them.

    input_ids, position_ids (B, T) int64; part (B, T) int64: 0 in the prompt, i in the i-th completion, −1 in the
    padding. Of every token to be scored: source (N,), where in the flattened (B · T) rows it is predicted; target
    (N,), its id; completion (N,), which of the M it belongs to. read (S,): every such place once. completions: M.
    """

    input_ids: Tensor
    position_ids: Tensor
    part: Tensor
    source: Tensor
    target: Tensor
    completion: Tensor
    read: Tensor
    completions: int

    @property
    def attention_mask(self) -> Tensor:
        """(B, 1, T, T) bool: True where a row attends to a column. Made where the batch lies, for it is large."""
        in_prompt = (self.part == 0)[:, None, :]
        same_part = self.part[:, :, None] == self.part[:, None, :]
        return (in_prompt | same_part).tril()[:, None]


def collate_shared(groups: Sequence[Group], device: torch.device | str = "cpu") -> SharedBatch:
    """Lay out (prompt, its completions), one a row, padded on the right. Raises ValueError for an empty one.

    The batch lies on ``device``, and is as wide as suits it: see ``suited_width``.
    """
    ids, parts, positions, source, target, completion, read = [], [], [], [], [], [], []
    longest = max(len(prompt) + sum(len(y) - 1 for y in completions) for prompt, completions in groups)
    width = suited_width(longest, device)
    count = 0
    for row, (prompt, completions) in enumerate(groups):
        if not prompt or not all(completions):
            raise ValueError(f"row {row} of the batch has an empty {'completion' if prompt else 'prompt'}")
        p, start = len(prompt), row * width
        tokens, part, position = [*prompt], [0] * p, [*range(p)]
        read.append(start + p - 1)
        for i, y in enumerate(completions, start=1):
            first = start + len(tokens)
            inside = range(first, first + len(y) - 1)
            source += [start + p - 1, *inside]
            read += inside
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

    batch = SharedBatch(
        input_ids=torch.tensor(ids),
        position_ids=torch.tensor(positions),
        part=torch.tensor(parts),
        source=torch.tensor(source),
        target=torch.tensor(target),
        completion=torch.tensor(completion),
        read=torch.tensor(read),
        completions=count,
    )
    return batch.to(device)


def pair_groups(pairs: Sequence[Pair]) -> list[Group]:
    """Each pair's prompt with its two completions, chosen and rejected."""
    return [(pair.prompt, (pair.chosen, pair.rejected)) for pair in pairs]


def shared_logp(model: PreTrainedModel, batch: SharedBatch) -> Tensor:
    """log π(y|x) of all M completions, in order: (M,), float32 or wider, with gradient.

    Exact for a model that can share prompts: see ``scoring.can_share_prompts``.
    """
    mask = batch.attention_mask
    with without_the_future(model, mask), read_at(model, batch.read):
        hidden = model.base_model(
            input_ids=batch.input_ids, attention_mask=mask, position_ids=batch.position_ids, use_cache=False
        ).last_hidden_state
    logp = head_logp(model, hidden.flatten(0, 1).index_select(0, batch.source), batch.target)
    # Added up one after the other, so in float64: in float32 a long completion would lose its last digits.
    wide = widest_float(logp.device)
    total = logp.new_zeros(batch.completions, dtype=wide).index_add(0, batch.completion, logp.to(wide))
    return total.to(logp.dtype)
