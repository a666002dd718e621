"""A language model with a scalar head: r_φ(x, y), the reward model of RLHF (eq. 2), or PPO's values V(x, y_<t)."""

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from dpo_book.models.logprobs import Batch, collate, completion_columns, position_ids

Reward = Callable[[Sequence[list[int]], Sequence[list[int]]], Tensor]  # token ids of B prompts, completions → (B,)


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
    hidden = _hidden(model, batch.input_ids, batch.attention_mask)
    columns = torch.arange(hidden.shape[1], device=hidden.device)
    last = (columns * batch.attention_mask).argmax(dim=1)
    rows = torch.arange(len(last), device=last.device)
    return model.score(hidden[rows, last]).squeeze(-1).float()


def token_values(model: PreTrainedModel, batch: Batch) -> Tensor:
    """V(x, y_<t): the same head's value before every completion token, (B, K), float32 or wider, with gradient.

    Read where the policy decides about y_t, after the prompt and what was said so far. Columns as in
    ``token_scorer``; zero where no completion token stands.
    """
    mask = completion_columns(batch)
    hidden = _hidden(model, batch.input_ids[:, :-1], batch.attention_mask[:, :-1])
    values = model.score(hidden[:, -mask.shape[1] :]).squeeze(-1)
    return values.float().where(mask, 0.0)


def _hidden(model: PreTrainedModel, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    """The body's last hidden states (B, T, D)."""
    attention_mask = attention_mask.long()
    return model.base_model(
        input_ids=input_ids,
        attention_mask=attention_mask,
        position_ids=position_ids(attention_mask),
        use_cache=False,
    ).last_hidden_state


@torch.no_grad()
def rewards_of(
    model: PreTrainedModel, prompts: Sequence[list[int]], completions: Sequence[list[int]], batch_size: int = 1024
) -> Tensor:
    """r_φ(x, y) of B prompts and completions (token ids): (B,), float32."""
    rewards = []
    for start in range(0, len(completions), batch_size):
        part = slice(start, start + batch_size)
        batch = collate(prompts[part], completions[part]).to(model.device)
        rewards.append(sequence_reward(model, batch))
    return torch.cat(rewards)
