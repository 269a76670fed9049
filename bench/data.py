"""Data preparation: rows per second and memory from a file to packs, tunesmith against TRL in one run.

    python bench/data.py --trl-python ~/trl-env/bin/python [--rows 100000]
    python bench/data.py --rows 1000000 --repeats 1                            # ours alone, for its memory

The rows are questions and answers made of the built-in set (varied.py), in a JSON Lines file. Ours: `prepare` with all its
default checks, duplicates, near-duplicate clusters and the split, then the preflight of the training split, then the plan of the packs
of one epoch; a second time with the cache of tokens. TRL: the rows read with `datasets`, then what its SFTTrainer does before its
first step (chat template, tokens, packing), in one process and in as many as there are threads.
"""

from __future__ import annotations

import json
from pathlib import Path

from measure import Figures, compared, parser_for, publish, record, runner
from tunesmith.assets import resolve_model
from varied import varied_rows

RATIO_KEYS = ("rows_per_second", "peak_memory_bytes")
KEYS = (*RATIO_KEYS, "prepare_seconds", "render_seconds", "pack_seconds", "again_render_seconds", "trainer_seconds", "num_tokens")


def main() -> None:
    parser = parser_for(__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--max-length", type=int, default=1024, help="tokens of a pack, and most of an example")
    parser.add_argument("--no-checks", action="store_true", help="ours without checks and near duplicates: what TRL does as well")
    parser.add_argument("--trl-python", help="Python of an environment with TRL; without it TRL is left out")
    options = parser.parse_args()
    model = resolve_model(options.model, on_progress=print).directory
    figures: dict[str, list[Figures]] = {}
    with runner(options.threads) as run:
        file = run.scratch / "rows.jsonl"
        write_rows(file, options.rows)
        task = {"file": str(file), "model": str(model), "max_length": options.max_length, "rows": options.rows}
        for repeat in range(options.repeats):
            ours = {
                **task,
                "checks": not options.no_checks,
                "out": str(run.scratch / f"prepared-{repeat}"),
                "cache": str(run.scratch / f"cache-{repeat}"),
            }
            figures.setdefault("tunesmith", []).append(run.run("ours_data.py", ours))
            for processes in (None, options.threads) if options.trl_python else ():
                name = "trl" if processes is None else f"trl, {processes} processes"
                side = run.run("peers/trl_data.py", {**task, "processes": processes}, python=options.trl_python)
                figures.setdefault(name, []).append(side)
    publish(record(options, **compared(figures, KEYS, RATIO_KEYS), runs=figures), options.out)


def write_rows(file: Path, count: int) -> None:
    with file.open("w", encoding="utf-8") as out:
        for row in varied_rows(count, seed=1):
            out.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
