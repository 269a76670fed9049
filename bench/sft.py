"""Supervised fine-tuning: useful tokens per second, peak memory and loss, tunesmith against TRL in one run.

    python bench/sft.py --peer-python ~/trl-env/bin/python [--data faq.jsonl] [--examples 128] [--repeats 3]

Both train the same model on the same examples in the same order with the same optimiser settings, one process at a
time; padding is never counted. See bench/README.md for the peer's environment.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from tunesmith.assets import resolve_model
from tunesmith.config import PrepareConfig, TrainConfig
from tunesmith.data.builtin import builtin_data_file
from tunesmith.data.columns import recognise
from tunesmith.data.examples import to_examples
from tunesmith.data.readers import read_rows
from tunesmith.data.split import remove_duplicates
from tunesmith.render.renderer import Renderer
from tunesmith.train.plan import plan_steps

HERE = Path(__file__).parent
MODEL = "smollm2-135m-instruct"


def main() -> None:
    options = parse_options()
    directory = resolve_model(options.model, on_progress=print).directory
    settings = {
        "method": options.method,
        "dtype": options.dtype,
        "rank": 16,
        "alpha": 32,
        "epochs": 1,
        "examples_per_step": 8,
        "learning_rate": 2e-4,
        "seed": 0,
        "threads": options.threads,
    }
    ours, theirs = build_rows(options.data, options.examples, directory, settings)
    figures: dict[str, list[dict[str, Any]]] = {"tunesmith": [], "TRL": []}
    for repeat in range(options.repeats):
        figures["tunesmith"].append(run_one(sys.executable, HERE / "ours_sft.py", ours, directory, settings))
        report(f"tunesmith {repeat + 1}", figures["tunesmith"][-1])
        if options.peer_python:
            figures["TRL"].append(run_one(options.peer_python, HERE / "peers" / "trl_sft.py", theirs, directory, settings))
            report(f"TRL {repeat + 1}", figures["TRL"][-1])
    summary = summarise(figures, options)
    print(json.dumps(summary, indent=2))
    if options.out:
        options.out.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer-python", help="Python of an environment with TRL; without it only tunesmith is measured")
    parser.add_argument("--data", type=Path, default=builtin_data_file(), help="question/answer file; default: the built-in data set")
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--method", choices=("lora", "full"), default="lora")
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16", help="TRL: bf16 autocast, or float32")
    parser.add_argument("--examples", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, help="write the figures here as well")
    return parser.parse_args()


def build_rows(data: Path, count: int, directory: Path, settings: dict[str, Any]) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Rows for us and rows for the peer: the same texts, in the order in which our steps take them."""
    rows = read_rows(data)
    examples = remove_duplicates(to_examples(rows, recognise(rows, PrepareConfig()), PrepareConfig(on_invalid="drop")).examples).examples
    tokenizer = AutoTokenizer.from_pretrained(directory)
    renderer = Renderer.for_model(tokenizer, "qa")
    chosen = [example for example in examples if example.prompt.strip()][:count]
    ours = [{"prompt": example.prompt, "completion": example.reference} for example in chosen]
    lengths = [len(renderer.render(example).token_ids) for example in chosen]
    config = TrainConfig(
        model="", data=Path(), epochs=settings["epochs"], examples_per_step=settings["examples_per_step"], seed=settings["seed"]
    )
    order = [index for step in plan_steps(lengths, config) for index in step]
    theirs = []
    for index in order:
        prompt = renderer.decode(renderer.prompt_ids(chosen[index].prompt_messages))
        theirs.append({"prompt": prompt, "completion": chosen[index].reference + tokenizer.eos_token})
    return ours, theirs


def run_one(python: str, script: Path, rows: list[dict[str, str]], model: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """One process from start to end; its figures."""
    with tempfile.TemporaryDirectory() as folder:
        task = {"model": str(model), "rows": rows, "settings": settings, "template": "qa", "output_dir": folder}
        file = Path(folder) / "task.json"
        file.write_text(json.dumps(task), encoding="utf-8")
        done = subprocess.run([python, str(script), str(file)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{script.name} failed:\n{done.stderr[-3000:]}")
    figures: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    figures["tokens_per_second"] = figures["num_tokens"] / figures["seconds"]
    return figures


def report(name: str, figures: dict[str, Any]) -> None:
    print(
        f"{name:>14}: {figures['tokens_per_second']:7.1f} tokens/s, {figures['peak_memory_bytes'] / 1e9:5.2f} GB, "
        f"loss {figures['loss']:.4f} ({figures['num_tokens']:,} tokens, {figures['num_steps']} steps, {figures['seconds']:.1f} s)",
        flush=True,
    )


def summarise(figures: dict[str, list[dict[str, Any]]], options: argparse.Namespace) -> dict[str, Any]:
    """Medians over the repeats, and ours over the peer's."""
    keys = ("tokens_per_second", "peak_memory_bytes", "loss")
    medians = {name: {key: statistics.median(run[key] for run in runs) for key in keys} for name, runs in figures.items() if runs}
    summary: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": {"processor": processor(), "cores": os.cpu_count(), "threads": options.threads},
        "work": {
            "model": options.model,
            "method": options.method,
            "dtype": options.dtype,
            "examples": options.examples,
            "data": options.data.name,
        },
        "versions": {name: runs[-1]["versions"] for name, runs in figures.items() if runs},
        "medians": medians,
        "runs": figures,
    }
    if "TRL" in medians:
        summary["ratios"] = {key: medians["tunesmith"][key] / medians["TRL"][key] for key in keys}
    return summary


def processor() -> str:
    """Model name of the processor, where the system tells it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        return names[0] if names else platform.processor()
    return platform.processor()


if __name__ == "__main__":
    main()
