"""TRL's `SFTTrainer` on the benchmark's examples; run by bench/sft.py with the Python of TRL's own environment."""

import peft
import torch
import transformers
import trl
from arguments import timed_training, training_arguments
from datasets import Dataset
from transformers import AutoTokenizer

from measure import read_task, write_figures


def main() -> None:
    task = read_task()
    settings = task["settings"]
    torch.set_num_threads(task["threads"])
    config = trl.SFTConfig(
        **training_arguments(task),
        bf16=settings["dtype"] == "bfloat16",
        completion_only_loss=True,
        model_init_kwargs={"dtype": "float32"},
    )
    lora = peft.LoraConfig(r=settings["rank"], lora_alpha=settings["alpha"], target_modules="all-linear", task_type="CAUSAL_LM")
    trainer = trl.SFTTrainer(
        model=task["model"],
        args=config,
        train_dataset=Dataset.from_list(task["rows"]),
        peft_config=lora if settings["method"] == "lora" else None,
        processing_class=AutoTokenizer.from_pretrained(task["model"]),
    )
    num_tokens = sum(len(row["input_ids"]) for row in trainer.train_dataset)
    figures = {"num_tokens": int(num_tokens * settings["epochs"]), **timed_training(trainer)}
    versions = {module.__name__: module.__version__ for module in (trl, transformers, peft, torch)}
    write_figures(task, {**figures, "versions": versions})


if __name__ == "__main__":
    main()
