"""Which trial is best by its loss on the validation split, and what stands in the way of comparing the losses.

Losses of models with different tokenizers are compared per byte of the text that each model's loss was taken of (as Gao et al. 2020,
arXiv:2101.00027, section 3.1): the answers of the validation split that its tokenizer made too long are left out of both numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from tunesmith.types import Example


class Scored(NamedTuple):
    """What a trial's validation loss was taken of."""

    num_bytes: int
    """Of the supervised text, in UTF-8."""
    left_out: tuple[str, ...]
    """Ids of the examples that were too long, in the split's order."""


def scored_examples(validation: Sequence[Example], dropped: Sequence[str]) -> Scored:
    """Of supervised training.

    Args:
        validation: the split.
        dropped: sources of the examples left out as too long, as the preflight noted them. Of several examples with one source the
            longest are meant.
    """
    examples = [example for example in validation if example.label is not False]  # an undesirable answer is not imitated
    remaining, out = Counter(dropped), set()
    for example in sorted(examples, key=_length, reverse=True):
        if remaining[example.source] > 0:
            remaining[example.source] -= 1
            out.add(example.id)
    num_bytes = sum(len(supervised_text(example).encode()) for example in examples if example.id not in out)
    return Scored(num_bytes, tuple(example.id for example in examples if example.id in out))


def supervised_text(example: Example) -> str:
    """What supervised training learns to say: raw text whole, every answer of a conversation, of a preference pair the chosen answer."""
    if example.text is not None:
        return example.text
    if example.kind != "conversation":
        return example.reference
    return "".join(message.content for message in example.messages if message.role == "assistant")


def _length(example: Example) -> int:
    return len((example.text or "".join(message.content for message in example.messages)).encode())


class Judged(Protocol):
    """What the choice knows of a trial."""

    @property
    def name(self) -> str: ...
    @property
    def objective(self) -> str | None: ...
    @property
    def validation_loss(self) -> float | None: ...
    @property
    def validation_nats_per_byte(self) -> float | None: ...
    @property
    def validation_left_out(self) -> tuple[str, ...]: ...
    @property
    def test_left_out(self) -> int: ...


class Choice(NamedTuple):
    """The best trial, None where there is none, and what is to be known about the comparison."""

    best: str | None
    notes: tuple[str, ...]


def choose_best(trials: Sequence[Judged]) -> Choice:
    """The lowest validation loss: per byte after supervised training, where tokens differ, else as the objective has it.

    Args:
        trials: those that are done.
    """
    notes = [*_differing_tests(trials)]
    judged = [trial for trial in trials if trial.validation_loss is not None]
    if not judged:
        nothing = "no best: without a validation split it would be chosen by the test split, and flattered"
        return Choice(None, (*([nothing] if trials else []), *notes))
    objectives = sorted({str(trial.objective) for trial in judged})
    if len(objectives) > 1:
        return Choice(None, (f"no best: losses of different objectives ({', '.join(objectives)}) do not compare", *notes))
    return Choice(min(judged, key=_criterion).name, (*_differing_validations(judged), *notes))


def _criterion(trial: Judged) -> float:
    assert trial.validation_loss is not None
    return trial.validation_loss if trial.validation_nats_per_byte is None else trial.validation_nats_per_byte


def _differing_validations(trials: Sequence[Judged]) -> list[str]:
    """A note where the losses are not of the same examples: then some of the difference is theirs."""
    first_of = {trial.validation_left_out: trial.name for trial in reversed(trials)}
    if len(first_of) < 2:
        return []
    counts = ", ".join(f"{name} {len(left_out):,}" for left_out, name in sorted(first_of.items(), key=lambda item: item[1]))
    return [f"validation losses are not of the same examples, left out as too long: {counts}; a larger max-length would keep them"]


def _differing_tests(trials: Sequence[Judged]) -> list[str]:
    first_of = {trial.test_left_out: trial.name for trial in reversed(trials)}
    if len(first_of) < 2:
        return []
    counts = ", ".join(f"{name} {count:,}" for count, name in sorted(first_of.items(), key=lambda item: item[1]))
    return [f"the trials' scores are not of the same test examples, left out as too long: {counts}; learning curves are of shared ones"]
