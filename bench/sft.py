"""Supervised fine-tuning: useful tokens per second, peak memory and loss, tunesmith against TRL and Unsloth in one run.

    python bench/sft.py --trl-python ~/trl-env/bin/python --unsloth-python ~/unsloth-env/bin/python [--data faq.jsonl]

All train the same model on the same examples in the same order with the same optimiser settings, one process at a
time. See bench/README.md for the peers' environments and for what each figure means.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any

from measure import Figures, Runner, compared, parser_for, publish, record, runner
from tunesmith.assets import resolve_model
from tunesmith.data.builtin import builtin_data_file
from work import Work, conversations, num_parameters, sft_work

RATIO_KEYS = ("tokens_per_second", "steady_tokens_per_second", "peak_memory_bytes", "loss")
KEYS = (*RATIO_KEYS, "share_of_limit")
FLOP_PER_PARAMETER = {"lora": 4, "full": 6}
"""A token's floating-point operations per weight: 2 forward, 2 for the gradient of the activations and, when the weights
themselves train, 2 for theirs (Kaplan et al. 2020, arXiv:2001.08361, section 2.1)."""


def main() -> None:
    options = parse_options()
    model = resolve_model(options.model, on_progress=print).directory
    settings = training_settings(options)
    work = sft_work(conversations(options.data, options.examples), model, our_settings(settings))
    flop_per_token = FLOP_PER_PARAMETER[options.method] * num_parameters(model)
    figures: dict[str, list[Figures]] = {}
    rates = []
    with runner(options.threads) as run:
        for repeat in range(1, options.repeats + 1):
            rates.append(run.run("matrix_rate.py", {"dtype": options.dtype})["flops_per_second"])
            for name, measured in measure_once(run, options, work, model, settings):
                figures.setdefault(name, []).append(with_rates(measured, work, flop_per_token, rates[-1]))
                report(f"{name} {repeat}", figures[name][-1])
    flops_per_second = statistics.median(rates)
    limit = {"flops_per_second": flops_per_second, "flop_per_token": flop_per_token, "tokens_per_second": flops_per_second / flop_per_token}
    parts = compared(figures, KEYS, RATIO_KEYS)
    publish(record(options, useful_tokens=sum(work.tokens_of_steps), limit=limit, **parts, runs=figures), options.out)


def parse_options() -> argparse.Namespace:
    parser = parser_for(__doc__)
    parser.add_argument("--trl-python", help="Python of an environment with TRL; without it TRL is left out")
    parser.add_argument("--unsloth-python", help="Python of an environment with Unsloth; without it Unsloth is left out")
    parser.add_argument("--data", type=Path, default=builtin_data_file(), help="question/answer file; default: the built-in data set")
    parser.add_argument("--method", choices=tuple(FLOP_PER_PARAMETER), default="lora")
    parser.add_argument("--examples", type=int, default=128)
    return parser.parse_args()


def training_settings(options: argparse.Namespace) -> dict[str, Any]:
    """What all sides are told, in neutral words."""
    return {
        "method": options.method,
        "dtype": options.dtype,
        "rank": 16,
        "alpha": 32,
        "epochs": 1,
        "examples_per_step": 8,
        "learning_rate": 2e-4 if options.method == "lora" else 5e-5,
        "seed": 0,
    }


def our_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """The same as fields of TrainConfig."""
    same = {key: settings[key] for key in ("method", "dtype", "epochs", "examples_per_step", "learning_rate", "seed")}
    adapter = {"lora": {"rank": settings["rank"], "alpha": settings["alpha"]}} if settings["method"] == "lora" else {}
    return {**same, **adapter, "template": "qa", "schedule": "linear", "warmup_fraction": 0.0}


def measure_once(run: Runner, options: argparse.Namespace, work: Work, model: Path, settings: dict[str, Any]) -> list[tuple[str, Figures]]:
    """One repeat: each side once, after one another."""
    measured = [("tunesmith", run.run("ours_train.py", {"model": str(model), "rows": work.ours, "train": our_settings(settings)}))]
    task = {"model": str(model), "rows": work.peers, "settings": {**settings, "epochs": 1}}  # the rows hold every epoch already
    for name, script, python in (("TRL", "trl_sft.py", options.trl_python), ("Unsloth", "unsloth_sft.py", options.unsloth_python)):
        if python:
            measured.append((name, run.run(f"peers/{script}", task, python=python)))
    return measured


def with_rates(figures: Figures, work: Work, flop_per_token: float, flops_per_second: float) -> Figures:
    """Tokens per second, over the whole training and from the second step on, and the share of the ceiling of that moment."""
    if figures["num_steps"] != len(work.tokens_of_steps):
        raise SystemExit(f"unequal work: {figures['num_steps']} steps instead of {len(work.tokens_of_steps)}")
    tokens = sum(work.tokens_of_steps)
    rate = tokens / figures["seconds"]
    steady = sum(figures["step_seconds"][1:])
    return {
        **figures,
        "tokens_per_second": rate,
        "steady_tokens_per_second": sum(work.tokens_of_steps[1:]) / steady if steady else rate,
        "share_of_limit": rate * flop_per_token / flops_per_second,
    }


def report(name: str, figures: Figures) -> None:
    print(
        f"{name:>14}: {figures['tokens_per_second']:7.1f} tokens/s ({figures['steady_tokens_per_second']:.1f} from step 2 on), "
        f"{figures['share_of_limit']:.0%} of the limit, {figures['peak_memory_bytes'] / 1e9:5.2f} GB, loss {figures['loss']:.4f} "
        f"({figures['num_steps']} steps, {figures['seconds']:.1f} s)",
        flush=True,
    )


if __name__ == "__main__":
    main()
