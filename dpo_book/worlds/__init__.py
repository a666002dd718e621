"""Worlds: where prompts, texts to imitate and true rewards come from.

A world gives ``tokenizer``, ``prompts``, ``corpus(size, seed)`` (texts to imitate) and the ground truth
``reward(prompt, response)``. An enumerable world also gives ``responses``, all of them.
"""
