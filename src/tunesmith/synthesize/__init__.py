"""New examples from a teacher: any OpenAI-compatible endpoint, or a local model.

In order of the way of an example: recipes (what is asked, and what an answer to it must be) -> calls, teacher, ledger (asking,
counting, resuming) -> replies (reading what came back) -> sieve (what is kept) -> synthesize (the whole, and its files).
"""
