"""A language model with a scalar head: r_φ(x, y), the reward model of RLHF (eq. 2)."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from dpo_book.logprobs import Batch, collate


def build_reward_model(policy: PreTrainedModel, seed: int = 0) -> PreTrainedModel:
    """A reward model that starts from a policy's body, with a new scalar head on top.

    A plain sequence-classification model of transformers with one label. The head's weights depend on ``seed``.
    """
    config = copy.deepcopy(policy.config)
    config.num_labels = 1
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForSequenceClassification.from_config(config)
    model.base_model.load_state_dict(policy.base_model.state_dict())
    return model.to(policy.device).eval()


def sequence_reward(model: PreTrainedModel, batch: Batch) -> Tensor:
    """r_φ(x, y): the head's value at the last token of each row, (B,), float32 or wider, with gradient.

    The last token is the only one that has seen the whole response. Rows may be padded on either side.
    """
    attention_mask = batch.attention_mask.long()
    hidden = model.base_model(
        input_ids=batch.input_ids,
        attention_mask=attention_mask,
        position_ids=(attention_mask.cumsum(dim=1) - 1).clamp(min=0),
        use_cache=False,
    ).last_hidden_state  # (B, T, D)
    columns = torch.arange(attention_mask.shape[1], device=attention_mask.device)
    last = (columns * attention_mask).argmax(dim=1)
    return model.score(hidden[torch.arange(len(last), device=last.device), last]).squeeze(-1).float()


@torch.no_grad()
def rewards_of(
    model: PreTrainedModel, prompt: list[int], completions: Sequence[list[int]], batch_size: int = 1024
) -> Tensor:
    """r_φ(x, y) of many completions of one prompt: (N,), float32."""
    parts = [
        sequence_reward(model, collate([prompt] * len(part), part).to(model.device))
        for part in (completions[i : i + batch_size] for i in range(0, len(completions), batch_size))
    ]
    return torch.cat(parts)
