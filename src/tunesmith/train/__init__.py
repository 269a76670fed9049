"""The training loop, its plan, its checkpoints."""
