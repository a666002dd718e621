"""One training loop for every method: a generator that yields a record of metrics a step.

Whoever iterates is in charge: plot while it runs, stop by leaving the loop. A method is a function from a
batch to its loss; the loop knows nothing else of it.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor
from transformers import PreTrainedModel

from dpo_book.bradley_terry import reward_model_loss
from dpo_book.config import DPOConfig, RewardConfig, SFTConfig, TrainConfig
from dpo_book.logprobs import collate, sequence_logp
from dpo_book.losses import soft_dpo_loss
from dpo_book.pairs import Pair, batches_by_length, check_pairs
from dpo_book.reward_model import sequence_reward

Example = tuple[list[int], list[int]]  # token ids of a prompt and of one completion
Record = dict[str, float]


class TrainingDiverged(RuntimeError):
    """A loss or gradient was not finite. The policy is back in its last good state; ``step`` says when."""

    def __init__(self, step: int, what: str):
        super().__init__(
            f"step {step}: the {what} is not finite. The policy holds the weights of the last step whose loss "
            "was finite. Usual causes: a learning rate that is too high, or float16"
        )
        self.step = step


def train_sft(policy: PreTrainedModel, examples: Sequence[Example], config: SFTConfig) -> Iterator[Record]:
    """Imitate completions: minimise −log π(y|x) a token. Trains ``policy`` in place, yields one record a step.

    Records hold ``step``, ``loss`` (nats a token), ``grad_norm``, ``learning_rate``.
    """
    lengths = [len(prompt) + len(completion) for prompt, completion in examples]
    _check_fits(policy, lengths)

    def loss_of(rows: list[int]) -> tuple[Tensor, Record]:
        batch = collate([examples[i][0] for i in rows], [examples[i][1] for i in rows]).to(policy.device)
        return -sequence_logp(policy, batch).sum() / batch.completion_mask.sum(), {}

    return _train(policy, lengths, loss_of, config)


def train_reward_model(model: PreTrainedModel, pairs: Sequence[Pair], config: RewardConfig) -> Iterator[Record]:
    """Fit a reward model to pairs (eq. 2), with hard or soft labels. Trains ``model`` in place.

    Records hold ``step``, ``loss``, ``accuracy`` (of the batch, a tie counts half), ``margin`` (the mean of
    r_φ(x, y_w) − r_φ(x, y_l), nats), ``grad_norm``, ``learning_rate``.
    """
    check_pairs(pairs)
    lengths = _lengths(pairs)
    _check_fits(model, lengths)
    label = torch.tensor([pair.chosen_probability for pair in pairs], device=model.device)

    def loss_of(rows: list[int]) -> tuple[Tensor, Record]:
        prompts = [pairs[i].prompt for i in rows]
        completions = [pairs[i].chosen for i in rows] + [pairs[i].rejected for i in rows]
        chosen, rejected = sequence_reward(model, collate(prompts * 2, completions).to(model.device)).chunk(2)
        p = label[rows]
        losses = p * reward_model_loss(chosen, rejected) + (1 - p) * reward_model_loss(rejected, chosen)
        margins = (chosen - rejected).detach()
        return losses.mean(), {"accuracy": _share_positive(margins), "margin": margins.mean()}

    return _train(model, lengths, loss_of, config)


def train_dpo(
    policy: PreTrainedModel,
    reference: PreTrainedModel | None,
    pairs: Sequence[Pair],
    config: DPOConfig,
    reference_logps: tuple[Tensor, Tensor] | None = None,
) -> Iterator[Record]:
    """DPO (eq. 7) on pairs with hard or soft labels. Trains ``policy`` in place, yields one record a step.

    The reference's log-probabilities are computed once, before the first step, unless ``reference_logps``
    holds them: (chosen, rejected), each (len(pairs),), as ``compute_reference_logps`` returns. With
    ``config.reference_free`` no reference is read and it may be None.

    Records have TRL's names, each the batch's mean before the step's update: ``loss``, ``rewards/chosen``,
    ``rewards/rejected``, ``rewards/margins``, ``rewards/accuracies`` (a tie counts half), ``logps/chosen``,
    ``logps/rejected``, and ``step``, ``grad_norm``, ``learning_rate``.

    Raises ValueError before the first step if policy and reference are one object (the margin would stay
    zero), or a pair does not fit the policy's context; TrainingDiverged at the step whose loss is not finite.
    """
    if policy is reference:
        raise ValueError(
            "policy and reference are one object, so their ratio would stay 1: train a copy, copy_policy(reference)"
        )
    for name, model in (("policy", policy), ("reference", reference)):
        if model is not None and not isinstance(model, torch.nn.Module):
            raise TypeError(
                f"{name} must be a model, not a {type(model).__name__}: load_policy gives (model, tokenizer)"
            )
    sizes = [model.config.get_text_config().vocab_size for model in (policy, reference) if model is not None]
    if len(set(sizes)) > 1:
        raise ValueError(f"policy and reference have vocabularies of {sizes[0]} and {sizes[1]}: they must be one")
    check_pairs(pairs)
    lengths = _lengths(pairs)
    _check_fits(policy, lengths)
    if config.reference_free:
        reference_logps = (torch.zeros(len(pairs)), torch.zeros(len(pairs)))
    elif reference_logps is None:
        if reference is None:
            raise ValueError("train_dpo needs a reference, or its reference_logps, unless reference_free=True")
        # As many rows at once as a step has, so that what fits into memory there fits here.
        reference_logps = compute_reference_logps(reference, pairs, batch_size=2 * config.batch_size)
    if any(len(logps) != len(pairs) for logps in reference_logps):
        raise ValueError(f"reference_logps must hold one value for each of the {len(pairs)} pairs")
    reference_chosen, reference_rejected = (logps.to(policy.device) for logps in reference_logps)
    label = torch.tensor([pair.chosen_probability for pair in pairs], device=policy.device)

    def loss_of(rows: list[int]) -> tuple[Tensor, Record]:
        prompts = [pairs[i].prompt for i in rows]
        completions = [pairs[i].chosen for i in rows] + [pairs[i].rejected for i in rows]
        # One forward pass for both, on the batch axis: neither can see the other.
        logps = sequence_logp(policy, collate(prompts * 2, completions).to(policy.device))
        chosen, rejected = logps.chunk(2)
        losses, chosen_rewards, rejected_rewards = soft_dpo_loss(
            chosen, rejected, reference_chosen[rows], reference_rejected[rows], config.beta, label[rows],
            reference_free=config.reference_free,
        )  # fmt: skip
        margins = chosen_rewards - rejected_rewards
        return losses.mean(), {
            "rewards/chosen": chosen_rewards.mean(),
            "rewards/rejected": rejected_rewards.mean(),
            "rewards/margins": margins.mean(),
            "rewards/accuracies": _share_positive(margins),
            "logps/chosen": chosen.detach().mean(),
            "logps/rejected": rejected.detach().mean(),
        }

    return _train(policy, lengths, loss_of, config)


@torch.no_grad()
def compute_reference_logps(
    reference: PreTrainedModel, pairs: Sequence[Pair], batch_size: int = 256
) -> tuple[Tensor, Tensor]:
    """log π_ref of every chosen and every rejected completion: two tensors of shape (len(pairs),), float32.

    The reference never changes, so each distinct completion is run once, sorted by length.
    """
    reference.eval()
    keys = [(tuple(pair.prompt), tuple(y)) for pair in pairs for y in (pair.chosen, pair.rejected)]
    distinct = sorted(set(keys), key=lambda key: (len(key[0]) + len(key[1]), key))
    logp: dict[tuple, float] = {}
    for start in range(0, len(distinct), batch_size):
        part = distinct[start : start + batch_size]
        with _autocast(reference):
            values = sequence_logp(reference, collate(*zip(*part, strict=True)).to(reference.device))
        logp.update(zip(part, values.tolist(), strict=True))
    return torch.tensor([logp[key] for key in keys[0::2]]), torch.tensor([logp[key] for key in keys[1::2]])


def _train(
    policy: PreTrainedModel,
    lengths: Sequence[int],
    loss_of: Callable[[list[int]], tuple[Tensor, dict[str, Tensor]]],
    config: TrainConfig,
) -> Iterator[Record]:
    policy.eval()  # dropout off: log π must be a function of (x, y), not a draw
    parameters = [parameter for parameter in policy.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(
        parameters, lr=config.learning_rate, weight_decay=0.0, fused=policy.device.type == "cuda"
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda done: _schedule(done, config))
    batches = batches_by_length(lengths, config.batch_size, config.seed)
    last_good = [parameter.detach().clone() for parameter in parameters]

    def check_finite(step: int, what: str, *values: Tensor) -> None:
        if not all(value.isfinite().all() for value in values):
            with torch.no_grad():
                torch._foreach_copy_(parameters, last_good)
            raise TrainingDiverged(step, what)

    for step in range(1, config.steps + 1):
        with torch.enable_grad(), _autocast(policy):  # also for a caller who iterates under no_grad
            rows = next(batches)
            loss, metrics = loss_of(rows)
        check_finite(step, "loss", loss)
        with torch.no_grad():
            torch._foreach_copy_(last_good, parameters)  # these weights have just shown a finite loss
        loss.backward()
        grad_norm = torch.nn.utils.clip_grad_norm_(parameters, config.max_grad_norm)
        check_finite(step, "gradient", grad_norm)
        learning_rate = schedule.get_last_lr()[0]
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        measured = {"loss": loss.detach(), **metrics, "grad_norm": grad_norm}
        values = torch.stack([value.float() for value in measured.values()]).tolist()  # one wait for the device
        yield {"step": step, **dict(zip(measured, values, strict=True)), "learning_rate": learning_rate}
    with torch.no_grad(), _autocast(policy):
        check_finite(config.steps, "loss after the last update", loss_of(rows)[0])


def _schedule(done: int, config: TrainConfig) -> float:
    """Share of the peak learning rate after ``done`` steps: up in a line, down along a cosine."""
    warm_up = min(1.0, (done + 1) / (config.warmup_steps + 1))
    return warm_up * (1 + math.cos(math.pi * done / config.steps)) / 2


def _autocast(model: PreTrainedModel) -> AbstractContextManager:
    """bfloat16 where the device is made for it; float32 on a CPU, where results are compared with exact ones."""
    return torch.autocast("cuda", dtype=torch.bfloat16, enabled=model.device.type == "cuda")


def _share_positive(margins: Tensor) -> Tensor:
    """How many margins are above zero; one that is zero decides nothing and counts half."""
    return ((margins > 0).float() + (margins == 0).float() / 2).mean()


def _lengths(pairs: Sequence[Pair]) -> list[int]:
    return [len(pair.prompt) + max(len(pair.chosen), len(pair.rejected)) for pair in pairs]


def _check_fits(policy: PreTrainedModel, lengths: Sequence[int]) -> None:
    if not lengths:
        raise ValueError("there is nothing to train on: no pair or example was given")
    context = getattr(policy.config, "max_position_embeddings", None)
    longest = max(range(len(lengths)), key=lengths.__getitem__)
    if context is not None and lengths[longest] > context:
        raise ValueError(
            f"row {longest + 1} has {lengths[longest]} tokens with its completion, more than the policy's context "
            f"of {context}: tokenise with max_length={context}"
        )
