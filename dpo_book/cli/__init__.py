"""``python -m dpo_book``: the commands, their options, and the folder a run lives in."""
