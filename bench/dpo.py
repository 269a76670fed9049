"""Preference optimisation (DPO with LoRA): pairs per second, peak memory, loss and reward accuracy, tunesmith against TRL.

    python bench/dpo.py --trl-python ~/trl-env/bin/python --data pairs.json [--examples 64] [--repeats 3]

Both train the same model on the same pairs in the same order with the same beta, optimiser and schedule, one process at a
time. The time that the reference model takes counts on both sides, whenever it is spent.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from measure import Figures, compared, parser_for, publish, record, runner
from tunesmith.assets import resolve_model
from tunesmith.data.builtin import builtin_data_file
from work import Pair, conversations, dpo_work, mismatched_pairs, preference_pairs

RATIO_KEYS = ("pairs_per_second", "steady_pairs_per_second", "peak_memory_bytes", "loss")
KEYS = (*RATIO_KEYS, "reward_accuracy", "last_loss")


def main() -> None:
    options = parse_options()
    model = resolve_model(options.model, on_progress=print).directory
    settings = training_settings(options)
    work = dpo_work(pairs_of(options), model, our_settings(settings))
    ours = {"model": str(model), "rows": work.ours, "train": our_settings(settings)}
    theirs = {"model": str(model), "rows": work.peers, "settings": {**settings, "epochs": 1}}  # the rows hold every epoch already
    figures: dict[str, list[Figures]] = {}
    with runner(options.threads) as run:
        for repeat in range(1, options.repeats + 1):
            measured = {"tunesmith": run.run("ours_train.py", ours)}
            if options.trl_python:
                measured["TRL"] = run.run("peers/trl_dpo.py", theirs, python=options.trl_python)
            for side, one in measured.items():
                figures.setdefault(side, []).append(with_rates(one, len(work.peers), settings["examples_per_step"]))
                report(f"{side} {repeat}", figures[side][-1])
    tokens = sum(work.tokens_of_steps)
    publish(record(options, useful_tokens=tokens, settings=settings, **compared(figures, KEYS, RATIO_KEYS), runs=figures), options.out)


def parse_options() -> argparse.Namespace:
    parser = parser_for(__doc__)
    parser.add_argument("--trl-python", help="Python of an environment with TRL; without it only tunesmith is measured")
    parser.add_argument(
        "--data",
        type=Path,
        help="pairs (prompt or instruction, chosen, rejected); default: the built-in examples, each rejecting the next one's answer",
    )
    parser.add_argument("--examples", type=int, default=64, help="pairs")
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    return parser.parse_args()


def pairs_of(options: argparse.Namespace) -> list[Pair]:
    if options.data:
        return preference_pairs(options.data, options.examples)
    return mismatched_pairs(conversations(builtin_data_file(), options.examples))


def training_settings(options: argparse.Namespace) -> dict[str, Any]:
    """What both sides are told, in neutral words."""
    return {
        "dtype": options.dtype,
        "rank": 16,
        "alpha": 32,
        "beta": 0.1,
        "epochs": 1,
        "examples_per_step": 8,
        "learning_rate": options.learning_rate,
        "seed": 0,
    }


def our_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """The same as fields of TrainConfig."""
    same = {key: settings[key] for key in ("dtype", "beta", "epochs", "examples_per_step", "learning_rate", "seed")}
    lora = {"rank": settings["rank"], "alpha": settings["alpha"]}
    fixed = {
        "method": "lora",
        "objective": "dpo",
        "dpo_loss": "sigmoid",
        "template": "alpaca",
        "schedule": "linear",
        "warmup_fraction": 0.0,
    }
    return {**same, **fixed, "lora": lora}


def with_rates(figures: Figures, num_pairs: int, pairs_per_step: int) -> Figures:
    """Pairs per second, over the whole training and from the second step on; what happened before step 1 is spread over all.

    Raises:
        SystemExit: not every pair was trained on.
    """
    if figures["num_steps"] != -(-num_pairs // pairs_per_step):
        raise SystemExit(f"unequal work: {figures['num_steps']} steps for {num_pairs} pairs")
    later = num_pairs - pairs_per_step
    steady_seconds = sum(figures["step_seconds"][1:]) + figures.get("preparation_seconds", 0.0) * later / num_pairs
    rate = num_pairs / figures["seconds"]
    return {
        **figures,
        "pairs_per_second": rate,
        "steady_pairs_per_second": later / steady_seconds if later > 0 else rate,
        "reward_accuracy": figures["reward_accuracy"] if "reward_accuracy" in figures else figures["means"]["reward_accuracy"],
        "last_loss": figures["losses"][-1],
    }


def report(name: str, figures: Figures) -> None:
    print(
        f"{name:>14}: {figures['pairs_per_second']:6.2f} pairs/s ({figures['steady_pairs_per_second']:.2f} from step 2 on), "
        f"{figures['peak_memory_bytes'] / 1e9:5.2f} GB, loss {figures['loss']:.4f} (last step {figures['last_loss']:.4f}), "
        f"reward accuracy {figures['reward_accuracy']:.3f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
