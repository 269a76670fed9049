"""Evaluation records made by hand, for the tests of evaluate and analyze."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tunesmith.evaluate.records import EvaluationRecord, ModelAnswer
from tunesmith.evaluate.scorers import SCORERS, score_answer
from tunesmith.types import Example, FinishReason, Message

PROSE = [SCORERS[name] for name in ("rouge_l", "exact_match", "token_f1", "chrf")]


def answer(
    completion: str, reference: str, *, loss: float = 2.0, num_supervised: int = 10, finish_reason: FinishReason = "end_of_turn"
) -> ModelAnswer:
    """An answer with its real scores; `loss` is a token's."""
    return ModelAnswer(
        completion=completion,
        finish_reason=finish_reason,
        num_tokens=len(completion.split()) + 1,
        loss_total=loss * num_supervised,
        num_supervised=num_supervised,
        scores=score_answer(completion, reference, PROSE),
    )


def record(
    *,
    base: str | ModelAnswer = "",
    tuned: str | ModelAnswer = "",
    reference: str = "Press the reset button twice.",
    prompt: str = "How do I reset it?",
    name: str = "a",
) -> EvaluationRecord:
    """A record called `name`; answers given as text are scored."""
    return EvaluationRecord(
        id=name,
        source=f"faq.jsonl:{name}",
        prompt=prompt,
        reference=reference,
        messages=(Message(role="user", content=prompt),),
        answers={
            label: answer(said, reference) if isinstance(said, str) else said for label, said in {"base": base, "tuned": tuned}.items()
        },
    )


def raw_text_record(name: str, base: tuple[float, int], tuned: tuple[float, int]) -> EvaluationRecord:
    """A record without answers; each side is (nats in all, supervised tokens)."""
    sides = [
        ModelAnswer(completion="", finish_reason="end_of_turn", num_tokens=0, loss_total=total, num_supervised=count, scores={})
        for total, count in (base, tuned)
    ]
    answers = {"base": sides[0], "tuned": sides[1]}
    return EvaluationRecord(id=name, source=f"text:{name}", prompt="", reference="Some text.", messages=(), answers=answers)


def answered_again(item: EvaluationRecord, **answers: ModelAnswer) -> EvaluationRecord:
    """The same record with other answers of the models named."""
    return replace(item, answers={**item.answers, **answers})


def scored_records(name: str, base: Sequence[float], tuned: Sequence[float]) -> list[EvaluationRecord]:
    """Records with one invented score and equal losses."""

    def side(value: float) -> ModelAnswer:
        scores = {"exact_match": 0.0, "token_f1": 0.0, "rouge_l": 0.0, "chrf": 0.0, name: value}
        return ModelAnswer(completion="x", finish_reason="end_of_turn", num_tokens=1, loss_total=20.0, num_supervised=10, scores=scores)

    return [record(name=f"r{i}", base=side(old), tuned=side(new)) for i, (old, new) in enumerate(zip(base, tuned, strict=True))]


def example(prompt: str, reference: str, *, name: str = "t") -> Example:
    """A training example."""
    messages = (Message(role="user", content=prompt), Message(role="assistant", content=reference))
    return Example(id=name, source=f"train.jsonl:{name}", group=name, messages=messages)
