"""A language model with a scalar head: r_φ(x, y), the reward model of RLHF (eq. 2), or PPO's values V(x, y_<t)."""

import copy
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from dpo_book.models.as_alone import as_alone
from dpo_book.models.batch import Batch, collate, completion_columns
from dpo_book.models.body import closing_states, last_token, predicting_states
from dpo_book.system.devices import forked_rng
from dpo_book.system.hub import first_line

Reward = Callable[[Sequence[list[int]], Sequence[list[int]]], Tensor]  # token ids of B prompts, completions → (B,)


def build_reward_model(policy: PreTrainedModel, seed: int = 0) -> PreTrainedModel:
    """A reward model that starts from a policy's body, with a new scalar head on top.

    A plain sequence-classification model of transformers with one label. The head's weights depend on ``seed``.
    ValueError where transformers has none for the policy's architecture, or one whose head is no single layer.
    """
    config = copy.deepcopy(policy.config)
    config.num_labels = 1
    try:
        with forked_rng():
            torch.manual_seed(seed)
            model = AutoModelForSequenceClassification.from_config(config)
        model.base_model.load_state_dict(policy.base_model.state_dict())
    except (ValueError, RuntimeError) as error:  # no such class, or one with another body
        raise ValueError(
            f"transformers has no reward model with the body of {type(policy).__name__}: {first_line(error)}"
        ) from error
    if not hasattr(model, "score"):  # RoBERTa's reads the first token, which has seen nothing
        raise ValueError(
            f"transformers' {type(model).__name__} has no layer called score, a head on every token, as the reward "
            "models of decoders such as GPT-2 or Llama have"
        )
    return model.to(policy.device).eval()


def sequence_reward(model: PreTrainedModel, batch: Batch) -> Tensor:
    """r_φ(x, y): the head's value at the last token of each row, (B,), float32 or wider, with gradient.

    The last token is the only one that has seen the whole response. Rows may be padded on either side; each row's
    reward is that of the row alone.
    """
    batch = _with_a_last_column(batch.to(model.device))
    hidden = as_alone(model, partial(closing_states, model))(batch)  # (B, T − 1, D)
    return _float32_or_wider(model.score(hidden[last_token(batch)]).squeeze(-1))


def token_values(model: PreTrainedModel, batch: Batch) -> Tensor:
    """V(x, y_<t): the same head's value before every completion token, (B, K), float32 or wider, with gradient.

    Read where the policy decides about y_t, after the prompt and what was said so far. Columns as in
    ``token_scorer``; zero where no completion token stands.
    """
    batch = batch.to(model.device)
    mask = completion_columns(batch)
    hidden = as_alone(model, partial(predicting_states, model))(batch)  # (B, T − 1, D)
    values = model.score(hidden[:, -mask.shape[1] :]).squeeze(-1)
    return _float32_or_wider(values).where(mask, 0.0)


def _float32_or_wider(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _with_a_last_column(batch: Batch) -> Batch:
    """With a column of padding as the last one, which is not run; in place of the first, where that is padding."""
    spare = 0 if batch.attention_mask[:, 0].any() else 1
    return Batch(
        input_ids=pad(batch.input_ids[:, spare:], (0, 1)),
        attention_mask=pad(batch.attention_mask[:, spare:], (0, 1)),
        completion_mask=pad(batch.completion_mask[:, spare:], (0, 1)),
    )


@torch.no_grad()
def rewards_of(
    model: PreTrainedModel, prompts: Sequence[list[int]], completions: Sequence[list[int]], batch_size: int = 1024
) -> Tensor:
    """r_φ(x, y) of B prompts and completions (token ids): (B,), float32, on the CPU."""
    rewards = []
    for start in range(0, len(completions), batch_size):
        part = slice(start, start + batch_size)
        batch = collate(prompts[part], completions[part], model.device)
        rewards.append(sequence_reward(model, batch).cpu())
    return torch.cat(rewards)
