"""Tokens to numbers: loading, adapters, packing, attention, loss, scoring, generation. Knows no user files."""
