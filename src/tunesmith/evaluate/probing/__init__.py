"""Probes: what an evaluation on held-out examples does not ask.

Does the model keep to its subject, and what does it give away?
"""
