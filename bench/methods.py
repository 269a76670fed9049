"""Every training method and objective: does it learn, does it resume to the same end, how fast, how much memory.

    python bench/methods.py [--data faq.jsonl] [--pairs pairs.json] [--examples 48] [--out methods.json]

Each method trains some epochs over the same examples; it has learnt when the last epoch's loss is below the first one's.
Then the same run is interrupted (Ctrl-C) in the middle and resumed in a new process: its losses have to be equal to the
uninterrupted run's. Prints a table in Markdown; `--out` keeps it beside the JSON as `.md`.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from measure import Figures, Runner, parser_for, publish, record, runner
from tunesmith.assets import resolve_model
from tunesmith.data.builtin import builtin_data_file
from tunesmith.types import Example
from work import Pair, Record, conversations, mismatched_pairs, preference_pairs

LORA = {"rank": 16, "alpha": 32}
METHODS: Mapping[str, dict[str, Any]] = {
    "LoRA": {"method": "lora", "lora": LORA, "learning_rate": 2e-4},
    "DoRA": {"method": "lora", "lora": {**LORA, "dora": True}, "learning_rate": 2e-4},
    "QLoRA": {"method": "qlora", "lora": LORA, "learning_rate": 2e-4},
    "freeze": {"method": "freeze", "learning_rate": 1e-4},
    "full": {"method": "full", "learning_rate": 5e-5},
    "DPO": {"method": "lora", "lora": LORA, "objective": "dpo", "learning_rate": 1e-4},
    "KTO": {"method": "lora", "lora": LORA, "objective": "kto", "learning_rate": 1e-4},
    "ORPO": {"method": "lora", "lora": LORA, "objective": "orpo", "learning_rate": 1e-4},
}
"""By the name in the table: fields of TrainConfig. Preferences are trained with LoRA."""

COLUMNS = ("method", "loss, first epoch", "loss, last epoch", "learns", "resumes equal", "tokens/s", "peak memory")


def main() -> None:
    options = parse_options()
    model = resolve_model(options.model, on_progress=print).directory
    examples = conversations(options.data, options.examples)
    pairs = preference_pairs(options.pairs, options.examples) if options.pairs else mismatched_pairs(examples)
    results: dict[str, Figures] = {}
    with runner(options.threads) as run:
        for name in options.methods:
            task = {"model": str(model), "rows": rows_for(name, examples, pairs), "train": settings_of(name, options)}
            results[name] = measure(run, task, options.epochs)
            print(row(name, results[name]), flush=True)
    text = table(results)
    versions = next(iter(results.values()))["versions"]
    publish(record(options, versions={"tunesmith": versions}, methods=results), options.out)
    print(text)
    if options.out:
        options.out.with_suffix(".md").write_text(text + "\n", encoding="utf-8")


def parse_options() -> argparse.Namespace:
    parser = parser_for(__doc__, repeats=1)
    parser.set_defaults(repeats=1)
    parser.add_argument("--data", type=Path, default=builtin_data_file(), help="question/answer file; default: the built-in data set")
    parser.add_argument(
        "--pairs",
        type=Path,
        help="pairs (prompt or instruction, chosen, rejected); default: the examples, each rejecting the next one's answer",
    )
    parser.add_argument("--examples", type=int, default=48)
    parser.add_argument("--examples-per-step", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--methods", nargs="+", choices=tuple(METHODS), default=tuple(METHODS))
    return parser.parse_args()


def settings_of(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Fields of TrainConfig."""
    return {
        "template": "alpaca",
        "dtype": options.dtype,
        "epochs": options.epochs,
        "examples_per_step": options.examples_per_step,
        "seed": 0,
        **METHODS[name],
    }


def rows_for(name: str, examples: list[Example], pairs: list[Pair]) -> list[Record]:
    """Rows as the objective wants them; KTO judges the chosen and the rejected answers in turn, one of each pair."""
    if name == "KTO":
        judged = [(pair, index % 2 == 0) for index, pair in enumerate(pairs)]
        return [{"prompt": pair.prompt, "completion": pair.chosen if good else pair.rejected, "label": good} for pair, good in judged]
    if name in {"DPO", "ORPO"}:
        return [{"prompt": pair.prompt, "chosen": pair.chosen, "rejected": pair.rejected} for pair in pairs]
    return [{"prompt": example.prompt, "completion": example.reference} for example in examples]


def measure(run: Runner, task: dict[str, Any], epochs: int) -> Figures:
    """Train through; train again, interrupted in the middle; resume."""
    whole = run.run("ours_train.py", task)
    halfway = whole["num_steps"] // 2
    broken = run.run("ours_train.py", {**task, "interrupt_at": halfway})
    if not broken["interrupted"]:
        raise SystemExit(f"the run was to stop after step {halfway} of {whole['num_steps']}; it went through")
    resumed = run.run("ours_train.py", {"resume": broken["run"]})
    per_epoch = whole["num_steps"] // epochs
    first, last = (sum(part) / per_epoch for part in (whole["losses"][:per_epoch], whole["losses"][-per_epoch:]))
    apart = max(abs(a - b) for a, b in zip(whole["losses"], resumed["losses"], strict=True))
    return {
        "first_epoch_loss": first,
        "last_epoch_loss": last,
        "learns": last < first,
        "interrupted_after_step": halfway,
        "num_steps": whole["num_steps"],
        "resumed_final_loss": resumed["losses"][-1],
        "final_loss": whole["losses"][-1],
        "largest_loss_difference": apart,
        "resumes_equal": apart == 0,
        "tokens_per_second": whole["num_tokens"] / whole["seconds"],
        "peak_memory_bytes": whole["peak_memory_bytes"],
        "means": whole["means"],
        "losses": whole["losses"],
        "versions": whole["versions"],
    }


def row(name: str, figures: Figures) -> str:
    equal = "yes" if figures["resumes_equal"] else f"no, {figures['largest_loss_difference']:.1e} apart"
    cells = (
        name,
        f"{figures['first_epoch_loss']:.4f}",
        f"{figures['last_epoch_loss']:.4f}",
        "yes" if figures["learns"] else "no",
        equal,
        f"{figures['tokens_per_second']:.0f}",
        f"{figures['peak_memory_bytes'] / 1e9:.2f} GB",
    )
    return f"| {' | '.join(cells)} |"


def table(results: Mapping[str, Figures]) -> str:
    head = [f"| {' | '.join(COLUMNS)} |", "|" + "---|" * len(COLUMNS)]
    return "\n".join([*head, *(row(name, figures) for name, figures in results.items())])


if __name__ == "__main__":
    main()
