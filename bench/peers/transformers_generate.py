"""transformers' `generate` on the benchmark's prompts at one batch size; run by bench/generate.py.

Left-padded batches, prompts of similar length together (longest first), as a careful user would.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM

from measure import read_task, write_figures

WARM_UP_TOKENS = 4


def main() -> None:
    task = read_task()
    torch.set_num_threads(task["threads"])
    network = AutoModelForCausalLM.from_pretrained(task["model"], dtype=getattr(torch, task["dtype"])).eval()
    prompts, size = task["prompts"], task["batch_size"]
    complete(network, prompts[:2], {**task, "max_new_tokens": WARM_UP_TOKENS})
    by_length = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
    completions: dict[int, list[int]] = {}
    started = time.perf_counter()
    for start in range(0, len(prompts), size):
        batch = by_length[start : start + size]
        completions.update(zip(batch, complete(network, [prompts[i] for i in batch], task), strict=True))
    seconds = time.perf_counter() - started
    versions = {"transformers": transformers.__version__, "torch": torch.__version__}
    write_figures(task, {"seconds": seconds, "completions": [completions[i] for i in range(len(prompts))], "versions": versions})


def complete(network: Any, prompts: Sequence[Sequence[int]], task: dict[str, Any]) -> list[list[int]]:
    """New tokens of one batch, padding and all."""
    longest = max(len(prompt) for prompt in prompts)
    pad = task["stop_ids"][0]
    padded = torch.tensor([[pad] * (longest - len(prompt)) + list(prompt) for prompt in prompts])
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    with torch.inference_mode():
        done = network.generate(
            input_ids=padded,
            attention_mask=mask,
            max_new_tokens=task["max_new_tokens"],
            do_sample=False,
            eos_token_id=task["stop_ids"],
            pad_token_id=pad,
        )
    new: list[list[int]] = done[:, longest:].tolist()
    return new


if __name__ == "__main__":
    main()
