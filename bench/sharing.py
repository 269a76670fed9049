"""What sharing prefixes saves: supervised fine-tuning with it and without it, on a template whose examples all begin alike.

    python bench/sharing.py [--data faq.jsonl] [--examples 128] [--repeats 3]

The template is `alpaca`: its first sentence is the same in every example. Both sides are tunesmith; they differ in
`share_prefixes` alone, so their losses are equal but for rounding (with `--dtype float32`, very small rounding).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from measure import Figures, medians, parser_for, publish, record, runner
from tunesmith.assets import resolve_model
from tunesmith.data.builtin import builtin_data_file
from work import conversations, sft_work

SIDES = {"shared": True, "repeated": False}
KEYS = ("num_tokens", "seconds", "steady_seconds", "peak_memory_bytes", "loss")


def main() -> None:
    options = parse_options()
    model = resolve_model(options.model, on_progress=print).directory
    settings = training_settings(options)
    work = sft_work(conversations(options.data, options.examples), model, settings)
    figures: dict[str, list[Figures]] = {side: [] for side in SIDES}
    with runner(options.threads) as run:
        for repeat in range(1, options.repeats + 1):
            for side, share in SIDES.items():
                task = {"model": str(model), "rows": work.ours, "train": {**settings, "share_prefixes": share}}
                figures[side].append(with_steady(run.run("ours_train.py", task)))
                report(f"{side} {repeat}", figures[side][-1])
    useful = sum(work.tokens_of_steps)
    publish(record(options, useful_tokens=useful, **verdict(figures), runs=figures), options.out)


def parse_options() -> argparse.Namespace:
    parser = parser_for(__doc__)
    parser.add_argument("--data", type=Path, default=builtin_data_file(), help="question/answer file; default: the built-in data set")
    parser.add_argument("--method", choices=("lora", "full"), default="lora")
    parser.add_argument("--examples", type=int, default=128)
    parser.add_argument("--examples-per-step", type=int, default=8)
    return parser.parse_args()


def training_settings(options: argparse.Namespace) -> dict[str, Any]:
    """Fields of TrainConfig."""
    return {
        "method": options.method,
        "dtype": options.dtype,
        "template": "alpaca",
        "epochs": 1,
        "examples_per_step": options.examples_per_step,
        "learning_rate": 2e-4 if options.method == "lora" else 5e-5,
        "lora": {"rank": 16, "alpha": 32},
        "seed": 0,
    }


def with_steady(figures: Figures) -> Figures:
    """The time from the second step on: the first one also pays for what is prepared once."""
    return {**figures, "steady_seconds": sum(figures["step_seconds"][1:]) or figures["seconds"]}


def report(name: str, figures: Figures) -> None:
    print(f"{name:>12}: {figures['num_tokens']:,} tokens computed in {figures['seconds']:.1f} s, loss {figures['loss']:.5f}", flush=True)


def verdict(figures: dict[str, list[Figures]]) -> dict[str, Any]:
    """Medians, what was saved in tokens and in time, and how far the losses of single steps part at most."""
    middle = {side: medians(runs, KEYS) for side, runs in figures.items()}
    shared, repeated = middle["shared"], middle["repeated"]
    steps = zip(figures["shared"][-1]["losses"], figures["repeated"][-1]["losses"], strict=True)
    return {
        "versions": figures["shared"][-1]["versions"],
        "medians": middle,
        "tokens_saved": 1 - shared["num_tokens"] / repeated["num_tokens"],
        "time_saved": 1 - shared["steady_seconds"] / repeated["steady_seconds"],
        "token_ratio": shared["num_tokens"] / repeated["num_tokens"],
        "step_time_ratio": shared["steady_seconds"] / repeated["steady_seconds"],
        "largest_loss_difference": max(abs(a - b) for a, b in steps),
    }


if __name__ == "__main__":
    main()
