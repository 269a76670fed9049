"""TRL on the benchmark's examples; run by bench/sft.py with the Python of TRL's own environment.

Reads {"model", "rows": [{"prompt", "completion"}], "settings"} from a JSON file, prints one JSON line of figures.
"""

import json
import os
import resource
import sys
import time
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
import transformers
import trl
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoTokenizer
from trl import SFTConfig, SFTTrainer


def main() -> None:
    task = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    settings = task["settings"]
    torch.set_num_threads(settings["threads"])
    tokenizer = AutoTokenizer.from_pretrained(task["model"])
    config = SFTConfig(
        output_dir=task["output_dir"],
        per_device_train_batch_size=settings["examples_per_step"],
        num_train_epochs=settings["epochs"],
        learning_rate=settings["learning_rate"],
        lr_scheduler_type="linear",
        warmup_steps=0,
        weight_decay=0.0,
        max_grad_norm=1.0,
        max_length=2048,
        bf16=settings["dtype"] == "bfloat16",
        completion_only_loss=True,
        train_sampling_strategy="sequential",  # the rows come in the order of our steps
        report_to="none",
        save_strategy="no",
        logging_steps=1,
        use_cpu=True,
        gradient_checkpointing=False,
        disable_tqdm=True,
        model_init_kwargs={"dtype": "float32"},
    )
    lora = LoraConfig(r=settings["rank"], lora_alpha=settings["alpha"], target_modules="all-linear", task_type="CAUSAL_LM")
    trainer = SFTTrainer(
        model=task["model"],
        args=config,
        train_dataset=Dataset.from_list(task["rows"]),
        peft_config=lora if settings["method"] == "lora" else None,
        processing_class=tokenizer,
    )
    num_tokens = sum(len(row["input_ids"]) for row in trainer.train_dataset)
    started = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - started
    losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    figures = {
        "num_tokens": int(num_tokens * settings["epochs"]),
        "num_steps": trainer.state.global_step,
        "seconds": seconds,
        "loss": sum(losses) / len(losses),
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "versions": {"trl": trl.__version__, "transformers": transformers.__version__, "torch": torch.__version__},
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
