"""Exercises of chapter 10: win rates, how sure they are, and what moves them; each has its own file."""

from dpo_book.checks.both_orders import check_both_orders
from dpo_book.checks.comparisons_needed import check_comparisons_needed
from dpo_book.checks.length_controlled import check_length_controlled_loss
from dpo_book.checks.wilson import check_wilson

__all__ = ["check_both_orders", "check_comparisons_needed", "check_length_controlled_loss", "check_wilson"]
