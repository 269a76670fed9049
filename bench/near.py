"""Time and memory of the search for near duplicates as the data grows, and how much of what was planted it finds.

    python bench/near.py                 # 10,000, 100,000 and 1,000,000 texts of about 480 characters
    python bench/near.py 10000 100000

Each size runs in a process of its own. The texts are those of `varied.py`: made of the built-in data, one in twenty an edited copy, one in
a hundred a copy. Prints the figures as a line of JSON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

from measure import peak_memory_bytes, read_task, runner, write_figures
from varied import planted

SIZES = (10_000, 100_000, 1_000_000)
SEED = 1


def write_texts(count: int, file: Path) -> dict[int, int]:
    """One text a line, question and answer of each row; returns which rows are copies of which."""
    origins: dict[int, int] = {}
    with file.open("w", encoding="utf-8") as lines:
        for number, row in enumerate(planted(count, SEED)):
            origin = row.near if row.near is not None else row.exact
            if origin is not None:
                origins[number] = origin
            lines.write(f"{row.question} {row.answer}\n")
    return origins


def side() -> None:
    """In a process of its own: the texts are read from a file, so that they are never all in memory."""
    from tunesmith.data.comparing.near import near_clusters

    task = read_task()
    file = Path(task["output_dir"]) / "texts.txt"
    origins = write_texts(int(task["count"]), file)
    near_clusters(["warm", "up"])
    before = peak_memory_bytes()
    started = time.perf_counter()
    with file.open(encoding="utf-8") as lines:
        clusters = near_clusters(lines)
    seconds = time.perf_counter() - started
    found = sum(int(clusters[copy] == clusters[origin]) for copy, origin in origins.items())
    write_figures(
        task,
        {
            "texts": len(clusters),
            "characters": file.stat().st_size // len(clusters),
            "seconds": round(seconds, 2),
            "microseconds_a_text": round(1e6 * seconds / len(clusters), 1),
            "mebibytes_more": (peak_memory_bytes() - before) >> 20,
            "planted": len(origins),
            "recall": round(found / len(origins), 5),
            "found_in_all": int((clusters != np.arange(len(clusters))).sum()),
        },
    )


def main() -> None:
    with runner(threads=1) as run:
        for count in map(int, sys.argv[1:]) if len(sys.argv) > 1 else SIZES:
            print(json.dumps(run.run("near.py", {"count": count})), flush=True)


if __name__ == "__main__":
    side() if len(sys.argv) == 2 and sys.argv[1].endswith(".json") else main()
