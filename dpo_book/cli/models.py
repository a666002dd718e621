"""The models of a command: loaded where they belong, and one of them made ready for training."""

from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from dpo_book.cli.data import Data
from dpo_book.models.lora import Lora
from dpo_book.models.policy import build_policy, load_policy, train_tokenizer
from dpo_book.system.processes import gather, join, shard


def load(name: str, data: Data | None = None) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A policy and its tokenizer; "mini" is a new one whose tokenizer is made from ``data``, where that is given."""
    logging.disable_progress_bar()  # of reading and writing weights; ours is the run's
    device = join()
    if name == "mini" and data is not None:
        tokenizer = train_tokenizer(data.texts())
        return build_policy("mini", tokenizer).to(device), tokenizer
    model, tokenizer = load_policy(name)
    return model.to(device), tokenizer


def load_reference(name: str, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """A second policy. ValueError unless its tokens are those of ``tokenizer``, the first one's."""
    model, theirs = load(name)
    if theirs.get_vocab() != tokenizer.get_vocab():
        raise ValueError(f"the reference {name} has another tokenizer than the policy: their tokens must be the same")
    return model


class Trainee:
    """A model in training: all of it or an adapter, in this process or in shards. ``model`` is what to train."""

    def __init__(self, model: PreTrainedModel, lora_rank: int | None = None, seed: int = 0):
        self._whole = model
        self._lora = None if lora_rank is None else Lora(model, lora_rank, seed)
        self.model = shard(model)

    def trained(self) -> PreTrainedModel:
        """The model whole and plain again. Of several processes, all have to ask."""
        gather(self.model, self._whole)
        return self._lora.merge() if self._lora else self._whole
