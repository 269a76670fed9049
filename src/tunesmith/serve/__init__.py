"""An OpenAI-compatible server over our own generation: models, keys, limits, metrics."""
