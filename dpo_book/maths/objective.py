"""Equations 3 to 6, exactly: the RLHF objective, its optimum, and the reward inside a policy.

Pure functions of log-probabilities, no model in sight. Where a sum over
responses y stands in the paper, the last dimension holds *all* N responses. Everything is in nats.
There other shapes raise ValueError, but that (N,) stands for every prompt; what is NaN makes the result NaN.
"""

import torch
from torch import Tensor

from dpo_book.maths.exact import expected_reward, kl_divergence
from dpo_book.maths.require import require_beta
from dpo_book.maths.shapes import require_same_responses, require_tensors


def kl_regularized_objective(logp: Tensor, ref_logp: Tensor, reward: Tensor, beta: float) -> Tensor:
    """Equation 3: E_{y~π}[r(x,y)] − β KL[π(y|x) ‖ π_ref(y|x)].

    logp, ref_logp, reward: (..., N) over all N responses; returns (...), one value a prompt.
    """
    require_beta(beta)
    require_same_responses(logp=logp, ref_logp=ref_logp, reward=reward)
    return expected_reward(logp, reward) - beta * kl_divergence(logp, ref_logp)


def log_partition(ref_logp: Tensor, reward: Tensor, beta: float) -> Tensor:
    """log Z(x) of equation 4, with Z(x) = Σ_y π_ref(y|x) exp(r(x,y)/β).

    ref_logp, reward: (..., N) over all N responses; returns (...).
    """
    require_same_responses(ref_logp=ref_logp, reward=reward)
    return torch.logsumexp(ref_logp + reward / require_beta(beta), dim=-1)


def optimal_logp(ref_logp: Tensor, reward: Tensor, beta: float) -> Tensor:
    """Equation 4: log π*(y|x) = log π_ref(y|x) + r(x,y)/β − log Z(x).

    ref_logp, reward: (..., N) over all N responses; returns (..., N), whose exp sums to 1.
    """
    log_z = log_partition(ref_logp, reward, beta).unsqueeze(-1)
    return ref_logp + reward / require_beta(beta) - log_z


def implicit_reward(logp: Tensor, ref_logp: Tensor, beta: float) -> Tensor:
    """Equation 5 without its last term: r̂(x,y) = β log(π(y|x)/π_ref(y|x)).

    Any shapes that broadcast. It differs from the reward that π is optimal for by β log Z(x), a constant
    a prompt, which no comparison of two responses to one prompt can see.
    """
    require_tensors(logp=logp, ref_logp=ref_logp)
    return require_beta(beta) * (logp - ref_logp)


def policy_preference_probability(
    policy_logp_a: Tensor, policy_logp_b: Tensor, ref_logp_a: Tensor, ref_logp_b: Tensor, beta: float
) -> Tensor:
    """Equation 6: p(a ≻ b | x) = σ(β log(π(a)/π_ref(a)) − β log(π(b)/π_ref(b))).

    Equation 1 with the implicit rewards put in for r; log Z(x) has cancelled. Any shapes that broadcast.
    """
    return torch.sigmoid(
        implicit_reward(policy_logp_a, ref_logp_a, beta) - implicit_reward(policy_logp_b, ref_logp_b, beta)
    )
