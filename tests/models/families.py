"""Every causal language model of transformers, tiny, without a list of their names.

A configuration's own numbers are made small by what they are called; a few ways of doing so are tried in turn, for a
shape that a family refuses it says so. What remains unbuilt is counted by why.
"""

import re
from collections.abc import Iterator

import torch
from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

V = 60
LARGEST = 3_000_000  # parameters; more would be a number whose name was not known
LAYERS = r"^n_layers?$|^num_hidden_layers$|^num_layers$|^num_blocks$|_layers$"
SHARED_HEADS = r"key_value_heads|kv_heads|key_value_groups|query_groups"
HEADS = r"heads?$"
WINDOWS = r"chunk|window"
# What a number is called, and how small it becomes; the first that fits.
SMALL = {
    r"vocab_size|^num_embeddings$|hash_functions_size": V,
    LAYERS: 4,
    r"mamba.*heads$": 8,
    SHARED_HEADS: 2,
    r"head_dim$|d_head$|dim_head|head_size|state_size|d_state|rotary_dim": 8,
    HEADS: 4,
    r"_rank$": 8,
    r"intermediate|ffn|d_ff|dim_ff|inner_dim|feedforward": 64,
    r"hidden_size|d_model|n_embd|embedding_size|embd|^emb_dim|^dim$|_dim$|_size_per_": 32,
    r"experts?_per_tok|top_?k$|moe_k|num_selected": 2,
    r"experts?(_num)?$|num_experts": 4,
    r"n_groups?$|topk_group|num_groups?$|ngroups": 1,
    r"max_position|n_positions|max_seq|n_ctx|context_length|max_sequence|max_target|max_source": 64,
    WINDOWS: 8,
    r"kernel|conv": 4,
}
# Other small numbers, and whether lists with an entry a layer are cut and numbers that are not set are given.
VARIANTS = (
    {},
    {"cut": True},
    {SHARED_HEADS: 4},
    {SHARED_HEADS: 4, "cut": True},
    {"fill": True},
    {"fill": True, "cut": True},
    {HEADS: 8, SHARED_HEADS: 8},
    {HEADS: 8, "cut": True},
    {WINDOWS: 16},
    {LAYERS: 12},
    {LAYERS: 12, "cut": True},
)


def names() -> list[str]:
    """What transformers calls its families with a causal language model."""
    return list(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


def small(config: PretrainedConfig, cut: bool = False, fill: bool = False, **others: int) -> dict:
    """The settings of a small model of this configuration's family."""
    sizes = SMALL | others
    changed = {}
    depths = [value for name, value in vars(config).items() if re.search(LAYERS, name) and isinstance(value, int)]
    for name, value in vars(config).items():
        if name.startswith("_") or isinstance(value, bool):
            continue
        if fill and value is None and re.search(r"head_dim|key_value_heads|experts|_rank$", name):
            value = LARGEST
        if isinstance(value, PretrainedConfig):
            changed[name] = small(value, cut, fill, **others)
        elif name.endswith("_token_id") and value is not None:
            changed[name] = {"eos": 1, "bos": 2}.get(name[:3], 0)
        elif isinstance(value, int):
            fitting = [size for pattern, size in sizes.items() if re.search(pattern, name)]
            changed |= {name: min(value, fitting[0])} if fitting else {}
        elif cut and isinstance(value, list) and len(value) in depths:
            changed[name] = value[: sizes[LAYERS]]
    return changed


def build(name: str) -> PreTrainedModel:
    """A tiny model of this family, its weights blurred until it has opinions. Raises what the family raises."""
    configuration = CONFIG_MAPPING[name]
    first_error = None
    for variant in VARIANTS:
        try:
            config = configuration(**small(configuration(), **variant))
            with torch.device("meta"):
                size = AutoModelForCausalLM.from_config(config).num_parameters()
            if size > LARGEST:
                raise ValueError(f"{size} parameters")
            torch.manual_seed(0)
            model = blurred(AutoModelForCausalLM.from_config(config).eval())
            model.generation_config.eos_token_id = model.config.eos_token_id = None  # and never ends
            for length in (1, 19):
                logits = naive_logits(model, list(range(2, 2 + length)))
            if not logits.isfinite().all():
                raise ValueError("its logits are not finite")
            return model
        except Exception as error:  # whatever its class: every family has its own
            first_error = first_error or error
    raise first_error


@torch.no_grad()
def blurred(model: PreTrainedModel) -> PreTrainedModel:
    """Fresh weights are so small that every token is as likely as any other, and that would hide a fault."""
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter += (0.2 * torch.randn(parameter.shape, generator=generator)).to(parameter.dtype)
    return model


@torch.no_grad()
def naive_logits(model: PreTrainedModel, ids: list[int]) -> torch.Tensor:
    """(T, V): the row alone, whole, without padding, mask, positions or cache."""
    return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].float()


def all_built() -> Iterator[tuple[str, PreTrainedModel | Exception]]:
    """Each family with its tiny model, or why there is none."""
    for name in names():
        try:
            yield name, build(name)
        except Exception as error:
            yield name, error
