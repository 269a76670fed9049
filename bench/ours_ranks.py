"""One rank of bench/data_ranks.py: what `tunesmith train` does with the data before its first step, and its memory after each part."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer

from measure import read_task, write_figures
from tunesmith.config import TrainConfig
from tunesmith.data import load_prepared
from tunesmith.distributed.group import Group, joined
from tunesmith.engine.packing import plan_packs
from tunesmith.render.preflight import run_preflight
from tunesmith.render.renderer import Renderer
from tunesmith.render.token_cache import TokenCache
from tunesmith.train.objectives import Split
from tunesmith.train.plan import plan_steps


def main() -> None:
    task = read_task()
    torch.set_num_threads(1)
    with joined("cpu") as group:
        write_figures(task, work(task, group))


def work(task: dict[str, Any], group: Group) -> dict[str, Any]:
    renderer = Renderer.for_model(AutoTokenizer.from_pretrained(task["model"]), "chat")
    marks = [(time.perf_counter(), own_bytes())]
    prepared = load_prepared(task["prepared"])
    marks.append((time.perf_counter(), own_bytes()))
    cache = TokenCache(Path(task["cache"]), prepared.manifest["splits"]["train"]["sha256"])
    preflight = run_preflight(prepared.train, renderer, max_length=task["max_length"], over_length="drop", cache=cache, group=group)
    marks.append((time.perf_counter(), own_bytes()))
    split = Split(rendered=preflight.rendered, rejected=preflight.rejected)
    steps = plan_steps(split.lengths, TrainConfig(model="", data=Path(), epochs=1, examples_per_step=16))
    marks.append((time.perf_counter(), own_bytes()))
    arrays = preflight.rendered.arrays
    looked_at = steps[:1] if task.get("is_again") else steps
    sequences = ([arrays.token_ids[arrays.starts[i] : arrays.starts[i + 1]].tolist() for i in step] for step in looked_at)
    num_packs = sum(len(plan_packs(step, task["max_length"])) for step in sequences)
    marks.append((time.perf_counter(), own_bytes()))
    names = ("load", "render", "plan", "pack")
    seconds = {f"{name}_seconds": marks[n + 1][0] - marks[n][0] for n, name in enumerate(names)}
    memory = {f"after_{name}_own_bytes": marks[n + 1][1] - marks[0][1] for n, name in enumerate(names)}
    sizes = {"num_examples": len(preflight.rendered), "num_tokens": preflight.num_tokens, "num_packs": num_packs}
    return {**seconds, **memory, "libraries_own_bytes": marks[0][1], **sizes}


def own_bytes() -> int:
    """Resident memory that is this process's own: mapped files, which the ranks of a machine share, left out (Linux)."""
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("RssAnon:")) * 1024


if __name__ == "__main__":
    main()
