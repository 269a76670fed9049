"""Training a model of which no process may hold the whole: each is given less memory than the weights take.

    python bench/limits.py [--limit-gb 3.3] [--layers 24] [--processes 2] [--steps 3] [--out limits.json]

The model has the shape of SmolLM2-1.7B and random weights, written file by file. The command is the user's own, under a limit of the
system on what each process may map for itself (RLIMIT_DATA, `ulimit -d`; Linux): with the weights spread it trains, in one process it
is refused, and loading the whole regardless fails. Prints in Markdown what each rank had at most while it loaded, trained and wrote.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import torch
from accelerate import init_empty_weights
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

from measure import Figures, parser_for, publish, record
from tunesmith.assets import resolve_model
from tunesmith.config import PrepareConfig
from tunesmith.data import prepare
from tunesmith.data.builtin import builtin_data_file
from tunesmith.data.reading.readers import rows_from_records
from tunesmith.engine.sharded.reading import INDEX
from tunesmith.runs import provenance
from work import conversations

SHAPE = {
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "head_dim": 64,
    "max_position_embeddings": 8192,
    "rope_parameters": {"rope_type": "default", "rope_theta": 130_000.0},
}
"""Where SmolLM2-1.7B is not as SmolLM2-135M; the vocabulary is the same."""
FILE_BYTES = 2**28
INTERVAL = 0.02
"""Seconds between two looks at the ranks."""
WHOLE = """import sys, torch
from pathlib import Path
from tunesmith.engine.loading import load_model
load_model(Path(sys.argv[1]), dtype=torch.bfloat16, device=torch.device("cpu"))
"""


def main() -> None:
    options = parse_options()
    with tempfile.TemporaryDirectory(prefix="tunesmith-bench-") as scratch:
        folder = Path(scratch)
        model, data = write_model(folder / "model", options), write_data(folder / "data", options.examples)
        weights = sum(file.stat().st_size for file in model.glob("*.safetensors"))
        print(f"{weights / 1e9:.2f} GB of weights, {options.limit_gb:.2f} GB for each process", flush=True)
        train = [sys.executable, "-m", "tunesmith", "train", str(data), "--model", str(model), "--runs-dir", str(folder / "runs")]
        train += f"--method lora --lora-rank 16 --dtype {options.dtype} --max-steps {options.steps} --no-estimate".split()
        train += (
            f"--learning-rate 2e-4 --template qa --examples-per-step {options.examples} --patience 0 --activation-checkpointing".split()
        )
        spread = [*train, "--name", "spread", "--processes", str(options.processes), "--strategy", "fsdp"]
        code, said, ranks = watched(spread, options, folder / "runs" / "spread" / "metrics.jsonl")
        print(table(ranks) if code == 0 else said[-3000:], flush=True)
        others = [[*train, "--name", "alone", "--processes", "1"], [sys.executable, "-c", WHOLE, str(model)]]
        ends = [{"exit": code, "said": said}, *(ended(command, options) for command in others)]
    for what, end in zip(("spread", "in one process", "loaded whole regardless"), ends, strict=True):
        print(f"\n{what}: exit {end['exit']}\n  {end['said'].strip().splitlines()[-1]}")
    publish(record(options, weights_bytes=weights, ranks=ranks, ends=ends, versions=provenance()["versions"], runs=[]), options.out)


def parse_options() -> argparse.Namespace:
    parser = parser_for(__doc__, repeats=1)
    parser.add_argument("--limit-gb", type=float, default=3.3, help="what each process may map for itself")
    parser.add_argument("--layers", type=int, default=24, help="67 million weights each, over 101 million")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--examples", type=int, default=4, help="of each step")
    options: argparse.Namespace = parser.parse_args()
    return options


def write_model(folder: Path, options: argparse.Namespace) -> Path:
    """Configuration, tokenizer and numbers; of these no more than a file's worth is ever in memory."""
    like = resolve_model(options.model, on_progress=print).directory
    shutil.copytree(like, folder, ignore=shutil.ignore_patterns("*.safetensors", INDEX))
    config = AutoConfig.from_pretrained(like)
    config.update({**SHAPE, "num_hidden_layers": options.layers, "dtype": "bfloat16"})
    config.save_pretrained(folder)
    with init_empty_weights():
        network = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    network.tie_weights()
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items() if name not in network.all_tied_weights_keys}
    places: dict[str, str] = {}
    for number, names in enumerate(parts_of(shapes)):
        file = f"model-{number:05d}.safetensors"
        save_file({name: numbers(shapes[name]) for name in names}, folder / file, metadata={"format": "pt"})
        places |= dict.fromkeys(names, file)
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": places}), encoding="utf-8")
    return folder


