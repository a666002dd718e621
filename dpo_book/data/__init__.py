"""Preferences: read from files and the hub, tokenised into pairs, put into batches."""
