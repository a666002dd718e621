"""One update of a model: clipped gradient, an optimiser, a schedule, and a way back when a number is not finite.

What every training loop of the book has in common. Knows parameters and losses, nothing of methods or data.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel

from dpo_book.models.policy import autocast
from dpo_book.system.processes import all_reduce_sum, reshard, sharded_like, this_process, together, whole
from dpo_book.training.config import TrainConfig


class TrainingDiverged(RuntimeError):
    """A loss or gradient was not finite. The policy is back in its last good state; ``step`` says when."""

    def __init__(self, step: int, what: str, cause: str):
        super().__init__(f"step {step}: the {what} is not finite. {cause}")
        self.step = step
        self._made_of = (step, what, cause)

    def __reduce__(self) -> tuple:
        """What a worker process sends in its place: pickle would make it anew of its message alone."""
        return type(self), self._made_of


Config = TypeVar("Config", bound=TrainConfig)
Measured = tuple[Tensor, dict[str, Tensor]]  # a loss, and what else its computation showed, by name


class Update(NamedTuple):
    """What an update measured: the loss before it, the gradient's norm before clipping, the learning rate."""

    loss: Tensor
    metrics: dict[str, Tensor]
    grad_norm: Tensor
    learning_rate: float


class Updates:
    """Updates of one model's parameters: gradient clipping, linear warm-up, and the config's optimiser and schedule.

    total: how many updates there will be; the schedule needs to know. done: how many there were.
    """

    def __init__(self, model: PreTrainedModel, config: TrainConfig, total: int, learning_rate: float | None = None):
        self._model = model
        self._together = together(model)
        self._max_grad_norm = config.max_grad_norm
        self._named = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
        self._parameters = list(self._named.values())
        self._peak = learning_rate or with_rate(config, model).learning_rate
        self._share = partial(SCHEDULES[config.schedule], warmup=config.warmup_updates, total=total)
        self.done = 0
        self._moments = MOMENTS[config.optimizer]
        self._optimizer = _optimizer(self._parameters, config, self._peak)
        # The weights before the last update, until a finite loss shows that it was a good one. Of a batch in one part
        # they are let go before its gradients are made, so that the two are in memory together only in an update
        # itself, when no activations are. Of a batch in several, its last part's loss has to be known first.
        self._before: list[Tensor] = []

    @torch.enable_grad()  # also for a caller who iterates under no_grad
    def apply(self, step: int, *parts: Callable[[], Measured]) -> Update:
        """Compute the loss, go one step down its gradient. ``step`` is what an error message will name.

        parts: what the loss and the metrics are the sums of, over all processes, of which each has equally many; in
        memory one at a time. Raises TrainingDiverged, with the parameters set back, if the loss or its gradient is
        not finite.
        """
        if torch.is_inference_mode_enabled():  # which, unlike no_grad, cannot be left for a while
            raise RuntimeError("under torch.inference_mode() nothing can be trained; under torch.no_grad() it can")
        measured = []
        for number, part in enumerate(parts, start=1):
            last = number == len(parts)
            with autocast(self._model):
                loss, metrics = self._together(part, last)
            measured.append({"": loss.detach(), **metrics})
            if last:
                metrics = {name: sum(part[name] for part in measured) for name in measured[0]}
                all_reduce_sum(list(metrics.values()))
                self._check_finite(step, "loss", metrics[""])
                self._before = []
            (loss * this_process()[1]).backward()  # a mean over processes of so many times the loss is its sum
        grad_norm = whole(torch.nn.utils.clip_grad_norm_(self._parameters, self._max_grad_norm))
        self._check_finite(step, "gradient", grad_norm)
        self._before = [parameter.detach().clone() for parameter in self._parameters]
        learning_rate = self._optimizer.param_groups[0]["lr"] = self._peak * self._share(self.done)
        self._optimizer.step()
        self._optimizer.zero_grad()
        self.done += 1
        return Update(metrics.pop(""), metrics, grad_norm, learning_rate)

    def check(self, step: int, *parts: Callable[[], Measured]) -> None:
        """The last update has no next loss that would show whether it was good: compute one, and look."""
        with torch.no_grad(), autocast(self._model):
            loss = sum(self._together(part, True)[0] for part in parts)
        all_reduce_sum([loss])
        self._check_finite(step, "loss after the last update", loss)
        self._before = []

    def state(self) -> Iterator[tuple[str, Tensor]]:
        """What the next update depends on besides ``done``: weights and the optimiser's state, by parameters' names.

        Whole tensors, also where each process holds a part of them; then all processes have to ask.
        """
        for name, parameter in self._named.items():
            for key, value in {"weight": parameter, **self._optimizer.state[parameter]}.items():
                yield f"{key}/{name}", whole(value.detach())

    @torch.no_grad()
    def restore(self, state: Mapping[str, Tensor], done: int) -> None:
        """Go on as after ``done`` updates, from what ``state()`` gave then. What comes is the same bit for bit."""
        for name, parameter in self._named.items():
            parameter.copy_(sharded_like(parameter, state[f"weight/{name}"]))
            moments = {key: sharded_like(parameter, state[f"{key}/{name}"]) for key in self._moments}
            place = parameter.device if self._optimizer.defaults.get("fused") else "cpu"
            self._optimizer.state[parameter] = {"step": state[f"step/{name}"].to(place), **moments}
        self._before = []
        self.done = done

    def _check_finite(self, step: int, what: str, value: Tensor) -> None:
        if not value.isfinite().all():
            if self._before:
                with torch.no_grad():
                    for parameter, before in zip(self._parameters, self._before, strict=True):
                        parameter.copy_(before)
            reshard(self._model)
            self._optimizer.zero_grad()
            raise TrainingDiverged(step, what, self._cause())

    def _cause(self) -> str:
        """What most likely made a number not finite, for an error message."""
        if self.done:
            return (
                "The policy holds the weights of the last step whose loss was finite. The usual cause is a learning "
                "rate that is too high"
            )
        if name := not_finite(self._model):
            return f"No update was made yet: it is the model's own weights that are not finite, first in {name}"
        return (
            "No update was made yet, so it is not the learning rate, and the model's weights are finite: look at "
            "what else the loss is made of, such as a beta too large for float32 or a reward that is not finite"
        )


