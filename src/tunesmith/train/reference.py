"""What the network said before training: the log-probabilities that DPO, IPO and KTO compare with.

Computed once, on the network as the run starts it (a continued adapter included), in evaluation mode, and kept in the
run directory, so that a resumed run compares with the very same numbers.

reference/log_probabilities.safetensors
  train.nats              (N, W) float64 nats of every answer; NaN where no step uses the example
  train.mismatched        (K, 2) of KTO: whose prompt, whose answer
  train.mismatched_nats   (K,)
  validation.…
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel

from tunesmith.engine.score import score
from tunesmith.files import atomic_directory
from tunesmith.train.checkpoint import full_disk_named
from tunesmith.types import RenderedExample

if TYPE_CHECKING:
    from tunesmith.train.loop import Task

FILE = "log_probabilities.safetensors"


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Of one split."""

    nats: Tensor
    """(N, W) float64, on the CPU."""
    mismatched: Mapping[tuple[int, int], float] = field(default_factory=dict)
    """Nats of one example's answer to another example's prompt, by (prompt's, answer's) example."""

    @classmethod
    def unknown(cls, num_examples: int, width: int) -> Reference:
        """For objectives that compare with nothing."""
        return cls(nats=torch.full((num_examples, width), torch.nan, dtype=torch.float64))


def answer_start(rendered: RenderedExample) -> int:
    """Where the last answer begins: behind the last token that is not supervised."""
    return len(rendered.supervised) - next(
        (i for i, flag in enumerate(reversed(rendered.supervised)) if not flag), len(rendered.supervised)
    )


def answer_only(rendered: RenderedExample) -> RenderedExample:
    """The same tokens, the last answer alone supervised: what a preference is about."""
    start = answer_start(rendered)
    supervised = (False,) * start + (True,) * (len(rendered.supervised) - start)
    return RenderedExample(
        example=rendered.example, token_ids=rendered.token_ids, supervised=supervised, num_cut_tokens=rendered.num_cut_tokens
    )


def mismatch(prompt: RenderedExample, answer: RenderedExample, max_length: int) -> RenderedExample:
    """One example's prompt with another one's answer, cut at `max_length`."""
    start = answer_start(prompt)
    token_ids = (prompt.token_ids[:start] + answer.token_ids[answer_start(answer) :])[:max_length]
    supervised = (False,) * start + (True,) * (len(token_ids) - start)
    return RenderedExample(example=prompt.example, token_ids=token_ids, supervised=supervised)


def measure_reference(
    network: PreTrainedModel,
    examples: Sequence[Sequence[RenderedExample]],
    used: Iterable[int],
    mismatches: Sequence[tuple[int, int]],
    *,
    max_length: int,
    tokens_per_pack: int,
) -> Reference:
    """Score the answers of the `used` examples, each a row of W sequences, and of the mismatched ones."""
    network.eval()
    rows = sorted(set(used))
    pairs = list(dict.fromkeys(mismatches))
    sequences = [sequence for row in rows for sequence in examples[row]]
    crossed = [mismatch(examples[prompt][0], examples[answer][0], max_length) for prompt, answer in pairs]
    totals = [loss.total for loss in score(network, [*sequences, *crossed], tokens_per_pack=tokens_per_pack)]
    width = len(examples[0])
    known = Reference.unknown(len(examples), width).nats
    known[rows] = torch.tensor(totals[: len(sequences)], dtype=torch.float64).view(-1, width)
    return Reference(nats=known, mismatched=dict(zip(pairs, totals[len(sequences) :], strict=True)))


def save_references(directory: Path, references: Mapping[str, Reference]) -> None:
    """Write all splits' references at once or not at all."""
    tensors: dict[str, Tensor] = {}
    for name, reference in references.items():
        tensors[f"{name}.nats"] = reference.nats
        tensors[f"{name}.mismatched"] = torch.tensor(list(reference.mismatched), dtype=torch.int64).view(-1, 2)
        tensors[f"{name}.mismatched_nats"] = torch.tensor(list(reference.mismatched.values()), dtype=torch.float64)
    with atomic_directory(directory) as staging:
        save_file(tensors, staging / FILE)


def load_references(directory: Path) -> dict[str, Reference]:
    """The inverse of `save_references`, to the bit."""
    tensors = load_file(directory / FILE)
    names = [key.removesuffix(".nats") for key in tensors if key.endswith(".nats")]
    return {
        name: Reference(
            nats=tensors[f"{name}.nats"],
            mismatched={
                (prompt, answer): nats
                for (prompt, answer), nats in zip(
                    tensors[f"{name}.mismatched"].tolist(), tensors[f"{name}.mismatched_nats"].tolist(), strict=True
                )
            },
        )
        for name in names
    }


def with_references(task: Task) -> Task:
    """Ask the starting network once, where the objective compares with it; an interrupted run finds what it said in its directory.

    Before any step and any checkpoint: the network is the starting one.
    """
    if not task.objective.needs_reference:
        return task
    directory = task.run.reference_dir
    if not task.group.from_first(directory.exists):
        used = {i for members in task.steps for i in members}
        task.observer.say(f"asking the starting model for its probabilities of {len(used) + len(task.validation):,} examples' answers")
        network, tokens = task.trainee.network, task.tokens_per_pack
        references = {"train": task.objective.measure(network, task.train, task.steps, tokens)}
        if task.validation:
            references["validation"] = task.objective.measure(network, task.validation, [range(len(task.validation))], tokens)
        if task.group.is_first:
            with full_disk_named(task.run, "saving the starting model's probabilities"):
                save_references(directory, references)
        task.group.barrier()
    references = load_references(directory)
    return dataclasses.replace(
        task,
        train=dataclasses.replace(task.train, reference=references["train"]),
        validation=dataclasses.replace(task.validation, reference=references.get("validation")),
    )
