"""The equations as pure functions of tensors: torch only, no model in sight."""
