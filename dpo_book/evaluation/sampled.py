"""How good is any policy? Answers from samples, each with its standard error."""

from collections.abc import Callable, Sequence

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dpo_book.maths.estimates import Estimate, estimate
from dpo_book.models.logprobs import collate, sequence_logp
from dpo_book.models.policy import sample, sample_ids


def sampled_reward(
    policy: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    reward: Callable[[str, str], float],
    max_new_tokens: int,
    temperature: float = 1.0,
    seed: int = 0,
) -> Estimate:
    """E[r(x,y)] from one sample a prompt; repeat the prompts for more."""
    responses = sample(policy, tokenizer, prompts, max_new_tokens, temperature, seed)
    return estimate(torch.tensor([reward(x, y) for x, y in zip(prompts, responses, strict=True)]))


def sampled_win_rate(rewards: Sequence[float], other_rewards: Sequence[float]) -> Estimate:
    """Share of prompts on which the first policy's sample has more reward than the second's, ties half."""
    margin = torch.tensor(rewards) - torch.tensor(other_rewards)
    return estimate((margin.sign() + 1) / 2)


@torch.no_grad()
def sampled_kl(
    policy: PreTrainedModel,
    reference: PreTrainedModel,
    prompts: Sequence[list[int]],
    max_new_tokens: int,
    seed: int = 0,
) -> Estimate:
    """KL[π ‖ π_ref] in nats from one sample a prompt (token ids): the mean of log π(y|x) − log π_ref(y|x), y ~ π.

    Unbiased; where ``max_new_tokens`` cuts, it is the divergence between what was said up to there.
    """
    batch = collate(prompts, sample_ids(policy, prompts, max_new_tokens, seed=seed), policy.device)
    return estimate(sequence_logp(policy, batch) - sequence_logp(reference, batch))