def with_rate(config: Config, model: PreTrainedModel, adapter: bool | None = None) -> Config:
    """The settings with a learning rate, by the model's size where they give none: see ``TrainConfig.resolved``.

    adapter: whether LoRA's matrices are, or will be, what is trained; by default as the model looks. Every process
    of several gets the same, for a parameter in shards counts as the whole that it is.
    """
    parameters, adapted = 0, False
    for name, parameter in model.named_parameters():
        if ".lora_" in name:
            adapted = adapted or parameter.requires_grad
        else:
            parameters += parameter.numel()
    return config.resolved(parameters, adapted if adapter is None else adapter)


def not_finite(model: PreTrainedModel) -> str | None:
    """The name of the first of the model's tensors that holds NaN or an infinity, in this process's part of it."""
    for name, parameter in model.named_parameters():
        local = parameter.to_local() if isinstance(parameter, DTensor) else parameter
        if not local.isfinite().all():
            return name
    return None


MOMENTS = {"adamw": ("exp_avg", "exp_avg_sq"), "rmsprop": ("square_avg",)}  # what torch calls their state


def _optimizer(parameters: list[Tensor], config: TrainConfig, rate: float) -> torch.optim.Optimizer:
    settings = {"lr": rate, "weight_decay": config.weight_decay}
    if config.optimizer == "rmsprop":
        return torch.optim.RMSprop(parameters, **settings)
    # 505 ms a step without fused for GPT-2's 124M parameters on one thread, 62 with it
    return torch.optim.AdamW(parameters, **settings, fused=True)


def _constant(done: int, warmup: int, total: int) -> float:
    """Share of the learning rate after ``done`` updates: it rises in a line, and after ``warmup`` of them is 1."""
    return min(1.0, (done + 1) / (warmup + 1))


def _linear(done: int, warmup: int, total: int) -> float:
    """Up in the same line, and down in another, which would reach 0 with one update more."""
    if done < warmup:
        return _constant(done, warmup, total)
    return (total - done) / (total - warmup)


def _cosine(done: int, warmup: int, total: int) -> float:
    """The same line times a cosine that falls over all updates, the warm-up's too: with a warm-up it is never 1."""
    return _constant(done, warmup, total) * ((1 + math.cos(math.pi * done / total)) / 2)


SCHEDULES: dict[str, Callable[..., float]] = {"cosine": _cosine, "linear": _linear, "constant": _constant}
