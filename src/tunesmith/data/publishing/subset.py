"""A prepared directory with fewer training examples, for learning curves; validation and test stay as they are.

Subsets of one seed are nested: the examples are put into an order by a hash of seed and id, and a subset takes the first of it. So what a
larger one adds is examples alone, and never another draw.
"""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import numpy as np

from tunesmith.data.storing.directory import new_directory
from tunesmith.data.storing.prepared import MANIFEST, SPLIT_NAMES, PreparedData, load_prepared
from tunesmith.data.storing.store import open_examples, write_lines
from tunesmith.errors import ConfigError
from tunesmith.files import write_json


def write_subset(data: PreparedData, num_examples: int, *, seed: int, out: Path) -> PreparedData:
    """Write `out`, with `num_examples` of the training split in the order they had.

    Raises:
        ConfigError: the training split has not so many.
        DataError: `out` is taken.
    """
    if not 0 < num_examples <= len(data.train):
        expected = f"1 to {len(data.train):,}, the examples of the training split"
        raise ConfigError(str(data.directory), f"a subset of {num_examples:,} examples", expected=expected, remedy="correct the size")
    order = sorted(range(len(data.train)), key=lambda position: _place(seed, data.train[position].id))
    chosen = np.sort(np.array(order[:num_examples]))
    with new_directory(out) as staging:
        manifest = dict(data.manifest)
        splits = {name: dict(data.manifest["splits"][name]) for name in SPLIT_NAMES}
        for name in SPLIT_NAMES:
            whole = open_examples(data.directory / f"{name}.jsonl")[0]
            kept = whole.select(chosen) if name == "train" else whole
            splits[name] |= {"examples": len(kept), "sha256": write_lines(staging / f"{name}.jsonl", kept.lines())}
        manifest |= {
            "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "summary": [f"{num_examples:,} of the {len(data.train):,} training examples of {data.directory}, seed {seed}"],
            "splits": splits,
            "fingerprint": hashlib.sha256("".join(str(split["sha256"]) for split in splits.values()).encode()).hexdigest(),
            "subset": {"of": data.fingerprint, "directory": str(data.directory.resolve()), "num_examples": num_examples, "seed": seed},
        }
        write_json(staging / MANIFEST, manifest)
    return load_prepared(out)


def _place(seed: int, example_id: str) -> bytes:
    return hashlib.sha256(f"{seed} {example_id}".encode()).digest()
