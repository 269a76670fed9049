"""Base against tuned on held-out examples: scorers, paired statistics, the report and its page."""
