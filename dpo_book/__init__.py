"""Direct Preference Optimization, every equation exact: the package behind the workbook."""

from dpo_book.data.pairs import Pair, PairError, bradley_terry_pairs, tokenize_pairs
from dpo_book.data.preferences import Preference, PreferenceError, load_preferences
from dpo_book.maths.bradley_terry import fit_rewards, preference_probability, reward_model_loss
from dpo_book.maths.dpo import dpo_loss, soft_dpo_loss
from dpo_book.maths.objective import (
    implicit_reward,
    kl_divergence,
    kl_regularized_objective,
    log_partition,
    optimal_logp,
    policy_preference_probability,
)
from dpo_book.models.logprobs import Batch, collate, enumerate_logp, sequence_logp
from dpo_book.models.policy import (
    PolicyNotFoundError,
    build_policy,
    copy_policy,
    load_policy,
    sample,
    train_tokenizer,
)
from dpo_book.models.reward_model import build_reward_model, sequence_reward
from dpo_book.notebook import setup
from dpo_book.training.config import DPOConfig, PPOConfig, RewardConfig, SFTConfig, UnlikelihoodConfig
from dpo_book.training.offline import train_dpo, train_reward_model, train_sft, train_unlikelihood
from dpo_book.training.ppo import train_ppo
from dpo_book.training.updates import TrainingDiverged

__all__ = [
    "Batch",
    "DPOConfig",
    "PPOConfig",
    "Pair",
    "PairError",
    "PolicyNotFoundError",
    "Preference",
    "PreferenceError",
    "RewardConfig",
    "SFTConfig",
    "TrainingDiverged",
    "UnlikelihoodConfig",
    "bradley_terry_pairs",
    "build_policy",
    "build_reward_model",
    "collate",
    "copy_policy",
    "dpo_loss",
    "enumerate_logp",
    "fit_rewards",
    "implicit_reward",
    "kl_divergence",
    "kl_regularized_objective",
    "load_policy",
    "load_preferences",
    "log_partition",
    "optimal_logp",
    "policy_preference_probability",
    "preference_probability",
    "reward_model_loss",
    "sample",
    "sequence_logp",
    "sequence_reward",
    "setup",
    "soft_dpo_loss",
    "tokenize_pairs",
    "train_dpo",
    "train_ppo",
    "train_reward_model",
    "train_sft",
    "train_tokenizer",
    "train_unlikelihood",
]
