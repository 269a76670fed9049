"""tunesmith's side of `bench/harness.py`: a named model or run as lm-evaluation-harness sees it."""

from __future__ import annotations

import torch

from harness_task import timed_scores
from measure import read_task, write_figures
from tunesmith.evaluate.benchmarks.harness import TunesmithLM
from tunesmith.tuned import open_model


def main() -> None:
    task = read_task()
    torch.set_num_threads(task["threads"])
    settings = {} if task["tokens_per_pack"] is None else {"tokens_per_pack": task["tokens_per_pack"]}
    model = TunesmithLM.of(open_model(task["model"], dtype=task["dtype"], device="cpu"), **settings)
    write_figures(task, timed_scores(model, task))


if __name__ == "__main__":
    main()
