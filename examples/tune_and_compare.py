"""Tune a model on a few of your own questions and answers, and see whether it got better.

python examples/tune_and_compare.py [MODEL]
"""

import sys
from pathlib import Path

from tunesmith import Model

model = Model(sys.argv[1] if len(sys.argv) > 1 else "smollm2-135m-instruct")
model.load_data(Path(__file__).with_name("password_faq.jsonl"), test_fraction=0.2)
run = model.train(epochs=4)
print(model.evaluate(max_new_tokens=48))
print(model("How do I change my password?", max_new_tokens=48))
print(f"everything is in {run.directory}")
