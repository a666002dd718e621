"""Every loss of pairs by the name that ``DPOConfig`` and the command line have for it."""

from dpo_book.maths.dpo import dpo_loss
from dpo_book.maths.relatives.anchors import (
    apo_down_loss,
    apo_zero_loss,
    chi_po_loss,
    dpop_loss,
    kto_batch_loss,
    rpo_loss,
)
from dpo_book.maths.relatives.lengths import dpo_norm_loss, orpo_loss, rdpo_loss, simpo_loss
from dpo_book.maths.relatives.margins import cdpo_loss, hinge_loss, ipo_loss, robust_loss
from dpo_book.maths.relatives.pairs import Loss, PairLogps, PairLoss, checked


def dpo(logps: PairLogps, beta: float) -> PairLoss:
    """``dpo_loss``, called as its relatives are."""
    checked(logps, beta)
    log_probabilities = logps[:4]  # the tokens are not read
    return PairLoss(*dpo_loss(*log_probabilities, beta))


LOSSES: dict[str, Loss] = {
    "dpo": dpo,
    "ipo": ipo_loss,
    "cdpo": cdpo_loss,
    "robust": robust_loss,
    "hinge": hinge_loss,
    "dpo_norm": dpo_norm_loss,
    "rdpo": rdpo_loss,
    "simpo": simpo_loss,
    "orpo": orpo_loss,
    "dpop": dpop_loss,
    "rpo": rpo_loss,
    "apo_zero": apo_zero_loss,
    "apo_down": apo_down_loss,
    "kto": kto_batch_loss,
    "chi_po": chi_po_loss,
}
