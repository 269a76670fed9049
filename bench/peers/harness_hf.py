"""lm-evaluation-harness' own Hugging Face backend, the peer of `bench/harness.py`."""

from __future__ import annotations

import torch
from lm_eval.models.huggingface import HFLM

from harness_task import timed_scores
from measure import read_task, write_figures


def main() -> None:
    task = read_task()
    torch.set_num_threads(task["threads"])
    model = HFLM(pretrained=task["model"], dtype=task["dtype"], device="cpu", batch_size=task["batch_size"])
    write_figures(task, timed_scores(model, task))


if __name__ == "__main__":
    main()
