"""vLLM beside our engine."""
