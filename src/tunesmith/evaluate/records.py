"""One evaluated example: what was asked, what is right, what each model said.

A line of `runs/NAME/evaluation/records.jsonl`:

    {"id": "9f2c…", "source": "faq.jsonl:17", "prompt": "Is it free?", "reference": "Yes, …", "messages": [{"role": "user", …}],
     "answers": {"base": {"completion": "…", "finish_reason": "max_new_tokens", "num_tokens": 256, "loss_total": 61.2,
                          "num_supervised": 24, "scores": {"token_f1": 0.11, …}, "explanations": {"token_f1": "…"}},
                 "tuned": {…}}}
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunesmith.errors import RunError
from tunesmith.files import read_json_lines, write_json_lines
from tunesmith.types import FinishReason, Message

ANSWERS = "answers.jsonl"
"""Name of the records of a model that was asked outside a run, beside what was made of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelAnswer:
    """One model's completion of a prompt, and its loss on the reference."""

    completion: str
    finish_reason: FinishReason
    num_tokens: int
    """Of the completion, its end-of-turn token included."""
    loss_total: float
    """Nats, summed over the reference's supervised tokens."""
    num_supervised: int
    scores: Mapping[str, float]
    """By scorer; one that does not apply to the example is missing. Empty where there was nothing to answer (raw text)."""
    explanations: Mapping[str, str] = field(default_factory=dict)
    """By scorer: why the score is what it is, where the scorer says so."""
    label: str | None = None
    """The label the completion was read as, where label accuracy was asked for; None: none of the data set's."""

    @property
    def loss(self) -> float:
        """Nats per supervised token of this example alone; a set's loss is the ratio of sums."""
        return self.loss_total / self.num_supervised


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationRecord:
    """One held-out example, and what each model made of it."""

    id: str
    source: str
    prompt: str
    """The last user message."""
    reference: str
    messages: tuple[Message, ...]
    """The whole prompt."""
    answers: Mapping[str, ModelAnswer]
    """By the model's label: `base` and `tuned` in a run's evaluation, any other names elsewhere."""

    @property
    def base(self) -> ModelAnswer:
        """Of the base model.

        Raises:
            RunError: the record has none.
        """
        return self.answer("base")

    @property
    def tuned(self) -> ModelAnswer:
        """Of the tuned model.

        Raises:
            RunError: the record has none.
        """
        return self.answer("tuned")

    def answer(self, label: str) -> ModelAnswer:
        """Of the model called `label`.

        Raises:
            RunError: the record has no answer of such a model.
        """
        if label not in self.answers:
            found = f"example {self.id} has no answer of a model called {label!r}"
            known = " or ".join(map(repr, self.answers)) or "answers"
            raise RunError(self.source, found, expected=known, remedy="name another model, or evaluate that one on the same examples")
        return self.answers[label]

    @property
    def is_answered(self) -> bool:
        """There was something to answer, and completions of it are here: it is no raw text."""
        return bool(self.answers) and bool(self.messages)

    def to_json(self) -> dict[str, Any]:
        """Lossless: `EvaluationRecord.from_json(json.loads(json.dumps(record.to_json()))) == record`."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> EvaluationRecord:
        messages = tuple(Message(**message) for message in values["messages"])
        answers = {label: ModelAnswer(**answer) for label, answer in values["answers"].items()}
        return cls(**{**values, "answers": answers, "messages": messages})


def write_records(path: Path, records: Iterable[EvaluationRecord]) -> None:
    """Replace `path` with one record a line."""
    write_json_lines(path, (record.to_json() for record in records))


def read_records(path: Path, *, parse: Callable[[bytes], Any] = json.loads) -> list[EvaluationRecord]:
    """Read what `write_records` wrote; `parse` as in `read_json_lines`.

    Raises:
        RunError: there is no such file, or it was not written by this version.
    """
    remedy = "evaluate the run again with `tunesmith evaluate`"
    try:
        return [EvaluationRecord.from_json(line) for line in read_json_lines(path, parse=parse)]
    except FileNotFoundError:
        raise RunError(str(path), "the run has not been evaluated", expected="evaluation records", remedy=remedy) from None
    except json.JSONDecodeError as error:
        raise RunError(str(path), f"not JSON Lines ({error})", expected="one record a line", remedy=remedy) from None
    except (KeyError, TypeError, AttributeError) as error:
        found = f"a record has other fields than this version's ({error})"
        raise RunError(str(path), found, expected="records as tunesmith evaluate writes them", remedy=remedy) from None
