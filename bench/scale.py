"""One process against several: time of a step, the share of it that goes into talking, bytes sent, memory of each process.

    python bench/scale.py [--data faq.jsonl] [--methods lora full] [--cases one two two-weak] [--rounds 2] [--steps 8]
    python bench/scale.py --paper        # no measurement: the cost model for 8 and 64 GPUs

All cases compute with the same number of threads together. Each round runs every case once, the second round in the opposite
order. Gradients are sent through gloo on this machine's loopback interface. What is measured is then set against the model of
docs/scale.md: a process that computes as fast as its share of the threads does in one process, plus the bytes it sends at the
rate at which gradients are added up when nobody computes.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measure import HERE, Figures, parser_for, publish, record
from paper_scale import print_paper
from tunesmith.assets import resolve_model
from tunesmith.cli.capacity import make_subject
from tunesmith.config import PrepareConfig, TrainConfig, build
from tunesmith.data import prepare
from tunesmith.data.builtin import builtin_data_file
from tunesmith.data.reading.readers import rows_from_records
from tunesmith.train.pace import sent_bytes
from work import conversations

LORA = {"rank": 16, "alpha": 32}
LEARNING_RATES = {"lora": 2e-4, "full": 5e-5}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A way to share the work."""

    processes: int = 2
    threads_share: int = 1
    """Of all threads, one in so many."""
    strategy: str = "ddp"
    step: int = 1
    """Times the examples of a step."""


CASES: Mapping[str, Case] = {
    "one": Case(processes=1),
    "two": Case(),
    "two-weak": Case(step=2),
    "two-fsdp": Case(strategy="fsdp"),
    "two-fsdp-weak": Case(strategy="fsdp", step=2),
    "half": Case(processes=1, threads_share=2),
}
"""By the name in the table; `half` is one process with half the threads: what each of two has."""


def main() -> None:
    options = parse_options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # the ranks with it
    if options.paper:
        print_paper()
        return
    with tempfile.TemporaryDirectory(prefix="tunesmith-bench-") as scratch:
        figures = measured(options, Path(scratch))
    tables(figures)
    publish(record(options, summary=figures["summary"], bandwidth=figures["bandwidth"], runs=figures["runs"]), options.out)


def parse_options() -> argparse.Namespace:
    parser = parser_for(__doc__, repeats=1)
    parser.add_argument("--data", type=Path, default=builtin_data_file(), help="question/answer file; default: the built-in data set")
    parser.add_argument("--examples", type=int, default=256)
    parser.add_argument("--examples-per-step", type=int, default=8)
    parser.add_argument("--methods", nargs="+", choices=("lora", "full"), default=("lora", "full"))
    parser.add_argument("--cases", nargs="+", choices=tuple(CASES), default=("one", "two", "two-weak"))
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=8, help="timed ones, of each round")
    parser.add_argument("--warmup", type=int, default=3, help="steps before them")
    parser.add_argument("--checkpoint-every", type=int, default=100_000, help="steps; default: at the end alone")
    parser.add_argument("--paper", action="store_true", help="print the cost model for GPUs; measure nothing")
    options: argparse.Namespace = parser.parse_args()
    return options


def measured(options: argparse.Namespace, scratch: Path) -> Figures:
    """Every case of every method, what came of it so far written to --out after each."""
    model = resolve_model(options.model, on_progress=print).directory
    data = prepared(options, scratch)
    bandwidth = bandwidth_of(options, scratch)
    print(f"gradients are added up at {bandwidth / 1e9:.2f} GB/s sent by each of two", flush=True)
    runs: list[Figures] = []
    for method in options.methods:
        for number in range(options.rounds):
            for name in options.cases if number % 2 == 0 else options.cases[::-1]:
                config = settings(options, CASES[name], method, model, data)
                ranks = run_case(options, CASES[name], config, scratch, f"{method}-{name}-{number}")
                runs.append({"method": method, "case": name, "round": number, "ranks": ranks})
                report(runs[-1], options.warmup)
                if options.out:
                    options.out.write_text(json.dumps({"bandwidth": bandwidth, "runs": runs}), encoding="utf-8")
    summary = [summed_up(options, method, name, runs, bandwidth, model) for method in options.methods for name in options.cases]
    return {"summary": summary, "bandwidth": bandwidth, "runs": runs}


def prepared(options: argparse.Namespace, scratch: Path) -> Path:
    """The rows as a data set, none held out."""
    rows = [{"prompt": example.prompt, "completion": example.reference} for example in conversations(options.data, options.examples)]
    config = PrepareConfig(test_fraction=0.0, validation_fraction=0.0, checks="none", near_threshold=1)
    return prepare(None, scratch / "data", config, rows=rows_from_records(rows, "bench")).directory


