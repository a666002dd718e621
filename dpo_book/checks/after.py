"""Exercises of chapter 11: two losses after DPO, and the policy at the minimum of one; each has its own file."""

from dpo_book.checks.ipo import check_ipo
from dpo_book.checks.ipo_optimum import check_ipo_optimum
from dpo_book.checks.robust import check_robust_dpo

__all__ = ["check_ipo", "check_ipo_optimum", "check_robust_dpo"]
