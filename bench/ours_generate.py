"""tunesmith's side of bench/generate.py: the engine's `generate`, with the settings a user gets by default."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import torch

from measure import read_task, write_figures
from tunesmith.config import GenerateConfig
from tunesmith.engine.generation.generate import generate
from tunesmith.engine.loading import LoadedModel
from tunesmith.runs import provenance
from tunesmith.tuned import load

WARM_UP_TOKENS = 4


def main() -> None:
    task = read_task()
    torch.set_num_threads(task["threads"])
    loaded = load(Path(task["model"]), dtype=task["dtype"], device="cpu")
    stop_ids = task["stop_ids"]
    complete(loaded, task["prompts"][:2], WARM_UP_TOKENS, stop_ids)
    started = time.perf_counter()
    completions = complete(loaded, task["prompts"], task["max_new_tokens"], stop_ids)
    seconds = time.perf_counter() - started
    write_figures(task, {"seconds": seconds, "completions": completions, "versions": provenance()["versions"]})


def complete(loaded: LoadedModel, prompts: Sequence[Sequence[int]], max_new_tokens: int, stop_ids: Sequence[int]) -> list[list[int]]:
    completions = generate(
        loaded.network,
        prompts,
        GenerateConfig(max_new_tokens=max_new_tokens),
        stop_ids=frozenset(stop_ids),
        context_length=loaded.context_length,
        parse=loaded.tokenizer.decode,
    )
    return [list(completion.token_ids) for completion in completions]


if __name__ == "__main__":
    main()