def parts_of(shapes: Mapping[str, torch.Size]) -> Iterator[list[str]]:
    """Names of about as many numbers as a file is to have, one after another."""
    names: list[str] = []
    for name in shapes:
        if names and 2 * sum(shapes[one].numel() for one in (*names, name)) > FILE_BYTES:
            yield names
            names = []
        names.append(name)
    yield names


def numbers(shape: torch.Size) -> torch.Tensor:
    """As a fresh model has them."""
    found = torch.empty(shape, dtype=torch.bfloat16)
    return found.fill_(1.0) if len(shape) == 1 else found.normal_(0, 0.02)


def write_data(folder: Path, count: int) -> Path:
    rows = [{"prompt": example.prompt, "completion": example.reference} for example in conversations(builtin_data_file(), count)]
    config = PrepareConfig(test_fraction=0.0, validation_fraction=0.0, checks="none", near_threshold=1)
    return prepare(None, folder, config, rows=rows_from_records(rows, "bench")).directory


def limited(options: argparse.Namespace) -> dict[str, Any]:
    """How to start a process that keeps within the limit, and its children with it."""
    most = int(options.limit_gb * 1e9)
    threads = {"OMP_NUM_THREADS": str(max(1, options.threads // options.processes)), "HF_HUB_OFFLINE": "1"}
    return {"env": {**os.environ, **threads}, "preexec_fn": partial(resource.setrlimit, resource.RLIMIT_DATA, (most, most)), "text": True}


def ended(command: Sequence[str], options: argparse.Namespace) -> Figures:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, **limited(options))
    return {"exit": done.returncode, "said": done.stdout}


def watched(command: Sequence[str], options: argparse.Namespace, metrics: Path) -> tuple[int, str, Figures]:
    """Exit code, what was said, and of each rank and phase the most memory: `{"0": {"loading": {"RssAnon": bytes, ...}}}`."""
    peaks: Figures = {}
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, **limited(options))
        ranks: dict[int, str] = {}
        while process.poll() is None:
            phase = phase_of(metrics, options.steps)
            for pid, rank in ranks_of(process.pid, ranks):
                own = peaks.setdefault(rank, {}).setdefault(phase, {})
                own |= {key: max(size, own.get(key, 0)) for key, size in memory_of(pid).items()}
            time.sleep(INTERVAL)
        said.seek(0)
        return process.returncode, said.read(), peaks


def phase_of(metrics: Path, steps: int) -> str:
    """By the lines of the run's metrics."""
    done = metrics.read_text(encoding="utf-8").count('"kind": "step"') if metrics.is_file() else 0
    return "loading" if done == 0 else "steps" if done < steps else "writing"


def ranks_of(pid: int, known: dict[int, str]) -> Iterator[tuple[int, str]]:
    """Processes below this one that have a rank; `known` is filled on the way."""
    try:
        for child in psutil.Process(pid).children(recursive=True):
            if child.pid not in known:
                known[child.pid] = child.environ().get("RANK", "")
            if known[child.pid]:
                yield child.pid, known[child.pid]
    except psutil.Error:  # one has ended meanwhile
        return


def memory_of(pid: int) -> dict[str, int]:
    """Anonymous pages, and what counts against the limit."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    return {key: int(line.split()[1]) * 1024 for line in lines for key in ("RssAnon", "VmData") if line.startswith(f"{key}:")}


def table(ranks: Figures) -> str:
    phases = ("loading", "steps", "writing")
    lines = [f"| rank | {' | '.join(phases)} |\n|---|---|---|---|"]
    for rank, own in sorted(ranks.items()):
        cells = [f"{own.get(phase, {}).get('RssAnon', 0) / 1e9:.2f} ({own.get(phase, {}).get('VmData', 0) / 1e9:.2f})" for phase in phases]
        lines.append(f"| {rank} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\nGB of anonymous memory at most, in brackets what counts against the limit."


if __name__ == "__main__":
    main()
