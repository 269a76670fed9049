"""Verdicts of a judge, a chat model, on the answers of evaluated runs, and how far the judge can be trusted.

In the order of a verdict: rubric, prompts (what is asked) -> contests (of whose answers) -> asking (resumable, within a budget)
-> verdicts (reading, strictly) -> pairwise, pointwise (what follows) -> bias, agreement (how good a judge it is) -> judgement (the
record, its lines) -> judge (the whole).

A verdict that failed or cannot be read is missing. It is counted and never becomes a tie or a score.
"""
