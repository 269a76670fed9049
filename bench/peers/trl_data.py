"""What TRL's `SFTTrainer` does with the rows of bench/data.py before its first step; run with the Python of TRL's own environment."""

import time

import torch
import transformers
import trl
from datasets import load_dataset
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from measure import TreeMemory, read_task, write_figures


def main() -> None:
    task = read_task()
    torch.set_num_threads(task["threads"])
    tokenizer = AutoTokenizer.from_pretrained(task["model"])
    # The trainer wants a network; the smallest will do.
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1}
    network = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **sizes))
    config = trl.SFTConfig(
        output_dir=task["output_dir"],
        packing=True,
        max_length=task["max_length"],
        dataset_num_proc=task["processes"],
        report_to="none",
        use_cpu=True,
        bf16=False,
        disable_tqdm=True,
    )
    with TreeMemory() as memory:
        started = time.perf_counter()
        rows = load_dataset("json", data_files=task["file"], split="train", cache_dir=task["output_dir"])
        conversations = rows.map(conversation, remove_columns=rows.column_names, num_proc=task["processes"])
        trainer = trl.SFTTrainer(model=network, args=config, train_dataset=conversations, processing_class=tokenizer)
        seconds = time.perf_counter() - started
    figures = {
        "rows_per_second": task["rows"] / seconds,
        "trainer_seconds": seconds,
        "num_tokens": sum(len(row["input_ids"]) for row in trainer.train_dataset),
        "peak_memory_bytes": memory.peak_bytes,
    }
    write_figures(task, {**figures, "versions": {module.__name__: module.__version__ for module in (trl, transformers, torch)}})


def conversation(row: dict) -> dict:
    """The columns from which TRL makes a prompt and a supervised completion."""
    return {
        "prompt": [{"role": "user", "content": row["question"]}],
        "completion": [{"role": "assistant", "content": row["answer"]}],
    }


if __name__ == "__main__":
    main()
