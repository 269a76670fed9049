"""How far off is `tunesmith estimate --model …`, the memory reckoned from a configuration alone, where it can be measured?

    python bench/capacity.py [--data faq.jsonl] [--models smollm2-135m-instruct gemma3-270m] [--cases lora full] [--out capacity.json]

Every case trains some steps in a process of its own; what it had at most within them is set against the formula
(`tunesmith/train/capacity.py`) for the same tokens. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from measure import Figures, parser_for, publish, record, runner
from tunesmith.assets import resolve_model
from tunesmith.cli.capacity import make_subject
from tunesmith.config import TrainConfig, build
from tunesmith.data.builtin import builtin_data_file
from work import conversations

LORA = {"rank": 16, "alpha": 32}
CASES: Mapping[str, dict[str, Any]] = {
    "lora": {"method": "lora", "lora": LORA},
    "lora, half the tokens": {"method": "lora", "lora": LORA, "tokens_per_micro_batch": 512, "tokens_per_step": 512},
    "lora, activations again": {"method": "lora", "lora": LORA, "activation_checkpointing": True},
    "qlora": {"method": "qlora", "lora": LORA},
    "freeze": {"method": "freeze", "cache_activations": False},
    "full": {"method": "full"},
    "full, two micro-batches": {"method": "full", "tokens_per_step": 2048},
    "full, activations again": {"method": "full", "activation_checkpointing": True},
}
"""By the name in the table: fields of TrainConfig."""


def main() -> None:
    options = parse_options()
    examples = conversations(options.data, options.examples)
    rows = [{"prompt": example.prompt, "completion": example.reference} for example in examples]
    results = []
    print("| model | case | tokens | measured | reckoned | error | of which python and libraries |\n|---|---|---|---|---|---|---|")
    with runner(options.threads) as run:
        for model in options.models:
            folder = resolve_model(model, on_progress=print).directory
            for case in options.cases:
                settings = {"tokens_per_micro_batch": 1024, "tokens_per_step": 1024, "dtype": options.dtype, **CASES[case]}
                train = {"template": "qa", "max_steps": options.steps, "epochs": 20, "evaluate_every": 1000, **settings}
                task = {"model": str(folder), "rows": rows, "train": train}
                measured = run.run("ours_capacity.py", task)
                results.append({"model": model, "case": case, **measured, **reckoned(folder, settings, measured)})
                print(row(results[-1]), flush=True)
    publish(record(options, runs=results), options.out)


def parse_options() -> argparse.Namespace:
    parser = parser_for(__doc__, repeats=1)
    parser.add_argument("--data", type=Path, default=builtin_data_file(), help="question/answer file; default: the built-in data set")
    parser.add_argument("--examples", type=int, default=96)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--models", nargs="+", default=("smollm2-135m-instruct", "gemma3-270m"))
    parser.add_argument("--cases", nargs="+", choices=tuple(CASES), default=tuple(CASES))
    options: argparse.Namespace = parser.parse_args()
    return options


def reckoned(folder: Path, settings: Mapping[str, Any], measured: Figures) -> Figures:
    """By the formula, for the most tokens that a step had."""
    tokens = min(measured["most_tokens_of_a_step"], settings["tokens_per_micro_batch"])
    several = {"tokens_per_step": measured["most_tokens_of_a_step"]}
    own = {**settings, **several, "tokens_per_micro_batch": tokens, "max_length": min(64, tokens), "device": "cpu"}
    config = build(TrainConfig, {"model": str(folder), "data": folder, **own})
    subject, _ = make_subject(folder / "config.json", config)
    memory = subject.memory("alone", 1)
    return {"tokens": tokens, "reckoned_bytes": memory.total, "parts": memory.parts()}


def row(result: Figures) -> str:
    measured, expected = result["step_peak_bytes"], result["reckoned_bytes"]
    own = measured - (expected - result["parts"]["process"])
    cells = [result["model"], result["case"], f"{result['tokens']:,}", f"{measured / 1e9:.2f} GB", f"{expected / 1e9:.2f} GB"]
    return f"| {' | '.join([*cells, f'{100 * (expected / measured - 1):+.0f} %', f'{own / 1e9:.2f} GB'])} |"


if __name__ == "__main__":
    main()
