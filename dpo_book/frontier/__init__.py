"""Methods that compete: one world, one reference, the same comparisons, one table."""
