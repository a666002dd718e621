# The package's public names and where they live. __init__.py loads each when it is first asked for.
from .data.pairs import Pair, PairError, bradley_terry_pairs, tokenize_pairs
from .data.preferences import Preference, PreferenceError, load_preferences
from .maths.bradley_terry import fit_rewards, preference_probability, reward_model_loss
from .maths.dpo import dpo_loss, soft_dpo_loss
from .maths.exact import best_of_n_logp, expected_reward, kl_divergence
from .maths.objective import (
    implicit_reward,
    kl_regularized_objective,
    log_partition,
    optimal_logp,
    policy_preference_probability,
)
from .models.logprobs import Batch, collate, enumerate_logp, sequence_logp
from .models.policy import (
    PolicyNotFoundError,
    build_policy,
    copy_policy,
    load_policy,
    sample,
    train_tokenizer,
)
from .models.reward_model import build_reward_model, sequence_reward
from .notebook import setup
from .training.config import DPOConfig, PPOConfig, RewardConfig, SFTConfig, UnlikelihoodConfig
from .training.offline import train_dpo, train_reward_model, train_sft, train_unlikelihood
from .training.ppo import train_ppo
from .training.updates import TrainingDiverged
