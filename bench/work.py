"""The work both sides do: which examples, in which order, how many tokens.

>>> work = sft_work(conversations(file, 128), model_directory, settings)
>>> len(work.ours), len(work.peers), sum(work.tokens_of_steps)
(128, 128, 10585)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from safetensors import safe_open
from transformers import AutoTokenizer

from tunesmith.config import PrepareConfig, TrainConfig
from tunesmith.data.converting.columns import recognise
from tunesmith.data.converting.examples import to_examples
from tunesmith.data.converting.facts import said
from tunesmith.data.reading.readers import read_rows
from tunesmith.render.renderer import Renderer
from tunesmith.train.plan import plan_steps
from tunesmith.types import Example, Message

Record = dict[str, Any]
Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class Work:
    """The same work as rows for us and as rows for the peers."""

    ours: list[Record]
    """In the order of the file; our own plan shuffles them."""
    peers: list[Record]
    """Rendered texts in the order in which our steps take them: one row for every time an example is trained on."""
    tokens_of_steps: list[int]
    """Useful tokens of every step: each example in full, padding never."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A prompt and two answers to it, the first the better one."""

    prompt: str
    chosen: str
    rejected: str


def conversations(file: Path, count: int) -> list[Example]:
    """The first `count` distinct examples of a question/answer file that have a prompt.

    Raises:
        SystemExit: the file has fewer.
    """
    rows = read_rows(file)
    distinct: dict[bytes, Example] = {}  # by all that is said, the first stays
    for example in to_examples(rows, recognise(rows, PrepareConfig()), PrepareConfig(on_invalid="drop")).examples:
        distinct.setdefault(said(example), example)
    return _first([example for example in distinct.values() if example.prompt.strip()], count, file)


def preference_pairs(file: Path, count: int) -> list[Pair]:
    """The first `count` distinct pairs: columns `chosen`, `rejected`, and `prompt` or `instruction` with or without `input`.

    Raises:
        SystemExit: the file has fewer.
    """
    pairs: dict[Pair, None] = {}  # an ordered set
    for row in read_rows(file):
        prompt = str(row.values["prompt"] if "prompt" in row.values else row.values["instruction"])
        extra = str(row.values.get("input") or "")
        pair = Pair(
            prompt=f"{prompt}\n\n{extra}" if extra.strip() else prompt,
            chosen=str(row.values["chosen"]),
            rejected=str(row.values["rejected"]),
        )
        if pair.prompt.strip() and pair.chosen.strip() and pair.rejected.strip() and pair.chosen != pair.rejected:
            pairs[pair] = None
    return _first(list(pairs), count, file)


def mismatched_pairs(examples: Sequence[Example]) -> list[Pair]:
    """Pairs from plain examples, where no preference data is given: the rejected answer is that of the next question."""
    others = [*examples[1:], examples[0]]
    return [Pair(prompt=e.prompt, chosen=e.reference, rejected=o.reference) for e, o in zip(examples, others, strict=True)]


def _first(items: list[Item], count: int, file: Path) -> list[Item]:
    if len(items) < count:
        raise SystemExit(f"{file.name} has {len(items)} usable rows; --examples asks for {count}")
    return items[:count]


def sft_work(examples: Sequence[Example], model: Path, train: Mapping[str, Any]) -> Work:
    """Supervised fine-tuning: rows of `prompt` and `completion`. `train` holds fields of TrainConfig."""
    renderer = renderer_for(model, train["template"])
    lengths = [len(renderer.render(plain(example)).token_ids) for example in examples]
    steps = plan_steps(lengths, TrainConfig(model="", data=Path(), **train))
    prompts = [_prompt_text(renderer, example.prompt) for example in examples]
    eos = renderer.decode([renderer.end_of_turn_id])
    return Work(
        ours=[{"prompt": example.prompt, "completion": example.reference} for example in examples],
        peers=[{"prompt": prompts[i], "completion": examples[i].reference + eos} for step in steps for i in step],
        tokens_of_steps=[sum(lengths[i] for i in step) for step in steps],
    )


def dpo_work(pairs: Sequence[Pair], model: Path, train: Mapping[str, Any]) -> Work:
    """Preference optimisation: rows of `prompt`, `chosen` and `rejected`; a pair's useful tokens count its prompt once."""
    renderer = renderer_for(model, train["template"])
    texts = [(_prompt_text(renderer, pair.prompt), pair.chosen, pair.rejected) for pair in pairs]
    lengths = [sum(len(renderer.tokenizer(text, add_special_tokens=False).input_ids) for text in parts) + 2 for parts in texts]
    steps = plan_steps(lengths, TrainConfig(model="", data=Path(), **train))
    eos = renderer.decode([renderer.end_of_turn_id])
    rows = [{"prompt": prompt, "chosen": chosen + eos, "rejected": rejected + eos} for prompt, chosen, rejected in texts]
    return Work(
        ours=[{"prompt": pair.prompt, "chosen": pair.chosen, "rejected": pair.rejected} for pair in pairs],
        peers=[rows[i] for step in steps for i in step],
        tokens_of_steps=[sum(lengths[i] for i in step) for step in steps],
    )


def renderer_for(model: Path, template: str) -> Renderer:
    """The renderer training will use with this template."""
    return Renderer.for_model(AutoTokenizer.from_pretrained(model), template)


def plain(example: Example) -> Example:
    """One question and its answer, whatever else the row held: what `Work.ours` says of it."""
    messages = (Message(role="user", content=example.prompt), Message(role="assistant", content=example.reference))
    return Example(id=example.id, source=example.source, group=example.group, messages=messages)


def _prompt_text(renderer: Renderer, prompt: str) -> str:
    return renderer.decode(renderer.prompt_ids((Message(role="user", content=prompt),)))


def num_parameters(model: Path) -> int:
    """Weights in a model folder's safetensors files; a tied output head is stored once."""
    total = 0
    for file in sorted(model.glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - not a dict
                size = 1
                for length in tensors.get_slice(name).get_shape():
                    size *= length
                total += size
    return total
