"""Unsloth's CPU backend on the benchmark's examples; run by bench/sft.py with the Python of Unsloth's own environment.

Its public interface alone: `FastLanguageModel`, then TRL's `SFTTrainer`, which it speeds up when it is imported first.
Weights are in the compute type, as its documentation loads them; in full fine-tuning too.
"""

import os

os.environ["UNSLOTH_DISABLE_STATISTICS"] = "1"

import unsloth  # isort: skip  # has to come before trl and transformers
import peft
import torch
import transformers
import trl
from arguments import timed_training, training_arguments
from datasets import Dataset

from measure import read_task, write_figures

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
"""Every linear layer of a Llama-like block: what peers and we call all-linear."""


def main() -> None:
    task = read_task()
    settings = task["settings"]
    torch.set_num_threads(task["threads"])
    network, tokenizer = unsloth.FastLanguageModel.from_pretrained(
        model_name=task["model"],
        max_seq_length=2048,
        dtype=getattr(torch, settings["dtype"]),
        load_in_4bit=False,
        full_finetuning=settings["method"] == "full",
    )
    if settings["method"] == "lora":
        network = unsloth.FastLanguageModel.get_peft_model(
            network,
            r=settings["rank"],
            lora_alpha=settings["alpha"],
            lora_dropout=0,
            target_modules=TARGETS,
            use_gradient_checkpointing=False,
            random_state=settings["seed"],
        )
    config = trl.SFTConfig(**training_arguments(task), bf16=False, fp16=False, completion_only_loss=True, optim="adamw_torch")
    trainer = trl.SFTTrainer(model=network, args=config, train_dataset=Dataset.from_list(task["rows"]), processing_class=tokenizer)
    num_tokens = sum(len(row["input_ids"]) for row in trainer.train_dataset)
    figures = {"num_tokens": int(num_tokens * settings["epochs"]), **timed_training(trainer)}
    versions = {module.__name__: module.__version__ for module in (unsloth, trl, transformers, peft, torch)}
    write_figures(task, {**figures, "versions": versions})


if __name__ == "__main__":
    main()
