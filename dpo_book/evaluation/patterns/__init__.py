"""What to watch in a training run: patterns of its log, found and named, each with its numbers and what to do."""
