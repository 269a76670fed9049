"""A large prepared set under several ranks: time and memory from the prepared file to the plan of packs, by number of ranks.

    python bench/data_ranks.py --folder ~/million --rows 1000000 --prepare-only    # once; what is measured is not this
    python bench/data_ranks.py --folder ~/million --rows 1000000 --ranks 1 2

The rows are those of data.py. Each rank is a process that joins a gloo group, opens the prepared set, takes its share of the preflight
of the training split, maps the whole, and plans all steps and their packs as training does. The cores of the machine are
shared: one rank renders in as many processes as there are cores, several ranks in as many together.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from data import write_rows
from measure import HERE, Figures, TreeMemory, parser_for, publish, record
from tunesmith.assets import resolve_model
from tunesmith.config import PrepareConfig
from tunesmith.data import prepare


def main() -> None:
    parser = parser_for(__doc__, repeats=1)
    parser.add_argument("--folder", type=Path, required=True, help="where the rows and the prepared set lie; kept")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--max-length", type=int, default=1024, help="tokens of a pack, and most of an example")
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--prepare-only", action="store_true")
    options = parser.parse_args()
    prepared = options.folder / f"prepared-{options.rows}"
    if not prepared.exists():
        make(options, prepared)
    if options.prepare_only:
        return
    figures = {f"{size} rank{'s' if size > 1 else ''}": measured(options, prepared, size) for size in options.ranks}
    publish(record(options, figures=figures), options.out)


def make(options: argparse.Namespace, prepared: Path) -> None:
    options.folder.mkdir(parents=True, exist_ok=True)
    rows = options.folder / f"rows-{options.rows}.jsonl"
    if not rows.exists():
        write_rows(rows, options.rows)
    prepare([rows], prepared, PrepareConfig(checks="none", near_threshold=1))


def measured(options: argparse.Namespace, prepared: Path, size: int) -> Figures:
    """All ranks' figures: the slowest rank's seconds, the largest rank's memory, and the memory of all together."""
    model = resolve_model(options.model, on_progress=print).directory
    task = {"prepared": str(prepared), "model": str(model), "max_length": options.max_length, "threads": options.threads}
    with tempfile.TemporaryDirectory(prefix="tunesmith-bench-") as scratch, TreeMemory() as memory:
        ranks = run_ranks({**task, "cache": f"{scratch}/tokens"}, Path(scratch), size)
        again = run_ranks({**task, "cache": f"{scratch}/tokens", "is_again": True}, Path(scratch), size)
    names = [name for name in ranks[0] if name.endswith(("_seconds", "_bytes"))]
    worst = {name: max(one[name] for one in ranks) for name in names}
    return {
        **worst,
        "again_render_seconds": max(one["render_seconds"] for one in again),
        "again_peak_memory_bytes": max(one["peak_memory_bytes"] for one in again),
        "all_together_peak_bytes": memory.peak_bytes,
        "num_examples": ranks[0]["num_examples"],
        "num_tokens": ranks[0]["num_tokens"],
        "num_packs": ranks[0]["num_packs"],
    }


def run_ranks(task: dict[str, Any], scratch: Path, size: int) -> list[Figures]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = []
    for rank in range(size):
        folder = Path(tempfile.mkdtemp(dir=scratch))
        (folder / "task.json").write_text(json.dumps({**task, "output_dir": str(folder)}), encoding="utf-8")
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        environment = {**os.environ, **{name: str(value) for name, value in place.items()}, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, str(HERE / "ours_ranks.py"), str(folder / "task.json")]
        started.append((folder, subprocess.Popen(command, env={**environment, "PYTHONPATH": str(HERE)})))
    codes = [process.wait() for _, process in started]
    if any(codes):
        raise SystemExit(f"ranks ended with {codes}")
    return [json.loads((folder / "figures.json").read_text(encoding="utf-8")) for folder, _ in started]


if __name__ == "__main__":
    main()
