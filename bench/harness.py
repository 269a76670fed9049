"""Benchmark tasks: documents per second, peak memory and scores, tunesmith against lm-evaluation-harness' own Hugging Face backend.

    python bench/harness.py --task hellaswag --limit 100 [--data FOLDER] [--batch-size 16]
    python bench/harness.py --task mmlu_anatomy --batch-size 8

Both sides answer the same requests of the same harness, one process at a time. Seconds are those from the requests to the
answers, tokenizing included; loading the model and reading the task are left out (`total_seconds` has the task in it).
`--data` is a folder with the task's data set in hub layout (`FOLDER/hellaswag`, `FOLDER/mmlu`); without it the hub's is used.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

from measure import Figures, Runner, compared, parser_for, publish, record, runner
from tunesmith.assets import resolve_model

SHOTS = {"hellaswag": 0, "mmlu_anatomy": 5}
"""The tasks that can be run, and how many worked examples go before each question."""

RATIO_KEYS = ("documents_per_second", "peak_memory_bytes")
KEYS = (*RATIO_KEYS, "seconds", "total_seconds", "acc", "acc_norm")


def main() -> None:
    options = parse_options()
    model = resolve_model(options.model, on_progress=print).directory
    figures: dict[str, list[Figures]] = {}
    with runner(options.threads) as run:
        for repeat in range(1, options.repeats + 1):
            for name, measured in measure_once(run, options, model):
                figures.setdefault(name, []).append(measured)
                report(f"{name} {repeat}", measured)
    differences = {name: difference(figures["tunesmith"][-1], runs[-1]) for name, runs in figures.items() if name != "tunesmith"}
    for measured in (one for runs in figures.values() for one in runs):
        del measured["log_likelihoods"]
    parts = compared(figures, KEYS, RATIO_KEYS)
    publish(record(options, shots=SHOTS[options.task], differences=differences, **parts, runs=figures), options.out)


def parse_options() -> argparse.Namespace:
    parser = parser_for(__doc__, repeats=1)
    parser.add_argument("--task", choices=tuple(SHOTS), default="hellaswag")
    parser.add_argument("--limit", type=int, help="only the first documents; default: all")
    parser.add_argument("--data", type=Path, help="folder with the task's data set; without it the hub's is used")
    parser.add_argument("--batch-size", type=int, default=16, help="of the peer")
    parser.add_argument("--peer-dtypes", nargs="*", choices=("bfloat16", "float32"), default=("bfloat16", "float32"))
    parser.add_argument("--peer-python", help="Python of another environment with lm-eval; default: this one")
    parser.add_argument("--tokens-per-pack", type=int, help="of tunesmith; default: what the library takes")
    return parser.parse_args()


def measure_once(run: Runner, options: argparse.Namespace, model: Path) -> list[tuple[str, Figures]]:
    """One repeat: each side once, after one another."""
    common = {
        "model": str(model),
        "task": options.task,
        "shots": SHOTS[options.task],
        "limit": options.limit,
        "data": str(options.data.resolve()) if options.data else None,
    }
    ours = {**common, "dtype": options.dtype, "tokens_per_pack": options.tokens_per_pack}
    measured = [("tunesmith", run.run("ours_harness.py", ours))]
    python = {"python": options.peer_python} if options.peer_python else {}
    for dtype in options.peer_dtypes:
        theirs = {**common, "dtype": dtype, "batch_size": options.batch_size}
        measured.append((f"Hugging Face backend, {dtype}", run.run("peers/harness_hf.py", theirs, **python)))
    return measured


def difference(ours: Figures, theirs: Figures) -> dict[str, Any]:
    """Of scores, ours minus theirs, and of single log-likelihoods, in nats."""
    one, other = ours["log_likelihoods"], theirs["log_likelihoods"]
    if len(one) != len(other):
        raise SystemExit(f"unequal work: {len(one)} requests and {len(other)}")
    distances = [abs(a - b) for a, b in zip(one, other, strict=True)]
    return {
        **{key: ours[key] - theirs[key] for key in ("acc", "acc_norm") if key in ours},
        "largest_log_likelihood": max(distances),
        "mean_log_likelihood": math.fsum(distances) / len(distances),
    }


def report(name: str, figures: Figures) -> None:
    scores = ", ".join(f"{key} {figures[key]:.4f}" for key in ("acc", "acc_norm") if key in figures)
    print(
        f"{name:>34}: {figures['documents_per_second']:7.2f} documents/s, {figures['peak_memory_bytes'] / 1e9:5.2f} GB, {scores} "
        f"({figures['num_documents']} documents, {figures['seconds']:.1f} s)",
        flush=True,
    )


if __name__ == "__main__":
    main()
