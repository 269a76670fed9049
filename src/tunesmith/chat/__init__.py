"""Ask any chat model, at an OpenAI-compatible endpoint or on this machine, many times, concurrently, within a budget, resumably.

In the order of a call: calls (what is asked, what comes back) -> budget (what it may cost) -> models (who answers) -> ledger (what was
paid for is never asked again) -> replies (reading what came back, strictly).
"""
