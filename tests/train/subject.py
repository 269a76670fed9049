"""A training run in a process of its own, to be killed: `python -m tests.train.subject CONFIG_JSON RUNS_DIR NAME`."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import torch

from tunesmith.config import TrainConfig
from tunesmith.train.observer import Silent
from tunesmith.train.train import train


class Slow(Silent):
    """Leaves whoever watches the time to strike between two steps."""

    def stepped(self, metrics: dict[str, Any]) -> None:
        del metrics
        time.sleep(0.05)


if __name__ == "__main__":
    torch.set_num_threads(1)
    train(TrainConfig.model_validate_json(sys.argv[1]), runs_dir=Path(sys.argv[2]), name=sys.argv[3], observer=Slow())
