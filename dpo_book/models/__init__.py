"""Causal language models of transformers: made, loaded, sampled from, and asked for log π(y|x)."""