def settings(options: argparse.Namespace, case: Case, method: str, model: Path, data: Path) -> Figures:
    """Fields of TrainConfig."""
    return {
        "model": str(model),
        "data": str(data),
        "method": method,
        "dtype": options.dtype,
        "device": "cpu",
        "template": "qa",
        "epochs": 1000,
        "max_steps": options.warmup + options.steps,
        "evaluate_every": options.checkpoint_every,
        "patience": 0,
        "examples_per_step": options.examples_per_step * case.step,
        "learning_rate": LEARNING_RATES[method],
        **({"lora": LORA} if method == "lora" else {}),
        "strategy": case.strategy,
        "estimate": False,
    }


def bandwidth_of(options: argparse.Namespace, scratch: Path) -> float:
    """The slower rank's."""
    ranks = run_ranks({"bandwidth_bytes": 2**28, "threads": threads_of(options, CASES["two"])}, scratch, 2)
    return float(min(rank["bytes_per_second"] for rank in ranks))


def run_case(options: argparse.Namespace, case: Case, config: Figures, scratch: Path, name: str) -> list[Figures]:
    task = {"train": config, "warmup": options.warmup, "runs_dir": str(scratch / "runs"), "name": name}
    return run_ranks({**task, "threads": threads_of(options, case)}, scratch, case.processes)


