"""tunesmith on the benchmark's examples; run by bench/sft.py as a process of its own, like the peers.

Goes through `tunesmith.train.train.train`, the function the command line calls. Prints one JSON line of figures.
"""

import json
import sys
from pathlib import Path

import torch

from tunesmith.config import LoraConfig, PrepareConfig, TrainConfig
from tunesmith.data.prepare import prepare
from tunesmith.data.readers import rows_from_records
from tunesmith.train.train import train


def main() -> None:
    task = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    settings = task["settings"]
    torch.set_num_threads(settings["threads"])
    out = Path(task["output_dir"])
    rows = rows_from_records(task["rows"], "bench")
    data = prepare(None, out / "data", PrepareConfig(test_fraction=0.0, validation_fraction=0.0), rows=rows)
    config = TrainConfig(
        model=task["model"],
        data=data.directory,
        method=settings["method"],
        template=task["template"],
        lora=LoraConfig(rank=settings["rank"], alpha=settings["alpha"]),
        epochs=settings["epochs"],
        examples_per_step=settings["examples_per_step"],
        learning_rate=settings["learning_rate"],
        schedule="linear",
        warmup_fraction=0.0,
        patience=0,
        seed=settings["seed"],
        dtype=settings["dtype"],
        device="cpu",
    )
    run = train(config, runs_dir=out / "runs", name="bench")
    manifest = run.manifest()
    losses = [line["loss"] for line in run.metrics() if line["kind"] == "step"]
    print(
        json.dumps(
            {
                "num_tokens": manifest["num_tokens"],
                "num_steps": manifest["num_steps"],
                "seconds": manifest["seconds"],
                "loss": sum(losses) / len(losses),
                "peak_memory_bytes": manifest["peak_memory_bytes"],
                "versions": run.record()["versions"],
            }
        )
    )


if __name__ == "__main__":
    main()
