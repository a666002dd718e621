"""LoRA (Hu et al. 2021) through peft: train a few low-rank matrices beside frozen weights.

The policy stays the plain model that it was; the matrices are put into its layers, so that every function of the
book works on it as before. With the adapter off it is its own reference: one model in memory is both.
"""

from contextlib import AbstractContextManager

import torch
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from dpo_book.maths.require import require_count
from dpo_book.models.traits import trial_rows
from dpo_book.system.devices import forked_rng
from dpo_book.system.hub import first_line


class Lora:
    """A low-rank adapter in all of a policy's linear layers but the head: W becomes W + 2 B A, and B starts at zero.

    A is (rank, inputs), B (outputs, rank); A's first values depend on ``seed``. Experts that a mixture keeps in one
    stack, (E, inputs, outputs), get one of their own each. Put in place at once: from then on only these matrices
    take gradients. Raises ValueError, naming the layer, where peft would leave one out without a word.
    """

    def __init__(self, policy: PreTrainedModel, rank: int, seed: int = 0):
        require_count("the rank of LoRA", rank)
        try:
            import peft  # noqa: F401
        except ImportError:
            raise ImportError('LoRA needs an extra package: pip install "dpo-book[lora]"') from None
        layers, stacks = _linear_layers(policy), _stacks_of_experts(policy)
        if not layers and not stacks:
            raise ValueError(f"{type(policy).__name__} has no linear layer that LoRA could adapt: train it whole")
        with forked_rng():
            torch.manual_seed(seed)
            self._peft = _adapted(policy, layers, stacks, rank)
            left_out = _left_out(policy, layers)
            if left_out:  # peft takes some layers for experts by their names, and finds none there
                policy = self._peft.unload()
                weights = [f"{name}.weight" for name in left_out]
                layers = [name for name in layers if name not in left_out]
                torch.manual_seed(seed)
                self._peft = _adapted(policy, layers, stacks + weights, rank)
                left_out = _left_out(policy, layers + left_out)
            left_out = left_out or _bypassed(policy)
        if left_out:
            raise ValueError(f"LoRA would leave {left_out[0]} of {type(policy).__name__} as it is: train it whole")

    def off(self) -> AbstractContextManager:
        """Within it the policy is what it was without the adapter: the reference of DPO, for nothing."""
        return self._peft.disable_adapter()

    def remove(self) -> PreTrainedModel:
        """Take the adapter out, with all that it has learned: the plain model that it was."""
        return self._peft.unload().requires_grad_(True)

    def merge(self) -> PreTrainedModel:
        """Add the adapter to the weights and take it out: a plain model again, which transformers saves and loads."""
        return self._peft.merge_and_unload().requires_grad_(True)


def _adapted(policy: PreTrainedModel, layers: list[str], parameters: list[str], rank: int):
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        target_modules=layers,
        target_parameters=parameters or None,
        lora_dropout=0.0,  # log π must be a function of (x, y), not a draw
        fan_in_fan_out=policy.config.model_type == "gpt2",  # whose Conv1D keeps its matrices transposed
        task_type="CAUSAL_LM",
    )
    try:
        return get_peft_model(policy, config)
    except Exception as error:  # of any class: peft stumbles over layers that it does not expect
        raise ValueError(f"LoRA cannot adapt {type(policy).__name__}: {first_line(error)}") from error


def _linear_layers(policy: PreTrainedModel) -> list[str]:
    """All but the head, and but routers of mixtures, some of which give more than W x."""
    head = policy.get_output_embeddings()
    names = []
    for name, layer in policy.named_modules():
        is_router = "router" in type(layer).__name__.lower()
        if isinstance(layer, (torch.nn.Linear, Conv1D)) and layer is not head and not is_router:
            names.append(name)
    return names


def _stacks_of_experts(policy: PreTrainedModel) -> list[str]:
    """Parameters of three dimensions, one matrix an expert, that no layer of torch's own holds."""
    names = []
    for name, module in policy.named_modules():
        if isinstance(module, (torch.nn.Linear, torch.nn.modules.conv._ConvNd, torch.nn.MultiheadAttention)):
            continue
        for parameter_name, parameter in module.named_parameters(recurse=False):
            if parameter.dim() == 3 and len(parameter) > 1:
                names.append(f"{name}.{parameter_name}")
    return names


def _bypassed(policy: PreTrainedModel) -> list[str]:
    """Layers whose weights the policy reads without calling the layer, past the adapter in it, as some of Mamba's.

    Found by running a few tokens: what comes out depends on the weights of a layer that was not called. (Experts to
    which no token was sent are not called either, and nothing depends on them.)
    """
    from peft.tuners.lora import LoraLayer

    layers = {name: layer for name, layer in policy.named_modules() if isinstance(layer, LoraLayer)}
    called = set()

    def note(layer: torch.nn.Module, _inputs: tuple) -> None:
        called.add(layer)

    hooks = [layer.register_forward_pre_hook(note) for layer in layers.values()]
    tokens = trial_rows(policy)[0][None]
    mask = torch.ones_like(tokens)
    with torch.no_grad():
        policy(input_ids=tokens, attention_mask=mask, use_cache=False)
    for hook in hooks:
        hook.remove()
    past = {name: layer.get_base_layer().weight for name, layer in layers.items() if layer not in called}
    if not past:
        return []
    with torch.enable_grad():
        for weight in past.values():
            weight.requires_grad_(True)
        result = policy(input_ids=tokens, attention_mask=mask, use_cache=False).logits.float().square().sum()
        slopes = torch.autograd.grad(result, list(past.values()), allow_unused=True)
        for weight in past.values():
            weight.requires_grad_(False)
    return [name for name, slope in zip(past, slopes, strict=True) if slope is not None and slope.any()]


def _left_out(policy: PreTrainedModel, layers: list[str]) -> list[str]:
    """Those layers in which no adapter came to stand."""
    adapted = [name for name, _ in policy.named_parameters() if ".lora_" in name]
    return [layer for layer in layers if not any(name.startswith(f"{layer}.") for name in adapted)]
