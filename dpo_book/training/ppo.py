"""PPO (Schulman et al. 2017, arXiv 1707.06347) as in RLHF: the policy learns from its own samples.

One step: sample responses, score them, say token by token how much better than expected each was, and move the
policy by the clipped objective. Every piece is a pure function with its equation; ``train_ppo`` puts them together.
Rewards are not discounted (γ = 1): a response is short, and its end counts as much as its start.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from transformers import PreTrainedModel

from dpo_book.data.batches import batches_by_length
from dpo_book.models.logprobs import Batch, TokenScorer, collate, completion_columns, token_scorer
from dpo_book.models.policy import autocast, sample_ids
from dpo_book.models.reward_model import Reward, build_reward_model, token_values
from dpo_book.training.config import PPOConfig
from dpo_book.training.loop import Record
from dpo_book.training.updates import Measured, Updates


def penalized_rewards(logp: Tensor, ref_logp: Tensor, mask: Tensor, reward: Tensor, beta: float) -> Tensor:
    """Equation 3, dealt out to tokens: −β (log π(y_t) − log π_ref(y_t)), plus r(x, y) on the last token.

    logp, ref_logp (B, K) of the sampled tokens; mask (B, K), True on them; reward (B,). Returns (B, K). The sum
    over a response is r − β log(π/π_ref), whose mean over y ~ π is equation 3.
    """
    rewards = (-beta * (logp - ref_logp)).where(mask, 0.0)
    columns = torch.arange(mask.shape[1], device=mask.device)
    last = (columns * mask).argmax(dim=1, keepdim=True)
    return rewards.scatter_add(1, last, reward.to(rewards.dtype).unsqueeze(1))


def generalized_advantages(rewards: Tensor, values: Tensor, mask: Tensor, gae_lambda: float) -> Tensor:
    """GAE (Schulman et al. 2015, arXiv 1506.02438): A_t = Σ_l λ^l δ_{t+l}, δ_t = R_t + V_{t+1} − V_t.

    rewards, values (B, K), V_t before token t; 0 after the response. Returns (B, K). λ = 1 gives what came in
    the end minus what was expected: no bias, much noise. λ = 0 trusts the values: little noise, their bias.
    """
    values = values.where(mask, 0.0)
    following = torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], dim=1)
    delta = (rewards + following - values).where(mask, 0.0)
    advantages = torch.empty_like(delta)
    running = torch.zeros_like(delta[:, 0])
    for t in reversed(range(delta.shape[1])):
        running = delta[:, t] + gae_lambda * running
        advantages[:, t] = running
    return advantages


def clipped_objective(logp: Tensor, old_logp: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """PPO's equation 7, a token: min(ρ A, clip(ρ, 1 − ε, 1 + ε) A), with ρ = π(y_t)/π_old(y_t). Any one shape.

    Where ρ = 1 its gradient is A ∇log π(y_t), the policy gradient. Beyond 1 ± ε nothing is gained by going on.
    """
    ratio = (logp - old_logp).exp()
    return torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)


def adapted_beta(beta: float, kl: float, target_kl: float) -> float:
    """The next β of a controller that steers KL(π‖π_ref) to a target (Ziegler et al. 2019, 1909.08593, §2.2)."""
    error = min(max(kl / target_kl - 1, -0.2), 0.2)
    return beta * (1 + 0.1 * error)


@dataclass(frozen=True)
class Rollouts:
    """B sampled responses, all that PPO knows of them before it learns: (B, K) a token, (B,) a response."""

    prompts: list[list[int]]
    completions: list[list[int]]
    mask: Tensor  # (B, K): True on the response's tokens
    logp: Tensor  # (B, K), of the policy that said them
    ref_logp: Tensor  # (B, K)
    values: Tensor  # (B, K): what was expected before each token
    reward: Tensor  # (B,)


class Models:
    """The three models of PPO, and how two of them score tokens.

    policy π_θ, in training. reference π_ref. value_model: the reference's body with a scalar head, its weights drawn
    with ``seed``, trained beside the policy. policy_logps, reference_logps: of a batch, (B, K).
    """

    def __init__(self, policy: PreTrainedModel, reference: PreTrainedModel, seed: int):
        self.policy = policy
        self.value_model = build_reward_model(reference, seed)
        self.policy_logps = token_scorer(policy)
        self.reference_logps = token_scorer(reference)


@torch.no_grad()
def roll_out(models: Models, prompts: list[list[int]], reward: Reward, max_new_tokens: int, seed: int) -> Rollouts:
    """Sample one response a prompt (token ids) and look at it with the three models and the reward."""
    completions = sample_ids(models.policy, prompts, max_new_tokens, seed=seed)
    device = models.policy.device
    batch = collate(prompts, completions, device)
    with autocast(models.policy):  # as in training, or the ratio would not start at 1
        logp = models.policy_logps(batch)
        ref_logp = models.reference_logps(batch)
        values = token_values(models.value_model, batch)
    return Rollouts(
        prompts=prompts,
        completions=completions,
        mask=completion_columns(batch),
        logp=logp,
        ref_logp=ref_logp,
        values=values,
        reward=reward(prompts, completions).to(device),
    )


def policy_loss(
    policy_logps: TokenScorer, rollouts: Rollouts, rows: list[int], advantages: Tensor, clip: float
) -> Measured:
    """Minus the clipped objective, averaged over the tokens of some of the responses; advantages (B, K)."""
    batch, mask = _minibatch(rollouts, rows)
    columns = mask.shape[1]
    logp, old_logp = policy_logps(batch), rollouts.logp[rows, :columns]
    objective = clipped_objective(logp, old_logp, advantages[rows, :columns], clip)
    left_clip = ((logp - old_logp).exp() - 1).abs()[mask] > clip
    return -objective[mask].mean(), {"clip_fraction": left_clip.float().mean()}


def value_loss(value_model: PreTrainedModel, rollouts: Rollouts, rows: list[int], returns: Tensor) -> Measured:
    """Half the mean squared distance between the values and what came in, R_t + R_{t+1} + ...; returns (B, K)."""
    batch, mask = _minibatch(rollouts, rows)
    missed = token_values(value_model, batch) - returns[rows, : mask.shape[1]]
    return missed[mask].square().mean() / 2, {}


def _minibatch(rollouts: Rollouts, rows: list[int]) -> tuple[Batch, Tensor]:
    """Some of the responses, no wider than they need, and the mask of their tokens."""
    prompts, completions = [rollouts.prompts[i] for i in rows], [rollouts.completions[i] for i in rows]
    batch = collate(prompts, completions, rollouts.reward.device)
    return batch, completion_columns(batch)


def train_ppo(
    policy: PreTrainedModel,
    reference: PreTrainedModel,
    prompts: Sequence[list[int]],
    reward: Reward,
    config: PPOConfig,
) -> Iterator[Record]:
    """Maximise equation 3 by PPO. Trains ``policy`` in place, yields one record a step, that is, a batch of rollouts.

    prompts: token ids, gone through as often as needed. reward: r_φ or r*, of a batch of token ids. A value
    model, the reference's body with a scalar head, is trained beside the policy and thrown away at the end.

    Records hold, of the step's samples before its updates: ``reward``, ``kl`` (mean of log π − log π_ref of whole
    responses, nats), ``objective`` (reward − β kl), ``beta``, ``generated_tokens``, ``explained_variance`` (of the
    returns, by the values; 1 is perfect); and of its updates: ``clip_fraction`` (tokens whose ratio left 1 ± ε),
    ``value_loss``, ``grad_norm``, ``learning_rate``; and ``step``.

    Raises ValueError if policy and reference are one object; TrainingDiverged as ``train_dpo`` does.
    """
    if policy is reference:
        raise ValueError("policy and reference are one object: train a copy, copy_policy(reference)")
    if not prompts:
        raise ValueError("there is nothing to train on: no prompt was given")
    policy.eval()  # dropout off: the ratio must start at 1
    models = Models(policy, reference, config.seed)
    updates_a_step = config.epochs * math.ceil(config.batch_size / config.minibatch_size)
    policy_updates = Updates(policy, config, config.updates)
    value_updates = Updates(models.value_model, config, config.updates, config.value_learning_rate)
    order = batches_by_length([len(prompt) for prompt in prompts], 1, config.seed)
    beta = config.beta

    for step in range(1, config.steps + 1):
        seed = config.seed * 1_000_003 + step  # another for every step of every run
        asked = [prompts[next(order)[0]] for _ in range(config.batch_size)]
        rollouts = roll_out(models, asked, reward, config.max_new_tokens, seed)
        mask = rollouts.mask
        rewards = penalized_rewards(rollouts.logp, rollouts.ref_logp, mask, rollouts.reward, beta)
        advantages = generalized_advantages(rewards, rollouts.values, mask, config.gae_lambda)
        returns = advantages + rollouts.values
        # Whitened: how far an update goes must not hang on the scale of the reward.
        whitened = (advantages - advantages[mask].mean()) / (advantages[mask].std() + 1e-6)

        moved, learned = [], []
        minibatches = batches_by_length([len(y) for y in rollouts.completions], config.minibatch_size, seed)
        for rows in itertools.islice(minibatches, updates_a_step):
            of_policy = partial(policy_loss, models.policy_logps, rollouts, rows, whitened, config.clip)
            of_values = partial(value_loss, models.value_model, rollouts, rows, returns)
            moved.append(policy_updates.apply(step, of_policy))
            learned.append(value_updates.apply(step, of_values))
        policy_updates.check(step, of_policy)

        kl = (rollouts.logp - rollouts.ref_logp).sum(dim=1).mean().item()
        yield {
            "step": step,
            "reward": rollouts.reward.mean().item(),
            "kl": kl,
            "objective": rollouts.reward.mean().item() - beta * kl,
            "beta": beta,
            "explained_variance": 1 - ((returns - rollouts.values)[mask].var() / returns[mask].var()).item(),
            "clip_fraction": _mean(update.metrics["clip_fraction"] for update in moved),
            "value_loss": _mean(update.loss for update in learned),
            "grad_norm": _mean(update.grad_norm for update in moved),
            "learning_rate": moved[0].learning_rate,
            "generated_tokens": int(mask.sum()),
        }
        if config.target_kl is not None:
            beta = adapted_beta(beta, kl, config.target_kl)


def _mean(values: Iterable[Tensor]) -> float:
    return torch.stack(list(values)).mean().item()
