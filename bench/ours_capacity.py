"""One short training run of tunesmith's, and the most memory the process had within its steps, loading left out (Linux).

The task holds `rows`, `model` and `train`, as for `ours_train.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from measure import peak_memory_bytes, read_task, write_figures
from ours_train import Watch, start

RESET_PEAK = "5"
"""Written to clear_refs it sets the peak of resident memory to what is resident now (proc(5))."""


class PeakWatch(Watch):
    """Looks at the peak after every step."""

    def __init__(self) -> None:
        super().__init__(None)
        self.loading_peak = self.step_peak = 0
        self.most_tokens = 0

    def started(self, num_steps: int, first_step: int) -> None:
        super().started(num_steps, first_step)
        self.loading_peak = peak_memory_bytes()
        Path("/proc/self/clear_refs").write_text(RESET_PEAK, encoding="ascii")

    def stepped(self, metrics: dict[str, Any]) -> None:
        super().stepped(metrics)
        self.step_peak = peak_memory_bytes()
        self.most_tokens = max(self.most_tokens, metrics["num_tokens"])


def main() -> None:
    task = read_task()
    torch.set_num_threads(task["threads"])
    watch = PeakWatch()
    run = start(task, watch)
    figures = {
        "step_peak_bytes": watch.step_peak,
        "loading_peak_bytes": watch.loading_peak,
        "most_tokens_of_a_step": watch.most_tokens,
        "manifest_peak_bytes": run.manifest()["peak_memory_bytes"],
        "versions": run.record()["versions"],
    }
    write_figures(task, figures)


if __name__ == "__main__":
    main()
