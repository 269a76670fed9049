"""Examples to tokens and back: one renderer for training, generation, evaluation and serving."""
