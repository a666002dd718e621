"""What DPO is told: which loss, and the settings that this one takes. The command line reads it as ``config.py``."""

from dataclasses import dataclass, replace
from typing import Self, get_args

from dpo_book.maths.relatives.settings import SETTING_NAMES, SETTINGS, WITHOUT_REFERENCE, LossName, require_setting
from dpo_book.maths.require import SettingError, require_beta, require_choice, require_flag
from dpo_book.training.config import PairConfig


@dataclass(frozen=True, kw_only=True)
class DPOConfig(PairConfig):
    """DPO (eq. 7), or one of its relatives by name: see ``maths/relatives``."""

    large_model_rate = 1e-6  # the paper's, appendix B

    beta: float = 0.1
    """β, how strongly the policy is held to its reference; no unit, rewards being in nats. IPO's τ and ORPO's λ;
    simpo wants 2 or more, for it multiplies nats a token"""
    reference_free: bool = False
    """take the reference as uniform, see ``dpo_loss``; for loss dpo"""
    loss: LossName = "dpo"
    """which function of a pair's log-probabilities is minimised: DPO's (eq. 7), or what came after it"""
    label_smoothing: float | None = None
    """ε of cdpo and robust: how often a label is taken to be wrong, by default 0.1"""
    length_penalty: float | None = None
    """α of rdpo: what a token of length is taken to have earned in the labels, in nats, by default 0.01"""
    target_margin: float | None = None
    """γ of simpo: by how much the chosen is to lead, in nats, by default 0.5"""
    penalty: float | None = None
    """λ of dpop: the price of a chosen completion that falls below its reference, by default 5"""
    nll_weight: float | None = None
    """η of rpo: the weight of imitating the chosen, by default 1"""
    reward_bound: float | None = None
    """R of chi_po: margins are cut off at twice this, in nats, by default 10"""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_beta(self.beta)
        require_flag("reference_free", self.reference_free)
        require_choice("loss", self.loss, get_args(LossName))
        if self.reference_free and self.loss != "dpo":
            raise SettingError(f"reference_free is for loss dpo, and this is {self.loss}: leave it out")
        if self.loss == "kto" and self.micro_batch_size is not None:
            raise SettingError("loss kto compares with the mean of its whole batch: leave micro_batch_size out")
        for name in SETTING_NAMES:
            self._check_setting(name)

    def resolved(self, parameters: int, adapter: bool = False) -> Self:
        """As ``TrainConfig.resolved``, and the loss's own settings are filled in too."""
        return replace(super().resolved(parameters, adapter), **self.loss_settings)

    @property
    def loss_settings(self) -> dict[str, float]:
        """What the loss takes besides β: as given, or by default."""
        settings = {}
        for name, default in SETTINGS.get(self.loss, {}).items():
            given = getattr(self, name)
            settings[name] = default if given is None else given
        return settings

    @property
    def reads_reference(self) -> bool:
        """Whether the loss needs log π_ref at all."""
        return not self.reference_free and self.loss not in WITHOUT_REFERENCE

    def _check_setting(self, name: str) -> None:
        """SettingError for a setting that the loss does not take, or not with this value."""
        value = getattr(self, name)
        if value is None:
            return
        if name not in SETTINGS.get(self.loss, {}):
            of = " and ".join(loss for loss, settings in SETTINGS.items() if name in settings)
            raise SettingError(f"{name} is a setting of loss {of}, and this is {self.loss}: leave it out")
        require_setting(name, value)
