# The package's public names and where they live. __init__.py loads each when it is first asked for.
# ("as" tells type checkers and editors that a name is given on.)
from .data.pairs import (
    Pair as Pair,
    PairError as PairError,
    bradley_terry_pairs as bradley_terry_pairs,
    tokenize_pairs as tokenize_pairs,
)
from .data.preferences import (
    Preference as Preference,
    PreferenceError as PreferenceError,
    load_preferences as load_preferences,
)
from .evaluation.judges import (
    Comparison as Comparison,
    in_both_orders as in_both_orders,
    in_random_order as in_random_order,
)
from .evaluation.quality_judges import (
    SyntheticJudge as SyntheticJudge,
    exact_judge as exact_judge,
)
from .evaluation.reward_judge import (
    reward_model_judge as reward_model_judge,
)
from .evaluation.verdicts_file import (
    recorded_judge as recorded_judge,
)
from .evaluation.win_rates import (
    judged_win_rate as judged_win_rate,
    swap_test as swap_test,
)
from .maths.bradley_terry import (
    fit_rewards as fit_rewards,
    preference_probability as preference_probability,
    reward_model_loss as reward_model_loss,
)
from .maths.dpo import (
    dpo_loss as dpo_loss,
    soft_dpo_loss as soft_dpo_loss,
)
from .maths.exact import (
    best_of_n_logp as best_of_n_logp,
    expected_reward as expected_reward,
    kl_divergence as kl_divergence,
)
from .maths.objective import (
    implicit_reward as implicit_reward,
    kl_regularized_objective as kl_regularized_objective,
    log_partition as log_partition,
    optimal_logp as optimal_logp,
    policy_preference_probability as policy_preference_probability,
)
from .models.loading import (
    load_policy as load_policy,
)
from .models.logprobs import (
    Batch as Batch,
    collate as collate,
    enumerate_logp as enumerate_logp,
    sequence_logp as sequence_logp,
)
from .models.policy import (
    build_policy as build_policy,
    copy_policy as copy_policy,
    sample as sample,
    train_tokenizer as train_tokenizer,
)
from .models.refusals import (
    NotAPolicyError as NotAPolicyError,
    PolicyNotFoundError as PolicyNotFoundError,
)
from .models.reward_model import (
    build_reward_model as build_reward_model,
    sequence_reward as sequence_reward,
)
from .notebook import (
    setup as setup,
)
from .system.devices import (
    best_device as best_device,
)
from .training.config import (
    DPOConfig as DPOConfig,
    PPOConfig as PPOConfig,
    RewardConfig as RewardConfig,
    SFTConfig as SFTConfig,
    UnlikelihoodConfig as UnlikelihoodConfig,
)
from .training.offline import (
    train_dpo as train_dpo,
    train_reward_model as train_reward_model,
    train_sft as train_sft,
    train_unlikelihood as train_unlikelihood,
)
from .training.ppo import (
    train_ppo as train_ppo,
)
from .training.updates import (
    TrainingDiverged as TrainingDiverged,
)
