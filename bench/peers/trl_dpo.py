"""TRL's `DPOTrainer` on the benchmark's pairs; run by bench/dpo.py with the Python of TRL's own environment."""

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
    config = trl.DPOConfig(
        **training_arguments(task),
        beta=settings["beta"],
        loss_type=["sigmoid"],
        bf16=settings["dtype"] == "bfloat16",
        model_init_kwargs={"dtype": "float32"},
    )
    lora = peft.LoraConfig(r=settings["rank"], lora_alpha=settings["alpha"], target_modules="all-linear", task_type="CAUSAL_LM")
    trainer = trl.DPOTrainer(
        model=task["model"],
        args=config,
        train_dataset=Dataset.from_list(task["rows"]),
        peft_config=lora,
        processing_class=AutoTokenizer.from_pretrained(task["model"]),
    )
    figures = timed_training(trainer)
    accuracies = [line["rewards/accuracies"] for line in trainer.state.log_history if "rewards/accuracies" in line]
    versions = {module.__name__: module.__version__ for module in (trl, transformers, peft, torch)}
    write_figures(task, {**figures, "reward_accuracy": sum(accuracies) / len(accuracies), "versions": versions})


if __name__ == "__main__":
    main()
