"""Examples made by hand, for the tests of render, engine and train."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from tunesmith.config import PrepareConfig
from tunesmith.data.prepare import prepare
from tunesmith.data.storing.prepared import PreparedData
from tunesmith.types import Example, Message, RenderedExample, Role, Row

ROLES: Mapping[str, Role] = {"s": "system", "u": "user", "a": "assistant"}


def messages(*turns: tuple[str, str]) -> tuple[Message, ...]:
    """`messages(("u", "Hi"), ("a", "Hello"))`."""
    return tuple(Message(role=ROLES[role], content=content) for role, content in turns)


def conversation(*turns: tuple[str, str], source: str = "faq.csv:17", fields: Mapping[str, str] | None = None) -> Example:
    return Example(id=source, source=source, group=source, messages=messages(*turns), fields=fields or {})


def qa(question: str, answer: str, source: str = "faq.csv:17") -> Example:
    return conversation(("u", question), ("a", answer), source=source)


def raw(text: str, source: str = "book.txt:1") -> Example:
    return Example(id=source, source=source, group=source, text=text)


def rendered(token_ids: Sequence[int], supervised: Sequence[bool], source: str = "x:1") -> RenderedExample:
    return RenderedExample(example=raw("x", source), token_ids=tuple(token_ids), supervised=tuple(map(bool, supervised)))


def random_examples(lengths: Sequence[int], vocabulary: int, seed: int = 0, share: float = 0.6) -> list[RenderedExample]:
    """Random tokens, about `share` of them supervised and the last one always."""
    dice = random.Random(seed)
    examples = []
    for i, length in enumerate(lengths):
        tokens = [dice.randrange(4, vocabulary) for _ in range(length)]
        supervised = [dice.random() < share for _ in range(length - 1)] + [True]
        examples.append(rendered(tokens, supervised, source=f"x:{i + 1}"))
    return examples


COLOURS = ("red", "green", "blue")


HELD_OUT = {"test_fraction": 0.0, "validation_fraction": 0.2, "near_threshold": 1.0, "seed": 136}
"""A seed that holds out exactly a fifth of small sets. The questions of the tests are alike on purpose."""


def prepare_qa(directory: Path, pairs: Sequence[tuple[str, str]], **settings: object) -> PreparedData:
    """A prepared directory with these questions and answers; of 40 questions 8 validate."""
    rows = [Row(values={"question": question, "answer": answer}, source=f"faq.csv:{i + 2}") for i, (question, answer) in enumerate(pairs)]
    return prepare(None, directory, PrepareConfig(**{**HELD_OUT, **settings}), rows=rows)


def fixed_answer_pairs(count: int = 40) -> list[tuple[str, str]]:
    """A task learnt in seconds: whatever is asked, the answer is one of a few words in a fixed sentence."""
    return [(f"What is {i} and {COLOURS[i % 3]}?", f"The answer is {COLOURS[i % 3]}.") for i in range(count)]
