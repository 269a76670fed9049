"""Prompts to completions: continuous batching over a static cache of keys and values."""
