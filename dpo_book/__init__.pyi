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
from .data.splits import (
    split_by_prompt as split_by_prompt,
)
from .evaluation.head_to_head import (
    head_to_head as head_to_head,
    head_to_head_table as head_to_head_table,
)
from .evaluation.judges import (
    Comparison as Comparison,
    in_both_orders as in_both_orders,
    in_random_order as in_random_order,
)
from .evaluation.labelling import (
    LabellingSession as LabellingSession,
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
    scores_in_both_orders as scores_in_both_orders,
)
from .maths.agreement import (
    agreement as agreement,
    agreement_ceiling as agreement_ceiling,
    best_agreement as best_agreement,
    cohen_kappa as cohen_kappa,
    expected_agreement as expected_agreement,
)
from .maths.bradley_terry import (
    fit_rewards as fit_rewards,
    preference_probability as preference_probability,
    reward_model_loss as reward_model_loss,
)
from .maths.coverage import (
    exact_coverage as exact_coverage,
    simulated_coverage as simulated_coverage,
)
from .maths.differences import (
    paired_difference as paired_difference,
    unpaired_difference as unpaired_difference,
    variance_of_pairing as variance_of_pairing,
)
from .maths.dpo import (
    dpo_loss as dpo_loss,
    soft_dpo_loss as soft_dpo_loss,
)
from .maths.estimates import (
    bootstrap_interval as bootstrap_interval,
    bootstrap_share_interval as bootstrap_share_interval,
    normal_share_interval as normal_share_interval,
    share_interval as share_interval,
    win_rate_interval as win_rate_interval,
)
from .maths.exact import (
    best_of_n_logp as best_of_n_logp,
    expected_reward as expected_reward,
    kl_divergence as kl_divergence,
)
from .maths.leaderboard import (
    goodness_of_fit as goodness_of_fit,
    leaderboard as leaderboard,
)
from .maths.length_bias import (
    length_control as length_control,
)
from .maths.logistic import (
    SeparationError as SeparationError,
    logistic_regression as logistic_regression,
)
from .maths.objective import (
    implicit_reward as implicit_reward,
    kl_regularized_objective as kl_regularized_objective,
    log_partition as log_partition,
    optimal_logp as optimal_logp,
    policy_preference_probability as policy_preference_probability,
)
from .maths.power import (
    comparisons_to_tell as comparisons_to_tell,
    power_of_difference as power_of_difference,
    z_of_difference as z_of_difference,
)
from .maths.relatives.anchors import (
    apo_down_loss as apo_down_loss,
    apo_zero_loss as apo_zero_loss,
    chi_po_loss as chi_po_loss,
    dpop_loss as dpop_loss,
    kto_loss as kto_loss,
    rpo_loss as rpo_loss,
)
from .maths.relatives.lengths import (
    dpo_norm_loss as dpo_norm_loss,
    orpo_loss as orpo_loss,
    rdpo_loss as rdpo_loss,
    simpo_loss as simpo_loss,
)
from .maths.relatives.margins import (
    cdpo_loss as cdpo_loss,
    hinge_loss as hinge_loss,
    ipo_loss as ipo_loss,
    robust_loss as robust_loss,
)
from .maths.relatives.pairs import (
    PairLogps as PairLogps,
    PairLoss as PairLoss,
    expected_loss as expected_loss,
)
from .maths.swaps import (
    swap_power as swap_power,
    swap_test as swap_test,
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
from .models.reward_loading import (
    load_reward_model as load_reward_model,
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
    PPOConfig as PPOConfig,
    RewardConfig as RewardConfig,
    SFTConfig as SFTConfig,
    UnlikelihoodConfig as UnlikelihoodConfig,
)
from .training.dpo_config import (
    DPOConfig as DPOConfig,
)
from .training.offline import (
    train_dpo as train_dpo,
    train_reward_model as train_reward_model,
    train_sft as train_sft,
    train_unlikelihood as train_unlikelihood,
)
from .training.online import (
    train_online_dpo as train_online_dpo,
)
from .training.ppo import (
    train_ppo as train_ppo,
)
from .training.updates import (
    TrainingDiverged as TrainingDiverged,
)
