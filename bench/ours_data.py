"""tunesmith on the rows of bench/data.py: what `tunesmith prepare` does, then what `tunesmith train` does before its first step."""

from __future__ import annotations

import time
from importlib.metadata import version
from pathlib import Path

import torch
import transformers
from transformers import AutoTokenizer

from measure import TreeMemory, read_task, write_figures
from tunesmith.config import PrepareConfig, TrainConfig
from tunesmith.data import load_prepared, prepare
from tunesmith.engine.packing import plan_packs
from tunesmith.render.preflight import Preflight, run_preflight
from tunesmith.render.renderer import Renderer
from tunesmith.render.token_cache import TokenCache
from tunesmith.train.plan import plan_steps


def main() -> None:
    task = read_task()
    torch.set_num_threads(task["threads"])
    with TreeMemory() as memory:
        started = time.perf_counter()
        prepare([task["file"]], Path(task["out"]), PrepareConfig() if task["checks"] else PrepareConfig(checks="none", near_threshold=1))
        prepared_at = time.perf_counter()
        preflight = rendered(task)
        rendered_at = time.perf_counter()
        num_packs = plan(preflight, task["max_length"])
        packed_at = time.perf_counter()
        rendered(task)
        again = time.perf_counter() - packed_at
    figures = {
        "rows_per_second": task["rows"] / (packed_at - started),
        "prepare_seconds": prepared_at - started,
        "render_seconds": rendered_at - prepared_at,
        "pack_seconds": packed_at - rendered_at,
        "again_render_seconds": again,
        "num_tokens": preflight.num_tokens,
        "num_packs": num_packs,
        "peak_memory_bytes": memory.peak_bytes,
    }
    versions = {"tunesmith": version("tunesmith"), "torch": torch.__version__, "transformers": transformers.__version__}
    write_figures(task, {**figures, "versions": versions})


def rendered(task: dict[str, object]) -> Preflight:
    """The training split, read and verified, loading of the tokenizer included."""
    prepared = load_prepared(str(task["out"]))
    renderer = Renderer.for_model(AutoTokenizer.from_pretrained(task["model"]), "chat")
    cache = TokenCache(Path(str(task["cache"])), prepared.manifest["splits"]["train"]["sha256"])
    return run_preflight(prepared.train, renderer, max_length=int(str(task["max_length"])), over_length="drop", cache=cache)


def plan(preflight: Preflight, max_tokens: int) -> int:
    """Which examples come into which pack of one epoch; their tensors are laid at each step, as TRL's collator does it."""
    arrays = preflight.rendered.arrays
    steps = plan_steps(preflight.rendered.lengths.tolist(), TrainConfig(model="", data=Path(), epochs=1, examples_per_step=16))
    sequences = ([arrays.token_ids[arrays.starts[i] : arrays.starts[i + 1]].tolist() for i in step] for step in steps)
    return sum(len(plan_packs(step, max_tokens)) for step in sequences)


if __name__ == "__main__":
    main()
