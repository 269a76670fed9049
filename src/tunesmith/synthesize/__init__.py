"""New examples from a teacher: any chat model (see tunesmith.chat).

In order of the way of an example: recipes (what is asked, and what an answer to it must be) -> synthesize (asking, resuming, counting)
-> candidates -> sieve (what is kept) -> the files.
"""
