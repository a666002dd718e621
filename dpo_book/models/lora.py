"""LoRA (Hu et al. 2021) through peft: train a few low-rank matrices beside frozen weights.

The policy stays the plain model that it was; the matrices are put into its layers, so that every function of the
book works on it as before. With the adapter off it is its own reference: one model in memory is both.
"""

from contextlib import AbstractContextManager

import torch
from transformers import PreTrainedModel

from dpo_book.maths.require import require_count


class Lora:
    """A low-rank adapter in all of a policy's linear layers but the head: W becomes W + 2 B A, and B starts at zero.

    A is (rank, inputs), B (outputs, rank); A's first values depend on ``seed``. Put in place at once: from then
    on only these matrices take gradients.
    """

    def __init__(self, policy: PreTrainedModel, rank: int, seed: int = 0):
        require_count("the rank of LoRA", rank)
        try:
            from peft import LoraConfig, get_peft_model
        except ImportError:
            raise ImportError('LoRA needs an extra package: pip install "dpo-book[lora]"') from None
        config = LoraConfig(
            r=rank,
            lora_alpha=2 * rank,
            target_modules="all-linear",
            lora_dropout=0.0,  # log π must be a function of (x, y), not a draw
            fan_in_fan_out=policy.config.model_type == "gpt2",  # whose Conv1D keeps its matrices transposed
            task_type="CAUSAL_LM",
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._peft = get_peft_model(policy, config)

    def off(self) -> AbstractContextManager:
        """Within it the policy is what it was without the adapter: the reference of DPO, for nothing."""
        return self._peft.disable_adapter()

    def merge(self) -> PreTrainedModel:
        """Add the adapter to the weights and take it out: a plain model again, which transformers saves and loads."""
        return self._peft.merge_and_unload().requires_grad_(True)
