"""The call shapes that courses on fine-tuning teach, on this machine.

python examples/basic_model_runner.py [MODEL]
"""

import sys
from pathlib import Path

from tunesmith import BasicModelRunner

model = BasicModelRunner(sys.argv[1] if len(sys.argv) > 1 else "smollm2-135m-instruct")
model.load_data_from_jsonlines(Path(__file__).with_name("password_faq.jsonl"), input_key="question", output_key="answer", test_fraction=0.2)
model.train(is_public=False, epochs=4)
for result in model.evaluate(max_new_tokens=48)["eval_results"]:
    print(result["input"])
    for output in result["outputs"]:
        print(f"  {output['model_name']}: {output['output']}")
