"""Generation: useful new tokens per second, tunesmith's `generate` against transformers' at its best batch size.

    python bench/generate.py [--data faq.jsonl] [--prompts 64] [--max-new-tokens 128] [--repeats 3]

Greedy, the same prompts of mixed length (questions behind none to three earlier exchanges) as the same token ids. Every
measurement is a process of its own. Useful tokens: each completion up to and including its end token.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from transformers import GenerationConfig

from measure import Figures, Runner, compared, parser_for, publish, record, runner
from tunesmith.assets import resolve_model
from tunesmith.data.builtin import builtin_data_file
from tunesmith.render.renderer import Renderer
from tunesmith.types import Example, Message
from work import conversations, renderer_for

BATCH_SIZES = (1, 8, 16, 32, 64)
MOST_EARLIER_EXCHANGES = 3
RATIO_KEYS = ("tokens_per_second", "peak_memory_bytes")
KEYS = (*RATIO_KEYS, "num_new_tokens", "seconds")


def main() -> None:
    options = parse_options()
    model = resolve_model(options.model, on_progress=print).directory
    renderer = renderer_for(model, "auto")
    prompts = mixed_prompts(conversations(options.data, options.prompts), renderer)
    task = {
        "model": str(model),
        "prompts": prompts,
        "max_new_tokens": options.max_new_tokens,
        "stop_ids": stop_ids(model, renderer),
        "dtype": options.dtype,
    }
    figures: dict[str, list[Figures]] = {}
    with runner(options.threads) as run:
        for repeat in range(1, options.repeats + 1):
            for side, measured in measure_once(run, options, task):
                figures.setdefault(side, []).append(measured)
                report(f"{side} {repeat}", measured)
        equal = equal_share(run, options, task)
    parts = compared(figures, KEYS, RATIO_KEYS)
    best = max(parts["ratios"], key=lambda side: parts["medians"][side]["tokens_per_second"])
    lengths = sorted(len(prompt) for prompt in prompts)
    prompt_tokens = {"least": lengths[0], "median": lengths[len(lengths) // 2], "most": lengths[-1], "all": sum(lengths)}
    publish(record(options, prompt_tokens=prompt_tokens, best_peer=best, float32_equal=equal, **parts, runs=slim(figures)), options.out)


def parse_options() -> argparse.Namespace:
    parser = parser_for(__doc__)
    parser.add_argument("--peer-python", default=sys.executable, help="Python of an environment with transformers; default: this one")
    parser.add_argument("--data", type=Path, default=builtin_data_file(), help="question/answer file; default: the built-in data set")
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--max-new-tokens", type=int, default=128)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=BATCH_SIZES, help="of the peer; tunesmith uses its own default")
    parser.add_argument("--float32-prompts", type=int, default=16, help="prompts whose greedy texts are compared in float32; 0 for none")
    return parser.parse_args()


def mixed_prompts(examples: list[Example], renderer: Renderer) -> list[list[int]]:
    """Prompt i asks question i after i mod 4 earlier exchanges, which are the examples before it."""
    prompts = []
    for index, example in enumerate(examples):
        earlier = [examples[index - back] for back in range(index % (MOST_EARLIER_EXCHANGES + 1), 0, -1)]
        turns = [turn for one in earlier for turn in (Message(role="user", content=one.prompt), one.messages[-1])]
        prompts.append(list(renderer.prompt_ids((*turns, Message(role="user", content=example.prompt)))))
    return prompts


def stop_ids(model: Path, renderer: Renderer) -> list[int]:
    """Where a completion ends: what the renderer knows and what the model's generation config says."""
    own = GenerationConfig.from_pretrained(model).eos_token_id if (model / "generation_config.json").is_file() else None
    listed = own if isinstance(own, list) else [] if own is None else [own]
    return sorted({*renderer.stop_ids, *listed})


def measure_once(run: Runner, options: argparse.Namespace, task: dict[str, Any]) -> list[tuple[str, Figures]]:
    """One repeat: tunesmith, then transformers at every batch size."""
    measured = [("tunesmith", with_rate(run.run("ours_generate.py", task), task))]
    for size in options.batch_sizes:
        figures = run.run("peers/transformers_generate.py", {**task, "batch_size": size}, python=options.peer_python)
        measured.append((f"transformers, batch {size}", with_rate(figures, task)))
    return measured


def with_rate(figures: Figures, task: dict[str, Any]) -> Figures:
    """Count each completion up to and including its first end token."""
    completions = [useful(completion, task["stop_ids"]) for completion in figures["completions"]]
    num_new = sum(len(completion) for completion in completions)
    return {**figures, "completions": completions, "num_new_tokens": num_new, "tokens_per_second": num_new / figures["seconds"]}


def useful(completion: list[int], stops: list[int]) -> list[int]:
    end = next((i + 1 for i, token in enumerate(completion) if token in stops), len(completion))
    return completion[:end]


def equal_share(run: Runner, options: argparse.Namespace, task: dict[str, Any]) -> dict[str, Any] | None:
    """Share of the first prompts whose greedy completions are equal in float32, token for token, to transformers' one by one."""
    count = min(options.float32_prompts, len(task["prompts"]))
    if not count:
        return None
    few = {**task, "prompts": task["prompts"][:count], "dtype": "float32"}
    ours = with_rate(run.run("ours_generate.py", few), few)["completions"]
    alone = run.run("peers/transformers_generate.py", {**few, "batch_size": 1}, python=options.peer_python)
    theirs = with_rate(alone, few)["completions"]
    return {"prompts": count, "share": sum(a == b for a, b in zip(ours, theirs, strict=True)) / count}


def report(name: str, figures: Figures) -> None:
    print(
        f"{name:>26}: {figures['tokens_per_second']:7.1f} tokens/s, {figures['peak_memory_bytes'] / 1e9:5.2f} GB "
        f"({figures['num_new_tokens']:,} new tokens in {figures['seconds']:.1f} s)",
        flush=True,
    )


def slim(figures: dict[str, list[Figures]]) -> dict[str, list[Figures]]:
    """Without the completions."""
    return {side: [{key: value for key, value in one.items() if key != "completions"} for one in runs] for side, runs in figures.items()}


if __name__ == "__main__":
    main()