def threads_of(options: argparse.Namespace, case: Case) -> int:
    return max(1, options.threads // (case.processes * case.threads_share))


def run_ranks(task: Figures, scratch: Path, size: int) -> list[Figures]:
    """What each rank of a group measured.

    Raises:
        SystemExit: one failed; shows the end of what it said.
    """
    place = {"WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(), "OMP_NUM_THREADS": task["threads"]}
    started = []
    for rank in range(size):
        folder = Path(tempfile.mkdtemp(dir=scratch))
        (folder / "task.json").write_text(json.dumps({**task, "output_dir": str(folder)}), encoding="utf-8")
        own = {**place, "RANK": rank, "LOCAL_RANK": rank} if size > 1 else {"OMP_NUM_THREADS": task["threads"]}
        environment = {**os.environ, **{name: str(value) for name, value in own.items()}, "PYTHONPATH": str(HERE)}
        command = [sys.executable, str(HERE / "ours_scale.py"), str(folder / "task.json")]
        said = (folder / "said.txt").open("w")
        started.append((folder, subprocess.Popen(command, env=environment, stdout=said, stderr=said)))
    try:
        failed = [folder for folder, process in started if process.wait()]
    finally:
        for _, process in started:
            process.kill()
    if failed:
        raise SystemExit("\n".join((folder / "said.txt").read_text(encoding="utf-8")[-3000:] for folder in failed))
    return [json.loads((folder / "figures.json").read_text(encoding="utf-8")) for folder, _ in started]


def free_port() -> int:
    """One that nobody listens on now."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def report(run: Figures, warmup: int) -> None:
    seconds = [step["seconds"] for step in run["ranks"][0]["steps"][warmup:]]
    steps = list(zip(*(rank["steps"][warmup:] for rank in run["ranks"]), strict=True))
    others = statistics.median(map(others_share, steps))
    what = f"{run['method']:>5} {run['case']:<14} round {run['round'] + 1}"
    print(f"{what}: median {statistics.median(seconds):.2f} s a step, others took {100 * others:.0f} % of the machine", flush=True)


QUIET = 0.05
"""Share of the machine that other processes may have in a step that counts."""


def others_share(step: Sequence[Figures]) -> float:
    """Of the processors' time in a step, what went to processes other than the ranks."""
    others = step[0]["all_cpu_seconds"] - sum(rank["own_cpu_seconds"] for rank in step)
    return max(0.0, others) / (step[0]["seconds"] * (os.cpu_count() or 1))


def summed_up(options: argparse.Namespace, method: str, name: str, runs: Sequence[Figures], bandwidth: float, model: Path) -> Figures:
    """Of one case over its rounds, of steps that others did not disturb (if there are any).

    Seconds are the first rank's, but those of talking, which are means over the ranks.
    """
    case = CASES[name]
    own = [run["ranks"] for run in runs if (run["method"], run["case"]) == (method, name)]
    all_steps = [step for ranks in own for step in zip(*(rank["steps"][options.warmup :] for rank in ranks), strict=True)]
    steps = [step for step in all_steps if others_share(step) < QUIET] or all_steps
    total = sum(step[0]["seconds"] for step in steps)

    def mean(key: str) -> float:
        return statistics.mean(statistics.mean(rank.get(key, 0.0) for rank in step) for step in steps)

    waiting = mean("waiting") + mean("gather")
    sending = mean("all_reduce") + mean("all_gather") + mean("reduce_scatter")
    copying = max(0.0, mean("add_up") - mean("all_reduce") - (mean("waiting") if case.strategy == "ddp" else 0.0))
    subject, _ = make_subject(model / "config.json", config_of(options, case, method, model))
    strategy: Any = "alone" if case.processes == 1 else case.strategy
    return {
        "method": method,
        "case": name,
        "processes": case.processes,
        "threads_each": threads_of(options, case),
        "timed_steps": len(all_steps),
        "quiet_steps": sum(others_share(step) < QUIET for step in all_steps),
        "others_share": statistics.mean(map(others_share, all_steps)),
        "tokens_of_a_step": sum(step[0]["num_tokens"] for step in steps) / len(steps),
        "step_seconds_median": statistics.median(step[0]["seconds"] for step in steps),
        "step_seconds_mean": total / len(steps),
        "tokens_per_second": sum(step[0]["num_tokens"] for step in steps) / total,
        "waiting_share": waiting * len(steps) / total,
        "sending_share": sending * len(steps) / total,
        "copying_share": copying * len(steps) / total,
        "sent_bytes": mean("sent_bytes"),
        "loopback_bytes_of_a_rank": statistics.median(step[0]["loopback_bytes"] for step in steps) / case.processes,
        "sent_bytes_by_formula": sent_bytes(subject.architecture, subject.setup, strategy, case.processes),
        "sending_seconds_by_formula": sent_bytes(subject.architecture, subject.setup, strategy, case.processes) / bandwidth,
        "peak_bytes_of_ranks": [peaks([ranks[rank]["peak_bytes"] for ranks in own]) for rank in range(case.processes)],
        "manifest_peak_bytes_of_ranks": own[-1][0]["manifest"]["peak_memory_bytes_of_ranks"],
        "step_peak_bytes_by_formula": most_tokens(options, case, method, model, steps).memory(strategy, case.processes).total,
        "losses": [step["loss"] for step in own[-1][0]["steps"]],
        "versions": own[-1][0]["versions"],
    }


def peaks(runs: Sequence[Figures]) -> Figures:
    """The highest of each kind in each phase."""
    return {phase: {what: max(run[phase][what] for run in runs) for what in kinds} for phase, kinds in runs[0].items()}


def config_of(options: argparse.Namespace, case: Case, method: str, model: Path, **more: Any) -> TrainConfig:
    return build(TrainConfig, {**settings(options, case, method, model, Path()), "max_length": 64, **more})


def most_tokens(options: argparse.Namespace, case: Case, method: str, model: Path, steps: Sequence[Sequence[Figures]]) -> Any:
    """The model with the largest step that was met."""
    tokens = round(max(step[0]["num_tokens"] for step in steps))
    config = config_of(options, case, method, model, tokens_per_step=tokens, tokens_per_micro_batch=min(1024, -(-tokens // case.processes)))
    return make_subject(model / "config.json", config)[0]


def tables(figures: Figures) -> None:
    """In Markdown: what was measured, and how far the model is from it."""
    summary = figures["summary"]
    columns = "method, case, processes x threads, steps (quiet), tokens a step, seconds (median), tokens/s"
    columns += ", waits, sends, copies, peak GB in steps: all; own; mapped, besides: all; own; mapped"
    print(f"\n| {columns.replace(', ', ' | ')} |\n|{'---|' * 12}")
    for one in summary:
        print(measured_row(one))
    print("\n| method | case | sent MB: formula, calls, loopback | step s: model, measured, error | memory GB: formula, measured, error |")
    print("|---|---|---|---|---|")
    for one in summary:
        base = next((other for other in summary if (other["method"], other["case"]) == (one["method"], "one")), None)
        print(model_row(one, base))


def measured_row(one: Figures) -> str:
    shares = [f"{100 * one[f'{what}_share']:.1f} %" for what in ("waiting", "sending", "copying")]
    held = ["; ".join(most(one, phase, what) for what in ("whole", "own", "mapped")) for phase in ("steps", "besides")]
    size = [
        f"{one['timed_steps']} ({one['quiet_steps']})",
        f"{one['tokens_of_a_step']:,.0f}",
        f"{one['step_seconds_median']:.2f}",
        f"{one['tokens_per_second']:.0f}",
    ]
    group = f"{one['processes']} x {one['threads_each']}"
    return f"| {' | '.join([one['method'], one['case'], group, *size, *shares, *held])} |"


def most(one: Figures, phase: str, what: str) -> str:
    """Of every rank, in GB."""
    return ", ".join(f"{rank[phase][what] / 1e9:.2f}" for rank in one["peak_bytes_of_ranks"])


def model_row(one: Figures, base: Figures | None) -> str:
    """Seconds: as long as the threads of this case take for the tokens in one process, and sending."""
    sent = ", ".join(f"{one[key] / 1e6:,.1f}" for key in ("sent_bytes_by_formula", "sent_bytes", "loopback_bytes_of_a_rank"))
    peak, expected = max(rank["steps"]["whole"] for rank in one["peak_bytes_of_ranks"]), one["step_peak_bytes_by_formula"]
    memory = f"{expected / 1e9:.2f}, {peak / 1e9:.2f}, {100 * (expected / peak - 1):+.0f} %"
    seconds = ""
    if base is not None and one["processes"] > 1:
        model = one["tokens_of_a_step"] / base["tokens_per_second"] + one["sending_seconds_by_formula"]
        seconds = f"{model:.2f}, {one['step_seconds_mean']:.2f}, {100 * (model / one['step_seconds_mean'] - 1):+.0f} %"
    return f"| {one['method']} | {one['case']} | {sent} | {seconds} | {memory} |"


if __name__ == "__main__":
    main()
